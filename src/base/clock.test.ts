import { describe, expect, test } from 'vitest';
import { ManualClock, SteadyClock, ownTimeMs, systemClock, wallAheadMs, wallTimeMs } from './clock.ts';

const YEAR_MS = 365 * 86_400_000;

/** A machine whose time goes on by itself and whose wall clock can be set. */
class Machine {
  trueMs = 1_700_000_000_000.25;
  setByMs = 0;
  /** How long a reading of the wall clock takes. */
  readTakesMs = 0;
  readonly clock = new SteadyClock({
    monotonicMs: () => this.trueMs,
    wallMs: () => {
      const wallMs = Math.floor(this.trueMs + this.setByMs);
      this.trueMs += this.readTakesMs;
      return wallMs;
    },
  });
}

describe('SteadyClock', () => {
  test.each([2 * YEAR_MS, -10 * YEAR_MS, 3_600_000, -150, 130])(
    'follows a step of %d ms, and its own time goes on as if nothing had been',
    (byMs) => {
      const machine = new Machine();
      const before = machine.clock.now();
      expect(wallAheadMs(machine.clock)).toBe(0);
      machine.setByMs = byMs;
      machine.trueMs += 1_000;
      expect(machine.clock.now() - before).toBe(1_000);
      expect(Math.abs(wallAheadMs(machine.clock) - byMs)).toBeLessThanOrEqual(0.5);
      expect(Math.abs(wallTimeMs(machine.clock) - (before + 1_000 + byMs))).toBeLessThanOrEqual(0.5);
      expect(machine.clock.wallSteps).toBe(1);
      machine.setByMs = 0;
      expect(Math.abs(wallAheadMs(machine.clock))).toBeLessThanOrEqual(0.5);
      expect(machine.clock.wallSteps).toBe(2);
    },
  );

  test('takes neither the fraction that the wall clock leaves out nor a thread that was put off for a step', () => {
    const machine = new Machine();
    machine.readTakesMs = 400;
    for (let i = 0; i < 100; i++) {
      machine.trueMs += 0.37;
      expect(wallAheadMs(machine.clock)).toBe(0);
    }
    expect(machine.clock.wallSteps).toBe(0);
  });

  test('follows a clock that drifts away slowly, to within its tolerance', () => {
    const machine = new Machine();
    for (let i = 0; i < 1_000; i++) {
      machine.setByMs += 1;
      expect(Math.abs(wallAheadMs(machine.clock) - machine.setByMs)).toBeLessThan(22);
    }
  });

  test('a time of day and back is the same moment', () => {
    const clock = new ManualClock();
    clock.stepWall(-YEAR_MS);
    expect(wallTimeMs(clock)).toBe(clock.now() - YEAR_MS);
    expect(ownTimeMs(clock, wallTimeMs(clock))).toBe(clock.now());
  });

  test('the system’s is the time of day, and rises', () => {
    const before = systemClock.now();
    expect(Math.abs(wallTimeMs(systemClock) - Date.now())).toBeLessThan(100);
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
  });
});

test('a simulated clock needs to tell nothing of a wall', () => {
  expect(wallTimeMs({ now: () => 5 })).toBe(5);
  expect(ownTimeMs({ now: () => 5 }, 7)).toBe(7);
});
