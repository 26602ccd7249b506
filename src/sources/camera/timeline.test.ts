import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Timeline, type PacketTimes } from './timeline.ts';

const FRAME = 3600;

function place(packets: readonly Partial<PacketTimes>[], isLive = true) {
  const timeline = new Timeline(isLive);
  return packets.map((times, i) =>
    timeline.place({ pts: undefined, dts: undefined, duration: undefined, arrivedMs: 40 * i, ...times }),
  );
}
const decodes = (packets: readonly Partial<PacketTimes>[], isLive = true) =>
  place(packets, isLive).map(({ decode }) => decode / FRAME);

describe('a timeline', () => {
  test('begins at 0 and keeps the intervals of the camera', () => {
    expect(
      place([
        { pts: 90_000, dts: 90_000, duration: FRAME },
        { pts: 93_600, dts: 93_600 },
      ]),
    ).toEqual([
      { decode: 0, presentation: 0, duration: FRAME },
      { decode: FRAME, presentation: FRAME, duration: FRAME },
    ]);
  });

  test('goes on where the first frames have no time', () => {
    expect(decodes([{}, { pts: 720_000 }, { pts: 723_600 }])).toEqual([0, 1, 2]);
  });

  test('follows the arrival where a camera tells no times, and the rate where it is a file', () => {
    expect(decodes([{}, { arrivedMs: 80 }, { arrivedMs: 100 }])).toEqual([0, 2, 2.5]);
    expect(decodes([{ duration: FRAME }, { arrivedMs: 1 }, { arrivedMs: 2 }], false)).toEqual([0, 1, 2]);
  });

  test.each([
    ['forward', 2 ** 31],
    ['back', -(2 ** 31)],
    ['to zero', -900_000],
    ['a second back', -90_000],
  ])('does not follow a jump %s', (_what, jump) => {
    const stamps = [900_000, 903_600, 907_200 + jump, 910_800 + jump];
    expect(decodes(stamps.map((dts) => ({ dts, pts: dts })))).toEqual([0, 1, 2, 3]);
  });

  test('takes a fall for a jump where no frame was ever shown before one that came earlier', () => {
    const stamps = Array.from({ length: 60 }, (_, i) => 900_000 + i * FRAME - (i < 30 ? 0 : 45_000));
    expect(decodes(stamps.map((pts) => ({ pts })))).toEqual(stamps.map((_, i) => i));
    const shown = place(stamps.map((pts) => ({ pts }))).map(({ presentation }) => presentation / FRAME);
    expect(shown).toEqual(stamps.map((_, i) => i));
  });

  test('follows a pause of the camera that is one of its frames, too', () => {
    expect(decodes([{ pts: 0 }, { pts: FRAME }, { pts: 900_000, arrivedMs: 10_000 }])).toEqual([0, 1, 250]);
  });

  test('has no place for the time that timestamps lost while nothing came', () => {
    // Ten seconds without a frame, and a clock that stood still meanwhile.
    expect(decodes([{ pts: 0 }, { pts: FRAME }, { pts: 2 * FRAME, arrivedMs: 10_040 }])).toEqual([0, 1, 251]);
  });

  test('rises where timestamps stand still or fall a little', () => {
    const placed = decodes([{ dts: 0 }, { dts: FRAME }, { dts: FRAME }, { dts: FRAME - 10 }, { dts: 3 * FRAME }]);
    expect(placed).toEqual([0, 1, 1 + 1 / FRAME, 1 + 2 / FRAME, 3]);
  });

  test('of a file that begins anew goes on', () => {
    const timeline = new Timeline(false);
    const times = { duration: FRAME, arrivedMs: 0 };
    timeline.place({ ...times, pts: 0, dts: 0 });
    timeline.place({ ...times, pts: FRAME, dts: FRAME });
    timeline.rebase();
    expect(timeline.place({ ...times, pts: 0, dts: 0 })).toMatchObject({ decode: 2 * FRAME, presentation: 2 * FRAME });
  });

  test('shows B-frames before the frame that came before them, with decoding times and without', () => {
    const shown = [1, 4, 2, 3, 7, 5, 6].map((i) => i * FRAME);
    const withBoth = place(shown.map((pts, i) => ({ pts, dts: i * FRAME })));
    expect(withBoth.map(({ presentation }) => presentation)).toEqual(shown);
    const alone = place(shown.map((pts) => ({ pts })));
    expect(alone.map(({ presentation }) => presentation)).toEqual(shown.map((pts) => pts - FRAME));
    const tick = 1 / FRAME;
    expect(alone.map(({ decode }) => decode / FRAME)).toEqual([0, 3, 3 + tick, 3 + 2 * tick, 3 + 3 * tick, 4, 5]);
  });

  test.each([
    // I P B B P B B, key frames among them; and with B-frames that others are predicted from.
    ['one is reordered', 1, [0, 3, 1, 2, 6, 4, 5, 7, 10, 8, 9, 13, 11, 12, 14]],
    ['two are reordered', 2, [0, 4, 2, 1, 3, 8, 6, 5, 7, 9, 13, 11, 10, 12]],
  ])(
    'decodes at the pace at which it shows, and never later, where the stream tells: %s',
    (_, reorderedFrames, order) => {
      const placed = place(order.map((at) => ({ pts: at * FRAME, reorderedFrames })));
      expect(placed.map(({ presentation }) => presentation / FRAME)).toEqual(order);
      for (const { decode, presentation } of placed) expect(decode).toBeLessThanOrEqual(presentation);
      const steps = placed.slice(1).map(({ decode }, i) => decode - placed[i]!.decode);
      expect(steps.slice(0, reorderedFrames)).toEqual(Array.from({ length: reorderedFrames }, () => 1));
      for (const step of steps.slice(reorderedFrames))
        expect(Math.abs(step - FRAME)).toBeLessThanOrEqual(reorderedFrames);
    },
  );

  test('has a hole where frames of a stream with B-frames are lost, and none behind it', () => {
    const timeline = new Timeline(true);
    const times = { dts: undefined, duration: undefined, reorderedFrames: 1 };
    const at = (i: number) => timeline.place({ ...times, pts: i * FRAME, arrivedMs: 40 * i }).decode / FRAME;
    for (const i of [0, 3, 1, 2]) at(i);
    timeline.break();
    const decoded = [30, 33, 31, 32].map(at);
    expect(decoded[0]).toBe(30);
    expect(decoded[3]).toBe(32);
  });
});

