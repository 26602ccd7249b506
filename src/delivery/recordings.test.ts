import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { systemClock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import { seededRandom } from '../base/random.ts';
import { encodeJpeg } from '../media/jpeg.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { RECORDING_DEFAULTS } from './recording.ts';
import { Recordings, type RecordedSession } from './recordings.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-recordings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const file = (name: string) => join(folder, name);
const PICTURE: Picture = {
  kind: 'jpeg',
  bytes: encodeJpeg({ data: new Uint8Array(8 * 8 * 3), width: 8, height: 8 }, 80),
  width: 8,
  height: 8,
};

function setUp() {
  const hub = new Hub({ clock: systemClock, streamsMax: 100 });
  const topics = new Topics({
    hub,
    clock: systemClock,
    random: seededRandom(5),
    settings: {
      topicsMax: 100,
      historyMessages: 100,
      historyBytesMax: 1 << 20,
      historyDepartedBytesMax: 1 << 20,
      topicIdleMs: 60_000,
      readersMax: 100,
    },
  });
  const { log, texts } = collectingLog();
  const open: RecordedSession[] = [];
  const recordings = new Recordings({
    hub,
    topics,
    clock: systemClock,
    sessions: () => open,
    cameras: { all: () => [], watchAll: () => () => {} },
    takesUnmasked: false,
    log,
  });
  /** A video session with its two streams. */
  const begin = (clientId: string) => {
    const frames = hub.create<Picture>(`${clientId}/frames`, { capacity: 8 });
    const outcomes = hub.create<FrameOutcome>(`${clientId}/objects`, { capacity: 8 });
    const session: RecordedSession = { clientId, pipelines: ['objects'] };
    open.push(session);
    recordings.follow(session);
    return { frames, outcomes };
  };
  return { topics, recordings, begin, texts };
}

const topicsOf = ({ topics }: { topics: readonly { topic: string; recorded: number }[] }) =>
  Object.fromEntries(topics.map(({ topic, recorded }) => [topic, recorded]));

test('topics and the sessions that are there, and those that come, are on one timeline; losses are left out', async () => {
  const { topics, recordings, begin } = setUp();
  const early = begin('early');
  const recorder = await recordings.start(file('a.mcap'), 'machine/+');
  const late = begin('late');
  topics.publish('machine/7', { payload: Payload.of(1) });
  topics.publish('other', { payload: Payload.of(1) });
  for (const { frames, outcomes } of [early, late]) {
    frames.publish({ seq: 1, data: PICTURE });
    outcomes.publish({ seq: 1, data: { kind: 'error', code: 'FRAME_UNDECODABLE', message: 'it is broken' } });
    outcomes.publish({ seq: 2, data: { kind: 'dropped', cause: 'expired' } });
  }
  expect(recordings.status()).toMatchObject([{ state: 'recording', file: 'a.mcap' }]);
  const report = await recorder.finish();
  expect(topicsOf(report)).toEqual({
    'machine/7': 1,
    'video/early/frames': 1,
    'video/early/objects': 1,
    'video/late/frames': 1,
    'video/late/objects': 1,
  });
  await expect.poll(() => recordings.status()).toMatchObject([{ state: 'ended', file: 'a.mcap', recorded: 5 }]);
  await recordings.start(file('next.mcap'));
  expect(recordings.status()).toMatchObject([{ state: 'recording', file: 'next.mcap' }]);
  await recordings.close();
});

test('every recording takes in a session that comes; the end of the server completes them all', async () => {
  const { recordings, begin } = setUp();
  const [one, two] = await Promise.all([recordings.start(file('1.mcap')), recordings.start(file('2.mcap'))]);
  begin('cam').frames.publish({ seq: 1, data: PICTURE });
  await recordings.close();
  for (const recorder of [one, two]) {
    expect(topicsOf(recorder.report())).toMatchObject({ 'video/cam/frames': 1 });
    expect(recorder.report().files[0]).toMatch(/[12]\.mcap$/);
  }
});

test('a bad filter begins nothing', async () => {
  const { recordings } = setUp();
  await expect(recordings.start(file('bad.mcap'), 'a/#/b')).rejects.toMatchObject({ code: 'FILTER_BAD' });
  expect(recordings.status()).toEqual([]);
  expect(await readdir(folder)).toEqual([]);
});

test.skipIf(process.platform !== 'linux')('one that has failed is told, and stays until another is begun', async () => {
  const { topics, recordings, texts } = setUp();
  const settings = { ...RECORDING_DEFAULTS, retryMs: 0 };
  const recorder = await recordings.start(file('lost.mcap'), '#', settings);
  topics.publish('t', { payload: Payload.of(1) });
  await expect.poll(() => recorder.report().recorded).toBe(1);
  await rm(file('lost.mcap.part'));
  await expect(recorder.finish()).rejects.toMatchObject({ code: 'OUTPUT_FAILED' });
  expect(texts().at(-1)).toMatch(/^the recording has ended: .*; \d messages are lost$/);
  expect(recordings.status()).toMatchObject([{ state: 'failed', file: 'lost.mcap' }]);
  await recordings.start(file('next.mcap'));
  expect(recordings.status()).toMatchObject([{ state: 'recording' }]);
  await recordings.close();
});
