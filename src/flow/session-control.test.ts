import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CONTROL_SETTINGS } from '../../test/sim/controllers.ts';
import type { Priority } from '../base/sample.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS, type GrantFields, type Pin } from '../protocol/video.ts';
import { jpegGrowth } from './jpeg-size.ts';
import { ladderOf } from './ladder.ts';
import { SessionControl, type SessionControlSettings } from './session-control.ts';

const SETTINGS: SessionControlSettings = { ...CONTROL_SETTINGS, stabilityMs: 1_000 };

const BEGAN_MS = 1.7e12;
const ONE_WAY_MS = 20;
/** Bytes a pixel at quality 50. */
const DENSITY = 0.1;
const M = 1_000_000;

/** A session and its client, which sends what it is granted at that moment. */
class Peer {
  readonly control: SessionControl;
  nowMs = BEGAN_MS;

  constructor(settings: Partial<SessionControlSettings> = {}, ownBudgetMs?: number) {
    this.control = new SessionControl({ ...SETTINGS, ...settings }, this.nowMs, ownBudgetMs);
  }

  /** So many frames, each so long after the one before and so long on its way. */
  send(
    count: number,
    { everyMs = 100, delayMs = ONE_WAY_MS, bytes = 10_000, priority = 1 as Priority, encodingMs = 0 } = {},
  ): this {
    for (let i = 0; i < count; i++) {
      this.nowMs += everyMs;
      const { nowMs } = this;
      this.control.frame({ bytes, sentTimeMs: nowMs - delayMs, arrivedTimeMs: nowMs }, priority, encodingMs);
    }
    return this;
  }

  /** For so long, on a way of its own that carries so many bits a second; grants are told as they come. */
  live(forMs: number, bps: number): this {
    this.control.roundTrip(2 * ONE_WAY_MS);
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs;) {
      const { width, height, quality, rate_fps: fps } = this.control.report().grant;
      const bytes = DENSITY * width * height * jpegGrowth(quality);
      const serviceMs = (bytes * 8_000) / bps;
      this.send(1, { everyMs: Math.max(1_000 / fps, serviceMs), delayMs: ONE_WAY_MS + serviceMs, bytes });
      this.control.news(this.nowMs);
    }
    return this;
  }

  get grant(): GrantFields {
    return this.control.grant();
  }
}

describe('grants', () => {
  test('the first one is the rung that the settings name', () => {
    expect(new Peer().grant).toEqual({
      rate_fps: 15,
      window: 2,
      width: 512,
      height: 384,
      quality: 60,
      pinned: null,
      level: 'medium',
      reason: 'start',
    });
  });

  test('without adaptation they are what the settings fix, whatever way and engine are like', () => {
    const peer = new Peer({ isAdaptive: false }).live(5_000, M / 2);
    expect(peer.grant).toMatchObject({
      rate_fps: 15,
      width: 640,
      height: 480,
      quality: 50,
      level: 'fixed',
      reason: 'fixed',
    });
    expect(new Peer({ isAdaptive: false, maxFps: 10 }).grant.rate_fps).toBe(10);
  });

  test('a wide way leads to the best of the settings, a narrow one to what it carries', () => {
    const peer = new Peer().live(10_000, 50 * M);
    expect(peer.grant).toMatchObject({
      rate_fps: 30,
      width: 640,
      quality: 90,
      level: 'ultra_high',
      reason: 'settings',
    });
    peer.live(10_000, M);
    const { rate_fps: fps, width, height, quality, reason } = peer.grant;
    expect([8 * fps * DENSITY * width * height * jpegGrowth(quality) < M, reason]).toEqual([true, 'link']);
  });

  test('the engine bounds the rate alone, and only where it is less than the rest', () => {
    const { control } = new Peer();
    control.share(20);
    expect(control.grant()).toMatchObject({ rate_fps: 15, reason: 'start' });
    control.share(4.567);
    expect(control.grant()).toMatchObject({ rate_fps: 4.57, width: 512, quality: 60, reason: 'compute' });
    control.share(Infinity);
    expect(control.grant()).toMatchObject({ rate_fps: 15, reason: 'start' });
  });

  test('a client whose display is behind is asked for less, down to a fifth', () => {
    const { control } = new Peer();
    const at = (lagMs: number) => {
      control.lag(lagMs);
      const { rate_fps: fps, reason } = control.grant();
      return [fps, reason];
    };
    expect(at(50)).toEqual([15, 'start']);
    expect(at(300)).toEqual([7.5, 'client']);
    expect(at(1e300)).toEqual([3, 'client']);
    for (const none of [NaN, -1, Infinity]) expect(at(none)).toEqual([3, 'client']);
    expect(at(0)).toEqual([15, 'start']);
  });

  test('so is one that does not read its results; the worse of both counts', () => {
    const { control } = new Peer();
    control.unread(300);
    expect(control.grant()).toMatchObject({ rate_fps: 7.5, reason: 'client' });
    control.lag(400);
    expect(control.grant().rate_fps).toBeCloseTo(4.5);
    control.unread(0);
    control.lag(0);
    expect(control.grant()).toMatchObject({ rate_fps: 15, reason: 'start' });
  });
});

