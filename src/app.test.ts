import type { PipelineName } from './base/result.ts';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { brightnessManifest } from '../test/support/brightness-model.ts';
import { expectFiguresBalanced, sumsOf } from '../test/support/figure-accounts.ts';
import { photograph } from '../test/support/pictures.ts';
import { OtlpReceiver, plain } from '../test/support/otlp-receiver.ts';
import { parseText } from '../test/support/prometheus-text.ts';
import { SocketClient } from '../test/support/socket-client.ts';
import { TelemetryTestClient } from '../test/support/telemetry-client.ts';
import { openServer, Sightline } from './app.ts';
import { RESOURCES } from './auth/grants.ts';
import { systemClock } from './base/clock.ts';
import { connectVideo } from './client/video.ts';
import { loadConfig } from './config/load.ts';
import { pathOf } from './http/route.ts';
import { createSightline } from './index.ts';
import { Log } from './log/log.ts';
import { expositionOf, figuresDocument, formatFor } from './observe/exposition.ts';
import { statusOf } from './observe/health.ts';
import { metricsSchema } from './observe/metrics.ts';
import { Payload } from './protocol/payload.ts';

/** The server inside another program, with the real models, over its real sockets. */

const cacheDir = mkdtempSync(join(tmpdir(), 'sightline-app-'));
const settings = { 'server.port': 0, 'models.cache_dir': cacheDir, 'inference.workers': 1 };

let server: Sightline;
let car: Uint8Array;

beforeAll(async () => {
  car = await photograph('car1.jpg');
  server = await openServer({ config: loadConfig({ flags: settings }) });
});
afterAll(async () => {
  await server?.close();
  rmSync(cacheDir, { recursive: true });
});

const ws = (query = ''): string => `${server.url.replace('http', 'ws')}/ws/video${query}`;

const connected = () => server.metrics().sessions.filter((session) => session.connected);

/** What comes within a moment, on a machine that is busy with something else as well. */
const SOON = { timeout: 15_000 };

/** A frame that a busy machine leaves out as too late is not what these tests are about. */
const PATIENT_MS = 30_000;

async function answerOf(query: string): Promise<string[]> {
  const client = await SocketClient.open(ws(query));
  await client.until(() => client.closed !== undefined);
  return client.answers();
}

