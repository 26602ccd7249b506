import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AlertsDocument } from '../../src/alerts/documents.ts';
import type { Metrics } from '../../src/observe/metrics.ts';
import { numberedClip } from '../support/coded-clip.ts';
import { runHere } from '../support/command.ts';
import { OtlpReceiver, plain } from '../support/otlp-receiver.ts';
import { parseText } from '../support/prometheus-text.ts';
import { readIndexed } from '../support/recorded.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The commands and the API of cameras, with a camera that answers. */

let folder: string;
let rtsp: RtspServer;
let collector: OtlpReceiver;
let server: ServerProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-live-'));
  const clip = await numberedClip();
  rtsp = await RtspServer.open({
    cameras: { gate: { clip }, locked: { clip, credentials: { scheme: 'basic', user: 'me', password: 'hidden1' } } },
  });
  collector = await OtlpReceiver.open();
  const settings = {
    'observe.traces.endpoint': collector.endpoint,
    'observe.traces.sample_rate': 1,
    // No frame is as fast as that.
    'alerts.objectives.high.latency_ms': 1,
    'alerts.latency_warning_ms': 1,
    'alerts.latency_critical_ms': 1,
    'alerts.for_s': 0,
    'fleet.hardware_decoding': 'auto',
  };
  server = await ServerProcess.start([
    'serve',
    '--camera',
    rtsp.url('gate'),
    '--record',
    join(folder, 'a.mcap'),
    ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ]);
});
afterAll(async () => {
  await server?.stop();
  await rtsp?.close();
  await collector?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function cameras(...words: string[]) {
  const [command = '', ...rest] = words;
  const ran = await runHere(folder, ['cameras', command, '--url', server.url, ...rest], { HOME: folder });
  expect(ran.out + ran.err).not.toMatch(/hidden\d/);
  return ran;
}

const stateOf = async (id: string) => (await server.json<{ state: string }>(`/api/cameras/${id}`)).state;

test('an address is tested: what is there, and why nothing is', async () => {
  const found = await cameras('test', rtsp.url('locked', 'me:hidden1'));
  expect(found).toMatchObject({ code: 0, err: '' });
  expect(found.out).toMatch(/^it works: rtsp, h264, 320×180, /);
  expect(await cameras('test', rtsp.url('locked', 'me:hidden2'))).toMatchObject({
    code: 77,
    err: expect.stringContaining('(CAMERA_CREDENTIALS)'),
  });
  expect(await cameras('test', rtsp.url('nothing'))).toMatchObject({
    code: 66,
    err: expect.stringContaining('(CAMERA_NOT_FOUND)'),
  });
  expect(await cameras('test', 'rtsp://127.0.0.1:1/x')).toMatchObject({
    code: 69,
    err: expect.stringContaining('(CAMERA_UNREACHABLE)'),
  });
});

test('one of the command line is live, with a still that says which frame it is', async () => {
  await expect.poll(() => stateOf('cam1'), { timeout: 30_000 }).toBe('live');
  const still = await fetch(`${server.url}/cameras/cam1/still.jpg?width=160`);
  expect([still.status, still.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
  expect(still.headers.get('sightline-frame')).toMatch(/^cam1\/\d{13}\/\d+$/);
  expect(Math.abs(Number(still.headers.get('sightline-capture-time')) - Date.now())).toBeLessThan(60_000);
  expect([...new Uint8Array(await still.arrayBuffer()).subarray(0, 3)]).toEqual([0xff, 0xd8, 0xff]);
  const status = await runHere(folder, ['status', '--url', server.url], { HOME: folder });
  expect(status.out).toContain('1 of 1 camera live');
});

test('it says what decodes it, and why not a device of this machine', async () => {
  type Decoding = { by: string; reason: string | null } | null;
  const decoding = async () => (await server.json<{ decoding: Decoding }>('/api/cameras/cam1')).decoding;
  await expect.poll(async () => (await decoding())?.reason ?? '', { timeout: 60_000 }).not.toContain('being tried');
  const { by, reason } = (await decoding())!;
  // Where these tests run there may be one.
  if (by === 'software') expect(reason).toMatch(/: /);
  else expect(reason).toBeNull();
  expect((await cameras('show', 'cam1')).out).toMatch(new RegExp(`^ +decoded .*, by ${by}`, 'm'));
  const text = await (await fetch(`${server.url}/metrics`)).text();
  expect(text).toContain(`sightline_camera_decoders{by="${by}"} 1
`);
});

test('a change touches only what it names', async () => {
  await expect.poll(() => stateOf('cam1'), { timeout: 30_000 }).toBe('live');
  const connections = async () => (await server.json<{ connections: number }>('/api/cameras/cam1')).connections;
  const before = await connections();
  expect((await cameras('add', 'locked', rtsp.url('locked', 'me:hidden1'), '--pipeline', 'none')).code).toBe(0);
  await expect.poll(() => stateOf('locked'), { timeout: 30_000 }).toBe('live');
  // Its own connection stays as well: what has changed is its class alone.
  expect((await cameras('add', 'cam1', rtsp.url('gate'), '--class', 'high')).out).toBe('cam1 is changed\n');
  expect((await cameras('list')).err).toBe('2 of 2 cameras live\n');
  expect((await cameras('add', 'locked', rtsp.url('locked', 'me:hidden1'), '--off')).code).toBe(0);
  await expect.poll(() => stateOf('locked')).toBe('off');
  expect((await cameras('remove', 'locked')).code).toBe(0);
  expect([await stateOf('cam1'), await connections()]).toEqual(['live', before]);
  expect(rtsp.camera('gate').counts.framesDropped).toBe(0);
});

test('frames of a camera are in latencies, figures, traces and alerts', async () => {
  await expect.poll(() => stateOf('cam1'), { timeout: 30_000 }).toBe('live');
  const metrics = () => server.json<Metrics>('/api/performance/metrics');
  await expect.poll(async () => (await metrics()).camera_frames.results, { timeout: 60_000 }).toBeGreaterThan(20);
  const { camera_frames: frames, latency, totals, rates } = await metrics();
  const dropped = Object.values(frames.dropped).reduce((sum, count) => sum + count, 0);
  expect(frames.received).toBe(frames.results + frames.errors + dropped + frames.queued + frames.in_flight);
  expect([totals.results, latency.since_start.stages.total.count]).toEqual([0, frames.results]);
  for (const stage of ['capture', 'decode', 'queue', 'inference'] as const) {
    expect(latency.recent.stages[stage].p95_ms, stage).toBeGreaterThan(0);
  }
  expect(rates!.results_fps).toBeGreaterThan(0);
  const performance = await server.json<{ total_throughput_fps: number; bottlenecks: { frames: number }[] }>(
    '/stream/performance',
  );
  expect(performance.total_throughput_fps).toBeGreaterThan(0);
  expect(performance.bottlenecks.reduce((sum, one) => sum + one.frames, 0)).toBeGreaterThanOrEqual(frames.results);

  const text = await (await fetch(`${server.url}/metrics`)).text();
  const { samples } = parseText(text).get('sightline_frame_stage_seconds')!;
  const countOf = (lane: string) =>
    samples.get(`sightline_frame_stage_seconds_count[["lane","${lane}"],["stage","total"]]`);
  expect(countOf('cameras')).toBeGreaterThanOrEqual(frames.results);
  expect(countOf('video')).toBe(0);

  // The test above has made it one of class high.
  const alertOf = async () => {
    const { alerts } = await server.json<AlertsDocument>('/api/alerts');
    return alerts.find(({ rule, class: name }) => rule === 'latency' && name === 'high');
  };
  await expect.poll(alertOf, { timeout: 60_000 }).toBeDefined();
  const { streams, evidence } = (await alertOf())!;
  expect(streams).toMatchObject({ count: 1, worst: [{ client_id: 'camera:cam1' }] });
  expect(evidence[0]).toMatchObject({ client_id: 'camera:cam1', pipeline: 'objects' });
  expect(evidence[0]!.epoch).toBeGreaterThan(1e12);

  // A frame that was dropped, as on a busy machine, has no stages.
  const answered = () =>
    collector.named('frame').find((one) => plain(one.attributes)['sightline.outcome'] === 'result');
  await expect.poll(answered, { timeout: 30_000 }).toBeDefined();
  const span = answered()!;
  expect(plain(span.attributes)).toMatchObject({
    'sightline.client_id': 'camera:cam1',
    'sightline.pipeline': 'objects',
  });
  const stages = collector.spans.filter(({ parentSpanId }) => parentSpanId === span.spanId).map(({ name }) => name);
  expect(stages).toEqual(['capture', 'decode', 'queue', 'preprocess', 'inference', 'postprocess']);
  expect(collector.faults).toEqual([]);
});

test('it is in the recording of the server', async () => {
  expect(await server.stop()).toBe(0);
  const { messages, metadata } = await readIndexed(join(folder, 'a.mcap'));
  expect(metadata[0]!.get('lost')).toBe('0');
  const frames = messages.filter(({ topic }) => topic === 'cameras/cam1/video');
  const { seq, ...first } = frames[0]!.value as { seq: number };
  expect(first).toMatchObject({ camera: 'cam1', format: 'h264', is_key: true });
  expect(frames.map(({ sequence }) => sequence)).toEqual(frames.map((_, i) => seq + i));
});
