import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { BlockList, connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { httpOptions } from '../../test/support/http-options.ts';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock } from '../base/clock.ts';
import type { SocketEnding } from '../observe/metrics.ts';
import { answer, files, type Route } from './route.ts';
import { HttpServer, type HttpServerOptions } from './server.ts';

const MB = 1_000_000;
const PUBLIC = { action: 'public' } as const;
/** More than the system keeps of it on the way to a client that reads nothing. */
const BIG_BYTES = 24 * MB;

let dir: string;
let told = collectingLog();
let server: HttpServer;
let asked: number;
let raws: Raw[];

type Changes = Partial<Omit<HttpServerOptions, 'connections'>> & {
  readonly connections?: Partial<HttpServerOptions['connections']>;
};

async function start(changes: Changes = {}): Promise<void> {
  const options = httpOptions();
  server = new HttpServer({
    ...options,
    pageDir: dir,
    log: told.log,
    sockets: [{ path: '/ws', summary: 'greets', permissions: [PUBLIC], open: greet }],
    routes: ROUTES,
    ...changes,
    connections: {
      ...options.connections,
      connectionsMax: 4,
      ...changes.connections,
    },
  });
  await server.listen();
}

/** At the first message it closes, or sends more than its client takes without reading. */
function greet(socket: WebSocket): void {
  socket.send('hello');
  socket.once('message', (data) => {
    if (String(data) === 'x') socket.close(4000);
    else for (let i = 0; i < 24; i++) socket.send(Buffer.alloc(MB));
  });
}

/** A masked text message of one letter. */
function message(letter: string): Buffer {
  return Buffer.from([0x81, 0x81, 0, 0, 0, 0, letter.charCodeAt(0)]);
}

const ROUTES: readonly Route[] = [
  answer({
    method: 'GET',
    url: '/fine',
    permission: PUBLIC,
    tag: 'a',
    summary: 'fine',
    response: z.string(),
    handle: () => {
      asked++;
      return 'fine';
    },
  }),
  answer({
    method: 'PUT',
    url: '/take',
    permission: PUBLIC,
    tag: 'a',
    summary: 'takes something',
    body: z.strictObject({}),
    response: z.string(),
    handle: () => 'taken',
  }),
  answer({
    method: 'GET',
    url: '/big',
    permission: PUBLIC,
    tag: 'a',
    summary: 'a lot',
    response: z.string(),
    handle: () => 'x'.repeat(BIG_BYTES),
  }),
  files({
    url: '/file',
    permission: PUBLIC,
    tag: 'a',
    summary: 'a large file',
    contentType: 'application/octet-stream',
    file: async () => ({ folder: dir, name: 'big.bin' }),
  }),
  {
    kind: 'stream',
    url: '/stream/:kind',
    permission: PUBLIC,
    tag: 'a',
    summary: 'a stream',
    contentType: 'text/event-stream',
    params: z.object({ kind: z.string() }),
    stream: (_request, response, { kind }) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write(kind === 'full' ? Buffer.alloc(BIG_BYTES) : ': nothing yet\n\n');
    },
  },
];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sightline-sockets-'));
  writeFileSync(join(dir, 'index.html'), '<!doctype html><title>page</title>');
  writeFileSync(join(dir, 'big.bin'), Buffer.alloc(BIG_BYTES));
});
afterAll(() => rmSync(dir, { recursive: true }));

beforeEach(() => {
  told = collectingLog();
  asked = 0;
  raws = [];
});

afterEach(async () => {
  for (const { socket } of raws) socket.destroy();
  await server.close();
});

/** A client that does no more than it is told to: it keeps its own side open, and reads only if asked to. */
interface Raw {
  readonly socket: Socket;
  text: string;
  /** The server has ended its side, or the connection. */
  isClosed: boolean;
}

function dial(request = '', { reads = true, from }: { reads?: boolean; from?: string } = {}): Raw {
  const socket = connect({
    port: Number(new URL(server.url).port),
    host: '127.0.0.1',
    allowHalfOpen: true,
    ...(from !== undefined && { localAddress: from }),
  });
  const raw: Raw = { socket, text: '', isClosed: false };
  socket.on('error', () => {});
  for (const event of ['end', 'close']) socket.on(event, () => (raw.isClosed = true));
  if (reads) socket.on('data', (data) => (raw.text += data.toString('latin1')));
  else socket.pause();
  if (request !== '') socket.write(request);
  raws.push(raw);
  return raw;
}

