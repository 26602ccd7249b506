import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EngineControl, type FrameDemand } from './engine-control.ts';

const STEP_MS = 100;
/** Of the capacity that is asked for, of one source and of several equal ones. */
const HEADROOM = 0.97;
const ofMany = (count: number) => HEADROOM * (1 + 0.13 * (1 - 1 / count));

/** An engine and its control, looked at ten times a second. */
class Run {
  readonly control = new EngineControl();
  nowMs = 1.7e12;
  completed = 0;
  busyMs = 0;

  /** So long: so many frames a second finished, each of which took a worker so long. */
  go(forMs: number, { fps = 0, serviceMs = 0, workers = 2, waitMs = 0 } = {}): EngineControl {
    for (let passedMs = 0; passedMs < forMs; passedMs += STEP_MS) {
      this.nowMs += STEP_MS;
      this.completed += (fps * STEP_MS) / 1_000;
      this.busyMs += (fps * serviceMs * STEP_MS) / 1_000;
      const { nowMs, completed, busyMs } = this;
      // Of a run all of the time is work.
      this.control.update({ nowMs, completed, workMs: busyMs, busyMs, workers, waitMs });
    }
    return this.control;
  }
}

/** Of the work of most of these tests. */
const COST_MS = 10;
const demand = (wanted: number, more: Partial<FrameDemand> = {}): FrameDemand => {
  return { priority: 1, wanted, costMs: COST_MS, ...more };
};
const demands = (count: number, wanted: number, more: Partial<FrameDemand> = {}): FrameDemand[] =>
  Array.from({ length: count }, () => demand(wanted, more));
const total = (shares: readonly number[]) => shares.reduce((sum, share) => sum + share, 0);

test('what the process allows is a ceiling for all together', () => {
  const control = new Run().go(5_000, { fps: 100, serviceMs: 15 });
  const four = demands(4, 50, { costMs: 15 });
  expect(total(control.shares(four, 60))).toBeCloseTo(60);
  expect(total(control.shares(four, 1_000))).toBeCloseTo(total(control.shares(four)));
  // Of dear ones the engine does not do so many: they leave it to the others.
  const shares = control.shares([demand(50, { costMs: 1_000 }), demand(50, { costMs: 1 })], 40);
  expect(shares).toEqual([expect.closeTo(2, 0), expect.closeTo(38, 0)]);
  expect(total(shares)).toBeCloseTo(40);
});

