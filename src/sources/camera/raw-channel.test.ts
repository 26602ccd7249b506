import { expect, test } from 'vitest';
import type { RawFragment } from '../../base/camera-frame.ts';
import { ManualClock } from '../../base/clock.ts';
import { boundless } from '../../fences/memory-ledger.ts';
import { BUDGET_MS } from '../../protocol/cameras.ts';
import { FrameStreams } from '../../stream/frame-streams.ts';
import { Hub } from '../../stream/hub.ts';
import { newestKey } from '../../stream/newest-key.ts';
import { AGE_MS_MAX, RawChannel, READ_AGE_MS_MAX } from './raw-channel.ts';

const FRAME_MS = 100;
const FRAME_BYTES = 1_000;

/** A raw channel that somebody watches; `keyEvery`: frames from one key frame to the next. */
function setUp({ keyEvery = 20, bytesMax = 10 ** 7 } = {}) {
  const clock = new ManualClock();
  const memory = boundless();
  const hub = new Hub({ clock, streamsMax: 1 });
  const account = memory.open('camera', 'gate');
  const evicted = { bytes: 0, fragments: 0, age: 0 };
  const channel = new RawChannel({
    camera: 'gate',
    form: 'raw',
    clock,
    streams: new FrameStreams(hub, memory),
    account: () => account,
    bytesMax: () => bytesMax,
    captureTimeMs: () => clock.now(),
    onWanted: () => {},
    onEvicted: (bound, fragments) => {
      evicted[bound] += fragments;
    },
  });
  channel.watch();
  const name = { camera: 1, epoch: 1, form: 'raw', boxes: 'none' } as const;
  channel.init({ ...name, kind: 'init', codecString: '', width: 8, height: 8, bytes: new Uint8Array() });
  let seq = 0;
  const play = (count: number): void => {
    for (let i = 0; i < count; i++, seq++) {
      clock.advance(FRAME_MS);
      const times = { arrivedMs: clock.now(), capturedBeforeMs: 0, mediaTimeS: 0, durationS: FRAME_MS / 1000 };
      const isKey = seq % keyEvery === 0;
      const bytes = new Uint8Array(FRAME_BYTES);
      channel.fragment({ ...name, ...times, clock: 'arrival', kind: 'fragment', seq, order: seq, isKey, bytes });
    }
  };
  const { stream } = channel;
  const oldest = (): RawFragment => stream.at(stream.oldest)!.data;
  /** Published = kept + gone. */
  const expectBalanced = (): void => {
    const gone = Object.values(evicted).reduce((sum, count) => sum + count, 0);
    expect(channel.accounts().published).toBe(stream.head - stream.oldest + gone);
    expect(channel.accounts().bytes).toBe((stream.head - stream.oldest) * FRAME_BYTES);
  };
  return { clock, channel, stream, play, evicted, oldest, expectBalanced };
}

test('groups of pictures go once all of each is older than any view may lag', () => {
  expect(AGE_MS_MAX).toBe(BUDGET_MS.max);
  const { clock, stream, play, evicted, oldest, expectBalanced } = setUp();
  stream.subscribe({ contract: { kind: 'all' } });
  play(1_500);
  expect(oldest().isKey).toBe(true);
  const oldestMs = clock.now() - stream.at(stream.oldest)!.publishedTimeMs;
  expect(oldestMs).toBeGreaterThanOrEqual(AGE_MS_MAX);
  expect(oldestMs).toBeLessThanOrEqual(AGE_MS_MAX + 20 * FRAME_MS);
  expect(evicted).toEqual({ bytes: 0, fragments: 0, age: stream.oldest });
  expectBalanced();
});

test('what everybody has goes sooner, but for the newest group; whoever is behind keeps what is to come', () => {
  const { clock, stream, play, evicted, expectBalanced } = setUp();
  const ageMs = () => clock.now() - stream.at(stream.oldest)!.publishedTimeMs;
  const readers = [0, 1].map(() => stream.subscribe({ contract: { kind: 'all' } }));
  for (let i = 0; i < 200; i++) {
    play(1);
    for (const reader of readers) reader.next();
  }
  expect(ageMs()).toBeGreaterThanOrEqual(READ_AGE_MS_MAX);
  expect(ageMs()).toBeLessThanOrEqual(READ_AGE_MS_MAX + 20 * FRAME_MS);
  expect([stream.at(stream.oldest)!.data.isKey, evicted.age]).toEqual([true, stream.oldest]);
  const before = stream.oldest;
  const [ahead, behind] = readers as [(typeof readers)[0], (typeof readers)[0]];
  for (let i = 0; i < 200; i++) {
    play(1);
    ahead.next();
  }
  expect([behind.queued, behind.counts().dropped.overflow, ahead.queued]).toEqual([200, 0, 0]);
  expect(stream.oldest).toBeLessThanOrEqual(200);
  expect(stream.oldest).toBeGreaterThan(before);
  behind.close();
  play(20);
  expect(ageMs()).toBeLessThanOrEqual(READ_AGE_MS_MAX + 20 * FRAME_MS);
  expectBalanced();
});

test('whoever lags by no more loses nothing; whoever lags by more is told', () => {
  const { stream, play } = setUp();
  const lost: number[] = [];
  const reader = stream.subscribe({ contract: { kind: 'all' }, onLost: (seqs) => lost.push(...seqs) });
  play(AGE_MS_MAX / FRAME_MS);
  expect([reader.counts().queued, lost.length]).toEqual([AGE_MS_MAX / FRAME_MS, 0]);
  play(200);
  expect(lost).toHaveLength(stream.oldest);
  expect(reader.next()!.data.isKey).toBe(true);
  expect(reader.counts().dropped.overflow).toBe(stream.oldest);
});

test('a group that lasts for longer stays whole, for whoever comes', () => {
  const { stream, play, evicted, expectBalanced } = setUp({ keyEvery: 1_000 });
  play(990);
  expect(newestKey(stream)).toBe(0);
  play(1_000);
  expect([newestKey(stream), stream.oldest]).toEqual([1_000, 1_000]);
  expect(evicted.age).toBe(1_000);
  expectBalanced();
});

test('what does not fit goes, by the bound that was met', () => {
  const { play, evicted, oldest, expectBalanced } = setUp({ bytesMax: 50 * FRAME_BYTES });
  play(100);
  expect(oldest().isKey).toBe(true);
  expect(evicted).toEqual({ bytes: 60, fragments: 0, age: 0 });
  expectBalanced();
});
