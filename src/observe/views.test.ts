import { MEMORY_KINDS } from '../fences/memory-ledger.ts';
import { describe, expect, test } from 'vitest';
import { OWN_STAGES, STAGES } from './histogram.ts';
import { HANDSHAKE_FAULTS, SOCKET_ENDINGS, SOCKET_STATES, type Metrics } from './metrics.ts';
import {
  adaptiveQualityDocument,
  backpressureDocument,
  clientsDocument,
  connectionsDocument,
  poolDocument,
  queuesDocument,
  realtimeDocument,
  streamPerformance,
} from './views.ts';

const LATENCY = { count: 10, p50_ms: 20, p95_ms: 40, p99_ms: 50, max_ms: 60 };
const stages = Object.fromEntries(STAGES.map((stage) => [stage, LATENCY])) as Metrics['latency']['recent']['stages'];
const NO_DROPS = { queue_full: 0, expired: 0, superseded: 0, stale: 0, slow_reader: 0, disconnected: 0 };

function bottlenecks(of: Partial<Record<(typeof OWN_STAGES)[number], number>> = {}) {
  return Object.fromEntries(OWN_STAGES.map((stage) => [stage, of[stage] ?? 0])) as Record<
    (typeof OWN_STAGES)[number],
    number
  >;
}

type Session = Metrics['sessions'][number];

function session(client_id: string, change: Partial<Session> = {}, grant: Partial<Session['quality']['grant']> = {}) {
  return {
    client_id,
    pipeline: 'objects',
    model: 'm',
    connected: true,
    age_s: 10,
    accounts: { received: 100, results: 80, errors: 2, dropped: NO_DROPS, queued: 3, in_flight: 1, unsent: 4 },
    quality: {
      grant: {
        rate_fps: 12,
        window: 3,
        width: 640,
        height: 480,
        quality: 60,
        pinned: null,
        level: 'medium',
        reason: 'link',
        ...grant,
      },
      grants_told: 7,
      ladder_moves: 2,
      last_grant_time: 1,
      used_fps: 11,
      share_fps: null,
      asked_bps: null,
      capacity_bps: null,
      link_queue_ms: 0,
      link_service_ms: 0,
      link_one_way_ms: 0,
      client_lag_ms: 5,
      unread_ms: 0,
    },
    capture_times_replaced: 0,
    refused_messages: 1,
    refused_costly: 0,
    ...change,
  } satisfies Session;
}

/** A server that has just started. */
const IDLE: Metrics = {
  time: 1_000,
  latency: {
    since_start: { stages, bottlenecks: bottlenecks() },
    recent: { stages, bottlenecks: bottlenecks() },
    window_s: 60,
  },
  processing_ms: null,
  rates: null,
  event_loop_delay: { p50_ms: 0, p99_ms: 1, max_ms: 2 },
  process: {
    uptime_s: 1,
    cpu_percent: 25,
    rss_bytes: 512 * 2 ** 20,
    heap_used_bytes: 1,
    heap_total_bytes: 2,
    heap_resident_bytes: 2,
    external_bytes: 3,
    descriptors_open: 20,
    descriptors_max: 1024,
  },
  gpu_percent: null,
  network: { received_bytes: 10, sent_bytes: 20 },
  connections: { open: 0, max: 10, opened: 0, refused: 0, endpoints: [] },
  sockets: {
    open: Object.fromEntries(SOCKET_STATES.map((state) => [state, 0])) as Metrics['sockets']['open'],
    max: 84,
    accepted: 0,
    ended: Object.fromEntries(SOCKET_ENDINGS.map((ending) => [ending, 0])) as Metrics['sockets']['ended'],
    refused: { connections: 0, rate: 0, handshakes: 0 },
    handshakes_failed: Object.fromEntries(
      HANDSHAKE_FAULTS.map((fault) => [fault, 0]),
    ) as Metrics['sockets']['handshakes_failed'],
    addresses: 0,
    answer_bytes: 0,
    requests_waiting: 0,
  },
  tls: null,
  streams: 0,
  callback_faults: 0,
  sessions: [],
  totals: { sessions: 0, received: 0, results: 0, errors: 0, dropped: NO_DROPS, grants_told: 0, ladder_moves: 0 },
  camera_frames: { received: 0, results: 0, errors: 0, dropped: NO_DROPS, queued: 0, in_flight: 0, late: 0 },
  adaptation: {
    is_adaptive: true,
    capacity_fps: null,
    load: 0,
    asked_fps: null,
    main_thread_load: 0,
    process_ceiling_fps: null,
  },
  engine: {
    workerSlots: 2,
    workers: 2,
    busy: 0,
    restarts: 0,
    completed: 0,
    failed: 0,
    decodes: 0,
    workerMs: 0,
    busyMs: 0,
    neededMs: 0,
    models: [],
    work: [],
    backlog: 0,
    redispatched: 0,
    refused: 0,
    detectionsCapped: 0,
    strays: 0,
    isBroken: false,
  },
  telemetry: {
    sessions: [],
    topics: [],
    history_bytes: 0,
    topics_forgotten: 0,
    batches_encoded: 0,
    batches_reused: 0,
    fanout_groups: 0,
    fanout_members: 0,
  },
  fences: {
    memory: Object.fromEntries(
      MEMORY_KINDS.map((kind) => [
        kind,
        { bytes: 0, total_bytes_max: 100, client_bytes_max: 50, refusals: 0, evictions: 0 },
      ]),
    ) as Metrics['fences']['memory'],
    planned_bytes: 1_000,
    time: { used_ms: 0, waits: 0, waiting: 0 },
    clients: [],
    clients_left_out: 0,
    refusals: [],
    banned_refusals: { video: 0, telemetry: 0, foxglove: 0 },
  },
  foxglove: [],
  recordings: [],
};

