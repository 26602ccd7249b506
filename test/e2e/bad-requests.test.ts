import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../../src/protocol/telemetry.ts';
import { ServerProcess } from '../support/server-process.ts';

/** Requests that no honest client makes, byte by byte, to a real server that asks for a key. */

let folder: string;
let server: ServerProcess;
let key: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-bad-requests-'));
  const file = join(folder, 'keys.json');
  const made = makeKey({ name: 'operator', grants: [parseGrant('admin')], createdMs: Date.now() });
  key = made.text;
  await changeKeys(file, () => ({ keys: [made.key], revokedTokens: [] }));
  // The requests of this file come from one address, which is not to be banned for them.
  const settings = [`auth.keys_file=${file}`, 'server.unbounded_addresses=127.0.0.0/8'];
  server = await ServerProcess.start(['serve', ...settings.flatMap((one) => ['--set', one])]);
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});
// Whatever came before: others are answered.
afterEach(async () => expect((await fetch(`${server.url}/-/ready`)).status).toBeLessThan(504));

const host = () => new URL(server.url).host;

interface Heard {
  readonly statuses: readonly number[];
  readonly text: string;
}

/** Sends the bytes, and hears whatever comes until the server ends the connection, or says nothing more for a while. */
async function send(bytes: string, quietMs = 150): Promise<Heard> {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  let text = '';
  const ended = new Promise<void>((done) => {
    // Not a sleep in place of a condition: that nothing follows can be seen in no other way.
    let timer: NodeJS.Timeout | undefined;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      clearTimeout(timer);
      timer = setTimeout(done, quietMs);
    });
    socket.on('close', () => done());
    socket.on('error', () => undefined);
  });
  socket.write(bytes, 'latin1');
  await ended;
  socket.destroy();
  return { statuses: [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)), text };
}

/** The request that would come through to the server if the two ends did not agree on where the first one ends. */
const SECOND = 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n';
const post = (lines: readonly string[], body = '', end = '\r\n'): string =>
  [`POST /api/login HTTP/1.1`, `Host: ${host()}`, 'Content-Type: application/json', ...lines, '', body].join(end);

