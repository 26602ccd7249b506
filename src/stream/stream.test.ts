import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { Guard } from './guard.ts';
import { Hub } from './hub.ts';
import { Reader } from './reader.ts';
import { Ring } from './ring.ts';
import type { Stream, StreamOptions } from './stream.ts';

function setUp(options: StreamOptions<string> = { capacity: 4 }) {
  const clock = new ManualClock(1_000);
  const hub = new Hub({ clock, streamsMax: 10, random: seededRandom(1) });
  return { clock, hub, stream: hub.create<string>('cam', options) };
}

const take = (reader: Reader<string>) => {
  const seqs: number[] = [];
  for (let sample = reader.next(); sample !== undefined; sample = reader.next()) seqs.push(sample.seq);
  return seqs;
};

const fail = () => {
  throw new Error('reader');
};

const publish = (stream: Stream<string>, count: number) => {
  for (let i = 0; i < count; i++) stream.publish({ data: `d${stream.head}` });
};

describe('a stream that ends', () => {
  test('lets its readers take what is queued, once, and counts the rest as lost', () => {
    const { stream } = setUp();
    const taken: number[][] = [];
    const keeps = stream.subscribe({ contract: { kind: 'all' }, onEnding: () => taken.push(take(keeps)) });
    const loses = stream.subscribe({ contract: { kind: 'all' } });
    const left = stream.subscribe({ contract: { kind: 'all' }, onEnding: fail });
    publish(stream, 3);
    left.close();
    stream.close();
    stream.close();
    expect(taken).toEqual([[1, 2, 3]]);
    expect(keeps.counts()).toMatchObject({ published: 3, delivered: 3, dropped: { closed: 0 }, queued: 0 });
    expect(loses.counts()).toMatchObject({ published: 3, delivered: 0, dropped: { closed: 3 }, queued: 0 });
  });
});

describe('publishing', () => {
  test('fills in what is not given', () => {
    const { stream } = setUp();
    expect(stream.publish({ data: 'a' })).toEqual({
      position: 0,
      seq: 1,
      captureTimeMs: 1_000,
      publishedTimeMs: 1_000,
      priority: 1,
      deadlineMs: Infinity,
      data: 'a',
    });
    expect(stream.publish({ data: 'b', seq: 7, captureTimeMs: 990, priority: 3, deadlineMs: 1_500 })).toEqual({
      position: 1,
      seq: 7,
      captureTimeMs: 990,
      publishedTimeMs: 1_000,
      priority: 3,
      deadlineMs: 1_500,
      data: 'b',
    });
    expect(stream.publish({ data: 'c' }).seq).toBe(8);
  });

  test('evicts what the ring has no slot for, and the rest on closing', () => {
    const evicted: number[] = [];
    const { stream } = setUp({ capacity: 2, onEvict: (sample) => evicted.push(sample.seq) });
    publish(stream, 3);
    expect(evicted).toEqual([1]);
    expect([stream.oldest, stream.head]).toEqual([1, 3]);
    stream.close();
    stream.close();
    expect(evicted).toEqual([1, 2, 3]);
    expect([stream.oldest, stream.head]).toEqual([3, 3]);
    expect(() => publish(stream, 1)).toThrow(expect.objectContaining({ code: 'STREAM_CLOSED' }));
  });

  test('history gives what is held, also when samples are evicted while it is read', () => {
    const { stream } = setUp({ capacity: 3 });
    publish(stream, 5);
    expect([...stream.history(0)].map((s) => s.position)).toEqual([2, 3, 4]);
    expect([...stream.history(4)].map((s) => s.position)).toEqual([4]);
    expect([...stream.history(5)]).toEqual([]);
    const seen: number[] = [];
    for (const sample of stream.history(0)) {
      seen.push(sample.position);
      if (seen.length === 1) publish(stream, 2);
    }
    expect(seen).toEqual([2, 4]);
  });
});

