import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { framesIn, sampleOf, type MadeFrame } from '../../test/support/hls-fragments.ts';
import { TICKS_PER_S } from '../base/camera-frame.ts';
import { Segmenter, type Part, type Segment } from './segmenter.ts';

const MIB = 2 ** 20;

function segmenter(partS = 0.16, segmentBytesMax = 4 * MIB) {
  const parts: Part[] = [];
  const segments: Segment[] = [];
  const made = new Segmenter({
    partS,
    firstMsn: 100,
    firstPart: 1_000,
    segmentBytesMax,
    wallTimeMs: (timeMs) => timeMs + 500,
    onPart: (part) => parts.push(part),
    onSegment: (segment) => segments.push(segment),
  });
  let position = 0;
  const push = (...frames: MadeFrame[]) => {
    for (const frame of frames) made.push(sampleOf(frame, position++));
  };
  return { made, parts, segments, push };
}

/** So many frames, a key frame each `keyEvery`. */
interface Film {
  readonly rateFps?: number;
  readonly keyEvery?: number;
  readonly epoch?: number;
  readonly first?: number;
  readonly fromS?: number;
  /** Of each, by its place: what is otherwise. */
  readonly but?: (i: number) => Partial<MadeFrame>;
}

function film(count: number, given: Film = {}): MadeFrame[] {
  const { rateFps = 25, keyEvery = 25, epoch = 1, first = 0, fromS = 0, but = () => ({}) } = given;
  return Array.from({ length: count }, (_, i) => ({
    epoch,
    seq: first + i,
    atS: fromS + i / rateFps,
    durationS: 1 / rateFps,
    isKey: i % keyEvery === 0,
    ...but(i),
  }));
}

const near = (value: number) => expect.closeTo(value, 4) as number;
const seqs = (segment: Segment) => (segment.bytes ? framesIn(segment.bytes).map(({ seq }) => seq) : []);

test('parts of four frames, and a segment for each key frame', () => {
  const { made, parts, segments, push } = segmenter();
  push(...film(60));
  expect(segments.map(({ msn, durationS, isDiscontinuous }) => [msn, durationS, isDiscontinuous])).toEqual([
    [100, near(1), false],
    [101, near(1), false],
  ]);
  expect(parts.slice(0, 8).map(({ durationS, isIndependent }) => [durationS, isIndependent])).toEqual([
    [near(0.16), true],
    ...Array.from({ length: 5 }, () => [near(0.16), false]),
    [near(0.04), false],
    [near(0.16), true],
  ]);
  expect(parts.map(({ number }) => number)).toEqual(parts.map((_, i) => 1_000 + i));
  expect(made.targetS).toBe(2);
  expect(made.next).toEqual({ msn: 103, part: 1_000 + parts.length });
  // The last one is not known to be over yet.
  expect(made.counts()).toEqual({ taken: 58, leftOut: 0, inHand: 2 });
});

test('each frame is behind its own name, and lasts until the next one comes', () => {
  const { segments, push } = segmenter();
  // It comes unevenly.
  const frames = film(30, { but: (i) => ({ atS: i / 25 + (i % 3) * 0.005 }) });
  push(...frames);
  const inIt = framesIn(segments[0]!.bytes!);
  expect(inIt).toHaveLength(25);
  for (const [i, frame] of inIt.entries()) {
    const ticks = (at: number) => Math.round(frames[at]!.atS * TICKS_PER_S);
    expect(frame).toMatchObject({
      name: { camera: 'north', epoch: 1, seq: i, capture_time: Math.round(1_700_000_000_500 + frames[i]!.atS * 1000) },
      version: 1,
      scheme: 'https://aomedia.org/emsg/ID3',
      timescale: TICKS_PER_S,
      presentationTime: ticks(i),
      decodeTime: ticks(i),
      eventDuration: ticks(i + 1) - ticks(i),
      duration: ticks(i + 1) - ticks(i),
      seq: i,
      isFragment: true,
    });
  }
});

test.each([
  [12.5, [0.16]],
  [30, [5 / 30]],
  [10, [0.2]],
  [5, [0.2]],
  [2, [0.5]],
  [60, [10 / 60]],
])('at %d frames a second parts are as long as comes closest to 160 ms', (rateFps, [durationS]) => {
  const { parts, push } = segmenter();
  push(...film(rateFps * 2, { rateFps, keyEvery: 1_000 }));
  expect(parts.length).toBeGreaterThan(2);
  for (const part of parts) expect(part.durationS).toBeCloseTo(durationS!, 4);
});

