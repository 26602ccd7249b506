import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ProcessControl } from './process-control.ts';

const GIB = 2 ** 30;
const STEP_MS = 100;

/** A process that is looked at ten times a second. */
class Run {
  readonly control = new ProcessControl();
  nowMs = 1.7e12;
  busyMs = 0;
  received = 0;

  go(forMs: number, { fps = 0, busyShare = 0, rssBytes = GIB / 4 } = {}): ProcessControl {
    for (let passedMs = 0; passedMs < forMs; passedMs += STEP_MS) {
      this.nowMs += STEP_MS;
      this.busyMs += busyShare * STEP_MS;
      this.received += (fps * STEP_MS) / 1_000;
      const { nowMs, busyMs, received } = this;
      this.control.update({
        nowMs,
        busyMs,
        busyShareMax: 0.8,
        rssBytes,
        rssBytesMax: GIB,
        received: () => received,
      });
    }
    return this.control;
  }
}

describe('the main thread', () => {
  test('bounds nothing while it has time enough, or while no frames come', () => {
    expect(new ProcessControl().ceilingFps(100)).toBe(Infinity);
    expect(new Run().go(10_000, { fps: 100, busyShare: 0.35 }).ceilingFps(1_000)).toBe(Infinity);
    expect(new Run().go(10_000, { fps: 0, busyShare: 1 }).ceilingFps(1_000)).toBe(Infinity);
    expect(new Run().go(10_000, { fps: 500, busyShare: 1 }).ceilingFps(undefined)).toBe(Infinity);
  });

  test('that is used too much is asked for as much less, one that is used less for more', () => {
    const run = new Run();
    expect(run.go(10_000, { fps: 500, busyShare: 1 }).ceilingFps(1_000)).toBeCloseTo(400, -1);
    expect(run.control.busyShare).toBeCloseTo(1, 2);
    expect(run.go(10_000, { fps: 400, busyShare: 0.8 }).ceilingFps(1_000)).toBeCloseTo(400, -1);
    expect(run.go(10_000, { fps: 300, busyShare: 0.6 }).ceilingFps(1_000)).toBeCloseTo(400, -1);
  });

  test('is not filled by video alone: a quarter of the engine’s capacity may always be asked for', () => {
    expect(new Run().go(10_000, { fps: 10, busyShare: 1 }).ceilingFps(1_000)).toBe(250);
  });

  test('a moment of work is no load', () => {
    const run = new Run();
    run.go(5_000, { fps: 100, busyShare: 0.1 });
    expect(run.go(300, { fps: 100, busyShare: 1 }).ceilingFps(1_000)).toBe(Infinity);
  });
});

describe('memory', () => {
  test.each([
    [0.25, Infinity],
    [0.9, Infinity],
    [1, 625],
    [1.1, 250],
    [9, 250],
  ])('%d times what it may have: %d of 1,000 frames a second', (used, ceiling) => {
    expect(new Run().go(1_000, { rssBytes: used * GIB }).ceilingFps(1_000)).toBeCloseTo(ceiling);
  });

  test('that has become free bounds nothing any more', () => {
    const run = new Run();
    run.go(1_000, { rssBytes: 2 * GIB });
    expect(run.go(100).ceilingFps(1_000)).toBe(Infinity);
  });
});

test('property: whatever is told, a quarter of the capacity may be asked for', () => {
  // A clock that is set back included.
  const number = fc.double({ min: -1e6, max: 1e9, noNaN: true });
  const facts = fc.record({
    nowMs: number,
    busyMs: number,
    busyShareMax: fc.double({ min: 0.01, max: 1, noNaN: true }),
    rssBytes: fc.double({ min: 0, max: 1e12, noNaN: true }),
    rssBytesMax: fc.double({ min: 1e6, max: 1e12, noNaN: true }),
    received: number,
  });
  fc.assert(
    fc.property(fc.array(facts, { maxLength: 20 }), (all) => {
      const control = new ProcessControl();
      for (const { received, ...rest } of all) {
        control.update({ ...rest, received: () => received });
        expect(control.ceilingFps(100)).toBeGreaterThanOrEqual(25);
        expect(control.busyShare).toBeGreaterThanOrEqual(0);
        expect(control.busyShare).toBeLessThanOrEqual(1);
      }
    }),
  );
});
