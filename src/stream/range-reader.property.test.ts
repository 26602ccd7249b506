import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import type { Priority, Sample } from '../base/sample.ts';
import { Hub } from './hub.ts';
import type { RangeReader, SharedPosition } from './range-reader.ts';
import type { Contract } from './reader.ts';

const contracts: fc.Arbitrary<Contract> = fc.oneof(
  fc.constant({ kind: 'latest' } as const),
  fc.record({ kind: fc.constant('sampled' as const), hz: fc.constantFrom(7, 20, 1000) }),
  fc.record({ kind: fc.constant('all' as const) }),
  fc.record({ kind: fc.constant('all' as const), queueMax: fc.integer({ min: 1, max: 6 }) }),
);

const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        priority: fc.constantFrom<Priority[]>(0, 1, 1, 2, 3),
        lifeMs: fc.constantFrom(5, 30, ...Array.from({ length: 18 }, () => Infinity)),
      }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('take' as const), count: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('hold' as const), back: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const), isLost: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), priority: fc.constantFrom(0, 1, 2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('skip' as const), by: fc.nat(4) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), by: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 40 }) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('look' as const) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('follow' as const), back: fc.nat(1) }) },
    { weight: 8, arbitrary: fc.record({ do: fc.constant('move' as const), by: fc.integer({ min: 1, max: 3 }) }) },
  ),
  { minLength: 1, maxLength: 150 },
);

/** A reader as one would write it without a thought for cost: a list of what waits, and where each sample ended. */
class NaiveReader {
  waiting: Sample<number>[] = [];
  held: number[] = [];
  fate = new Map<number, string>();
  dueMs = 0;
  readonly contract: Contract;
  readonly capacity: number;
  readonly ttlMs: number;

  constructor(contract: Contract, capacity: number, ttlMs: number) {
    this.contract = contract;
    this.capacity = contract.kind === 'all' ? (contract.queueMax ?? capacity) : 1;
    this.ttlMs = ttlMs;
  }

  /** What lies before this position cannot be had any more. */
  pushOut(before: number): void {
    while (this.waiting.length > 0 && this.waiting[0]!.position < before) {
      this.fate.set(this.waiting.shift()!.position, this.contract.kind === 'all' ? 'overflow' : 'conflated');
    }
  }

  take(count: number, nowMs: number): number[] {
    const isExpired = (s: Sample<number>) => nowMs > s.deadlineMs || nowMs > s.publishedTimeMs + this.ttlMs;
    while (this.waiting.length > 0 && isExpired(this.waiting[0]!)) {
      this.fate.set(this.waiting.shift()!.position, 'expired');
    }
    if (nowMs < this.dueMs || this.waiting.length === 0 || count === 0) return [];
    const taken: number[] = [];
    while (this.waiting.length > 0 && taken.length < count) {
      const sample = this.waiting[0]!;
      // A range has no gaps.
      if (taken.length > 0 && (sample.position !== taken.at(-1)! + 1 || isExpired(sample))) break;
      taken.push(sample.position);
      this.fate.set(sample.position, 'delivered');
      this.waiting.shift();
    }
    if (this.contract.kind === 'sampled') {
      const intervalMs = 1000 / this.contract.hz;
      this.dueMs = (nowMs - this.dueMs < intervalMs ? this.dueMs : nowMs) + intervalMs;
    }
    return taken;
  }

  /** All up to a position are given, whoever gave them. */
  give(before: number): void {
    while (this.waiting.length > 0 && this.waiting[0]!.position < before) {
      this.fate.set(this.waiting.shift()!.position, 'delivered');
    }
  }

  count(fate: string): number {
    return [...this.fate.values()].filter((f) => f === fate).length;
  }
}

