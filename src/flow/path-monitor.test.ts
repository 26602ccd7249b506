import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PathMonitor, type FrameArrival } from './path-monitor.ts';

const BASE_MS = 20;
const M = 1_000_000;

function monitor(roundTripMs?: number): PathMonitor {
  const path = new PathMonitor();
  if (roundTripMs !== undefined) path.roundTrip(roundTripMs);
  return path;
}

const frame = (sentTimeMs: number, arrivedTimeMs: number, bytes = 12_500): FrameArrival => ({
  bytes,
  sentTimeMs,
  arrivedTimeMs,
});

/** Frames as one queue with one server delivers them, with the truth of each. */
function deliver(bps: number, frames: readonly { gapMs: number; bytes: number }[]) {
  let sentTimeMs = 1_000;
  let freeMs = 0;
  return frames.map(({ gapMs, bytes }) => {
    sentTimeMs += gapMs;
    const beginMs = Math.max(sentTimeMs, freeMs);
    const serviceMs = (bytes * 8_000) / bps;
    freeMs = beginMs + serviceMs;
    return { ...frame(sentTimeMs, freeMs + BASE_MS, bytes), queueMs: beginMs - sentTimeMs, serviceMs };
  });
}

const traffic = (gapMs: fc.Arbitrary<number>) =>
  fc.array(fc.record({ gapMs, bytes: fc.integer({ min: 5_000, max: 60_000 }) }), { minLength: 1, maxLength: 60 });

describe('with a round trip', () => {
  test('waiting and serialisation of a frame are told apart, and both give the capacity', () => {
    const path = monitor(2 * BASE_MS);
    expect(path.frame(frame(0, 120))).toMatchObject({ queueMs: 0, serviceMs: 100, baseMs: 20, capacityBps: M });
    expect(path.frame(frame(50, 220))).toMatchObject({ queueMs: 50, serviceMs: 100, baseMs: 20, capacityBps: M });
    expect(path.state).toMatchObject({ queueMs: 50, peakBps: M });
  });

  test('property: on one queue with one server every frame shows its own wait, and all of them the capacity', () => {
    fc.assert(
      fc.property(
        fc.double({ min: M / 2, max: 20 * M, noNaN: true }),
        traffic(fc.double({ min: 0, max: 300, noNaN: true })),
        (bps, frames) => {
          const path = monitor(2 * BASE_MS);
          for (const { queueMs, serviceMs, ...arrival } of deliver(bps, frames)) {
            const state = path.frame(arrival);
            expect(state.queueMs).toBeCloseTo(queueMs, 6);
            expect(state.serviceMs).toBeCloseTo(serviceMs, 6);
            // What takes less than two milliseconds cannot be measured: the capacity is not overestimated by it.
            if (frames.every(({ bytes }) => (bytes * 8_000) / bps >= 2)) expect(state.capacityBps).toBeCloseTo(bps, -2);
            else expect(state.capacityBps).toBeLessThanOrEqual(bps * (1 + 1e-6));
          }
        },
      ),
    );
  });

  test('one late frame says nothing of the capacity, two of three do, and of two the lower one counts', () => {
    const path = monitor(0);
    const capacities = [100, 200, 100, 1_000, 100, 1_000].map((serviceMs, i) => {
      const sentMs = i * 10_000;
      return path.frame(frame(sentMs, sentMs + serviceMs)).capacityBps;
    });
    expect(capacities).toEqual([M, M / 2, M, M / 2, M, M / 10]);
  });

  test('a round trip that is longer than the way of a frame was is not believed', () => {
    expect(monitor(1e300).frame(frame(0, 120))).toMatchObject({ baseMs: 120, queueMs: 0, serviceMs: 0 });
  });

  test('what takes less than two milliseconds counts as that: timers are no better', () => {
    for (const delayMs of [20, 20.5, 22]) expect(monitor(40).frame(frame(0, delayMs)).capacityBps).toBe(50 * M);
    expect(monitor(40).frame(frame(0, 24)).capacityBps).toBe(25 * M);
  });

  test('a frame that arrives before the one before it was served in no time', () => {
    const path = monitor(40);
    path.frame(frame(0, 120));
    expect(path.frame(frame(80, 110))).toMatchObject({ queueMs: 20, serviceMs: 0 });
    expect(path.frame(frame(120, 220))).toMatchObject({ queueMs: 0, serviceMs: 80 });
  });

  test.each([NaN, -1, -Infinity, Infinity])('a round trip of %d ms is none', (roundTripMs) => {
    const path = monitor(roundTripMs);
    expect(path.frame(frame(0, 120))).toEqual(monitor().frame(frame(0, 120)));
    path.roundTrip(40);
    path.roundTrip(roundTripMs);
    expect(path.frame(frame(1_000, 1_120)).baseMs).toBe(20);
  });
});