describe('contracts', () => {
  test('all: in order; what exceeds the queue is dropped oldest first and told at once', () => {
    const { stream } = setUp();
    const lost: unknown[] = [];
    const reader = stream.subscribe({ contract: { kind: 'all', queueMax: 2 }, onLost: (...loss) => lost.push(loss) });
    const untold = stream.subscribe({ contract: { kind: 'all' } });
    publish(stream, 4);
    expect(lost).toEqual([
      [[1], 'overflow'],
      [[2], 'overflow'],
    ]);
    publish(stream, 2);
    expect(take(reader)).toEqual([5, 6]);
    expect(take(untold)).toEqual([3, 4, 5, 6]);
    expect(reader.counts()).toEqual({
      published: 6,
      delivered: 2,
      conflated: 0,
      dropped: { overflow: 4, closed: 0 },
      expired: 0,
      queued: 0,
    });
    expect(untold.counts().dropped).toEqual({ overflow: 2, closed: 0 });
  });

  test.each([
    [1, 3],
    [3, 1],
  ])('all: readers with queues of %i and %i are each told in time', (first, second) => {
    const { stream } = setUp();
    const told: Record<string, number[]> = { first: [], second: [] };
    const subscribe = (name: string, queueMax: number) =>
      stream.subscribe({ contract: { kind: 'all', queueMax }, onLost: (seqs) => told[name]!.push(...seqs) });
    const readers = [subscribe('first', first), subscribe('second', second)];
    publish(stream, 5);
    expect([told['first']!.length, told['second']!.length]).toEqual([5 - first, 5 - second]);
    for (const reader of readers) take(reader);
    publish(stream, 5);
    expect([told['first']!.length, told['second']!.length]).toEqual([2 * (5 - first), 2 * (5 - second)]);
  });

  test('latest: the newest only, the others are conflated', () => {
    const { stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'latest' } });
    expect([reader.ready, reader.next()]).toEqual([false, undefined]);
    publish(stream, 9);
    expect([reader.queued, reader.peek()?.seq, reader.ready]).toEqual([1, 9, true]);
    expect(take(reader)).toEqual([9]);
    expect(reader.counts()).toMatchObject({ published: 9, delivered: 1, conflated: 8, queued: 0 });
  });

  test('sampled: the newest, no sooner than the rate allows, and says when', () => {
    const { clock, stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'sampled', hz: 10 } });
    expect(reader.readyAtMs).toBe(Infinity);
    publish(stream, 1);
    expect(reader.readyAtMs).toBeLessThanOrEqual(1_000);
    expect(reader.next()?.seq).toBe(1);
    publish(stream, 2);
    expect([reader.ready, reader.next(), reader.queued, reader.readyAtMs]).toEqual([false, undefined, 1, 1_100]);
    clock.advance(100);
    expect(reader.next()?.seq).toBe(3);
    expect(reader.counts()).toMatchObject({ published: 3, delivered: 2, conflated: 1, queued: 0 });
  });

  test('sampled: a source at 30 Hz gives 20 Hz on average', () => {
    const { clock, stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'sampled', hz: 20 } });
    for (let i = 0; i < 300; i++) {
      publish(stream, 1);
      reader.next();
      clock.advance(1000 / 30);
    }
    expect(reader.counts().delivered).toBeGreaterThanOrEqual(199);
    expect(reader.counts().delivered).toBeLessThanOrEqual(201);
  });

  test('expired samples are skipped and told, wherever they stand in the queue', () => {
    const { clock, stream } = setUp();
    const lost: unknown[] = [];
    const reader = stream.subscribe({ contract: { kind: 'all' }, onLost: (...loss) => lost.push(loss) });
    for (const deadlineMs of [1_005, 1_100, 1_005, 1_006]) stream.publish({ data: '', deadlineMs });
    clock.advance(5);
    expect(reader.peek()?.seq).toBe(1);
    clock.advance(5);
    expect(reader.queued).toBe(4);
    expect(reader.next()?.seq).toBe(2);
    expect(reader.ready).toBe(false);
    expect(lost).toEqual([
      [[1], 'expired'],
      [[3, 4], 'expired'],
    ]);
    expect(reader.counts()).toMatchObject({ delivered: 1, expired: 3, queued: 0 });
  });

  test('a reader that keeps what was takes expired samples as well', () => {
    const { clock, stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'all' }, takesExpired: true });
    for (const deadlineMs of [1_005, 1_100]) stream.publish({ data: '', deadlineMs });
    clock.advance(10);
    expect([reader.next()?.seq, reader.next()?.seq]).toEqual([1, 2]);
    expect(reader.counts()).toMatchObject({ delivered: 2, expired: 0, queued: 0 });
  });

  test('drop and close discard what is queued under their cause', () => {
    const { stream } = setUp();
    const lost: unknown[] = [];
    let closings = 0;
    const reader = stream.subscribe({
      contract: { kind: 'all' },
      onLost: (...loss) => lost.push(loss),
      onClosed: () => closings++,
    });
    publish(stream, 2);
    reader.drop('disconnected');
    reader.drop('disconnected');
    publish(stream, 1);
    reader.close();
    reader.close();
    publish(stream, 5);
    reader.drop('late');
    expect(lost).toEqual([
      [[1, 2], 'disconnected'],
      [[3], 'closed'],
    ]);
    expect(closings).toBe(1);
    expect([reader.closed, reader.next(), reader.peek(), reader.ready, reader.queued]).toEqual([
      true,
      undefined,
      undefined,
      false,
      0,
    ]);
    expect(reader.counts()).toEqual({
      published: 3,
      delivered: 0,
      conflated: 0,
      dropped: { overflow: 0, closed: 1, disconnected: 2 },
      expired: 0,
      queued: 0,
    });
    expect(() => reader.drop('overflow')).toThrow(expect.objectContaining({ code: 'STREAM_OPTION_BAD' }));
  });

  test('drop discards as many of the oldest as it is told, and no more than are there', () => {
    const { stream } = setUp();
    const lost: unknown[] = [];
    let wakes = 0;
    const reader = stream.subscribe({
      contract: { kind: 'all' },
      onReady: () => wakes++,
      onLost: (...loss) => lost.push(loss),
    });
    publish(stream, 4);
    reader.drop('none', 0);
    reader.drop('late', 2);
    expect([reader.queued, reader.peek()?.seq]).toEqual([2, 3]);
    // Not empty: nobody needs to be woken, and the queue has room for two more.
    publish(stream, 2);
    expect(wakes).toBe(1);
    reader.drop('later', 1);
    expect(take(reader)).toEqual([4, 5, 6]);
    publish(stream, 1);
    reader.drop('late', 99);
    publish(stream, 1);
    expect(wakes).toBe(3);
    expect(lost).toEqual([
      [[1, 2], 'late'],
      [[3], 'later'],
      [[7], 'late'],
    ]);
    expect(reader.counts()).toEqual({
      published: 8,
      delivered: 3,
      conflated: 0,
      dropped: { overflow: 0, closed: 0, late: 3, later: 1 },
      expired: 0,
      queued: 1,
    });
  });

  test.each([-1, NaN, 1.5])('drop refuses to discard %d samples, and nothing happens', (count) => {
    const { stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'all' } });
    publish(stream, 3);
    reader.next();
    expect(() => reader.drop('late', count)).toThrow(expect.objectContaining({ code: 'STREAM_OPTION_BAD' }));
    expect(take(reader)).toEqual([2, 3]);
  });

  test('drop counts what was pushed out before as that, and what has expired unseen as dropped', () => {
    const { clock, stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'all', queueMax: 3 } });
    for (const deadlineMs of [1_005, 1_005, 1_005, 1_100, 1_100]) stream.publish({ data: '', deadlineMs });
    clock.advance(10);
    reader.drop('late', 2);
    expect(reader.counts()).toMatchObject({ dropped: { overflow: 2, late: 2 }, expired: 0, queued: 1 });
    expect(take(reader)).toEqual([5]);
  });

  test('of a reader that conflates there is one sample to drop', () => {
    const { stream } = setUp();
    const reader = stream.subscribe({ contract: { kind: 'latest' } });
    publish(stream, 3);
    reader.drop('late', 2);
    expect(reader.counts()).toMatchObject({ conflated: 2, dropped: { late: 1 }, queued: 0 });
  });

  test('property: a reader that drops some now and then does what a plain queue does', () => {
    const steps = fc.oneof(
      { weight: 4, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 4 }) }) },
      { weight: 2, arbitrary: fc.constant('next' as const) },
      { weight: 2, arbitrary: fc.record({ drop: fc.constantFrom(0, 1, 2, 3, 7, Infinity) }) },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 6 }),
        fc.boolean(),
        fc.array(steps, { maxLength: 80 }),
        (capacity, queueMax, tells, all) => {
          const { stream } = setUp({ capacity });
          const told: number[] = [];
          const reader = stream.subscribe({
            contract: { kind: 'all', queueMax: Math.min(queueMax, capacity) },
            ...(tells && { onLost: (seqs) => told.push(...seqs) }),
          });
          const queue: number[] = [];
          const lost: number[] = [];
          const counts = { delivered: 0, overflow: 0, late: 0 };
          for (const step of all) {
            if (step === 'next') {
              const seq = queue.shift();
              expect(reader.next()?.seq).toBe(seq);
              if (seq !== undefined) counts.delivered++;
            } else if ('publish' in step) {
              publish(stream, step.publish);
              for (let i = step.publish; i > 0; i--) queue.push(stream.head - i + 1);
              const pushedOut = queue.splice(0, Math.max(0, queue.length - Math.min(queueMax, capacity)));
              lost.push(...pushedOut);
              counts.overflow += pushedOut.length;
            } else {
              reader.drop('late', step.drop);
              const dropped = queue.splice(0, step.drop);
              lost.push(...dropped);
              counts.late += dropped.length;
            }
            const { published, delivered, queued, dropped } = reader.counts();
            const { delivered: taken, overflow, late } = counts;
            expect([delivered, queued, reader.queued]).toEqual([taken, queue.length, queue.length]);
            expect([dropped['overflow'], dropped['late'] ?? 0]).toEqual([overflow, late]);
            expect(published).toBe(taken + overflow + late + queue.length);
            if (tells) expect(told).toEqual(lost);
          }
        },
      ),
    );
  });

  test('a closing stream closes its readers before it evicts', () => {
    const order: string[] = [];
    const { stream } = setUp({ capacity: 4, onEvict: (sample) => order.push(`evict ${sample.seq}`) });
    stream.subscribe({
      contract: { kind: 'all' },
      onLost: (seqs, cause) => order.push(`lost ${seqs.join()} ${cause}`),
      onClosed: () => order.push('closed'),
    });
    publish(stream, 2);
    stream.close();
    expect(order).toEqual(['lost 1,2 closed', 'closed', 'evict 1', 'evict 2']);
  });

  test('resuming from a position gives what is still held and tells how much is not', () => {
    const { stream } = setUp({ capacity: 4 });
    publish(stream, 10);
    const all = stream.subscribe({ contract: { kind: 'all' }, from: 3 });
    expect([all.missed, all.ready]).toEqual([3, true]);
    expect(take(all)).toEqual([7, 8, 9, 10]);
    expect(all.counts()).toMatchObject({ published: 4, delivered: 4 });
    const short = stream.subscribe({ contract: { kind: 'all', queueMax: 1 }, from: 8, onLost: () => {} });
    expect([short.missed, short.queued]).toEqual([1, 1]);
    expect(stream.subscribe({ contract: { kind: 'all' }, from: 10 }).ready).toBe(false);
    expect(stream.subscribe({ contract: { kind: 'all' } }).missed).toBe(0);
  });
});

