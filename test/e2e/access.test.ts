import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { allows, allowsSome, parseGrant } from '../../src/auth/grants.ts';
import { Priority } from '../../src/base/sample.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { connectVideo } from '../../src/client/video.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../../src/protocol/telemetry.ts';
import { runHere } from '../support/command.ts';
import { JPEGS } from '../support/jpegs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { TelemetryTestClient } from '../support/telemetry-client.ts';

/** A server that asks for a key: who comes in by which door, and what it may do there. */

/** What needs no key. A new row of it is a decision. */
const PUBLIC = [
  'GET /-/ready',
  'GET /api/docs',
  'GET /api/me',
  'GET /api/openapi.json',
  'GET /ca.crt',
  'GET /health',
  'GET /licences',
  'POST /api/login',
  'POST /api/logout',
];

let folder: string;
let keysFile: string;
let server: ServerProcess;
let admin: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-access-'));
  keysFile = join(folder, 'keys.json');
  admin = await addKey('operator', 'admin');
  server = await ServerProcess.start(['serve', '--set', `auth.keys_file=${keysFile}`]);
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

let made = 0;
async function addKey(name: string | undefined, ...allow: string[]): Promise<string> {
  const key = newKey(allow, name);
  await keep(key);
  return key.text;
}

/** One for each of what is allowed. The server takes them up together. */
async function addKeys<const Allowed extends readonly (readonly string[])[]>(allowed: Allowed) {
  const keys = allowed.map((allow) => newKey(allow));
  await keep(...keys);
  return keys.map(({ text }) => text) as { [K in keyof Allowed]: string };
}

function newKey(allow: readonly string[], name = `key${++made}`) {
  return makeKey({ name, grants: allow.map(parseGrant), createdMs: Date.now() });
}

async function keep(...added: readonly ReturnType<typeof makeKey>[]): Promise<void> {
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [...ring.keys, ...added.map(({ key }) => key)] }));
  if (!server) return;
  // The server takes them up within a second.
  for (const { key, text } of added)
    await expect.poll(async () => (await ask('/api/me', text)).body.name).toBe(key.name);
}

const revoke = (text: string) =>
  changeKeys(keysFile, (ring) => ({ ...ring, keys: ring.keys.filter(({ id }) => id !== text.split('_')[1]) }));

interface Answer {
  readonly status: number;
  readonly body: { readonly error?: { readonly code: string } } & Record<string, unknown>;
  readonly headers: Headers;
}

async function ask(path: string, key?: string, init: RequestInit = {}): Promise<Answer> {
  const headers = { ...init.headers, ...(key !== undefined && { Authorization: `Bearer ${key}` }) };
  const response = await fetch(server.url + path, { ...init, headers, signal: AbortSignal.timeout(5_000) });
  // An event stream has no end.
  const isEvents = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  if (isEvents) await response.body!.cancel();
  const text = isEvents ? '' : await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson && text !== '' ? JSON.parse(text) : {}, headers: response.headers };
}

interface Operation {
  readonly 'x-permission': { readonly action: string; readonly resource?: string };
}

/** Every operation of the document, with the permission that it names, its parameters filled in. */
async function operations() {
  const { body } = await ask('/api/openapi.json');
  const paths = body['paths'] as Record<string, Record<string, Operation>>;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { 'x-permission': permission }]) => ({
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path: path.replaceAll(/\{\w+\}/g, 'x'),
      action: permission.action,
      resource: permission.resource?.replaceAll(/\{\w+\}/g, 'x'),
      /** What the path leaves open is asked for by the handler: whoever may use any of it comes in. */
      open: path.includes('{') ? undefined : permission.resource?.match(/^(.*)\/\{\w+\}$/)?.[1],
    })),
  );
}

/** The status of a handshake: 101, or a refusal with its code. */
async function handshake(path: string, { key, protocols = [] }: { key?: string; protocols?: string[] } = {}) {
  const query = key === undefined ? '' : `?access_token=${key}`;
  const socket = new WebSocket(server.ws(path + query), protocols);
  return await new Promise<{ status: number; socket: WebSocket }>((done) => {
    socket.on('error', () => undefined);
    socket.on('open', () => done({ status: 101, socket }));
    socket.on('unexpected-response', (request, response) => {
      done({ status: response.statusCode ?? 0, socket });
      request.destroy();
    });
  });
}

