import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CameraInlet } from './camera-inlet.ts';

let folder: string;
let path: string;
let inlet: CameraInlet;
let keysWanted: number;
const servers: Server[] = [];
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-inlet-'));
  path = join(folder, '1');
  keysWanted = 0;
  inlet = new CameraInlet(path, () => keysWanted++);
});
afterEach(async () => {
  inlet.close();
  endProcess();
  await rm(folder, { recursive: true, force: true });
});

/** What reads there, as the process of a camera does. */
function startProcess(): void {
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
  });
  servers.push(server);
  server.listen(path);
}

function endProcess(): void {
  for (const server of servers.splice(0)) server.close();
  for (const socket of sockets.splice(0)) socket.destroy();
}

const connected = () => expect.poll(() => sockets.length, { interval: 5 }).toBe(1);

test('what comes before the connection is there arrives all the same', async () => {
  startProcess();
  inlet.open();
  inlet.send(Buffer.from('ab'));
  inlet.report(Buffer.from('cd'));
  await connected();
  expect(String(((await once(sockets[0]!, 'data')) as [Buffer])[0])).toBe('abcd');
  expect(inlet.dropped).toBe(0);
});

test('what comes while there is no process is lost, and counted; with the next one it goes on', async () => {
  inlet.send(Buffer.from('a'));
  inlet.open();
  inlet.send(Buffer.from('b'));
  inlet.report(Buffer.from('c'));
  await expect.poll(() => inlet.dropped, { interval: 5 }).toBe(2);
  startProcess();
  await connected();
  endProcess();
  await expect.poll(() => (inlet.send(Buffer.from('d')), inlet.dropped), { interval: 5 }).toBeGreaterThan(2);
  startProcess();
  await connected();
  inlet.send(Buffer.from('e'));
  expect(String(((await once(sockets[0]!, 'data')) as [Buffer])[0])).toMatch(/e$/);
});

test('a process that does not read is given a mebibyte, and what is beyond is counted', async () => {
  startProcess();
  inlet.open();
  await connected();
  sockets[0]!.pause();
  const packet = Buffer.alloc(60_000);
  for (let i = 0; i < 200; i++) inlet.send(packet);
  expect(inlet.dropped).toBeGreaterThan(150);
  sockets[0]!.resume();
  const droppedNow = (): number => {
    const before = inlet.dropped;
    inlet.send(packet);
    return inlet.dropped - before;
  };
  expect(droppedNow()).toBe(1);
  await expect.poll(droppedNow, { interval: 5 }).toBe(0);
});

test('each key frame that is wanted is told; not when it is closed', async () => {
  startProcess();
  inlet.open();
  await connected();
  sockets[0]!.write('1');
  await expect.poll(() => keysWanted, { interval: 5 }).toBe(1);
  inlet.close();
  inlet.close();
  inlet.open();
  inlet.send(Buffer.from('a'));
  expect(inlet.dropped).toBe(1);
});
