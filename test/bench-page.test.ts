import { expect, test } from 'vitest';
import { frameFigures, framesBar } from '../bench/page/frames.ts';

test('frames a second are counted between the first and the last one, and the longest gap is found', () => {
  const even = Array.from({ length: 61 }, (_, n) => 500 + (n * 1_000) / 60);
  const { framesPerS, gapP99Ms, gapMaxMs } = frameFigures(even, 1_000);
  for (const [figure, expected] of [
    [framesPerS, 60],
    [gapP99Ms, 1_000 / 60],
    [gapMaxMs, 1_000 / 60],
  ] as const) {
    expect(figure).toBeCloseTo(expected, 6);
  }
  // Without the frames between 600 and 800 ms.
  const held = even.filter((timeMs) => timeMs < 600 || timeMs > 800);
  expect(frameFigures(held, 1_000).framesPerS).toBeLessThan(50);
  expect(frameFigures(held, 1_000).gapMaxMs).toBeGreaterThan(200);
});

test.each([[[]], [[12]]])(
  'a page that stands still (frames at %j ms) has none, and one gap as long as the span',
  (timesMs) => {
    expect(frameFigures(timesMs, 4_000)).toEqual({ framesPerS: 0, gapP99Ms: 4_000, gapMaxMs: 4_000 });
  },
);

test('55 frames a second are asked for where an idle page has 60, else nine tenths of what it has', () => {
  expect([60.02, 59.3, 50, 0].map(framesBar)).toEqual([55, 55, 45, 0]);
  expect(framesBar(Number.NaN)).toBeNaN();
});
