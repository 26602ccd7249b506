import { once } from 'node:events';
import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { text } from 'node:stream/consumers';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { collectingLog } from '../../test/support/log.ts';
import {
  AUTHORITY,
  BIG_BYTES,
  openTlsServer,
  SOME_BYTES,
  TestCertificates,
  type TlsServerChanges,
} from '../../test/support/tls-server.ts';
import type { HttpServer } from './server.ts';
import { STREAMS_MAX } from './http2.ts';

/** HTTP/2 on the port of TLS, with Node's own client, and with frames that it would not send. */

let server: HttpServer;
let told = collectingLog();
let clients: { destroy(): void }[];

beforeEach(() => {
  told = collectingLog();
  clients = [];
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  await server.close();
});

async function start(changes: TlsServerChanges = {}): Promise<void> {
  server = await openTlsServer(new TestCertificates(), told.log, changes);
}

async function dial(): Promise<ClientHttp2Session> {
  const client = connect(server.url, { ca: AUTHORITY.certificate });
  clients.push(client);
  client.on('error', () => {});
  await once(client, 'remoteSettings');
  return client;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const [headers] = await once(stream, 'response');
  return { status: headers[':status'], headers, text: await text(stream) };
}

const get = (client: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders = {}): Promise<Answer> =>
  answerOf(client.request({ ':path': path, ...headers }));

/** One that is given up by one side. */
function ask(
  client: ClientHttp2Session,
  path: string,
  headers: OutgoingHttpHeaders = {},
  options = {},
): ClientHttp2Stream {
  const stream = client.request({ ':path': path, ...headers }, options);
  stream.on('error', () => {});
  return stream;
}

/** A client that sends whatever it likes, after the preface of HTTP/2 and its empty settings. */
async function dialRaw(): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    port: Number(new URL(server.url).port),
    ca: AUTHORITY.certificate,
    ALPNProtocols: ['h2'],
  });
  clients.push(socket);
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'secureConnect');
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(4));
  return socket;
}

/** RFC 9113 §4.1. */
function frame(type: number, { flags = 0, stream = 0, payload = Buffer.alloc(0) } = {}): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const report = () => server.socketsReport();