test('a first frame without a decoding time puts none of those behind it before its own', () => {
  // As FFmpeg gives a stream with B-frames: frames are decoded two intervals before they are shown.
  const shown = [0, 3, 1, 2, 6, 4, 5];
  const packets = shown.map((at, i) => ({
    pts: at * FRAME,
    dts: i === 0 ? undefined : (i - 2) * FRAME,
    duration: FRAME,
  }));
  const placed = place(packets);
  expect(placed.map(({ decode }) => decode / FRAME)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(placed.map(({ presentation }) => presentation / FRAME)).toEqual([0, 5, 3, 4, 8, 6, 7]);
});

test('whatever a camera sends, decoding times rise and are whole, and durations are above 0', () => {
  const stamp = fc.option(fc.integer({ min: -(2 ** 40), max: 2 ** 40 }), { nil: undefined });
  const packet = fc.record({
    pts: stamp,
    dts: stamp,
    duration: fc.option(fc.integer({ min: -5, max: 90_000 }), { nil: undefined }),
    waitMs: fc.double({ min: 0, max: 20_000, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 40 }), fc.boolean(), (packets, isLive) => {
      const timeline = new Timeline(isLive);
      let arrivedMs = 0;
      let last = -1;
      for (const { waitMs, ...times } of packets) {
        arrivedMs += waitMs;
        const { decode, presentation, duration } = timeline.place({ ...times, arrivedMs });
        expect(decode).toBeGreaterThan(last);
        expect([decode, presentation].every((time) => Number.isSafeInteger(time) && time >= 0)).toBe(true);
        expect(duration).toBeGreaterThan(0);
        last = decode;
      }
    }),
  );
});
