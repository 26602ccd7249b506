import { describe, expect, test } from 'vitest';
import { objectsOutcome } from '../../test/support/outcomes.ts';
import { ManualClock } from '../base/clock.ts';
import type { Picture } from '../base/picture.ts';
import { boundless, MemoryLedger, type MemoryBound } from '../fences/memory-ledger.ts';
import { FrameStreams } from './frame-streams.ts';
import { Hub } from './hub.ts';
import type { Stream } from './stream.ts';

function setUp(frames: MemoryBound = boundless().bounds.frames) {
  const memory = new MemoryLedger({ ...boundless().bounds, frames });
  const hub = new Hub({ clock: new ManualClock(), streamsMax: 100 });
  const streams = new FrameStreams(hub, memory);
  const source = (name: string, capacity = 25) => {
    const account = memory.open('video', name);
    const of = () => account;
    const lost: number[] = [];
    const stream = streams.frames(`${name}/frames`, capacity, of);
    const reader = stream.subscribe({ contract: { kind: 'all' }, onLost: (seqs) => lost.push(...seqs) });
    return { account, stream, reader, lost, outcomes: streams.outcomes(`${name}/objects`, 256, of) };
  };
  return { memory, hub, source };
}

const picture = (bytes: number): Picture => ({ kind: 'jpeg', bytes: new Uint8Array(bytes), width: 1, height: 1 });
const publish = (stream: Stream<Picture>, ...sizes: readonly number[]) => {
  for (const bytes of sizes) stream.publish({ data: picture(bytes) });
};

test('what a ring holds is charged, and given back when it goes', () => {
  const { memory, source } = setUp();
  const { account, stream, outcomes } = source('cam', 2);
  publish(stream, 10_000);
  const one = account.bytes('frames');
  expect(one).toBeGreaterThan(10_000);
  publish(stream, 10_000, 10_000);
  expect(account.bytes('frames')).toBe(2 * one);
  stream.trim(2);
  expect(account.bytes('frames')).toBe(one);
  outcomes.publish({ data: objectsOutcome(3) });
  expect(account.bytes('frames')).toBeGreaterThan(one);
  stream.close();
  outcomes.close();
  expect(memory.bytes('frames')).toBe(0);
});

describe('over a bound', () => {
  test('a source loses its oldest frames, which its reader is told; the newest stays, whatever its size', () => {
    const { source } = setUp({ totalBytesMax: 1e9, clientBytesMax: 50_000 });
    const { stream, reader, lost, account } = source('cam');
    publish(stream, 20_000, 20_000, 20_000);
    expect(lost).toEqual([1]);
    expect([reader.queued, stream.oldest]).toEqual([2, 1]);
    publish(stream, 60_000);
    expect(lost).toEqual([1, 2, 3]);
    expect(reader.next()!.data.bytes).toHaveLength(60_000);
    expect(account.bytes('frames')).toBeGreaterThan(60_000);
  });

  test('results go where they take more than the frames', () => {
    const { source } = setUp({ totalBytesMax: 1e9, clientBytesMax: 200_000 });
    const { stream, outcomes, lost, account } = source('cam');
    publish(stream, 20_000);
    for (let i = 0; i < 10; i++) outcomes.publish({ data: objectsOutcome(100) });
    expect(outcomes.head - outcomes.oldest).toBeLessThan(10);
    expect(lost).toEqual([]);
    expect(account.bytes('frames')).toBeLessThanOrEqual(200_000);
  });

  test('of all sources, whoever holds most loses its oldest, at last also its only one', () => {
    const { memory, source } = setUp({ totalBytesMax: 100_000, clientBytesMax: 80_000 });
    const [greedy, modest] = [source('greedy'), source('modest')];
    publish(greedy.stream, 30_000, 30_000);
    publish(modest.stream, 20_000, 20_000);
    expect([greedy.lost, modest.lost]).toEqual([[1], []]);
    publish(greedy.stream, 70_000);
    expect([greedy.lost, modest.lost]).toEqual([[1, 2, 3], []]);
    expect(memory.bytes('frames')).toBeLessThanOrEqual(100_000);
    publish(modest.stream, 5_000);
    expect(modest.reader.queued).toBe(3);
  });
});

test('a reader that answers losses by an outcome is called as often as there are losses', () => {
  const { source } = setUp({ totalBytesMax: 1e9, clientBytesMax: 10_000 });
  const { stream, outcomes, account } = source('cam');
  const told: number[] = [];
  stream.subscribe({
    contract: { kind: 'all' },
    onLost: (seqs) => {
      for (const seq of seqs) {
        told.push(seq);
        outcomes.publish({ seq, data: { kind: 'dropped', cause: 'queue_full' } });
      }
    },
  });
  for (let i = 0; i < 100; i++) publish(stream, 1_000);
  const queued = stream.head - stream.oldest;
  expect(told).toEqual(Array.from({ length: 100 - queued }, (_, i) => i + 1));
  expect(account.bytes('frames')).toBeLessThanOrEqual(10_000);
});