describe('every route', () => {
  test('needs a key, but for a few that are listed', async () => {
    const all = await operations();
    expect(all.length).toBeGreaterThan(20);
    expect(
      all
        .filter(({ action }) => action === 'public')
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(PUBLIC);
    for (const { name, method, path, action } of all) {
      if (action === 'public') continue;
      // A stream has no HEAD.
      if (method === 'GET') expect([401, 404], name).toContain((await ask(path, undefined, { method: 'HEAD' })).status);
      for (const key of [undefined, 'x', admin.replace(/.{4}$/, 'AAAA')]) {
        const { status, body, headers } = await ask(path, key, { method });
        expect([name, status, body.error?.code]).toEqual([
          name,
          401,
          key === undefined ? 'CREDENTIALS_MISSING' : 'CREDENTIALS_BAD',
        ]);
        expect(headers.get('www-authenticate')).toBe('Bearer');
      }
    }
  });

  test('needs the permission that its document names, and no other', async () => {
    const all = (await operations()).filter(({ action }) => action !== 'public' && action !== 'known');
    const needed = [...new Set(all.map(({ action, resource }) => `${action}:${resource}`))];
    // A key with each permission alone: it opens what that covers, and nothing else.
    const keys = await addKeys(needed.map((permission) => [permission]));
    for (const [i, permission] of needed.entries()) {
      const grants = [parseGrant(permission)];
      const key = keys[i]!;
      for (const { name, method, path, action, resource, open } of all) {
        // What it would do is of no matter here; a stream or a measurement would take its time.
        if (name === 'POST /api/performance/benchmark') continue;
        const { status, body } = await ask(path, key, { method });
        const isRefused = status === 403 && body.error?.code === 'PERMISSION_DENIED';
        const isAllowed = open
          ? allowsSome(grants, action as 'read', open)
          : allows(grants, action as 'read', resource!);
        expect([permission, name, isRefused]).toEqual([permission, name, !isAllowed]);
      }
    }
  });

  test('/health tells a stranger its status and nothing else', async () => {
    expect(Object.keys((await ask('/health')).body)).toEqual(['status']);
    expect(Object.keys((await ask('/health', await addKey(undefined, 'read:metrics'))).body)).toContain('version');
  });

  test('takes the key in the query as well, and says so to nobody', async () => {
    expect((await ask(`/api/config?access_token=${admin}`)).status).toBe(200);
    expect((await ask(`/api/config?access_token=${admin}x`)).status).toBe(401);
    expect(server.err).not.toContain(admin.slice(-20));
  });

  test.each(['Basic dXNlcjpwYXNz', 'Bearer', 'Bearer a b', ''])(
    '"Authorization: %s" is no key',
    async (Authorization) => {
      const { status, body } = await ask('/api/config', undefined, { headers: { Authorization } });
      expect([status, body.error?.code]).toEqual([401, 'CREDENTIALS_BAD']);
    },
  );
});

describe('a ticket', () => {
  const issue = (path: unknown, key?: string, headers: Record<string, string> = {}) =>
    ask('/api/tickets', key, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ path }),
    });

  test('lets in at one address, with what its holder may do there, and says so to nobody', async () => {
    const reader = await addKey(undefined, 'read:config', 'subscribe:topics/a/#');
    const { status, body, headers } = await issue('/api/config', reader);
    expect([status, body['expires_in_s'], headers.get('cache-control')]).toEqual([200, 60, 'no-store']);
    const ticket = String(body['ticket']);
    for (const name of ['ticket', 'ticket', 'access_token']) {
      expect((await ask(`/api/config?${name}=${ticket}`)).status).toBe(200);
    }
    expect((await ask(`/api/config?ticket=${ticket}`, undefined, { method: 'PUT' })).status).toBe(401);
    expect((await ask(`/api/performance/metrics?ticket=${ticket}`)).status).toBe(401);
    const other = String((await issue('/api/performance/metrics', reader)).body['ticket']);
    expect((await ask(`/api/performance/metrics?ticket=${other}`)).status).toBe(403);
    const { body: figures } = await ask('/api/me', undefined);
    expect(figures.name).toBe(null);
    expect(server.err).not.toContain(ticket.slice(-20));
    await revoke(reader);
    await expect.poll(async () => (await ask(`/api/config?ticket=${ticket}`)).status).toBe(401);
  });

  test('opens one WebSocket, which ends with the credential behind it', async () => {
    const key = await addKey(undefined, 'subscribe:topics/a/#');
    const ticket = String((await issue('/ws/telemetry', key)).body['ticket']);
    const path = `/ws/telemetry?ticket=${ticket}`;
    const { status, socket } = await handshake(path, { protocols: [...TELEMETRY_SUBPROTOCOLS] });
    expect(status).toBe(101);
    expect((await handshake(path, { protocols: [...TELEMETRY_SUBPROTOCOLS] })).status).toBe(401);
    const closed = once(socket, 'close');
    await revoke(key);
    expect((await closed)[0]).toBe(4401);
  });

  test('needs somebody who has come in, and a path; another site has none by the cookie', async () => {
    expect((await issue('/ws/video')).body.error?.code).toBe('CREDENTIALS_MISSING');
    expect((await issue('/ws/video', 'x')).body.error?.code).toBe('CREDENTIALS_BAD');
    const own = String((await issue('/api/tickets', admin)).body['ticket']);
    expect((await issue('/ws/video', own)).status).toBe(401);
    for (const path of ['ws/video', 'http://x/', '/a?b', '/a#b', '', 7, `/${'x'.repeat(300)}`]) {
      expect([path, (await issue(path, admin)).status]).toEqual([path, 400]);
    }
    expect((await issue('/ws/video', admin, { Origin: 'https://evil.example' })).status).toBe(403);
  });
});