test('key frames that are far apart: segments of the target duration', () => {
  const { made, segments, push } = segmenter();
  push(...film(25 * 20, { keyEvery: 250 }));
  expect(made.targetS).toBe(6);
  expect(segments.map(({ durationS }) => durationS)).toEqual([near(6), near(4), near(6)]);
  expect(segments.map(({ parts: [first] }) => first!.isIndependent)).toEqual([true, false, true]);
});

test('key frames that are close: segments of a second', () => {
  const { segments, push } = segmenter();
  push(...film(80, { keyEvery: 5 }));
  for (const {
    durationS,
    parts: [first],
  } of segments) {
    expect(durationS).toBeCloseTo(1, 4);
    expect(first!.isIndependent).toBe(true);
  }
  expect(segments).toHaveLength(3);
});

describe('frames that are missing', () => {
  const after = (atS: number, first: number) => film(30, { first, fromS: atS });

  test('a few: what follows them is left out, up to the next key frame', () => {
    const { made, segments, push } = segmenter();
    push(...film(30), ...film(15, { first: 35, fromS: 1.4, but: () => ({ isKey: false }) }));
    push(...after(2, 50));
    expect(made.counts().leftOut).toBe(15);
    const [first, second, gap, third] = segments;
    expect([seqs(first!).length, seqs(second!)]).toEqual([25, [25, 26, 27, 28, 29]]);
    expect(gap).toMatchObject({ isGap: true, durationS: near(0.8), msn: 102, bytes: undefined });
    expect(third).toMatchObject({ msn: 103, isDiscontinuous: false, isGap: false });
  });

  test('less than half a second is no gap: the last one is shown for longer', () => {
    const { segments, push } = segmenter();
    push(...film(25), ...after(1.3, 32));
    expect(segments.map(({ isGap }) => isGap)).toEqual([false, false]);
    expect(segments[0]!.durationS).toBeCloseTo(1.3, 4);
  });

  test('many seconds: gaps of the target duration at most', () => {
    const { segments, push } = segmenter();
    push(...film(25), ...after(8, 200));
    expect(segments.slice(0, 5).map(({ isGap, durationS }) => [isGap, durationS])).toEqual([
      [false, near(1)],
      ...Array.from({ length: 4 }, () => [true, near(1.75)]),
    ]);
  });

  test('more than a playlist should tell of: the time begins anew', () => {
    const { segments, push } = segmenter();
    push(...film(25), ...after(100, 2500));
    expect(segments.map(({ isGap, isDiscontinuous }) => [isGap, isDiscontinuous])).toEqual([
      [false, false],
      [false, true],
    ]);
  });

  test('a camera that pauses, and has lost nothing', () => {
    const { made, segments, push } = segmenter();
    push(...film(30), ...film(30, { first: 30, fromS: 3, but: () => ({ isKey: false }) }));
    expect(made.counts().leftOut).toBe(0);
    expect(segments.map(({ isGap }) => isGap)).toEqual([false, false, true]);
  });
});

test('another epoch begins a segment of its own, with its own header', () => {
  const { segments, push } = segmenter();
  push(...film(30), ...film(30, { epoch: 2 }));
  expect(segments.map((segment) => [segment.init.epoch, segment.isDiscontinuous, seqs(segment).length])).toEqual([
    [1, false, 25],
    [1, false, 5],
    [2, true, 25],
  ]);
});

test('so does another size of the same epoch, wherever it comes; the time goes on', () => {
  const { segments, push } = segmenter();
  push(
    ...film(30, { keyEvery: 100 }),
    ...film(10, { first: 30, fromS: 30 / 25, but: () => ({ width: 32 }) }),
    ...film(5, { first: 40, fromS: 40 / 25 + 1, but: () => ({ width: 64 }) }),
    ...film(1, { epoch: 2 }),
  );
  expect(
    segments.map(({ init, isDiscontinuous, isGap, durationS }) => [init.width, isDiscontinuous, isGap, durationS]),
  ).toEqual([
    [64, false, false, near(1.2)],
    [32, true, false, near(0.4)],
    [32, false, true, near(1)],
    [64, true, false, near(0.2)],
  ]);
  expect(segments.map((segment) => seqs(segment).length)).toEqual([30, 10, 0, 5]);
});

test('the time of an epoch ends when its last frame has been shown, also one that was not decoded last', () => {
  const { segments, push } = segmenter();
  const frames = film(10, { but: (i) => ({ shownAfterS: i === 8 ? 0.12 : 0.04 }) });
  push(...frames, ...film(2, { epoch: 2 }));
  // 0.32 + 0.12 + 0.04
  expect(segments[0]!.durationS).toBeCloseTo(0.48, 4);
});