test('no grant is 0: a client that it stops could show nothing that would raise it again', () => {
  const { control } = new Peer();
  control.share(0.001);
  expect(control.grant()).toMatchObject({ rate_fps: 0.01, reason: 'compute' });
  const slow = new Peer({ minFps: 1, sourceFps: 1 });
  slow.control.pin({ mode: 'ultra_performance', skip_ratio: 60 });
  slow.control.lag(10_000);
  expect(slow.grant.rate_fps).toBe(0.01);
});

describe('pins', () => {
  const pinned = (pin: Pin | null, settings: Partial<SessionControlSettings> = {}) => {
    const { control } = new Peer(settings);
    control.pin(pin);
    return control.grant();
  };

  test('a level fixes picture and rate, a mode leaves out frames of the source, a ratio of whatever it is', () => {
    expect(pinned({ level: 'high' })).toMatchObject({
      rate_fps: 25,
      width: 576,
      quality: 75,
      level: 'high',
      reason: 'pin',
      pinned: { level: 'high' },
    });
    expect(pinned({ mode: 'high_performance' })).toMatchObject({
      rate_fps: 10,
      width: 480,
      quality: 50,
      reason: 'pin',
    });
    expect(pinned({ skip_ratio: 3 })).toMatchObject({ rate_fps: 5, width: 512, level: 'medium', reason: 'pin' });
    expect(pinned({ skip_ratio: 1 })).toMatchObject({ rate_fps: 15, reason: 'start' });
    expect(pinned({ level: 'high', skip_ratio: 5 })).toMatchObject({ rate_fps: 5, width: 576 });
    expect(pinned({ level: 'low', mode: 'high_quality' })).toMatchObject({ rate_fps: 15, quality: 40 });
  });

  test('the most of the settings holds for pins too', () => {
    expect(pinned({ level: 'ultra_high' }, { maxFps: 12 }).rate_fps).toBe(12);
    expect(pinned({ mode: 'high_quality' }, { maxFps: 12 }).rate_fps).toBe(12);
    expect(pinned({ mode: 'balanced' }, { maxFps: 12 }).rate_fps).toBe(6);
    expect(pinned({ mode: 'balanced' }, { sourceFps: 10 }).rate_fps).toBe(5);
  });

  test('without adaptation they are taken as they are', () => {
    expect(pinned({ level: 'high' }, { isAdaptive: false })).toMatchObject({
      rate_fps: 25,
      quality: 75,
      reason: 'pin',
    });
    expect(pinned({ skip_ratio: 2 }, { isAdaptive: false })).toMatchObject({
      rate_fps: 7.5,
      quality: 50,
      reason: 'pin',
    });
  });

  test('what the way does not carry costs frames, not the picture', () => {
    const peer = new Peer().live(5_000, 6 * M);
    peer.control.pin({ level: 'ultra_high' });
    const { rate_fps: fps, ...picture } = peer.grant;
    expect(picture).toMatchObject({ width: 640, height: 480, quality: 90, reason: 'link' });
    const bits = 8 * DENSITY * 640 * 480 * jpegGrowth(90);
    expect(fps).toBeCloseTo((0.95 * 6 * M) / bits, 1);
    peer.control.pin({ level: 'ultra_low' });
    expect(peer.grant).toMatchObject({ rate_fps: 10, reason: 'pin' });
  });

  test('a slow way takes no pinned session below the least of the settings, as no other', () => {
    const peer = new Peer().live(5_000, M / 5);
    peer.control.pin({ level: 'ultra_high' });
    expect(peer.grant).toMatchObject({ rate_fps: 5, reason: 'link' });
    peer.control.pin({ level: 'ultra_high', skip_ratio: 5 });
    expect(peer.grant).toMatchObject({ rate_fps: 1, reason: 'link' });
  });

  test('let go of, leave nothing behind', () => {
    const { control } = new Peer();
    const before = control.grant();
    control.pin({ level: 'ultra_high', skip_ratio: 4 });
    control.pin(null);
    expect(control.grant()).toEqual(before);
  });
});