describe('every socket', () => {
  test('needs a key with one of its permissions', async () => {
    const { body } = await ask('/api/openapi.json');
    const sockets = body['x-websockets'] as {
      path: string;
      protocols?: string[];
      'x-permission': { action: string; resource: string }[];
    }[];
    expect(sockets.length).toBeGreaterThan(3);
    const [reader, driver] = await addKeys([['read'], ['admin:config']]);
    for (const { path, protocols, 'x-permission': permissions } of sockets) {
      const offered = protocols ? { protocols } : {};
      expect([path, (await handshake(path, offered)).status]).toEqual([path, 401]);
      expect([path, (await handshake(path, { ...offered, key: 'x' })).status]).toEqual([path, 401]);
      const other = permissions.some(({ action }) => action === 'read') ? driver : reader;
      expect([path, (await handshake(path, { ...offered, key: other! })).status]).toEqual([path, 403]);
      const keys = await addKeys(
        permissions.map(({ action, resource }) => [`${action}:${resource.replaceAll(/\{\w+\}/g, '+')}`]),
      );
      for (const [i, { action }] of permissions.entries()) {
        const key = keys[i]!;
        const { status, socket } = await handshake(path, { ...offered, key });
        expect([path, action, status]).toEqual([path, action, 101]);
        socket.terminate();
      }
    }
  });

  test.each([
    ['/ws/video', []],
    ['/ws/telemetry', [...TELEMETRY_SUBPROTOCOLS]],
    ['/ws/foxglove', ['foxglove.sdk.v1']],
  ])('%s ends within a second after its key was revoked', async (path, protocols) => {
    const key = await addKey(undefined, 'publish', 'subscribe');
    const other = await handshake(path, { key: admin, protocols });
    const { socket } = await handshake(path, { key, protocols });
    const closed = once(socket, 'close');
    const revokedMs = performance.now();
    await revoke(key);
    const [code] = (await closed) as [number];
    expect(code).toBe(4401);
    // A second, and a busy machine's tenth.
    expect(performance.now() - revokedMs).toBeLessThan(10_000);
    expect(other.socket.readyState).toBe(WebSocket.OPEN);
    other.socket.terminate();
  });

  test('an event stream ends with its key, and needs no token of the session beside it', async () => {
    const session = await connectVideo({ url: server.url, clientId: 'gate-4', accessToken: admin });
    const key = await addKey(undefined, 'subscribe:sessions/gate-4');
    const path = '/stream/events/gate-4';
    expect((await ask('/stream/events/gate-5', key)).status).toBe(403);
    const response = await fetch(server.url + path, { headers: { Authorization: `Bearer ${key}` } });
    expect(response.status).toBe(200);
    await revoke(key);
    const end = await response.text().then(
      () => 'ended',
      () => 'cut',
    );
    expect(['ended', 'cut']).toContain(end);
    await session.close();
  });
});

