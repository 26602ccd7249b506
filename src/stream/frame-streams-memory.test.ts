import { expect, test } from 'vitest';
import { usedBytes } from '../../test/support/heap.ts';
import { handsOutcome, objectsOutcome } from '../../test/support/outcomes.ts';
import { ManualClock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { boundless, MemoryLedger } from '../fences/memory-ledger.ts';
import { FrameStreams } from './frame-streams.ts';
import { Hub } from './hub.ts';

/** What is charged for frames and their outcomes is what the heap takes for them, within a factor of 1.5. */

function setUp() {
  const memory = new MemoryLedger(boundless().bounds);
  const streams = new FrameStreams(new Hub({ clock: new ManualClock(), streamsMax: 10 }), memory);
  const account = memory.open('video', 'cam');
  return { streams, charged: () => memory.bytes('frames'), of: () => account };
}

async function expectCharged(charged: () => number, publish: () => void): Promise<void> {
  const before = await usedBytes();
  publish();
  const real = (await usedBytes()) - before;
  expect(real / charged()).toBeLessThan(1.5);
  expect(real / charged()).toBeGreaterThan(1 / 1.5);
}

test.each([
  [100, 5_000],
  [5_000, 2_000],
])('frames of %i bytes', async (bytes, count) => {
  const { streams, charged, of } = setUp();
  const stream = streams.frames('cam/frames', count, of);
  await expectCharged(charged, () => {
    for (let i = 0; i < count; i++) {
      stream.publish({ data: { kind: 'jpeg', bytes: new Uint8Array(bytes), width: 1, height: 1 } });
    }
  });
  stream.close();
});

test.each<[string, number, () => FrameOutcome]>([
  ['nothing', 5_000, () => objectsOutcome(0)],
  ['some objects', 2_000, () => objectsOutcome(5)],
  ['many objects', 500, () => objectsOutcome(100)],
  ['hands', 500, () => handsOutcome(2)],
  ['losses', 10_000, () => ({ kind: 'dropped', cause: 'expired' })],
  // As it comes from a worker.
  [
    'errors',
    5_000,
    () => structuredClone({ kind: 'error', code: 'INFERENCE_FAILED', message: 'x'.repeat(200) } as const),
  ],
])('outcomes with %s', async (_, count, make) => {
  const { streams, charged, of } = setUp();
  const stream = streams.outcomes('cam/objects', count, of);
  await expectCharged(charged, () => {
    for (let i = 0; i < count; i++) stream.publish({ data: make() });
  });
  stream.close();
});
