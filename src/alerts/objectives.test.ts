import { describe, expect, test } from 'vitest';
import { INACTIVE, isPending, nextState, UNKNOWN_MS_MAX, type AlertState } from './alert-state.ts';
import { bucketOf, BUCKETS, CLASSES, type StreamClass } from './frame-meter.ts';
import { BURNS, ObjectiveJudge, type ClassCounts, type Judgement, type Objectives, type Rank } from './objectives.ts';

const OF_CLASS = { latencyMs: 100, compliancePercent: 99 };
const OBJECTIVES: Objectives = {
  percentile: 95,
  latencyMs: { warning: 100, critical: 200 },
  dropsPercent: { warning: 5, critical: 10 },
  cpuPercent: { warning: 80, critical: 90 },
  memoryBytes: { warning: 6, critical: 7 },
  classes: { critical: OF_CLASS, high: OF_CLASS, normal: OF_CLASS, low: OF_CLASS },
  clearShare: 0.9,
};
const NOTHING: ClassCounts = { results: 0, late: 0, lost: 0, failed: 0 };

/** One class with a stream of frames, a second at a time. */
class World {
  readonly judge = new ObjectiveJudge();
  nowMs = 1_700_000_000_000;
  /** Of one step, ms. */
  stepMs = 1_000;
  counts = { ...NOTHING };
  name: StreamClass = 'normal';
  cpuPercent = 10;
  rssBytes = 1;

  constructor() {
    this.second({});
  }

  second(more: Partial<ClassCounts> & { ms?: number }): Judgement[] {
    this.nowMs += this.stepMs;
    const { ms = 30, ...counts } = more;
    for (const [key, value] of Object.entries(counts)) this.counts[key as keyof ClassCounts] += value;
    const mine = new Uint32Array(BUCKETS);
    mine[bucketOf(ms)] = counts.results ?? 0;
    const byClass = <T>(own: T, other: T) =>
      Object.fromEntries(CLASSES.map((name) => [name, name === this.name ? own : other])) as Record<StreamClass, T>;
    const figures = {
      classes: byClass({ ...this.counts }, NOTHING),
      latencies: byClass(mine, new Uint32Array(BUCKETS)),
      cpuPercent: this.cpuPercent,
      rssBytes: this.rssBytes,
    };
    return this.judge.judge(figures, OBJECTIVES, this.nowMs);
  }

  of(rule: string, judgements: Judgement[]): Judgement {
    return judgements.find((one) => one.rule === rule && (one.class === this.name || one.class === null))!;
  }

  for(seconds: number, more: Parameters<World['second']>[0]): Judgement[] {
    let last: Judgement[] = [];
    for (let s = 0; s < seconds; s += this.stepMs / 1_000) last = this.second(more);
    return last;
  }
}

describe('thresholds', () => {
  test.each([
    ['latency', { results: 10, ms: 90 }, 0],
    ['latency', { results: 10, ms: 110 }, 1],
    ['latency', { results: 10, ms: 250 }, 2],
    ['drops', { results: 96, lost: 4 }, 0],
    ['drops', { results: 94, lost: 6 }, 1],
    ['drops', { results: 80, lost: 11 }, 2],
    // A client that sends what is refused is not the server's fault; an error of the server is no drop either.
    ['drops', { results: 80, failed: 50 }, 0],
  ])('%s with %o a second: rank %i', (rule, second, rank) => {
    const world = new World();
    expect(world.of(rule, world.for(70, second))).toMatchObject({ rank, class: 'normal' });
  });

  test('too few frames say nothing, and other classes are not touched', () => {
    const world = new World();
    const judged = world.for(10, { results: 1, ms: 5_000 });
    expect(world.of('latency', judged)).toMatchObject({ rank: 'unknown', value: null });
    const later = world.for(30, { results: 1, ms: 5_000 });
    expect(world.of('latency', later).rank).toBe(2);
    expect(later.filter(({ rank }) => rank !== 'unknown' && rank > 0).map(({ class: name }) => name)).toEqual([
      'normal',
    ]);
  });

  test('of the machine: the mean of the last minute, not a moment', () => {
    const world = new World();
    world.for(60, {});
    world.cpuPercent = 100;
    world.rssBytes = 8;
    expect(world.of('cpu', world.second({}))).toMatchObject({ rank: 0, class: null });
    const later = world.for(80, {});
    expect(world.of('cpu', later)).toMatchObject({ rank: 2, value: 100, threshold: 90 });
    expect(world.of('memory', later)).toMatchObject({ rank: 2, unit: 'bytes' });
  });
});

