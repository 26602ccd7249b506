import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import type { Sample } from '../base/sample.ts';
import { Hub } from './hub.ts';
import type { Contract, Reader } from './reader.ts';
import type { Stream } from './stream.ts';

const START_MS = 1_000;
const READERS_MAX = 5;

const capacities = fc.integer({ min: 1, max: 6 });
const which = fc.nat(READERS_MAX - 1);
const contracts: fc.Arbitrary<Contract> = fc.oneof(
  fc.constant({ kind: 'latest' } as const),
  fc.record({ kind: fc.constant('sampled' as const), hz: fc.constantFrom(7, 20, 1000) }),
  fc.record({ kind: fc.constant('all' as const) }),
  fc.record({ kind: fc.constant('all' as const), queueMax: fc.integer({ min: 1, max: 6 }) }),
);

type Step =
  | { do: 'publish'; seqGap: number; lifeMs: number }
  | { do: 'subscribe'; contract: Contract; back: number; tells: boolean; acts: Act }
  | { do: 'next' | 'peek' | 'drop' | 'close'; which: number }
  | { do: 'wait'; ms: number };

/** What a reader's callbacks do; anything but `nothing` calls back into the hub from within. */
type Act = 'nothing' | 'take' | 'publish' | 'close' | 'closeOther' | 'subscribe' | 'throw' | 'closeStream';

const publishes = fc.record({
  do: fc.constant('publish' as const),
  seqGap: fc.integer({ min: 1, max: 3 }),
  lifeMs: fc.constantFrom(0, 5, 30, Infinity, Infinity, Infinity),
});

const stepsWith = (acts: fc.Arbitrary<Act>): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: publishes },
      { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('next' as const, 'peek' as const), which }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('drop' as const, 'close' as const), which }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 60 }) }) },
      {
        weight: 2,
        arbitrary: fc.record({
          do: fc.constant('subscribe' as const),
          contract: contracts,
          back: fc.nat(8),
          tells: fc.boolean(),
          acts,
        }),
      },
    ),
    { minLength: 1, maxLength: 120 },
  );

/** A reader as one would write it without a thought for cost: it keeps its own list of what it has not given yet. */
class NaiveReader {
  readonly contract: Contract;
  readonly queueMax: number;
  pending: Sample<number>[];
  published: number;
  delivered: number[] = [];
  conflated = 0;
  lost: Record<string, number[]> = {};
  wakes = 0;
  asleep: boolean;
  closed = false;
  dueMs = 0;

  constructor(contract: Contract, capacity: number, held: Sample<number>[]) {
    this.contract = contract;
    this.queueMax = contract.kind === 'all' ? (contract.queueMax ?? capacity) : 1;
    this.pending = held.slice(-this.queueMax);
    this.published = this.pending.length;
    this.asleep = this.pending.length === 0;
  }

  publish(sample: Sample<number>) {
    if (this.closed) return;
    this.published++;
    this.pending.push(sample);
    if (this.pending.length > this.queueMax) {
      const { seq } = this.pending.shift()!;
      if (this.contract.kind === 'all') this.lose('overflow', [seq]);
      else this.conflated++;
    }
    if (this.asleep) this.wakes++;
    this.asleep = false;
  }

  peek(nowMs: number): Sample<number> | undefined {
    while (this.pending.length > 0 && this.pending[0]!.deadlineMs < nowMs)
      this.lose('expired', [this.pending.shift()!.seq]);
    if (this.pending.length === 0 && !this.closed) this.asleep = true;
    return nowMs < this.dueMs ? undefined : this.pending[0];
  }

  next(nowMs: number): Sample<number> | undefined {
    const sample = this.peek(nowMs);
    if (sample === undefined) return undefined;
    this.pending.shift();
    this.delivered.push(sample.seq);
    if (this.pending.length === 0) this.asleep = true;
    if (this.contract.kind === 'sampled') {
      const intervalMs = 1000 / this.contract.hz;
      const onTime = nowMs - this.dueMs < intervalMs;
      this.dueMs = (onTime ? this.dueMs : nowMs) + intervalMs;
    }
    return sample;
  }

  discard(cause: string) {
    if (this.closed) return;
    this.lose(
      cause,
      this.pending.map((s) => s.seq),
    );
    this.pending = [];
    this.asleep = true;
    if (cause === 'closed') this.closed = true;
  }

  lose(cause: string, seqs: number[]) {
    if (seqs.length > 0) (this.lost[cause] ??= []).push(...seqs);
  }
}

/** A real reader, with a record of all that it gave and said. */
interface Watched {
  reader: Reader<number>;
  tells: boolean;
  delivered: number[];
  told: Record<string, number[]>;
  wakes: number;
  closings: number;
  from: number;
}

function expectBalance(reader: Reader<number>) {
  const { published, delivered, conflated, dropped, expired, queued } = reader.counts();
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(delivered + conflated + lost + expired + queued).toBe(published);
}

