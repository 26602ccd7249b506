import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { FrameLimiter } from './limiter.ts';

/** Offers a frame every `periodMs` for `seconds`; each is answered at once. Returns the times of those that went. */
function run(limiter: FrameLimiter, periodMs: number, seconds: number): number[] {
  const times: number[] = [];
  for (let i = 0; i * periodMs < seconds * 1000; i++) {
    const nowMs = i * periodMs;
    if (limiter.check(nowMs) !== 'go') continue;
    limiter.sent(i, nowMs);
    limiter.answered(i);
    times.push(nowMs);
  }
  return times;
}

describe('pace', () => {
  test.each([
    { camera: 30, grant: 15 },
    { camera: 30, grant: 20 },
    { camera: 30, grant: 7.5 },
    { camera: 60, grant: 24 },
    { camera: 25, grant: 15 },
    { camera: 15, grant: 15 },
  ])('a camera of $camera fps reaches a grant of $grant fps', ({ camera, grant }) => {
    const sent = run(new FrameLimiter({ rateFps: grant, window: 2 }, 0), 1000 / camera, 20);
    expect(sent.length / 20).toBeGreaterThan(grant * 0.97);
    expect(sent.length).toBeLessThanOrEqual(grant * 20 + 1.75);
  });

  test.each([
    { camera: 20, grant: 15 },
    { camera: 30, grant: 25 },
    { camera: 24, grant: 20 },
    { camera: 60, grant: 25 },
  ])('so does one of $camera fps under $grant fps on a 60 Hz screen with jitter', ({ camera, grant }) => {
    const random = seededRandom(7);
    const limiter = new FrameLimiter({ rateFps: grant, window: 2 }, 0);
    let sent = 0;
    for (let seq = 0; seq < camera * 60; seq++) {
      const shownMs = Math.ceil((seq * 1000) / camera / (1000 / 60) + random()) * (1000 / 60);
      if (limiter.check(shownMs) !== 'go') continue;
      limiter.sent(seq, shownMs);
      limiter.answered(seq);
      sent++;
    }
    expect(sent / 60).toBeGreaterThan(grant * 0.97);
  });

  test('says how long to wait', () => {
    const limiter = new FrameLimiter({ rateFps: 10, window: 4 }, 0);
    expect(limiter.nextInMs(0)).toBe(0);
    limiter.sent(1, 0);
    expect(limiter.check(0)).toBe('rate');
    expect(limiter.nextInMs(0)).toBeCloseTo(40);
    expect(limiter.nextInMs(20)).toBeCloseTo(20);
    expect(limiter.check(40)).toBe('go');
  });

  test('an idle time earns no burst', () => {
    const limiter = new FrameLimiter({ rateFps: 10, window: 100 }, 0);
    limiter.sent(1, 60_000);
    expect(limiter.check(60_000)).toBe('rate');
  });

  test('rate 0 stops the client until another grant', () => {
    const limiter = new FrameLimiter({ rateFps: 0, window: 2 }, 0);
    expect(limiter.check(1e9)).toBe('rate');
    expect(limiter.nextInMs(1e9)).toBe(Infinity);
    limiter.setGrant({ rateFps: 5, window: 2 }, 1e9);
    expect(limiter.check(1e9)).toBe('go');
  });

  test('a faster grant shortens the wait of the frame before', () => {
    const limiter = new FrameLimiter({ rateFps: 1, window: 2 }, 0);
    limiter.sent(1, 0);
    limiter.setGrant({ rateFps: 10, window: 2 }, 0);
    expect(limiter.nextInMs(0)).toBeCloseTo(40);
  });

  test('property: no span holds more than rate × span + 1.75 frames, and none follow closer than 0.4 frames', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 60, noNaN: true }),
        fc.array(fc.double({ min: -5, max: 300, noNaN: true }), { maxLength: 300 }),
        (rateFps, gapsMs) => {
          const limiter = new FrameLimiter({ rateFps, window: 2 }, 0);
          const times: number[] = [];
          let nowMs = 0;
          gapsMs.forEach((gapMs, seq) => {
            nowMs += gapMs;
            if (limiter.check(nowMs) !== 'go') return;
            limiter.sent(seq, nowMs);
            limiter.answered(seq);
            times.push(Math.max(nowMs, times.at(-1) ?? 0));
          });
          for (let from = 0; from < times.length; from++) {
            const gapMs = (times[from + 1] ?? Infinity) - times[from]!;
            expect((gapMs * rateFps) / 1000).toBeGreaterThanOrEqual(0.4 - 1e-3);
            for (let to = from; to < times.length; to++) {
              const spanMs = times[to]! - times[from]!;
              expect(to - from + 1).toBeLessThanOrEqual((rateFps * spanMs) / 1000 + 1.75 + 1e-3);
            }
          }
        },
      ),
    );
  });

  test('property: after the announced wait the frame may go', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 60, noNaN: true }),
        fc.array(fc.double({ min: 0, max: 200, noNaN: true }), { maxLength: 100 }),
        (rateFps, gapsMs) => {
          const limiter = new FrameLimiter({ rateFps, window: 2 }, 0);
          let nowMs = 0;
          gapsMs.forEach((gapMs, seq) => {
            nowMs += gapMs + limiter.nextInMs(nowMs + gapMs);
            expect(limiter.check(nowMs)).toBe('go');
            limiter.sent(seq, nowMs);
            limiter.answered(seq);
          });
        },
      ),
    );
  });
});

