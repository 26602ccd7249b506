import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { collectingLog } from '../../../test/support/log.ts';
import { OtlpReceiver, plain } from '../../../test/support/otlp-receiver.ts';
import { ManualClock } from '../../base/clock.ts';
import { Outbound } from '../../net/outbound.ts';
import { OtlpExporter, QUEUE_FRAMES_MAX, type ExporterParts } from './exporter.ts';
import type { TracedFrame } from './frame-trace.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';
const SPANS = 9;

let clock: ManualClock;
let receiver: OtlpReceiver;
let told: ReturnType<typeof collectingLog>;
let slept: number[];
let open: OtlpExporter[];
beforeEach(async () => {
  clock = new ManualClock();
  told = collectingLog({ clock });
  slept = [];
  open = [];
  receiver = await OtlpReceiver.open();
});
afterEach(async () => {
  await Promise.all(open.map((exporter) => exporter.close()));
  await receiver[Symbol.asyncDispose]();
  expect(receiver.faults).toEqual([]);
});

function exporter(parts: Partial<ExporterParts> = {}, endpoint = receiver.endpoint): OtlpExporter {
  const one = new OtlpExporter({
    clock,
    random: () => 0,
    outbound: new Outbound(),
    log: told.log,
    settings: { endpoint, headers: { Authorization: 'Bearer hidden-word' }, timeoutMs: 5_000 },
    resource: { attributes: { 'service.name': 'sightline', 'process.pid': 7 }, version: '1.2.3' },
    sleep: async (ms) => void slept.push(ms),
    ...parts,
  });
  open.push(one);
  return one;
}

function frame(seq = 1, trace: Partial<TracedFrame['trace']> = {}): TracedFrame {
  const atMs = clock.now();
  return {
    trace: { traceId: TRACE, parent: undefined, isSampled: true, ...trace },
    clientId: 'gate',
    pipeline: 'objects',
    model: 'ssd',
    seq,
    captureTimeMs: atMs - 40,
    answeredTimeMs: atMs,
    budgetMs: 75,
    outcome: {
      kind: 'result',
      width: 640,
      height: 480,
      receivedTimeMs: atMs - 30,
      startedTimeMs: atMs - 25.5,
      stagesMs: { decode: 1, preprocess: 2, inference: 15, postprocess: 0.25 },
      sent: { encodeMs: 0.5, transmitMs: 1.5 },
    },
  };
}

const done = (one: OtlpExporter) => expect.poll(() => one.report().queued).toBe(0);
const lost = (dropped: object) => ({ queue_full: 0, refused: 0, failed: 0, timeout: 0, stopped: 0, ...dropped });

test('a frame comes as one span for all of it and one for each stage, in the trace of its caller', async () => {
  clock.stepWall(3_600_000);
  const one = exporter();
  one.push(frame(7, { parent: { traceId: TRACE, spanId: CALLER, isSampled: true } }));
  await one.close();
  const [whole, ...stages] = receiver.spans;
  const nanoseconds = (ms: number) => `${BigInt(clock.now() + 3_600_000) * 1_000_000n + BigInt(ms * 1e6)}`;
  expect(whole).toMatchObject({
    name: 'frame',
    traceId: TRACE,
    parentSpanId: CALLER,
    kind: 2,
    flags: 0x301,
    startTimeUnixNano: nanoseconds(-40),
    endTimeUnixNano: nanoseconds(2),
  });
  expect(plain(whole!.attributes)).toEqual({
    'sightline.client_id': 'gate',
    'sightline.pipeline': 'objects',
    'sightline.model': 'ssd',
    'sightline.seq': '7',
    'sightline.budget_ms': '75',
    'sightline.outcome': 'result',
    'sightline.width': '640',
    'sightline.height': '480',
    'sightline.slow': false,
  });
  expect(
    stages.map(({ name, startTimeUnixNano, endTimeUnixNano }) => [name, startTimeUnixNano, endTimeUnixNano]),
  ).toEqual([
    ['capture', nanoseconds(-40), nanoseconds(-30)],
    ['queue', nanoseconds(-30), nanoseconds(-25.5)],
    ['decode', nanoseconds(-25.5), nanoseconds(-24.5)],
    ['preprocess', nanoseconds(-24.5), nanoseconds(-22.5)],
    ['inference', nanoseconds(-22.5), nanoseconds(-7.5)],
    ['postprocess', nanoseconds(-7.5), nanoseconds(-7.25)],
    ['encode', nanoseconds(0), nanoseconds(0.5)],
    ['transmit', nanoseconds(0.5), nanoseconds(2)],
  ]);
  for (const stage of stages)
    expect(stage).toMatchObject({ traceId: TRACE, parentSpanId: whole!.spanId, kind: 1, flags: 0x101 });
  expect(new Set(receiver.spans.map(({ spanId }) => spanId)).size).toBe(SPANS);
  expect(receiver.resources).toEqual([{ 'service.name': 'sightline', 'process.pid': '7' }]);
  expect(receiver.headers[0]).toMatchObject({ authorization: 'Bearer hidden-word' });
  expect(one.report()).toEqual({ queued: 0, exported: SPANS, retries: 0, dropped: lost({}) });
});

