import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { numberedClip } from '../support/coded-clip.ts';
import { runHere } from '../support/command.ts';
import { readIndexed } from '../support/recorded.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The commands and the API of cameras, with a camera that answers. */

let folder: string;
let rtsp: RtspServer;
let server: ServerProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-live-'));
  const clip = await numberedClip();
  rtsp = await RtspServer.open({
    cameras: { gate: { clip }, locked: { clip, credentials: { scheme: 'basic', user: 'me', password: 'hidden1' } } },
  });
  server = await ServerProcess.start(['serve', '--camera', rtsp.url('gate'), '--record', join(folder, 'a.mcap')]);
});
afterAll(async () => {
  await server?.stop();
  await rtsp?.close();
  rmSync(folder, { recursive: true, force: true });
});

async function cameras(...words: string[]) {
  const [command = '', ...rest] = words;
  const ran = await runHere(folder, ['cameras', command, '--url', server.url, ...rest], { HOME: folder });
  expect(ran.out + ran.err).not.toMatch(/hidden\d/);
  return ran;
}

const stateOf = async (id: string) => (await server.json<{ state: string }>(`/api/cameras/${id}`)).state;

test('an address is tested: what is there, and why nothing is', async () => {
  const found = await cameras('test', rtsp.url('locked', 'me:hidden1'));
  expect(found).toMatchObject({ code: 0, err: '' });
  expect(found.out).toMatch(/^it works: rtsp, h264, 320×180, /);
  expect(await cameras('test', rtsp.url('locked', 'me:hidden2'))).toMatchObject({
    code: 77,
    err: expect.stringContaining('(CAMERA_CREDENTIALS)'),
  });
  expect(await cameras('test', rtsp.url('nothing'))).toMatchObject({
    code: 66,
    err: expect.stringContaining('(CAMERA_NOT_FOUND)'),
  });
  expect(await cameras('test', 'rtsp://127.0.0.1:1/x')).toMatchObject({
    code: 69,
    err: expect.stringContaining('(CAMERA_UNREACHABLE)'),
  });
});

test('one of the command line is live, with a still that says which frame it is', async () => {
  await expect.poll(() => stateOf('cam1'), { timeout: 30_000 }).toBe('live');
  const still = await fetch(`${server.url}/cameras/cam1/still.jpg?width=160`);
  expect([still.status, still.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
  expect(still.headers.get('sightline-frame')).toMatch(/^cam1\/\d{13}\/\d+$/);
  expect(Math.abs(Number(still.headers.get('sightline-capture-time')) - Date.now())).toBeLessThan(60_000);
  expect([...new Uint8Array(await still.arrayBuffer()).subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
  const status = await runHere(folder, ['status', '--url', server.url], { HOME: folder });
  expect(status.out).toContain('1 of 1 camera live');
});

test('a change touches only what it names', async () => {
  await expect.poll(() => stateOf('cam1'), { timeout: 30_000 }).toBe('live');
  const connections = async () => (await server.json<{ connections: number }>('/api/cameras/cam1')).connections;
  const before = await connections();
  expect((await cameras('add', 'locked', rtsp.url('locked', 'me:hidden1'), '--pipeline', 'none')).code).toBe(0);
  await expect.poll(() => stateOf('locked'), { timeout: 30_000 }).toBe('live');
  // Its own connection stays as well: what has changed is its class alone.
  expect((await cameras('add', 'cam1', rtsp.url('gate'), '--class', 'high')).out).toBe('cam1 is changed\n');
  expect((await cameras('list')).err).toBe('2 of 2 cameras live\n');
  expect((await cameras('add', 'locked', rtsp.url('locked', 'me:hidden1'), '--off')).code).toBe(0);
  await expect.poll(() => stateOf('locked')).toBe('off');
  expect((await cameras('remove', 'locked')).code).toBe(0);
  expect([await stateOf('cam1'), await connections()]).toEqual(['live', before]);
  expect(rtsp.camera('gate').counts.framesDropped).toBe(0);
});

test('it is in the recording of the server', async () => {
  expect(await server.stop()).toBe(0);
  const { messages, metadata } = await readIndexed(join(folder, 'a.mcap'));
  expect(metadata[0]!.get('lost')).toBe('0');
  const frames = messages.filter(({ topic }) => topic === 'cameras/cam1/video');
  const { seq, ...first } = frames[0]!.value as { seq: number };
  expect(first).toMatchObject({ camera: 'cam1', format: 'h264', is_key: true });
  expect(frames.map(({ sequence }) => sequence)).toEqual(frames.map((_, i) => seq + i));
});
