import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { SwallowingProxy } from '../../test/support/swallowing-proxy.ts';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { ManualClock, systemClock, type Clock } from '../base/clock.ts';
import type { SightlineError } from '../base/errors.ts';
import type { StateChange } from './link.ts';
import { connectTelemetry, type ConnectTelemetryOptions, type TelemetrySession } from './telemetry.ts';
import { tokenFile, type TokenStore } from './token-store.ts';

/** Sessions against the real lane, over real sockets. */

const YEAR_MS = 365 * 86_400_000;
const RECONNECT = { delayMinMs: 1, delayMaxMs: 20 };

/** The machine's time with a wall clock that can be set. */
class SettableClock implements Clock {
  aheadMs = 0;
  now(): number {
    return systemClock.now();
  }
  wallAheadMs(): number {
    return this.aheadMs;
  }
}

let bench: TelemetryBench;
let serverClock: SettableClock;
let proxy: SwallowingProxy;
let proxyUrl: string;
const sessions: TelemetrySession[] = [];

beforeEach(async () => {
  serverClock = new SettableClock();
  bench = await new TelemetryBench({ pingIntervalMs: 600_000 }, { clock: serverClock }).start();
  proxy = new SwallowingProxy(Number(new URL(bench.url()).port));
  proxyUrl = `ws://127.0.0.1:${await proxy.listen()}/`;
});

afterEach(async () => {
  for (const session of sessions.splice(0)) await session.close();
  proxy.close();
  await bench.stop();
});

async function open(options: Partial<ConnectTelemetryOptions> = {}): Promise<TelemetrySession> {
  const session = await connectTelemetry({ url: bench.url(), reconnect: RECONNECT, WebSocket, ...options });
  sessions.push(session);
  return session;
}

function statesOf(session: TelemetrySession): StateChange[] {
  const states: StateChange[] = [];
  session.on('state', (change) => states.push(change));
  return states;
}

describe('a line that is dead without a word', () => {
  test.each([
    ['in both directions', { up: true, down: true }, WebSocket],
    ['from the server to the client', { down: true }, WebSocket],
    ['from the client to the server', { up: true }, WebSocket],
    ['with the platform’s own WebSocket', { up: true, down: true }, undefined],
  ])('%s is noticed, told, and made anew', async (_, directions, socketClass) => {
    const session = await open({
      url: proxyUrl,
      lineTimeoutMs: 100,
      ...(socketClass ? { WebSocket: socketClass } : { WebSocket: globalThis.WebSocket as never }),
    });
    const states = statesOf(session);
    await session.publish('a', 1, { reliable: true });
    proxy.swallow(directions);
    const confirmed = session.publish('a', 2, { reliable: true });
    await expect.poll(() => states.map(({ state }) => state), { timeout: 10_000 }).toEqual(['reconnecting', 'open']);
    expect(states[0]!.error).toMatchObject({ code: 'CONNECTION_LOST', message: expect.stringMatching(/is dead/) });
    await confirmed;
    expect(session.welcome.resumed).toBe(true);
    expect(bench.topics.get('a')!.lastSeq).toBe(2);
  });

  test('a quiet one is none, however long', async () => {
    const session = await open({ lineTimeoutMs: 100 });
    const states = statesOf(session);
    const before = session.metrics().clock;
    await expect.poll(() => session.metrics().clock.roundTripMs).toBeLessThan(Infinity);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect([states, session.state, before.uncertaintyMs < Infinity]).toEqual([[], 'open', true]);
  });

  test.each([0, -1, NaN])('a time-out of %s is none', async (lineTimeoutMs) => {
    await expect(open({ lineTimeoutMs })).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining(String(lineTimeoutMs)),
    });
  });

  test('close() of a session on it ends within its second, and twice is once', async () => {
    const session = await open({ url: proxyUrl });
    const states = statesOf(session);
    proxy.swallow();
    await Promise.all([session.close(), session.close()]);
    expect(states).toEqual([{ state: 'closed' }]);
  });

  test('close() while another connection is sought ends at once', async () => {
    const session = await open({ url: proxyUrl, reconnect: { delayMinMs: 60_000, delayMaxMs: 60_000 } });
    const states = statesOf(session);
    proxy.close();
    await expect.poll(() => session.state).toBe('reconnecting');
    await session.close();
    expect(states.map(({ state }) => state)).toEqual(['reconnecting', 'closed']);
  });
});