const get = (path: string, headers: Readonly<Record<string, string>> = {}): string =>
  `GET ${path} HTTP/1.1\r\n${Object.entries({ Host: '127.0.0.1', ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`;

const HANDSHAKE = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

const open = () => server.socketsReport().open;
const ended = (ending: SocketEnding) => server.socketsReport().ended[ending];
const causes = () =>
  told.entries.filter(({ event }) => event === 'connection_cut').map(({ fields }) => fields['cause']);

/** A fresh connection still gets its answer. */
async function expectAnswers(from?: string): Promise<void> {
  const raw = dial(get('/fine', { Connection: 'close' }), from === undefined ? {} : { from });
  await expect.poll(() => raw.text).toMatch(/^HTTP\/1\.1 200 [^]*fine$/);
}

describe('a request that does not arrive', () => {
  test('its header: the client is told, and cut soon after the time-out', async () => {
    await start({ headerTimeoutMs: 200, connections: { lingerMs: 50 } });
    const slow = dial('GET /fine HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ');
    const drip = setInterval(() => slow.socket.write('b'), 20);
    await expect.poll(() => open().waiting).toBe(1);
    await expect.poll(() => slow.text).toMatch(/^HTTP\/1\.1 408 REQUEST_TIMEOUT/);
    await expect.poll(() => ended('header_timeout')).toBe(1);
    clearInterval(drip);
    expect(open()).toMatchObject({ waiting: 0, closing: 0 });
    expect(causes()).toEqual(['header_timeout']);
  });

  test('its body', async () => {
    await start({ headerTimeoutMs: 200, requestTimeoutMs: 200, connections: { lingerMs: 50 } });
    const slow = dial(
      'PUT /take HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
    );
    await expect.poll(() => slow.text).toMatch(/^HTTP\/1\.1 408 REQUEST_TIMEOUT/);
    await expect.poll(() => ended('request_timeout')).toBe(1);
  });

  test('nothing at all: cut without a word, as a browser’s spare connection is', async () => {
    await start({ headerTimeoutMs: 100 });
    const silent = dial();
    await expect.poll(() => ended('silent')).toBe(1);
    expect(silent.text).toBe('');
    expect(told.entries).toEqual([]);
  });

  test('a further one on the same connection', async () => {
    await start({ keepAliveTimeoutMs: 50 });
    const idle = dial(get('/fine'));
    await expect.poll(() => idle.text).toContain('200 OK');
    await expect.poll(() => ended('idle')).toBe(1);
    expect(told.entries).toEqual([]);
  });
});

describe('a refused upgrade is cut though its client keeps its side open', () => {
  test.each([
    ['an unknown path', get('/nowhere', HANDSHAKE), '404 NOT_FOUND'],
    ['a forbidden Host', get('/ws', { ...HANDSHAKE, Host: 'evil.example' }), '403 HOST_FORBIDDEN'],
    ['a forbidden Origin', get('/ws', { ...HANDSHAKE, Origin: 'http://evil.example' }), '403 ORIGIN_FORBIDDEN'],
    ['a bad handshake', get('/ws', { ...HANDSHAKE, 'Sec-WebSocket-Key': 'x' }), '400 QUERY_BAD'],
    ['another version', get('/ws', { ...HANDSHAKE, 'Sec-WebSocket-Version': '7' }), '426 UPGRADE_REQUIRED'],
  ])('%s', async (_, request, status) => {
    await start({ connections: { lingerMs: 50 } });
    const refused = dial(request);
    // It sends on as well.
    refused.socket.write(Buffer.alloc(100_000));
    await expect.poll(() => refused.text).toContain(`HTTP/1.1 ${status}`);
    expect(refused.text).toMatch(/X-Content-Type-Options: nosniff[^]*\}\}$/);
    await expect.poll(() => open()).toMatchObject({ closing: 0, waiting: 0 });
    expect(ended('refused')).toBe(1);
  });

  test('all connections taken', async () => {
    await start({ connections: { connectionsMax: 1, lingerMs: 50 } });
    const first = dial(get('/ws', HANDSHAKE));
    await expect.poll(() => first.text).toContain('hello');
    const second = dial(get('/ws', HANDSHAKE));
    await expect.poll(() => second.text).toContain('503 CONNECTIONS_EXHAUSTED');
    await expect.poll(() => open()).toMatchObject({ closing: 0, websocket: 1 });
  });

  test('one that never reads why', async () => {
    await start({ connections: { lingerMs: 50 } });
    dial(get('/nowhere', HANDSHAKE), { reads: false });
    await expect.poll(() => ended('refused')).toBe(1);
  });

  test('one that ends its side is not waited for', async () => {
    await start();
    const refused = dial(get('/nowhere', HANDSHAKE));
    refused.socket.end();
    await expect.poll(() => ended('refused')).toBe(1);
    expect(refused.text).toContain('404 NOT_FOUND');
  });

  test('the server ends without waiting for them', async () => {
    await start();
    const refused = dial(get('/nowhere', HANDSHAKE));
    await expect.poll(() => refused.text).toContain('404');
    await server.close();
    expect(open()).toEqual({ waiting: 0, request: 0, event_stream: 0, websocket: 0, closing: 0 });
    expect(ended('stopped')).toBe(1);
  });

  test('those of another program’s server', async () => {
    await start({ connections: { lingerMs: 50 } });
    const other = createServer();
    other.on('upgrade', (request, socket, head) => server.handleUpgrade(request, socket, head));
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    socket.resume();
    socket.write(get('/nowhere', HANDSHAKE));
    await expect.poll(() => ended('refused')).toBe(1);
    socket.destroy();
    await new Promise((done) => other.close(done));
  });

  test('a WebSocket by any stream, which such a server may take for a connection', async () => {
    await start();
    const other = createServer();
    other.on('upgrade', (request, socket, head) => server.handleUpgrade(request, socket, head));
    const [near, far] = duplexPair();
    other.emit('connection', far);
    near.resume();
    near.write(get('/ws', HANDSHAKE));
    await expect.poll(() => [server.connectionCount, open().websocket]).toEqual([1, 1]);
    expect(server.connections().endpoints).toMatchObject([{ endpoint: '/ws', open: 1 }]);
    near.destroy();
    far.destroy();
    await expect.poll(() => [server.connectionCount, open().websocket]).toEqual([0, 0]);
    expect(server.traffic).toEqual({ received_bytes: 0, sent_bytes: 0 });
  });
});