describe('waking', () => {
  test('once for each time that the reader was found empty', () => {
    const { stream } = setUp();
    let wakes = 0;
    const reader = stream.subscribe({ contract: { kind: 'all' }, onReady: () => wakes++ });
    publish(stream, 3);
    expect(wakes).toBe(1);
    reader.next();
    publish(stream, 1);
    expect(wakes).toBe(1);
    take(reader);
    publish(stream, 2);
    expect(wakes).toBe(2);
    reader.drop('bored');
    publish(stream, 1);
    expect(wakes).toBe(3);
    reader.close();
    publish(stream, 1);
    expect(wakes).toBe(3);
  });

  test('a reader that expiry has emptied is woken again', () => {
    const { clock, stream } = setUp();
    let wakes = 0;
    const reader = stream.subscribe({ contract: { kind: 'latest' }, onReady: () => wakes++ });
    stream.publish({ data: '', deadlineMs: 1_000 });
    clock.advance(1);
    expect(reader.ready).toBe(false);
    publish(stream, 1);
    expect(wakes).toBe(2);
  });

  test('callbacks that throw are counted and reach nobody', () => {
    const { hub, stream } = setUp({
      capacity: 1,
      onEvict: fail,
    });
    let wakes = 0;
    const bad = stream.subscribe({ contract: { kind: 'all' }, onReady: fail, onLost: fail, onClosed: fail });
    stream.subscribe({ contract: { kind: 'latest' }, onReady: () => wakes++ });
    publish(stream, 2);
    expect(wakes).toBe(1);
    expect(hub.callbackFaults.count).toBe(3);
    bad.close();
    expect(hub.callbackFaults).toEqual({ count: 5, last: new Error('reader') });
    expect(bad.counts()).toMatchObject({ published: 2, dropped: { overflow: 1, closed: 1 } });
  });

  test('publishing inside onReady keeps the order for everybody', () => {
    const { stream } = setUp();
    const seen: number[] = [];
    const echo = stream.subscribe({
      contract: { kind: 'all' },
      onReady: () => void (stream.head < 3 && publish(stream, 1)),
    });
    const other: Reader<string> = stream.subscribe({
      contract: { kind: 'all' },
      onReady: () => void seen.push(...take(other)),
    });
    publish(stream, 1);
    publish(stream, 1);
    expect(seen).toEqual([1, 2, 3]);
    expect(take(echo)).toEqual([1, 2, 3]);
  });

  test('closing and subscribing inside callbacks is safe', () => {
    const { stream } = setUp({ capacity: 1 });
    const late: Reader<string>[] = [];
    let wakes = 0;
    const first = stream.subscribe({
      contract: { kind: 'all' },
      onReady: () => {
        second.close();
        late.push(stream.subscribe({ contract: { kind: 'latest' }, onReady: () => wakes++ }));
      },
      onLost: (_, cause) => cause === 'overflow' && first.close(),
    });
    const second = stream.subscribe({ contract: { kind: 'all' }, onReady: () => wakes++ });
    publish(stream, 1);
    expect([wakes, second.closed]).toEqual([0, true]);
    publish(stream, 1);
    expect([wakes, first.closed]).toEqual([1, true]);
    expect(first.counts()).toMatchObject({ published: 2, dropped: { overflow: 1, closed: 1 }, queued: 0 });
    expect([...stream.readers]).toEqual(late);
  });

  test('closing the stream inside onReady is safe', () => {
    const { hub, stream } = setUp();
    let wakes = 0;
    stream.subscribe({ contract: { kind: 'all' }, onReady: () => stream.close() });
    const other = stream.subscribe({ contract: { kind: 'all' }, onReady: () => wakes++ });
    expect(stream.publish({ data: 'last' }).seq).toBe(1);
    expect(wakes).toBe(0);
    expect(other.counts()).toMatchObject({ published: 1, dropped: { closed: 1 } });
    expect(hub.list()).toEqual([]);
  });

  test('a reader that another callback has emptied is woken by the sample after', () => {
    const { stream } = setUp();
    let wakes = 0;
    stream.subscribe({ contract: { kind: 'all' }, onReady: () => wakes === 0 && other.drop('for you') });
    const other = stream.subscribe({ contract: { kind: 'all' }, onReady: () => wakes++ });
    publish(stream, 1);
    expect(wakes).toBe(0);
    publish(stream, 1);
    expect(wakes).toBe(1);
  });
});

