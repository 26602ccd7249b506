import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CONTROL_SETTINGS } from '../../test/sim/controllers.ts';
import { jpegGrowth } from './jpeg-size.ts';
import { builtInLadder, ladderOf } from './ladder.ts';
import type { PathState } from './path-monitor.ts';
import { SessionQuality, type FrameBounds, type Quality, type QualitySettings } from './quality.ts';

const M = 1_000_000;
/** Bytes a pixel at quality 50. */
const DENSITY = 0.1;
const FRAME_MS = 30;

const SETTINGS: QualitySettings = { ...CONTROL_SETTINGS, stabilityMs: 1_000 };

const UNMEASURED: PathState = { queueMs: 0, serviceMs: 0, baseMs: 0, capacityBps: undefined, peakBps: undefined };
const way = (bps: number, queueMs = 0): PathState => ({ ...UNMEASURED, queueMs, capacityBps: bps, peakBps: bps });

function bytesOf({ width, height }: QualitySettings, { quality, scale }: { quality: number; scale: number }): number {
  return DENSITY * width * height * scale ** 2 * jpegGrowth(quality);
}

/** A session of one scene, whose frames have the size that their quality gives them. */
class Scene {
  readonly session: SessionQuality;
  settings: QualitySettings;
  nowMs = 1.7e12;

  constructor(more: Partial<QualitySettings> = {}) {
    this.settings = { ...SETTINGS, ...more };
    this.session = new SessionQuality(this.settings);
  }

  see(path: PathState, forMs = FRAME_MS, bounds?: FrameBounds): Quality {
    for (const endMs = this.nowMs + forMs; this.nowMs < endMs;) {
      this.nowMs += FRAME_MS;
      const { current } = this.session;
      this.session.frame(this.nowMs, bytesOf(this.settings, current), current, path, bounds);
    }
    return this.session.current;
  }

  configure(more: Partial<QualitySettings>): Quality {
    this.settings = { ...this.settings, ...more };
    this.session.configure(this.settings);
    return this.session.current;
  }

  /** Bits a second that frames like these come to; of the next lower quality, since qualities are rounded. */
  get askedBps(): number {
    const { fps, quality, scale } = this.session.current;
    return 8 * fps * bytesOf(this.settings, { quality: quality - 0.5, scale });
  }
}

describe('the beginning', () => {
  test('is the rung and the rate that the settings name', () => {
    const { session } = new Scene();
    expect([session.current, session.bound]).toEqual([{ rung: 2, fps: 15, quality: 60, scale: 0.8 }, 'start']);
    expect(new Scene({ maxFps: 10 }).session.current.fps).toBe(10);
    expect(new Scene({ startRung: 99 }).session.current).toEqual({ rung: 4, fps: 15, quality: 90, scale: 1 });
  });

  test('lasts until the way was measured, however many frames come', () => {
    const scene = new Scene();
    expect(scene.see(UNMEASURED, 60_000)).toEqual({ rung: 2, fps: 15, quality: 60, scale: 0.8 });
    expect([scene.session.bound, scene.session.fpsFor({ quality: 90, scale: 1 })]).toEqual(['start', Infinity]);
    scene.see(way(M / 2));
    expect(scene.session.bound).toBe('link');
  });
});

describe('a wide way', () => {
  test('first gives better and more pictures of the same size, then larger ones, rung by rung', () => {
    const scene = new Scene();
    expect(scene.see(way(100 * M), 400)).toEqual({ rung: 2, fps: 30, quality: 90, scale: 0.8 });
    expect(scene.session.bound).toBe('ladder');
    expect(scene.see(way(100 * M), 900)).toMatchObject({ rung: 3, scale: 0.9 });
    expect(scene.see(way(100 * M), 1_500)).toEqual({ rung: 4, fps: 30, quality: 90, scale: 1 });
    expect([scene.session.bound, scene.session.ladderMoves]).toEqual(['settings', 2]);
  });

  test('gives a picture of the best quality before it grows', () => {
    const scene = new Scene({ startRung: 0 });
    expect(scene.see(way(100 * M), 400)).toEqual({ rung: 0, fps: 30, quality: 90, scale: 0.5 });
    expect(scene.session.bound).toBe('ladder');
  });

  test('gives no more frames than the settings allow', () => {
    expect(new Scene({ maxFps: 12 }).see(way(100 * M), 5_000)).toEqual({ rung: 4, fps: 12, quality: 90, scale: 1 });
  });
});

