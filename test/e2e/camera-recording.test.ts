import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Picture } from '../../src/base/picture.ts';
import { seededRandom } from '../../src/base/random.ts';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { Recordings } from '../../src/delivery/recordings.ts';
import { Topics } from '../../src/stream/topics.ts';
import { fleetWorld, NamingEngine } from '../support/camera-fleet.ts';
import { numberedClip, type CodedClip } from '../support/coded-clip.ts';
import { decodePictures } from '../support/decoded.ts';
import { collectingLog } from '../support/log.ts';
import { readNumber } from '../support/picture-number.ts';
import { readIndexed } from '../support/recorded.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A frame keeps its identity from the camera through recording and replay: the number in each picture is compared with the frame's name. */

const TIMEOUT = { timeout: 60_000 };
const KEY_EVERY = 10;

/** A message on a topic of a camera. */
interface Told {
  readonly topic: string;
  readonly value: unknown;
}

interface VideoFrame {
  readonly epoch: number;
  readonly seq: number;
  readonly is_key: boolean;
  readonly media_time_s: number;
  readonly data: string;
}

interface Found {
  readonly epoch: number;
  readonly seq: number;
  readonly detections: readonly { readonly label: string }[];
}

interface Camera {
  readonly id: string;
  readonly clip: CodedClip;
  /** Place in the clip of the first frame of each connection, as the camera has sent it. */
  readonly begins: readonly number[];
}

function numberIn({ bytes: data, width, height }: Picture): string {
  return String(readNumber({ data, width, height, pixelBytes: 3 }));
}

function of<T>(told: readonly Told[], topic: string): T[] {
  return told.filter((one) => one.topic === topic).map(({ value }) => value as T);
}

/**
 * Compares the pictures, and what was found in them, with what the camera has sent. `isInOrder`: of several topics, too. Returns how many there are of
 * each.
 */
async function expectIdentity({ id, clip, begins }: Camera, told: readonly Told[], isInOrder: boolean) {
  const frames = of<VideoFrame>(told, `cameras/${id}/video`);
  const epochs = [...new Set(frames.map(({ epoch }) => epoch))];
  expect(epochs).toHaveLength(begins.length);
  /** The number in the picture of a name, by the camera. */
  const numberOf = ({ epoch, seq }: { readonly epoch: number; readonly seq: number }): number =>
    clip.frames[(begins[epochs.indexOf(epoch)]! + seq) % clip.frames.length]!.order;
  for (const epoch of epochs) {
    const own = frames.filter((one) => one.epoch === epoch);
    expect(own[0]!.is_key).toBe(true);
    expect(own.map(({ seq }) => seq)).toEqual(own.map((_, i) => own[0]!.seq + i));
    const shown = await decodePictures(Buffer.concat(own.map(({ data }) => Buffer.from(data, 'base64'))));
    const inOrder = own.toSorted((a, b) => a.media_time_s - b.media_time_s);
    expect(shown.map(({ number }) => number)).toEqual(inOrder.map(numberOf));
  }
  const results = of<Found>(told, `cameras/${id}/objects`);
  for (const result of results) {
    expect([result.seq, result.detections[0]!.label]).toEqual([result.seq, String(numberOf(result))]);
    const isOwn = ({ topic, value }: Told): boolean =>
      topic === `cameras/${id}/video` &&
      (value as VideoFrame).epoch === result.epoch &&
      (value as VideoFrame).seq === result.seq;
    expect(told.filter(isOwn)).toHaveLength(1);
    if (isInOrder) expect(told.findIndex(isOwn)).toBeLessThan(told.findIndex(({ value }) => value === result));
  }
  return { frames: frames.length, results: results.length };
}