describe('window', () => {
  test('so many unanswered frames close the way until an answer comes', () => {
    const limiter = new FrameLimiter({ rateFps: 1000, window: 2 }, 0);
    limiter.sent(1, 0);
    limiter.sent(2, 100);
    expect(limiter.check(200)).toBe('window');
    expect(limiter.nextInMs(200)).toBe(Infinity);
    expect(limiter.answered(1)).toBe(true);
    expect(limiter.answered(1)).toBe(false);
    expect(limiter.check(200)).toBe('go');
  });

  test('a smaller window holds back until enough answers came', () => {
    const limiter = new FrameLimiter({ rateFps: 1000, window: 4 }, 0);
    for (const seq of [1, 2, 3]) limiter.sent(seq, seq * 10);
    limiter.setGrant({ rateFps: 1000, window: 2 }, 40);
    limiter.answered(1);
    expect(limiter.check(100)).toBe('window');
    limiter.answered(2);
    expect(limiter.check(100)).toBe('go');
  });

  test('abandoned frames are told once, oldest first', () => {
    const limiter = new FrameLimiter({ rateFps: 1000, window: 4 }, 0);
    for (const seq of [3, 7, 9]) limiter.sent(seq, seq * 10);
    limiter.answered(7);
    expect(limiter.abandon()).toEqual([3, 9]);
    expect(limiter.abandon()).toEqual([]);
    expect(limiter.unanswered).toBe(0);
  });

  test('property: never more unanswered than the largest window so far', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('offer' as const) }),
      fc.record({ kind: fc.constant('answer' as const), nth: fc.nat(20) }),
      fc.record({ kind: fc.constant('grant' as const), window: fc.integer({ min: 2, max: 8 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const limiter = new FrameLimiter({ rateFps: 60, window: 2 }, 0);
        const out: number[] = [];
        let window = 2;
        steps.forEach((s, seq) => {
          const nowMs = seq * 25;
          if (s.kind === 'grant') limiter.setGrant({ rateFps: 60, window: (window = s.window) }, nowMs);
          else if (s.kind === 'answer') {
            const [gone] = out.splice(s.nth, 1);
            if (gone !== undefined) expect(limiter.answered(gone)).toBe(true);
          } else if (limiter.check(nowMs) === 'go') {
            expect(out.length).toBeLessThan(window);
            limiter.sent(seq, nowMs);
            out.push(seq);
          }
          expect(limiter.unanswered).toBe(out.length);
        });
      }),
    );
  });
});