describe('the window', () => {
  test('is as many frames as are on the way, and a little more', () => {
    const peer = new Peer({ isAdaptive: false });
    peer.control.roundTrip(200);
    peer.send(1, { delayMs: 150 });
    // 15 a second × 1.15 × (200 ms there and back + 50 ms serialisation), and then 300 ms of processing.
    expect(peer.grant.window).toBe(5);
    for (let i = 0; i < 100; i++) peer.control.answered(peer.nowMs, 300);
    expect(peer.grant.window).toBe(10);
  });

  test('closes with one frame that takes longer than the time to the next, and opens with one that does not', () => {
    const peer = new Peer({ isAdaptive: false });
    peer.control.roundTrip(200);
    // 1.15 × (200 ms there and back + 67 of 200 ms), a frame every 200 ms instead of every 67.
    peer.send(1, { delayMs: 300 });
    expect(peer.grant.window).toBe(2);
    peer.nowMs += 1_000;
    peer.send(1, { delayMs: 150 });
    expect(peer.grant.window).toBe(5);
  });

  test('is what the settings say at the least, and 64 at the most', () => {
    expect(new Peer({ windowMin: 7 }).grant.window).toBe(7);
    const far = new Peer({ firstFps: 30 });
    far.control.roundTrip(1e9);
    expect(far.send(1, { delayMs: 60_000 }).grant.window).toBe(64);
    expect(new Peer({ windowMin: 1 }).grant.window).toBe(2);
  });
});

describe('the demand', () => {
  test('is all that the other bounds let through until the use is known, then a little more than that', () => {
    const peer = new Peer();
    expect(peer.control.demand(peer.nowMs)).toEqual({ priority: 1, wanted: 15, most: 15 });
    peer.send(1);
    expect(peer.control.demand(peer.nowMs).wanted).toBe(15);
    peer.send(10, { everyMs: 200, priority: 3 });
    expect(peer.control.demand(peer.nowMs)).toEqual({ priority: 3, wanted: expect.closeTo(5 * 1.25 + 1), most: 15 });
    peer.send(50, { everyMs: 20 });
    expect(peer.control.demand(peer.nowMs).wanted).toBe(15);
  });

  test('rests on what was used over half a second', () => {
    const peer = new Peer().send(50, { everyMs: 100 }).send(10, { everyMs: 50 });
    expect(peer.control.report().used_fps).toBeCloseTo(20 - 10 * Math.exp(-1));
  });

  test('of a source that has fallen silent goes to one frame a second', () => {
    const peer = new Peer().send(10, { everyMs: 100 });
    expect(peer.control.demand(peer.nowMs + 500).wanted).toBeCloseTo(10 * 1.25 + 1);
    expect(peer.control.demand(peer.nowMs + 2_000).wanted).toBeCloseTo(0.5 * 1.25 + 1);
    expect(peer.control.demand(peer.nowMs + 3_600_000).wanted).toBeCloseTo(1, 2);
  });

  test('is not lowered by the share that the engine gave: who wants more shows it', () => {
    const peer = new Peer().send(20, { everyMs: 1_000 / 15 });
    peer.control.share(2);
    expect(peer.control.demand(peer.nowMs).wanted).toBe(15);
  });

  test('two first frames that came together, while the model was loaded, are not ten thousand a second', () => {
    const peer = new Peer();
    peer.control.tell(peer.nowMs);
    peer.send(1).send(1, { everyMs: 0.1 });
    expect(peer.control.report().used_fps).toBe(30);
    expect(peer.send(7, { everyMs: 67 }).control.isWithinGrant).toBe(true);
  });

  test('a source keeps to its grant with some patience, and is forgiven when it does again', () => {
    const peer = new Peer();
    expect(peer.send(20, { everyMs: 5 }).control.isWithinGrant).toBe(true);
    peer.control.tell(peer.nowMs);
    // One and a half times 15, and 3.
    expect(peer.send(200, { everyMs: 1_000 / 25 }).control.isWithinGrant).toBe(true);
    expect(peer.send(200, { everyMs: 1_000 / 26 }).control.isWithinGrant).toBe(false);
    expect(peer.send(50, { everyMs: 100 }).control.isWithinGrant).toBe(true);
  });
});