/** The told losses are the counted ones; nothing was given twice, out of order, or both given and told as lost. */
function expectHonest(watched: Watched, stream: Stream<number>, seqAt: number[]) {
  const { reader, told, delivered, tells } = watched;
  const counts = reader.counts();
  expect(counts.delivered).toBe(delivered.length);
  for (let i = 1; i < delivered.length; i++) expect(delivered[i]).toBeGreaterThan(delivered[i - 1]!);
  expect(watched.closings).toBe(reader.closed ? 1 : 0);
  if (!tells) return;
  const counted = Object.entries({ ...counts.dropped, expired: counts.expired }).filter(([, n]) => n > 0);
  expect(
    Object.entries(told)
      .map(([cause, seqs]) => [cause, seqs.length])
      .toSorted(),
  ).toEqual(counted.toSorted());
  const accounted = [...delivered, ...Object.values(told).flat()].toSorted((a, b) => a - b);
  expect(new Set(accounted).size).toBe(accounted.length);
  if (counts.conflated > 0 || reader.closed) return;
  expect(accounted).toEqual(seqAt.slice(watched.from, stream.head - counts.queued));
}

describe('random lives of a stream', () => {
  test('every reader does what a naive one does, and its accounts balance after every step', () => {
    fc.assert(
      fc.property(capacities, stepsWith(fc.constant('nothing')), (capacity, steps) => {
        const clock = new ManualClock(START_MS);
        const hub = new Hub({ clock, streamsMax: 1, random: seededRandom(1) });
        const evicted: number[] = [];
        const stream = hub.create<number>('s', { capacity, onEvict: (sample) => evicted.push(sample.data) });
        const all: Sample<number>[] = [];
        const readers: { watched: Watched; naive: NaiveReader }[] = [];
        let seq = 0;
        for (const step of steps) {
          const target = 'which' in step ? readers.at(-1 - step.which) : undefined;
          if (step.do === 'publish') {
            seq += step.seqGap;
            const sample = stream.publish({ data: stream.head, seq, deadlineMs: clock.now() + step.lifeMs });
            all.push(sample);
            for (const { naive } of readers) naive.publish(sample);
          } else if (step.do === 'subscribe') {
            const from = step.back === 0 ? 'live' : Math.max(0, stream.head - step.back);
            const contract = fitting(step.contract, capacity);
            const held = from === 'live' ? [] : all.slice(Math.max(from, stream.oldest));
            const naive = new NaiveReader(contract, capacity, held);
            const watched = watch(stream, contract, from, step.tells);
            expect(watched.reader.missed).toBe(from === 'live' ? 0 : stream.head - from - naive.pending.length);
            readers.push({ naive, watched });
          } else if (step.do === 'wait') clock.advance(step.ms);
          else if (target === undefined) continue;
          else if (step.do === 'next') expect(take(target.watched)).toEqual(target.naive.next(clock.now()));
          else if (step.do === 'peek') expect(target.watched.reader.peek()).toEqual(target.naive.peek(clock.now()));
          else if (step.do === 'drop') {
            target.watched.reader.drop('told so');
            target.naive.discard('told so');
          } else {
            target.watched.reader.close();
            target.naive.discard('closed');
          }
          for (const { watched, naive } of readers) {
            expectBalance(watched.reader);
            expectSame(watched, naive);
          }
          expect(evicted).toEqual(Array.from({ length: Math.max(0, stream.head - capacity) }, (_, i) => i));
        }
        stream.close();
        for (const { watched, naive } of readers) {
          naive.discard('closed');
          expectBalance(watched.reader);
          expectSame(watched, naive);
        }
        expect(evicted).toEqual(all.map((s) => s.data));
      }),
      { numRuns: 300 },
    );
  });

  test('callbacks that publish, take, close, subscribe and throw leave every account straight, at every instant', () => {
    const acts = fc.constantFrom<Act[]>(
      'nothing',
      'take',
      'take',
      'publish',
      'publish',
      'close',
      'closeOther',
      'subscribe',
      'throw',
      'closeStream',
    );
    fc.assert(
      fc.property(capacities, stepsWith(acts), fc.integer(), (capacity, steps, seed) => {
        const random = seededRandom(seed);
        const clock = new ManualClock(START_MS);
        const hub = new Hub({ clock, streamsMax: 1, random });
        const readers: Watched[] = [];
        const seqAt: number[] = [];
        const evicted: number[] = [];
        // Enough to nest deeply; without a limit two readers could publish to each other for ever.
        let actsLeft = 40;

        const checkNow = () => {
          for (const { reader } of readers) expectBalance(reader);
        };
        const onEvict = (sample: Sample<number>) => {
          evicted.push(sample.seq);
          checkNow();
        };
        const stream = hub.create<number>('s', { capacity, onEvict });

        const publish = (seqGap: number, lifeMs: number) => {
          if (stream.closed) return;
          const seq = (seqAt.at(-1) ?? 0) + seqGap;
          seqAt.push(seq);
          expect(stream.publish({ data: stream.head, seq, deadlineMs: clock.now() + lifeMs }).seq).toBe(seq);
        };
        const subscribe = (contract: Contract, back: number, tells: boolean, act: Act) => {
          if (stream.closed) return;
          const from = back === 0 ? 'live' : Math.max(0, stream.head - back);
          const watched = watch(stream, fitting(contract, capacity), from, tells, () => {
            checkNow();
            if (act === 'nothing' || actsLeft-- <= 0) return;
            if (act === 'take') take(watched);
            else if (act === 'publish') publish(1, 10);
            else if (act === 'close') watched.reader.close();
            else if (act === 'closeOther') readers[Math.floor(random() * readers.length)]?.reader.close();
            else if (act === 'subscribe') subscribe({ kind: 'all' }, 2, true, 'take');
            else if (act === 'closeStream') {
              // Rarely, so that most lives go on.
              if (random() < 0.1) stream.close();
            } else throw new Error('a callback that fails');
            checkNow();
          });
          readers.push(watched);
        };

        for (const step of steps) {
          const target = 'which' in step ? readers.at(-1 - step.which) : undefined;
          if (step.do === 'publish') publish(step.seqGap, step.lifeMs);
          else if (step.do === 'subscribe') subscribe(step.contract, step.back, step.tells, step.acts);
          else if (step.do === 'wait') clock.advance(step.ms);
          else if (target === undefined) continue;
          else if (step.do === 'next') take(target);
          else if (step.do === 'peek') target.reader.peek();
          else if (step.do === 'drop') target.reader.drop('told so');
          else target.reader.close();
          for (const watched of readers) {
            expectBalance(watched.reader);
            expectHonest(watched, stream, seqAt);
          }
        }
        stream.close();
        for (const watched of readers) {
          expectBalance(watched.reader);
          expectHonest(watched, stream, seqAt);
          expect(watched.reader.counts().queued).toBe(0);
        }
        expect(evicted).toEqual(seqAt);
        expect([...stream.readers]).toEqual([]);
        expectNoStrayFault(hub);
      }),
      { numRuns: 300 },
    );
  });
});

