import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { z } from 'zod';
import { encodeFrame } from '../../src/protocol/video-codec.ts';
import type { VideoSessionReport } from '../../src/observe/metrics.ts';
import { openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';
import { TelemetryTestClient } from '../support/telemetry-client.ts';

/** The REST API of the real server, by its own document. */

type Json = Record<string, unknown>;

interface Operation {
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly responses: Record<string, { content: Record<string, { schema?: Json }> }>;
}

interface ApiDocument {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, Json> };
}

let car: Uint8Array;
let server: ServerProcess;
let document: ApiDocument;

beforeAll(async () => {
  car = await photograph('car2.jpg');
  // With one worker there is no benchmark beside a client.
  server = await ServerProcess.start(['serve'], { SIGHTLINE_INFERENCE__WORKERS: '2' });
  document = await server.json<ApiDocument>('/api/openapi.json');
});
afterAll(() => server?.stop());

async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json }> {
  const response = await fetch(server.url + path, {
    method,
    ...(body !== undefined && {
      headers: { 'Content-Type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    }),
  });
  return { status: response.status, body: (await response.json()) as Json };
}

function codeOf({ body }: { body: Json }): string | undefined {
  return (body['error'] as { code: string } | undefined)?.code;
}

/** The document leaves room for what a later version adds; here nothing may come that it does not tell. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  const isObject = inner['type'] === 'object' && inner['properties'] !== undefined;
  return isObject ? { ...inner, additionalProperties: false } : inner;
}

function schemaOf(operation: Operation): z.ZodType {
  const { schema } = operation.responses['200']!.content['application/json']!;
  const whole = { ...schema, $defs: document.components.schemas };
  return z.fromJSONSchema(
    closed(JSON.parse(JSON.stringify(whole).replaceAll('#/components/schemas/', '#/$defs/'))) as never,
  );
}

function expectDescribed(method: string, path: string, answer: unknown): void {
  const problems = schemaOf(document.paths[path]![method]!).safeParse(answer).error?.issues ?? [];
  expect(problems, `${method} ${path}`).toEqual([]);
}

const O2 = [
  'GET /health',
  'GET /api/performance/metrics',
  'GET /api/performance/connections',
  'GET /api/performance/backpressure',
  'POST /api/performance/benchmark',
  'GET /stream/performance',
  ...['', '/api'].flatMap((prefix) =>
    ['realtime/stats', 'websocket/pool/stats', 'websocket/clients', 'queues/stats', 'adaptive-quality/stats'].map(
      (name) => `GET ${prefix}/optimization/${name}`,
    ),
  ),
];

/** Operations that answer with JSON and need nothing but their address. */
function plainReads(): string[] {
  return Object.entries(document.paths)
    .filter(([, { get }]) => get?.parameters.length === 0 && get.responses['200']!.content['application/json'])
    .map(([path]) => path);
}

describe('the document', () => {
  test('has every operation of the contract', () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    const told = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(told).toEqual(expect.arrayContaining(O2));
    expect(told).toEqual(
      expect.arrayContaining([
        'GET /api/config',
        'PUT /api/config',
        'PUT /api/config/{section}/{name}',
        'DELETE /api/config/{section}/{name}',
        'GET /api/sessions',
        'GET /api/sessions/{id}',
        'PUT /api/sessions/{id}/quality',
        'DELETE /api/sessions/{id}/quality',
        'GET /stream/events/{client_id}',
      ]),
    );
  });

  test('describes what the server really answers, with sessions and without, and no token is in it', async () => {
    for (const path of plainReads()) expectDescribed('get', path, await server.json(path));
    const video = await SocketClient.open(server.ws('/ws/video?client_id=seen&budget_ms=30000'));
    const telemetry = await TelemetryTestClient.open(server.ws('/ws/telemetry?client_id=reader'));
    const viewer = new WebSocket(server.ws('/ws/foxglove'), ['foxglove.sdk.v1']);
    await once(viewer, 'message');
    await telemetry.subscribe('#', 'all');
    const publisher = await TelemetryTestClient.open(server.ws('/ws/telemetry?client_id=writer'));
    publisher.socket.send(JSON.stringify({ type: 'publish', topic: 'rover/pose', data: { x: 1 } }));
    await telemetry.until(() => telemetry.received.length === 1);
    for (let seq = 1; seq <= 5; seq++) {
      video.send(car);
      await video.until(() => video.answers().length === seq);
    }
    const events = await fetch(`${server.url}/stream/events/seen?token=${video.welcome.token}`);
    const tokens = [video.welcome.token, (telemetry.welcome as unknown as { token: string }).token];
    expect(tokens.every((token) => token.length > 20)).toBe(true);
    // A second later there are rates.
    await expect
      .poll(async () => (await server.json<Json>('/stream/performance'))['total_throughput_fps'])
      .toBeGreaterThan(0);
    for (const path of plainReads()) {
      const text = await (await fetch(server.url + path)).text();
      expectDescribed('get', path, JSON.parse(text));
      for (const token of tokens) expect(text).not.toContain(token);
    }
    const one = await call('GET', '/api/sessions/seen');
    expectDescribed('get', '/api/sessions/{id}', one.body);
    expect(one.body).toMatchObject({ client_id: 'seen', accounts: { received: 5, results: 5 } });
    const pinned = await call('PUT', '/api/sessions/seen/quality', { level: 'low', skip_ratio: 3 });
    expectDescribed('put', '/api/sessions/{id}/quality', pinned.body);
    for (const path of plainReads()) expectDescribed('get', path, await server.json(path));
    expectDescribed('delete', '/api/sessions/{id}/quality', (await call('DELETE', '/api/sessions/seen/quality')).body);
    const { body: clients } = await call('GET', '/optimization/websocket/clients');
    expect(clients['clients']).toMatchObject(
      ['seen', 'reader', 'writer']
        .map((client_id) => ({ client_id, connected: true }))
        .concat([expect.objectContaining({ lane: 'foxglove' })]),
    );
    expect((await call('GET', '/api/performance/connections')).body).toMatchObject({
      open: 5,
      video: { connected: 1 },
      telemetry: { connected: 2 },
      foxglove: { connected: 1 },
    });
    await events.body?.cancel();
    viewer.terminate();
    await Promise.all([video.close(), telemetry.close(), publisher.close()]);
  });

  test('every path answers, and what is not in it does not', async () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const method of Object.keys(methods)) {
        if (path === '/api/performance/benchmark') continue;
        const address = path.replaceAll(/\{.*?\}/g, 'nobody');
        const response = await fetch(server.url + address, { method: method.toUpperCase() });
        // An event stream has no end.
        const isEvents = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
        const said = isEvents ? '' : await response.text();
        if (isEvents) await response.body!.cancel();
        const isUnknown = said.startsWith('{"error":{"code":"NOT_FOUND"');
        // There is no demo and no authority here, and the page may not be built.
        if (!['/demo/camera.mp4', '/api/docs', '/ca.crt'].includes(path))
          expect(isUnknown, `${method} ${path}`).toBe(false);
      }
    }
    for (const [method, path] of [
      ['GET', '/api'],
      ['GET', '/optimization'],
      ['POST', '/health'],
      ['PATCH', '/api/config'],
      ['DELETE', '/api/sessions/nobody'],
    ] as const) {
      expect(codeOf(await call(method, path)), `${method} ${path}`).toBe('NOT_FOUND');
    }
  });
});