describe('budget and deadline', () => {
  test('the budget is what the settings or the session ask for', () => {
    expect(new Peer().control.budgetMs(10)).toBe(75);
    expect(new Peer({}, 200).control.budgetMs(10)).toBe(200);
    expect(new Peer({}, 40).control.budgetMs(10)).toBe(40);
  });

  test('where way and engine cannot meet it, it is what they need with room to spare', () => {
    const peer = new Peer({}, 5);
    expect(peer.control.budgetMs(100)).toBeCloseTo(1.2 * 100 + 10);
    peer.control.roundTrip(40);
    peer.send(1, { delayMs: 70 });
    expect(peer.control.budgetMs(10)).toBeCloseTo(1.2 * (40 + 50 + 10) + 10);
    // Without a round trip the smallest delay stands for the way there, with its serialisation.
    const silent = new Peer().send(1, { delayMs: 70 }).send(1, { delayMs: 100 });
    expect(silent.control.budgetMs(10)).toBeCloseTo(1.2 * (140 + 10) + 10);
  });

  test('is stretched for a client that needs its time to encode, up to half of the budget, whatever it says', () => {
    const slow = new Peer({}, 75).send(200, { encodingMs: 30 });
    const needed = new Peer({}, 75).send(200).control.budgetMs(100);
    expect(slow.control.budgetMs(100)).toBeCloseTo(needed + 1.2 * 30);
    const liar = new Peer({}, 75).send(200, { encodingMs: 1e9 });
    expect(liar.control.budgetMs(100)).toBeCloseTo(needed + 1.2 * 37.5);
    expect(new Peer({}, 75).send(200, { encodingMs: -1e9 }).control.budgetMs(100)).toBeCloseTo(needed);
  });

  test('a frame must be with a worker early enough to be processed and told within the budget', () => {
    const peer = new Peer({}, 500);
    peer.control.roundTrip(40);
    peer.send(1, { delayMs: 70 });
    const captureMs = peer.nowMs - 80;
    expect(peer.control.deadlineMs(captureMs, peer.nowMs, 10)).toBe(captureMs + 500 - 10 - 20);
  });

  test('who has had no result for more than a second gets one even if it is late', () => {
    const { control } = new Peer();
    const late = BEGAN_MS - 60_000;
    expect(control.deadlineMs(late, BEGAN_MS + 1_000, 10)).toBe(late + 75 - 10);
    expect(control.deadlineMs(late, BEGAN_MS + 1_001, 10)).toBe(BEGAN_MS + 2_001);
    control.answered(BEGAN_MS + 1_500, 10);
    expect(control.deadlineMs(late, BEGAN_MS + 2_400, 10)).toBe(late + 75 - 10);
    control.restart(BEGAN_MS + 9_000);
    expect(control.deadlineMs(late, BEGAN_MS + 9_900, 10)).toBe(late + 75 - 10);
  });
});