describe('why there is no connection is told, as far as it is known', () => {
  async function refusalOf(port: number, options: Partial<ConnectTelemetryOptions> = {}): Promise<SightlineError> {
    const failed = connectTelemetry({ url: `ws://127.0.0.1:${port}/`, ...options });
    return (await failed.then(
      () => undefined,
      (thrown: unknown) => thrown,
    )) as SightlineError;
  }

  async function answering(status: number, body: string): Promise<Server> {
    const server = createHttpServer((_, response) => response.end());
    server.on('upgrade', (_, socket) =>
      socket.end(
        `HTTP/1.1 ${status} No\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
      ),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  }

  const portOf = (server: Server) => (server.address() as AddressInfo).port;

  test('nobody listens', async () => {
    const probe = await answering(200, '');
    const port = portOf(probe);
    await new Promise((resolve) => probe.close(resolve));
    expect(await refusalOf(port)).toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringMatching(`^no session at 127.0.0.1:${port}: connect ECONNREFUSED`),
    });
    const own = { WebSocket: globalThis.WebSocket as never };
    expect(await refusalOf(port, own)).toMatchObject({ code: 'CONNECTION_FAILED' });
  });

  test.each([
    [
      'a Sightline',
      403,
      '{"error":{"code":"ORIGIN_FORBIDDEN","message":"not from there"}}',
      'ORIGIN_FORBIDDEN',
      /: not from there$/,
    ],
    [
      'a newer one',
      403,
      '{"error":{"code":"toString","message":"x"}}',
      'CONNECTION_FAILED',
      /HTTP status 403 and no WebSocket$/,
    ],
    ['something else', 404, '<html>', 'CONNECTION_FAILED', /HTTP status 404 and no WebSocket$/],
    ['half an answer', 502, 'null', 'CONNECTION_FAILED', /HTTP status 502 and no WebSocket$/],
  ])('%s answers with HTTP', async (_, status, body, code, message) => {
    const server = await answering(status, body);
    expect(await refusalOf(portOf(server))).toMatchObject({ code, message: expect.stringMatching(message) });
    server.close();
  });

  test('a server of another protocol', async () => {
    const other = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => false });
    await once(other, 'listening');
    expect(await refusalOf((other.address() as AddressInfo).port)).toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringMatching(/: it does not speak sightline\.v1\.binary$/),
    });
    for (const socket of other.clients) socket.terminate();
    other.close();
  });
});

test('a server that takes the connection and says nothing is given up, and nothing of it is left open', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const url = `ws://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const opening = connectTelemetry({ url, WebSocket });
    opening.catch(() => {});
    const [socket] = (await once(silent, 'connection')) as [Socket];
    socket.on('error', () => {}).resume();
    await once(socket, 'data');
    const closed = once(socket, 'close');
    vi.advanceTimersByTime(10_000);
    await expect(opening).rejects.toMatchObject({
      code: 'CONNECTION_FAILED',
      message: expect.stringContaining('no welcome'),
    });
    await closed;
  } finally {
    vi.useRealTimers();
    silent.close();
  }
});

describe('a name', () => {
  test('is free as soon as close() has resolved, and before', async () => {
    for (let i = 0; i < 5; i++) {
      for (const reconnect of [{}, false] as const) {
        const session = await open({ clientId: 'robot', reconnect });
        expect(session.welcome.resumed).toBe(false);
        session.publish('a', i);
        const beganMs = performance.now();
        await session.close();
        // On a machine that is so busy it has not waited for the server's answer.
        if (performance.now() - beganMs > 900) await expect.poll(() => bench.session('robot')).toBeUndefined();
      }
    }
  });

  test('that another program takes over with its token is lost for good', async () => {
    const session = await open({ clientId: 'robot' });
    const states = statesOf(session);
    await open({ clientId: 'robot', token: session.welcome.token });
    await expect.poll(() => states.at(-1)).toMatchObject({ state: 'closed', error: { code: 'SESSION_TAKEN_OVER' } });
  });
});

describe('a program that is started again', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-token-'));
    path = join(folder, 'token');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** What a program that was killed leaves: a server that waits for it. */
  async function killed(options: Partial<ConnectTelemetryOptions>): Promise<string> {
    const sockets: WebSocket[] = [];
    class Seen extends WebSocket {
      constructor(url: string, protocol?: string) {
        super(url, protocol);
        sockets.push(this);
      }
    }
    const session = await connectTelemetry({ url: bench.url(), reconnect: false, ...options, WebSocket: Seen });
    await session.publish('a', 'before', { reliable: true });
    const { client_id: id } = session.welcome;
    sockets.at(-1)!.terminate();
    await expect.poll(() => bench.session(id)?.connected).toBe(false);
    return id;
  }

  test('has its name back at once with a file, and can publish reliably; the file is its owner’s alone', async () => {
    await killed({ clientId: 'robot', tokenStore: tokenFile(path) });
    await expect(open({ clientId: 'robot', reconnect: false })).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    const session = await open({ clientId: 'robot', tokenStore: tokenFile(path) });
    await session.publish('a', 'after', { reliable: true });
    expect(bench.topics.get('a')!.lastSeq).toBe(2);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['token']);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ token: session.welcome.token });
  });

  test('has a name that the server made up as well', async () => {
    const id = await killed({ tokenStore: tokenFile(path) });
    expect((await open({ tokenStore: tokenFile(path) })).welcome.client_id).toBe(id);
  });

  test('wins it back from a newcomer that has published meanwhile; that one is told and does not come back', async () => {
    const clock = new ManualClock();
    const own = await new TelemetryBench({}, { clock }).start();
    const url = own.url();
    try {
      const first = await connectTelemetry({ url, clientId: 'robot', tokenStore: tokenFile(path), WebSocket });
      await first.publish('a', 1, { reliable: true });
      const { token } = first.welcome;
      for (const socket of own.sockets.clients) socket.terminate();
      // Its own attempt to come back is not waited for.
      writeFileSync(join(folder, 'kept'), readFileSync(path));
      await first.close();
      await expect.poll(() => own.session('robot')?.connected ?? false).toBe(false);
      const newcomer = await newcomerOf(own, clock);
      const states = statesOf(newcomer);
      await newcomer.publish('a', 2, { reliable: true });
      const back = await connectTelemetry({
        url,
        clientId: 'robot',
        tokenStore: tokenFile(join(folder, 'kept')),
        WebSocket,
      });
      expect(back.welcome.token).not.toBe(token);
      await expect.poll(() => states.at(-1)).toMatchObject({ state: 'closed', error: { code: 'SESSION_TAKEN_OVER' } });
      await back.publish('a', 3, { reliable: true });
      expect(own.topics.get('a')!.lastSeq).toBe(3);
      await back.close();
    } finally {
      await own.stop();
    }
  });

  async function newcomerOf(own: TelemetryBench, clock: ManualClock): Promise<TelemetrySession> {
    clock.advance(3_000);
    return await connectTelemetry({ url: own.url(), clientId: 'robot', WebSocket });
  }

  test.each([
    ['rubbish', 'no token at all'],
    ['an empty file', ''],
    ['half a file', '{"lane":"/ws/telemetry","client_id":"robot","tok'],
    ['JSON of something else', '[1, 2]'],
    ['null', 'null'],
    ['a token of another lane', JSON.stringify({ lane: '/ws/video', client_id: 'robot', token: 'x' })],
    ['the token of another name', JSON.stringify({ lane: '/ws/telemetry', client_id: 'crane', token: 'x' })],
    ['more than a token', 'x'.repeat(100_000)],
  ])('%s makes a new session, which is told', async (_, text) => {
    writeFileSync(path, text);
    const session = await open({ clientId: 'robot', tokenStore: tokenFile(path) });
    const errors: SightlineError[] = [];
    session.on('error', ({ error }) => errors.push(error));
    await expect.poll(() => errors.map(({ code }) => code)).toEqual(['TOKEN_STORE_BAD']);
    expect(session.welcome.client_id).toBe('robot');
    // And the next run has its name.
    expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ client_id: 'robot', token: session.welcome.token });
  });

  test('a store of one’s own may be asynchronous, and may fail', async () => {
    const texts: string[] = [];
    const store: TokenStore = {
      load: async () => texts.at(-1),
      save: async (text) => void texts.push(text),
    };
    const id = await killed({ tokenStore: store });
    expect((await open({ tokenStore: store })).welcome.client_id).toBe(id);
    expect(texts).toHaveLength(2);
    const broken: TokenStore = {
      load: () => Promise.reject(new Error('the disk is gone')),
      save: () => {
        throw new Error('still gone');
      },
    };
    const session = await open({ tokenStore: broken });
    const errors: string[] = [];
    session.on('error', ({ error }) => errors.push(error.message));
    await expect
      .poll(() => errors)
      .toEqual(['the token store fails: the disk is gone', 'the token store fails: still gone']);
    await session.publish('a', 1, { reliable: true });
  });

  test('a folder that is not there is told', async () => {
    const session = await open({ tokenStore: tokenFile(join(folder, 'none', 'token')) });
    const errors: SightlineError[] = [];
    session.on('error', ({ error }) => errors.push(error));
    await expect.poll(() => errors.map(({ code }) => code)).toEqual(['TOKEN_STORE_BAD']);
  });
});

