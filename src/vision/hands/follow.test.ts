import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Hand } from '../../base/hand.ts';
import {
  followHands,
  handCandidates,
  type HandReading,
  type HandsState,
  isSearchDue,
  SEARCH_GAP_MAX,
  STATE_AGE_MAX_MS,
  stateFor,
} from './follow.ts';
import type { Palm } from './palm.ts';

const PICTURE = { width: 640, height: 480 };
const OPTIONS = { picture: PICTURE, timeMs: 1000, presenceMin: 0.5, isSmoothed: false, isSearched: false };

/** An upright hand whose wrist is here, in fractions of the picture; its palm is a tenth of the picture's height long. */
function hand(x: number, y = 0.5): Hand {
  const landmarks = Array.from({ length: 21 }, (_, i) => ({
    x: i === 0 ? x : x + (Math.ceil(i / 4) - 3) * 0.02,
    y: i === 0 ? y : y - 0.1 - ((i - 1) % 4) * 0.03,
    z: 0,
  }));
  return { handedness: 'left', score: 0.9, landmarks, world: landmarks };
}

/** What the detector says of that hand. */
function palm(x: number, y = 0.5): Palm {
  const keypoints = Array.from({ length: 7 }, () => ({ x, y: y - 0.1 }));
  keypoints[0] = { x, y };
  return { score: 0.9, x, y: y - 0.05, width: 0.075, height: 0.1, keypoints };
}

const followed = (...xs: number[]): HandsState => ({
  timeMs: 967,
  hands: xs.map((x) => ({ landmarks: hand(x).landmarks })),
  searchIn: SEARCH_GAP_MAX,
  searchGap: SEARCH_GAP_MAX,
});

/** The landmark model's word for each candidate: a hand where it stands, with this presence. */
function read(state: HandsState | undefined, palms: Palm[], said: (readonly [x: number, presence: number])[]) {
  const { candidates } = handCandidates(state, palms, PICTURE, 10);
  expect(candidates).toHaveLength(said.length);
  return candidates.map((candidate, i): HandReading => ({
    candidate,
    reading: { presence: said[i]![1], hand: hand(said[i]![0]) },
  }));
}

describe('where to look', () => {
  test('at the hands that are followed, then at palms that are none of them, up to the most', () => {
    const palms = [palm(0.31), palm(0.7), palm(0.9)];
    const two = handCandidates(followed(0.3), palms, PICTURE, 2);
    expect(two.candidates.map(({ before }) => before !== undefined)).toEqual([true, false]);
    expect(two.candidates[1]!.region.x).toBeCloseTo(0.7 * 640, 6);
    expect(two.capped).toBe(1);
    expect(handCandidates(followed(0.3), palms, PICTURE, 4)).toMatchObject({ candidates: { length: 3 }, capped: 0 });
  });

  test('hands that touch are two: their regions overlap, their palms are apart', () => {
    expect(handCandidates(followed(0.5), [palm(0.56)], PICTURE, 2).candidates).toHaveLength(2);
  });

  test('six palms are six hands where so many may be, and two where two may', () => {
    const six = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85].map((x) => palm(x));
    expect(handCandidates(undefined, six, PICTURE, 6)).toMatchObject({ candidates: { length: 6 }, capped: 0 });
    expect(handCandidates(undefined, six, PICTURE, 2)).toMatchObject({ candidates: { length: 2 }, capped: 4 });
  });

  test('not where a hand left the picture, nor at more than may be followed', () => {
    expect(handCandidates(followed(1.4, 0.5), [], PICTURE, 2).candidates).toHaveLength(1);
    expect(handCandidates(followed(0.2, 0.5, 0.8), [], PICTURE, 2).candidates).toHaveLength(2);
  });
});