describe('createSightline', () => {
  test('serves the SDK: a car in, a car out', async () => {
    await using session = await connectVideo({
      url: server.url,
      budgetMs: PATIENT_MS,
    });
    const results = session.results();
    expect(await session.ready()).toBe(true);
    expect(session.send({ jpeg: car })).toBe(1);
    const { value } = await results.next();
    expect(value.result.detections[0]).toMatchObject({ label: 'Car' });
    expect(value.result.stages_ms.total).toBeGreaterThan(value.result.stages_ms.inference);
  });

  test('tells its health, with the model, its provider and its licence', () => {
    expect(server.health()).toMatchObject({
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      connections: { max: 1000 },
      models: [{ id: 'ssd-oidv4', providers: { effective: 'cpu' }, licence: { spdx: 'Apache-2.0' } }],
    });
  });

  test('counts every frame, and says where its time went', async () => {
    const client = await SocketClient.open(ws('?client_id=counted&budget_ms=30000'));
    for (let i = 0; i < 3; i++) client.send(car);
    client.send('rubbish');
    client.send(Uint8Array.of(1, 2, 3));
    await client.until(() => client.answers().length === 5);
    const metrics = server.metrics();
    const session = metrics.sessions.find(({ client_id }) => client_id === 'counted')!;
    expect(session).toMatchObject({
      model: 'ssd-oidv4',
      refused_messages: 1,
      accounts: { received: 4, results: 3, errors: 1, queued: 0, in_flight: 0, unsent: 0 },
    });
    const { stages, bottlenecks } = metrics.latency.since_start;
    expect(stages.total.count).toBeGreaterThanOrEqual(3);
    expect(Object.values(bottlenecks).reduce((sum, n) => sum + n, 0)).toBe(stages.total.count);
    expect(stages.inference.p50_ms).toBeGreaterThan(0);
    await client.close();
  });

  test('its figures balance by pipeline, class and lane, with sessions open and ended, and any scraper can read them', async () => {
    const url = `${server.url.replace('http', 'ws')}/ws/telemetry`;
    const publisher = await TelemetryTestClient.open(url);
    const subscriber = await TelemetryTestClient.open(url);
    await subscriber.subscribe('figures/#', 'all');
    for (let n = 0; n < 5; n++) publisher.send({ type: 'publish', topic: 'figures/n', data: { n } });
    // A budget that no engine can keep: some of them expire, or give way to newer ones.
    const client = await SocketClient.open(ws('?priority=critical&budget_ms=1'));
    for (let i = 0; i < 40; i++) client.send(car);
    await client.until(() => {
      // While frames wait and are in flight, too: a critical session's, and two lanes of messages.
      expect(expectFiguresBalanced(server.figures.read())).toBeGreaterThanOrEqual(3);
      return client.answers().length === 40;
    });
    await subscriber.until(() => subscriber.received.length === 5);
    const critical = () => sumsOf(server.figures.read(), { lane: 'video', pipeline: 'objects', class: 'critical' });
    const before = critical();
    expect(before.get('sightline_frames_received_total')).toBe(40);
    expect(before.get('sightline_frames_dropped_total')).toBeGreaterThan(0);
    const telemetry = sumsOf(server.figures.read(), { lane: 'telemetry' });
    expect(telemetry.get('sightline_messages_delivered_total')).toBeGreaterThanOrEqual(5);
    await Promise.all([client.close(), subscriber.close(), publisher.close()]);

    const readings = server.figures.read();
    expectFiguresBalanced(readings);
    expect(critical().get('sightline_frames_received_total')).toBe(40);
    const families = parseText(expositionOf(readings, formatFor(undefined)));
    expect(families.size).toBe(readings.length);
    const { totals, engine, latency } = server.metrics();
    const all = sumsOf(readings);
    for (const [figure, value] of [
      ['sightline_frames_results_total', totals.results],
      ['sightline_frames_received_total', totals.received],
      ['sightline_engine_jobs_total', engine.completed + engine.failed + engine.refused],
      ['sightline_frame_bottlenecks_total', latency.since_start.stages.total.count],
    ] as const) {
      expect(all.get(figure), figure).toBe(value);
    }
    const count = 'sightline_frame_stage_seconds_count[["lane","video"],["stage","total"]]';
    expect(families.get('sightline_frame_stage_seconds')!.samples.get(count)).toBe(
      latency.since_start.stages.total.count,
    );
  });

  test('docs/metrics.md is the page of its figures', () => {
    const page = readFileSync(new URL('../docs/metrics.md', import.meta.url), 'utf8');
    expect(page).toBe(figuresDocument(server.figures.all));
  });

  test('the document has the parts that its schema says, in that order', () => {
    const metrics = server.metrics();
    expect(Object.keys(metrics)).toEqual(Object.keys(metricsSchema.shape));
    expect(metricsSchema.strict().safeParse(metrics).error).toBeUndefined();
  });

  test('a second model is loaded when a session asks for it; what is no detector is refused', async () => {
    expect(await answerOf('?model=palm-lite')).toEqual(['-:MODEL_UNSUPPORTED']);
    expect(await answerOf('?model=nonsense')).toEqual(['-:MODEL_UNKNOWN']);
    expect(await answerOf(`?model=${encodeURIComponent(cacheDir)}`)).toEqual(['-:MODEL_UNKNOWN']);
    expect(await answerOf('?model=yolov8n')).toEqual(['-:MODEL_UNAVAILABLE']);
    expect(server.health().issues.map(({ code }) => code)).not.toContain('MODEL_FAILED');
    expect(await answerOf('?pipeline=dance')).toEqual(['-:PIPELINE_UNKNOWN']);
    expect(await answerOf('?pipeline=hands&model=ssd-oidv4')).toEqual(['-:QUERY_BAD']);
  });

  test('objects and hands on one decoded picture, each with its result', async () => {
    const { decodes } = server.metrics().engine;
    const client = await SocketClient.open<PipelineName>(ws('?pipeline=objects,hands&budget_ms=30000'));
    expect(client.welcome).toMatchObject({ pipeline: 'objects,hands', model: 'ssd-oidv4,hand-lite' });
    client.send(car);
    await client.until(() => client.of('result').length === 2);
    const [objects, hands] = client.of('result').toSorted((a, b) => (a.pipeline < b.pipeline ? 1 : -1));
    expect(objects).toMatchObject({ pipeline: 'objects', seq: 1, detections: [{ label: 'Car' }] });
    expect(hands).toMatchObject({ pipeline: 'hands', seq: 1, hands: [], width: objects!.width });
    expect(server.metrics().engine.decodes).toBe(decodes + 1);
    expect(await (await fetch(`${server.url}/api/pipelines`)).json()).toMatchObject({
      pipelines: [{ name: 'objects' }, { name: 'hands', models: { landmarks: 'hand-lite' } }],
    });
    await client.close();
  });

  test('a model that fails for one client is told to it, and leaves the server as well as it was', async () => {
    const gone = {
      ...brightnessManifest('gone'),
      sha256: '0'.repeat(64),
      source: { kind: 'file', path: '/nowhere/gone.onnx' },
    };
    mkdirSync(join(cacheDir, 'manifests'), { recursive: true });
    writeFileSync(join(cacheDir, 'manifests', 'gone.json'), JSON.stringify(gone));
    expect(await answerOf('?model=gone')).toEqual(['-:SOURCE_NOT_FOUND']);
    const { issues, status } = server.health();
    const failed = { code: 'MODEL_FAILED', message: expect.stringContaining('/nowhere/gone.onnx') };
    expect(issues).toContainEqual(failed);
    // Whatever this busy machine has beside it.
    const others = issues.filter(({ code }) => code !== 'MODEL_FAILED');
    expect(status).toBe(statusOf(others, false));
  });

  test('events go to who has the token', async () => {
    const client = await SocketClient.open(ws('?client_id=seen&budget_ms=30000'));
    const url = `${server.url}/stream/events/seen`;
    expect((await fetch(url)).status).toBe(401);
    const response = await fetch(url, { headers: { Authorization: `Bearer ${client.welcome.token}` } });
    client.send(car);
    const reader = response.body!.getReader();
    let text = '';
    while (!text.includes('event: result')) text += new TextDecoder().decode((await reader.read()).value);
    expect(text).toContain('"label":"Car"');
    await reader.cancel();
    await client.close();
  });

  test('the licences are text, the demo camera is there once it is made', async () => {
    const licences = await fetch(`${server.url}/licences`);
    expect(licences.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await licences.text()).toContain('Apache');
    expect((await fetch(`${server.url}/demo/camera.mp4`)).status).toBe(404);
    const made = Promise.withResolvers<string>();
    server.startCamera(() => made.promise);
    const waiting = fetch(`${server.url}/demo/camera.mp4`);
    made.resolve(fileURLToPath(new URL('../package.json', import.meta.url)));
    expect((await waiting).status).toBe(200);
  });
});

