import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { median } from '../support/statistics.ts';
import { measureConnections } from './connections.ts';
import type { PeerServerApi } from './peer-server-process.ts';
import type { PublisherApi } from './publisher-process.ts';
import { measureScenarios } from './scenarios.ts';
import { highestRate } from './search.ts';
import { SERVER_SETTINGS, type Figures } from './settings.ts';
import { isKept, Team, type Crowd, type Lane, type Span, type TelemetryBench } from './span.ts';
import type { SubscribersApi } from './subscribers-process.ts';

const SEED = 20_261;
const SUBSCRIBERS = 100;
const P99_MS_MAX = 50;

interface Plan {
  /** Of each measurement at a fixed rate, in turns over the peers. */
  readonly rounds: number;
  readonly spanMs: number;
  readonly trialMs: number;
  readonly trialsMax: number;
  readonly near: number;
}

const FULL: Plan = { rounds: 5, spanMs: 3_000, trialMs: 1_500, trialsMax: 12, near: 1.08 };
const QUICK: Plan = { rounds: 1, spanMs: 500, trialMs: 300, trialsMax: 1, near: 1.3 };

export const telemetry: Benchmark = {
  name: 'telemetry',
  summary: 'rover messages to a hundred subscribers beside Socket.IO and plain ws: latency, CPU, saturation, bytes',
  run: runTelemetry,
};

interface Bench extends TelemetryBench {
  readonly plan: Plan;
}

