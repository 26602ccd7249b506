import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LinkLine, phaseAt, type LinkProfile } from './link-line.ts';

const noJitter = () => 0;
const steady = (bitsPerS: number, delayMs = 0): LinkProfile => ({
  phases: [{ forMs: Infinity, bitsPerS }],
  delayMs,
  jitterMs: 0,
});
const lineOf = (profile: LinkProfile, random = noJitter, bytesMax = 1e9) =>
  new LinkLine<number>(profile, 0, bytesMax, random);

/** When each of so many messages arrives that are all sent at once. */
function arrivals(line: LinkLine<number>, count: number, bytes: number, nowMs: number): number[] {
  for (let i = 0; i < count; i++) line.push(i, bytes, nowMs);
  const times: number[] = [];
  while (line.nextMs < Infinity) {
    const atMs = line.nextMs;
    for (const item of line.take(atMs)) times[item] = atMs;
  }
  return times;
}

describe('LinkLine', () => {
  test('a message takes its own time at the rate, then the propagation; the next one waits for it', () => {
    // 10,000 bytes at 1 Mbit/s: 80 ms.
    expect(arrivals(lineOf(steady(1e6, 10)), 3, 10_000, 5)).toEqual([95, 175, 255]);
  });

  test('what is not sent yet is counted, what travels is not', () => {
    const line = lineOf(steady(1e6, 50));
    line.push(1, 10_000, 0);
    line.push(2, 5_000, 0);
    expect(line.queuedBytes(0)).toBe(15_000);
    expect(line.queuedBytes(80)).toBe(5_000);
    expect(line.queuedBytes(120)).toBe(0);
    expect(line.take(129)).toEqual([]);
    expect(line.take(200)).toEqual([1, 2]);
    expect(line.nextMs).toBe(Infinity);
  });

  test('the rate changes while a message is on its way', () => {
    const halved: LinkProfile = {
      phases: [
        { forMs: 100, bitsPerS: 1e6 },
        { forMs: 100, bitsPerS: 5e5 },
      ],
      delayMs: 0,
      jitterMs: 0,
    };
    // 80,000 bits each. The second has 20 ms at the full rate, 100 at half of it, and 10 in the next cycle.
    expect(arrivals(lineOf(halved), 3, 10_000, 0)).toEqual([80, 210, 290]);
  });

  test('nothing leaves during a stall', () => {
    const stalling: LinkProfile = {
      phases: [
        { forMs: 100, bitsPerS: 1e6 },
        { forMs: 300, bitsPerS: 0 },
      ],
      delayMs: 2,
      jitterMs: 0,
    };
    expect(arrivals(lineOf(stalling), 2, 10_000, 0)).toEqual([82, 462]);
    expect(arrivals(lineOf(stalling), 1, 10_000, 150)).toEqual([482]);
  });

  test('a queue that is full takes no more, and takes again once something has left', () => {
    const line = lineOf(steady(1e6), noJitter, 15_000);
    expect(line.push(1, 10_000, 0)).toBe(true);
    expect(line.push(2, 10_000, 0)).toBe(false);
    expect(line.push(3, 10_000, 80)).toBe(true);
    expect(line.take(1_000)).toEqual([1, 3]);
  });

  test('in order and never faster than the link, whatever the jitter, the phases and the sender', () => {
    const phase = fc.record({ forMs: fc.integer({ min: 1, max: 500 }), bitsPerS: fc.integer({ min: 0, max: 2e7 }) });
    const carrying = fc.record({
      forMs: fc.integer({ min: 10, max: 500 }),
      bitsPerS: fc.integer({ min: 1e5, max: 2e7 }),
    });
    const sending = fc.record({
      afterMs: fc.integer({ min: 0, max: 300 }),
      bytes: fc.integer({ min: 0, max: 50_000 }),
    });
    fc.assert(
      fc.property(
        fc.array(phase, { maxLength: 4 }),
        carrying,
        fc.array(sending, { minLength: 1, maxLength: 30 }),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1 }),
        (phases, last, sent, randoms) => {
          const profile = { phases: [...phases, last], delayMs: 7, jitterMs: 40 };
          let drawn = 0;
          const line = lineOf(profile, () => randoms[drawn++ % randoms.length]!);
          const fastest = Math.max(...profile.phases.map(({ bitsPerS }) => bitsPerS));
          let nowMs = 0;
          const sentMs: number[] = [];
          const got: number[] = [];
          for (const [i, { afterMs, bytes }] of sent.entries()) {
            nowMs += afterMs;
            got.push(...line.take(nowMs));
            expect(line.push(i, bytes, nowMs)).toBe(true);
            sentMs.push(nowMs);
          }
          while (line.nextMs < Infinity) {
            const atMs = line.nextMs;
            const items = line.take(atMs);
            for (const i of items) {
              const leastMs = 7 + (sent[i]!.bytes * 8_000) / fastest;
              expect(atMs - sentMs[i]!).toBeGreaterThanOrEqual(leastMs - 1e-6);
            }
            got.push(...items);
          }
          expect(got).toEqual(sent.map((_, i) => i));
        },
      ),
    );
  });
});

test('phases come round', () => {
  const profile: LinkProfile = {
    phases: [
      { forMs: 30, bitsPerS: 1 },
      { forMs: 10, bitsPerS: 2 },
    ],
    delayMs: 0,
    jitterMs: 0,
  };
  expect(phaseAt(profile, 0)).toEqual({ index: 0, leftMs: 30 });
  expect(phaseAt(profile, 35)).toEqual({ index: 1, leftMs: 5 });
  expect(phaseAt(profile, 45)).toEqual({ index: 0, leftMs: 25 });
  expect(phaseAt(steady(5), 1e9)).toEqual({ index: 0, leftMs: Infinity });
});