describe('pins', () => {
  test('the client is told by a grant, as if it had asked itself; let go of, it adapts again', async () => {
    const client = await SocketClient.open(server.ws('/ws/video?client_id=pinned'));
    const last = () => client.of('grant').at(-1);
    const { status, body } = await call('PUT', '/api/sessions/pinned/quality', { mode: 'high_quality' });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      client_id: 'pinned',
      // The rate of a slow machine is held lower by its computing time still.
      grant: { quality: 80, pinned: { mode: 'high_quality' }, reason: expect.stringMatching(/^(pin|compute)$/) },
    });
    await client.until(() => last()?.pinned?.mode === 'high_quality');
    expect(last()).toEqual({ type: 'grant', ...(body['grant'] as object) });

    await call('PUT', '/api/sessions/pinned/quality', { skip_ratio: 5 });
    await client.until(() => last()?.pinned?.skip_ratio === 5);
    expect(last()!.pinned).toEqual({ skip_ratio: 5 });
    expect(last()!.rate_fps).toBeLessThanOrEqual(6);

    client.send({ type: 'pin', level: 'ultra_low' });
    await client.until(() => last()?.pinned?.level === 'ultra_low');
    expect((await call('GET', '/api/sessions/pinned')).body).toMatchObject({
      quality: { grant: { pinned: { level: 'ultra_low' } } },
    });
    const { body: freed } = await call('DELETE', '/api/sessions/pinned/quality');
    expect(freed).toMatchObject({ grant: { pinned: null } });
    await client.until(() => last()?.pinned === null);
    await client.close();
  });

  test('a client that is away is told when it comes back', async () => {
    const away = await SocketClient.open(server.ws('/ws/video?client_id=away'));
    const { token } = away.welcome;
    away.send({ type: 'clock', t0: 1 });
    await away.until(() => away.of('clock').length === 1);
    await away.close();
    await expect.poll(async () => (await call('GET', '/api/sessions/away')).body['connected']).toBe(false);
    expect((await call('PUT', '/api/sessions/away/quality', { level: 'low' })).status).toBe(200);
    const back = await SocketClient.open(server.ws(`/ws/video?client_id=away&token=${token}`));
    expect(back.welcome.grant.pinned).toEqual({ level: 'low' });
    await back.close();
  });

  test.each([
    {},
    { level: 'best' },
    { level: 'low', mode: 'balanced' },
    { skip_ratio: 0 },
    { skip_ratio: 1.5 },
    { skip_ratio: 61 },
    { skip_ratio: '3' },
    { level: ['low'] },
    { level: 'low', force: true },
    { level: null },
    [],
    'null',
    '{"skip_ratio":NaN}',
    '{"level":"low","level2":',
    `{"level":${'['.repeat(20_000)}`,
  ])('%j is refused', async (pin) => {
    const answered = await call('PUT', '/api/sessions/nobody/quality', pin);
    expect(answered.status).toBe(400);
    expect(codeOf(answered)).toBe('BODY_BAD');
  });

  test('nobody’s session is nobody’s, whatever the name', async () => {
    const names = [
      'nobody',
      '__proto__',
      'constructor',
      '%00',
      '%F0%9F%98%80',
      'a%2Fb',
      '%22%3E%3Cscript%3E',
      'x'.repeat(180),
    ];
    for (const name of names) {
      const answers = [
        await call('GET', `/api/sessions/${name}`),
        await call('PUT', `/api/sessions/${name}/quality`, { level: 'low' }),
        await call('DELETE', `/api/sessions/${name}/quality`),
      ];
      for (const answered of answers)
        expect([name, answered.status, codeOf(answered)]).toEqual([name, 404, 'SESSION_UNKNOWN']);
    }
    // Longer than any name, and no name at all.
    expect(codeOf(await call('GET', `/api/sessions/${'x'.repeat(5_000)}`))).toBe('QUERY_BAD');
    expect((await call('GET', '/api/sessions/%E0%A4%A')).status).toBe(400);
  });
});