describe('a request whose end is in doubt is refused, its connection ends, and what follows is no request', () => {
  const chunked = `0\r\n\r\n${SECOND}`;
  test.each<[name: string, request: () => string]>([
    [
      'a length, and chunks',
      () => post([`Content-Length: ${SECOND.length + 5}`, 'Transfer-Encoding: chunked'], chunked),
    ],
    ['chunks, and a length', () => post(['Transfer-Encoding: chunked', 'Content-Length: 4'], chunked)],
    ['two lengths', () => post(['Content-Length: 2', `Content-Length: ${SECOND.length + 2}`], `{}${SECOND}`)],
    ['the same length twice', () => post(['Content-Length: 2', 'Content-Length: 2'], `{}${SECOND}`)],
    ['a list of lengths', () => post(['Content-Length: 2, 2'], `{}${SECOND}`)],
    ['a length with a sign', () => post(['Content-Length: +2'], `{}${SECOND}`)],
    ['a length below 0', () => post(['Content-Length: -1'], SECOND)],
    ['a length in hexadecimal', () => post(['Content-Length: 0x2'], `{}${SECOND}`)],
    ['a length beyond numbers', () => post([`Content-Length: ${'9'.repeat(40)}`], `{}${SECOND}`)],
    ['a space before the colon', () => post(['Transfer-Encoding : chunked'], chunked)],
    ['a folded line', () => post(['X-A: b', ' Transfer-Encoding: chunked', 'Content-Length: 2'], `{}${SECOND}`)],
    ['a folded coding', () => post(['Transfer-Encoding:', ' chunked'], chunked)],
    ['a coding behind chunks', () => post(['Transfer-Encoding: chunked, identity'], chunked)],
    ['a coding that nobody knows', () => post(['Transfer-Encoding: xchunked'], chunked)],
    ['codings on two lines', () => post(['Transfer-Encoding: chunked', 'Transfer-Encoding: x'], chunked)],
    ['lines that end in LF alone', () => post(['Content-Length: 2'], `{}${SECOND}`, '\n')],
    ['a CR within a line', () => post(['X-A: b\rTransfer-Encoding: chunked', 'Content-Length: 2'], `{}${SECOND}`)],
    ['a NUL in a value', () => post(['X-A: b\0', 'Content-Length: 2'], `{}${SECOND}`)],
    ['a header without a name', () => post([': x', 'Content-Length: 2'], `{}${SECOND}`)],
    ['a chunk whose size is none', () => post(['Transfer-Encoding: chunked'], `z\r\n\r\n${SECOND}`)],
    ['a chunk beyond numbers', () => post(['Transfer-Encoding: chunked'], `${'f'.repeat(17)}\r\n{}${SECOND}`)],
    ['a chunk longer than its size', () => post(['Transfer-Encoding: chunked'], `1\r\n{}\r\n0\r\n\r\n${SECOND}`)],
    ['chunks that end in LF alone', () => post(['Transfer-Encoding: chunked'], `2\n{}\n0\n\n${SECOND}`)],
    ['a version that there is not', () => `GET /health HTTP/3.7\r\nHost: ${host()}\r\n\r\n${SECOND}`],
  ])('%s', async (_name, request) => {
    const { statuses, text } = await send(request());
    expect([statuses, /"code":"[A-Z_]+"/.test(text), /^connection: close\r$/im.test(text)]).toEqual([
      [400],
      true,
      true,
    ]);
  });

  test.each([
    ['Host', () => host()],
    ['Host', () => 'evil.example'],
    ['Authorization', () => 'Bearer x'],
    ['Origin', () => 'https://evil.example'],
  ])('nor does it count what comes twice: %s', async (name, value) => {
    const first = { Host: host(), Authorization: `Bearer ${key}`, Origin: server.url };
    const lines = [...Object.entries(first), [name, value()]].map(([one, text]) => `${one}: ${text}\r\n`).join('');
    const { statuses, text } = await send(`GET /api/config HTTP/1.1\r\n${lines}\r\n`);
    expect([statuses, text]).toEqual([[400], expect.stringContaining('REQUEST_BAD')]);
  });

  test('while the body of a request that needs none is its body', async () => {
    const request = `GET /health HTTP/1.1\r\nHost: ${host()}\r\nContent-Length: ${SECOND.length}\r\n\r\n${SECOND}`;
    expect((await send(request)).statuses).toHaveLength(1);
  });

  test('and two requests one after the other are two', async () => {
    const one = (end: string) => `GET /health HTTP/1.1\r\nHost: ${host()}\r\n${end}\r\n`;
    const { statuses } = await send(one('') + one('Connection: close\r\n'), 10_000);
    expect(statuses).toHaveLength(2);
  });
});