describe('capacity', () => {
  test('is unknown before any frame, and then nobody is held back', () => {
    const control = new Run().go(10_000);
    expect([control.capacityFps, control.load]).toEqual([undefined, 0]);
    expect(control.shares(demands(300, 30))).toEqual(demands(300, 30).map(() => Infinity));
    expect(new EngineControl().shares(demands(3_000, 30))).toEqual(demands(3_000, 30).map(() => Infinity));
  });

  test('stays unknown while workers are busy with their first frames', () => {
    const control = new EngineControl();
    for (const nowMs of [0, 300, 600]) {
      control.update({ nowMs, completed: 0, workMs: 0, busyMs: 2 * nowMs, workers: 2, waitMs: 0 });
    }
    expect([control.capacityFps, control.load]).toEqual([undefined, 1]);
  });

  test('is what busy workers would finish, also while they idle for most of the time', () => {
    const control = new Run().go(1_000, { fps: 20, serviceMs: 10 });
    expect(control.capacityFps).toBeCloseTo(200);
    expect(control.load).toBeCloseTo(0.1);
    expect(new Run().go(1_000, { fps: 20, serviceMs: 10, workers: 4 }).capacityFps).toBeCloseTo(400);
  });

  test('follows a slower engine by two fifths with every measurement, three a second', () => {
    const run = new Run();
    run.go(1_000, { fps: 100, serviceMs: 10 });
    // The first look sets the beginning; the third after it is the first that measures.
    expect(run.go(300, { fps: 50, serviceMs: 20 }).capacityFps).toBeCloseTo(200 + 0.4 * (100 - 200));
    expect(run.go(200, { fps: 50, serviceMs: 20 }).capacityFps).toBeCloseTo(160);
    expect(run.go(5_000, { fps: 50, serviceMs: 20 }).capacityFps).toBeCloseTo(100, 1);
  });

  test('is not measured by workers that hardly do anything, nor forgotten in a minute without a frame', () => {
    const run = new Run();
    run.go(1_000, { fps: 20, serviceMs: 10 });
    const known = run.control.capacityFps;
    expect(run.go(60_000).capacityFps).toBe(known);
    expect(run.control.load).toBe(0);
    // A twentieth of the time of two workers is 100 ms in a second.
    expect(run.go(3_000, { fps: 1, serviceMs: 90 }).capacityFps).toBe(known);
    expect(run.go(3_000, { fps: 1, serviceMs: 110 }).capacityFps).toBeLessThan(known!);
  });

  test('is not measured while no worker is ready: the only one may have died with its first frame', () => {
    const control = new EngineControl();
    const look = (nowMs: number, completed: number, workers: number) =>
      control.update({ nowMs, completed, workMs: 10 * completed, busyMs: 10 * completed, workers, waitMs: 0 });
    look(0, 0, 1);
    look(300, 10, 0);
    expect(control.capacityFps).toBeUndefined();
    for (let i = 1; i <= 10; i++) look(300 + 100 * i, 10 + 4 * i, 1);
    expect([control.capacityFps, control.rateFps]).toEqual([expect.closeTo(100), expect.closeTo(HEADROOM * 100)]);
    look(1_700, 60, 0);
    expect(control.capacityFps).toBeCloseTo(100);
    expect(control.shares(demands(2, 100))).toEqual([expect.closeTo(ofMany(2) * 50), expect.closeTo(ofMany(2) * 50)]);
  });

  test('a load is never more than all of the time', () => {
    expect(new Run().go(1_000, { fps: 300, serviceMs: 10 }).load).toBe(1);
  });
});

describe('the rate', () => {
  test('is nearly all of the capacity while nothing waits', () => {
    expect(new Run().go(1_000, { fps: 100, serviceMs: 10 }).rateFps).toBeCloseTo(HEADROOM * 200);
  });

  test('gives way to a queue and comes back when it is gone', () => {
    const run = new Run();
    run.go(1_000, { fps: 200, serviceMs: 10 });
    expect(run.go(100, { fps: 200, serviceMs: 10, waitMs: 115 }).rateFps).toBeLessThan(0.6 * 200);
    // Never below four fifths of the capacity, of which a fifth is left while the queue drains.
    expect(run.go(3_000, { fps: 200, serviceMs: 10, waitMs: 10_000 }).rateFps).toBeCloseTo(0.2 * 0.8 * 200);
    // By 40 % of the capacity a second.
    expect(run.go(100, { fps: 200, serviceMs: 10 }).rateFps).toBeCloseTo((0.8 + 0.04) * 200);
    expect(run.go(3_000, { fps: 200, serviceMs: 10 }).rateFps).toBeCloseTo(HEADROOM * 200);
  });

  test('what waits for no longer than one and a half frames take is no queue: workers must not idle', () => {
    const fast = new Run();
    fast.go(1_000, { fps: 200, serviceMs: 10 });
    expect(fast.go(100, { fps: 200, serviceMs: 10, waitMs: 15 }).rateFps).toBeCloseTo(HEADROOM * 200);
    expect(fast.go(100, { fps: 200, serviceMs: 10, waitMs: 40 }).rateFps).toBeLessThan(0.95 * 200);
    const slow = new Run();
    slow.go(1_000, { fps: 20, serviceMs: 100 });
    expect(slow.go(100, { fps: 20, serviceMs: 100, waitMs: 149 }).rateFps).toBeCloseTo(HEADROOM * 20);
    expect(slow.go(100, { fps: 20, serviceMs: 100, waitMs: 200 }).rateFps).toBeLessThan(0.95 * 20);
  });
});