describe('the configuration at run time', () => {
  const letGo = () =>
    call('PUT', '/api/config', {
      strategy: null,
      profile: null,
      settings: { 'performance.target_latency_ms': null, 'performance.stability_s': null },
    });

  test('a strategy is in force at once, and config show tells it', async () => {
    const changed = await call('PUT', '/api/config', {
      strategy: 'aggressive',
      profile: 'high_capacity',
      settings: { 'performance.stability_s': 7 },
    });
    expect(changed.status).toBe(200);
    expectDescribed('put', '/api/config', changed.body);
    expect(changed.body['at_once']).toContainEqual({ key: 'performance.target_latency_ms', from: 75, to: 30 });
    expect(changed.body['needs_restart']).toContainEqual({ key: 'server.max_connections', from: 1000, to: 2000 });
    expect(changed.body['overridden']).toContainEqual({
      key: 'performance.stability_s',
      value: 10,
      layer: 'profile high_capacity',
      by: 'set at run time',
    });
    const state = await call('GET', '/api/config');
    expectDescribed('get', '/api/config', state.body);
    expect(state.body).toMatchObject({
      config: { performance: { strategy: 'aggressive' }, server: { max_connections: 1000 }, video: { width: 480 } },
      pins: { 'performance.strategy': 'aggressive', 'performance.stability_s': 7 },
    });
    const client = await SocketClient.open(server.ws('/ws/video'));
    expect(client.welcome.grant.width).toBeLessThanOrEqual(480);
    expect(client.welcome.limits.frame_queue).toBe(12);
    await client.close();

    const shown = await command('config', 'show', '--url', server.url);
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/strategy: aggressive +# set at run time/);
    expect(shown.out).toMatch(/ladder: \[ modes \] +# strategy aggressive/);
    expect(shown.out).toMatch(/max_connections: 1000 +# default/);
    const json = JSON.parse((await command('config', 'show', '--json', '--url', server.url)).out) as Json;
    expect(json['config']).toEqual(state.body['config']);

    await letGo();
    expect((await call('GET', '/api/config')).body).toMatchObject({ pins: {}, needs_restart: [] });
  });

  test('config show of what is no server, and of nobody', async () => {
    expect(await command('config', 'show', '--url', 'nonsense')).toMatchObject({ code: 64, out: '' });
    const nobody = await command('config', 'show', '--url', 'http://127.0.0.1:9');
    expect(nobody).toMatchObject({ code: 69, out: '' });
    expect(nobody.err).toContain('CONNECTION_FAILED');
  });

  test.each<[unknown, number, string]>([
    [{ strategy: 'fast' }, 400, 'BODY_BAD'],
    [{ strategi: 'latency' }, 400, 'BODY_BAD'],
    [{ settings: [] }, 400, 'BODY_BAD'],
    [{ settings: { 'performance.stability_s': { deep: 1 } } }, 400, 'BODY_BAD'],
    [`{"settings":{"performance.stability_s":${'['.repeat(30_000)}${']'.repeat(30_000)}}}`, 400, 'BODY_BAD'],
    ['{"settings":{"performance.stability_s":NaN}}', 400, 'BODY_BAD'],
    ['{"settings":{"performance.stability_s":1e999}}', 400, 'BODY_BAD'],
    ['{"settings":{"__proto__":{"x":1}}}', 400, 'BODY_BAD'],
    [`{"settings":{"a":"${'x'.repeat(70_000)}"}}`, 413, 'BODY_TOO_LARGE'],
    [{ settings: { 'performance.stability_s': -1 } }, 400, 'CONFIG_VALUE_BAD'],
    [{ settings: { 'performance.ladder': ['a 50 1 10', 'b 40 1 10'] } }, 400, 'CONFIG_VALUE_BAD'],
    [{ settings: { 'performance.ladder': Array(17).fill('levels') } }, 400, 'CONFIG_VALUE_BAD'],
    [{ settings: { 'streaming.max_fps': 10 } }, 400, 'CONFIG_CONTRADICTION'],
    [{ settings: { 'no.such': 1 } }, 400, 'CONFIG_KEY_UNKNOWN'],
    [{ settings: { 'server.port': 1 } }, 409, 'CONFIG_KEY_FIXED'],
  ])('%j is refused and changes nothing', async (body, status, code) => {
    const before = await call('GET', '/api/config');
    const answered = await call('PUT', '/api/config', body);
    expect([answered.status, codeOf(answered)]).toEqual([status, code]);
    expect(JSON.stringify(answered.body).length).toBeLessThan(3_000);
    expect((await call('GET', '/api/config')).body).toEqual(before.body);
  });

  test('a profile of one’s own is set, chosen and taken away, and config show tells it', async () => {
    const night = { streaming: { max_fps: 10, default_fps: 10 } };
    const set = await call('PUT', '/api/config/profiles/night', night);
    expect(set.status).toBe(200);
    expectDescribed('put', '/api/config/{section}/{name}', set.body);
    expect(set.body['at_once']).toEqual([{ key: 'profiles.night', from: null, to: night }]);
    expect((await call('PUT', '/api/config', { profile: 'night' })).body['at_once']).toContainEqual({
      key: 'streaming.max_fps',
      from: 30,
      to: 10,
    });
    const state = await call('GET', '/api/config');
    expectDescribed('get', '/api/config', state.body);
    expect(state.body).toMatchObject({ entry_sections: ['cameras', 'profiles'], pins: { 'profiles.night': night } });
    const shown = await command('config', 'show', '--url', server.url);
    expect(shown.out).toMatch(/^ {6}max_fps: 10 +# set at run time$/m);
    expect(codeOf(await call('DELETE', '/api/config/profiles/night'))).toBe('CONFIG_VALUE_BAD');
    await letGo();
    const taken = await call('DELETE', '/api/config/profiles/night');
    expectDescribed('delete', '/api/config/{section}/{name}', taken.body);
    expect(taken.body['at_once']).toEqual([{ key: 'profiles.night', from: night, to: null }]);
    expect((await call('GET', '/api/config')).body).toMatchObject({ pins: {} });
  });

  test.each<[string, string, unknown, number, string]>([
    ['PUT', 'profiles/Night', {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'profiles/__proto__', {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'profiles/a%2Fb', {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', `profiles/${'n'.repeat(65)}`, {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'profils/night', {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'server/port', {}, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'profiles/night', { streaming: { max_fsp: 1 } }, 400, 'CONFIG_KEY_UNKNOWN'],
    ['PUT', 'profiles/night', { streaming: { max_fps: 1 } }, 400, 'CONFIG_VALUE_BAD'],
    ['PUT', 'profiles/night', '{"__proto__":{"streaming":{}}}', 400, 'BODY_BAD'],
    ['PUT', 'profiles/night', [], 400, 'BODY_BAD'],
    ['PUT', 'profiles/night', 'null', 400, 'BODY_BAD'],
    ['PUT', 'profiles/night', undefined, 400, 'BODY_BAD'],
    ['DELETE', 'profiles/nobody', undefined, 404, 'CONFIG_ENTRY_UNKNOWN'],
    ['DELETE', 'profiles/constructor', undefined, 404, 'CONFIG_ENTRY_UNKNOWN'],
    ['DELETE', 'server/port', undefined, 400, 'CONFIG_KEY_UNKNOWN'],
  ])('%s %s %j is refused and changes nothing', async (method, path, body, status, code) => {
    const before = await call('GET', '/api/config');
    const answered = await call(method, `/api/config/${path}`, body);
    expect([answered.status, codeOf(answered)]).toEqual([status, code]);
    expect((await call('GET', '/api/config')).body).toEqual(before.body);
  });

  test('many at once: each is applied as a whole, and the last one is what is in force', async () => {
    const strategies = ['latency', 'memory', 'balanced', 'aggressive'];
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        call('PUT', '/api/config', {
          strategy: strategies[i % 4],
          settings: { 'performance.target_latency_ms': 100 + i },
        }),
      ),
    );
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    const { body } = await call('GET', '/api/config');
    const { strategy, target_latency_ms: target } = (body['config'] as { performance: Json }).performance;
    expect(strategies[(Number(target) - 100) % 4]).toBe(strategy);
    await letGo();
  });

  test('switched while 20 clients send: nobody is dropped, no frame is lost from the books', async () => {
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, i) => SocketClient.open(server.ws(`/ws/video?client_id=switch${i}`))),
    );
    const FRAMES = 30;
    const sending = clients.map(async (client) => {
      for (let seq = 1; seq <= FRAMES; seq++) {
        client.send(encodeFrame({ seq, captureTimeMs: Date.now(), jpeg: car }));
        // More than any engine can do: the grants are ignored.
        await new Promise((done) => setTimeout(done, 30));
      }
    });
    const choices = [
      { strategy: 'latency' },
      { strategy: 'memory', profile: 'high_capacity' },
      { settings: { 'performance.adaptive_quality': false } },
      { strategy: 'aggressive', profile: 'high_performance', settings: { 'performance.adaptive_quality': null } },
      { settings: { 'performance.ladder': ['small 30 0.5 5', 'large 80 1 20'] } },
      { strategy: null, profile: null, settings: { 'performance.ladder': null } },
    ];
    for (const choice of choices) {
      expect((await call('PUT', '/api/config', choice)).status).toBe(200);
      const { sessions } = await server.json<{ sessions: VideoSessionReport[] }>('/api/sessions');
      expect(sessions.filter(({ client_id, connected }) => connected && client_id.startsWith('switch'))).toHaveLength(
        20,
      );
      for (const session of sessions) expectBalanced(session);
    }
    await Promise.all(sending);
    await Promise.all(clients.map((client) => client.until(() => client.answers().length >= FRAMES)));
    for (const client of clients) {
      expect(client.closed).toBeUndefined();
      expect(client.answers()).toHaveLength(FRAMES);
      expect(new Set(client.answers().map((answer) => answer.split(':')[0])).size).toBe(FRAMES);
      expect(client.of('grant').length).toBeGreaterThan(5);
      const seqs = client.of('result').map(({ seq }) => seq);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    }
    const { totals } = await server.json<{ totals: Record<string, number> }>('/api/performance/metrics');
    await Promise.all(clients.map((client) => client.close()));
    const later = await server.json<{ totals: Record<string, number> }>('/api/performance/metrics');
    expect(later.totals['received']).toBe(totals['received']);
    expect(later.totals['results']).toBe(totals['results']);
    expect((await call('GET', '/api/config')).body).toMatchObject({ pins: {} });
  });
});

describe('the benchmark', () => {
  test('measures the engine with no client, and what a connected one leaves', async () => {
    // Sessions of the tests before have gone or are silent.
    const answered = await call('POST', '/api/performance/benchmark', { seconds: 1 });
    expect(answered.status).toBe(200);
    expectDescribed('post', '/api/performance/benchmark', answered.body);
    expect(answered.body['fps']).toBeGreaterThan(1);
    const [first, second] = await Promise.all([
      call('POST', '/api/performance/benchmark', { seconds: 1 }),
      call('POST', '/api/performance/benchmark', { seconds: 1 }),
    ]);
    expect([first.status, second.status].toSorted()).toEqual([200, 503]);
    expect([codeOf(first), codeOf(second)]).toContain('BENCHMARK_BUSY');
  });

  test.each([{ seconds: 0.5 }, { seconds: 11 }, { seconds: '3' }, { second: 3 }, '{"seconds":1e9}'])(
    '%j is refused',
    async (body) => {
      expect(codeOf(await call('POST', '/api/performance/benchmark', body))).toBe('BODY_BAD');
    },
  );

  test('with one worker and a client it is refused', async () => {
    await using small = await ServerProcess.start(['serve', '--set', 'inference.workers=1']);
    const client = await SocketClient.open(small.ws('/ws/video'));
    const response = await fetch(`${small.url}/api/performance/benchmark`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"seconds":1}',
    });
    expect([response.status, codeOf({ body: (await response.json()) as Json })]).toEqual([503, 'BENCHMARK_BUSY']);
    await client.close();
  });
});