describe('news', () => {
  test('nothing is told twice', () => {
    const { control } = new Peer();
    expect(control.news(BEGAN_MS)).toEqual(control.grant());
    expect(control.news(BEGAN_MS + 60_000)).toBeUndefined();
    expect(control.tell(BEGAN_MS + 60_000)).toEqual(control.grant());
    expect(control.report()).toMatchObject({ grants_told: 2, last_grant_time: BEGAN_MS + 60_000 });
  });

  test('less is told 40 ms after the last grant, more after 100', () => {
    const { control } = new Peer();
    control.tell(BEGAN_MS);
    control.share(10);
    expect(control.news(BEGAN_MS + 39)).toBeUndefined();
    expect(control.news(BEGAN_MS + 40)).toMatchObject({ rate_fps: 10, reason: 'compute' });
    control.share(Infinity);
    expect(control.news(BEGAN_MS + 139)).toBeUndefined();
    expect(control.news(BEGAN_MS + 140)).toMatchObject({ rate_fps: 15, reason: 'start' });
  });

  test('the time between two rises is the settings’', () => {
    const { control } = new Peer({ riseIntervalMs: 1_000 });
    control.share(5);
    control.tell(BEGAN_MS);
    control.share(10);
    expect(control.news(BEGAN_MS + 999)).toBeUndefined();
    expect(control.news(BEGAN_MS + 1_000)).toMatchObject({ rate_fps: 10 });
    control.share(5);
    expect(control.news(BEGAN_MS + 1_040)).toMatchObject({ rate_fps: 5 });
  });

  test('a rate that differs by less than 6 % is no news, nor is a window that shrinks by one', () => {
    const { control } = new Peer({ firstFps: 30 });
    control.roundTrip(200);
    control.share(10);
    control.tell(BEGAN_MS);
    const isNews = (fps: number) => {
      control.share(fps);
      return control.news(BEGAN_MS + 60_000) !== undefined;
    };
    expect([9.5, 10.5].map(isNews)).toEqual([false, false]);
    expect(isNews(9.39)).toBe(true);
    control.share(10);
    control.tell(BEGAN_MS);
    expect(isNews(10.61)).toBe(true);
    const peer = new Peer({ isAdaptive: false, firstFps: 30 });
    peer.control.roundTrip(200);
    peer.send(1, { delayMs: 100 });
    for (let i = 0; i < 100; i++) peer.control.answered(peer.nowMs, 100);
    expect(peer.control.tell(peer.nowMs).window).toBe(11);
    const windowNews = (processingMs: number) => {
      for (let i = 0; i < 100; i++) peer.control.answered(peer.nowMs, processingMs);
      return peer.control.news((peer.nowMs += 60_000))?.window;
    };
    expect([windowNews(80), windowNews(50), windowNews(70)]).toEqual([undefined, 9, 10]);
  });

  test.each([
    ['a larger picture', 'width', -1, 100],
    ['a smaller picture', 'width', 1, 40],
    ['a better quality', 'quality', -3, 100],
    ['a worse quality', 'quality', 3, 40],
    ['a wider window', 'window', -1, 100],
    ['a narrower window', 'window', 2, 40],
  ] as const)('%s is news', (_, field, toldBy, afterMs) => {
    const { control } = new Peer();
    const grant = control.grant();
    control.tell(BEGAN_MS, { ...grant, [field]: grant[field] + toldBy });
    expect(control.news(BEGAN_MS + afterMs - 1)).toBeUndefined();
    expect(control.news(BEGAN_MS + afterMs)).toEqual(grant);
  });

  test('a quality that differs by two is none', () => {
    const { control } = new Peer();
    const grant = control.grant();
    for (const by of [-2, 2]) {
      control.tell(BEGAN_MS, { ...grant, quality: grant.quality + by });
      expect(control.news(BEGAN_MS + 60_000)).toBeUndefined();
    }
  });

  test('another name or reason alone is news as a rise is', () => {
    const { control } = new Peer();
    const grant = control.grant();
    for (const [i, other] of [{ level: 'low' }, { reason: 'link' as const }].entries()) {
      const toldMs = BEGAN_MS + 1_000 * i;
      control.tell(toldMs, { ...grant, ...other });
      expect(control.news(toldMs + 99)).toBeUndefined();
      expect(control.news(toldMs + 100)).toEqual(grant);
    }
  });

  test('property: less at most every 40 ms, more at most every 100, and nothing that matters stays untold for longer', () => {
    const steps = fc.record({
      stepMs: fc.constantFrom(0, 1, 10, 33, 40, 100, 1_000),
      do: fc.oneof(
        fc.record({ share: fc.constantFrom(1, 9.5, 10, 10.5, 12, Infinity) }),
        fc.record({ lagMs: fc.constantFrom(0, 100, 5_000) }),
        fc.record({ bps: fc.double({ min: M / 5, max: 40 * M, noNaN: true }) }),
        fc.constant({ bps: 40 * M }),
      ),
    });
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 150 }), (all) => {
        const peer = new Peer({ stabilityMs: 100 });
        const { control } = peer;
        control.roundTrip(2 * ONE_WAY_MS);
        let last = control.tell(peer.nowMs);
        let toldMs = peer.nowMs;
        for (const { stepMs, do: what } of all) {
          if ('share' in what) control.share(what.share);
          else if ('lagMs' in what) control.lag(what.lagMs);
          else peer.send(1, { everyMs: 0, delayMs: ONE_WAY_MS + 80_000_000 / what.bps, bytes: 10_000 });
          peer.nowMs += stepMs;
          const grant = control.grant();
          const told = control.news(peer.nowMs);
          const rate = grant.rate_fps / last.rate_fps;
          const isLess = rate < 0.94 || grant.quality <= last.quality - 3 || grant.width < last.width;
          const sinceMs = peer.nowMs - toldMs;
          if (told) {
            expect(told).toEqual(grant);
            expect(told).not.toEqual(last);
            expect(sinceMs).toBeGreaterThanOrEqual(isLess ? 40 : 100);
            [last, toldMs] = [told, peer.nowMs];
          } else {
            if (sinceMs >= 40) expect(isLess).toBe(false);
            if (sinceMs < 100) continue;
            expect(rate).toBeLessThanOrEqual(1.06);
            expect(grant.quality).toBeLessThan(last.quality + 3);
            const { width, level, reason } = grant;
            expect({ width, level, reason }).toEqual({ width: last.width, level: last.level, reason: last.reason });
            expect(grant.window === last.window || grant.window === last.window - 1).toBe(true);
          }
        }
        expect(control.report().grant).toEqual(last);
      }),
    );
  });
});