describe('a narrow way', () => {
  test('gives smaller pictures at once, and of the least ones fewer', () => {
    const scene = new Scene({ startRung: 4 });
    // The least of ultra_low: ten frames a second of quality 25 at half the size.
    const least = 8 * 10 * bytesOf(SETTINGS, { quality: 25, scale: 0.5 });
    expect(scene.see(way((0.8 * least) / 0.95))).toEqual({ rung: 0, fps: expect.closeTo(8), quality: 25, scale: 0.5 });
    expect(scene.session.bound).toBe('link');
  });

  test('brings the rate down to the least of the settings, not below', () => {
    expect(new Scene().see(way(1_000), 1_000)).toEqual({ rung: 0, fps: 5, quality: 25, scale: 0.5 });
    expect(new Scene({ minFps: 20 }).see(way(1_000), 1_000)).toEqual({ rung: 0, fps: 20, quality: 25, scale: 0.5 });
  });

  test('lowers quality and rate before the size: a rung lasts as long as 80 % of its least are there', () => {
    const scene = new Scene();
    // Pictures of medium size at the quality and rate of low.
    const least = 8 * 15 * bytesOf(SETTINGS, { quality: 40, scale: 0.8 });
    expect(scene.see(way((0.81 * least) / 0.95))).toEqual({
      rung: 2,
      fps: expect.closeTo(0.81 * 15),
      quality: 40,
      scale: 0.8,
    });
    expect(scene.see(way((0.79 * least) / 0.95))).toMatchObject({ rung: 1, scale: 0.65 });
  });

  test('has pictures that pass within what the budget leaves: smaller, and more of them', () => {
    const settled = (leftMs: number, sourceFps = Infinity) => {
      const { fps, ...picture } = new Scene({ startRung: 4 }).see(way(2 * M), 6_000, { leftMs, sourceFps });
      return { fps, passageMs: bytesOf(SETTINGS, picture) / 250 };
    };
    const [large, inTime, least] = [Infinity, 52, 1].map((leftMs) => settled(leftMs));
    expect(large!.passageMs).toBeGreaterThan(55);
    expect(inTime!.passageMs).toBeLessThan(53);
    expect(inTime!.fps).toBeGreaterThan(large!.fps);
    for (const { fps, passageMs } of [large!, inTime!, least!]) expect(fps * passageMs).toBeGreaterThan(900);
    // No smaller than what fills the link at the highest rate, or at that of the source.
    expect(least!.fps).toBeGreaterThan(27);
    expect(least!.passageMs).toBeLessThan(36);
    expect(settled(1, 18).passageMs).toBeCloseTo(0.95 * (1000 / 18), 0);
  });

  test('what a queue holds back for a moment costs frames, not size', () => {
    const scene = new Scene();
    const before = scene.see(way(2.5 * M), 300);
    const after = scene.see(way(2.5 * M, 100));
    expect(after.rung).toBe(before.rung);
    expect(after.fps * jpegGrowth(after.quality)).toBeLessThan(0.75 * before.fps * jpegGrowth(before.quality));
  });

  test('is no way on which a frame waits for five milliseconds, but one on which it waits for longer', () => {
    const rateBps = (queueMs: number) => {
      const scene = new Scene();
      scene.see(way(2 * M, queueMs));
      return scene.session.rateBps;
    };
    expect(rateBps(5)).toBe(rateBps(0));
    expect(rateBps(30)).toBeLessThan(0.92 * rateBps(0));
  });
});

test('what the way carries is used to a few percent', () => {
  const scene = new Scene({ stabilityMs: 3_600_000 });
  for (const mbps of [2.4, 2.7, 3, 3.6, 4]) {
    const { fps, quality, scale } = scene.see(way(mbps * M), 3_000);
    const bps = 8 * fps * bytesOf(SETTINGS, { quality, scale });
    expect(bps / scene.session.rateBps).toBeGreaterThan(0.97);
    expect(bps / scene.session.rateBps).toBeLessThan(1.02);
  }
});

