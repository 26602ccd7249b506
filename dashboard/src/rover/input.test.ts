import { expect, test } from 'vitest';
import { isDriveKey, NO_WISH, padWish, wishOf } from './input.ts';

test.each([
  [['KeyW'], { throttle: 1, steer: 0 }],
  [['ArrowDown', 'KeyA'], { throttle: -1, steer: -1 }],
  [['KeyW', 'ArrowUp', 'KeyD'], { throttle: 1, steer: 1 }],
  [['KeyW', 'KeyS'], { throttle: 0, steer: 0 }],
  [['KeyQ', 'constructor'], { throttle: 0, steer: 0 }],
])('keys %j', (held, wish) => {
  expect(wishOf(held, NO_WISH)).toEqual(wish);
});

test('keys and pad add up to full at most', () => {
  expect(wishOf(['KeyW'], { throttle: 0.6, steer: -0.5 })).toEqual({ throttle: 1, steer: -0.5 });
});

test.each([
  [0, 0, NO_WISH],
  [0.05, -0.05, NO_WISH],
  [0, 1, { throttle: 1, steer: 0 }],
  [0.5, -0.25, { throttle: -0.25, steer: 0.5 }],
  [30, 40, { throttle: 0.8, steer: 0.6 }],
])('the pad at %d, %d', (right, up, wish) => {
  expect(padWish(right, up)).toEqual(wish);
});

test('only driving keys are taken from the browser', () => {
  expect(isDriveKey('ArrowLeft')).toBe(true);
  expect(isDriveKey('Tab')).toBe(false);
  expect(isDriveKey('toString')).toBe(false);
});
