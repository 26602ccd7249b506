import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEAD_MAN_MS, decideDrive } from './rover-safety.ts';

const NOW = 1_000_000;
const order = { throttle: 0.5, steer: -0.2, receivedTimeMs: NOW, expiresTimeMs: NOW + 500 };
const BRAKES = { throttle: 0, steer: 0, brake: true };

test('a fresh order is obeyed', () => {
  expect(decideDrive(order, false, NOW + 10)).toEqual({
    command: { throttle: 0.5, steer: -0.2, brake: false },
    stopCause: undefined,
  });
});

test.each([
  ['nobody has driven yet', undefined, false, NOW, 'idle'],
  ['an emergency stop', order, true, NOW, 'emergency'],
  ['silence', order, false, NOW + DEAD_MAN_MS, 'silence'],
  ['an order whose time is over', { ...order, expiresTimeMs: NOW + 100 }, false, NOW + 100, 'expired'],
])('%s: the brakes', (_, last, emergency, nowMs, stopCause) => {
  expect(decideDrive(last, emergency, nowMs)).toEqual({ command: BRAKES, stopCause });
});

test('whatever was ordered, without a fresh order for 300 ms the vehicle brakes', () => {
  const unit = fc.double({ min: -1, max: 1, noNaN: true });
  const ms = fc.integer({ min: 0, max: 1_000 });
  fc.assert(
    fc.property(unit, unit, ms, ms, fc.boolean(), (throttle, steer, lifeMs, ageMs, emergency) => {
      const last = { throttle, steer, receivedTimeMs: NOW, expiresTimeMs: NOW + lifeMs };
      const { command } = decideDrive(last, emergency, NOW + ageMs);
      const mayDrive = !emergency && ageMs < DEAD_MAN_MS && ageMs < lifeMs;
      expect(command.brake).toBe(!mayDrive);
    }),
  );
});