describe('what frames teach', () => {
  const picture = ({ rate_fps, quality, width, height }: GrantFields) => ({ rate_fps, quality, width, height });
  const large = { quality: 90, width: 640, height: 480 };
  const small = { quality: 25, width: 320, height: 240 };

  /** What is granted after one frame that was sent so long after the second of two grants was told, a second after the first. */
  const learned = (first: Partial<GrantFields>, second: Partial<GrantFields>, sentAfterMs: number, delayMs = 30) => {
    const peer = new Peer();
    peer.control.roundTrip(2 * ONE_WAY_MS);
    peer.control.tell(peer.nowMs, { ...peer.grant, ...first });
    peer.nowMs += 1_000;
    peer.control.tell(peer.nowMs, { ...peer.grant, ...second });
    return picture(peer.send(1, { everyMs: sentAfterMs + delayMs, delayMs, bytes: 20_000 }).grant);
  };

  test('belongs to the grant that the client had when it sent them', () => {
    const [asLarge, asSmall] = [learned(large, large, 50), learned(small, small, 50)];
    expect(asLarge).not.toEqual(asSmall);
    // The second grant was still on its way to the client.
    expect(learned(large, small, ONE_WAY_MS - 1)).toEqual(asLarge);
    expect(learned(large, small, ONE_WAY_MS + 1)).toEqual(asSmall);
  });

  test('of before the first grant that is remembered belongs to that one', () => {
    const [asLarge, asSmall] = [learned(large, large, -990, 1_020), learned(small, small, -990, 1_020)];
    expect(asLarge).not.toEqual(asSmall);
    expect(learned(large, small, -990, 1_020)).toEqual(asLarge);
  });

  test('also when the picture of the settings has changed meanwhile', () => {
    const halved = new Peer();
    halved.control.roundTrip(2 * ONE_WAY_MS);
    halved.control.tell(halved.nowMs, { ...halved.grant, ...large });
    halved.control.configure({ ...SETTINGS, width: 320, height: 240 });
    halved.send(1, { delayMs: ONE_WAY_MS + 40, bytes: 40_000 });
    const small = new Peer({ width: 320, height: 240 });
    small.control.roundTrip(2 * ONE_WAY_MS);
    small.control.tell(small.nowMs, { ...small.grant, quality: 90, width: 320, height: 240 });
    small.send(1, { delayMs: ONE_WAY_MS + 10, bytes: 10_000 });
    expect(picture(halved.grant)).toEqual(picture(small.grant));
  });

  test('a clock that is wrong by an hour changes nothing for who tells no round trip', () => {
    const grants = [0, 3_600_000, -3_600_000].map((offMs) => {
      const peer = new Peer();
      peer.send(40, { everyMs: 30, delayMs: 100 + offMs, bytes: 30_000 });
      for (let i = 1; i <= 40; i++) peer.send(1, { everyMs: 60, delayMs: 100 + offMs + 5 * i, bytes: 30_000 });
      return picture(peer.grant);
    });
    expect(grants[0]!.rate_fps).toBeLessThan(15);
    expect(grants).toEqual([grants[0], grants[0], grants[0]]);
  });
});

