import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { forInlet, rtpForInlet } from './inlet-packets.ts';
import { Inlets } from './inlets.ts';
import { WhipSource } from './whip-source.ts';

let folder: string;
let path: string;
let source: WhipSource;
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-whip-'));
  path = join(folder, 'private', '1');
  source = new WhipSource(path);
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await source.close();
  await rm(folder, { recursive: true, force: true });
});

/** It has been let in, or has been sent away. */
async function publisher(): Promise<Socket> {
  const isThere = async () => (await stat(path).catch(() => undefined)) !== undefined;
  await expect.poll(isThere, { interval: 5 }).toBe(true);
  const socket = connect(path);
  sockets.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

const KEY = [0x65, 0x88];
const NEXT = [0x61, 0x9a];

function frame(sequence: number, payload: readonly number[]): Buffer {
  return rtpForInlet({ sequence, stamp: 3_600 * sequence, isMarked: true, payload: Uint8Array.from(payload) });
}

test('frames of a publisher come out, each with the time that its reports tell', async () => {
  const arrival = source.arrive();
  const socket = await publisher();
  await arrival;
  expect(await source.open()).toMatchObject({ format: 'whip', codec: 'h264', isStored: false });
  const report = Buffer.alloc(28);
  report.writeUInt32BE(0x80c80006, 0);
  // 1,000 s after the epoch of Unix.
  report.writeUInt32BE(2_208_988_800 + 1_000, 8);
  report.writeUInt32BE(3_600 * 7, 16);
  socket.write(Buffer.concat([forInlet(report), frame(7, KEY), frame(9, NEXT), frame(8, NEXT)]));
  expect(await source.read()).toMatchObject({ isKey: true, lost: 0, cameraMs: 1_000_000 });
  expect(await source.read()).toMatchObject({ isKey: false, lost: 0, cameraMs: 1_000_040 });
  expect(await source.read()).toMatchObject({ isKey: false, lost: 0, cameraMs: 1_000_080 });
});

test('it is asked for a key frame when it comes', async () => {
  const arrival = source.arrive();
  const socket = await publisher();
  await arrival;
  expect(((await once(socket, 'data')) as [Buffer])[0]).toHaveLength(1);
});

test('its end is the end; the next one finds nobody before the next source', async () => {
  const arrival = source.arrive();
  const socket = await publisher();
  await arrival;
  socket.write(frame(1, KEY));
  expect(await source.read()).toMatchObject({ isKey: true });
  expect(await stat(path).catch(() => 'none')).toBe('none');
  socket.destroy();
  await expect(source.read()).rejects.toMatchObject({ code: 'CAMERA_ENDED' });
});

test('what a process has left behind that was killed is in nobody’s way', async () => {
  const first = source.arrive();
  await publisher();
  await first;
  await writeFile(path, '');
  const next = new WhipSource(path);
  const arrival = next.arrive();
  await expect.poll(async () => (await stat(path)).isSocket(), { interval: 5 }).toBe(true);
  await publisher();
  await arrival;
  await next.close();
});

test('nobody else gets into the folder', async () => {
  const arrival = source.arrive();
  await publisher();
  await arrival;
  expect((await stat(join(folder, 'private'))).mode & 0o777).toBe(0o700);
});

test('it can be closed while it waits, and before', async () => {
  const arrival = source.arrive();
  await source.close();
  await expect(arrival).rejects.toMatchObject({ code: 'CAMERA_ENDED' });
  expect(await source.read()).toBeUndefined();
});

test.each([
  [undefined, 'CAMERA_FORBIDDEN'],
  [`/nowhere\0/1`, 'CAMERA_UNREACHABLE'],
  [join(tmpdir(), 'x'.repeat(200), '1'), 'CAMERA_UNREACHABLE'],
])('where there can be no such socket that is told (%#)', async (bad, code) => {
  const other = new WhipSource(bad);
  await expect(other.arrive()).rejects.toMatchObject({ code });
  await other.close();
  await rm(join(tmpdir(), 'x'.repeat(200)), { recursive: true, force: true });
});

test('each camera has a path of its own, and they go with their folder', async () => {
  const inlets = new Inlets();
  const [one, other] = [inlets.next(), inlets.next()];
  expect(one).not.toBe(other);
  const own = new WhipSource(one);
  const arrival = own.arrive();
  await expect
    .poll(
      async () =>
        stat(one).then(
          () => true,
          () => false,
        ),
      { interval: 5 },
    )
    .toBe(true);
  await own.close();
  await expect(arrival).rejects.toMatchObject({ code: 'CAMERA_ENDED' });
  await inlets.close();
  expect(await stat(join(one, '..')).catch(() => 'none')).toBe('none');
});