const endpoint = (name: string, open: number, mean_age_s: number) => ({
  endpoint: name,
  open,
  mean_age_s,
  longest_age_s: 2 * mean_age_s,
  received_bytes: 100,
  sent_bytes: 200,
  buffered_bytes: 5,
});

const telemetrySession = {
  client_id: 'rover',
  connected: false,
  protocol: 'sightline.v1.json',
  age_s: 20,
  subscriptions: 1,
  topics: 2,
  accounts: {
    published: 1000,
    delivered: 900,
    conflated: 50,
    dropped: { overflow: 20, closed: 0 },
    expired: 5,
    queued: 25,
  },
  published: 40,
  duplicates: 0,
  refused_publications: 8,
  refused_messages: 2,
  refused_costly: 0,
  unsent_bytes: 11,
  queued_bytes: 12,
  critical_queue: 3,
  lag_ms: 9,
};

const BUSY: Metrics = {
  ...IDLE,
  latency: {
    ...IDLE.latency,
    recent: { stages, bottlenecks: bottlenecks({ queue: 10, inference: 30 }) },
  },
  processing_ms: 24,
  rates: {
    window_s: 10,
    received_fps: 50,
    results_fps: 40,
    errors_fps: 1,
    dropped_fps: 5,
    grants_per_min: 30,
    ladder_moves_per_min: 2,
    telemetry_messages_per_s: 200,
    received_bytes_per_s: 1e6,
    sent_bytes_per_s: 1e4,
  },
  connections: {
    open: 4,
    max: 5,
    opened: 9,
    refused: 2,
    endpoints: [endpoint('/ws/video', 3, 10), endpoint('/ws/telemetry', 1, 30)],
  },
  sessions: [
    session('a'),
    session('b', { connected: false }, { level: 'low', reason: 'pin', pinned: { level: 'low' } }),
  ],
  totals: {
    sessions: 5,
    received: 1000,
    results: 800,
    errors: 20,
    dropped: { ...NO_DROPS, queue_full: 90, slow_reader: 12 },
    grants_told: 70,
    ladder_moves: 20,
  },
  telemetry: { ...IDLE.telemetry, sessions: [telemetrySession], history_bytes: 77 },
  foxglove: [
    {
      client_id: 'viewer',
      subscriptions: 1,
      published: 10,
      delivered: 6,
      lost: 2,
      expired: 1,
      queued: 1,
      received: 0,
      refused: 0,
    },
  ],
};

const LIMITS = { frameQueue: 25, resultsHistory: 256, criticalMessages: 1000, targetLatencyMs: 75 };

