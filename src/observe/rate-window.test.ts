import { expect, test } from 'vitest';
import { RateWindow } from './rate-window.ts';

test('is unknown until something was read half a second ago', () => {
  const window = new RateWindow<'frames'>(10_000);
  expect(window.rates(0, { frames: 5 })).toBeUndefined();
  window.add(1_000, { frames: 5 });
  expect(window.rates(1_499, { frames: 50 })).toBeUndefined();
  expect(window.rates(1_500, { frames: 20 })).toEqual({ spanMs: 500, perS: { frames: 30 } });
});

test('is that of the window, whatever was before', () => {
  const window = new RateWindow<'frames' | 'bytes'>(10_000);
  // A thousand a second for a minute, then ten.
  for (let s = 0; s <= 60; s++) window.add(s * 1000, { frames: s * 1000, bytes: 0 });
  for (let s = 61; s <= 70; s++) window.add(s * 1000, { frames: 60_000 + (s - 60) * 10, bytes: s });
  expect(window.rates(70_000, { frames: 60_100, bytes: 70 })).toEqual({
    spanMs: 10_000,
    perS: { frames: 10, bytes: 7 },
  });
});

test('readings that come late make the window longer, not the rate wrong', () => {
  const window = new RateWindow<'frames'>(10_000);
  window.add(0, { frames: 0 });
  window.add(60_000, { frames: 600 });
  expect(window.rates(60_000, { frames: 600 })).toEqual({ spanMs: 60_000, perS: { frames: 10 } });
  window.add(70_000, { frames: 800 });
  expect(window.rates(71_000, { frames: 820 })).toEqual({ spanMs: 11_000, perS: { frames: 20 } });
});