describe('shares', () => {
  const known = () => new Run().go(1_000, { fps: 100, serviceMs: 10 });

  test('nobody is held back while there is enough, not even by what they want', () => {
    expect(known().shares(demands(6, 30))).toEqual(demands(6, 30).map(() => Infinity));
    expect(known().shares([])).toEqual([]);
  });

  test('with too little everybody gets an even part of the rate', () => {
    const shares = known().shares(demands(10, 30));
    expect(shares).toEqual(shares.map(() => expect.closeTo(ofMany(10) * 20)));
    // A lone source comes as evenly as it is asked.
    expect(known().shares(demands(1, 300))).toEqual([expect.closeTo(HEADROOM * 200)]);
    expect(known().shares([...demands(1, 1e9), ...demands(9, 0)])).toEqual([
      expect.closeTo(HEADROOM * 200),
      ...Array.from({ length: 9 }, () => 0),
    ]);
  });

  test('a higher class first; three quarters of a frame a second are for everybody', () => {
    const shares = known().shares([demand(1e6, { priority: 3 }), ...demands(10, 30)]);
    expect(shares.slice(1)).toEqual(shares.slice(1).map(() => 0.75));
    // Nearly all of it is of one source.
    expect(total(shares)).toBeCloseTo(HEADROOM * 200, 0);
  });

  test('enough is what is enough whatever they do: until then what is left is spread out, by the same rules', () => {
    const using = (wanted: number, most: number, priority: FrameDemand['priority'] = 1) =>
      demand(wanted, { most, priority });
    const control = known();
    expect([control.rate, control.rateFps]).toEqual([expect.closeTo(1_940), expect.closeTo(194)]);
    const two = ofMany(2) * 200;
    expect(control.shares([using(5, 90), using(5, 116)])).toEqual([Infinity, Infinity]);
    expect(control.shares([using(5, 90), using(5, 130)])).toEqual([expect.closeTo(90), expect.closeTo(two - 90)]);
    expect(control.shares([using(60, 60), using(60, 1e6), using(60, 1e6)])).toEqual([
      60,
      expect.closeTo((ofMany(3) * 200 - 60) / 2),
      expect.closeTo((ofMany(3) * 200 - 60) / 2),
    ]);
    expect(control.shares([using(5, 1e6), using(5, 1e6, 2)])).toEqual([5, expect.closeTo(two - 5)]);
    // Who wants more than there is gets nothing of what is not left.
    expect(control.shares([using(1_000, 1_000), using(10, 1_000)])).toEqual([expect.closeTo(184.5, 0), 10]);
  });

  test('a queue takes the floor from nobody', () => {
    const run = new Run();
    run.go(1_000, { fps: 200, serviceMs: 10 });
    run.go(1_000, { fps: 200, serviceMs: 10, waitMs: 10_000 });
    expect(Math.min(...run.control.shares([demand(1e6, { priority: 3 }), ...demands(50, 30)]))).toBe(0.75);
  });

  test('of an engine with less than that for each, half is shared by all before classes count', () => {
    const run = new Run();
    const shares = run
      .go(1_000, { fps: 10, serviceMs: 100, workers: 1 })
      .shares([demand(30, { priority: 3, costMs: 100 }), ...demands(99, 30, { costMs: 100 })]);
    expect(shares.slice(1)).toEqual(shares.slice(1).map(() => expect.closeTo(0.05)));
    expect(shares[0]).toBeCloseTo(ofMany(100) * 10 - 99 * 0.05);
  });

  test('ten thousand sessions of ten frames a second in all get something each, and not more than that in all', () => {
    const shares = new Run()
      .go(1_000, { fps: 10, serviceMs: 100, workers: 1 })
      .shares(demands(10_000, 30, { costMs: 100 }));
    expect(Math.min(...shares)).toBeGreaterThan(0);
    expect(total(shares)).toBeCloseTo(ofMany(10_000) * 10);
  });
});

