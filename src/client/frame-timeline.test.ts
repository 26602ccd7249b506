import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CameraFragment } from './camera-session.ts';
import { FrameTimeline } from './frame-timeline.ts';

const BYTES = new Uint8Array();

function fragment(epoch: number, seq: number, mediaTimeS: number, durationS = 0.04): CameraFragment {
  const init = { isTranscoded: false, epoch, codecString: 'avc1.42c014', width: 16, height: 16, bytes: BYTES };
  const frame = { camera: 'north', epoch, seq };
  const times = { captureTimeMs: 0, serverCaptureTimeMs: 0, mediaTimeS, durationS };
  return { frame, init, isKey: seq % 10 === 0, ...times, clock: 'arrival', boxes: 'none', bytes: BYTES };
}

describe('frames on the timeline of a player', () => {
  test('begin at 0, and keep their distances', () => {
    const timeline = new FrameTimeline();
    for (let i = 0; i < 5; i++) {
      const placed = timeline.place(fragment(1, i, 100 + i * 0.04), 100 + i * 0.04);
      expect(placed.startS).toBeCloseTo(i * 0.04);
    }
    expect(timeline.endS).toBeCloseTo(0.2);
    expect(timeline.lastDurationS).toBe(0.04);
    for (let i = 0; i < 5; i++) expect(timeline.at(i * 0.04 + 0.0005)?.fragment.frame.seq).toBe(i);
    for (const between of [-1, 0.02, 0.05, 0.165, 9]) expect(timeline.at(between)).toBeUndefined();
  });

  test('a new epoch, a gap, and clocks that jump leave no holes', () => {
    const timeline = new FrameTimeline();
    const times: [epoch: number, atS: number][] = [
      [1, 0],
      [1, 0.04],
      // 20 frames are left out.
      [1, 0.88],
      [1, 0.92],
      // It has reconnected.
      [2, 0],
      [2, 0.04],
      // Its clock goes back, stands still, and leaps.
      [2, -3],
      [2, -3],
      [2, 1e6],
    ];
    for (const [i, [epoch, atS]] of times.entries()) {
      expect(timeline.place(fragment(epoch, i, atS), atS).startS).toBeCloseTo(i * 0.04);
    }
    for (const i of times.keys()) expect(timeline.at(i * 0.04)?.fragment.frame.seq).toBe(i);
  });

  test('whatever comes, each frame follows the one before so closely that a browser plays on', () => {
    const frames = fc.array(
      fc.record({
        epoch: fc.integer({ min: 1, max: 3 }),
        atS: fc.oneof(fc.double({ min: -1e5, max: 1e5, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
        durationS: fc.double({ min: 0, max: 2, noNaN: true }),
      }),
      { maxLength: 50 },
    );
    fc.assert(
      fc.property(frames, (all) => {
        const timeline = new FrameTimeline();
        let before: { startS: number; durationS: number } | undefined;
        for (const [i, { epoch, atS, durationS }] of all.entries()) {
          const one = fragment(epoch, i, atS, durationS);
          const offsetS = timeline.offsetFor(one, atS);
          const { startS, endS } = timeline.place(one, atS);
          expect(startS).toBeCloseTo(atS + offsetS, 6);
          if (before) {
            expect(startS).toBeGreaterThan(before.startS - 1e-6);
            expect(startS - before.startS).toBeLessThan(2 * before.durationS + 1e-6);
          }
          before = { startS, durationS: endS - startS };
        }
      }),
    );
  });

  test('frames that are shown in another order than they are decoded in are found by when they are shown', () => {
    const timeline = new FrameTimeline();
    // I P B B: decoded 0 1 2 3, shown 0 3 1 2.
    for (const [place, shown] of [1, 4, 2, 3].entries()) timeline.place(fragment(1, place, shown * 0.04), place * 0.04);
    expect([1, 2, 3, 4].map((shown) => timeline.at(shown * 0.04)?.fragment.frame.seq)).toEqual([0, 2, 3, 1]);
  });

  test('a key frame behind a gap follows all that is shown, also what was decoded before others that are shown earlier', () => {
    const timeline = new FrameTimeline();
    // I P B of one epoch, decoded at 0, 1, 2 and shown at 0, 3, 1: then the camera has reconnected.
    for (const [place, shown] of [0, 3, 1].entries()) timeline.place(fragment(1, place, shown * 0.04), place * 0.04);
    expect(timeline.place(fragment(2, 0, 5), 5).startS).toBeCloseTo(4 * 0.04);
  });

  test('where two begin at the same moment nobody knows which one is shown', () => {
    const timeline = new FrameTimeline();
    for (const [place, shown] of [0, 1, 1, 2].entries()) timeline.place(fragment(1, place, shown * 0.04), place * 0.04);
    expect([0, 1, 2].map((shown) => timeline.at(shown * 0.04)?.fragment.frame.seq)).toEqual([0, undefined, 3]);
  });

  test('key frames are found, and what is over is forgotten', () => {
    const timeline = new FrameTimeline();
    for (let i = 0; i < 25; i++) timeline.place(fragment(1, i, i * 0.04), i * 0.04);
    expect(timeline.keyBefore(0.9)).toBeCloseTo(0.8);
    expect(timeline.keyBefore(0.79)).toBeCloseTo(0.4);
    expect(timeline.keyBefore(-1)).toBeUndefined();
    timeline.forgetBefore(0.4);
    expect(timeline.size).toBe(15);
    expect(timeline.at(0.36)).toBeUndefined();
    expect(timeline.at(0.4)?.fragment.frame.seq).toBe(10);
    timeline.forgetBefore(100);
    expect(timeline.size).toBe(0);
    // The place of the next frame is not.
    expect(timeline.place(fragment(1, 25, 1), 1).startS).toBeCloseTo(1);
  });

  test('of very many frames the oldest are forgotten', () => {
    const timeline = new FrameTimeline();
    for (let i = 0; i < 3_000; i++) timeline.place(fragment(1, i, i * 0.04), i * 0.04);
    expect(timeline.size).toBe(2_000);
    expect(timeline.at(999 * 0.04)).toBeUndefined();
    expect(timeline.at(2_999 * 0.04)?.fragment.frame.seq).toBe(2_999);
  });
});
