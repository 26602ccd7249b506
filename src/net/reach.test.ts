import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Lookup } from './outbound.ts';
import { Reach, isPublicAddress } from './reach.ts';

let server: Server;
let port: number;
beforeAll(async () => {
  server = createServer((socket) => socket.on('error', () => undefined).end('here')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterAll(() => void server.close());

const names =
  (addresses: Readonly<Record<string, readonly string[]>>): Lookup =>
  (name, _options, callback) => {
    callback(
      null,
      (addresses[name] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  };
const connect = (reach: Reach, host: string, timeoutMs = 5_000) =>
  reach.connect({ host, port, isTls: false, timeoutMs }).then((socket) => void socket.destroy());

test.each([
  ['8.8.8.8', true],
  ['2606:4700::1111', true],
  ['::ffff:8.8.8.8', true],
  ['10.1.2.3', false],
  ['172.31.0.1', false],
  ['192.168.1.9', false],
  ['127.0.0.1', false],
  ['100.64.0.1', false],
  ['0.0.0.0', false],
  ['255.255.255.255', false],
  ['::1', false],
  ['::', false],
  ['fd12::1', false],
  ['fe80::1', false],
  ['::ffff:10.0.0.1', false],
  ['64:ff9b::a00:1', false],
  ['2002:a00:1::1', false],
])('%s is public: %s', (address, isPublic) => expect(isPublicAddress(address)).toBe(isPublic));

describe('a reach', () => {
  test('goes to what was entered, though it is private, under this name alone', async () => {
    const lookup = names({ 'cam.example': ['127.0.0.1'], 'other.example': ['127.0.0.1'] });
    const reach = new Reach({ entered: 'Cam.example', allowedNetworks: [], lookup });
    await connect(reach, 'cam.example');
    const forbidden = { fault: 'forbidden', message: expect.stringContaining('127.0.0.1') };
    await expect(connect(reach, 'other.example')).rejects.toMatchObject(forbidden);
    await expect(connect(reach, '127.0.0.1')).rejects.toMatchObject(forbidden);
  });

  test('makes connections that last longer than the time for making them', async () => {
    const lasting = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(lasting, 'listening');
    const reach = new Reach({ entered: '127.0.0.1', allowedNetworks: [] });
    const { port: lastingPort } = lasting.address() as AddressInfo;
    const timeoutMs = 200;
    const socket = await reach.connect({ host: '127.0.0.1', port: lastingPort, isTls: false, timeoutMs });
    await once(AbortSignal.timeout(2 * timeoutMs), 'abort');
    expect(socket.destroyed).toBe(false);
    socket.destroy();
    lasting.close();
  });

  test('goes into networks that are allowed', async () => {
    const reach = new Reach({ entered: 'cam.example', allowedNetworks: ['127.0.0.0/8'] });
    await connect(reach, '127.0.0.1');
    expect(reach.mayReach('x.example', '10.0.0.1')).toBe(false);
    expect(reach.mayReach('x.example', '9.9.9.9')).toBe(true);
  });

  test.each(['169.254.169.254', '[fe80::1]', '100.100.100.200', '::ffff:169.254.169.254'])(
    'does not go to link-local addresses and metadata services, not even where one was entered: %s',
    async (host) => {
      const reach = new Reach({ entered: host, allowedNetworks: [] });
      await expect(connect(reach, host)).rejects.toMatchObject({ fault: 'forbidden' });
    },
  );

  test('unless they are in a network that is allowed', () => {
    const reach = new Reach({ entered: '169.254.7.9', allowedNetworks: ['169.254.7.0/24'] });
    expect(reach.mayReach('169.254.7.9', '169.254.7.9')).toBe(true);
  });

  test('says what fails', async () => {
    const reach = new Reach({ entered: '127.0.0.1', allowedNetworks: [] });
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port: freePort } = closed.address() as AddressInfo;
    closed.close();
    const refused = reach.connect({ host: '127.0.0.1', port: freePort, isTls: false, timeoutMs: 5_000 });
    await expect(refused).rejects.toMatchObject({ fault: 'failed', cause: { code: 'ECONNREFUSED' } });
    // What answers is no TLS.
    const secure = reach.connect({ host: '127.0.0.1', port, isTls: true, timeoutMs: 5_000 });
    await expect(secure).rejects.toMatchObject({ fault: 'failed' });
    const signal = AbortSignal.abort();
    const given = reach.connect({ host: '127.0.0.1', port, isTls: false, timeoutMs: 5_000, signal });
    await expect(given).rejects.toMatchObject({ fault: 'failed' });
  });
});