test('qualities are whole numbers, whatever the ladder says', () => {
  const rungs = ladderOf(['a 40.5 0.5 10', 'b 80.5 1 20'], 30, 30);
  expect(new Scene({ rungs, startRung: 0 }).session.current.quality).toBe(41);
  expect(new Scene({ rungs, startRung: 0 }).see(way(1_000)).quality).toBe(41);
  expect(new Scene({ rungs, startRung: 1 }).see(way(100 * M), 3_000).quality).toBe(81);
});

test('frames of another picture that the way carries are told by their size', () => {
  const scene = new Scene();
  scene.see(way(2 * M), 3_000);
  const high = { quality: 75, scale: 0.9 };
  expect(scene.session.fpsFor(high)).toBeCloseTo(scene.session.rateBps / (8 * bytesOf(SETTINGS, high)), 6);
  expect(scene.session.rateBps).toBeCloseTo(0.95 * 2 * M);
});

describe('other settings', () => {
  test('before anything was measured are where the session begins', () => {
    expect(new Scene().configure({ firstFps: 20, maxFps: 18 })).toEqual({ rung: 2, fps: 18, quality: 60, scale: 0.8 });
  });

  test('another ladder: the rung that costs most nearly the same, and moves go on counting', () => {
    const scene = new Scene();
    scene.see(way(100 * M), 5_000);
    const moves = scene.session.ladderMoves;
    expect(moves).toBeGreaterThan(0);
    const { rung } = scene.configure({ rungs: ladderOf(['a 10 0.2 5', 'b 90 1 29', 'c 95 1 60'], 30, 30) });
    expect(rung).toBe(1);
    expect(scene.session.ladderMoves).toBe(moves);
    scene.see(way(1_000));
    expect([scene.session.current.rung, scene.session.ladderMoves]).toEqual([0, moves + 1]);
  });

  test('a ladder of as many other rungs is another one too', () => {
    const scene = new Scene();
    scene.see(way(100 * M), 5_000);
    const words = ['a 50 0.2 5', 'b 50 0.3 5', 'c 90 1 29', 'd 95 1 30', 'e 99 1 60'];
    expect(scene.configure({ rungs: ladderOf(words, 30, 30) }).rung).toBe(2);
  });

  test('a shorter ladder has a rung for everybody', () => {
    const scene = new Scene({ startRung: 4 });
    scene.see(way(100 * M), 1_000);
    expect(scene.configure({ rungs: ladderOf(['only 50 0.5 10'], 30, 30), startRung: 0 })).toEqual({
      rung: 0,
      fps: 10,
      quality: 50,
      scale: 0.5,
    });
  });

  test('the same ladder keeps the rung, and bounds hold at once', () => {
    const scene = new Scene();
    scene.see(way(100 * M), 5_000);
    expect(scene.configure({ rungs: builtInLadder('levels', 30), maxFps: 7 })).toMatchObject({ rung: 4, fps: 7 });
  });

  test('another stability time holds for the step that is under way', () => {
    const scene = new Scene({ stabilityMs: 3_600_000 });
    scene.see(way(100 * M), 2_000);
    expect(scene.session.current.rung).toBe(2);
    scene.configure({ stabilityMs: 1_000 });
    expect(scene.see(way(100 * M)).rung).toBe(3);
  });
});

test('on another connection nothing is known of the way, and the picture stays', () => {
  const scene = new Scene();
  const before = scene.see(way(M / 2), 1_000);
  scene.session.restart();
  expect(scene.session.rateBps).toBe(new SessionQuality(SETTINGS).rateBps);
  expect(scene.see(UNMEASURED, 1_000)).toEqual(before);
  expect(scene.session.fpsFor({ quality: 90, scale: 1 })).toBe(Infinity);
  expect(scene.see(way(100 * M)).fps).toBeGreaterThan(before.fps);
});