describe('burn rates', () => {
  test('the table of the workbook', () => {
    expect(BURNS.map(({ shortMs, longMs, rate }) => [shortMs / 60_000, longMs / 3_600_000, rate])).toEqual([
      [5, 1, 14.4],
      [30, 6, 6],
      [360, 72, 1],
    ]);
  });

  /** Between two looks here; the server looks every second. */
  const STEP_S = 20;
  /** Seconds from the beginning of a trouble until it is judged to be of that rank; `badPercent` of the frames are late. */
  function detectedAfterS(badPercent: number, rank: Rank, limitS: number): number {
    const world = new World();
    world.stepMs = STEP_S * 1_000;
    world.for(4 * 3_600, { results: 100 });
    for (let s = STEP_S; s <= limitS; s += STEP_S) {
      const seen = world.of('compliance', world.second({ results: 100, late: badPercent })).rank;
      if (seen !== 'unknown' && seen >= rank) return s;
    }
    return Infinity;
  }

  test('a total failure is critical within minutes, a slow burn within the hour, and what is allowed never', () => {
    expect(detectedAfterS(100, 2, 3_600)).toBeLessThan(600);
    expect(detectedAfterS(7, 2, 3_600)).toBeGreaterThan(300);
    expect(detectedAfterS(7, 2, 20_000)).toBeLessThan(20_000);
    expect(detectedAfterS(1, 1, 8_000)).toBe(Infinity);
  });

  test('it ends soon after its cause, though the long window remembers', () => {
    const world = new World();
    world.stepMs = STEP_S * 1_000;
    world.for(3_600, { results: 20 });
    world.for(1_800, { results: 20, late: 20 });
    expect(world.of('compliance', world.second({ results: 20, late: 20 }))).toMatchObject({ rank: 2, floor: 2 });
    let s = 0;
    while (world.of('compliance', world.second({ results: 20 })).floor === 2) s += STEP_S;
    // The 30 minutes at 6 go on for longest: until 94.6 % of them are good again.
    expect(s).toBeLessThan(1_800);
  });

  test('a server that has just begun is not judged by an hour of which it has a minute', () => {
    const world = new World();
    expect(world.of('compliance', world.for(240, { results: 20, late: 20 })).rank).toBe('unknown');
    expect(world.of('compliance', world.for(120, { results: 20, late: 20 }))).toMatchObject({
      rank: 2,
      unit: 'burn_rate',
      threshold: 14.4,
    });
  });
});

describe('the life of an alert', () => {
  const TIMES = { forMs: 30_000, clearMs: 60_000 };
  const run = (state: AlertState, fromMs: number, toMs: number, rank: Rank | 'unknown', floor: Rank = 0) => {
    let now = state;
    for (let ms = fromMs; ms <= toMs; ms += 1_000) now = nextState(now, { rank, floor }, ms, TIMES);
    return now;
  };

  test('pending, warning, critical, warning, over', () => {
    let state = run(INACTIVE, 0, 29_000, 1, 1);
    expect(isPending(state)).toBe(true);
    state = run(state, 30_000, 30_000, 1, 1);
    expect(state.rank).toBe(1);
    state = run(state, 31_000, 60_000, 2, 2);
    expect(state.rank).toBe(1);
    state = run(state, 61_000, 61_000, 2, 2);
    expect(state.rank).toBe(2);
    state = run(state, 62_000, 121_000, 1, 1);
    expect(state.rank).toBe(2);
    state = run(state, 122_000, 122_000, 1, 1);
    expect(state.rank).toBe(1);
    state = run(state, 123_000, 182_000, 0, 0);
    expect(state.rank).toBe(1);
    expect(run(state, 183_000, 183_000, 0, 0).rank).toBe(0);
  });

  test('one second below begins the wait anew; between a threshold and well below it nothing changes', () => {
    let state = run(INACTIVE, 0, 29_000, 2, 2);
    state = run(state, 30_000, 30_000, 0, 0);
    expect(isPending(state)).toBe(false);
    state = run(state, 31_000, 60_000, 2, 2);
    expect(state.rank).toBe(0);
    state = run(state, 61_000, 61_000, 2, 2);
    expect(state.rank).toBe(2);
    // Below the threshold, but not well below: for hours.
    state = run(state, 62_000, 9_000_000, 0, 2);
    expect(state.rank).toBe(2);
    state = run(state, 9_001_000, 9_050_000, 0, 0);
    state = run(state, 9_051_000, 9_051_000, 0, 1);
    expect(run(state, 9_052_000, 9_062_000, 0, 0).rank).toBe(1);
  });

  test('what is not known fires nothing and resolves nothing, until ten minutes have told nothing', () => {
    const pending = run(INACTIVE, 0, 20_000, 2, 2);
    expect(run(pending, 21_000, 200_000, 'unknown').rank).toBe(0);
    const firing = run(INACTIVE, 0, 30_000, 2, 2);
    expect(run(firing, 31_000, 30_000 + UNKNOWN_MS_MAX, 'unknown').rank).toBe(2);
    expect(run(firing, 31_000, 31_000 + UNKNOWN_MS_MAX, 'unknown').rank).toBe(0);
  });
});