test('a program may publish on ever new topics for years, as long as the old ones are forgotten', async () => {
  const clock = new ManualClock();
  const own = await new TelemetryBench({ topicsMax: 100, subscriptionsMax: 1_000 }, { clock }).start();
  const session = await connectTelemetry({ url: own.url(), WebSocket });
  try {
    await session.publish('state', 'reliable', { reliable: true });
    for (let day = 0; day < 15; day++) {
      const names = Array.from({ length: 90 }, (_, n) => `job/${day}/${n}`);
      for (const name of names) session.publish(name, { name });
      // Behind them all.
      await session.publish('state', day, { reliable: true });
      const made = own.topics.list().filter(({ name }) => name !== 'state');
      expect(made.map(({ name }) => name)).toEqual(names);
      const told = made.map(({ stream }) => [...stream.history(0)].map(({ data }) => data.payload.value()));
      expect(told).toEqual(names.map((name) => [{ name }]));
      clock.advance(60_000);
      own.topics.sweep();
    }
    expect(session.metrics()).toMatchObject({ errors: 0, publish: { sent: 1_350, waiting: 0, confirmed: 16 } });
  } finally {
    await session.close();
    await own.stop();
  }
});

describe.each([-10 * YEAR_MS, 2 * YEAR_MS, -3_600_000, 5_000])('a clock that is set by %d ms', (byMs) => {
  const NEAR_MS = 2_000;
  const near = (timeMs: number, wantedMs: number) => expect(Math.abs(timeMs - wantedMs)).toBeLessThan(NEAR_MS);

  test('on the robot changes no message’s time, told or not, from the next message on', async () => {
    const clock = new SettableClock();
    clock.aheadMs = -byMs;
    const robot = await open({ clock });
    const reader = await open();
    const subscription = reader.subscribe('imu', { contract: 'all' });
    const got: { timeMs: number; latencyMs: number }[] = [];
    subscription.onTelemetry((messages, _, latencyMs) => got.push({ timeMs: messages[0]!.timeMs, latencyMs }));
    await subscription.ready;
    const robotSays = () => clock.now() + clock.aheadMs;
    for (const aheadMs of [-byMs, 0]) {
      clock.aheadMs = aheadMs;
      robot.publish('imu', { told: true }, { timeMs: robotSays() });
      await expect.poll(() => got.length).toBeGreaterThan(0);
      robot.publish('imu', { told: false });
      await expect.poll(() => got.length).toBe(2);
      for (const { timeMs, latencyMs } of got.splice(0)) {
        near(timeMs, serverClock.now());
        near(latencyMs, 0);
      }
      near(robot.toServerTimeMs(robotSays()), serverClock.now());
      near(robot.metrics().clock.offsetMs, -aheadMs);
    }
  });

  test('on the server is heard by its clients with the next exchange, and the times of messages follow', async () => {
    const robot = await open({ lineTimeoutMs: 200 });
    const reader = await open({ lineTimeoutMs: 200 });
    const subscription = reader.subscribe('imu', { contract: 'all' });
    let last: { timeMs: number; latencyMs: number; receivedTimeMs: number } | undefined;
    void (async () => {
      for await (const { messages, latencyMs, receivedTimeMs } of subscription) {
        last = { timeMs: messages[0]!.timeMs, latencyMs, receivedTimeMs };
      }
    })();
    await subscription.ready;
    await expect.poll(() => robot.metrics().clock.uncertaintyMs).toBeLessThan(1_000);
    serverClock.aheadMs = byMs;
    for (const session of [robot, reader]) {
      await expect.poll(() => Math.abs(session.metrics().clock.offsetMs - byMs)).toBeLessThan(NEAR_MS);
    }
    robot.publish('imu', 1);
    await expect.poll(() => last).toBeDefined();
    near(last!.timeMs, systemClock.now() + byMs);
    near(last!.latencyMs, 0);
    near(last!.receivedTimeMs, systemClock.now());
    expect([robot.state, reader.state]).toEqual(['open', 'open']);
  });
});
