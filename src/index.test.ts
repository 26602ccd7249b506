import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brightnessManifest, brightnessModel } from '../test/support/brightness-model.ts';
import { photograph } from '../test/support/pictures.ts';
import { SocketClient } from '../test/support/socket-client.ts';
import { TelemetryTestClient } from '../test/support/telemetry-client.ts';
import { createSightline, type PublishOptions, type ReadMessage, type Sightline, type TopicReader } from './index.ts';

/** What a program does that has the server inside it. */

const folder = mkdtempSync(join(tmpdir(), 'sightline-embedded-'));
const settings = { 'server.port': 0, 'models.cache_dir': folder, 'inference.workers': 1 };
const bright = brightnessModel();
let server: Sightline;
let car: Uint8Array;

beforeAll(async () => {
  car = await photograph('car1.jpg');
  const manifest = join(folder, 'bright.json');
  const source = { kind: 'file', path: join(folder, 'bright.onnx') } as const;
  writeFileSync(
    manifest,
    JSON.stringify(brightnessManifest('bright', { sha256: createHash('sha256').update(bright).digest('hex'), source })),
  );
  server = await createSightline({
    settings: { ...settings, 'models.manifests': [manifest] },
    log: () => {
      throw new Error('a program that cannot be told');
    },
  });
});
afterAll(async () => {
  await server?.close();
  rmSync(folder, { recursive: true });
});

async function take(reader: TopicReader, count: number): Promise<ReadMessage[]> {
  const taken: ReadMessage[] = [];
  for await (const message of reader) if (taken.push(message) === count) break;
  return taken;
}

describe('topics', () => {
  test('a value reaches clients and readers as it was when it was published', async () => {
    const url = `${server.url.replace('http', 'ws')}/ws/telemetry`;
    const client = await TelemetryTestClient.open(`${url}?client_id=embedded`, 'sightline.v1.json');
    await client.subscribe('machine/+', 'all');
    const reader = server.subscribe('machine/#');
    const value = { speed: 3, where: [1, 2], name: 'ä', off: null };
    const told = server.publish('machine/7', value, { timeMs: 1_000, priority: 'high' });
    value.speed = 4;
    await client.until(() => client.received.length === 1);
    expect(client.values).toEqual([{ ...value, speed: 3 }]);
    const [first] = await take(reader, 1);
    expect(first).toEqual({ topic: 'machine/7', ...told, timeMs: 1_000, data: { ...value, speed: 3 } });
    await client.close();
  });

  test('bytes stay bytes', async () => {
    const reader = server.subscribe('raw/7');
    const bytes = Uint8Array.of(1, 2);
    server.publish('raw/7', bytes);
    bytes[0] = 9;
    expect((await take(reader, 1))[0]!.data).toEqual(Uint8Array.of(1, 2));
  });

  test.each<[string, string, unknown, object, string]>([
    ['a wildcard', 'a/+', 1, {}, 'TOPIC_BAD'],
    ['no topic', '', 1, {}, 'TOPIC_BAD'],
    ['a Map', 'bad/1', { m: new Map([[1, 2]]) }, {}, 'PAYLOAD_BAD'],
    ['itself inside', 'bad/2', selfContained(), {}, 'PAYLOAD_BAD'],
    ['a time that is none', 'bad/3', 1, { timeMs: NaN }, 'MESSAGE_FIELD_BAD'],
    ['a priority that is none', 'bad/4', 1, { priority: 'toString' }, 'MESSAGE_FIELD_BAD'],
    ['a life that is over', 'bad/5', 1, { ttlMs: 0 }, 'MESSAGE_FIELD_BAD'],
  ])('%s is thrown to the caller, and nothing is published', (_, topic, value, options, code) => {
    const before = server.metrics().telemetry.topics.length;
    expect(() => server.publish(topic, value, options as PublishOptions)).toThrow(expect.objectContaining({ code }));
    expect(server.metrics().telemetry.topics).toHaveLength(before);
  });

  test('a reader that is behind loses the oldest, and knows how many', async () => {
    const reader = server.subscribe('flood', { queueMax: 3 });
    for (let n = 0; n < 10; n++) server.publish('flood', { n });
    expect([reader.queued, reader.lost]).toEqual([3, 7]);
    expect((await take(reader, 3)).map(({ data }) => (data as { n: number }).n)).toEqual([7, 8, 9]);
    expect(() => server.subscribe('a/#/b')).toThrow(expect.objectContaining({ code: 'FILTER_BAD' }));
    expect(() => server.subscribe('a', { queueMax: 0 })).toThrow(
      expect.objectContaining({ code: 'STREAM_OPTION_BAD' }),
    );
  });

  test('a reader ends when it is closed', async () => {
    const reader = server.subscribe('silent');
    const ended = take(reader, 1);
    reader.close();
    expect(await ended).toEqual([]);
  });
});

