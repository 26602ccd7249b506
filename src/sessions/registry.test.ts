import { once } from 'node:events';
import type { Socket } from 'node:net';
import { WebSocketServer, WebSocket } from 'ws';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ANYONE } from '../../test/support/access.ts';
import { ManualClock } from '../base/clock.ts';
import type { SightlineError } from '../base/errors.ts';
import { openFences } from '../fences/fences.ts';
import { SessionRegistry, type ClaimedIdentity } from './registry.ts';
import { SessionSocket, endSocket } from './session-socket.ts';

const SETTINGS = { idleTimeoutMs: 300_000, resumeWindowMs: 30_000, sessionsMax: 4 };
const KEEP_ALIVE = { pingIntervalMs: 20_000, pongTimeoutMs: 10_000 };

class TestSession {
  readonly link: SessionSocket;
  ended: SightlineError | undefined;
  /** What its next messages take. */
  work: Promise<void> | undefined;

  constructor(clientId: string, clock: ManualClock) {
    this.link = new SessionSocket({
      lane: 'test',
      clientId,
      host: { clock, settings: KEEP_ALIVE, fences: openFences({ clock }) },
      owner: this,
    });
  }

  get lastActivityMs(): number {
    return this.link.lastActivityMs;
  }

  close(reason: SightlineError): void {
    this.ended ??= reason;
    this.link.end(reason);
  }

  endSocket(socket: WebSocket, reason: SightlineError): void {
    endSocket(socket, '', reason);
  }

  onMessage(): Promise<void> | undefined {
    return this.work;
  }
  onLost(): void {}
}

let clock: ManualClock;
let registry: SessionRegistry<TestSession>;
let server: WebSocketServer;

beforeEach(async () => {
  clock = new ManualClock();
  registry = new SessionRegistry<TestSession>({ kind: 'test', clock, settings: SETTINGS });
  server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
});

afterEach(() => {
  registry.close();
  for (const socket of server.clients) socket.terminate();
  server.close();
});

const claim = (wanted: Partial<ClaimedIdentity>) =>
  registry.claim(
    { clientId: 'robot', token: undefined, principal: ANYONE, ...wanted },
    (id) => new TestSession(id, clock),
  );