describe('floods of headers', () => {
  const get = (lines: string): string => `GET /health HTTP/1.1\r\nHost: ${host()}\r\n${lines}\r\n`;

  test.each<[name: string, request: () => string]>([
    ['thousands of them', () => get('a:\r\n'.repeat(20_000))],
    ['cookies', () => get(`Cookie: ${'a=b; '.repeat(10_000)}\r\n`)],
    ['one without an end', () => `GET /health HTTP/1.1\r\nHost: ${host()}\r\nX-A: ${'a'.repeat(2_000_000)}`],
    ['an address without an end', () => `GET /${'a'.repeat(2_000_000)}`],
    ['a token of ten megabytes', () => get(`Authorization: Bearer ${'a'.repeat(10_000_000)}\r\n`)],
    ['a JWT of ten megabytes', () => get(`Authorization: Bearer eyJhbGciOiJub25lIn0.${'a'.repeat(10_000_000)}.\r\n`)],
    ['a cookie of ten megabytes', () => get(`Cookie: sightline=${'a'.repeat(10_000_000)}\r\n`)],
    ['a token of ten megabytes in the address', () => `GET /health?access_token=${'a'.repeat(10_000_000)}`],
    [
      'a ticket of ten megabytes at a socket',
      () =>
        `GET /ws/video?ticket=${'a'.repeat(10_000_000)} HTTP/1.1\r\nHost: ${host()}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
    ],
  ])('%s', async (_name, request) => {
    // Whoever goes on sending may see its connection cut before it has read why.
    const { statuses } = await send(request());
    expect([[431], []]).toContainEqual(statuses);
  });

  test('what the server must see it sees behind as many as there may be', async () => {
    const foreign = (count: number) =>
      get(`Connection: close\r\n${'a:\r\n'.repeat(count)}Origin: https://evil.example\r\n`);
    for (const count of [10, 300, 600, 900, 1_500, 2_100, 2_600, 3_500]) {
      expect([403, 431]).toContain((await send(foreign(count))).statuses[0]);
    }
  });

  test.each([
    ['/api/login', (secret: string) => ({ key: secret })],
    ['/api/login', (secret: string) => ({ name: 'ada', password: secret })],
    ['/api/tickets', (secret: string) => ({ path: secret })],
  ])('ten megabytes as the body of %s', async (path, body) => {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` };
    const init = { method: 'POST', headers, body: JSON.stringify(body('a'.repeat(10_000_000))) };
    const status = await fetch(server.url + path, init).then(
      (response) => response.status,
      () => 'cut',
    );
    expect([413, 'cut']).toContain(status);
  });
});

describe('paths', () => {
  /** As they are: whoever makes a URL of them has walked them already. */
  const at = async (path: string) => await send(`GET ${path} HTTP/1.1\r\nHost: ${host()}\r\nConnection: close\r\n\r\n`);

  test.each([
    '/../package.json',
    '/../../../../etc/passwd',
    '/assets/../../package.json',
    '/assets/../../../../../etc/passwd',
    '/%2e%2e/package.json',
    '/%2e%2e%2fpackage.json',
    '/..%2f..%2fetc%2fpasswd',
    '/assets/..%5c..%5cpackage.json',
    '/..\\..\\package.json',
    '/%252e%252e/package.json',
    '/..;/package.json',
    '/%c0%ae%c0%ae/package.json',
    '//etc/passwd',
    '/etc/passwd%00.html',
    '/index.html%00',
    '/file:///etc/passwd',
    '/.git/config',
    '/.env',
  ])('%s leads to no file', async (path) => {
    const { statuses, text } = await at(path);
    expect(text).not.toMatch(/root:|"dependencies"|\[core\]/);
    expect(statuses).toHaveLength(1);
    expect([400, 403, 404]).toContain(statuses[0]);
  });

  test.each([
    '//api/config',
    '/api//config',
    '/api/config/',
    '/api/config%2f',
    '/%61pi/config',
    '/API/config',
    '/api/./config',
    '/health/../api/config',
    '/api/docs/../config',
    '/api/me/%2e%2e/config',
    '/api/config;x=/api/me',
    '/api/config?/api/me',
    '/api/config#/api/me',
    '/api/config%00',
    'http://127.0.0.1/api/config',
    'http://evil.example/api/config',
    '*',
    'api/config',
  ])('%s opens nothing without a key', async (path) => {
    const { statuses, text } = await at(path);
    expect(statuses).toHaveLength(1);
    expect([400, 401, 403, 404]).toContain(statuses[0]);
    expect(text).not.toContain('max_connections');
  });
});

describe('a WebSocket with a key', () => {
  const handshake = (path: string, origin: string | undefined, protocols: readonly string[]) => {
    const options = origin === undefined ? {} : { headers: { Origin: origin } };
    const socket = new WebSocket(server.ws(`${path}?access_token=${key}`), [...protocols], options);
    return new Promise<number>((done) => {
      socket.on('error', () => undefined);
      socket.on('open', () => {
        socket.terminate();
        done(101);
      });
      socket.on('unexpected-response', (request, response) => {
        request.destroy();
        done(response.statusCode ?? 0);
      });
    });
  };
  test.each([
    ['/ws/video', []],
    ['/ws/telemetry', [...TELEMETRY_SUBPROTOCOLS]],
    ['/ws/foxglove', ['foxglove.sdk.v1']],
  ])('%s: a foreign page is kept out; a program, which has no Origin, comes in', async (path, protocols) => {
    const { port } = new URL(server.url);
    for (const origin of [
      'https://evil.example',
      'null',
      'file://',
      `http://127.0.0.1:${Number(port) + 1}`,
      `http://127.0.0.1:${port}.evil.example`,
      `http://evil.example:${port}`,
      '',
      'rubbish',
    ]) {
      expect([origin, await handshake(path, origin, protocols)]).toEqual([origin, 403]);
    }
    expect(await handshake(path, server.url, protocols)).toBe(101);
    expect(await handshake(path, undefined, protocols)).toBe(101);
  });
});
