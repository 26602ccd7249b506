import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { openAccess } from '../../test/support/access.ts';
import { collectingLog } from '../../test/support/log.ts';
import { systemClock } from '../base/clock.ts';
import { openFences } from '../fences/fences.ts';
import { SightlineError } from '../base/errors.ts';
import type { Descriptors } from '../observe/descriptors.ts';
import type { ConnectionSettings } from './connections.ts';
import { openApiDocument } from './openapi.ts';
import { answer, files, pathOf, type Route } from './route.ts';
import { HttpServer, type HttpServerOptions } from './server.ts';

let dir: string;
let server: HttpServer;
let told = collectingLog();

const NO_DESCRIPTORS: Descriptors = { max: undefined, intervalMs: 0, count: () => undefined };

const CONNECTIONS: ConnectionSettings = {
  connectionsMax: 100,
  addresses: { connectionsMax: 50, ratePerS: 100, unbounded: ['127.0.0.0/8'] },
  unreadTimeoutMs: 5_000,
  answerBytesMax: 1_000_000,
  reservedDescriptors: 10,
  lingerMs: 2_000,
  closeTimeoutMs: 200,
};

const faults = () => told.entries.filter(({ event }) => event === 'request_failed');

function optionsFor(pageDir: string): HttpServerOptions {
  return {
    clock: systemClock,
    access: openAccess(),
    fences: openFences({ clock: systemClock }),
    host: '127.0.0.1',
    port: 0,
    trustedProxies: [],
    rules: { hosts: ['127.0.0.1'], origins: ['https://viewer.example'] },
    connections: { ...CONNECTIONS, connectionsMax: 2 },
    descriptors: NO_DESCRIPTORS,
    headerTimeoutMs: 5_000,
    requestTimeoutMs: 5_000,
    keepAliveTimeoutMs: 5_000,
    shutdownTimeoutMs: 200,
    messageBytesHardMax: 10_000,
    pageDir,
    log: told.log,
    sockets: [
      {
        path: '/ws',
        summary: 'greets',
        permissions: [PUBLIC],
        open: (socket, { query, headers, address }) =>
          socket.send(`hello ${query.get('name')} from ${address} by ${headers['x-way'] ?? 'no way'}`),
      },
    ],
    routes: ROUTES,
  };
}

const HANDSHAKE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

const PUBLIC = { action: 'public' } as const;

const ROUTES: readonly Route[] = [
  answer({
    method: 'GET',
    url: '/fine',
    permission: PUBLIC,
    tag: 'a',
    summary: 'fine',
    response: z.object({ fine: z.boolean() }),
    handle: () => ({ fine: true }),
  }),
  answer({
    method: 'GET',
    url: '/known',
    permission: PUBLIC,
    tag: 'a',
    summary: 'refuses',
    response: z.never(),
    handle: () => {
      throw new SightlineError('SESSION_UNKNOWN', 'there is no session "x"');
    },
  }),
  answer({
    method: 'GET',
    url: '/unforeseen',
    permission: PUBLIC,
    tag: 'a',
    summary: 'fails',
    response: z.never(),
    handle: () => {
      throw new Error('a secret of the inside');
    },
  }),
  answer({
    method: 'GET',
    url: '/things/:id',
    permission: PUBLIC,
    tag: 'b',
    summary: 'one thing',
    params: z.object({ id: z.string() }),
    query: z.strictObject({ word: z.enum(['a', 'b']).optional() }),
    response: z.string(),
    handle: ({ params, query }) => `${params.id} ${query.word ?? '-'}`,
  }),
  answer({
    method: 'PUT',
    url: '/things/:id',
    permission: PUBLIC,
    tag: 'b',
    summary: 'change it',
    params: z.object({ id: z.string() }),
    body: z.strictObject({ size: z.number().min(0), tags: z.array(z.string()).max(3).optional() }),
    response: z.object({ id: z.string(), size: z.number() }),
    handle: ({ params, body }) => ({ id: params.id, size: body.size }),
  }),
  answer({
    method: 'DELETE',
    url: '/things/:id',
    permission: PUBLIC,
    tag: 'b',
    summary: 'away with it',
    params: z.object({ id: z.string() }),
    response: z.object({ id: z.string() }),
    handle: ({ params }) => params,
  }),
  {
    kind: 'stream',
    url: '/stream/:id',
    permission: PUBLIC,
    tag: 'c',
    summary: 'a stream',
    contentType: 'text/plain',
    stream: (_request, response, { id }) => {
      if (id === 'gone') throw new SightlineError('SESSION_UNKNOWN', 'there is no session "gone"');
      if (id === 'open') response.write('stream');
      else response.end(`stream ${id}`);
    },
  },
  files({
    url: '/clip.bin',
    permission: PUBLIC,
    tag: 'c',
    summary: 'a clip',
    contentType: 'application/octet-stream',
    file: async () => ({ folder: dir, name: 'clip.bin' }),
  }),
  files({
    url: '/clips/:name',
    permission: PUBLIC,
    tag: 'c',
    summary: 'one of several clips',
    contentType: 'application/octet-stream',
    params: z.object({ name: z.string().max(40) }),
    file: async ({ name }) => ({ folder: join(dir, 'clips'), name }),
  }),
  files({
    url: '/no-clip.bin',
    permission: PUBLIC,
    tag: 'c',
    summary: 'no clip',
    contentType: 'application/octet-stream',
    file: async () => undefined,
  }),
];

