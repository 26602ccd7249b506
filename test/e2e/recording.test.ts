import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { RecordingSource } from '../../src/delivery/replay-file.ts';
import { createSightline } from '../../src/index.ts';
import { runHere } from '../support/command.ts';
import { photograph } from '../support/pictures.ts';
import { readIndexed } from '../support/recorded.ts';
import { ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const BURST = 2_000;
const STEADY = 400;
const STEADY_HZ = 200;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-e2e-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function start(...words: string[]) {
  const child = spawn(process.execPath, [command, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines = { out: [] as string[], err: [] as string[] };
  createInterface({ input: child.stdout }).on('line', (line) => lines.out.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => lines.err.push(line));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, lines, ended };
}

const connect = (url: string) => connectTelemetry({ url, reconnect: false });

/** The messages of `rover/1/state` as the public reader finds them. */
async function readFileOf(path: string) {
  const { reader, messages } = await readIndexed(path);
  const own = messages.filter(({ topic }) => topic === 'rover/1/state');
  const numbers = own.map(({ value }) => (value as { n: number }).n);
  return { reader, numbers, sequences: own.map(({ sequence }) => sequence) };
}

test('pictures and results of a video session are recorded on the timeline of the topics', async () => {
  const path = join(folder, 'video.mcap');
  const server = await createSightline({ env: process.env, settings: { 'server.port': 0 } });
  const recorder = await server.record(path);
  const picture = await photograph('car2.jpg');
  const camera = await SocketClient.open(`${server.url.replace('http', 'ws')}/ws/video?client_id=cam&budget_ms=30000`);
  server.publish('rover/1/state', { n: 0 });
  camera.send(picture);
  await camera.until(() => camera.of('result').length === 1);
  server.publish('rover/1/state', { n: 1 });
  await camera.close();
  await server.close();
  expect(recorder.report()).toMatchObject({ recorded: 4, lost: 0 });
  await using source = await RecordingSource.open(path);
  const messages = [];
  for await (const { topic, payload } of source.messages(0)) messages.push([topic, payload.value()]);
  expect(messages).toEqual([
    ['rover/1/state', { n: 0 }],
    ['video/cam/frames', Buffer.from(picture)],
    [
      'video/cam/objects',
      expect.objectContaining({ type: 'result', seq: 1, detections: camera.of('result')[0]!.detections }),
    ],
    ['rover/1/state', { n: 1 }],
  ]);
});

test('a server records its own rover from the first message to the last', async () => {
  const path = join(folder, 'own.mcap');
  const server = await ServerProcess.start(['serve', '--app', 'rover', '--record', path]);
  await sleep(1_000);
  expect(await server.stop()).toBe(0);
  const { sequences } = await readFileOf(path);
  expect(sequences.length).toBeGreaterThan(20);
  expect(sequences).toEqual(sequences.map((_, i) => i + 1));
});

describe('sightline record and replay', () => {
  test('every message is in the file, in order, for the public reader; replay gives them to subscribers again', async () => {
    await using server = await ServerProcess.start();
    const path = join(folder, 'drive.mcap');
    const recording = start('record', path, '--url', server.ws('/ws/telemetry'), '--topics', 'rover/#', '--json');
    await expect
      .poll(() => recording.lines.err.join(), { timeout: 30_000 })
      .toMatch(/"event":"record_connected".*"msg":"recording rover\/#/);
    const publisher = await connect(server.ws('/ws/telemetry'));
    const send = (n: number) => {
      publisher.publish('rover/1/state', { n, pose: { x: n / 10, y: -n }, mode: 'manual' });
      publisher.publish('other', { n });
    };
    for (let n = 0; n < BURST; n++) send(n);
    const beganMs = performance.now();
    for (let n = 0; n < STEADY; n++) {
      send(BURST + n);
      await sleep(Math.max(0, beganMs + ((n + 1) * 1000) / STEADY_HZ - performance.now()));
    }
    const watcher = await connect(server.ws('/ws/telemetry'));
    await publisher.close();
    await watcher.close();
    await sleep(500);
    recording.child.kill('SIGINT');
    expect(await recording.ended).toBe(0);
    expect(JSON.parse(recording.lines.out[0]!)).toMatchObject({ files: [path], recorded: BURST + STEADY, lost: 0 });
    const { reader, numbers } = await readFileOf(path);
    expect(numbers).toEqual(Array.from({ length: BURST + STEADY }, (_, n) => n));
    expect([...reader.channelsById.values()].map(({ topic }) => topic)).toEqual(['rover/1/state']);

    const replay = start('replay', path, '--port', '0', '--speed', '20', '--paused', '--prefix', 'past/', '--once');
    await expect.poll(() => replay.lines.out[0], { timeout: 60_000 }).toMatch(/^ready http/);
    const url = replay.lines.out[0]!.replace('ready http', 'ws') + '/ws/telemetry';
    const seen: number[] = [];
    await using viewer = await connect(url);
    const subscription = viewer.subscribe('#');
    subscription.onTelemetry((messages) => {
      for (const { topic, data } of messages) if (topic === 'past/rover/1/state') seen.push((data as { n: number }).n);
    });
    await subscription.ready;
    viewer.publish('replay/control', { paused: false });
    await expect.poll(() => seen.length, { timeout: 30_000 }).toBe(BURST + STEADY);
    expect(seen).toEqual(numbers);
    expect(await replay.ended).toBe(0);
  });

  test('a server that goes away ends the recording, which is complete up to there', async () => {
    const path = join(folder, 'cut.mcap');
    const server = await ServerProcess.start();
    const recording = start('record', path, '--url', server.url);
    await expect
      .poll(() => recording.lines.err.join(), { timeout: 30_000 })
      .toMatch(/"event":"record_connected".*"msg":"recording #/);
    await using publisher = await connect(server.ws('/ws/telemetry'));
    publisher.publish('rover/1/state', { n: 0 });
    await sleep(500);
    await server.stop('SIGKILL');
    expect(await recording.ended).toBe(69);
    expect(recording.lines.err.at(-1)).toMatch(/CONNECTION_LOST/);
    expect((await readFileOf(path)).numbers).toEqual([0]);
  });

  test.each([
    [['record', 'x.txt'], 64, /\.mcap/],
    [['record', 'x.mcap', '--topics', 'a/#/b'], 64, /FILTER_BAD/],
    [['record', 'x.mcap', '--duration', '-1'], 64, /USAGE/],
    [['record', 'x.mcap', '--url', 'ws://127.0.0.1:1'], 69, /CONNECTION_FAILED/],
    [['replay', 'none.mcap'], 66, /none\.mcap.*SOURCE_NOT_FOUND/],
    [['replay', 'FOLDER/empty.mcap'], 65, /it is empty.*SOURCE_UNREADABLE/],
    [['replay', 'FOLDER/garbage.mcap'], 65, /not an MCAP file.*SOURCE_UNREADABLE/],
    [['replay', 'FOLDER/drive.mcap', '--speed', '50', '--port', '0'], 64, /speed 50 .*USAGE/],
    [['replay', 'FOLDER/drive.mcap', '--from', '900', '--port', '0'], 64, /from 900 s.*USAGE/],
    [['replay', 'FOLDER/drive.mcap', '--speed', 'fast'], 64, /USAGE/],
  ])('%o is refused', async (words, code, message) => {
    await writeFile(join(folder, 'empty.mcap'), '');
    await writeFile(join(folder, 'garbage.mcap'), 'rubbish '.repeat(100));
    const told: string[] = [];
    const refused = await runHere(
      folder,
      words.map((word) => word.replace('FOLDER', folder)),
      process.env,
      { logLine: (line) => told.push(line) > 0, err: (line) => void told.push(line) },
    );
    expect(refused.code).toBe(code);
    expect(told.at(-1)).toMatch(message);
  });
});
