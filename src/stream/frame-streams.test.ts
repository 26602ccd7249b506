import { describe, expect, test } from 'vitest';
import { withRepetitions } from '../../test/support/forms.ts';
import { usedBytes } from '../../test/support/heap.ts';
import { ManualClock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
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
const STAGES = { decode: 1.5, preprocess: 2.5, inference: 10.5, postprocess: 0.5 };
const box = { x: 0.123, y: 0.234, width: 0.345, height: 0.456 };

function result(contents: Extract<FrameOutcome, { kind: 'result' }>['result']): FrameOutcome {
  const times = { receivedTimeMs: 1.5, startedTimeMs: 2.5 };
  // As it comes from a worker.
  return structuredClone({ kind: 'result', width: 640, height: 480, result: contents, ...times, stagesMs: STAGES });
}

const objects = (count: number) =>
  result({
    pipeline: 'objects',
    detections: Array.from({ length: count }, (_, i) => ({
      label: 'Person',
      classId: i,
      score: 0.9123,
      box: { ...box },
    })),
  });
const point = { x: 0.123, y: 0.234, z: -0.345 };
const points = () => Array.from({ length: 21 }, () => ({ ...point }));
const hands = (count: number) =>
  result({
    pipeline: 'hands',
    hands: Array.from({ length: count }, () => ({
      handedness: 'left',
      score: 0.98,
      landmarks: points(),
      world: points(),
    })),
  });

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
  outcomes.publish({ data: objects(3) });
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
    for (let i = 0; i < 10; i++) outcomes.publish({ data: objects(100) });
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

describe('what is charged is what is taken, within a factor of 1.5', () => {
  test.each(withRepetitions([[5_000, 2_000] as const], [[100, 5_000] as const]))(
    'frames of %i bytes',
    async (bytes, count) => {
      const { memory, source } = setUp();
      const { stream } = source('cam', count);
      const before = await usedBytes();
      for (let i = 0; i < count; i++) publish(stream, bytes);
      const real = (await usedBytes()) - before;
      const charged = memory.bytes('frames');
      stream.close();
      expect(real / charged).toBeLessThan(1.5);
      expect(real / charged).toBeGreaterThan(1 / 1.5);
    },
  );

  type Outcomes = readonly [name: string, count: number, make: () => FrameOutcome];
  const outcomes: readonly Outcomes[] = [
    ['some objects', 2_000, () => objects(5)],
    ['hands', 500, () => hands(2)],
    ['losses', 10_000, () => ({ kind: 'dropped', cause: 'expired' })],
  ];
  const repeated: readonly Outcomes[] = [
    ['nothing', 5_000, () => objects(0)],
    ['many objects', 500, () => objects(100)],
    // As it comes from a worker.
    ['errors', 5_000, () => structuredClone({ kind: 'error', code: 'INFERENCE_FAILED', message: 'x'.repeat(200) })],
  ];
  test.each(withRepetitions(outcomes, repeated))('outcomes with %s', async (_, count, make) => {
    const { memory, hub } = setUp();
    const account = memory.open('video', 'x');
    const stream = new FrameStreams(hub, memory).outcomes('x/objects', count, () => account);
    const before = await usedBytes();
    for (let i = 0; i < count; i++) stream.publish({ data: make() });
    const real = (await usedBytes()) - before;
    const charged = memory.bytes('frames');
    stream.close();
    expect(real / charged).toBeLessThan(1.5);
    expect(real / charged).toBeGreaterThan(1 / 1.5);
  });
});
