import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FF_ENCODER_LIBX264 } from 'node-av/constants';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { readPolygon } from '../../src/base/polygon.ts';
import { decodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { rgbSamples, samplesOf, shareBlack, type Share } from '../support/black.ts';
import { CamerasClient } from '../support/cameras-client.ts';
import { writeClip } from '../support/clips.ts';
import { clipOfFile } from '../support/coded-clip.ts';
import { readIndexed } from '../support/recorded.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A camera with masks, and a client that tries all ways to what is under them. */

const MASK = '0.21,0.3 0.63,0.3 0.63,0.77 0.21,0.77';
const POLYGONS = [readPolygon(MASK).polygon!];
const TIMEOUT = { timeout: 30_000 };

let folder: string;
let rtsp: RtspServer;
let server: ServerProcess;
const keys: Record<'admin' | 'viewer' | 'trusted', string> = { admin: '', viewer: '', trusted: '' };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-masks-'));
  const path = join(folder, 'bright.mp4');
  await writeClip(path, {
    codec: FF_ENCODER_LIBX264,
    format: 'mp4',
    width: 320,
    height: 180,
    frames: 50,
    chroma: 100,
    luma: (frame, x, y) => 160 + ((x + 3 * frame + y) % 60),
    options: { preset: 'ultrafast', g: '12' },
  });
  rtsp = await RtspServer.open({ cameras: { gate: { clip: await clipOfFile(path) } } });
  const made = Object.entries({
    admin: ['admin'],
    viewer: ['read:cameras/#', 'subscribe:cameras/#', 'read:metrics'],
    trusted: ['read:cameras/#', 'unmasked:cameras/gate'],
  }).map(([name, allowed]) => makeKey({ name, grants: allowed.map(parseGrant), createdMs: Date.now() }));
  const keysFile = join(folder, 'keys.json');
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: made.map(({ key }) => key) }));
  for (const { key, text } of made) keys[key.name as keyof typeof keys] = text;
  server = await ServerProcess.start([
    'serve',
    '--record',
    join(folder, 'a.mcap'),
    '--set',
    `auth.keys_file=${keysFile}`,
    '--set',
    `cameras.gate.url=${rtsp.url('gate')}`,
    '--set',
    'cameras.gate.pipelines=',
  ]);
});
afterAll(async () => {
  await server?.stop();
  await rtsp?.close();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (path: string, key: string, init: RequestInit = {}) =>
  fetch(server.url + path, {
    ...init,
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
  });
const connect = (key: string) => CamerasClient.open(server.ws(`/ws/cameras?access_token=${key}`));
const json = async (path: string) => (await (await ask(path, keys.admin)).json()) as Record<string, unknown>;
const state = async () => (await json('/api/cameras/gate'))['state'];

function expectMasked({ under, beside }: Share, what: string): void {
  expect(under, what).toBeGreaterThanOrEqual(0.999);
  expect(beside, what).toBeLessThan(0.35);
}

async function still(width: number): Promise<Share> {
  const response = await ask(`/cameras/gate/still.jpg?width=${width}`, keys.viewer);
  expect(response.status).toBe(200);
  const jpeg = new Uint8Array(await response.arrayBuffer());
  const size = readJpegHeader(jpeg);
  const { data } = decodeJpeg(jpeg, new Uint8Array(size.width * size.height * 3));
  return shareBlack(rgbSamples(data, size.width, size.height, 40), POLYGONS);
}

test('what a mask hides is seen by nobody without the permission, whatever they try', { timeout: 90_000 }, async () => {
  await expect.poll(state, TIMEOUT).toBe('live');
  const viewer = await connect(keys.viewer);
  const trusted = await connect(keys.trusted);
  for (const client of [viewer, trusted]) client.view(1, 'gate', ['raw', 'state']);
  viewer.view(2, 'gate', ['raw'], { transcode: true });
  viewer.view(3, 'gate', ['annotated']);
  await viewer.until(() => viewer.of('fragment', 1).length > 10);
  await viewer.until(() => [2, 3].every((id) => viewer.of('fragment', id).length > 3));
  expect((await still(320)).under).toBeLessThan(0.1);

  const { epoch } = viewer.of('init', 2).at(-1)!;
  const put = await ask('/api/cameras/gate', keys.admin, {
    method: 'PUT',
    body: JSON.stringify({ masks: [MASK], pipelines: [] }),
  });
  expect(await put.json()).toMatchObject({ change: 'changed', camera: { masked: true } });
  await viewer.until(() => viewer.of('closed', 1).length === 1);
  expect(viewer.of('closed', 1)).toMatchObject([{ code: 'CAMERA_MASKED' }]);
  const before = viewer.of('fragment', 1).length;
  await expect.poll(state, TIMEOUT).toBe('live');

  // The same views go on, with the masks from their first new frame on.
  for (const [id, form] of [
    [2, 'encoded anew'],
    [3, 'annotated'],
  ] as const) {
    await viewer.until(() => viewer.of('fragment', id).filter((one) => one.epoch > epoch).length > 20);
    const init = viewer.of('init', id).at(-1)!;
    const fragments = viewer.of('fragment', id).filter((one) => one.epoch === init.epoch);
    const pictures = await samplesOf(Buffer.concat([init, ...fragments].map(({ bytes }) => bytes)), 24);
    expect(pictures).toHaveLength(fragments.length);
    for (const picture of pictures) expectMasked(shareBlack(picture, POLYGONS), form);
  }
  for (const width of [16, 100, 237, 320, 4_000]) expectMasked(await still(width), `still ${width}`);

  const answer = await ask('/api/tickets', keys.viewer, {
    method: 'POST',
    body: JSON.stringify({ path: '/ws/cameras' }),
  });
  const { ticket } = (await answer.json()) as { ticket: string };
  const ticketed = await CamerasClient.open(server.ws(`/ws/cameras?ticket=${ticket}`));
  for (const client of [viewer, ticketed]) {
    for (let id = 10; id < 110; id++) {
      const channels = [['raw'], ['raw', 'results'], ['state', 'raw'], ['results', 'raw', 'state']] as const;
      client.view(id, 'gate', channels[id % 4]!, id % 3 === 0 ? { transcode: false } : {});
    }
    await client.settled();
    expect(client.of('error').map(({ code }) => code)).toEqual(Array.from({ length: 100 }, () => 'CAMERA_MASKED'));
  }
  expect(ticketed.of('fragment')).toEqual([]);
  expect(viewer.messages.some((message) => message.type === 'fragment' && message.id >= 10)).toBe(false);
  expect(viewer.of('fragment', 1)).toHaveLength(before);
  expect((await ask('/api/cameras/gate', keys.viewer, { method: 'PUT', body: '{"masks":[]}' })).status).toBe(403);
  expect((await ask('/api/cameras/test', keys.viewer, { method: 'POST', body: '{}' })).status).toBe(403);

  // Who may see it has gone on all the time.
  expect(trusted.of('closed')).toEqual([]);
  const own = trusted.of('init', 1).at(-1)!;
  const frames = () => trusted.of('fragment', 1).filter((one) => one.epoch === own.epoch && one.epoch > epoch);
  await trusted.until(() => frames().length > 5);
  const [seen] = await samplesOf(Buffer.concat([own, ...frames()].map(({ bytes }) => bytes)), 24);
  expect(shareBlack(seen!, POLYGONS).under).toBeLessThan(0.1);
  expect(server.err).toMatch(/camera gate has masks: its frames are not in the recording/);
  for (const client of [viewer, trusted, ticketed]) await client.close();

  await server.stop();
  const { messages } = await readIndexed(join(folder, 'a.mcap'));
  const recorded = messages.filter(({ topic }) => topic === 'cameras/gate/video');
  expect(recorded.length).toBeGreaterThan(0);
  const epochs = recorded.map(({ value }) => (value as { epoch: number }).epoch);
  expect(Math.max(...epochs)).toBeLessThanOrEqual(epoch);
});