test('property: whatever the engine says, load and rate are numbers in their bounds, and nobody gets more than can be used', () => {
  const looks = fc.record({
    stepMs: fc.constantFrom(0, 1, 100, 100, 100, 300, 60_000, -1_000),
    frames: fc.constantFrom(0, 1, 30, 1e6),
    costMs: fc.constantFrom(0, 1e-3, 10, 1e4),
    busyMs: fc.constantFrom(0, 1e-9, 100, 600, 1e9),
    workers: fc.constantFrom(0, 1, 2, 64),
    waitMs: fc.constantFrom(0, 0, 20, 5_000, 1e12),
  });
  const uses = fc
    .record({
      priority: fc.constantFrom<FrameDemand['priority'][]>(0, 1, 3),
      one: fc.integer({ min: 1, max: 60 }),
      other: fc.integer({ min: 1, max: 60 }),
      costMs: fc.constantFrom(undefined, 0, 1e-3, 1, 10, 10, 30, 2_000),
    })
    .map(({ priority, one, other, costMs }) => {
      return { priority, wanted: Math.min(one, other), most: Math.max(one, other), costMs };
    });
  const ceilings = fc.constantFrom(Infinity, Infinity, 1, 50, 1_000);
  fc.assert(
    fc.property(fc.array(looks, { maxLength: 60 }), fc.array(uses), ceilings, (all, asked, ceilingFps) => {
      const control = new EngineControl();
      let [nowMs, completed, workMs, busyMs] = [1.7e12, 0, 0, 0];
      for (const look of all) {
        nowMs += look.stepMs;
        completed += look.frames;
        workMs += look.frames * look.costMs;
        busyMs += look.busyMs;
        const { workers, waitMs } = look;
        control.update({ nowMs, completed, workMs, busyMs, workers, waitMs });
        expect(control.load >= 0 && control.load <= 1).toBe(true);
        expect(control.rate >= 1 && control.rate < Infinity).toBe(true);
        const { capacityFps, rateFps } = control;
        expect(capacityFps === undefined || (capacityFps > 0 && capacityFps < Infinity)).toBe(true);
        expect(rateFps === undefined || (rateFps > 0 && rateFps < Infinity)).toBe(true);
        const shares = control.shares(asked, ceilingFps);
        const room = total(asked.map(({ most }) => most));
        // Nobody is refused what there is, and nobody is told more than can be used: but that there is no limit.
        for (const [i, { most }] of asked.entries()) {
          expect(shares[i]! > 0).toBe(true);
          if (shares[i] !== Infinity) expect(shares[i]!).toBeLessThanOrEqual(most * (1 + 1e-9));
        }
        const bound = (value: number) => value * (1 + 1e-9);
        // Of several sources a little more than the rate may be asked; the floors come before everything.
        const cost = (fps: number, i: number) =>
          asked[i]!.costMs ? Math.min(fps, asked[i]!.most) * asked[i]!.costMs : 0;
        const floorsMs = 0.75 * total(asked.map(({ costMs = 0 }) => costMs));
        expect(total(shares.map(cost))).toBeLessThanOrEqual(bound(1.13 * control.rate + floorsMs));
        const frames = total(shares.map((fps, i) => Math.min(fps, asked[i]!.most)));
        const floors = total(asked.map(() => 0.75));
        if (room > ceilingFps) expect(frames).toBeLessThanOrEqual(bound(Math.max(ceilingFps, floors)));
      }
    }),
    { numRuns: 300 },
  );
});