beforeEach(async () => {
  told = collectingLog();
  dir = mkdtempSync(join(tmpdir(), 'sightline-http-'));
  writeFileSync(join(dir, 'index.html'), '<!doctype html><html><title>page</title></html>');
  writeFileSync(join(dir, 'clip.bin'), '0123456789');
  mkdirSync(join(dir, 'clips', 'deep'), { recursive: true });
  for (const name of ['one.bin', '.hidden', 'two words.bin', 'deep/three.bin']) {
    writeFileSync(join(dir, 'clips', name), 'abcdef');
  }
  server = new HttpServer(optionsFor(dir));
  await server.listen();
});

afterEach(async () => {
  await server.close();
  rmSync(dir, { recursive: true });
});

async function fetchJson(path: string, init?: RequestInit): Promise<{ status: number; body: unknown }> {
  const response = await fetch(server.url + path, init);
  return { status: response.status, body: await response.json() };
}

/** fetch does not let a program choose its Host. */
async function statusWith(headers: Record<string, string>): Promise<number> {
  const { hostname, port } = new URL(server.url);
  const request = httpRequest({ hostname, port, path: '/fine', headers, agent: false }).end();
  const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }];
  response.resume();
  return response.statusCode;
}

describe('HTTP', () => {
  test('answers routes, files and the page', async () => {
    expect(await fetchJson('/fine')).toEqual({ status: 200, body: { fine: true } });
    expect(await (await fetch(`${server.url}/stream/a`)).text()).toBe('stream a');
    expect(await (await fetch(`${server.url}/`)).text()).toContain('<title>page</title>');
    const part = await fetch(`${server.url}/clip.bin`, { headers: { Range: 'bytes=2-4' } });
    expect([part.status, await part.text()]).toEqual([206, '234']);
  });

  test('files by their names, in parts and by HEAD', async () => {
    const get = (name: string, init?: RequestInit) => fetch(`${server.url}/clips/${name}`, init);
    const whole = await get('one.bin');
    expect([whole.status, await whole.text(), whole.headers.get('accept-ranges')]).toEqual([200, 'abcdef', 'bytes']);
    const part = await get('one.bin', { headers: { Range: 'bytes=2-3' } });
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([206, 'cd', 'bytes 2-3/6']);
    const beyond = await get('one.bin', { headers: { Range: 'bytes=9-' } });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */6']);
    expect(await beyond.json()).toMatchObject({ error: { code: 'RANGE_BAD' } });
    const head = await get('one.bin', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '6', '']);
    expect(await (await get('two%20words.bin')).text()).toBe('abcdef');
    // What the route itself calls a file of a deeper folder is one.
    expect(await (await get('deep%2Fthree.bin')).text()).toBe('abcdef');
  });

  test.each([
    ['..%2Fclip.bin', 'NOT_FOUND'],
    ['..%5Cclip.bin', 'NOT_FOUND'],
    ['deep%2F..%2F..%2Fclip.bin', 'NOT_FOUND'],
    ['%2Fetc%2Fpasswd', 'NOT_FOUND'],
    ['.hidden', 'NOT_FOUND'],
    ['deep', 'NOT_FOUND'],
    ['deep%2F', 'NOT_FOUND'],
    ['%00one.bin', 'NOT_FOUND'],
    ['one.bin%00.txt', 'NOT_FOUND'],
    ['%252e%252e%252fclip.bin', 'NOT_FOUND'],
    ['none.bin', 'NOT_FOUND'],
    ['x'.repeat(41), 'QUERY_BAD'],
  ])('the file %s is refused: %s', async (name, code) => {
    expect(await fetchJson(`/clips/${name}`)).toMatchObject({ body: { error: { code } } });
    expect(faults()).toEqual([]);
  });

  test('every refusal is one JSON form with a stable code', async () => {
    expect(await fetchJson('/known')).toEqual({
      status: 404,
      body: { error: { code: 'SESSION_UNKNOWN', message: 'there is no session "x"' } },
    });
    expect(await fetchJson('/stream/gone')).toMatchObject({
      status: 404,
      body: { error: { code: 'SESSION_UNKNOWN' } },
    });
    expect(await fetchJson('/nowhere')).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
    expect(await fetchJson('/no-clip.bin')).toMatchObject({ status: 404, body: { error: { code: 'NOT_FOUND' } } });
    expect(await fetchJson('/fine', { method: 'DELETE' })).toMatchObject({ status: 404 });
    expect(await fetchJson('/%zz')).toMatchObject({ status: 400, body: { error: { code: 'QUERY_BAD' } } });
    expect(await fetchJson('/..%2f..%2fetc%2fpasswd')).toMatchObject({ body: { error: {} } });
  });

  test('an unforeseen error tells the client nothing of the inside, and its owner everything', async () => {
    const { status, body } = await fetchJson('/unforeseen');
    expect(status).toBe(500);
    expect(JSON.stringify(body)).not.toContain('secret');
    expect(faults()).toHaveLength(1);
  });

  test('open streams count as connections, ended and refused ones do not', async () => {
    const open = await fetch(`${server.url}/stream/open`);
    await fetchJson('/stream/gone');
    await (await fetch(`${server.url}/stream/a`)).text();
    await expect.poll(() => server.connectionCount).toBe(1);
    await fetch(`${server.url}/stream/open`);
    expect(await fetchJson('/stream/open')).toMatchObject({
      status: 503,
      body: { error: { code: 'CONNECTIONS_EXHAUSTED' } },
    });
    await open.body!.cancel();
    await expect.poll(() => server.connectionCount).toBe(1);
  });

  test('foreign hosts and origins are refused', async () => {
    expect(await statusWith({})).toBe(200);
    expect(await statusWith({ Host: 'evil.example' })).toBe(403);
    expect(await statusWith({ Origin: 'http://evil.example' })).toBe(403);
    expect(await statusWith({ Origin: server.url })).toBe(200);
  });

  test('a page of an allowed origin may read answers, refusals and streams, and others get no leave', async () => {
    const Origin = 'https://viewer.example';
    for (const path of ['/fine', '/known', '/nowhere', '/stream/a', '/', '/things/7?x=1']) {
      const allowed = await fetch(server.url + path, { headers: { Origin } });
      expect([path, allowed.headers.get('access-control-allow-origin')]).toEqual([path, Origin]);
      expect(allowed.headers.get('vary')).toContain('Origin');
      await allowed.body?.cancel();
      const own = await fetch(server.url + path);
      expect([path, own.headers.get('access-control-allow-origin')]).toEqual([path, null]);
      expect(own.headers.get('vary')).toContain('Origin');
      await own.body?.cancel();
    }
    const change = { Origin, 'Sec-Fetch-Site': 'cross-site', 'Content-Type': 'application/json' };
    const put = await fetch(`${server.url}/things/7`, { method: 'PUT', headers: change, body: '{"size":2}' });
    expect([put.status, put.headers.get('access-control-allow-origin')]).toEqual([200, Origin]);
    const refused = await fetch(`${server.url}/fine`, { headers: { Origin: 'https://evil.example' } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null]);
  });

  test('a preflight says what a page of an allowed origin may send', async () => {
    const ask = async (origin: string) =>
      await fetch(`${server.url}/things/7`, {
        method: 'OPTIONS',
        headers: {
          Origin: origin,
          'Access-Control-Request-Method': 'PUT',
          'Access-Control-Request-Headers': 'content-type',
          'Access-Control-Request-Private-Network': 'true',
        },
      });
    const allowed = await ask('https://viewer.example');
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://viewer.example');
    expect(allowed.headers.get('access-control-allow-methods')).toContain('PUT');
    expect(allowed.headers.get('access-control-allow-headers')).toContain('Content-Type');
    expect(allowed.headers.get('access-control-allow-private-network')).toBe('true');
    const refused = await ask('https://evil.example');
    expect([refused.status, refused.headers.get('access-control-allow-methods')]).toEqual([403, null]);
  });

  test('a refused origin is told with the line that would allow it, of a WebSocket too', async () => {
    await statusWith({ Origin: 'http://localhost:5173' });
    expect(told.texts()).toEqual([expect.stringContaining('["https://viewer.example","http://localhost:5173"]')]);
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, { origin: 'http://other.example' });
    await once(socket, 'error');
    expect(told.texts()[1]).toContain('http://other.example');
  });

  test('counts the connections of each address, their bytes and those of everybody', async () => {
    const open = await fetch(`${server.url}/stream/open`);
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`);
    await once(socket, 'message');
    await fetch(`${server.url}/stream/open`);
    const { endpoints, ...counts } = server.connections();
    expect(counts).toEqual({ open: 2, max: 2, opened: 2, refused: 1 });
    expect(endpoints.map(({ endpoint, open }) => [endpoint, open])).toEqual([
      ['/ws', 1],
      ['/stream/{id}', 1],
    ]);
    for (const { received_bytes, sent_bytes, mean_age_s, longest_age_s } of endpoints) {
      expect(received_bytes).toBeGreaterThan(50);
      expect(sent_bytes).toBeGreaterThan(50);
      expect(longest_age_s).toBeGreaterThanOrEqual(mean_age_s);
    }
    await open.body!.cancel();
    socket.close();
    await expect.poll(() => server.connections().endpoints).toEqual([]);
    const before = server.traffic;
    await (await fetch(`${server.url}/clip.bin`)).text();
    expect(server.traffic.sent_bytes).toBeGreaterThan(before.sent_bytes + 10);
    expect(server.traffic.received_bytes).toBeGreaterThan(before.received_bytes);
  });

  test('without a page it says how to build one', async () => {
    const bare = new HttpServer(optionsFor(join(dir, 'not-built')));
    await bare.listen();
    const page = await fetch(`${bare.url}/`);
    expect(await page.text()).toContain('npm run build:page');
    await bare.close();
  });

  test('a port in use is told by its number', async () => {
    const { port } = new URL(server.url);
    const second = new HttpServer({ ...optionsFor(dir), port: Number(port) });
    await expect(second.listen()).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: expect.stringContaining(port),
    });
    await second.close();
  });
});

describe('what a request brings', () => {
  const put = (body: unknown, headers: Record<string, string> = { 'Content-Type': 'application/json' }) =>
    fetchJson('/things/7', { method: 'PUT', headers, body: body as string });

  test('is read by the row’s schemas', async () => {
    expect(await put('{"size":2}')).toEqual({ status: 200, body: { id: '7', size: 2 } });
    expect(await (await fetch(`${server.url}/things/7?word=b`)).text()).toBe('7 b');
    expect(await fetchJson('/things/7', { method: 'DELETE' })).toEqual({ status: 200, body: { id: '7' } });
  });

  test.each([
    ['a wrong type', '{"size":"2"}', 'body.size'],
    ['a number out of its range', '{"size":-1}', 'body.size'],
    ['NaN, which JSON has not', '{"size":NaN}', 'JSON'],
    ['a number beyond all', '{"size":1e999}', 'body.size'],
    ['an unknown key', '{"size":1,"sizes":2}', '"sizes" is unknown'],
    ['a prototype', '{"size":1,"__proto__":{"x":1}}', ''],
    ['a list too long', '{"size":1,"tags":["a","b","c","d"]}', 'body.tags'],
    ['no object', '[]', 'the body'],
    ['null', 'null', 'the body'],
    ['nothing', '', 'has no body'],
    ['half of it', '{"size":', ''],
    ['what is as deep as it is long', '['.repeat(60_000), ''],
    ['the same, closed', `${'['.repeat(30_000)}${']'.repeat(30_000)}`, 'the body'],
    ['depth in a field', `{"size":${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}}`, 'deeper than 64'],
    ['a text that is no UTF-8', Uint8Array.from([0x22, 0xff, 0x22]), 'the body is not valid UTF-8'],
    ['a single word', 'seconds', 'the body is not JSON'],
  ])('%s is refused', async (_, body, words) => {
    const { status, body: answered } = await put(body);
    expect({ status, answered }).toMatchObject({ status: 400, answered: { error: { code: 'BODY_BAD' } } });
    const { message } = (answered as { error: { message: string } }).error;
    expect(message).toContain(words);
    expect(message.length).toBeLessThan(600);
    expect(faults()).toEqual([]);
  });

  test('what is too long, or no JSON by its own word, has a code of its own', async () => {
    const code = async (answered: Promise<{ status: number; body: unknown }>) => {
      const { status, body } = await answered;
      return [status, (body as { error: { code: string } }).error.code];
    };
    const long = `{"size":1,"tags":["${'a'.repeat(70_000)}"]}`;
    expect(await code(put(long))).toEqual([413, 'BODY_TOO_LARGE']);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'x']) {
      expect(await code(put('{"size":2}', { 'Content-Type': type }))).toEqual([415, 'BODY_TYPE_BAD']);
    }
    expect(await code(fetchJson('/things/7', { method: 'PUT' }))).toEqual([400, 'BODY_BAD']);
    const headers = { 'Content-Type': 'application/json' };
    expect(await code(fetchJson('/things/7', { method: 'DELETE', headers, body: '{}' }))).toEqual([400, 'BODY_BAD']);
    for (const query of ['word=c', 'word=a&word=b', 'wrod=a', '__proto__=1', 'constructor=1']) {
      expect(await code(fetchJson(`/things/7?${query}`))).toEqual([400, 'QUERY_BAD']);
      expect(await code(fetchJson(`/fine?${query}`))).toEqual([400, 'QUERY_BAD']);
    }
    expect(faults()).toEqual([]);
  });

  test('a foreign page can read nothing and change nothing; what is no browser can', async () => {
    const statusOf = async (method: string, headers: Record<string, string>) => {
      const { hostname, port } = new URL(server.url);
      const request = httpRequest({ hostname, port, path: '/things/7', method, headers, agent: false }).end();
      const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }];
      response.resume();
      return response.statusCode;
    };
    expect(await statusOf('DELETE', {})).toBe(200);
    expect(await statusOf('DELETE', { Origin: server.url, 'Sec-Fetch-Site': 'same-origin' })).toBe(200);
    for (const site of ['cross-site', 'same-site', 'anything']) {
      expect(await statusOf('DELETE', { 'Sec-Fetch-Site': site })).toBe(403);
      expect(await statusOf('PUT', { 'Sec-Fetch-Site': site, 'Content-Type': 'application/json' })).toBe(403);
      expect(await statusOf('GET', { 'Sec-Fetch-Site': site })).toBe(200);
    }
    expect(await statusOf('DELETE', { Origin: 'http://evil.example' })).toBe(403);
    expect(await statusOf('DELETE', { Origin: 'null' })).toBe(403);
    expect(await statusOf('OPTIONS', { Origin: 'http://evil.example' })).toBe(403);
  });
});

test('everything that it answers to is in the document of its table', () => {
  const { paths } = openApiDocument(ROUTES, [], {
    title: 't',
    version: '1',
    description: '',
    license: { name: '', identifier: '' },
  });
  const told = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const ofPage = (row: string): boolean => /^(GET|HEAD) \/\*$/.test(row);
  const mounted = server.mounted.filter((row) => !ofPage(row) && !row.startsWith('HEAD ')).map(pathOf);
  expect(mounted.toSorted()).toEqual(told.toSorted());
});

describe('WebSocket', () => {
  const open = (path: string, headers: Record<string, string> = {}) => {
    const socket = new WebSocket(server.url.replace('http', 'ws') + path, { headers });
    return new Promise<{ socket: WebSocket; said: string }>((resolve) => {
      socket.on('message', (data) => resolve({ socket, said: String(data) }));
      socket.on('unexpected-response', (_request, response) => resolve({ socket, said: String(response.statusCode) }));
      socket.on('error', () => {});
    });
  };

  test('opens the route of its path', async () => {
    expect((await open('/ws?name=you')).said).toBe('hello you from 127.0.0.1 by no way');
  });

  test('a lane is told who asks, by address and headers', async () => {
    expect((await open('/ws?name=x', { 'X-Way': 'proxy' })).said).toBe('hello x from 127.0.0.1 by proxy');
  });

  test('refuses unknown paths, foreign hosts and origins, and one connection too many', async () => {
    expect((await open('/other')).said).toBe('404');
    expect((await open('/ws', { Host: 'evil.example' })).said).toBe('403');
    expect((await open('/ws', { Origin: 'http://evil.example' })).said).toBe('403');
    await open('/ws');
    await open('/ws');
    expect((await open('/ws')).said).toBe('503');
  });

  test.each([
    ['GET', {}, 'asks for no upgrade'],
    ['POST', {}, 'asks for no upgrade'],
    ['OPTIONS', {}, 'asks for no upgrade'],
    ['PUT', { 'Content-Type': 'text/plain', 'Content-Length': '3' }, 'asks for no upgrade'],
    ['GET', { Connection: 'Upgrade', Upgrade: 'h2c' }, 'asks for no upgrade'],
    ['GET', { ...HANDSHAKE, 'Sec-WebSocket-Version': '7' }, 'Sec-WebSocket-Version'],
    ['POST', HANDSHAKE, 'method'],
  ])('%s %j is told to upgrade, and what a proxy has to pass on', async (method, headers: object, why) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    const lines = Object.entries({ Host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`${method} /ws?x=1 HTTP/1.1\r\n${lines.join('')}\r\n${'Content-Length' in headers ? 'abc' : ''}`);
    let text = '';
    socket.setEncoding('utf8').on('data', (data) => (text += data));
    await expect.poll(() => text).toMatch(/\}$/);
    socket.destroy();
    const [head, body] = text.split('\r\n\r\n') as [string, string];
    expect(head).toMatch(/^HTTP\/1\.1 426 /);
    expect(head).toMatch(/^upgrade: websocket$/im);
    expect(head).toMatch(/^connection: upgrade$/im);
    expect(head).toMatch(/^sec-websocket-version: 13$/im);
    const { error } = JSON.parse(body) as { error: { code: string; message: string } };
    expect(error.code).toBe('UPGRADE_REQUIRED');
    expect(error.message).toContain(why);
    expect(error.message).toContain('proxy_set_header Upgrade $http_upgrade');
  });

  test('an upgrade to something else on an ordinary address is left alone', async () => {
    const request = httpRequest(`${server.url}/fine`, { headers: { Connection: 'Upgrade', Upgrade: 'h2c' } }).end();
    const [response] = (await once(request, 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    expect(response.statusCode).toBe(200);
  });

  test('rubbish on the port does not disturb the others', async () => {
    const { hostname, port } = new URL(server.url);
    const raw = connect(Number(port), hostname);
    raw.write('GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const [answer] = (await once(raw, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400/);
    const garbage = connect(Number(port), hostname);
    garbage.resume();
    garbage.write('\u0000\u0001garbage\r\n\r\n');
    await once(garbage, 'close');
    expect(await fetchJson('/fine')).toMatchObject({ status: 200 });
  });

  test('closing waits for sockets, then cuts those that do not go; it may be called twice', async () => {
    const { socket } = await open('/ws?name=stays');
    const closed = once(socket, 'close');
    await Promise.all([server.close(), server.close()]);
    await closed;
    expect(server.connectionCount).toBe(0);
  });
});