describe('a client that does not read', () => {
  test.each(['/big', '/file'])('the answer of %s: it is cut', async (path) => {
    await start({ connections: { unreadTimeoutMs: 150 } });
    dial(get(path), { reads: false });
    await expect.poll(() => server.socketsReport().answer_bytes).toBeGreaterThan(0);
    await expect.poll(() => ended('unread')).toBe(1);
    expect(server.socketsReport().answer_bytes).toBe(0);
    expect(causes()).toEqual(['unread']);
    await expectAnswers();
  });

  test('a client that reads slowly, and does read, gets all of it', async () => {
    await start({ connections: { unreadTimeoutMs: 1_000 } });
    const slow = dial(get('/big'), { reads: false });
    let bytes = 0;
    slow.socket.on('data', (data) => {
      bytes += data.length;
      slow.socket.pause();
      setTimeout(() => slow.socket.resume(), 4);
    });
    slow.socket.resume();
    await expect.poll(() => bytes, { timeout: 60_000 }).toBeGreaterThan(BIG_BYTES);
    expect(ended('unread')).toBe(0);
  }, 60_000);

  test('an event stream: it is cut, and one that has nothing to say is not', async () => {
    await start({ connections: { unreadTimeoutMs: 150 } });
    const quiet = dial(get('/stream/quiet'));
    await expect.poll(() => quiet.text).toContain('nothing yet');
    dial(get('/stream/full'), { reads: false });
    await expect.poll(() => open().event_stream).toBe(2);
    await expect.poll(() => ended('unread')).toBe(1);
    // Two more time-outs of the quiet one have passed by the time that two further ones were cut, one after the other.
    for (let n = 2; n <= 3; n++) {
      dial(get('/stream/full'), { reads: false });
      await expect.poll(() => ended('unread')).toBe(n);
    }
    expect(quiet.isClosed).toBe(false);
    await expect.poll(() => server.connectionCount).toBe(1);
  });

  test('many answers: beyond the bound for all of them the oldest is cut', async () => {
    await start({ connections: { answerBytesMax: 2.5 * BIG_BYTES } });
    const all: Raw[] = [];
    for (let n = 1; n <= 4; n++) {
      all.push(dial(get('/big'), { reads: false }));
      await expect.poll(() => server.socketsReport().accepted).toBe(n);
      await expect.poll(() => ended('answers_full')).toBe(Math.max(0, n - 2));
      await expect.poll(() => server.socketsReport().answer_bytes).toBe(Math.min(2, n) * BIG_BYTES);
    }
    const reader = dial(get('/big'));
    await expect.poll(() => reader.text.length).toBeGreaterThan(BIG_BYTES);
    // The two that are left were not: the newest was read meanwhile.
    all[3]!.socket.resume();
    await expect.poll(() => open().request).toBeLessThanOrEqual(1);
  });

  test('more requests than it may send ahead: it is cut, and they are not answered', async () => {
    await start();
    const ahead = dial(get('/fine').repeat(1_000), { reads: false });
    await expect.poll(() => ended('pipelined')).toBe(1);
    expect(asked).toBeLessThanOrEqual(16);
    await expect.poll(() => server.socketsReport().answer_bytes).toBe(0);
    expect(causes()).toEqual(['pipelined']);
    ahead.socket.resume();
    const few = dial(get('/fine').repeat(16));
    await expect.poll(() => few.text.split('HTTP/1.1 200').length - 1).toBe(16);
  });

  test('an upgrade behind requests that have no answer yet is none', async () => {
    await start();
    dial(get('/big') + get('/ws', HANDSHAKE), { reads: false });
    await expect.poll(() => server.socketsReport().accepted).toBe(1);
    await expect.poll(() => open()).toEqual({ waiting: 0, request: 0, event_stream: 0, websocket: 0, closing: 0 });
    expect(server.socketsReport().answer_bytes).toBe(0);
    expect(server.connectionCount).toBe(0);
  });
});

