import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS } from '../protocol/video.ts';
import { builtInLadder, Ladder, ladderOf, nearestRung, rungOfLevel, rungOfMode, type Rung } from './ladder.ts';

const asWords = (rungs: readonly Rung[]) =>
  rungs.map(({ name, quality, scale, fps }) => `${name} ${quality} ${scale} ${fps}`);

describe('built-in ladders', () => {
  test('have a rung for every level and for every mode, from the lowest up', () => {
    expect(builtInLadder('levels', 30).map(({ name }) => name)).toEqual([...QUALITY_LEVELS]);
    expect(builtInLadder('modes', 30).map(({ name }) => name)).toEqual([...PERFORMANCE_MODES]);
  });

  test.each(['levels', 'modes'] as const)('%s could have been written by a user: every rung costs more', (kind) => {
    const ladder = builtInLadder(kind, 30);
    expect(ladderOf(asWords(ladder), 30, 30)).toEqual(ladder);
    expect(ladderOf([kind], 30, 30)).toEqual(ladder);
    expect(ladderOf([kind], 30, 5)).toEqual(ladder);
  });

  test('a mode leaves out frames of what the source shows, a level does not know the source', () => {
    expect(PERFORMANCE_MODES.map((mode) => rungOfMode(mode, 60).fps)).toEqual([15, 20, 30, 60]);
    expect(rungOfMode('balanced', 24)).toEqual({ name: 'balanced', quality: 65, scale: 0.85, fps: 12 });
    expect(rungOfLevel('medium')).toEqual({ name: 'medium', quality: 60, scale: 0.8, fps: 20 });
  });
});

describe("a user's own ladder", () => {
  test('is read word by word, spaces as one likes', () => {
    expect(ladderOf(['  tiny  1\t0.05 0.1', 'full 100 1 60 '], 30, 30)).toEqual([
      { name: 'tiny', quality: 1, scale: 0.05, fps: 0.1 },
      { name: 'full', quality: 100, scale: 1, fps: 60 },
    ]);
  });

  test.each([
    [[''], '""'],
    [['low'], '"low"'],
    [['low 40 0.65'], '"low 40 0.65"'],
    [['40 0.65 15'], '"40 0.65 15"'],
    [['low 40 0.65 15 9'], '"low 40 0.65 15 9"'],
    [['low 0 0.65 15'], 'quality(1..100)'],
    [['low 101 0.65 15'], 'quality(1..100)'],
    [['low 40 0 15'], 'scale(0.05..1)'],
    [['low 40 1.01 15'], 'scale(0.05..1)'],
    [['low 40 0.65 0'], 'fps(0.1..60)'],
    [['low 40 0.65 61'], 'fps(0.1..60)'],
    [['low 40 0.65 Infinity'], 'fps(0.1..60)'],
    [['low NaN 0.65 15'], 'quality(1..100)'],
    [['low -40 0.65 15'], 'quality(1..100)'],
    [['low 40 0,65 15'], 'scale(0.05..1)'],
    [['levels', 'modes'], '"levels"'],
    [['a 40 0.65 15', 'b 40 0.65 15'], '"b 40 0.65 15" costs no more'],
    [['a 40 0.65 15', 'b 80 0.65 30', 'c 60 0.65 30'], '"c 60 0.65 30" costs no more'],
    [['a 40 0.65 15', 'a 80 0.65 15'], 'the same name'],
  ])('%j is refused', (words, told) => {
    let thrown: unknown;
    try {
      ladderOf(words, 30, 30);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'CONFIG_VALUE_BAD', message: expect.stringContaining(told) });
    expect((thrown as Error).message).toContain('performance.ladder');
  });

  test('property: whatever is written, it is a ladder with rising costs or it is refused by name', () => {
    const numbers = fc.oneof(
      fc.double({ noNaN: true }),
      fc.double({ min: 0.05, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 100 }),
      fc.constantFrom('', 'NaN', '-0', '1e9', '0x10', '1/2'),
    );
    const rungs = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.tuple(fc.constantFrom('a', 'b', 'levels', 'fixed'), numbers, numbers, numbers).map((parts) => parts.join(' ')),
      fc
        .tuple(
          fc.string({ minLength: 1, maxLength: 4 }),
          fc.integer({ min: 1, max: 100 }),
          fc.integer({ min: 1, max: 60 }),
        )
        .map(([name, quality, fps]) => `${name} ${quality} 1 ${fps}`),
    );
    let ladders = 0;
    fc.assert(
      fc.property(fc.array(rungs, { minLength: 1, maxLength: 4 }), (words) => {
        let ladder: Rung[];
        try {
          ladder = ladderOf(words, 30, 30);
        } catch (error) {
          expect(error).toBeInstanceOf(SightlineError);
          expect(error).toMatchObject({ code: 'CONFIG_VALUE_BAD' });
          return;
        }
        ladders++;
        expect(ladder).toHaveLength(words.length);
        expect(new Set(ladder.map(({ name }) => name)).size).toBe(ladder.length);
        for (const [i, { quality, scale, fps }] of ladder.entries()) {
          expect(quality >= 1 && quality <= 100 && scale >= 0.05 && scale <= 1 && fps >= 0.1 && fps <= 60).toBe(true);
          expect(nearestRung(ladder, ladder[i]!)).toBe(i);
        }
      }),
    );
    expect(ladders).toBeGreaterThan(0);
  });
});