describe('frames and models', () => {
  test('a JPEG in, its detections out; what is none is rejected, and the next one goes through', async () => {
    using frames = await server.openFrames({ confidence: 0.4 });
    const [outcome, broken, nothing] = await Promise.allSettled([
      frames.push(car),
      frames.push(car.subarray(0, 2_000)),
      frames.push('a path' as unknown as Uint8Array),
    ]);
    expect(outcome).toMatchObject({ value: { kind: 'result', detections: [{ label: 'Car' }] } });
    expect(broken).toMatchObject({ status: 'rejected', reason: { code: expect.stringMatching(/^FRAME_/) } });
    expect(nothing).toMatchObject({ status: 'rejected', reason: { code: 'FRAME_NOT_JPEG' } });
    expect(await frames.push(car)).toMatchObject({ kind: 'result' });
  });

  test('of a flood every frame is answered, the oldest are left out', async () => {
    using frames = await server.openFrames();
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => frames.push(car)));
    expect(outcomes.at(-1)).toMatchObject({ kind: 'result' });
    const dropped = outcomes.filter(({ kind }) => kind === 'dropped');
    expect(dropped.length).toBeGreaterThan(0);
    expect(dropped).toContainEqual({ kind: 'dropped', cause: 'queue_full' });
  });

  test('a source that closes answers what waits', async () => {
    const frames = await server.openFrames();
    const waiting = Array.from({ length: 5 }, () => frames.push(car));
    frames.close();
    for (const { kind } of await Promise.all(waiting)) expect(kind).toMatch(/dropped|result/);
    await expect(frames.push(car)).rejects.toMatchObject({ code: 'STREAM_CLOSED' });
  });

  test('a model of its own is there for its frames and for clients; one that cannot be had is rejected', async () => {
    const named = join(folder, 'any-name.onnx');
    writeFileSync(named, bright);
    const { id, labels } = await server.addModel(named);
    expect([id, labels]).toEqual(['bright', ['light']]);
    using frames = await server.openFrames({ model: id });
    expect(await frames.push(car)).toMatchObject({ kind: 'result' });
    const client = await SocketClient.open(`${server.url.replace('http', 'ws')}/ws/video?model=bright&budget_ms=30000`);
    expect(client.welcome.model).toBe('bright');
    await client.close();
    await expect(server.addModel(join(folder, 'none.onnx'))).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' });
    await expect(server.openFrames({ model: 'nonsense' })).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  });
});

test('an HTTP server of the program’s own hands on requests and sockets, and keeps its own; closing settles all', async () => {
  const inside = await createSightline({ settings, listen: false });
  expect(() => inside.url).toThrow(expect.objectContaining({ code: 'USAGE' }));
  const own: Server = createServer((request, response) => {
    if (request.url === '/mine') response.end('mine');
    else inside.handleRequest(request, response);
  });
  own.on('upgrade', (request, socket, head) => inside.handleUpgrade(request, socket, head));
  own.listen(0, '127.0.0.1');
  await once(own, 'listening');
  const url = `http://127.0.0.1:${(own.address() as AddressInfo).port}`;
  expect(await (await fetch(`${url}/mine`)).text()).toBe('mine');
  expect(await (await fetch(`${url}/health`)).json()).toMatchObject({ models: [{ id: 'ssd-oidv4' }] });
  expect((await fetch(`${url}/health`, { headers: { Origin: 'http://evil.example' } })).status).toBe(403);
  const client = await SocketClient.open(`${url.replace('http', 'ws')}/ws/video?budget_ms=30000`);
  client.send(car);
  await client.until(() => client.of('result').length === 1);
  const reader = server.subscribe('never');
  const ended = take(inside.subscribe('never'), 1);
  const frames = await inside.openFrames();
  const pushed = frames.push(car);
  await inside.close();
  await client.until(() => client.closed !== undefined);
  expect(await ended).toEqual([]);
  expect(await pushed).toMatchObject({ kind: expect.any(String) });
  expect(() => inside.publish('late', 1)).toThrow(expect.objectContaining({ code: 'STREAM_CLOSED' }));
  await expect(inside.openFrames()).rejects.toMatchObject({ code: expect.any(String) });
  expect(await (await fetch(`${url}/mine`)).text()).toBe('mine');
  expect(await inside.close()).toBeUndefined();
  reader.close();
  own.closeAllConnections();
  own.close();
});

function selfContained(): object {
  const one: Record<string, unknown> = {};
  one['one'] = one;
  return one;
}
