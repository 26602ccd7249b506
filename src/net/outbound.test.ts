import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Outbound, type Lookup } from './outbound.ts';

const BOUNDS = { timeoutMs: 5_000, bytesMax: 1_000 };
let server: Server;
let port: number;
let asked: [string, string, IncomingMessage['headers'], string][];
let answer: (response: ServerResponse, request: IncomingMessage) => void;
beforeEach(async () => {
  asked = [];
  answer = (response) => response.end('yes');
  server = createServer(async (request, response) => {
    asked.push([request.method!, request.url!, request.headers, await text(request)]);
    answer(response, request);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

/** Names and their addresses. */
function names(addresses: Readonly<Record<string, readonly string[]>>): Lookup {
  return (name, _options, callback) => {
    callback(
      null,
      (addresses[name] ?? []).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  };
}

test('gives the whole answer, whatever its status', async () => {
  answer = (response) => response.writeHead(503, { 'Retry-After': '7', 'X-Two': ['a', 'b'] }).end('later');
  const response = await new Outbound().fetch(`http://127.0.0.1:${port}/traces?x=1`, {
    ...BOUNDS,
    method: 'POST',
    headers: { 'Content-Type': 'text/plain' },
    body: 'péché',
  });
  expect([response.status, response.headers.get('retry-after'), response.headers.get('x-two')]).toEqual([
    503,
    '7',
    'a, b',
  ]);
  expect(await response.text()).toBe('later');
  const [[method, url, headers, body]] = asked as [(typeof asked)[0]];
  expect([method, url, body]).toEqual(['POST', '/traces?x=1', 'péché']);
  expect(headers).toMatchObject({ 'content-type': 'text/plain', 'content-length': '7' });
});

test('a user and password in the address go along, and a status without a body has none', async () => {
  answer = (response) => response.writeHead(204).end();
  const response = await new Outbound().fetch(`http://me:p%40ss@127.0.0.1:${port}/`, BOUNDS);
  expect([response.status, response.body]).toEqual([204, null]);
  expect(asked[0]![2].authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
});

describe('addresses that are not called', () => {
  test.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://0xA9FEA9FE/',
    'http://2852039166/',
    'http://[fe80::1]/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::a9fe:a9fe]/',
    'http://[64:ff9b::a9fe:a9fe]/',
    'http://[2002:a9fe:a9fe::1]/',
    'http://[fd00:ec2::254]/',
    'http://100.100.100.200/',
    'https://168.63.129.16/',
    'file:///etc/passwd',
    'ftp://127.0.0.1/',
  ])('%s', async (url) => {
    await expect(new Outbound().fetch(url, BOUNDS)).rejects.toMatchObject({ fault: 'forbidden' });
  });

  test('a name that resolves to one, and one that does so by the time of the second call', async () => {
    const addresses: Record<string, string[]> = { 'meta.example': ['169.254.169.254'], 'turns.example': ['127.0.0.1'] };
    const outbound = new Outbound({ lookup: names(addresses) });
    await expect(outbound.fetch(`http://meta.example:${port}/`, BOUNDS)).rejects.toMatchObject({ fault: 'forbidden' });
    const turning = `http://turns.example:${port}/`;
    expect(await (await outbound.fetch(turning, BOUNDS)).text()).toBe('yes');
    addresses['turns.example'] = ['169.254.169.254', 'fe80::1'];
    await expect(outbound.fetch(turning, BOUNDS)).rejects.toMatchObject({ fault: 'forbidden' });
    expect(asked).toHaveLength(1);
  });

  test('of several addresses of a name only those that may be called are tried', async () => {
    const lookup = names({ 'both.example': ['169.254.169.254', '127.0.0.1'] });
    const response = await new Outbound({ lookup }).fetch(`http://both.example:${port}/`, BOUNDS);
    expect(await response.text()).toBe('yes');
  });

  test('a redirect there is not followed, nor any other', async () => {
    answer = (response) => response.writeHead(307, { Location: 'http://169.254.169.254/' }).end();
    await expect(new Outbound().fetch(`http://127.0.0.1:${port}/`, BOUNDS)).rejects.toMatchObject({
      fault: 'redirected',
    });
  });

  test('unless the settings allow it', () => {
    const outbound = new Outbound({ allowed: ['169.254.7.0/24'] });
    const addresses = ['169.254.7.1', '::ffff:169.254.7.1', '169.254.169.254', '192.0.2.1', '2001:db8::1'];
    expect(addresses.filter((address) => outbound.mayCall(address))).toEqual([
      '169.254.7.1',
      '::ffff:169.254.7.1',
      '192.0.2.1',
      '2001:db8::1',
    ]);
  });
});

describe('what gives no answer', () => {
  const call = (bounds = BOUNDS) => new Outbound().fetch(`http://secret:word@127.0.0.1:${port}/`, bounds);

  test('one that takes too long, before or within its body', async () => {
    answer = () => undefined;
    await expect(call({ ...BOUNDS, timeoutMs: 30 })).rejects.toMatchObject({
      fault: 'timeout',
      message: 'no answer within 0.03 s',
    });
    answer = (response) => void response.write('a');
    await expect(call({ ...BOUNDS, timeoutMs: 30 })).rejects.toMatchObject({ fault: 'timeout' });
  });

  test('one that is given up', async () => {
    const end = new AbortController();
    answer = () => end.abort();
    await expect(
      new Outbound().fetch(`http://127.0.0.1:${port}/`, { ...BOUNDS, signal: end.signal }),
    ).rejects.toMatchObject({ fault: 'failed' });
  });

  test.each<[what: string, fault: string, respond: typeof answer]>([
    ['an answer without end', 'too_long', (response) => void response.write('x'.repeat(1_001))],
    ['a large header', 'failed', (response) => void response.writeHead(200, { x: 'y'.repeat(20_000) }).end()],
    ['a hang-up', 'failed', (_response, request) => void request.socket.destroy()],
    ['half an answer', 'failed', (response) => void response.write('a', () => response.destroy())],
    [
      'another protocol',
      'failed',
      ({ socket }) => void socket!.write('HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    ],
    ['garbage', 'failed', ({ socket }) => void socket!.end('SSH-2.0-x\r\n')],
    [
      'a status that there is not',
      'failed',
      ({ socket }) => void socket!.end('HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n'),
    ],
  ])('%s', async (_what, fault, respond) => {
    answer = respond;
    const thrown = await call().catch((error: unknown) => error);
    expect(thrown).toMatchObject({ fault });
    expect(String(thrown)).not.toMatch(/secret|word/);
  });

  test('nobody there', async () => {
    server.close();
    await once(server, 'close');
    await expect(call()).rejects.toMatchObject({ fault: 'failed', message: expect.stringContaining('ECONNREFUSED') });
  });
});