describe('a key for some streams', () => {
  test('sends frames as the cameras that it names', async () => {
    const accessToken = await addKey(undefined, 'publish:sessions/gate-4');
    await expect(connectVideo({ url: server.url, clientId: 'gate-5', accessToken })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    // Whatever name the server would make up is not the one that it may have.
    await expect(connectVideo({ url: server.url, accessToken })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await using session = await connectVideo({ url: server.url, clientId: 'gate-4', accessToken, budgetMs: 30_000 });
    const results = session.results();
    session.send({ jpeg: JPEGS.sampling440 });
    for await (const { result } of results) {
      expect(result).toMatchObject({ client_id: 'gate-4', seq: 1 });
      break;
    }
  });

  test('reads and publishes the topics that it names', async () => {
    const key = await addKey(undefined, 'publish:topics/a/#', 'subscribe:topics/b/#');
    const client = await TelemetryTestClient.open(server.ws(`/ws/telemetry?access_token=${key}`));
    for (const [id, filter] of ['b/#', 'b/x', 'b/+', '#', '+/x', 'a/x', 'c'].entries()) {
      client.send({ type: 'subscribe', id, filter, contract: 'all' });
    }
    await client.settled();
    expect(client.of('subscribed').map(({ filter }) => filter)).toEqual(['b/#', 'b/x', 'b/+']);
    expect(client.of('error').map(({ id, code }) => [id, code])).toEqual(
      [3, 4, 5, 6].map((id) => [id, 'PERMISSION_DENIED']),
    );
    client.send({ type: 'publish', topic: 'a/x', data: 1 });
    client.send({ type: 'publish', topic: 'b/x', data: 2 });
    client.send({ type: 'advertise', alias: 1, topic: 'b/x' });
    await client.settled();
    expect(
      client
        .of('error')
        .slice(4)
        .map(({ topic, code }) => [topic, code]),
    ).toEqual([
      ['b/x', 'PERMISSION_DENIED'],
      ['b/x', 'PERMISSION_DENIED'],
    ]);
    expect(client.received).toEqual([]);
    await client.close();
  });

  test('claims class critical only where that is among its permissions', async () => {
    const plainly = ['publish:topics/a/#', 'publish:sessions/+'];
    const [plain, urgent] = await addKeys([plainly, [...plainly, 'publish:priority/critical']]);
    const priority = Priority.critical;
    await expect(connectVideo({ url: server.url, accessToken: plain, priority })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    for (const [accessToken, refused] of [
      [plain, true],
      [urgent, false],
    ] as const) {
      await using video = await connectVideo({ url: server.url, accessToken, budgetMs: 30_000 });
      const said: string[] = [];
      video.on('error', ({ error }) => said.push(error.code));
      video.on('result', () => said.push('result'));
      video.send({ jpeg: JPEGS.sampling440, priority });
      await expect.poll(() => said).toEqual([refused ? 'PERMISSION_DENIED' : 'result']);
      await using telemetry = await connectTelemetry({ url: server.url, accessToken });
      const published = telemetry.publish('a/x', 1, { reliable: true, priority }).then(
        () => 'confirmed',
        ({ code }: { code: string }) => code,
      );
      expect(await published).toBe(refused ? 'PERMISSION_DENIED' : 'confirmed');
    }
  });

  test('a reliable publication where it may not is refused, and the next one passes', async () => {
    const accessToken = await addKey(undefined, 'publish:topics/a/#');
    await using session = await connectTelemetry({ url: server.url, accessToken });
    await expect(session.publish('b/x', 1, { reliable: true })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await session.publish('a/x', 1, { reliable: true });
    const subscription = session.subscribe('a/x');
    await expect(subscription.ready).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
  });

  test('a Foxglove viewer knows the topics that its key may read, and no others', async () => {
    await using session = await connectTelemetry({ url: server.url, accessToken: admin });
    await Promise.all(['seen/a', 'secret/b'].map((topic) => session.publish(topic, { x: 1 }, { reliable: true })));
    const key = await addKey(undefined, 'subscribe:topics/seen/#', 'publish:topics/out/#');
    using viewer = await foxgloveViewer(admin);
    const all = viewer.channels;
    expect([...all.keys()]).toEqual(expect.arrayContaining(['seen/a', 'secret/b']));
    const socket = new WebSocket(server.ws(`/ws/foxglove?access_token=${key}`), 'foxglove.sdk.v1');
    const messages: { op: string; message?: string; channels?: { topic: string }[]; parameters?: unknown[] }[] = [];
    socket.on('message', (data, isBinary) => {
      if (!isBinary) messages.push(JSON.parse(String(data)));
    });
    await once(socket, 'open');
    const texts = () => messages.filter(({ op }) => op === 'status').map(({ message }) => message);
    socket.send(JSON.stringify({ op: 'subscribe', subscriptions: [{ id: 1, channelId: all.get('secret/b') }] }));
    socket.send(JSON.stringify({ op: 'subscribe', subscriptions: [{ id: 2, channelId: all.get('seen/a') }] }));
    const channel = (id: number, topic: string) => ({ id, topic, encoding: 'json', schemaName: '' });
    socket.send(JSON.stringify({ op: 'advertise', channels: [channel(1, 'out/a'), channel(2, 'seen/a')] }));
    socket.send(JSON.stringify({ op: 'getParameters', parameterNames: [], id: 'p' }));
    await expect.poll(() => messages.find(({ op }) => op === 'parameterValues')?.parameters).toEqual([]);
    expect(texts()).toEqual([
      expect.stringContaining('SUBSCRIPTION_UNKNOWN'),
      expect.stringContaining('PERMISSION_DENIED'),
    ]);
    const told = messages.flatMap(({ op, channels = [] }) => (op === 'advertise' ? channels : []));
    expect(told.map(({ topic }) => topic)).toEqual(['seen/a']);
    socket.terminate();
  });

  test('a name belongs to the key that took it, whatever token another one has', async () => {
    const [one, two] = await addKeys([['publish:topics/#'], ['publish:topics/#']]);
    const first = await connectTelemetry({ url: server.url, clientId: 'rover7', accessToken: one });
    const { token } = first.welcome;
    await expect(
      connectTelemetry({ url: server.url, clientId: 'rover7', token, accessToken: two, reconnect: false }),
    ).rejects.toMatchObject({ code: 'SESSION_NAME_IN_USE', message: expect.stringContaining('another key') });
    // With the key it is free.
    await revoke(one);
    await expect
      .poll(async () => {
        const session = await connectTelemetry({
          url: server.url,
          clientId: 'rover7',
          accessToken: two,
          reconnect: false,
        }).catch(() => undefined);
        await session?.close();
        return session !== undefined;
      })
      .toBe(true);
    await first.close();
  });

  test('a session renews its key, and loses no message by it', async () => {
    const keys = [await addKey(undefined, 'subscribe:topics/renewed/#')];
    await using source = await connectTelemetry({ url: server.url, accessToken: admin });
    await using session = await connectTelemetry({ url: server.url, accessToken: () => keys.at(-1)! });
    const subscription = session.subscribe('renewed/x', { contract: 'reliable' });
    const received: unknown[] = [];
    subscription.onTelemetry((messages) => void received.push(...messages.map(({ data }) => data)));
    await subscription.ready;
    await source.publish('renewed/x', 1, { reliable: true });
    await expect.poll(() => received).toEqual([1]);
    const old = keys[0]!;
    keys.push(await addKey(undefined, 'subscribe:topics/renewed/#'));
    const states: string[] = [];
    session.on('state', ({ state }) => states.push(state));
    await revoke(old);
    await expect.poll(() => states).toContain('reconnecting');
    await source.publish('renewed/x', 2, { reliable: true });
    await expect.poll(() => received).toEqual([1, 2]);
    // And again, whatever has happened to its connections before.
    const second = keys.at(-1)!;
    keys.push(await addKey(undefined, 'subscribe:topics/renewed/#'));
    await revoke(second);
    await expect.poll(() => states).toEqual(['reconnecting', 'open', 'reconnecting', 'open']);
    await source.publish('renewed/x', 3, { reliable: true });
    await expect.poll(() => received).toEqual([1, 2, 3]);
  });
});

/** The channels keep their numbers for as long as somebody is there. */
async function foxgloveViewer(key: string): Promise<Disposable & { readonly channels: Map<string, number> }> {
  const channels = new Map<string, number>();
  const socket = new WebSocket(server.ws(`/ws/foxglove?access_token=${key}`), 'foxglove.sdk.v1');
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? {} : (JSON.parse(String(data)) as { channels?: { id: number; topic: string }[] });
    for (const { id, topic } of message.channels ?? []) channels.set(topic, id);
  });
  await expect.poll(() => channels.has('seen/a') && channels.has('secret/b')).toBe(true);
  return {
    channels,
    [Symbol.dispose]: () => socket.terminate(),
  };
}

describe('who is known elsewhere', () => {
  test('comes in by a token of the identity provider, until it is revoked', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] };
    await using provider = await answering(() => jwks);
    const settings = { jwks_url: provider.url, issuer: 'https://id.example', audience: 'sightline' };
    await using other = await ServerProcess.start([
      'serve',
      '--set',
      `auth.keys_file=${join(folder, 'tokens.json')}`,
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `auth.jwt.${key}=${value}`]),
    ]);
    const token = (jti: string) =>
      new SignJWT({ permissions: ['publish:topics/a/#'], jti })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer(settings.issuer)
        .setAudience(settings.audience)
        .setSubject('ada')
        .setExpirationTime('10m')
        .sign(privateKey);
    expect((await fetch(`${other.url}/api/config`)).status).toBe(401);
    const session = await connectTelemetry({ url: other.url, accessToken: await token('one') });
    const ended = new Promise<string | undefined>((done) => {
      session.on('state', ({ state, error }) => state === 'closed' && done(error?.code));
    });
    await session.publish('a/x', 1, { reliable: true });
    await expect(session.publish('b/x', 1, { reliable: true })).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    const words = ['--set', `auth.keys_file=${join(folder, 'tokens.json')}`, 'keys', 'revoke-token', 'one'];
    expect((await runHere(folder, words)).code).toBe(0);
    expect(await ended).toBe('CREDENTIALS_BAD');
    await expect(connectTelemetry({ url: other.url, accessToken: await token('one') })).rejects.toMatchObject({
      code: 'CREDENTIALS_BAD',
    });
    await using _again = await connectTelemetry({ url: other.url, accessToken: await token('two') });
  });

  test('comes in where the program of auth.callback_url says so', async () => {
    await using decider = await answering(({ credential }) =>
      credential === 'open sesame' ? { name: 'ali', permissions: ['read:config'] } : undefined,
    );
    const keys = `auth.keys_file=${join(folder, 'called.json')}`;
    const url = `auth.callback_url=${decider.url}`;
    await using other = await ServerProcess.start(['serve', '--set', keys, '--set', url]);
    const status = async (path: string, credential: string) =>
      (await fetch(`${other.url}${path}?access_token=${encodeURIComponent(credential)}`)).status;
    expect(await status('/api/config', 'open sesame')).toBe(200);
    expect(await status('/api/sessions', 'open sesame')).toBe(403);
    expect(await status('/api/config', 'open')).toBe(401);
    await decider[Symbol.asyncDispose]();
    expect(await status('/api/config', 'another')).toBe(503);
    expect(await status('/api/config', 'open sesame')).toBe(200);
  });
});