describe('the nearest rung', () => {
  const levels = builtInLadder('levels', 30);

  test('of a rung is that rung, of a mode the level that costs most nearly the same', () => {
    expect(levels.map((rung) => nearestRung(levels, rung))).toEqual([0, 1, 2, 3, 4]);
    expect(nearestRung(levels, rungOfMode('balanced', 30))).toBe(2);
  });

  test('of what costs less or more than all is the lowest or the highest', () => {
    expect(nearestRung(levels, { quality: 1, scale: 0.05, fps: 0.1 })).toBe(0);
    expect(nearestRung(levels, { quality: 100, scale: 1, fps: 60 })).toBe(4);
    expect(nearestRung(levels.slice(0, 1), levels[4]!)).toBe(0);
  });

  test('is found by the ratio of costs, not by their difference', () => {
    const ladder = ladderOf(['a 50 1 1', 'b 50 1 20'], 30, 30);
    expect(nearestRung(ladder, { quality: 50, scale: 1, fps: 5 })).toBe(1);
    expect(nearestRung(ladder, { quality: 50, scale: 1, fps: 4 })).toBe(0);
  });

  test('half the width and half the height are a quarter of the cost', () => {
    const ladder = ladderOf(['a 50 1 4', 'b 50 1 8'], 30, 30);
    expect(nearestRung(ladder, { quality: 50, scale: 0.5, fps: 20 })).toBe(0);
    expect(nearestRung(ladder, { quality: 50, scale: 0.5, fps: 30 })).toBe(1);
  });
});

const COSTS = [10, 20, 30, 40, 50];
const STABILITY_MS = 1_000;

function costOf(rung: number): number {
  const cost = COSTS[rung];
  if (cost === undefined) throw new RangeError(`there is no rung ${rung}`);
  return cost;
}

/** A ladder of five rungs, told something every ten milliseconds. */
class Climb {
  readonly ladder: Ladder;
  nowMs = 0;

  constructor(start: number) {
    this.ladder = new Ladder(COSTS.length, start);
  }

  once(available: number): number {
    this.nowMs += 10;
    return this.ladder.update({ nowMs: this.nowMs, available, stabilityMs: STABILITY_MS, costOf });
  }

  /** Milliseconds until the rung changes while there is so much; undefined: it has not within `forMs`. */
  untilMove(available: number, forMs = 60_000): number | undefined {
    const { rung } = this.ladder;
    const fromMs = this.nowMs;
    while (this.nowMs < fromMs + forMs) if (this.once(available) !== rung) return this.nowMs - fromMs;
    return undefined;
  }
}

describe('down', () => {
  test('at once, over as many rungs as it takes', () => {
    expect(new Climb(4).once(25)).toBe(2);
    expect(new Climb(4).once(0)).toBe(0);
    expect(new Climb(0).once(0)).toBe(0);
  });

  test('only when less than 80 % of what the rung costs is there', () => {
    expect(new Climb(3).once(32)).toBe(3);
    expect(new Climb(3).once(31.9)).toBe(2);
  });
});

/** For the next rung, from the second on, but not plenty. */
const ENOUGH = 45;

describe('up', () => {
  test('one rung at a time, each after the stability time', () => {
    const climb = new Climb(1);
    expect(climb.untilMove(ENOUGH)).toBe(STABILITY_MS + 10);
    expect(climb.ladder.rung).toBe(2);
    expect(climb.untilMove(ENOUGH)).toBe(STABILITY_MS + 10);
    expect([climb.ladder.rung, climb.ladder.moves]).toEqual([3, 2]);
  });

  test('after half of the time where there is three times what it costs, but no sooner after the last step', () => {
    const climb = new Climb(0);
    expect(climb.untilMove(3 * 20)).toBe(STABILITY_MS / 2 + 10);
    expect(climb.untilMove(1_000)).toBe(STABILITY_MS);
    // A fall is no step up; it was a mistake, but a new one is proven as fast again.
    climb.once(0);
    expect(climb.untilMove(1_000)).toBe(STABILITY_MS + 10);
    expect(new Climb(0).untilMove(2 * 20)).toBe(0.75 * STABILITY_MS + 10);
  });

  test('only with 10 % to spare', () => {
    expect(new Climb(1).untilMove(32.9)).toBeUndefined();
    expect(new Climb(1).untilMove(33.1)).toBe(STABILITY_MS + 10);
  });

  test('a moment in which it was not affordable starts the time anew', () => {
    const climb = new Climb(1);
    expect(climb.untilMove(ENOUGH, 900)).toBeUndefined();
    climb.once(32);
    expect(climb.untilMove(ENOUGH)).toBe(STABILITY_MS + 10);
  });

  test('never past the highest rung, and a start beyond it is on it', () => {
    const climb = new Climb(99);
    expect(climb.ladder.rung).toBe(4);
    expect(climb.untilMove(ENOUGH)).toBeUndefined();
    expect(climb.ladder.moves).toBe(0);
  });

  test('a changed stability time holds at once', () => {
    let stabilityMs = 60_000;
    const ladder = new Ladder(2, 0);
    const at = (nowMs: number) => ladder.update({ nowMs, available: 1.2, stabilityMs, costOf: () => 1 });
    at(0);
    expect(at(5_000)).toBe(0);
    stabilityMs = 5_000;
    expect(at(5_001)).toBe(1);
  });
});

