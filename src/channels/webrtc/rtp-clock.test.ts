import fc from 'fast-check';
import { expect, test } from 'vitest';
import { catchUpTimeS, RtpClock } from './rtp-clock.ts';

const ahead = (from: number, to: number): number => (to - from) | 0;

test('stamps are those of the medium at 90 kHz, over the end of their range', () => {
  const clock = new RtpClock(2 ** 32 - 1_000);
  const stamps = [0, 0.04, 0.08, 2].map((mediaTimeS) => clock.stampOf({ epoch: 1, mediaTimeS }, 0));
  expect(stamps.map((stamp) => ahead(stamps[0]!, stamp))).toEqual([0, 3_600, 7_200, 180_000]);
});

test('an epoch goes on where the one before has ended, by the time between them', () => {
  const clock = new RtpClock(0);
  const last = clock.stampOf({ epoch: 1, mediaTimeS: 9 }, 1_000);
  expect(ahead(last, clock.stampOf({ epoch: 2, mediaTimeS: 0 }, 1_500))).toBe(45_000);
});

test('they rise, whatever comes', () => {
  const frame = fc.record({
    epoch: fc.integer({ min: 1, max: 3 }),
    mediaTimeS: fc.double({ min: 0, max: 100, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(frame, fc.integer({ min: 0, max: 10_000 })), { minLength: 2 }), (frames) => {
      const clock = new RtpClock();
      const stamps = frames.map(([each, atMs]) => clock.stampOf(each, atMs));
      for (const [i, stamp] of stamps.entries()) if (i > 0) expect(ahead(stamps[i - 1]!, stamp)).toBeGreaterThan(0);
    }),
  );
});

test('what a late viewer gets at once is a millisecond apart, right before the newest', () => {
  const newest = { epoch: 1, mediaTimeS: 4 };
  expect([2, 1, 0].map((behind) => catchUpTimeS({ epoch: 1, mediaTimeS: 4 - behind }, { newest, behind }))).toEqual([
    3.998, 3.999, 4,
  ]);
  expect(catchUpTimeS({ epoch: 2, mediaTimeS: 1 }, { newest, behind: 2 })).toBe(1);
});