/** A client that has its session and has said something in it. */
async function connected(wanted: Partial<ClaimedIdentity> = {}): Promise<{ session: TestSession; client: WebSocket }> {
  const { session } = await claim(wanted);
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as { port: number }).port}`);
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [WebSocket];
  if (client.readyState !== WebSocket.OPEN) await once(client, 'open');
  session.link.connect(socket, wanted.principal ?? ANYONE, '127.0.0.1');
  client.send('x');
  await expect.poll(() => session.link.wasUsed).toBe(true);
  return { session, client };
}

async function cutOff({ session, client }: { session: TestSession; client: WebSocket }): Promise<TestSession> {
  client.terminate();
  await expect.poll(() => session.link.socket).toBeUndefined();
  return session;
}

describe('a name', () => {
  test('is held by who has a socket, however long', async () => {
    const { session } = await connected();
    clock.advance(100_000);
    await expect(claim({})).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    await expect(claim({ token: 'x'.repeat(session.link.token.length) })).rejects.toMatchObject({
      code: 'SESSION_NAME_IN_USE',
    });
    expect((await claim({ token: session.link.token })).session).toBe(session);
  });

  test('that somebody wants has its holder asked whether it is there, ahead of the next ping', async () => {
    const { client } = await connected();
    const pinged = once(client, 'ping');
    await expect(claim({})).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    await pinged;
  });

  test('is free as soon as its client has closed with 1000, before the connection is down', async () => {
    const { session, client } = await connected();
    const socket = session.link.socket!;
    const closed = once(client, 'close');
    client.close(1000);
    await closed;
    // As if the server's own close were still to come.
    expect([undefined, socket]).toContain(session.link.socket);
    const next = await claim({ token: session.link.token });
    expect(next).toMatchObject({ resumed: false });
    expect(session.ended?.message).toBe('the client has left');
  });

  /** Its last message and its close come at once; resolves when the client has the server's answer. */
  async function leftAtWork(work: Promise<void>): Promise<TestSession> {
    const { session, client } = await connected();
    session.work = work;
    const { _socket: raw } = client as unknown as { readonly _socket: Socket };
    const closed = once(client, 'close');
    raw.cork();
    client.send('last');
    client.close(1000);
    raw.uncork();
    await closed;
    expect(session.link.socket).toBeDefined();
    return session;
  }

  test('is free as soon as what its client has sent before it closed is worked on: who wants it waits for that', async () => {
    const work = Promise.withResolvers<void>();
    const session = await leftAtWork(work.promise);
    const claims = Promise.allSettled([claim({}), claim({})]);
    setImmediate(work.resolve);
    const outcomes = await claims;
    expect(session.ended?.message).toBe('the client has left');
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  });

  test('is taken where that takes longer than a second', async () => {
    const work = Promise.withResolvers<void>();
    await leftAtWork(work.promise);
    await expect(claim({})).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    work.resolve();
    expect(await claim({})).toMatchObject({ resumed: false });
  });

  test.each([4000, 1001, undefined])('is kept for a client that closes with %s: it may come back', async (code) => {
    const { session, client } = await connected();
    client.close(code);
    await expect.poll(() => session.link.socket).toBeUndefined();
    await expect(claim({})).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    expect(await claim({ token: session.link.token })).toMatchObject({ session, resumed: true });
  });

  test('without a socket for three seconds goes to a newcomer, as a new session', async () => {
    const lost = await cutOff(await connected());
    clock.advance(2_999);
    await expect(claim({})).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    clock.advance(1);
    const { session, resumed } = await claim({});
    expect(resumed).toBe(false);
    expect(session.link.token).not.toBe(lost.link.token);
    expect(lost.ended?.code).toBe('SESSION_TAKEN_OVER');
    expect([...registry.sessions]).toEqual([session]);
  });

  test('goes back to who had it before and has the old token; the newcomer is told and ended', async () => {
    const lost = await cutOff(await connected());
    clock.advance(5_000);
    const newcomer = await connected();
    const closed = once(newcomer.client, 'close');
    const back = await claim({ token: lost.link.token });
    expect(back.resumed).toBe(false);
    expect((await closed)[0]).toBe(4409);
    expect(newcomer.session.ended?.code).toBe('SESSION_TAKEN_OVER');
    // Who was ended has no right to it any more, whatever it knows; nor has the old token a second time.
    await cutOff(await connected({ token: back.session.link.token }));
    for (const { link } of [newcomer.session, lost]) {
      await expect(claim({ token: link.token })).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    }
  });

  test('of many in turn goes to the earliest that comes back', async () => {
    const had: TestSession[] = [];
    for (let i = 0; i < 3; i++) {
      had.push(await cutOff(await connected()));
      clock.advance(3_000);
    }
    await connected();
    await connected({ token: had[1]!.link.token });
    await expect(claim({ token: had[2]!.link.token })).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
    const first = await claim({ token: had[0]!.link.token });
    expect([...registry.sessions]).toEqual([first.session]);
  });

  test('is forgotten to have been somebody’s when that session would have ended', async () => {
    const lost = await cutOff(await connected());
    clock.advance(5_000);
    await connected();
    clock.advance(SETTINGS.resumeWindowMs);
    await expect(claim({ token: lost.link.token })).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE' });
  });

  test('of one’s own, with the token, can begin anew: the old session is ended', async () => {
    const { session: old, client } = await connected();
    const closed = once(client, 'close');
    const { session, resumed } = await claim({ token: old.link.token, isAnew: true });
    expect([resumed, session === old]).toEqual([false, false]);
    expect(old.ended?.code).toBe('SESSION_TAKEN_OVER');
    await closed;
  });
});

test('a session whose client has left makes room by itself', async () => {
  const { session, client } = await connected();
  client.close(1000);
  await expect.poll(() => registry.size, { timeout: 5_000 }).toBe(0);
  expect(session.ended?.message).toBe('the client has left');
});