describe('a step up that did not last', () => {
  test('makes the next one wait twice as long, up to eight times', () => {
    const climb = new Climb(1);
    const waits = Array.from({ length: 5 }, () => {
      const waited = climb.untilMove(ENOUGH);
      climb.once(20);
      return waited! - 10;
    });
    expect(climb.ladder.rung).toBe(1);
    expect(waits).toEqual([1, 2, 4, 8, 8].map((times) => times * STABILITY_MS));
  });

  test('is one mistake, over however many rungs it falls afterwards', () => {
    const climb = new Climb(2);
    climb.untilMove(ENOUGH);
    for (const available of [30, 20, 10, 1]) climb.once(available);
    expect(climb.ladder.rung).toBe(0);
    expect(climb.untilMove(30)).toBe(2 * STABILITY_MS + 10);
  });

  test('is forgotten when one lasts: the next one waits as long as the first', () => {
    const climb = new Climb(1);
    for (let mistakes = 0; mistakes < 3; mistakes++) {
      climb.untilMove(ENOUGH);
      climb.once(20);
    }
    expect(climb.untilMove(ENOUGH)).toBe(8 * STABILITY_MS + 10);
    expect(climb.untilMove(30, 2 * STABILITY_MS)).toBeUndefined();
    expect(climb.untilMove(ENOUGH)).toBe(STABILITY_MS + 10);
  });

  test('is one that ended within twice the stability time; after that a fall is nobody’s mistake', () => {
    const climb = new Climb(1);
    climb.untilMove(ENOUGH);
    climb.untilMove(30, 2 * STABILITY_MS - 20);
    expect(climb.once(20)).toBe(1);
    expect(climb.untilMove(ENOUGH)).toBe(2 * STABILITY_MS + 10);
    climb.untilMove(30, 2 * STABILITY_MS);
    expect(climb.once(20)).toBe(1);
    expect(climb.untilMove(ENOUGH)).toBe(STABILITY_MS + 10);
  });
});

test('property: down as soon as it must, up by one and no sooner than the stability time, or half of it, always on the ladder', () => {
  const words = fc.record({
    // Time that stands or steps back included.
    stepMs: fc.constantFrom(0, 1, 100, 300, 300, 2_000, 60_000, -200, -60_000),
    available: fc.oneof(
      fc.double({ min: 0, max: 70, noNaN: true }),
      fc.constantFrom(-1, 0, 60, 60, 60, 1e300, Infinity, NaN),
    ),
  });
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9 }), fc.array(words, { maxLength: 150 }), (start, all) => {
      const ladder = new Ladder(COSTS.length, start);
      let nowMs = 1.7e12;
      /** Since when the next rung is affordable without a break. */
      let sinceMs: number | undefined;
      let moves = 0;
      for (const { stepMs, available } of all) {
        nowMs += stepMs;
        const before = ladder.rung;
        const rung = ladder.update({ nowMs, available, stabilityMs: STABILITY_MS, costOf });
        const isAffordable = before < 4 && available >= 1.1 * COSTS[before + 1]!;
        sinceMs = isAffordable ? (sinceMs ?? nowMs) : undefined;
        const must = COSTS.findLastIndex((cost, i) => i <= before && (i === 0 || !(available < 0.8 * cost)));
        if (must < before) expect(rung).toBe(must);
        else if (rung !== before) {
          expect(rung).toBe(before + 1);
          expect(nowMs - sinceMs!).toBeGreaterThanOrEqual(STABILITY_MS / 2);
        } else if (sinceMs !== undefined) expect(nowMs - sinceMs).toBeLessThan(8 * STABILITY_MS);
        if (rung !== before) {
          sinceMs = undefined;
          moves++;
        }
        expect(ladder.moves).toBe(moves);
        expect(rung >= 0 && rung < COSTS.length).toBe(true);
      }
    }),
  );
});
