import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { Listeners, SOCKETS_PER_ADDRESS } from './listeners.ts';

const opened: Listeners[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(opened.splice(0).map((one) => one.close()));
});

/** Listeners, and the servers that they have made. */
function setUp() {
  const servers: Server[] = [];
  const listeners = new Listeners(() => {
    const server = createServer((_request, response) => response.end('here'));
    servers.push(server);
    return server;
  });
  opened.push(listeners);
  return { listeners, servers };
}

test('several sockets of one port take connections, and each answers', async () => {
  const { listeners, servers } = setUp();
  expect(listeners.address).toBeUndefined();
  await listeners.listen('127.0.0.1', 0);
  const { port, address } = listeners.address!;
  expect(address).toBe('127.0.0.1');
  expect(servers.map((server) => server.address())).toEqual(
    Array.from({ length: SOCKETS_PER_ADDRESS }, () => expect.objectContaining({ port, address })),
  );
  const taken = new Set<Server>();
  for (const server of servers) server.on('connection', () => taken.add(server));
  // Until each has had one: the system spreads them by a number of their addresses and ports.
  for (let i = 0; i < 1_000 && taken.size < servers.length; i++) {
    expect(await (await fetch(`http://127.0.0.1:${port}`, { headers: { Connection: 'close' } })).text()).toBe('here');
  }
  expect(taken.size).toBe(SOCKETS_PER_ADDRESS);
});

test('a port that another program has is refused, also where that would share it', async () => {
  const other = setUp();
  await other.listeners.listen('127.0.0.1', 0);
  const { port } = other.listeners.address!;
  const { listeners, servers } = setUp();
  await expect(listeners.listen('127.0.0.1', port)).rejects.toMatchObject({
    code: 'ADDRESS_IN_USE',
    message: expect.stringContaining(String(port)),
  });
  await expect(listeners.listen('0.0.0.0', port)).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
  expect(servers.filter(({ listening }) => listening)).toEqual([]);
  expect(listeners.address).toBeUndefined();
  // Free again, it is taken.
  await other.listeners.close();
  await listeners.listen('127.0.0.1', port);
  expect(listeners.address).toMatchObject({ port });
});

test('an address of another machine is a bad setting', async () => {
  await expect(setUp().listeners.listen('192.0.2.1', 0)).rejects.toMatchObject({ code: 'CONFIG_VALUE_BAD' });
});

test('none of them listens after the end, and open connections are gone', async () => {
  const { listeners } = setUp();
  await listeners.listen('127.0.0.1', 0);
  const { port } = listeners.address!;
  const held = Array.from({ length: 20 }, () => connect({ host: '127.0.0.1', port }).on('error', () => undefined));
  sockets.push(...held);
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  const closed = held.map((socket) => new Promise((done) => socket.resume().once('close', done)));
  await listeners.close();
  await Promise.all(closed);
  const late = connect({ host: '127.0.0.1', port });
  sockets.push(late);
  expect((await once(late, 'error'))[0]).toMatchObject({ code: 'ECONNREFUSED' });
});