describe('requests', () => {
  test('many share one connection, each with all that it has by HTTP/1.1', async () => {
    await start({ hstsS: 60 });
    const client = await dial();
    const answers = await Promise.all(Array.from({ length: 100 }, () => get(client, '/secure')));
    expect(answers.map(({ status, text: body }) => `${status} ${body}`)).toEqual(answers.map(() => '200 true'));
    expect(answers[0]!.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'strict-transport-security': 'max-age=60',
    });
    expect(report()).toMatchObject({ accepted: 1, open: { waiting: 1, request: 0 }, answer_bytes: 0 });
    client.close();
    await expect.poll(() => report().ended.closed).toBe(1);
  });

  test('a wall of pictures: all streams at once, each with an answer that takes its time', async () => {
    await start();
    const client = await dial();
    const answers = await Promise.all(Array.from({ length: 2 * STREAMS_MAX }, () => get(client, '/some')));
    expect(answers.map(({ text: body }) => body.length)).toEqual(answers.map(() => SOME_BYTES));
    expect(report().answer_bytes).toBe(0);
  });

  test('with bodies, refusals, and what is not there', async () => {
    await start();
    const client = await dial();
    const put = (body: string, headers: OutgoingHttpHeaders = { 'content-type': 'application/json' }) => {
      const stream = client.request({ ':path': '/take', ':method': 'PUT', ...headers });
      stream.end(body);
      return answerOf(stream);
    };
    expect(await put('{"a":7}')).toMatchObject({ status: 200, text: '7' });
    expect((await put('{"a":')).status).toBe(400);
    expect((await put('{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await put(`{"a":"${'x'.repeat(100_000)}"}`)).status).toBe(413);
    expect((await get(client, '/nowhere')).text).toContain('NOT_FOUND');
    expect((await get(client, '/ws')).text).toContain('UPGRADE_REQUIRED');
    expect((await get(client, '/secure')).status).toBe(200);
    expect(told.entries.filter(({ event }) => event === 'request_failed')).toEqual([]);
  });

  test.each([
    ['another name of the server', { ':authority': 'evil.example' }, 403],
    ['a Host that contradicts the authority', { host: 'evil.example' }, 403],
    ['the page itself', { origin: 'https://127.0.0.1' }, 403],
    ['a foreign page', { origin: 'https://evil.example' }, 403],
  ])('of %s', async (_, headers, status) => {
    await start();
    expect((await get(await dial(), '/secure', headers)).status).toBe(status);
  });

  test('of the page itself, by its origin', async () => {
    await start();
    expect((await get(await dial(), '/secure', { origin: new URL(server.url).origin })).status).toBe(200);
  });

  test('a base path holds as well', async () => {
    await start({ basePath: '/base' });
    const client = await dial();
    expect((await get(client, '/base/secure')).status).toBe(200);
    expect((await get(client, '/secure')).status).toBe(404);
    expect(await get(client, '/base')).toMatchObject({ status: 308, headers: { location: '/base/' } });
  });

  test('event streams beside others, counted, and ended by their client', async () => {
    await start({ connectionsMax: 2 });
    const client = await dial();
    const streams = [ask(client, '/stream'), ask(client, '/stream')];
    for (const stream of streams) expect((await once(stream, 'response'))[0][':status']).toBe(200);
    expect(server.connectionCount).toBe(2);
    expect(report().open).toMatchObject({ event_stream: 1 });
    expect((await get(client, '/stream')).status).toBe(503);
    expect((await get(client, '/secure')).status).toBe(200);
    for (const stream of streams) stream.close();
    await expect.poll(() => server.connectionCount).toBe(0);
    await expect.poll(() => report().open).toMatchObject({ waiting: 1, event_stream: 0 });
  });

  test('HTTP/1.1 and WebSockets go on beside it, also where a client offers both', async () => {
    await start();
    await get(await dial(), '/secure');
    const socket = new WebSocket(`${server.url.replace('https', 'wss')}/ws`, { ca: AUTHORITY.certificate });
    await once(socket, 'open');
    socket.send('by HTTP/1.1');
    expect(String((await once(socket, 'message'))[0])).toBe('by HTTP/1.1');
    socket.terminate();
  });

  test('all streams of a connection end with the server', async () => {
    await start();
    const client = await dial();
    ask(client, '/stream');
    await expect.poll(() => report().open.event_stream).toBe(1);
    await server.close();
    expect(report()).toMatchObject({ ended: { stopped: 1 }, open: { event_stream: 0 } });
  });
});

describe('bounds', () => {
  test('requests at once: a client that asks for more is refused, and cut when it goes on', async () => {
    await start();
    const client = await dial();
    expect(client.remoteSettings).toMatchObject({ maxConcurrentStreams: STREAMS_MAX, enablePush: false });
    const socket = await dialRaw();
    for (let i = 0; i < STREAMS_MAX; i++) socket.write(getFrame(1 + 2 * i, '/never'));
    await expect.poll(() => report().open.request).toBe(1);
    for (let i = STREAMS_MAX; i < 400; i++) socket.write(getFrame(1 + 2 * i, '/never'));
    await expect.poll(() => report().ended.bad_request).toBe(1);
    expect(report().open.request).toBe(0);
  });

  test('a header that is too large is refused, and its connection goes on', async () => {
    await start();
    const client = await dial();
    const stream = ask(client, '/secure', { 'x-much': 'y'.repeat(40_000) });
    await new Promise((done) => stream.on('close', done));
    expect(stream.rstCode).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect((await get(client, '/secure')).status).toBe(200);
  });

  test('streams that are begun and given up by the hundred end the connection', async () => {
    await start();
    const client = await dial();
    let begun = 0;
    while (!client.destroyed && begun < 5_000) {
      const stream = ask(client, '/never');
      stream.close(constants.NGHTTP2_CANCEL);
      begun++;
      if (begun % 20 === 0) await new Promise((done) => setImmediate(done));
    }
    await expect.poll(() => report().ended.bad_request).toBe(1);
    expect(report().open).toMatchObject({ waiting: 0, request: 0 });
    expect((await get(await dial(), '/secure')).status).toBe(200);
  });

  test.each([
    ['pings', () => frame(6, { payload: Buffer.alloc(8) })],
    ['settings', () => frame(4)],
  ])('%s without end, whose answers the client takes, end the connection', async (_, make) => {
    await start();
    const socket = await dialRaw();
    const few = Buffer.concat(Array.from({ length: 100 }, make));
    socket.write(few);
    // A request beside them is answered as long as they are few.
    expect((await get(await dial(), '/secure')).status).toBe(200);
    expect(report().ended.bad_request).toBe(0);
    while (!socket.destroyed && socket.writable) {
      socket.write(few);
      await new Promise((done) => setTimeout(done, 5));
    }
    await expect.poll(() => report().ended.bad_request).toBe(1);
    expect((await get(await dial(), '/secure')).status).toBe(200);
  });

  test('something else than HTTP/2 after it was agreed on', async () => {
    await start();
    const socket = await dialRaw();
    // Data of a stream that there is not.
    socket.write(frame(0, { stream: 1, payload: Buffer.alloc(10) }));
    await expect.poll(() => report().ended.bad_request).toBe(1);
  });

  test('a client that asks nothing, whatever else it sends, has the time of a header', async () => {
    await start({ headerTimeoutMs: 300 });
    const socket = await dialRaw();
    const pings = setInterval(() => socket.write(frame(6, { payload: Buffer.alloc(8) })), 20);
    await expect.poll(() => report().ended.silent, { timeout: 5_000 }).toBe(1);
    clearInterval(pings);
  });

  test('a header that is begun and not ended', async () => {
    await start({ headerTimeoutMs: 300 });
    const socket = await dialRaw();
    // HEADERS without END_HEADERS.
    socket.write(frame(1, { stream: 1, payload: Buffer.from([0x82]) }));
    await expect.poll(() => report().ended.silent, { timeout: 5_000 }).toBe(1);
  });

  test('a pause between two requests', async () => {
    await start({ keepAliveTimeoutMs: 200 });
    const client = await dial();
    await get(client, '/secure');
    await expect.poll(() => report().ended.idle, { timeout: 5_000 }).toBe(1);
  });

  test('a body that does not come', async () => {
    await start({ requestTimeoutMs: 300, headerTimeoutMs: 300 });
    const client = await dial();
    const stream = ask(client, '/take', { ':method': 'PUT', 'content-type': 'application/json' });
    stream.write('{');
    await expect.poll(() => report().ended.request_timeout, { timeout: 5_000 }).toBe(1);
  });

  test('an event stream that says nothing is not one of them', async () => {
    await start({ requestTimeoutMs: 100, unreadTimeoutMs: 100, keepAliveTimeoutMs: 100, headerTimeoutMs: 100 });
    const client = await dial();
    ask(client, '/stream');
    await expect.poll(() => report().open.event_stream).toBe(1);
    // It is looked at twice a second.
    await new Promise((done) => setTimeout(done, 1_200));
    expect(report()).toMatchObject({ open: { event_stream: 1 } });
  });

  test('an answer that nobody takes, also of a client that goes on to talk', async () => {
    await start({ unreadTimeoutMs: 200 });
    const client = await dial();
    const deaf = ask(client, '/some');
    deaf.pause();
    await once(deaf, 'response');
    expect(report()).toMatchObject({ answer_bytes: SOME_BYTES, open: { request: 1 } });
    const pings = setInterval(() => client.destroyed || client.ping(() => {}), 20);
    client.on('close', () => clearInterval(pings));
    await expect.poll(() => report().ended.unread, { timeout: 10_000 }).toBe(1);
    expect(report()).toMatchObject({ answer_bytes: 0, open: { request: 0 } });
  });

  test('a large answer comes whole, to a client that reads', async () => {
    await start({ unreadTimeoutMs: 200 });
    expect((await get(await dial(), '/big')).text).toHaveLength(BIG_BYTES);
  });
});

/** GET, in literals (RFC 7541 §6.2.2). */
function getFrame(stream: number, path: string): Buffer {
  const literal = (index: number, value: string) => Buffer.from([index, value.length, ...Buffer.from(value)]);
  const payload = Buffer.concat([Buffer.from([0x82, 0x87]), literal(4, path), literal(1, '127.0.0.1')]);
  // END_STREAM and END_HEADERS.
  return frame(1, { flags: 0x05, stream, payload });
}