test('behind a proxy that is trusted clients have their own addresses, and the cookie stays on TLS', async () => {
  await using other = await ServerProcess.start([
    'serve',
    '--set',
    `auth.keys_file=${keysFile}`,
    '--set',
    'server.trusted_proxies=127.0.0.1',
  ]);
  const passedOn = { 'X-Forwarded-For': '198.51.100.1, 192.0.2.7', 'X-Forwarded-Proto': 'https' };
  expect((await fetch(`${other.url}/api/config`, { headers: passedOn })).status).toBe(401);
  await expect.poll(() => other.err).toContain('"address":"192.0.2.7"');
  const login = await fetch(`${other.url}/api/login`, {
    method: 'POST',
    headers: { ...passedOn, 'Content-Type': 'application/json' },
    body: JSON.stringify({ key: admin }),
  });
  expect(login.headers.get('set-cookie')).toMatch(/; Secure$/);
  // Of others it is a client's own word.
  expect((await ask('/api/config', 'x', { headers: passedOn })).status).toBe(401);
  expect(server.err).not.toContain('192.0.2.7');
});

/** A server that answers each request by JSON, or by 401 for undefined. */
async function answering(answer: (question: { credential?: string }) => unknown) {
  const http = createServer(async (request, response) => {
    const body = await text(request);
    const value = answer(body === '' ? {} : (JSON.parse(body) as object));
    if (value === undefined) response.writeHead(401).end();
    else response.end(JSON.stringify(value));
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`,
    [Symbol.asyncDispose]: async () => {
      http.closeAllConnections();
      await new Promise((done) => http.close(done));
    },
  };
}

describe('the page', () => {
  const login = (key: unknown, headers: Record<string, string> = {}) =>
    ask('/api/login', undefined, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ key }),
    });

  test('signs in by a key, for requests and sockets, and out again', async () => {
    const { status, body, headers } = await login(admin);
    expect([status, body.name]).toEqual([200, 'operator']);
    const set = headers.get('set-cookie')!;
    expect(set).toMatch(/; HttpOnly; SameSite=Strict$/);
    expect(set).not.toContain(admin);
    const Cookie = set.split(';')[0]!;
    expect((await ask('/api/config', undefined, { headers: { Cookie } })).status).toBe(200);
    const socket = new WebSocket(server.ws('/ws/video'), { headers: { Cookie } });
    await once(socket, 'open');
    socket.terminate();
    await ask('/api/logout', undefined, { method: 'POST', headers: { Cookie } });
    expect((await ask('/api/config', undefined, { headers: { Cookie } })).status).toBe(401);
  });

  test('of another site cannot use the cookie', async () => {
    const Cookie = (await login(admin)).headers.get('set-cookie')!.split(';')[0]!;
    const foreign = { Cookie, Origin: 'https://evil.example' };
    expect((await ask('/api/config', undefined, { headers: foreign })).body.error?.code).toBe('ORIGIN_FORBIDDEN');
    const silent = { Cookie, 'Sec-Fetch-Site': 'cross-site' };
    const change = { method: 'PUT', headers: { ...silent, 'Content-Type': 'application/json' }, body: '{}' };
    expect((await ask('/api/config', undefined, change)).body.error?.code).toBe('ORIGIN_FORBIDDEN');
    const socket = new WebSocket(server.ws('/ws/video'), { headers: foreign });
    socket.on('error', () => undefined);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(403);
    socket.terminate();
  });

  test.each([
    ['a wrong key', 'x', 401],
    ['no text', 7, 400],
    ['ten thousand characters', 'x'.repeat(10_000), 401],
  ])('%s does not sign in', async (_what, key, status) => {
    const answer = await login(key);
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([status, null]);
  });
});

describe('a person', () => {
  const PASSWORD = 'correct horse battery';

  /** From one of the addresses of this machine's loopback. */
  const login = async (to: string, localAddress: string, body: object) => {
    const headers = { 'Content-Type': 'application/json' };
    const outgoing = request(`${to}/api/login`, { method: 'POST', localAddress, headers }).end(JSON.stringify(body));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const { error } = JSON.parse(await text(response)) as { error?: { code: string } };
    const { 'retry-after': retryAfter, 'set-cookie': [cookie] = [] } = response.headers;
    return { status: response.statusCode, retryAfter, cookie: cookie?.split(';')[0], code: error?.code ?? '' };
  };

  // Elsewhere the loopback has one address.
  test.runIf(process.platform === 'linux')(
    'signs in by a password; a thousand wrong logins keep out their address alone, and the server answers meanwhile',
    async () => {
      const words = ['--set', `auth.keys_file=${join(folder, 'people.json')}`];
      const run = (password: string, ...more: string[]) =>
        runHere(folder, [...words, 'keys', ...more], process.env, { newPassword: async () => password });
      const added = await run(PASSWORD, 'add', 'ada', '--allow', 'admin', '--password');
      expect([added.code, added.out]).toEqual([0, '']);
      expect((await run('short', 'add', 'bob', '--allow', 'admin', '--password')).code).toBe(64);
      expect((await run('', 'list')).out).toMatch(/ada +password +never +admin\n/);
      await using other = await ServerProcess.start(['serve', ...words]);
      const { url } = other;
      const right = { name: 'ada', password: PASSWORD };
      const { status, cookie } = await login(url, '127.0.0.9', right);
      expect(status).toBe(200);
      const config = () => fetch(`${url}/api/config`, { headers: { Cookie: cookie! } });
      expect((await config()).status).toBe(200);

      const wrong = Array.from({ length: 1_000 }, (_, i) =>
        login(url, '127.0.0.2', { name: i % 2 ? 'ada' : `n${i}`, password: `wrong password ${i}` }),
      );
      const beganMs = performance.now();
      expect((await fetch(`${url}/health`)).status).toBe(200);
      // All of their hashes, one after the other, would take far longer.
      expect(performance.now() - beganMs).toBeLessThan(10_000);
      const came = await Promise.all(wrong);
      expect(came.filter(({ code }) => code === 'CREDENTIALS_BAD').length).toBeLessThanOrEqual(20);
      const limited = came.filter(({ code }) => code === 'LOGIN_LIMIT_REACHED');
      expect(limited.length).toBeGreaterThanOrEqual(980);
      for (const one of limited) expect([one.status, Number(one.retryAfter) > 0]).toEqual([429, true]);
      // On a busy machine it has a try again by now: then further wrong ones use that up.
      let accepted = 2;
      const isKeptOut = async (): Promise<boolean> => {
        const more = Array.from({ length: 20 }, () =>
          login(url, '127.0.0.2', { ...right, password: 'wrong password' }),
        );
        await Promise.all(more);
        const { status: answered, code } = await login(url, '127.0.0.2', right);
        if (answered === 200) accepted += 1;
        return code === 'LOGIN_LIMIT_REACHED';
      };
      await expect.poll(isKeptOut).toBe(true);
      expect((await login(url, '127.0.0.3', right)).status).toBe(200);
      const figures = await (await fetch(`${url}/metrics`, { headers: { Cookie: cookie! } })).text();
      expect(figures).toContain(`sightline_logins_total{outcome="accepted"} ${accepted}\n`);
      const [, told] = /sightline_logins_total\{outcome="limited"\} (\d+)\n/.exec(figures)!;
      expect(Number(told)).toBeGreaterThan(limited.length);

      expect((await run('another password', 'password', 'ada')).code).toBe(0);
      await expect.poll(async () => (await config()).status).toBe(401);
      expect((await login(url, '127.0.0.4', right)).code).toBe('CREDENTIALS_BAD');
      expect((await login(url, '127.0.0.4', { ...right, password: 'another password' })).status).toBe(200);
      for (const body of [{ name: 'ada' }, { key: 'x', name: 'ada', password: 'y' }, {}, { name: 7, password: 'y' }]) {
        expect((await login(url, '127.0.0.5', body)).status).toBe(400);
      }
      expect(other.err).not.toMatch(/wrong password|correct horse|another password/);
    },
  );
});

describe('the commands', () => {
  test('make, list and revoke keys, each of which a running server takes up', async () => {
    const words = ['--set', `auth.keys_file=${keysFile}`, 'keys'];
    const add = await runHere(folder, [...words, 'add', 'rover9', '--allow', 'read:metrics', '--expires', '90d']);
    const key = add.out.trim();
    expect([add.code, key]).toEqual([0, expect.stringMatching(/^sightline_/)]);
    await expect.poll(async () => (await ask('/api/performance/metrics', key)).status).toBe(200);
    expect((await runHere(folder, [...words, 'list'])).out).toMatch(/rover9 +key +\d{4}-\d\d-\d\dT\S+ +read:metrics\n/);
    const again = await runHere(folder, [...words, 'add', 'rover9', '--allow', 'read']);
    expect([again.code, again.err]).toEqual([64, expect.stringContaining('there is a key "rover9" already')]);
    const slip = await runHere(folder, [...words, 'add', 'rover8', '--allow', 'read:metric']);
    expect([slip.code, slip.err]).toEqual([64, expect.stringContaining('is for nothing that there is')]);
    expect((await runHere(folder, [...words, 'revoke', 'rover9'])).code).toBe(0);
    await expect.poll(async () => (await ask('/api/performance/metrics', key)).status).toBe(401);
    expect((await runHere(folder, [...words, 'revoke', 'rover9'])).code).toBe(64);
  });

  test('come in by --token, or by the environment', async () => {
    const monitor = ['monitor', '--url', server.url, '--once', '--json'];
    expect((await runHere(folder, monitor)).code).toBe(77);
    expect((await runHere(folder, [...monitor, '--token', admin])).code).toBe(0);
    expect((await runHere(folder, monitor, { ...process.env, SIGHTLINE_TOKEN: admin })).code).toBe(0);
    const status = ['status', '--url', server.url];
    // 1, "degraded": on a busy machine the server is slow, and says so.
    const answered = expect.toBeOneOf([0, 1]);
    const seen = await runHere(folder, status);
    expect([seen.code, seen.out]).toEqual([answered, expect.stringMatching(/^(ok|degraded) · \S+\n$/)]);
    expect(seen.out).toContain(` · ${server.url}\n`);
    expect((await runHere(folder, [...status, '--token', admin])).out).toMatch(/^(ok|degraded) · .* · up \d/);
    const wrong = await runHere(folder, [...status, '--token', 'wrong']);
    expect([wrong.code, wrong.err]).toEqual([answered, expect.stringContaining('the key does not count there')]);
    expect((await runHere(folder, ['status', '--url', 'http://127.0.0.1:1'])).code).toBe(69);
    const tls = await runHere(folder, ['status', '--url', server.url.replace('http', 'https')]);
    expect([tls.code, tls.err]).toEqual([69, expect.stringContaining('http:// in place of https://')]);
    const record = ['record', join(folder, 'x.mcap'), '--url', server.ws('/'), '--duration', '0.2'];
    expect((await runHere(folder, [...record, '--token', await addKey(undefined, 'read')])).code).toBe(77);
    expect((await runHere(folder, [...record, '--token', admin])).code).toBe(0);
  });

  test.skipIf(spawnSync('python3', ['--version']).status !== 0)(
    'of others come in as well: the publisher in Python',
    async () => {
      const script = fileURLToPath(new URL('../../examples/publisher.py', import.meta.url));
      const url = server.ws('/ws/telemetry');
      const publish = async (words: readonly string[], env: Record<string, string> = {}) => {
        const line = [script, '--url', url, '--count', '5', '--rate', '100', ...words];
        const child = spawn('python3', line, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        child.stderr.on('data', (chunk: Buffer) => {
          said += chunk.toString();
          // It would try again for ever.
          if (said.includes('401')) child.kill();
        });
        const [code] = (await once(child, 'close')) as [number | null];
        return { code, said };
      };
      const key = await addKey(undefined, 'publish:topics/example/#');
      expect((await publish(['--token', key])).code).toBe(0);
      expect((await publish([], { SIGHTLINE_TOKEN: key })).code).toBe(0);
      expect((await publish([])).said).toContain('401');
    },
  );

  test('a server for other machines needs a key, and says how to get one', async () => {
    const words = [
      '--set',
      'log.format=text',
      '--set',
      `auth.keys_file=${join(folder, 'none.json')}`,
      'serve',
      '--host',
      '0.0.0.0',
      '--port',
      '0',
    ];
    const { code, err } = await runHere(folder, words);
    expect([code, err]).toEqual([78, expect.stringMatching(/sightline keys add .*\(ADDRESS_NEEDS_CREDENTIALS\)/)]);
  });
});