test.skipIf(CHROMIUM === undefined)('the page lists every operation and calls them; a foreign one cannot', async () => {
  await using own = await ServerProcess.start();
  const browser = await launchBrowser();
  const foreign = createServer((_request, response) => response.end('<!doctype html>')).listen(0, '127.0.0.1');
  try {
    const { page, faults } = await openPage(browser, `${own.url}/api/docs`);
    const { paths } = await own.json<ApiDocument>('/api/openapi.json');
    const count = Object.values(paths).reduce((sum, methods) => sum + Object.keys(methods).length, 0);
    await expect.poll(() => page.locator('.operation').count()).toBe(count);

    const card = page
      .locator('.operation', { has: page.getByText('/api/config', { exact: true }) })
      .filter({ hasText: 'PUT' });
    await card.locator('> summary').click();
    await card.locator('textarea').fill('{ "strategy": "latency" }');
    await card.getByRole('button', { name: 'Call' }).click();
    await expect.poll(() => card.locator('.answer-status').innerText()).toMatch(/^200 OK, \d+ ms$/);
    expect(await card.locator('.answer').innerText()).toContain('"strategy": "latency"');
    expect(faults).toEqual([]);

    // Another port of the same machine is another origin.
    await page.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`);
    const completed = async () =>
      (await own.json<{ engine: { completed: number } }>('/api/performance/metrics')).engine.completed;
    const before = await completed();
    const tries = `Promise.all([
      fetch('${own.url}/api/config', { method: 'PUT', body: '{"strategy":"memory"}' }),
      // Sent without asking, its answer hidden from the page.
      fetch('${own.url}/api/performance/benchmark', { method: 'POST', mode: 'no-cors', body: '{"seconds":1}' }),
    ].map((answer) => answer.then(({ type }) => type, () => 'refused')))`;
    expect(await page.evaluate(tries)).toEqual(['refused', 'opaque']);
    expect(await completed()).toBe(before);
    expect(await own.json('/api/config')).toMatchObject({ config: { performance: { strategy: 'latency' } } });
  } finally {
    foreign.close();
    await browser.close();
  }
});

function expectBalanced({ accounts }: VideoSessionReport): void {
  const { received, results, errors, dropped, queued, in_flight, unsent } = accounts;
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(received).toBe(results + errors + lost + queued + in_flight + unsent);
}

async function command(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../bin/sightline.js', import.meta.url)), ...words]);
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}