test('through RTSP, server, recording and replay, with a reconnection: the number in each picture is that of its name', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-identity-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const clips = {
    plain: await numberedClip({ keyEvery: KEY_EVERY }),
    // H.265, and frames that are shown in another order than they are sent in.
    reordered: await numberedClip({ codec: 'hevc', keyEvery: KEY_EVERY, bFrames: 2 }),
  };
  const rtsp = await RtspServer.open({
    cameras: { plain: { clip: clips.plain }, reordered: { clip: clips.reordered } },
  });
  onTestFinished(() => rtsp.close());
  const ids = ['plain', 'reordered'] as const;
  const begins = { plain: [] as number[], reordered: [] as number[] };
  for (const id of ids) {
    const { frames } = clips[id];
    const camera = rtsp.camera(id);
    camera.onFrame = ({ number }) => {
      const { plays } = camera.counts;
      if (begins[id].length < plays) begins[id].push(frames.findIndex(({ order }) => order === number));
    };
  }
  const world = fleetWorld({
    script: null,
    engine: new NamingEngine(2, 5, numberIn),
    input: { width: 320, height: 180 },
    settings: { processes: 1, openTimeoutMs: 20_000, stallTimeoutMs: 10_000 },
  });
  const settings = { topicsMax: 9, historyMessages: 9, historyBytesMax: 9, historyDepartedBytesMax: 9 };
  const topics = new Topics({
    hub: world.hub,
    clock: systemClock,
    random: seededRandom(1),
    settings: { ...settings, topicIdleMs: 1, readersMax: 9 },
  });
  const recordings = new Recordings({
    hub: world.hub,
    topics,
    clock: systemClock,
    sessions: () => [],
    cameras: world.fleet,
    takesUnmasked: false,
    log: collectingLog().log,
  });
  const path = join(folder, 'a.mcap');
  world.set(Object.fromEntries(ids.map((id) => [id, rtsp.url(id)])));
  await expect.poll(() => ids.map(world.state), TIMEOUT).toEqual(['live', 'live']);
  await expect.poll(() => ids.map((id) => world.camera(id).results.head > 2), TIMEOUT).toEqual([true, true]);

  const recorder = await recordings.start(path);
  const recorded = () => Object.fromEntries(recorder.report().topics.map((one) => [one.topic, one.recorded]));
  const hasMore = async (count: number): Promise<void> => {
    const before = recorded();
    const topicsOf = ids.flatMap((id) => [`cameras/${id}/video`, `cameras/${id}/results`]);
    const isThere = (topic: string): boolean =>
      (recorded()[topic] ?? 0) >= (before[topic] ?? 0) + (topic.endsWith('video') ? count : 3);
    await expect.poll(() => topicsOf.filter((topic) => !isThere(topic)), TIMEOUT).toEqual([]);
  };
  await hasMore(30);
  for (const id of ids) rtsp.camera(id).closeClients();
  await expect.poll(() => ids.map((id) => world.camera(id).report().connections), TIMEOUT).toEqual([2, 2]);
  await hasMore(30);
  const report = await recorder.finish();
  await recordings.close();
  topics.close();
  expect(report.lost).toBe(0);
  expect(ids.map((id) => [rtsp.camera(id).counts.plays, rtsp.camera(id).counts.framesDropped])).toEqual([
    [2, 0],
    [2, 0],
  ]);
  const cameras: Camera[] = ids.map((id) => ({ id, clip: clips[id], begins: begins[id] }));

  const { messages } = await readIndexed(path);
  const inFile = messages.map(({ topic, value }): Told => ({ topic, value }));
  let count = 0;
  for (const camera of cameras) {
    const { frames, results } = await expectIdentity(camera, inFile, true);
    expect([frames >= 60, results >= 6]).toEqual([true, true]);
    count += frames + results;
  }
  expect(count).toBe(report.recorded);

  await using replay = await ServerProcess.start(['replay', path, '--paused', '--speed', '4']);
  await using viewer = await connectTelemetry({ url: replay.ws('/ws/telemetry'), reconnect: false });
  const replayed: Told[] = [];
  const subscription = viewer.subscribe('cameras/#');
  subscription.onTelemetry((batch) => {
    for (const { topic, data } of batch) replayed.push({ topic, value: data });
  });
  await subscription.ready;
  viewer.publish('replay/control', { paused: false });
  await expect.poll(() => replayed.length, TIMEOUT).toBe(count);
  for (const camera of cameras) {
    await expectIdentity(camera, replayed, false);
    for (const part of ['video', 'objects']) {
      const topic = `cameras/${camera.id}/${part}`;
      expect(of(replayed, topic)).toEqual(of(inFile, topic));
    }
  }
});