describe('spread', () => {
  const FAST = { rateFps: 10, window: 4 };
  const SLOW = { rateFps: 5, window: 4 };

  /** Milliseconds until the next frame after one was sent at 0 and the grant changed, with some spread. */
  const waitAfter = (rateFps: number, spread: number) => {
    const limiter = new FrameLimiter(FAST, 0);
    limiter.sent(1, 0);
    limiter.setGrant({ rateFps, window: 4 }, 0, spread);
    return limiter.nextInMs(0);
  };

  test('puts the next frame off by up to one more where the rate falls', () => {
    // The bucket holds the frame that was sent; one more may go at three quarters, but not closer than 0.4 frames.
    expect(waitAfter(5, 0)).toBeCloseTo(0.4 * 200);
    expect(waitAfter(5, 0.5)).toBeCloseTo((1.5 - 0.75) * 200);
    expect(waitAfter(5, 1)).toBeCloseTo((2 - 0.75) * 200);
  });

  test('nothing is put off by a rate that rises, stays or falls by a tenth', () => {
    for (const rateFps of [9, 10, 20]) expect(waitAfter(rateFps, 1)).toBeCloseTo(400 / rateFps);
    expect(waitAfter(8.9, 1)).toBeCloseTo(1_250 / 8.9);
  });

  test('grants that fall again and again put a frame off once, and the one after it once more', () => {
    const limiter = new FrameLimiter({ rateFps: 100, window: 4 }, 0);
    for (const rateFps of [50, 25, 10]) limiter.setGrant({ rateFps, window: 4 }, 0, 1);
    expect(limiter.nextInMs(0)).toBeCloseTo(25);
    limiter.sent(1, 25);
    limiter.setGrant(SLOW, 25, 1);
    expect(limiter.nextInMs(25)).toBeCloseTo((1.75 + 1 - 0.75) * 200);
  });

  test('a frame that a crowded server left out puts the next one off, once', () => {
    const limiter = new FrameLimiter({ rateFps: 10, window: 4 }, 0);
    limiter.sent(1, 0);
    limiter.putOff(0.5, 0);
    limiter.putOff(1, 0);
    expect(limiter.nextInMs(0)).toBeCloseTo((1.5 - 0.75) * 100);
    limiter.setGrant({ rateFps: 5, window: 4 }, 0, 1);
    expect(limiter.nextInMs(0)).toBeCloseTo((1.5 - 0.75) * 200);
  });

  test('clients in step come apart where there is room for all of them', () => {
    const random = seededRandom(3);
    // Twenty cameras of ten frames a second that show theirs at the same instant; a server that takes five at a time.
    const limiters = Array.from({ length: 20 }, () => new FrameLimiter({ rateFps: 2, window: 4 }, 0));
    const lostIn = (fromBeat: number, toBeat: number, share: () => number) => {
      let lost = 0;
      for (let beat = fromBeat; beat < toBeat; beat++) {
        let taken = 0;
        for (const limiter of limiters) {
          if (limiter.check(beat * 100) !== 'go') continue;
          limiter.sent(beat, beat * 100);
          limiter.answered(beat);
          if (++taken <= 5) continue;
          lost++;
          limiter.putOff(share(), beat * 100);
        }
      }
      return lost;
    };
    const inStep = lostIn(0, 100, () => 0);
    expect(inStep).toBeGreaterThanOrEqual(20 * 15);
    lostIn(100, 200, random);
    expect(lostIn(200, 300, random)).toBeLessThan(30);
  });

  test('a client that was stopped sends again as soon as it may', () => {
    const limiter = new FrameLimiter(FAST, 0);
    limiter.setGrant({ rateFps: 0, window: 4 }, 0, 1);
    limiter.setGrant(FAST, 5_000, 1);
    expect(limiter.nextInMs(5_000)).toBeCloseTo(25);
  });

  test('many clients that are told at once do not send in step from then on', () => {
    const random = seededRandom(11);
    const sentAt = (spread: () => number) =>
      Array.from({ length: 500 }, () => {
        const limiter = new FrameLimiter(FAST, 0);
        limiter.sent(1, 0);
        limiter.setGrant(SLOW, 0, spread());
        return limiter.nextInMs(0);
      });
    const momentsOf10Ms = (times: number[]) => new Set(times.map((ms) => Math.floor(ms / 10))).size;
    expect(momentsOf10Ms(sentAt(() => 0))).toBe(1);
    expect(momentsOf10Ms(sentAt(random))).toBeGreaterThanOrEqual(17);
  });

  test('property: it only delays, by one frame and the tolerance at the most, and never a limiter whose grants stay', () => {
    const steps = fc.record({
      gapMs: fc.double({ min: 0, max: 300, noNaN: true }),
      rateFps: fc.option(fc.double({ min: 1, max: 60, noNaN: true }), { nil: undefined }),
      spread: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 120 }), (all) => {
        const plain = new FrameLimiter({ rateFps: 30, window: 9 }, 0);
        const spread = new FrameLimiter({ rateFps: 30, window: 9 }, 0);
        let nowMs = 0;
        let hasFallen = false;
        all.forEach((step, seq) => {
          nowMs += step.gapMs;
          if (step.rateFps !== undefined) {
            hasFallen ||= step.rateFps < 0.9 * plain.grant.rateFps;
            const grant = { rateFps: step.rateFps, window: 9 };
            plain.setGrant(grant, nowMs);
            spread.setGrant(grant, nowMs, step.spread);
          }
          const [soonMs, laterMs] = [plain.nextInMs(nowMs), spread.nextInMs(nowMs)];
          expect(laterMs).toBeGreaterThanOrEqual(soonMs - 1e-6);
          // The frame before may have gone in time although it was put off, by the tolerance: this one pays for it then.
          expect(laterMs).toBeLessThanOrEqual(soonMs + (1_000 / plain.grant.rateFps) * (1.75 + 2e-6) + 1e-9);
          if (!hasFallen) expect(laterMs).toBe(soonMs);
          // Both go on from the same frame: what was put off before is over, but for the tolerance.
          if (laterMs > 0) return;
          for (const limiter of [plain, spread]) {
            limiter.sent(seq, nowMs);
            limiter.answered(seq);
          }
        });
      }),
    );
  });
});