describe('without a round trip', () => {
  test('the smallest delay is the base, and only a frame that waited measures anything', () => {
    const path = monitor();
    expect(path.frame(frame(0, 120))).toMatchObject({ queueMs: 0, baseMs: 120, capacityBps: undefined });
    expect(path.frame(frame(1_000, 1_150))).toMatchObject({ queueMs: 0, serviceMs: 30, capacityBps: undefined });
    expect(path.frame(frame(1_010, 1_250))).toMatchObject({ queueMs: 20, serviceMs: 100, capacityBps: M });
  });

  test('property: a clock that is wrong by any constant changes the base and nothing else', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(-3_600_000, -5_000, 250, 86_400_000),
        traffic(fc.double({ min: 0, max: 100, noNaN: true })),
        (offMs, frames) => {
          const [right, wrong] = [monitor(), monitor()];
          for (const arrival of deliver(3 * M, frames)) {
            const one = right.frame(arrival);
            const other = wrong.frame({ ...arrival, sentTimeMs: arrival.sentTimeMs - offMs });
            expect(other.queueMs).toBeCloseTo(one.queueMs, 4);
            expect(other.serviceMs).toBeCloseTo(one.serviceMs, 4);
            expect(other.baseMs - offMs).toBeCloseTo(one.baseMs, 4);
          }
        },
      ),
    );
  });
});

describe('what a clock cannot be', () => {
  test('a time that is none tells nothing', () => {
    const path = monitor(40);
    const before = path.frame(frame(0, 120));
    expect(path.frame(frame(NaN, 220))).toBe(before);
    expect(path.frame(frame(-Infinity, 320))).toBe(before);
    expect(path.frame(frame(1_000, 1_120))).toMatchObject({ queueMs: 0, capacityBps: M });
  });

  test('a step back of two hours makes no peak that never was', () => {
    const path = monitor(40);
    path.frame(frame(7_200_000, 7_200_120));
    expect(path.frame(frame(0, 120)).peakBps).toBe(M);
  });
});

describe('what is forgotten', () => {
  test('a capacity that nothing has measured for ten seconds: without a round trip more may be tried then', () => {
    const path = monitor();
    for (const arrival of [frame(0, 120), frame(1_000, 1_150), frame(1_010, 1_250)]) path.frame(arrival);
    expect(path.state).toMatchObject({ capacityBps: M, peakBps: M });
    expect(path.frame(frame(11_130, 11_250)).capacityBps).toBe(M);
    expect(path.frame(frame(11_131, 11_251))).toMatchObject({ capacityBps: undefined, peakBps: undefined });
    const known = monitor(40);
    known.frame(frame(0, 120));
    expect(known.frame(frame(60_000, 60_120)).capacityBps).toBe(M);
  });

  /** A frame each second; the base from which the last one was judged. */
  const baseAfter = (seconds: number): number => {
    const path = monitor();
    path.frame(frame(0, 20));
    for (let second = 1; second < seconds; second++) path.frame(frame(second * 1_000, second * 1_000 + 80));
    return path.frame(frame(seconds * 1_000, seconds * 1_000 + 80)).baseMs;
  };

  test('a shorter way that is gone counts for ten seconds at least and for twenty at most', () => {
    expect([baseAfter(9), baseAfter(19), baseAfter(20), baseAfter(30)]).toEqual([20, 20, 80, 80]);
  });

  test('after a pause of a minute nothing of before counts', () => {
    const path = monitor();
    path.frame(frame(0, 20));
    expect(path.frame(frame(60_000, 60_080)).baseMs).toBe(80);
  });

  test('the peak halves in five seconds, and is never below what is measured now', () => {
    const path = monitor(0);
    path.frame(frame(0, 10));
    for (const sentMs of [1_000, 2_000]) path.frame(frame(sentMs, sentMs + 100));
    const { peakBps, capacityBps } = path.frame(frame(4_910, 5_010));
    expect(capacityBps).toBe(M);
    expect(peakBps).toBeCloseTo(5 * M);
    expect(path.frame(frame(60_000, 60_100)).peakBps).toBe(M);
  });
});

test('property: whatever a client claims, the state holds times that are none below zero and capacities that are numbers', () => {
  const claims = fc.record({
    gapMs: fc.constantFrom(0, 0, 0.001, 30, 1_000, 60_000, 3_600_000),
    agoMs: fc.oneof(
      fc.double({ min: 0, max: 500, noNaN: true }),
      fc.constantFrom(0, -50, -3_600_000, 3_600_000, 1e15, -1e15),
    ),
    bytes: fc.constantFrom(0, 1, 30_000, 2 ** 31),
    roundTripMs: fc.constantFrom(undefined, undefined, 0, 40, 1e9, 1e300, NaN, -40),
  });
  fc.assert(
    fc.property(fc.array(claims, { maxLength: 50 }), (all) => {
      const path = monitor();
      let nowMs = 1.7e12;
      for (const { gapMs, agoMs, bytes, roundTripMs } of all) {
        nowMs += gapMs;
        if (roundTripMs !== undefined) path.roundTrip(roundTripMs);
        const state = path.frame(frame(nowMs - agoMs, nowMs, bytes));
        expect(path.state).toBe(state);
        expect(state.queueMs).toBeGreaterThanOrEqual(0);
        expect(state.serviceMs).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(state.queueMs + state.serviceMs + state.baseMs)).toBe(true);
        expect(Number.isFinite(state.capacityBps ?? 0) && (state.capacityBps ?? 0) >= 0).toBe(true);
        expect(state.peakBps === undefined).toBe(state.capacityBps === undefined);
        expect(Number.isFinite(state.peakBps ?? 0)).toBe(true);
      }
    }),
  );
});