describe('hands from picture to picture', () => {
  test('a hand goes on while its presence holds', () => {
    const before = followed(0.3, 0.7);
    const { hands, state } = followHands(
      before,
      read(
        before,
        [],
        [
          [0.31, 0.5],
          [0.7, 0.49],
        ],
      ),
      OPTIONS,
    );
    expect(hands.map(({ landmarks }) => landmarks[0]!.x)).toEqual([0.31]);
    expect(state).toMatchObject({ timeMs: 1000, hands: { length: 1 } });
    expect(state.hands[0]!.landmarks).toEqual(hand(0.31).landmarks);
  });

  test('two that come upon one hand are one, the first; two that touch stay two', () => {
    const before = followed(0.3, 0.34);
    expect(
      followHands(
        before,
        read(
          before,
          [],
          [
            [0.32, 0.9],
            [0.321, 0.9],
          ],
        ),
        OPTIONS,
      ).hands,
    ).toEqual([hand(0.32)]);
    expect(
      followHands(
        before,
        read(
          before,
          [],
          [
            [0.3, 0.9],
            [0.35, 0.9],
          ],
        ),
        OPTIONS,
      ).hands,
    ).toHaveLength(2);
  });

  test('landmarks that are no numbers, or far outside, are no hand', () => {
    for (const x of [NaN, 5]) {
      const { hands, state } = followHands(undefined, read(undefined, [palm(0.5)], [[x, 0.9]]), OPTIONS);
      expect([hands, state.hands]).toEqual([[], []]);
    }
  });

  test('smoothed, a hand lags behind what the model says, and the state keeps both; not smoothed, neither', () => {
    const smoothed = { ...OPTIONS, isSmoothed: true };
    const first = followHands(undefined, read(undefined, [palm(0.5)], [[0.5, 0.9]]), { ...smoothed, timeMs: 967 });
    expect(first.hands[0]!.landmarks[0]!.x).toBeCloseTo(0.5, 12);
    const second = followHands(first.state, read(first.state, [], [[0.501, 0.9]]), smoothed);
    expect(second.hands[0]!.landmarks[0]!.x).toBeGreaterThan(0.5);
    expect(second.hands[0]!.landmarks[0]!.x).toBeLessThan(0.501);
    expect(second.state.hands[0]!.landmarks[0]!.x).toBe(0.501);
    const plain = followHands(first.state, read(first.state, [], [[0.501, 0.9]]), OPTIONS);
    expect(plain.hands[0]).toEqual(hand(0.501));
    expect(plain.state.hands[0]).not.toHaveProperty('filter');
  });

  test('the state of a hand survives the way to another thread', () => {
    const { state } = followHands(undefined, read(undefined, [palm(0.5)], [[0.5, 0.9]]), {
      ...OPTIONS,
      isSmoothed: true,
    });
    expect(structuredClone(state)).toEqual(state);
  });
});

describe('when palms are looked for', () => {
  /** Runs a scene of so many pictures; `seen` says which hands stand in a picture. Tells the pictures with a search, and hands. */
  function run(pictures: number, handsMax: number, seen: (i: number) => readonly number[]) {
    let state: HandsState | undefined;
    const searches: number[] = [];
    const counts: number[] = [];
    for (let i = 0; i < pictures; i++) {
      const isSearched = isSearchDue(state, handsMax);
      if (isSearched) searches.push(i);
      const visible = seen(i);
      const palms = isSearched ? visible.map((x) => palm(x)) : [];
      const { candidates } = handCandidates(state, palms, PICTURE, handsMax);
      const readings = candidates.map((candidate): HandReading => {
        const x = (candidate.before?.landmarks[0]!.x ?? candidate.region.x / PICTURE.width) as number;
        const nearest = visible.find((v) => Math.abs(v - x) < 0.05);
        return { candidate, reading: { presence: nearest === undefined ? 0 : 0.9, hand: hand(nearest ?? x) } };
      });
      const next = followHands(state, readings, { ...OPTIONS, timeMs: i * 33, isSearched });
      state = next.state;
      counts.push(next.hands.length);
    }
    return { searches, counts };
  }

  test('in every picture while there is no hand, and once one is followed in a twelfth of them', () => {
    const { searches, counts } = run(130, 2, (i) => (i < 10 ? [] : [0.3]));
    expect(searches.slice(0, 11)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(searches.slice(11)).toEqual([22, 34, 46, 58, 70, 82, 94, 106, 118]);
    expect(counts.slice(10).every((n) => n === 1)).toBe(true);
  });

  test('never while as many are followed as may be', () => {
    expect(run(100, 1, () => [0.3]).searches).toEqual([0]);
    expect(run(100, 2, () => [0.3, 0.7]).searches).toEqual([0]);
  });

  test('property: a steady hand costs a search in a tenth of its pictures at most, and a second one is reported within 15', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (comes) => {
        const { searches, counts } = run(comes + 120, 2, (i) => (i < comes ? [0.3] : [0.3, 0.7]));
        expect(counts.indexOf(2)).toBeGreaterThanOrEqual(comes);
        expect(counts.indexOf(2)).toBeLessThan(comes + 15);
        const steady = searches.filter((i) => i > 0 && i < comes);
        expect(steady.length).toBeLessThanOrEqual(comes / 10);
        expect(searches.every((i) => i <= counts.indexOf(2))).toBe(true);
      }),
    );
  });

  test('a hand that was lost is looked for at once, then ever more seldom', () => {
    const { searches } = run(80, 2, (i) => (i < 20 ? [0.3, 0.7] : [0.3]));
    // Lost in picture 20.
    expect(searches).toEqual([0, 21, 23, 27, 35, 47, 59, 71]);
    // The only one: in every picture, and when it is back all is as before.
    expect(run(40, 2, (i) => (i >= 5 && i < 9 ? [] : [0.3])).searches).toEqual([0, 6, 7, 8, 9, 21, 33]);
  });
});

describe('a state', () => {
  test('is used for a second, and not for an earlier picture', () => {
    const state = followed(0.5);
    expect(stateFor(state, state.timeMs + STATE_AGE_MAX_MS)).toBe(state);
    expect(stateFor(state, state.timeMs + STATE_AGE_MAX_MS + 1)).toBeUndefined();
    expect(stateFor(state, state.timeMs + 60_000)).toBeUndefined();
    expect(stateFor(state, state.timeMs - 1)).toBeUndefined();
    expect(stateFor(state, NaN)).toBeUndefined();
    expect(stateFor(undefined, 0)).toBeUndefined();
  });
});