describe('work of several costs', () => {
  const known = () => new Run().go(1_000, { fps: 100, serviceMs: 10 });
  const [cheap, dear] = [{ costMs: 10 }, { costMs: 30 }];

  test('who wants more than there is has an even part of the workers’ time, in frames by what they cost', () => {
    const shares = known().shares([...demands(5, 300, cheap), ...demands(5, 100, dear)]);
    const evenMs = (ofMany(10) * 2_000) / 10;
    for (const fps of shares.slice(0, 5)) expect(fps * 10).toBeCloseTo(evenMs);
    for (const fps of shares.slice(5)) expect(fps * 30).toBeCloseTo(evenMs);
  });

  test('who leaves of its part leaves worker time', () => {
    const [little, much] = known().shares([demand(2, dear), demand(1_000, cheap)]);
    expect(little).toBeCloseTo(2);
    expect(60 + much! * 10).toBeCloseTo(2_000 * HEADROOM * (1 + 0.13 * mixtureOf(60, 10_000)));
  });

  test('the floor is frames, too: three quarters of one a second', () => {
    const shares = known().shares([demand(1e6, { priority: 3 }), ...demands(3, 30, cheap), ...demands(3, 30, dear)]);
    expect(shares.slice(1)).toEqual(Array.from({ length: 6 }, () => expect.closeTo(0.75)));
  });

  test('of which nothing is known is not held back, and takes nothing from the others', () => {
    const shares = known().shares([demand(1e6), demand(30, { costMs: undefined })]);
    expect(shares).toEqual([expect.closeTo(HEADROOM * 200), Infinity]);
  });

  test('before anything is measured what the first runs promise counts', () => {
    const control = new EngineControl();
    const facts = { completed: 0, workMs: 0, busyMs: 0, waitMs: 0, expectedMs: 20 };
    control.update({ nowMs: 0, workers: 0, ...facts });
    expect(control.capacityFps).toBeUndefined();
    control.update({ nowMs: 100, workers: 2, ...facts });
    expect([control.capacityFps, control.rateFps]).toEqual([100, expect.closeTo(97)]);
    const shares = control.shares(demands(10, 30, { costMs: 20 }));
    expect(total(shares)).toBeCloseTo(100 * ofMany(10));
  });

  test('the capacity in frames is that of the mix of late', () => {
    const run = new Run();
    run.go(3_000, { fps: 100, serviceMs: 10 });
    run.go(5_000, { fps: 60, serviceMs: 30 });
    expect(run.control.capacityFps).toBeCloseTo(2_000 / 30, 1);
    expect(run.control.rate).toBeCloseTo(HEADROOM * 2_000);
    expect(run.control.rateFps).toBeCloseTo((HEADROOM * 2_000) / 30, 1);
  });

  test('what workers lose between frames is no capacity', () => {
    const control = new EngineControl();
    for (let step = 0; step <= 50; step++) {
      const busyMs = 180 * step;
      const facts = { nowMs: 100 * step, completed: 8 * step, workMs: 0.9 * busyMs, busyMs, workers: 2, waitMs: 0 };
      control.update(facts);
    }
    expect(control.rate).toBeCloseTo(HEADROOM * 1_800);
  });
});

/** As `mixture` has it, of two. */
function mixtureOf(one: number, other: number): number {
  return 1 - (one ** 2 + other ** 2) / (one + other) ** 2;
}

describe('costly sources', () => {
  const costly = (wanted: number, more: Partial<FrameDemand> = {}) =>
    demand(wanted, { costMs: 500, isCostly: true, priority: 3, ...more });

  test('have no class above normal, and leave a worker to the others', () => {
    const control = new Run().go(5_000, { fps: 100, serviceMs: 15 });
    const shares = control.shares([costly(10), demand(60)]);
    expect(shares[0]! * 500).toBeCloseTo(HEADROOM * 1_000, 0);
    expect(shares[1]).toBeGreaterThanOrEqual(60);
    const [even] = control.shares([costly(10), ...demands(3, 60)]);
    expect(even! * 500).toBeLessThan(600);
    // The same work that is usual for its kind has everything that it wants.
    const [critical] = control.shares([demand(10, { costMs: 500, priority: 3 }), demand(60)]);
    expect(critical! * 500).toBeGreaterThan(1_900);
  });

  test('share that, also while there is enough for everybody', () => {
    const control = new Run().go(5_000, { fps: 100, serviceMs: 15 });
    const shares = control.shares([costly(1, { most: 30 }), costly(1, { most: 30 }), demand(1)]);
    expect([shares[0]! * 500, shares[1]! * 500]).toEqual([
      expect.closeTo(HEADROOM * 500, 0),
      expect.closeTo(HEADROOM * 500, 0),
    ]);
    expect(shares[2]).toBe(Infinity);
  });

  test('that are among themselves have all', () => {
    const control = new Run().go(5_000, { fps: 100, serviceMs: 15 });
    expect(total(control.shares([costly(10), costly(10)])) * 500).toBeCloseTo(ofMany(2) * 2_000, 0);
  });
});
