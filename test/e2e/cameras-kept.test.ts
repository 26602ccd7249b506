import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runHere } from '../support/command.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Cameras of a real server by the real command: added, changed, removed, and there again after a restart. Nothing answers at their addresses. */

interface Camera {
  readonly id: string;
  readonly url: string;
  readonly class: string;
  readonly state: string;
  readonly settings: { readonly transport: string };
}

let folder: string;
let file: string;
let server: ServerProcess;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-cameras-'));
  file = join(folder, 'sightline.yaml');
  write();
  server = await start();
});
afterEach(async () => {
  await server.stop('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

function write(more = ''): void {
  // The first one is refused at once, so that it is no longer than the test.
  const text = [
    'cameras:',
    '  gate: { url: "rtsp://me:hidden1@127.0.0.1:1/gate" }',
    '  yard: { url: "rtsp://127.0.0.1:1/yard", enabled: false }',
    more,
  ];
  writeFileSync(file, text.join('\n'));
}

function start(...words: string[]): Promise<ServerProcess> {
  const store = { SIGHTLINE_STORE__MODE: 'file', SIGHTLINE_STORE__FILE: join(folder, 'sightline.db') };
  return ServerProcess.start(['--config', file, 'serve', ...words], store);
}

async function restart(...words: string[]): Promise<void> {
  expect(await server.stop()).toBe(0);
  expect(server.errAtStart + server.err).not.toMatch(/hidden\d/);
  server = await start(...words);
}

async function cameras(...words: string[]) {
  const [command = '', ...rest] = words;
  const ran = await runHere(folder, ['cameras', command, '--url', server.url, ...rest], { HOME: folder });
  expect(ran.out + ran.err).not.toMatch(/hidden\d/);
  return ran;
}

const list = async () => JSON.parse((await cameras('list', '--json')).out) as Camera[];
const ids = async () => (await list()).map(({ id }) => id);
const show = async (id: string) => JSON.parse((await cameras('show', id, '--json')).out) as Camera;

test('what was changed while it ran goes before the file after a restart, until it is undone', async () => {
  expect(await ids()).toEqual(['gate', 'yard']);
  await expect.poll(async () => (await show('gate')).state).toMatch(/^(backing_off|failed|connecting)$/);
  expect((await show('yard')).state).toBe('off');
  expect(
    await cameras('add', 'north.1', 'rtsp://me:hidden2@127.0.0.1:1/n', '--class', 'high', '--transport', 'udp'),
  ).toMatchObject({ code: 0, err: '' });
  expect((await cameras('remove', 'gate')).code).toBe(0);
  writeFileSync(
    join(folder, 'c.csv'),
    'id,url,enabled\nroof,rtsp://me:hidden3@127.0.0.1:1/r,no\nyard,rtsp://127.0.0.1:1/y2,no\n',
  );
  expect((await cameras('add', '--file', 'c.csv')).out).toBe('1 camera added, 1 changed, 0 as before\n');
  const before = await list();
  expect(before.map(({ id }) => id)).toEqual(['north.1', 'roof', 'yard']);
  await restart();
  expect(await ids()).toEqual(['north.1', 'roof', 'yard']);
  expect(await show('north.1')).toMatchObject({ class: 'high', settings: { transport: 'udp' } });
  expect((await show('yard')).url).toContain('/y2');
  expect(server.errAtStart + server.err).toContain('cameras_restored');
  // The file is read again: what it says of the one that was changed still does not count.
  write('  attic: { url: "rtsp://127.0.0.1:1/a", enabled: false }');
  expect((await fetch(`${server.url}/api/config/reload`, { method: 'POST' })).status).toBe(200);
  expect(await ids()).toEqual(['attic', 'north.1', 'roof', 'yard']);
  expect((await show('yard')).url).toContain('/y2');
  const undo = await fetch(`${server.url}/api/config`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ settings: { 'cameras.gate': null, 'cameras.yard': null } }),
  });
  expect(undo.status).toBe(200);
  await restart();
  expect(await ids()).toEqual(['attic', 'gate', 'north.1', 'roof', 'yard']);
  expect((await show('yard')).url).toContain('/yard');
});

test('one on the command line is there, whatever was done to it before', async () => {
  await restart('--camera', 'rtsp://127.0.0.1:1/one', '--camera', 'no/such/clip.mp4');
  expect(await ids()).toEqual(['cam1', 'cam2', 'gate', 'yard']);
  expect((await show('cam2')).url).toMatch(/\/no\/such\/clip\.mp4$/);
  await cameras('remove', 'cam1');
  await restart();
  expect(await ids()).toEqual(['gate', 'yard']);
  await restart('--camera', 'rtsp://127.0.0.1:1/one');
  expect(await ids()).toEqual(['cam1', 'gate', 'yard']);
});

test('a server without a store says that nothing is kept', async () => {
  await using memory = await ServerProcess.start(['--config', file, 'serve']);
  const put = await fetch(`${memory.url}/api/cameras/roof`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: '{"url":"rtsp://127.0.0.1:1/r","enabled":false}',
  });
  expect(await put.json()).toMatchObject({ change: 'added', kept: false, camera: { id: 'roof', state: 'off' } });
  // By the configuration it is the same.
  const removed = await fetch(`${memory.url}/api/config/cameras/roof`, { method: 'DELETE' });
  expect(await removed.json()).toMatchObject({ at_once: [{ key: 'cameras.roof', to: null }], needs_restart: [] });
  expect((await fetch(`${memory.url}/api/cameras/roof`)).status).toBe(404);
});

test('a file with an error changes no camera', async () => {
  write('  attic: { url: "ftp://me:hidden4@127.0.0.1:1/a" }');
  const answered = await fetch(`${server.url}/api/config/reload`, { method: 'POST' });
  const text = await answered.text();
  expect([answered.status, text]).toEqual([
    400,
    expect.stringMatching(/cameras\.attic\.url.*CONFIG_VALUE_BAD|CONFIG_VALUE_BAD.*cameras\.attic\.url/),
  ]);
  expect(text).not.toMatch(/hidden\d/);
  expect(await ids()).toEqual(['gate', 'yard']);
});