test('a segment has no more bytes than it may, but for one frame', () => {
  const { segments, push } = segmenter(0.16, 10_000);
  push(...film(25 * 3, { keyEvery: 1_000, but: () => ({ bytes: 3_000 }) }));
  push({ seq: 75, atS: 3, bytes: 50_000 }, { seq: 76, atS: 3.04 }, { seq: 77, atS: 3.08 });
  expect(segments.length).toBeGreaterThan(20);
  for (const segment of segments.slice(0, -1)) expect(seqs(segment).length).toBeLessThanOrEqual(3);
});

test('at the end all that was begun is whole', () => {
  const { made, segments, push } = segmenter();
  push(...film(30));
  made.end();
  expect(segments.flatMap(seqs)).toEqual(film(30).map(({ seq }) => seq));
  expect(made.counts()).toEqual({ taken: 30, leftOut: 0, inHand: 0 });
  made.end();
  expect(segments).toHaveLength(2);
});

test('whatever comes: each fragment once and in order, parts are their segments, and nothing is too long', () => {
  const step = fc.record({
    intervalMs: fc.integer({ min: 1, max: 120 }),
    pauseMs: fc.oneof(
      { weight: 30, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 50_000 }) },
    ),
    isKey: fc.oneof({ weight: 12, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    lost: fc.oneof(
      { weight: 30, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 30 }) },
    ),
    isNewEpoch: fc.oneof({ weight: 60, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    isNewSize: fc.oneof({ weight: 60, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  });
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 20, max: 500 }),
      (steps, partMs) => {
        const { made, parts, segments, push } = segmenter(partMs / 1000, 5_000);
        let [epoch, seq, atMs] = [1, 0, 0];
        const pushed: string[] = [];
        const widths = new Map<string, number>();
        let needsKey = true;
        let width = 64;
        for (const { intervalMs, pauseMs, isKey: isOwnKey, lost, isNewEpoch, isNewSize } of steps) {
          // It begins with a key frame.
          const isKey = isOwnKey || isNewSize;
          if (isNewSize) width = 96 - width;
          if (isNewEpoch) [epoch, seq, atMs] = [epoch + 1, 0, 0];
          seq += lost;
          needsKey ||= lost > 0 || isNewEpoch;
          if (isKey) needsKey = false;
          if (!needsKey) pushed.push(`${epoch}/${seq}`);
          widths.set(`${epoch}/${seq}`, width);
          push({ epoch, seq, atS: atMs / 1000, durationS: intervalMs / 1000, isKey, width });
          seq++;
          atMs += intervalMs + pauseMs;
          const { taken, inHand } = made.counts();
          expect(taken + inHand).toBe(pushed.length);
        }
        made.end();
        const whole = segments.filter(({ isGap }) => !isGap);
        const names = whole.flatMap(({ bytes }) =>
          framesIn(bytes!).map(({ name, seq: inIt }) => {
            expect(name.seq).toBe(inIt);
            return `${name.epoch}/${name.seq}`;
          }),
        );
        expect(names).toEqual(pushed);
        expect(made.counts()).toMatchObject({ taken: pushed.length, inHand: 0 });
        expect(segments.map(({ msn }) => msn)).toEqual(segments.map((_, i) => 100 + i));
        expect(parts.map(({ number }) => number)).toEqual(parts.map((_, i) => 1_000 + i));
        for (const segment of whole) {
          expect(Buffer.concat(segment.parts.map(({ bytes }) => bytes))).toEqual(Buffer.from(segment.bytes!));
          expect(segment.parts.reduce((sum, { durationS }) => sum + durationS, 0)).toBeCloseTo(segment.durationS, 6);
          const { epoch: ofEpoch, width: ofWidth } = segment.init;
          for (const { name } of framesIn(segment.bytes!))
            expect([name.epoch, widths.get(`${name.epoch}/${name.seq}`)]).toEqual([ofEpoch, ofWidth]);
        }
        for (const { durationS } of segments) expect(Math.round(durationS)).toBeLessThanOrEqual(made.targetS ?? 0);
        // Of each epoch the frames of a segment follow each other without a hole in its time.
        for (const { bytes } of whole) {
          const frames = framesIn(bytes!);
          for (const [i, { decodeTime, duration }] of frames.entries())
            if (i + 1 < frames.length) expect(decodeTime + duration).toBe(frames[i + 1]!.decodeTime);
        }
      },
    ),
    { numRuns: 100 },
  );
});