test('a ring gives nothing for positions that it no longer or not yet holds', () => {
  const ring = new Ring<string>(2);
  const { stream } = setUp();
  for (const data of 'abc') ring.push(stream.publish({ data }));
  expect([0, 1, 2, 3].map((position) => ring.at(position)?.data)).toEqual([undefined, 'b', 'c', undefined]);
  expect(ring.clear().map((sample) => sample.data)).toEqual(['b', 'c']);
  expect([1, 2].map((position) => ring.at(position))).toEqual([undefined, undefined]);
});

test('a closed reader leaves nothing behind in its stream', () => {
  const host = {
    ring: new Ring<string>(1),
    clock: new ManualClock(),
    guard: new Guard(),
    idle: new Set<Reader<string>>(),
    detach: () => {},
  };
  const reader = new Reader(host, { contract: { kind: 'latest' }, onReady: () => {} });
  expect(host.idle.size).toBe(1);
  reader.close();
  expect(host.idle.size).toBe(0);
});

describe('hub', () => {
  test('names are unique, free again after closing, and epochs differ', () => {
    const { hub, stream } = setUp();
    expect(() => hub.create('cam', { capacity: 1 })).toThrow(expect.objectContaining({ code: 'STREAM_NAME_IN_USE' }));
    expect(hub.get('cam')).toBe(stream);
    expect(hub.list()).toEqual([stream]);
    hub.close('cam');
    hub.close('cam');
    expect(stream.closed).toBe(true);
    expect(hub.get('cam')).toBeUndefined();
    const again = hub.create('cam', { capacity: 1 });
    expect(again.epoch).toMatch(/^[a-z0-9]+$/);
    expect(again.epoch).not.toBe(stream.epoch);
  });

  test('an old stream closing late does not take a new one of its name away', () => {
    const { hub, stream } = setUp();
    stream.subscribe({ contract: { kind: 'latest' }, onClosed: () => hub.close('cam') });
    stream.close();
    const again = hub.create('cam', { capacity: 1 });
    stream.close();
    expect(hub.get('cam')).toBe(again);
  });

  test('streams and readers are bounded', () => {
    const hub = new Hub({ clock: new ManualClock(), streamsMax: 1 });
    const stream = hub.create('a', { capacity: 1, readersMax: 1 });
    expect(() => hub.create('b', { capacity: 1 })).toThrow(expect.objectContaining({ code: 'STREAM_LIMIT_REACHED' }));
    const reader = stream.subscribe({ contract: { kind: 'latest' } });
    const more = () => stream.subscribe({ contract: { kind: 'latest' } });
    expect(more).toThrow(expect.objectContaining({ code: 'STREAM_LIMIT_REACHED' }));
    reader.close();
    expect(more).not.toThrow();
  });

  test('a closed hub has closed its streams and makes none', () => {
    const { hub, stream } = setUp();
    hub.close();
    hub.close();
    expect(stream.closed).toBe(true);
    expect(() => hub.create('x', { capacity: 1 })).toThrow(expect.objectContaining({ code: 'STREAM_CLOSED' }));
    expect(() => stream.subscribe({ contract: { kind: 'latest' } })).toThrow(
      expect.objectContaining({ code: 'STREAM_CLOSED' }),
    );
  });

  test.each([
    ['capacity 0', (hub: Hub) => hub.create('x', { capacity: 0 })],
    ['capacity 1.5', (hub: Hub) => hub.create('x', { capacity: 1.5 })],
    ['readersMax 0', (hub: Hub) => hub.create('x', { capacity: 1, readersMax: 0 })],
    ['name ""', (hub: Hub) => hub.create('', { capacity: 1 })],
    ['queueMax 5', (hub: Hub) => hub.get('cam')!.subscribe({ contract: { kind: 'all', queueMax: 5 } })],
    ['hz 0', (hub: Hub) => hub.get('cam')!.subscribe({ contract: { kind: 'sampled', hz: 0 } })],
    ['from 1', (hub: Hub) => hub.get('cam')!.subscribe({ contract: { kind: 'latest' }, from: 1 })],
  ])('refuses %s by name', (words, misuse) => {
    const { hub } = setUp();
    let thrown: unknown;
    try {
      misuse(hub);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'STREAM_OPTION_BAD', message: expect.stringContaining(words) });
  });
});
