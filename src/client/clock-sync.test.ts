import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClockSync } from './clock-sync.ts';

/** An exchange with a server whose clock is `offsetMs` ahead, over a link with these delays. */
function exchange(startMs: number, offsetMs: number, upMs: number, downMs: number, thinkMs = 1) {
  const t1 = startMs + upMs + offsetMs;
  return { t0: startMs, t1, t2: t1 + thinkMs, t3: startMs + upMs + thinkMs + downMs };
}

describe('ClockSync', () => {
  test('knows nothing at first', () => expect(new ClockSync().estimate(0)).toBeUndefined());

  test('a symmetric exchange gives the exact offset', () => {
    const sync = new ClockSync();
    sync.add(exchange(1000, -250, 20, 20));
    expect(sync.estimate(1041)).toEqual({ offsetMs: -250, uncertaintyMs: 20, roundTripMs: 40 });
  });

  test('the shortest round trip wins', () => {
    const sync = new ClockSync();
    sync.add(exchange(0, 100, 50, 10));
    sync.add(exchange(100, 100, 3, 4));
    sync.add(exchange(200, 100, 10, 70));
    expect(sync.estimate(300)!.offsetMs).toBeCloseTo(99.5);
  });

  test('an old sample gives way to a slightly slower new one', () => {
    const sync = new ClockSync();
    sync.add(exchange(0, 100, 1, 1));
    sync.add(exchange(100_000, 101, 2, 2));
    // 15 ppm of 100 s are 1.5 ms more than the 1 ms that the new one is wrong by at most.
    expect(sync.estimate(100_010)!.offsetMs).toBeCloseTo(101);
  });

  test('a clock that was set makes everything before worthless', () => {
    const sync = new ClockSync();
    sync.add(exchange(0, 100, 1, 1));
    sync.add(exchange(100, 3_600_100, 40, 40));
    expect(sync.estimate(200)!.offsetMs).toBeCloseTo(3_600_100);
  });

  test('the greeting never puts a capture into the future', () => {
    const sync = new ClockSync();
    // Asked at 0, written by the server at 30 (its clock: 1030), read at 50.
    sync.addGreeting(1030, 0, 50);
    expect(sync.estimate(50)).toEqual({ offsetMs: 980, uncertaintyMs: 50, roundTripMs: 50 });
  });

  test('property: the true offset always lies within the uncertainty', () => {
    const delay = fc.double({ min: 0, max: 500, noNaN: true });
    fc.assert(
      fc.property(
        fc.double({ min: -1e6, max: 1e6, noNaN: true }),
        fc.array(fc.tuple(delay, delay), { minLength: 1, maxLength: 20 }),
        (offsetMs, links) => {
          const sync = new ClockSync();
          links.forEach(([upMs, downMs], i) => {
            sync.add(exchange(i * 2000, offsetMs, upMs, downMs));
            const estimate = sync.estimate(i * 2000 + 1500)!;
            expect(Math.abs(estimate.offsetMs - offsetMs)).toBeLessThanOrEqual(estimate.uncertaintyMs + 1e-6);
          });
        },
      ),
    );
  });
});
