import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { SightlineError } from '../base/errors.ts';
import { HttpServer, type HttpServerOptions } from './server.ts';

let dir: string;
let server: HttpServer;
const faults: unknown[] = [];

function optionsFor(pageDir: string): HttpServerOptions {
  return {
    host: '127.0.0.1',
    port: 0,
    rules: { hosts: ['127.0.0.1'], origins: [] },
    connectionsMax: 2,
    headerTimeoutMs: 5_000,
    requestTimeoutMs: 5_000,
    shutdownTimeoutMs: 200,
    messageBytesHardMax: 10_000,
    closeTimeoutMs: 200,
    pageDir,
    onError: (error) => faults.push(error),
    sockets: [{ path: '/ws', open: (socket, query) => socket.send(`hello ${query.get('name')}`) }],
    routes: [
      { url: '/fine', get: () => ({ fine: true }) },
      {
        url: '/known',
        get: () => {
          throw new SightlineError('SESSION_UNKNOWN', 'there is no session "x"');
        },
      },
      {
        url: '/unforeseen',
        get: () => {
          throw new Error('a secret of the inside');
        },
      },
      {
        url: '/stream/:id',
        stream: (_request, response, { id }) => {
          if (id === 'gone') throw new SightlineError('SESSION_UNKNOWN', 'there is no session "gone"');
          if (id === 'open') response.write('stream');
          else response.end(`stream ${id}`);
        },
      },
      { url: '/clip.bin', file: async () => join(dir, 'clip.bin') },
      { url: '/no-clip.bin', file: async () => undefined },
    ],
  };
}

beforeEach(async () => {
  faults.length = 0;
  dir = mkdtempSync(join(tmpdir(), 'sightline-http-'));
  writeFileSync(join(dir, 'index.html'), '<!doctype html><html><title>page</title></html>');
  writeFileSync(join(dir, 'clip.bin'), '0123456789');
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
    expect(faults).toHaveLength(1);
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
    expect((await open('/ws?name=you')).said).toBe('hello you');
  });

  test('refuses unknown paths, foreign hosts and origins, and one connection too many', async () => {
    expect((await open('/other')).said).toBe('404');
    expect((await open('/ws', { Host: 'evil.example' })).said).toBe('403');
    expect((await open('/ws', { Origin: 'http://evil.example' })).said).toBe('403');
    await open('/ws');
    await open('/ws');
    expect((await open('/ws')).said).toBe('503');
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