describe('what was not measured is null, not zero', () => {
  test('in a server that has just started', () => {
    expect(streamPerformance(IDLE)).toEqual({
      active_sessions: 0,
      total_throughput_fps: null,
      avg_processing_time_ms: null,
      bottlenecks: [],
      system_resources: { cpu_usage: 25, memory_usage: 512, gpu_usage: null },
    });
    expect(poolDocument(IDLE)).toMatchObject({ utilisation: 0, free: 10, connection_duration_s: null });
    expect(poolDocument(IDLE).network).toEqual({
      received_bytes: 10,
      sent_bytes: 20,
      received_bytes_per_s: null,
      sent_bytes_per_s: null,
    });
    expect(realtimeDocument(IDLE, LIMITS)).toMatchObject({ rates: null, error_rate: null, drop_rate: null });
    expect(backpressureDocument(IDLE).video.drop_rate).toBeNull();
    expect(backpressureDocument(IDLE).fences).toBe(IDLE.fences);
    expect(adaptiveQualityDocument(IDLE)).toMatchObject({ grants_per_min: null, levels: {}, sessions: [] });
    expect(clientsDocument(IDLE).clients).toEqual([]);
    expect(queuesDocument(IDLE, LIMITS).queues.map(({ depth, deepest }) => depth + deepest)).toEqual([0, 0, 0, 0, 0]);
  });

  test('rates of nothing: no frame came', () => {
    const quiet = { ...BUSY, rates: { ...BUSY.rates!, received_fps: 0, errors_fps: 0, dropped_fps: 0 } };
    expect(realtimeDocument(quiet, LIMITS)).toMatchObject({ error_rate: null, drop_rate: null });
  });
});

test('/stream/performance: bottlenecks worst first', () => {
  expect(streamPerformance(BUSY)).toEqual({
    active_sessions: 1,
    total_throughput_fps: 40,
    avg_processing_time_ms: 24,
    bottlenecks: [
      { stage: 'inference', frames: 30, share: 0.75 },
      { stage: 'queue', frames: 10, share: 0.25 },
    ],
    system_resources: { cpu_usage: 25, memory_usage: 512, gpu_usage: null },
  });
});

test('connections and the pool: mean over all, longest of any', () => {
  expect(connectionsDocument(BUSY)).toMatchObject({
    open: 4,
    utilisation: 0.8,
    refused: 2,
    video: { sessions: 2, connected: 1 },
    telemetry: { sessions: 1, connected: 0 },
    foxglove: { sessions: 1, connected: 1 },
    network: { received_bytes_per_s: 1e6 },
  });
  expect(poolDocument(BUSY)).toMatchObject({
    free: 1,
    opened: 9,
    closed: 5,
    connection_duration_s: { mean: 15, longest: 60 },
    waiting_for_client: 2,
  });
});

test('clients of all lanes, each by what it can tell', () => {
  const [a, , rover, viewer] = clientsDocument(BUSY).clients;
  expect(a).toMatchObject({
    lane: 'video',
    duration_s: 10,
    delivered: 80,
    delivered_per_s: 8,
    published_per_s: 10,
    errors: 3,
    error_rate: 3 / 101,
    queued: 3,
    lag_ms: 5,
  });
  expect(rover).toMatchObject({
    lane: 'telemetry',
    connected: false,
    delivered_per_s: 45,
    published: 40,
    dropped: 25,
    errors: 10,
    error_rate: 0.2,
  });
  expect(viewer).toMatchObject({ lane: 'foxglove', duration_s: null, dropped: 3, error_rate: null, lag_ms: null });
});

test('backpressure and queues', () => {
  expect(backpressureDocument(BUSY)).toMatchObject({
    video: { queued: 6, in_flight: 2, unsent: 8, drop_rate: 0.1, dropped: { queue_full: 90 } },
    telemetry: { queued_messages: 25, queued_bytes: 12, unsent_bytes: 11, critical_messages: 3, expired: 5 },
    sockets: { buffered_bytes: 10 },
    sessions: [
      { client_id: 'a', granted_fps: 12, used_fps: 11, reason: 'link' },
      { client_id: 'b', reason: 'pin' },
    ],
  });
  expect(queuesDocument(BUSY, LIMITS).queues).toMatchObject([
    { name: 'frames', queues: 2, depth: 6, deepest: 3, capacity: 25, dropped: 90 },
    { name: 'engine', queues: 1, depth: 0, capacity: null },
    { name: 'results', depth: 8, deepest: 4, capacity: 256, dropped: 12 },
    { name: 'telemetry', depth: 25, dropped: 20 },
    { name: 'critical', depth: 3, capacity: 1000 },
  ]);
});

test('adaptive quality: how often it changes, and why', () => {
  expect(adaptiveQualityDocument(BUSY)).toMatchObject({
    grants_told: 70,
    ladder_moves: 20,
    grants_per_min: 30,
    ladder_moves_per_min: 2,
    pinned: 1,
    levels: { medium: 1, low: 1 },
    reasons: { link: 1, pin: 1 },
    sessions: [{ client_id: 'a', grants_told: 7 }, { client_id: 'b' }],
  });
});