test('a reader of ranges does what a naive one does, and its accounts balance after every step', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      contracts,
      fc.constantFrom(20, Infinity, Infinity),
      steps,
      (capacity, wanted, ttlMs, script) => {
        const clock = new ManualClock(1_000);
        const hub = new Hub({ clock, streamsMax: 1 });
        const stream = hub.create<number>('s', { capacity });
        const contract =
          wanted.kind === 'all' && wanted.queueMax !== undefined
            ? { ...wanted, queueMax: Math.min(wanted.queueMax, capacity) }
            : wanted;
        const reader = stream.subscribeRanges({ contract, ttlMs });
        const naive = new NaiveReader(contract, capacity, ttlMs);
        const told = new Map<string, number>();
        let followed: SharedPosition | undefined;
        for (const step of script) {
          // Who follows takes nothing by itself, and stops before anything is lost.
          const staysFollowing =
            ['move', 'look', 'wait'].includes(step.do) ||
            (step.do === 'publish' && followed !== undefined && stream.head - followed.position < naive.capacity);
          if (followed !== undefined && !staysFollowing) {
            reader.unfollow();
            followed = undefined;
          }
          if (step.do === 'publish') {
            const deadlineMs = clock.now() + step.lifeMs;
            const sample = stream.publish({ data: stream.head, priority: step.priority, deadlineMs });
            naive.waiting.push(sample);
            naive.pushOut(Math.max(stream.oldest, stream.head - naive.capacity));
          } else if (step.do === 'take') {
            const span = reader.takeRange(step.count);
            const taken =
              span === undefined ? [] : Array.from({ length: span.to - span.from }, (_, i) => span.from + i);
            expect(taken).toEqual(naive.take(step.count, clock.now()));
          } else if (step.do === 'look') {
            const span = reader.peek();
            naive.take(0, clock.now());
            expect(span?.from).toBe(clock.now() < naive.dueMs ? undefined : naive.waiting[0]?.position);
          } else if (step.do === 'hold') {
            const position = stream.head - 1 - step.back;
            const at = naive.waiting.findIndex((sample) => sample.position === position);
            expect(reader.hold(position)).toBe(at >= 0);
            if (at >= 0) naive.held.push(naive.waiting.splice(at, 1)[0]!.position);
          } else if (step.do === 'settle') {
            const position = naive.held.shift();
            if (position === undefined) continue;
            naive.fate.set(position, step.isLost ? 'expired' : 'delivered');
            reader.settle(position, step.isLost ? 'expired' : undefined);
          } else if (step.do === 'drop') {
            const lost = naive.waiting.filter((sample) => sample.priority === step.priority);
            for (const { position } of lost) naive.fate.set(position, 'slow');
            naive.waiting = naive.waiting.filter((sample) => sample.priority !== step.priority);
            expect(reader.drop('slow', (sample) => sample.priority === step.priority)).toBe(lost.length);
          } else if (step.do === 'skip') {
            const to = stream.oldest + step.by;
            for (const { position } of naive.waiting.filter((s) => s.position < to)) naive.fate.set(position, 'slow');
            naive.waiting = naive.waiting.filter((s) => s.position >= to);
            reader.skipTo(to, 'slow');
          } else if (step.do === 'trim') {
            stream.trim(stream.oldest + step.by);
            naive.pushOut(stream.oldest);
          } else if (step.do === 'follow') {
            const wanted = { position: reader.position - step.back };
            const isFree = step.back === 0 && contract.kind === 'all' && ttlMs === Infinity && naive.held.length === 0;
            const isWhole = naive.waiting.length === stream.head - reader.position;
            if (!reader.canFollow(wanted)) continue;
            expect([isFree, isWhole]).toEqual([true, true]);
            reader.follow(wanted);
            followed = wanted;
          } else if (step.do === 'move') {
            if (followed === undefined || stream.lastDeadline >= followed.position || followed.position < stream.oldest)
              continue;
            followed.position = Math.min(stream.head, followed.position + step.by);
            naive.give(followed.position);
          } else clock.advance(step.ms);
          expectSame(reader, naive, stream.head);
          for (const { cause, count, from, to } of reader.takeLosses()) {
            expect(to - from).toBeGreaterThanOrEqual(count);
            told.set(cause, (told.get(cause) ?? 0) + count);
          }
          for (const cause of ['overflow', 'expired', 'slow']) expect(told.get(cause) ?? 0).toBe(naive.count(cause));
        }
        const { queued } = reader.counts();
        reader.close();
        expect(reader.counts()).toMatchObject({ queued: 0, dropped: { closed: queued } });
        expect([...stream.rangeReaders]).toEqual([]);
      },
    ),
    { numRuns: 500 },
  );
});

function expectSame(reader: RangeReader<number>, naive: NaiveReader, head: number): void {
  const { published, delivered, conflated, dropped, expired, queued } = reader.counts();
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(delivered + conflated + lost + expired + queued).toBe(published);
  expect({
    published,
    delivered,
    conflated,
    expired,
    queued,
    overflow: dropped['overflow'],
    slow: dropped['slow'] ?? 0,
  }).toEqual({
    published: head,
    delivered: naive.count('delivered'),
    conflated: naive.count('conflated'),
    expired: naive.count('expired'),
    queued: naive.waiting.length + naive.held.length,
    overflow: naive.count('overflow'),
    slow: naive.count('slow'),
  });
  const positions = reader.spans().flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
  expect(positions).toEqual(naive.waiting.map(({ position }) => position));
}