describe('other settings, another connection', () => {
  test('without adaptation from now on the share of the engine is forgotten, and the rate is the settings’', () => {
    const peer = new Peer().live(5_000, M);
    peer.control.share(1);
    peer.control.configure({ ...SETTINGS, isAdaptive: false });
    expect(peer.grant).toMatchObject({ rate_fps: 15, width: 640, quality: 50, reason: 'fixed' });
    // What it was told of the way before is not true any more: a pin is not bounded by it.
    peer.control.configure(SETTINGS);
    peer.control.pin({ level: 'ultra_high' });
    expect(peer.grant).toMatchObject({ rate_fps: 30, reason: 'pin' });
  });

  test('a session that was fixed begins to adapt where the settings say', () => {
    const peer = new Peer({ isAdaptive: false }).live(5_000, M / 2);
    peer.control.configure(SETTINGS);
    expect(peer.grant).toMatchObject({ rate_fps: 15, level: 'medium', quality: 60, reason: 'start' });
  });

  test('pin and own budget stay with the session', () => {
    const { control } = new Peer({}, 200);
    control.pin({ level: 'low' });
    control.configure({ ...SETTINGS, width: 320, height: 240, budgetMs: 1_000, windowMin: 9 });
    expect(control.grant()).toMatchObject({ width: 208, height: 156, pinned: { level: 'low' }, window: 9 });
    expect(control.budgetMs(10)).toBe(200);
  });

  test('on another connection the way, the lag and the use are unknown again; the picture stays', () => {
    const peer = new Peer().live(5_000, 2 * M);
    peer.control.lag(5_000);
    const before = peer.control.report();
    const picked = picture(peer.grant);
    expect(before).toMatchObject({ client_lag_ms: 5_000, link_one_way_ms: expect.closeTo(ONE_WAY_MS) });
    expect(before.capacity_bps).toBeCloseTo(2 * M, -1);
    expect(before.asked_bps).toBeCloseTo(0.95 * 2 * M, -1);
    expect(before.used_fps).toBeGreaterThan(1);
    peer.control.restart(peer.nowMs);
    expect(peer.control.report()).toMatchObject({
      capacity_bps: null,
      asked_bps: null,
      used_fps: null,
      link_queue_ms: null,
      link_service_ms: null,
      link_one_way_ms: null,
      client_lag_ms: null,
      grants_told: before.grants_told,
      ladder_moves: before.ladder_moves,
      last_grant_time: before.last_grant_time,
    });
    expect(picture(peer.grant)).toEqual(picked);
    expect(peer.control.demand(peer.nowMs).wanted).toBeCloseTo(peer.grant.rate_fps, 1);
    // Nor does the time without a connection count as little use.
    peer.send(1, { everyMs: 60_000 });
    expect(peer.control.demand(peer.nowMs).wanted).toBeCloseTo(peer.grant.rate_fps, 1);
  });

  test('small pictures of a way that others share come less often', () => {
    const shared = new Peer();
    shared.control.shareWay(true);
    expect(shared.live(8_000, 2 * M).grant.rate_fps).toBeLessThanOrEqual(20);
    expect(new Peer().live(8_000, 2 * M).grant.rate_fps).toBeGreaterThan(24);
  });

  test('on another connection a pin is not bounded by what the last one carried', () => {
    const peer = new Peer().live(5_000, M);
    peer.control.restart(peer.nowMs);
    peer.control.pin({ level: 'ultra_high' });
    expect(peer.grant).toMatchObject({ rate_fps: 30, reason: 'pin' });
  });

  test('the share of the engine is told in the report where there is one', () => {
    const { control } = new Peer();
    expect(control.report()).toMatchObject({ share_fps: null, last_grant_time: null, grants_told: 0 });
    expect(control.report().grant).toEqual(control.grant());
    control.share(4);
    expect(control.report().share_fps).toBe(4);
  });

  const picture = ({ width, height, quality }: GrantFields) => ({ width, height, quality });
});