describe('the API', () => {
  const call = async (method: string, path: string, body?: object) => {
    const response = await fetch(server.url + path, {
      method,
      ...(body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  test('every operation of its document answers', async () => {
    const { paths } = (await call('GET', '/api/openapi.json')).body as {
      paths: Record<string, { get?: { parameters: unknown[] } }>;
    };
    const reads = Object.keys(paths).filter((path) => paths[path]!.get?.parameters.length === 0);
    const statuses = await Promise.all(
      reads.map(async (path) => [path, (await fetch(server.url + path)).status] as const),
    );
    // The page may not be built, and there is an authority only where the server has made one.
    expect(statuses.filter(([path, status]) => !['/api/docs', '/ca.crt'].includes(path) && status !== 200)).toEqual([]);
    expect(reads.length).toBeGreaterThan(18);
  });

  test('pins and settings reach the session that is there; its learned figures and its accounts stay', async () => {
    const client = await SocketClient.open(ws('?client_id=changed&budget_ms=30000'));
    const last = () => client.of('grant').at(-1);
    client.send(car);
    await client.until(() => client.of('result').length === 1);
    const pinned = await call('PUT', '/api/sessions/changed/quality', { level: 'low', skip_ratio: 2 });
    expect(pinned.body).toMatchObject({ client_id: 'changed', grant: { pinned: { level: 'low', skip_ratio: 2 } } });
    await client.until(() => last()?.pinned?.level === 'low');
    const { body } = await call('PUT', '/api/config', {
      strategy: 'memory',
      settings: { 'video.width': 320, 'video.height': 240, 'performance.ladder': ['modes'] },
    });
    expect(body['new_sessions']).toContainEqual({ key: 'streaming.queue_size', from: 25, to: 8 });
    await client.until(() => last()?.width === 208);
    expect(last()!.pinned).toEqual({ level: 'low', skip_ratio: 2 });
    await call('DELETE', '/api/sessions/changed/quality');
    await client.until(() => last()?.pinned === null);
    expect(last()!.width).toBeLessThanOrEqual(320);
    const later = await SocketClient.open(ws('?client_id=later'));
    expect(later.welcome.limits.frame_queue).toBe(8);
    client.send(car);
    await client.until(() => client.of('result').length === 2);
    expect((await call('GET', '/api/sessions/changed')).body).toMatchObject({
      accounts: { received: 2, results: 2, errors: 0, queued: 0, in_flight: 0, unsent: 0 },
    });
    const totals = server.metrics().totals;
    await Promise.all([client.close(), later.close()]);
    expect(server.metrics().totals.results).toBe(totals.results);
    const letGo = { 'video.width': null, 'video.height': null, 'performance.ladder': null };
    await call('PUT', '/api/config', { strategy: null, settings: letGo });
    expect((await call('GET', '/api/config')).body).toMatchObject({ pins: {}, config: { video: { width: 640 } } });
  });

  test('over its memory the server asks its sessions for fewer frames, and for more when there is enough again', async () => {
    const capacity = () => server.metrics().adaptation.capacity_fps!;
    // The engine's capacity is what the machine leaves it: twice as much is wanted, but no more sessions than it takes.
    const DEFAULT_FPS = 15;
    const count = Math.max(2, Math.ceil((2 * capacity()) / DEFAULT_FPS));
    const clients = await Promise.all(Array.from({ length: count }, () => SocketClient.open(ws())));
    try {
      const allow = (mib: number | null) =>
        call('PUT', '/api/config', { settings: { 'performance.max_memory_usage': mib } });
      const asked = () => connected().reduce((sum, { quality }) => sum + quality.grant.rate_fps, 0);
      const share = () => {
        const { capacity_fps, process_ceiling_fps } = server.metrics().adaptation;
        return process_ceiling_fps === null ? null : process_ceiling_fps / capacity_fps!;
      };
      await expect.poll(() => connected().length, SOON).toBe(count);
      // What the earlier tests and the start have cost the main thread is forgotten first.
      await expect.poll(share, SOON).toBeNull();
      expect((await allow(64)).status).toBe(200);
      await expect.poll(share, SOON).toBeCloseTo(0.25);
      const issues = server.health().issues.map(({ code }) => code);
      expect(issues).toEqual(expect.arrayContaining(['MEMORY_HIGH', 'MEMORY_PROMISED']));
      // Each has a little, whatever is lacking.
      await expect.poll(() => asked() / capacity(), SOON).toBeLessThan(0.4);
      await allow(null);
      await expect.poll(share, SOON).toBeNull();
      // A busy machine has more room now and then: whose rate rises waits for that.
      await expect
        .poll(() => asked() / Math.min(capacity(), count * DEFAULT_FPS), { timeout: 60_000 })
        .toBeGreaterThan(0.8);
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
  }, 120_000);

  test('a ladder that is none is refused, and nothing has changed', async () => {
    const refused = await call('PUT', '/api/config', {
      strategy: 'latency',
      settings: { 'performance.ladder': ['steep'] },
    });
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'CONFIG_VALUE_BAD' } } });
    expect((await call('GET', '/api/config')).body).toMatchObject({
      config: { performance: { strategy: 'balanced' } },
    });
  });

  test('the benchmark: the whole engine for nobody; with its one worker and a client it gives way', async () => {
    // A session of an earlier test may just be going.
    await expect.poll(() => connected().length, SOON).toBe(0);
    expect((await call('POST', '/api/performance/benchmark', { seconds: 1 })).status).toBe(200);
    const client = await SocketClient.open(ws());
    const { status, body } = await call('POST', '/api/performance/benchmark', { seconds: 1 });
    expect({ status, body }).toMatchObject({ status: 503, body: { error: { code: 'BENCHMARK_BUSY' } } });
    await client.close();
  });
});

test('telemetry: what the program publishes reaches a subscriber in its own encoding, and the metrics tell of it', async () => {
  const url = `${server.url.replace('http', 'ws')}/ws/telemetry`;
  const reader = await TelemetryTestClient.open(`${url}?client_id=reader`, 'sightline.v1.binary');
  expect(reader.socket.protocol).toBe('sightline.v1.binary');
  await reader.subscribe('machine/+', 'all');
  server.topics.publish('machine/7', { payload: Payload.of({ speed: 3 }) });
  await reader.until(() => reader.received.length === 1);
  expect(reader.values).toEqual([{ speed: 3 }]);
  const { telemetry } = server.metrics();
  const session = telemetry.sessions.find(({ client_id }) => client_id === 'reader');
  expect(session).toMatchObject({ accounts: { published: 1, delivered: 1, queued: 0 } });
  const machine = telemetry.topics.find(({ stats }) => stats.topic === 'machine/7');
  expect(machine).toMatchObject({ stats: { published: 1 }, accounts: { delivered: 1 } });
  await reader.close();
});

describe('createSightline refuses', () => {
  test('settings that are wrong, by name', async () => {
    await expect(createSightline({ settings: { ...settings, 'server.prot': 1 } })).rejects.toMatchObject({
      code: 'CONFIG_KEY_UNKNOWN',
    });
  });

  test('a model that is not there; nothing keeps listening', async () => {
    const wrong = createSightline({ settings: { ...settings, 'detection.model': 'nonsense' } });
    await expect(wrong).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  });

  test('and the log has its level afterwards, so that the caller can write why', async () => {
    const log = new Log({ clock: systemClock, level: 'info', sink: () => undefined });
    const config = loadConfig({ flags: { ...settings, 'detection.model': 'nonsense' } });
    await expect(openServer({ config, log })).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
    expect(log.level).toBe('info');
  });

  test('a port in use', async () => {
    const { port } = new URL(server.url);
    await expect(createSightline({ settings: { ...settings, 'server.port': Number(port) } })).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
  });
});

test('more models than there are places are refused', async () => {
  await using small = await createSightline({ settings: { ...settings, 'inference.models_max': 1 } });
  const client = await SocketClient.open(`${small.url.replace('http', 'ws')}/ws/video?model=yolov8n`);
  await client.until(() => client.closed !== undefined);
  expect(client.answers()).toEqual(['-:MODEL_UNAVAILABLE']);
  expect(client.of('error')[0]!.message).toContain('inference.models_max');
  expect(await small.close()).toBe(await small.close());
});

test('it is ready for work once it has a model, and no more when it stops', async () => {
  const app = new Sightline({ config: loadConfig({ flags: settings }) });
  const statuses = new Set<number>();
  const ask = async (): Promise<number> => {
    const { status } = await fetch(`${app.url}/-/ready`);
    statuses.add(status);
    return status;
  };
  const started = app.start();
  try {
    await expect.poll(() => ask().catch(() => 0), { interval: 1 }).toBe(503);
    await started;
    expect(await ask()).toBe(200);
    expect([...statuses]).toEqual([503, 200]);
  } finally {
    await app.close();
  }
});

test('whoever may use what: every route and every WebSocket says it', async () => {
  const document = (await (await fetch(`${server.url}/api/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { 'x-permission'?: unknown }>>;
    'x-websockets': { path: string; 'x-permission'?: unknown[] }[];
  };
  const routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      told: `${method.toUpperCase()} ${path}`,
      permissions: [operation['x-permission']],
    })),
  );
  const sockets = document['x-websockets'].map((socket) => ({
    told: `WS ${socket.path}`,
    permissions: socket['x-permission'] ?? [],
  }));
  expect(sockets.map(({ told }) => told)).toEqual([
    'WS /ws/video',
    'WS /stream/detection',
    'WS /ws/telemetry',
    'WS /ws/foxglove',
    'WS /ws/cameras',
  ]);
  // What is served and not in the document would have no permission: but for the page's files there is none.
  const mounted = server.mounted.filter((row) => !row.startsWith('HEAD ') && row !== 'GET /*' && row !== 'GET /');
  expect(routes.map(({ told }) => told).toSorted()).toEqual(mounted.map(pathOf).toSorted());
  const known = z.union([
    z.strictObject({ action: z.enum(['public', 'known']) }),
    z.strictObject({ action: z.enum(['read', 'publish', 'subscribe', 'admin']), resource: z.string().min(1) }),
  ]);
  for (const { told, permissions } of [...routes, ...sockets]) {
    expect(permissions.length, told).toBeGreaterThan(0);
    for (const permission of permissions) {
      const { success, data } = known.safeParse(permission);
      expect(success, told).toBe(true);
      // What a path names is what the permission is about.
      const names = data && 'resource' in data ? (data.resource.match(/\{\w+\}/g) ?? []) : [];
      // `keys add` knows it.
      if (data && 'resource' in data) expect(RESOURCES, told).toContain(data.resource.split('/')[0]);
      if (told.includes('{')) expect(names.length, told).toBeGreaterThan(0);
      // Of several each is asked for by the handler.
      const isOfSome = ['GET /api/cameras', 'POST /api/cameras'].includes(told);
      if (!told.startsWith('WS ') && !isOfSome) for (const name of names) expect(told).toContain(name);
    }
    // Nothing that changes the server is open to all, but the door.
    const isDoor = ['POST /api/login', 'POST /api/logout'].includes(told);
    if (told === 'POST /api/tickets') expect(permissions).toEqual([{ action: 'known' }]);
    // Of a viewer of its own.
    else if (/^(POST|PATCH|DELETE) \/whep\//.test(told))
      expect(permissions, told).toEqual([{ action: 'read', resource: 'cameras/{camera}' }]);
    else if (/^(POST|PATCH|DELETE) \/whip\//.test(told))
      expect(permissions, told).toEqual([{ action: 'publish', resource: 'cameras/{camera}' }]);
    else if (/^(PUT|POST|PATCH|DELETE) /.test(told) && !isDoor)
      expect(permissions, told).toMatchObject([{ action: 'admin' }]);
  }
});

test('a frame is traced, in the trace of its client; slow ones also at a rate of 0', async () => {
  await using receiver = await OtlpReceiver.open();
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const flags = { ...settings, 'observe.traces.sample_rate': 0 };
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `${receiver.origin}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-team=hidden%20word',
    OTEL_SERVICE_NAME: 'gate',
  };
  {
    await using own = await openServer({ config: loadConfig({ flags, env }) });
    const address = `${own.url.replace('http', 'ws')}/ws/video`;
    const client = await SocketClient.open(`${address}?client_id=patient&budget_ms=30000`);
    const image_data = Buffer.from(car).toString('base64');
    client.send({ type: 'frame', seq: 1, traceparent: `00-${trace}-00f067aa0ba902b7-01`, image_data });
    client.send({ type: 'frame', seq: 2, traceparent: 'nonsense', image_data });
    const hurried = await SocketClient.open(`${address}?client_id=hurried&budget_ms=1`);
    // It goes to a worker although it is late: otherwise the session would have no result for a second.
    while (!hurried.answers().some((answer) => answer.endsWith('result'))) {
      const before = hurried.answers().length;
      hurried.send(car);
      await hurried.until(() => hurried.answers().length > before);
    }
    await client.until(() => client.of('result').length === 2);
    await Promise.all([client.close(), hurried.close()]);
    expect(own.figures.totals(['sightline_traceparents_ignored_total'])).toEqual({
      sightline_traceparents_ignored_total: 1,
    });
  }
  expect(receiver.faults).toEqual([]);
  const frames = receiver.named('frame').map((span) => [span, plain(span.attributes)] as const);
  const [[own, about]] = frames.filter(([{ traceId }]) => traceId === trace) as [(typeof frames)[0]];
  expect(own.parentSpanId).toBe('00f067aa0ba902b7');
  expect(about).toMatchObject({
    'sightline.client_id': 'patient',
    'sightline.seq': '1',
    'sightline.outcome': 'result',
  });
  const others = frames.filter(([{ traceId }]) => traceId !== trace);
  expect(others.length).toBeGreaterThan(0);
  for (const [, attributes] of others) {
    expect(attributes).toMatchObject({ 'sightline.client_id': 'hurried', 'sightline.slow': true });
  }
  expect(receiver.named('inference').length).toBe(frames.length);
  expect(receiver.resources[0]).toMatchObject({ 'service.name': 'gate', 'service.version': expect.any(String) });
  expect(receiver.headers[0]).toMatchObject({ 'x-team': 'hidden word' });
});