async function runTelemetry(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  const load = loadavg()[0]!;
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  const distanceMs = SharedClock.distanceMs();
  try {
    await using publisher = new Helper<PublisherApi>(new URL('publisher-process.ts', import.meta.url), signal);
    await using subscribers = new Helper<SubscribersApi>(new URL('subscribers-process.ts', import.meta.url), signal);
    await publisher.call('prepare', { distanceMs, seed: SEED });
    await subscribers.call('setClock', distanceMs);
    const clock = new SharedClock(distanceMs);
    const bench: Bench = { ...context, plan: quick ? QUICK : FULL, clock, publisher, subscribers };
    const before = readProcessors([process.pid]);
    const measured = {
      ...(await measureDelivery(bench, cacheDir)),
      ...(await measureConnections(bench, cacheDir)),
    };
    const use = new CoreUse();
    use.add(before, readProcessors([process.pid]));
    const figures: Figures = { ...measured, ...(await measureScenarios(context)), load_average_before: load };
    say('done');
    return {
      seed: SEED,
      setup: {
        messages:
          'a seeded random walk of a vehicle: 102 fields, 1,200 bytes as JSON, in the resolution of its sensors',
        processes: 'one publisher, one server, one with all subscribers; on the same cores, over loopback',
        subscribers: `${SUBSCRIBERS}; each decoding one checks sequence and a checksum over five fields of every message`,
        socketio: 'transport WebSocket alone, rooms, no compression',
        ws: 'the server hands the bytes of the publisher on and looks into none',
        columns_ws:
          'the limit: the same codec over bare ws, flushed each turn, relayed by a server that looks into none; no session',
        sightline:
          'the command serve, and the SDK at both ends: as columns (`sightline`) and as objects (`sightline_objects`)',
        readers: 'where only reading is measured, bare ws in the place of 98 SDKs',
        saturation: `the highest rate at which p99 stays within ${P99_MS_MAX} ms and no message is missing; deliveries a second`,
        mode: quick ? 'quick: few and short rounds' : `full: ${FULL.rounds} rounds of ${FULL.spanMs / 1000} s each`,
      },
      figures,
      bars: bars(figures),
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function bars(figures: Figures): Bar[] {
  const figure = (name: string): number => figures[name] ?? Number.NaN;
  return [
    atMost('sightline.one_topic_p99_ms', figure('sightline.one_topic_p99_ms'), 5),
    atMost('one_topic_p99_over_ws', figure('one_topic_p99_over_ws'), 1),
    atMost('one_topic_objects_p99_over_ws', figure('one_topic_objects_p99_over_ws'), 1),
    atMost('one_topic_subscriber_over_ws', figure('one_topic_subscriber_over_ws'), 1),
    atMost('one_topic_objects_subscriber_over_ws', figure('one_topic_objects_subscriber_over_ws'), 1.2),
    atMost('one_topic_cpu_ratio', figure('one_topic_cpu_ratio'), 0.85),
    atMost('sightline.burst_p99_ms', figure('sightline.burst_p99_ms'), 10),
    atMost('burst_cpu_ratio', figure('burst_cpu_ratio'), 0.25),
    atLeast('saturation_columns_ratio', figure('saturation_columns_ratio'), 10),
    atLeast('saturation_objects_ratio', figure('saturation_objects_ratio'), 4),
    atLeast('saturation_read_ratio', figure('saturation_read_ratio'), 20),
    atMost('columns_bytes_share', figure('columns_bytes_share'), 0.2),
    atMost('plain_bytes_share', figure('plain_bytes_share'), 0.5),
    atLeast('sightline.connections_held', figure('sightline.connections_held'), 2_000),
    atMost('connection_memory_ratio', figure('connection_memory_ratio'), 1.25),
    atMost('scenarios_lost', figure('scenarios_lost'), 0),
    atMost('scenarios_p95_ms_max', figure('scenarios_p95_ms_max'), 10),
  ];
}

// ── Latency, processor time, limit ───────────────────────────────────────────────────────────────────────────────────────

function local(port: number): string {
  return `ws://127.0.0.1:${port}`;
}

async function measureDelivery(bench: Bench, cacheDir: string): Promise<Figures> {
  const { signal } = bench;
  const peerServer = new URL('peer-server-process.ts', import.meta.url);
  await using socketIoServer = new Helper<PeerServerApi>(peerServer, signal);
  await using wsServer = new Helper<PeerServerApi>(peerServer, signal);
  await using server = await Server.launch({ command: 'serve', cacheDir, settings: SERVER_SETTINGS, signal });
  await server.ready();
  const wsUrl = local(await wsServer.call('listen', 'ws'));
  const own = { peer: 'sightline', url: server.url.replace('http', 'ws'), pid: server.pid } as const;
  const socketio: Lane = {
    name: 'socketio',
    peer: 'socketio',
    form: '',
    url: local(await socketIoServer.call('listen', 'socketio')),
    pid: socketIoServer.pid,
  };
  const ws: Lane = { name: 'ws', peer: 'ws', form: '', url: wsUrl, pid: wsServer.pid };
  const limit: Lane = { name: 'columns_ws', peer: 'columns_ws', form: '', url: wsUrl, pid: wsServer.pid };
  const sightline: Lane = { name: 'sightline', form: 'binary', ...own };
  const sightlineObjects: Lane = { name: 'sightline_objects', form: 'binary', ...own };
  const msgpack: Lane = { name: 'sightline_msgpack', form: 'msgpack', ...own };
  const entrants: Entrant[] = [
    { lane: socketio, decode: 'objects' },
    { lane: ws, decode: 'objects' },
    { lane: limit, decode: 'columns' },
    { lane: sightline, decode: 'columns' },
    { lane: sightlineObjects, decode: 'objects' },
  ];
  const figures: Figures = {};

  const oneTopic = await inTurns(bench, 'one_topic', entrants, { topics: 1, hz: 200 });
  const burst = await inTurns(bench, 'burst', entrants, { topics: 10, hz: 100 });
  Object.assign(figures, oneTopic.figures, burst.figures);
  figures['one_topic_p99_over_ws'] = oneTopic.ratio('sightline', 'ws', ({ p99 }) => p99);
  figures['one_topic_objects_p99_over_ws'] = oneTopic.ratio('sightline_objects', 'ws', ({ p99 }) => p99);
  figures['one_topic_subscriber_over_ws'] = oneTopic.ratio('sightline', 'ws', ({ subscriberUs }) => subscriberUs);
  figures['one_topic_objects_subscriber_over_ws'] = oneTopic.ratio(
    'sightline_objects',
    'ws',
    ({ subscriberUs }) => subscriberUs,
  );
  figures['one_topic_cpu_ratio'] = oneTopic.ratio('sightline', 'socketio', ({ cpuUs }) => cpuUs);
  figures['burst_cpu_ratio'] = burst.ratio('sightline', 'socketio', ({ cpuUs }) => cpuUs);
  figures['burst_p99_over_limit'] = burst.ratio('sightline', 'columns_ws', ({ p99 }) => p99);

  const one: Crowd = { topics: 1, count: SUBSCRIBERS, decode: 'objects' };
  const columns: Crowd = { ...one, decode: 'columns' };
  const reading = { readOnly: SUBSCRIBERS - 2 };
  const limits: [string, Lane, Crowd, number][] = [
    ['saturation', socketio, one, 250],
    ['saturation', ws, one, 250],
    ['saturation_objects', sightline, one, 2_000],
    ['saturation_columns', sightline, columns, 4_000],
    ['saturation_columns', limit, columns, 4_000],
    ['saturation_columns_restless', sightline, { ...columns, restlessness: 100 }, 2_000],
    ['saturation_columns_ten_topics', sightline, { ...columns, topics: 10 }, 200],
    ['saturation_read', socketio, { ...one, ...reading }, 250],
    ['saturation_read', ws, { ...one, ...reading }, 250],
    ['saturation_read', msgpack, { ...one, ...reading }, 2_000],
    ['saturation_read', sightline, { ...columns, ...reading }, 8_000],
  ];
  for (const [what, lane, crowd, startHz] of limits) {
    Object.assign(figures, await measureLimit(bench, what, lane, crowd, startHz));
  }
  const reached = (name: string): number => figures[`${name}_msgs_per_s`]!;
  figures['sightline.saturation_msgs_per_s'] = reached('sightline.saturation_columns');
  figures['saturation_columns_ratio'] = reached('sightline.saturation_columns') / reached('socketio.saturation');
  figures['saturation_objects_ratio'] = reached('sightline.saturation_objects') / reached('socketio.saturation');
  figures['saturation_read_ratio'] = reached('sightline.saturation_read') / reached('socketio.saturation_read');
  const jsonBytes = figures['ws.one_topic_bytes_per_message']!;
  const bytes = (name: string): number => figures[`${name}_bytes_per_message`]!;
  figures['columns_bytes_share'] = bytes('sightline.saturation_columns') / jsonBytes;
  figures['plain_bytes_share'] = bytes('sightline_msgpack.saturation_read') / jsonBytes;
  return figures;
}

/** A way of delivery, and what its subscribers do with a message. */
interface Entrant {
  readonly lane: Lane;
  readonly decode: Crowd['decode'];
}

/** All of them in turns, ABBA, since a shared machine is not the same from one minute to the next; medians over the rounds. */
async function inTurns(
  bench: Bench,
  what: string,
  entrants: readonly Entrant[],
  { topics, hz }: { readonly topics: number; readonly hz: number },
): Promise<{ figures: Figures; ratio: (a: string, b: string, of: (span: Span) => number) => number }> {
  const { plan, say } = bench;
  const spans = new Map<string, Span[]>(entrants.map(({ lane }) => [lane.name, []]));
  // Code that is compiled while it is measured would be measured; a quick run is not that sure anyway.
  for (const { lane, decode } of bench.quick ? [] : entrants) {
    await using team = await Team.connect(bench, lane, { topics, count: SUBSCRIBERS, decode });
    await team.span(hz, plan.spanMs);
  }
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const { lane, decode } of round % 2 === 0 ? entrants : entrants.toReversed()) {
      await using team = await Team.connect(bench, lane, { topics, count: SUBSCRIBERS, decode });
      const span = await team.span(hz, plan.spanMs);
      spans.get(lane.name)!.push(span);
      const { p50, p99, cpuUs, subscriberUs, bytesPerMessage, faults, missing, use } = span;
      say(
        `${what}, round ${round + 1} of ${plan.rounds}: ${lane.name} p50 ${p50.toFixed(2)}, p99 ${p99.toFixed(2)} ms, ` +
          `${cpuUs.toFixed(2)} µs of server and ${subscriberUs.toFixed(2)} of subscribers a delivery, ` +
          `${bytesPerMessage.toFixed(0)} bytes, ` +
          `${faults + missing} wrong or missing, ${use.foreign.toFixed(2)} cores of others`,
      );
    }
  }
  const figures: Figures = {};
  for (const [name, own] of spans) {
    const of = (figure: (span: Span) => number): number => median(own.map(figure));
    figures[`${name}.${what}_p50_ms`] = of(({ p50 }) => p50);
    figures[`${name}.${what}_p95_ms`] = of(({ p95 }) => p95);
    figures[`${name}.${what}_p99_ms`] = of(({ p99 }) => p99);
    figures[`${name}.${what}_server_us_per_delivery`] = of(({ cpuUs }) => cpuUs);
    figures[`${name}.${what}_subscriber_us_per_delivery`] = of(({ subscriberUs }) => subscriberUs);
    figures[`${name}.${what}_bytes_per_message`] = of(({ bytesPerMessage }) => bytesPerMessage);
    figures[`${name}.${what}_wrong_or_missing`] = Math.max(...own.map(({ faults, missing }) => faults + missing));
    figures[`${name}.${what}_foreign_cores`] = of(({ use }) => use.foreign);
  }
  return {
    figures,
    ratio: (a, b, of) => median(spans.get(a)!.map((span, i) => of(span) / of(spans.get(b)![i]!))),
  };
}

async function measureLimit(bench: Bench, what: string, lane: Lane, crowd: Crowd, startHz: number): Promise<Figures> {
  const { plan, say } = bench;
  await using team = await Team.connect(bench, lane, crowd);
  // Code that is compiled while it is measured would be measured.
  await team.span(startHz / 2, plan.trialMs);
  const { trialsMax, near } = plan;
  const best = await highestRate({ startHz, hzMax: 500_000, trialsMax, near }, async (hz) => {
    const span = await team.span(hz, plan.trialMs);
    const isGood = isKept(span, P99_MS_MAX);
    say(
      `${lane.name}.${what}: ${hz.toFixed(0)} Hz, ${span.deliveriesPerS.toFixed(0)} a second, p99 ${span.p99.toFixed(1)} ms, ` +
        `${span.bytesPerMessage.toFixed(0)} bytes, ${span.faults} wrong, ${span.missing} missing${isGood ? '' : ': too much'}`,
    );
    return { isGood, result: span };
  });
  const { deliveriesPerS, p99, bytesPerMessage, use } = best.result;
  const name = `${lane.name}.${what}`;
  return {
    [`${name}_msgs_per_s`]: best.isGood ? deliveriesPerS : 0,
    [`${name}_p99_ms`]: p99,
    [`${name}_bytes_per_message`]: bytesPerMessage,
    [`${name}_server_cores`]: use.main(lane.pid) + use.others(lane.pid),
    [`${name}_subscriber_cores`]: use.main(bench.subscribers.pid) + use.others(bench.subscribers.pid),
    [`${name}_foreign_cores`]: use.foreign,
  };
}