test('property: whatever a client does or claims, its grant is one that it can follow', () => {
  const times = fc.oneof(
    fc.double({ min: 0, max: 500, noNaN: true }),
    fc.constantFrom(0, 1e-9, 3_600_000, 1e300, Infinity, NaN, -1),
  );
  const settings = fc.record({
    rungs: fc
      .constantFrom(['levels'], ['modes'], ['only 50.5 0.05 0.1'], ['sharp 90 0.3 30', 'large 50 1 30'])
      .map((words) => ladderOf(words, 30, 30)),
    startRung: fc.nat(5),
    width: fc.constantFrom(16, 640, 8_192),
    height: fc.constantFrom(16, 480, 8_192),
    firstFps: fc.integer({ min: 1, max: 60 }),
    minFps: fc.integer({ min: 1, max: 15 }),
    maxFps: fc.integer({ min: 15, max: 60 }),
    sourceFps: fc.integer({ min: 1, max: 60 }),
    stabilityMs: fc.constantFrom(50, 5_000, 3_600_000),
    isAdaptive: fc.boolean(),
    fixedQuality: fc.integer({ min: 1, max: 100 }),
    windowMin: fc.integer({ min: 2, max: 64 }),
    budgetMs: fc.integer({ min: 1, max: 60_000 }),
    priority: fc.constant<Priority>(1),
  });
  const steps = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        gapMs: fc.constantFrom(0, 0, 0.001, 10, 33, 500, 60_000),
        agoMs: fc.oneof(
          fc.double({ min: 0, max: 300, noNaN: true }),
          fc.constantFrom(0, 60_000, -50, 3_600_000, -3_600_000),
        ),
        bytes: fc.constantFrom(1, 100, 5_000, 20_000, 2_000_000, 2 ** 26),
      }),
    },
    { weight: 1, arbitrary: fc.record({ roundTripMs: times }) },
    { weight: 1, arbitrary: fc.record({ lagMs: times }) },
    {
      weight: 2,
      arbitrary: fc.record({
        pin: fc.option(
          fc.record(
            {
              level: fc.constantFrom(...QUALITY_LEVELS),
              mode: fc.constantFrom(...PERFORMANCE_MODES),
              skip_ratio: fc.integer({ min: 1, max: 60 }),
            },
            { requiredKeys: [] },
          ),
        ),
      }),
    },
    { weight: 1, arbitrary: fc.record({ share: fc.constantFrom(0, 5e-324, 0.001, 0.75, 5, 1e9, Infinity) }) },
    { weight: 1, arbitrary: fc.record({ processingMs: fc.double({ min: 0, max: 1e5, noNaN: true }) }) },
    { weight: 1, arbitrary: fc.record({ settings }) },
    { weight: 1, arbitrary: fc.constant({ isBack: true }) },
  );
  fc.assert(
    fc.property(settings, fc.array(steps, { maxLength: 80 }), (begun, all) => {
      let nowMs = BEGAN_MS;
      let now = begun;
      const control = new SessionControl(begun, nowMs);
      for (const step of all) {
        if ('bytes' in step) {
          nowMs += step.gapMs;
          control.frame({ bytes: step.bytes, sentTimeMs: nowMs - step.agoMs, arrivedTimeMs: nowMs }, 1);
        } else if ('roundTripMs' in step) control.roundTrip(step.roundTripMs);
        else if ('lagMs' in step) control.lag(step.lagMs);
        else if ('pin' in step) control.pin(step.pin);
        else if ('share' in step) control.share(step.share);
        else if ('processingMs' in step) control.answered(nowMs, step.processingMs);
        else if ('settings' in step) control.configure((now = step.settings));
        else control.restart(nowMs);
        const grant = control.grant();
        expect(grant.rate_fps).toBeGreaterThan(0);
        expect(grant.rate_fps).toBeLessThanOrEqual(now.maxFps);
        expect(Number.isInteger(grant.window) && grant.window >= now.windowMin && grant.window <= 64).toBe(true);
        expect(Number.isInteger(grant.quality) && grant.quality >= 1 && grant.quality <= 100).toBe(true);
        expect(Number.isInteger(grant.width) && grant.width >= 1 && grant.width <= now.width).toBe(true);
        expect(Number.isInteger(grant.height) && grant.height >= 1 && grant.height <= now.height).toBe(true);
        const { wanted, most = NaN } = control.demand(nowMs);
        expect(wanted > 0 && wanted <= most && most <= now.maxFps).toBe(true);
        const budgetMs = control.budgetMs(10);
        expect(budgetMs >= now.budgetMs && budgetMs < Infinity).toBe(true);
        expect(Number.isFinite(control.deadlineMs(nowMs - 10, nowMs, 10))).toBe(true);
        control.news(nowMs);
      }
    }),
    { numRuns: 300 },
  );
});