describe('a WebSocket', () => {
  test('whose client ends its side without a close frame and reads nothing is cut', async () => {
    await start({ connections: { closeTimeoutMs: 100 } });
    const raw = dial(get('/ws', HANDSHAKE));
    await expect.poll(() => raw.text).toContain('hello');
    raw.socket.pause();
    raw.socket.end(message('a'));
    await expect.poll(() => ended('half_open')).toBe(1);
    await expect.poll(() => server.connectionCount).toBe(0);
  });

  test('that the server has closed is cut if its client says nothing, or sends on', async () => {
    await start({ connections: { closeTimeoutMs: 100 } });
    const [mute, chatty] = [dial(get('/ws', HANDSHAKE)), dial(get('/ws', HANDSHAKE))];
    await expect.poll(() => mute.text + chatty.text).toMatch(/hello[^]*hello/);
    for (const { socket } of [mute, chatty]) socket.write(message('x'));
    const drip = setInterval(() => chatty.socket.write(message('y')), 10);
    await expect.poll(() => open().websocket).toBe(0);
    clearInterval(drip);
    await expect.poll(() => server.connectionCount).toBe(0);
    expect(ended('closed')).toBe(2);
  });
});

describe('places', () => {
  /** Those of four connections that last: twice four, and 64. */
  const PLACES = 72;

  async function fillWith(sockets: number): Promise<Raw[]> {
    const before = open().waiting;
    const all = Array.from({ length: sockets }, () => dial());
    await expect.poll(() => open().waiting).toBe(before + sockets);
    return all;
  }

  test('a new connection takes the place of the longest waiting one', async () => {
    await start();
    const first = dial();
    await expect.poll(() => open().waiting).toBe(1);
    const others = await fillWith(PLACES - 1);
    for (let i = 1; i <= 10; i++) {
      await expectAnswers();
      expect(ended('evicted')).toBeLessThanOrEqual(i);
    }
    await expect.poll(() => first.isClosed).toBe(true);
    expect(others.filter(({ isClosed }) => isClosed).length).toBeLessThan(10);
    expect(server.socketsReport().max).toBe(PLACES);
    expect(told.texts().join()).toContain('was cut (waiting): evicted');
  });

  test('those that are refused go first, those that last never', async () => {
    await start();
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`);
    await once(socket, 'message');
    const keep = dial(get('/fine'));
    await expect.poll(() => keep.text).toContain('fine');
    const refused = Array.from({ length: PLACES - 10 }, () => dial(get('/nowhere', HANDSHAKE)));
    await expect.poll(() => refused.every(({ text }) => text !== '')).toBe(true);
    // Fewer than those: else the one that has waited for longest would go as well.
    for (let i = 0; i < PLACES - 20; i++) dial();
    await expect.poll(() => ended('evicted')).toBeGreaterThan(PLACES - 40);
    expect(keep.isClosed).toBe(false);
    expect(socket.readyState).toBe(WebSocket.OPEN);
    await expectAnswers();
    socket.terminate();
  });

  test('those whose answers are not read go before one that has just come', async () => {
    await start({ connections: { answerBytesMax: 100 * BIG_BYTES } });
    for (let i = 0; i < PLACES; i++) dial(get('/file'), { reads: false });
    await expect.poll(() => open().request + ended('evicted')).toBe(PLACES);
    const fresh = dial();
    await expect.poll(() => open().waiting).toBe(1);
    for (let i = 0; i < 10; i++) dial(get('/file'), { reads: false });
    await expect.poll(() => server.socketsReport().accepted).toBe(PLACES + 11);
    fresh.socket.write(get('/fine'));
    await expect.poll(() => fresh.text).toContain('fine');
  });

  test('fewer of them where descriptors are few: what lasts is refused, what is short gets through', async () => {
    // Of 50 that the process may have open, 20 are other things; so there are 20 for sockets beside 10 that are kept back.
    let counted = 20;
    const clock = new ManualClock();
    await start({
      clock,
      descriptors: { max: 50, intervalMs: 1_000, count: () => counted },
      connections: { connectionsMax: 1_000, reservedDescriptors: 10 },
    });
    expect([server.connectionsMax, server.socketsReport().max]).toEqual([15, 20]);
    server.tellPlaces();
    expect(told.texts()).toEqual([expect.stringMatching(/^of 1000 connections .*only 15 are possible: .* 50 files/)]);
    const lasting = Array.from({ length: 15 }, () => dial(get('/ws', HANDSHAKE)));
    await expect.poll(() => lasting.every(({ text }) => text.includes('hello'))).toBe(true);
    const further = dial(get('/ws', HANDSHAKE));
    await expect.poll(() => further.text).toContain('503 CONNECTIONS_EXHAUSTED');
    for (let i = 0; i < 40; i++) dial();
    await expect.poll(() => server.socketsReport().accepted).toBe(56);
    await expectAnswers();
    // Something else takes some meanwhile: 4 are left for what is short.
    counted = 21 + Object.values(open()).reduce((sum, n) => sum + n, 0);
    clock.advance(1_000);
    expect(server.socketsReport().max).toBe(19);
    await expectAnswers();
    expect(lasting.some(({ isClosed }) => isClosed)).toBe(false);
  });

  test('a file that is being sent takes a place', async () => {
    await start({ connections: { unreadTimeoutMs: 60_000 } });
    await fillWith(PLACES - 1);
    dial(get('/file'), { reads: false });
    await expect.poll(() => ended('evicted')).toBe(1);
  });
});

describe('one address', () => {
  const addresses = { connectionsMax: 3, ratePerS: 1_000, unbounded: ['127.0.0.3/32'] };
  const OTHER = '127.0.0.2';

  test('has a bounded number of connections, and takes none from others', async () => {
    await start({ connections: { addresses, connectionsMax: 20, lingerMs: 60_000 } });
    const own = Array.from({ length: 3 }, () => dial(get('/ws', HANDSHAKE), { from: OTHER }));
    await expect.poll(() => own.every(({ text }) => text.includes('hello'))).toBe(true);
    const handshake = dial(get('/ws', HANDSHAKE), { from: OTHER });
    const request = dial(get('/fine'), { from: OTHER });
    await expect
      .poll(() => handshake.text)
      .toMatch(/^HTTP\/1\.1 429 ADDRESS_LIMIT_REACHED[^]*127\.0\.0\.2 has all of its 3/);
    await expect.poll(() => request.text).toMatch(/^HTTP\/1\.1 429 [^]*nosniff[^]*"ADDRESS_LIMIT_REACHED"/i);
    expect(server.socketsReport()).toMatchObject({ refused: { connections: 2, rate: 0 }, addresses: 1 });
    expect(asked).toBe(0);
    await expectAnswers('127.0.0.1');
    for (let i = 0; i < 10; i++) await expectAnswers('127.0.0.3');
    expect(told.texts()).toContain('a connection from 127.0.0.2 was refused: it has too many');
  });

  test('makes room for itself where it only waits', async () => {
    await start({ connections: { addresses } });
    const waiting = Array.from({ length: 3 }, () => dial('', { from: OTHER }));
    await expect.poll(() => open().waiting).toBe(3);
    await expectAnswers(OTHER);
    expect(server.socketsReport().refused.connections).toBe(0);
    await expect.poll(() => waiting.filter(({ isClosed }) => isClosed).length).toBe(1);
  });

  test('opens a bounded number of them a second; most of a flood is not even answered', async () => {
    const clock = new ManualClock();
    await start({ clock, connections: { addresses: { ...addresses, connectionsMax: 1_000, ratePerS: 5 } } });
    const all = Array.from({ length: 10 }, () => dial(get('/fine', { Connection: 'close' }), { from: OTHER }));
    await expect.poll(() => all.every(({ text }) => text.includes('200 OK'))).toBe(true);
    const flood = Array.from({ length: 100 }, () => dial('', { from: OTHER }));
    await expect.poll(() => server.socketsReport().refused.rate).toBe(100);
    expect(open().waiting).toBe(64);
    await expect.poll(() => flood.filter(({ isClosed }) => isClosed).length).toBe(36);
    const left = flood.find(({ isClosed }) => !isClosed)!;
    left.socket.write(get('/fine'));
    await expect.poll(() => left.text).toMatch(/^HTTP\/1\.1 429 [^]*more than 5 connections a second/);
    await expectAnswers('127.0.0.1');
    clock.advance(1_000);
    await expectAnswers(OTHER);
  });

  test('Node asks before it makes a socket', async (context) => {
    let made = 0;
    const bare = createServer().on('connection', () => (made += 1));
    class Nobody extends BlockList {
      override check = (): boolean => true;
    }
    Object.assign(bare, { blockList: new Nobody() });
    bare.listen(0, '127.0.0.1');
    await once(bare, 'listening');
    context.onTestFinished(() => void bare.close());
    const socket = connect((bare.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket, 'close');
    expect(made).toBe(0);
  });

  test('a client that is over a bound and asks nothing is cut', async () => {
    const clock = new ManualClock();
    await start({ clock, connections: { addresses: { ...addresses, ratePerS: 1 }, lingerMs: 50 } });
    const all = Array.from({ length: 3 }, () => dial('', { from: OTHER }));
    await expect.poll(() => all.filter(({ isClosed }) => isClosed).length).toBe(1);
    expect(ended('refused')).toBe(1);
  });
});

describe('every answer has the security headers', () => {
  const HEADERS = [
    /^content-security-policy: default-src 'self'/im,
    /^referrer-policy: no-referrer\r/im,
    /^x-content-type-options: nosniff\r/im,
  ];

  test.each([
    ['an answer', get('/fine'), 200],
    ['a file', get('/file', { Range: 'bytes=0-3' }), 206],
    ['the page', get('/'), 200],
    ['an event stream', get('/stream/quiet'), 200],
    ['nothing there', get('/nowhere'), 404],
    ['a broken address', get('/%zz'), 400],
    ['a forbidden Host', get('/fine', { Host: 'evil.example' }), 403],
    ['a forbidden Origin', get('/fine', { Origin: 'http://evil.example' }), 403],
    ['no Host', 'GET /fine HTTP/1.1\r\n\r\n', 400],
    ['no Host in a handshake', 'GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', 400],
    ['no upgrade', get('/ws'), 426],
    ['a refused upgrade', get('/nowhere', HANDSHAKE), 404],
    ['no HTTP', '\u0000\u0001garbage\r\n\r\n', 400],
    ['a header that is too large', get('/fine', { 'X-A': 'a'.repeat(20_000) }), 431],
    ['an unknown method', 'BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 400],
    ['a method without a route', 'DELETE /fine HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', 404],
    ['an expectation that nobody knows', get('/fine', { Expect: 'the-unexpected' }), 200],
    ['another protocol that is ignored', get('/fine', { Connection: 'Upgrade', Upgrade: 'h2c' }), 200],
  ])('%s', async (_, request, status) => {
    await start();
    const raw = dial(request);
    await expect.poll(() => raw.text).toContain('\r\n\r\n');
    expect(raw.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    for (const header of HEADERS) expect(raw.text.split('\r\n\r\n')[0] + '\r').toMatch(header);
    if (status >= 400) await expect.poll(() => raw.text).toMatch(/\{"error":\{"code":"[A-Z_]+","message":".+"\}\}$/);
  });
});

test('localhost is listened to on both of its addresses, by the same rules', async () => {
  await start({ host: 'localhost', rules: { hosts: ['localhost'], origins: [] }, connections: { lingerMs: 50 } });
  const { port } = new URL(server.url);
  const answers = await Promise.allSettled(
    ['127.0.0.1', '[::1]'].map(async (host) => (await fetch(`http://${host}:${port}/fine`)).text()),
  );
  const heard = answers.filter(({ status }) => status === 'fulfilled');
  expect(heard.length).toBeGreaterThan(0);
  expect(server.socketsReport().accepted).toBe(heard.length);
});