test('a frame without a result is one span, which has failed', async () => {
  const one = exporter();
  one.push({ ...frame(), outcome: { kind: 'dropped', reason: 'expired' } });
  await one.close();
  expect(receiver.spans).toMatchObject([{ name: 'frame', status: { code: 2, message: 'expired' } }]);
  expect(plain(receiver.spans[0]!.attributes)).toMatchObject({
    'sightline.outcome': 'dropped',
    'error.type': 'expired',
  });
  expect(receiver.spans[0]).not.toHaveProperty('parentSpanId');
});

test('many go together, and a few wait for others', async () => {
  const one = exporter();
  for (let seq = 1; seq <= 70; seq++) one.push(frame(seq));
  await receiver.until(() => receiver.named('frame').length === 64);
  await one.close();
  expect([receiver.requests, receiver.named('frame').length]).toEqual([3, 70]);
});

describe('a collector that', () => {
  type Answer = (response: ServerResponse) => void;
  const status =
    (code: number, headers = {}): Answer =>
    (response) =>
      void response.writeHead(code, headers).end();
  /** Gives these answers one after the other, then takes all. */
  const answers = (...given: Answer[]): void => {
    receiver.answer = (response) => (given.shift() ?? status(200))(response);
  };

  test('wants more time gets the same again', async () => {
    answers(status(503), status(429, { 'Retry-After': '7' }), status(502));
    const one = exporter();
    for (let seq = 1; seq <= 32; seq++) one.push(frame(seq));
    await done(one);
    // Half of 1, 2 and 4 s, as chance gives nothing on top; but what the collector asks for where that is longer.
    expect(slept).toEqual([500, 7_000, 2_000]);
    expect(one.report()).toMatchObject({ exported: 32 * SPANS, retries: 3, dropped: lost({}) });
  });

  test('wants it at a time of day, and one that wants an hour', async () => {
    const later = new Date(clock.now() + 20_000).toUTCString();
    answers(
      status(429, { 'Retry-After': later }),
      status(429, { 'Retry-After': '3600' }),
      status(429, { 'Retry-After': 'soon' }),
    );
    const one = exporter();
    for (let seq = 1; seq <= 32; seq++) one.push(frame(seq));
    await done(one);
    expect(slept.map((ms) => Math.ceil(ms / 1000))).toEqual([20, 60, 2]);
  });

  test.each<[what: string, cause: string, tries: number, answer: Answer]>([
    ['fails for ever', 'failed', 4, status(503)],
    ['hangs up', 'failed', 4, ({ socket }) => void socket!.destroy()],
    ['answers 500', 'refused', 1, status(500)],
    ['will not have it', 'refused', 1, status(400)],
    ['leads to the metadata of a cloud', 'refused', 1, status(307, { Location: 'http://169.254.169.254/' })],
    ['answers without end', 'refused', 1, (response) => void response.write('x'.repeat(100_000))],
    [
      'takes none of them',
      'refused',
      1,
      (response) => void response.end('{"partialSuccess":{"rejectedSpans":"999","errorMessage":"no"}}'),
    ],
  ])('%s', async (_what, cause, tries, answer) => {
    receiver.answer = answer;
    const one = exporter();
    for (let seq = 1; seq <= 32; seq++) one.push(frame(seq));
    await done(one);
    expect(one.report()).toEqual({
      queued: 0,
      exported: 0,
      retries: tries - 1,
      dropped: lost({ [cause]: 32 * SPANS }),
    });
    expect(receiver.requests).toBe(tries);
    expect(told.entries).toMatchObject([{ event: 'traces_lost', fields: { cause, spans: 32 * SPANS } }]);
    expect(JSON.stringify(told.entries)).not.toContain('hidden-word');
  });

  test('takes a part of them, and says what was wrong with the rest', async () => {
    receiver.answer = (response) => response.end('{"partialSuccess":{"rejectedSpans":"4","errorMessage":"too old"}}');
    const one = exporter();
    one.push(frame());
    await one.close();
    expect(one.report()).toMatchObject({ exported: SPANS - 4, dropped: lost({ refused: 4 }) });
    expect(told.texts()).toEqual(['4 spans of traces are lost (refused): too old']);
  });

  test('answers something else with 200 has taken them', async () => {
    receiver.answer = (response) => response.end('thanks');
    const one = exporter();
    one.push(frame());
    await one.close();
    expect(one.report()).toMatchObject({ exported: SPANS, dropped: lost({}) });
  });

  test('hangs: it is given up after its time, the queue is bounded, and nobody waits', async () => {
    receiver.answer = () => undefined;
    const one = exporter({ settings: { endpoint: receiver.endpoint, headers: {}, timeoutMs: 20 } });
    for (let seq = 1; seq <= QUEUE_FRAMES_MAX + 100; seq++) one.push(frame(seq));
    // A batch of 32 is on its way.
    expect(one.report()).toMatchObject({
      queued: (QUEUE_FRAMES_MAX + 32) * SPANS,
      dropped: lost({ queue_full: 68 * SPANS }),
    });
    await expect.poll(() => one.report().dropped.timeout).toBeGreaterThanOrEqual(32 * SPANS);
    const beganMs = performance.now();
    await one.close();
    expect(performance.now() - beganMs).toBeLessThan(2_000);
    const { dropped, queued, exported } = one.report();
    expect([queued, exported]).toEqual([0, 0]);
    expect(Object.values(dropped).reduce((sum, n) => sum + n, 0)).toBe((QUEUE_FRAMES_MAX + 100) * SPANS);
  });

  test('is not there, or is one that must not be called', async () => {
    for (const [endpoint, cause] of [
      ['http://127.0.0.1:1/v1/traces', 'failed'],
      ['http://169.254.169.254/v1/traces', 'refused'],
    ] as const) {
      const one = exporter({}, endpoint);
      one.push(frame());
      await one.close();
      expect(one.report().dropped).toEqual(lost({ [cause]: SPANS }));
    }
  });
});

test('the end waits half a second for a collector that hangs, and cuts short what waits for its next try', async () => {
  receiver.answer = () => undefined;
  const hanging = exporter();
  hanging.push(frame());
  const beganMs = performance.now();
  await hanging.close();
  expect(performance.now() - beganMs).toBeLessThan(2_000);
  expect(hanging.report()).toEqual({ queued: 0, exported: 0, retries: 0, dropped: lost({ stopped: SPANS }) });

  let isWaiting = false;
  receiver.answer = (response) => void response.writeHead(503).end();
  const waiting = exporter({
    sleep: (_ms, signal) =>
      new Promise((_resolve, reject) => {
        isWaiting = true;
        signal.addEventListener('abort', () => reject(new Error('cut short')));
      }),
  });
  for (let seq = 1; seq <= 32; seq++) waiting.push(frame(seq));
  await expect.poll(() => isWaiting).toBe(true);
  receiver.answer = (response) => void response.end('{}');
  await waiting.close();
  expect(waiting.report()).toMatchObject({ exported: 32 * SPANS, retries: 1 });
  waiting.push(frame());
  expect(waiting.report().dropped).toEqual(lost({ stopped: SPANS }));
});