function fitting(contract: Contract, capacity: number): Contract {
  if (contract.kind !== 'all' || contract.queueMax === undefined) return contract;
  return { kind: 'all', queueMax: Math.min(contract.queueMax, capacity) };
}

function watch(
  stream: Stream<number>,
  contract: Contract,
  from: 'live' | number,
  tells: boolean,
  act: () => void = () => {},
): Watched {
  const told: Record<string, number[]> = {};
  const onLost = (seqs: number[], cause: string) => {
    (told[cause] ??= []).push(...seqs);
    act();
  };
  const onReady = () => {
    watched.wakes++;
    act();
  };
  const onClosed = () => {
    watched.closings++;
    act();
  };
  const reader = stream.subscribe({ contract, from, onReady, onClosed, ...(tells ? { onLost } : {}) });
  const first = stream.head - reader.queued;
  const watched: Watched = { reader, tells, delivered: [], told, wakes: 0, closings: 0, from: first };
  return watched;
}

function take(watched: Watched): Sample<number> | undefined {
  const { queued } = watched.reader;
  const expected = watched.reader.peek();
  const sample = watched.reader.next();
  // Callbacks of the expired may take in between; without any, `next` gives what `peek` has shown.
  if (expected !== undefined && watched.reader.queued === queued - 1) expect(sample).toBe(expected);
  if (sample !== undefined) watched.delivered.push(sample.seq);
  return sample;
}

function expectSame(watched: Watched, naive: NaiveReader) {
  const counts = watched.reader.counts();
  const { expired = [], ...dropped } = naive.lost;
  expect(watched.delivered).toEqual(naive.delivered);
  expect(counts).toEqual({
    published: naive.published,
    delivered: naive.delivered.length,
    conflated: naive.conflated,
    dropped: {
      overflow: 0,
      closed: 0,
      ...Object.fromEntries(Object.entries(dropped).map(([cause, seqs]) => [cause, seqs.length])),
    },
    expired: expired.length,
    queued: naive.pending.length,
  });
  expect(watched.told).toEqual(watched.tells ? naive.lost : {});
  expect(watched.wakes).toBe(naive.wakes);
  expect(watched.reader.closed).toBe(naive.closed);
}

/** An assertion that fails inside a callback is caught by the hub like any other fault: bring it out. */
function expectNoStrayFault(hub: Hub) {
  const { last } = hub.callbackFaults;
  if (last !== undefined && (last as Error).message !== 'a callback that fails') throw last;
}