describe('property', () => {
  const capacities = fc.double({ min: 50_000, max: 60 * M, noNaN: true });

  test('never more is asked for than the way carries, unless it carries less than the least', () => {
    const stretches = fc.array(fc.record({ bps: capacities, queueMs: fc.constantFrom(0, 0, 3, 30, 400) }), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(stretches, fc.nat(4), (all, startRung) => {
        const scene = new Scene({ startRung });
        for (const { bps, queueMs } of all) {
          const { fps } = scene.see(way(bps, queueMs), 10 * FRAME_MS);
          if (fps > SETTINGS.minFps) expect(scene.askedBps).toBeLessThanOrEqual(scene.session.rateBps * (1 + 1e-9));
        }
      }),
    );
  });

  test('a wider way never gives a worse picture or fewer of them', () => {
    fc.assert(
      fc.property(capacities, capacities, fc.nat(4), (one, other, startRung) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)].map((bps) => {
          const scene = new Scene({ startRung, stabilityMs: 3_600_000 });
          return scene.see(way(bps), 1_000);
        });
        expect(more!.rung).toBeGreaterThanOrEqual(less!.rung);
        if (more!.rung > less!.rung) return;
        expect(more!.fps).toBeGreaterThanOrEqual(less!.fps);
        expect(more!.quality).toBeGreaterThanOrEqual(less!.quality);
      }),
    );
  });

  test('whatever frames and ways are said to be, the picture is within the settings', () => {
    const ladders = fc.constantFrom(
      ['levels'],
      ['modes'],
      ['only 1 0.05 0.1'],
      ['least 1 0.05 0.1', 'most 100 1 60'],
      // Costs rise, but neither quality nor scale does.
      ['sharp 90 0.3 30', 'large 50 1 30'],
      ['large 20 1 30', 'sharp 90 1 30'],
      ['odd 40.5 0.5 10', 'and 80.5 1 20'],
    );
    const settings = fc.record({
      rungs: ladders.map((words) => ladderOf(words, 30, 30)),
      startRung: fc.nat(9),
      width: fc.constantFrom(16, 640, 8_192),
      height: fc.constantFrom(16, 480, 8_192),
      firstFps: fc.integer({ min: 1, max: 60 }),
      minFps: fc.integer({ min: 1, max: 15 }),
      maxFps: fc.integer({ min: 15, max: 60 }),
      stabilityMs: fc.constantFrom(50, 5_000, 3_600_000),
    });
    const figures = fc.constantFrom(undefined, 0, 5e-324, 1, 300_000, 5 * M, 1e300);
    const steps = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          do: fc.constant('frame' as const),
          bytes: fc.constantFrom(0, 1, 20_000, 2 ** 31),
          stepMs: fc.constantFrom(0, 0.001, 30, 300, 60_000, -60_000),
          queueMs: fc.constantFrom(0, 0, 10, 1e4, 1e12),
          capacityBps: figures,
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('configure' as const), settings }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
    );
    fc.assert(
      fc.property(settings, fc.array(steps, { maxLength: 60 }), (begun, all) => {
        const session = new SessionQuality(begun);
        let [now, nowMs] = [begun, 1.7e12];
        for (const step of all) {
          if (step.do === 'configure') session.configure((now = step.settings));
          else if (step.do === 'restart') session.restart();
          else {
            const { bytes, queueMs, capacityBps } = step;
            nowMs += step.stepMs;
            const path = { ...UNMEASURED, queueMs, capacityBps, peakBps: capacityBps };
            expect(session.frame(nowMs, bytes, session.current, path)).toEqual(session.current);
          }
          const { rung, fps, quality, scale } = session.current;
          expect(scale).toBe(now.rungs[rung]?.scale);
          expect(fps).toBeGreaterThanOrEqual(Math.min(now.minFps, now.firstFps));
          expect(fps).toBeLessThanOrEqual(now.maxFps);
          expect(Number.isInteger(quality) && quality >= 1 && quality <= 100).toBe(true);
          expect(session.rateBps).toBeGreaterThan(0);
        }
      }),
      { numRuns: 300 },
    );
  });
});
