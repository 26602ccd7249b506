import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { annexbOf } from '../../test/support/coded-clip.ts';
import { collectingLog } from '../../test/support/log.ts';
import { numberedVideo, type NumberedVideo } from '../../test/support/numbered-video.ts';
import { readIndexed } from '../../test/support/recorded.ts';
import { FOUND, ScriptedCameras } from '../../test/support/scripted-feeds.ts';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { Hub } from '../stream/hub.ts';
import { Topics } from '../stream/topics.ts';
import { Recordings } from './recordings.ts';

const KEY_EVERY = 5;
const RING = 40;
let folder: string;
let video: NumberedVideo;
beforeAll(async () => {
  video = await numberedVideo({ frames: 20, keyEvery: KEY_EVERY, height: 80 });
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-recordings-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const file = (name: string) => join(folder, name);

function setUp(names: readonly string[] = []) {
  const clock = new ManualClock();
  const hub = new Hub({ clock, streamsMax: 100 });
  const settings = { topicsMax: 9, historyMessages: 9, historyBytesMax: 9, historyDepartedBytesMax: 9 };
  const topics = new Topics({
    hub,
    clock,
    random: seededRandom(5),
    settings: { ...settings, topicIdleMs: 60_000, readersMax: 9 },
  });
  const cameras = new ScriptedCameras({ hub, clock, video, capacity: RING });
  for (const name of names) cameras.add(name);
  const { log, entries } = collectingLog();
  const recordings = new Recordings({ hub, topics, clock, sessions: () => [], cameras, takesUnmasked: false, log });
  /** Frames of a camera, each `FRAME_MS` after the one before. */
  const play = (name: string, count = 1) => {
    for (let i = 0; i < count; i++) {
      clock.advance(40);
      cameras.get(name).play();
    }
  };
  return { clock, cameras, recordings, play, entries };
}

async function readRecording(path: string) {
  const { messages, reader } = await readIndexed(path);
  return messages.map(({ topic, channel, sequence, logTime, publishTime, value }) => {
    const schema = reader.schemasById.get(channel.schemaId)!.name;
    return {
      topic,
      channel,
      schema,
      sequence,
      logTime,
      publishTime,
      value: value as Readonly<Record<string, unknown>>,
    };
  });
}

/** Numbers of frames; `k`: a key frame. */
const framesOf = async (path: string, topic: string, epoch?: number) =>
  (await readRecording(path))
    .filter((one) => one.topic === topic && (epoch === undefined || one.value['epoch'] === epoch))
    .map(({ value }) => `${String(value['seq'])}${value['is_key'] === true ? 'k' : ''}`);
const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `${from + i}${(from + i) % KEY_EVERY === 0 ? 'k' : ''}`);
const yet = () => new Promise((resolve) => setTimeout(resolve, 1));

test('a frame is one of Foxglove’s, with its name and times; a key frame has its parameter sets in front', async () => {
  const { recordings, play, cameras, clock } = setUp(['gate']);
  const recorder = await recordings.start(file('a.mcap'), 'cameras/#');
  const { epoch } = cameras.get('gate').next;
  play('gate', 12);
  expect(await recorder.finish()).toMatchObject({ recorded: 12, lost: 0 });
  const messages = await readRecording(file('a.mcap'));
  const capturedMs = clock.now() - 11 * 40 - 5;
  expect(messages[0]!.value).toEqual({
    timestamp: { sec: Math.floor(capturedMs / 1000), nsec: (capturedMs % 1000) * 1e6 },
    frame_id: 'gate',
    format: 'h264',
    camera: 'gate',
    epoch,
    seq: 0,
    capture_time: capturedMs,
    clock: 'arrival',
    is_key: true,
    media_time_s: 0,
    duration_s: expect.closeTo(0.04),
    data: expect.any(String),
  });
  for (const [i, { channel, schema, sequence, logTime, publishTime }] of messages.entries()) {
    expect([channel.topic, channel.metadata.get('sightline.epoch')]).toEqual(['cameras/gate/video', String(epoch)]);
    expect(schema).toBe('foxglove.CompressedVideo');
    expect(sequence).toBe(i);
    expect(Number(logTime - publishTime)).toBe(5e6);
  }
  const stream = messages.map(({ value }) => Buffer.from(value['data'] as string, 'base64'));
  const { sps, pps, vps, codec } = video.sets;
  const expected = Array.from({ length: 12 }, (_, i) => {
    const frame = video.frames[i]!;
    const sets = frame.isKey ? { codec, vps, sps, pps } : { codec, vps: [], sps: [], pps: [] };
    return annexbOf({ codec, rateFps: 25, sets, frames: [frame] });
  });
  expect(stream.map((one, i) => one.equals(expected[i]!))).toEqual(expected.map(() => true));
});

test('a recording begins with the newest key frame at hand, or the next one, and what was found in those frames', async () => {
  const { recordings, play, cameras } = setUp(['watched', 'dark']);
  play('watched', 8);
  cameras.get('watched').find(2, FOUND);
  cameras.get('watched').find(6, FOUND);
  // The ring of a camera may have lost the beginning of its group.
  play('dark', 3);
  cameras.get('dark').raw.trim(2);
  const recorder = await recordings.start(file('a.mcap'));
  play('watched', 3);
  cameras.get('watched').find(3, FOUND);
  cameras.get('watched').find(9, { kind: 'dropped', cause: 'expired' });
  play('dark', 5);
  expect(await recorder.finish()).toMatchObject({ lost: 0, recorded: 6 + 1 + 3 });
  expect(await framesOf(file('a.mcap'), 'cameras/watched/video')).toEqual(range(5, 11));
  expect(await framesOf(file('a.mcap'), 'cameras/watched/objects')).toEqual(['6']);
  expect(await framesOf(file('a.mcap'), 'cameras/dark/video')).toEqual(range(5, 8));
});

test('a result lies behind its frame and has its name, also where the frame comes late', async () => {
  const { recordings, play, cameras, clock } = setUp(['gate']);
  const recorder = await recordings.start(file('a.mcap'), 'cameras/gate/#');
  const gate = cameras.get('gate');
  // As when somebody begins to watch: what was found in frames comes before them.
  gate.find(1, FOUND);
  clock.advance(3);
  await yet();
  play('gate', 1);
  await yet();
  clock.advance(40);
  // At one moment.
  gate.play(3);
  gate.find(3, FOUND);
  gate.find(3, { kind: 'error', code: 'FRAME_UNDECODABLE', message: 'it is broken' });
  // Its frame never comes.
  gate.find(7, FOUND);
  const { epoch } = gate.next;
  const report = await recorder.finish();
  expect(report).toMatchObject({ recorded: 7, lost: 1 });
  expect(report.topics).toEqual([
    { topic: 'cameras/gate/video', epoch: String(epoch), recorded: 4, lost: 0, queued: 0 },
    { topic: 'cameras/gate/results', epoch: String(epoch), recorded: 3, lost: 1, queued: 0 },
  ]);
  const messages = await readRecording(file('a.mcap'));
  const placeOf = (topic: string, seq: number) =>
    messages.findIndex((one) => one.topic === topic && one.sequence === seq);
  const found = messages.filter(({ topic }) => topic === 'cameras/gate/objects');
  expect(found.map(({ sequence }) => sequence)).toEqual([1, 3, 3]);
  for (const { sequence } of found) {
    expect(placeOf('cameras/gate/objects', sequence)).toBeGreaterThan(placeOf('cameras/gate/video', sequence));
  }
  expect(found[0]!.value).toMatchObject({
    camera: 'gate',
    epoch,
    seq: 1,
    clock: 'arrival',
    pipeline: 'objects',
    outcome: 'result',
    detections: [{ label: 'car', box: { x: 0, width: 0.5 } }],
  });
  expect(found[2]!.value).toMatchObject({ outcome: 'error', code: 'FRAME_UNDECODABLE', epoch, seq: 3 });
});

test('a camera that is removed is recorded up to its end, though nobody had the time to write it', async () => {
  const { recordings, play, cameras } = setUp(['gate']);
  const recorder = await recordings.start(file('a.mcap'));
  play('gate', 8);
  cameras.get('gate').find(7, FOUND);
  cameras.remove('gate');
  expect(await recorder.finish()).toMatchObject({ recorded: 9, lost: 0 });
  expect((await readRecording(file('a.mcap'))).at(-1)).toMatchObject({ topic: 'cameras/gate/objects', sequence: 7 });
});

test('a camera without a raw channel has results alone', async () => {
  const { recordings, cameras } = setUp(['gate']);
  const gate = cameras.get('gate');
  gate.codecString = null;
  const recorder = await recordings.start(file('a.mcap'));
  gate.find(4, FOUND);
  gate.find(5, FOUND);
  expect(await recorder.finish()).toMatchObject({ recorded: 2, lost: 0 });
  expect(await framesOf(file('a.mcap'), 'cameras/gate/objects')).toEqual(['4', '5']);
});

describe('the filter', () => {
  test.each([
    ['#', ['a/objects', 'a/video', 'b/objects', 'b/video'], 2],
    ['cameras/+/video', ['a/video', 'b/video'], 2],
    ['cameras/b/#', ['b/objects', 'b/video'], 1],
    ['cameras/+/objects', ['a/objects', 'b/objects'], 0],
    ['rover/#', [], 0],
  ])('%s', async (filter, parts, watching) => {
    const { recordings, play, cameras } = setUp(['a', 'b']);
    const recorder = await recordings.start(file('a.mcap'), filter);
    expect(cameras.all().filter((camera) => camera.watching === 1)).toHaveLength(watching);
    for (const name of ['a', 'b']) {
      play(name);
      cameras.get(name).find(0, FOUND);
    }
    expect(await recorder.finish()).toMatchObject({ recorded: parts.length, lost: 0 });
    const topics = parts.length === 0 ? [] : (await readRecording(file('a.mcap'))).map(({ topic }) => topic);
    expect(topics.toSorted()).toEqual(parts.map((part) => `cameras/${part}`));
    await expect.poll(() => cameras.all().map(({ watching: now }) => now)).toEqual([0, 0]);
  });
});

test('cameras that come, go, come back and connect anew are followed; each epoch has a channel of its own', async () => {
  const { recordings, play, cameras } = setUp(['stays']);
  const recorder = await recordings.start(file('a.mcap'), 'cameras/+/video');
  play('stays', 4);
  const epochs = [cameras.get('stays').next.epoch];
  cameras.get('stays').reconnect();
  epochs.push(cameras.get('stays').next.epoch);
  play('stays', 7);
  const first = cameras.add('comes');
  play('comes', 6);
  cameras.remove('comes');
  expect([first.watched, first.watching]).toEqual([1, 0]);
  const second = cameras.add('comes');
  play('comes', 2);
  expect(second.watching).toBe(1);
  const report = await recorder.finish();
  expect(report).toMatchObject({ recorded: 19, lost: 0 });
  expect(await framesOf(file('a.mcap'), 'cameras/stays/video', epochs[0])).toEqual(range(0, 4));
  expect(await framesOf(file('a.mcap'), 'cameras/stays/video', epochs[1])).toEqual(range(0, 7));
  expect(await framesOf(file('a.mcap'), 'cameras/comes/video')).toEqual([...range(0, 6), ...range(0, 2)]);
  const channels = new Map((await readRecording(file('a.mcap'))).map(({ channel }) => [channel.id, channel]));
  const told = [...channels.values()].filter(({ topic }) => topic === 'cameras/stays/video');
  expect(told.map(({ metadata }) => metadata.get('sightline.epoch'))).toEqual(epochs.map(String));
  await recordings.close();
  expect(cameras.listeners).toBe(0);
  for (const camera of cameras.all()) {
    expect(camera.watching).toBe(0);
    expect([...camera.raw.readers, ...camera.results.readers]).toEqual([]);
  }
});

test('of what the ring has lost, the rest of its group is of no use: published is recorded and lost', async () => {
  const { recordings, play } = setUp(['gate']);
  const recorder = await recordings.start(file('a.mcap'), 'cameras/#');
  play('gate', 3);
  await expect.poll(() => recorder.report().recorded).toBe(3);
  // In one turn of the event loop: the ring keeps the last 40 frames, and begins within a group.
  play('gate', 50);
  const report = await recorder.finish();
  expect(await framesOf(file('a.mcap'), 'cameras/gate/video')).toEqual([...range(0, 3), ...range(15, 53)]);
  expect(report).toMatchObject({ recorded: 41, lost: 10 + 2 });
});

test('frames of a camera with masks are left out, and that is told, unless they are wanted all the same; results are there', async () => {
  const { recordings, play, cameras, entries } = setUp(['gate', 'yard']);
  cameras.mask('yard');
  const recorder = await recordings.start(file('a.mcap'), 'cameras/#');
  const told = () =>
    entries.flatMap(({ event, fields }) => (event === 'camera_not_recorded' ? [fields['camera']] : []));
  expect(told()).toEqual(['yard']);
  expect(cameras.all().map(({ watching }) => watching)).toEqual([1, 0]);
  play('yard', 2);
  play('gate', 2);
  await expect.poll(() => recorder.report().recorded).toBe(2);
  // What waits, too.
  play('gate', 3);
  cameras.mask('gate');
  play('gate', 2);
  cameras.get('gate').find(6, FOUND);
  cameras.get('yard').find(1, FOUND);
  await expect.poll(() => recorder.report().recorded).toBe(4);
  expect(told()).toEqual(['yard', 'gate']);
  cameras.mask('gate', false);
  play('gate', 6);
  await expect.poll(() => recorder.report().recorded).toBe(4 + 3);
  recordings.configure({ takesUnmasked: true });
  expect(cameras.all().map(({ watching }) => watching)).toEqual([1, 1]);
  play('yard', 5);
  await recorder.finish();
  expect(await framesOf(file('a.mcap'), 'cameras/gate/video')).toEqual([...range(0, 2), ...range(10, 13)]);
  expect(await framesOf(file('a.mcap'), 'cameras/yard/video')).toEqual(range(5, 7));
  expect(await framesOf(file('a.mcap'), 'cameras/gate/objects')).toEqual(['6']);
  expect(await framesOf(file('a.mcap'), 'cameras/yard/objects')).toEqual(['1']);
});
