import { z } from 'zod';
import type { DeepReadonly } from '../config/schema.ts';
import { eventLoopSchema } from './event-loop.ts';
import { latencySchema, OWN_STAGES } from './histogram.ts';
import {
  adaptationSchema,
  dropsSchema,
  endpointSchema,
  fencesSchema,
  grantSchema,
  networkSchema,
  type Metrics,
} from './metrics.ts';
import { processSchema } from './process-figures.ts';
import { ratesSchema, type Rates } from './rates.ts';
import { amount, count, share, unixMs } from './schema.ts';

/** Views of the one snapshot: the schema of each document of the API, and how it is made. Pure. */

type Document<S extends z.ZodType> = DeepReadonly<z.output<S>>;

/** Settings that the views show beside figures. */
export interface Limits {
  readonly frameQueue: number;
  readonly resultsHistory: number;
  readonly criticalMessages: number;
  readonly targetLatencyMs: number;
}

export const streamPerformanceSchema = z
  .object({
    active_sessions: count().describe('video sessions with a connected client'),
    total_throughput_fps: amount()
      .nullable()
      .describe('results a second, all sessions and cameras together; null in the first second'),
    avg_processing_time_ms: amount()
      .nullable()
      .describe('from handing a frame to a worker until it is done; null before the first one'),
    bottlenecks: z
      .array(z.object({ stage: z.enum(OWN_STAGES), frames: count(), share: share('of the frames') }))
      .describe('stages in which frames of the last one to two minutes spent most of their time, worst first'),
    system_resources: z.object({
      cpu_usage: z.number().min(0).max(100).describe('of all processors that the server may use, percent'),
      memory_usage: amount().describe('resident memory of the server, MiB'),
      gpu_usage: amount().nullable().describe('null: this version reads no GPU'),
    }),
  })
  .meta({ id: 'StreamPerformance' });

export function streamPerformance(metrics: Metrics): Document<typeof streamPerformanceSchema> {
  const { bottlenecks } = metrics.latency.recent;
  const frames = sum(OWN_STAGES, (stage) => bottlenecks[stage]);
  return {
    active_sessions: connected(metrics.sessions),
    total_throughput_fps: metrics.rates?.results_fps ?? null,
    avg_processing_time_ms: metrics.processing_ms,
    bottlenecks: OWN_STAGES.filter((stage) => bottlenecks[stage] > 0)
      .toSorted((a, b) => bottlenecks[b] - bottlenecks[a])
      .map((stage) => ({ stage, frames: bottlenecks[stage], share: bottlenecks[stage] / frames })),
    system_resources: {
      cpu_usage: metrics.process.cpu_percent,
      memory_usage: metrics.process.rss_bytes / 2 ** 20,
      gpu_usage: metrics.gpu_percent,
    },
  };
}

const laneSchema = z.object({ sessions: count(), connected: count() });
const byteRatesSchema = networkSchema.extend({
  received_bytes_per_s: amount().nullable(),
  sent_bytes_per_s: amount().nullable(),
});

export const connectionsDocumentSchema = z
  .object({
    time: unixMs(),
    open: count().describe('WebSockets and event streams'),
    max: count(),
    utilisation: share('of the connections that may be open'),
    opened: count().describe('since the start'),
    refused: count().describe('since the start, because all were taken'),
    endpoints: z.array(endpointSchema),
    video: laneSchema,
    telemetry: laneSchema,
    foxglove: laneSchema,
    network: byteRatesSchema.describe('of all TCP connections; null in the first second'),
  })
  .meta({ id: 'Connections' });

export function connectionsDocument(metrics: Metrics): Document<typeof connectionsDocumentSchema> {
  const { connections, sessions, telemetry, foxglove } = metrics;
  return {
    time: metrics.time,
    ...connections,
    utilisation: utilisation(connections),
    video: { sessions: sessions.length, connected: connected(sessions) },
    telemetry: { sessions: telemetry.sessions.length, connected: connected(telemetry.sessions) },
    // A client of Foxglove's protocol has no session beyond its connection.
    foxglove: { sessions: foxglove.length, connected: foxglove.length },
    network: network(metrics),
  };
}

export const poolSchema = z
  .object({
    time: unixMs(),
    open: count(),
    max: count(),
    free: count(),
    utilisation: share('of the connections that may be open'),
    opened: count().describe('since the start'),
    closed: count().describe('since the start'),
    refused: count().describe('since the start, because all were taken'),
    connection_duration_s: z
      .object({ mean: amount(), longest: amount() })
      .nullable()
      .describe('of the open ones; null: there are none'),
    waiting_for_client: count().describe('sessions whose socket is lost and whose client may come back'),
    network: byteRatesSchema,
  })
  .meta({ id: 'ConnectionPool' });

export function poolDocument(metrics: Metrics): Document<typeof poolSchema> {
  const { open, max, opened, refused, endpoints } = metrics.connections;
  const { sessions, telemetry } = metrics;
  return {
    time: metrics.time,
    open,
    max,
    free: Math.max(0, max - open),
    utilisation: utilisation(metrics.connections),
    opened,
    closed: opened - open,
    refused,
    connection_duration_s:
      open === 0
        ? null
        : {
            mean: sum(endpoints, (endpoint) => endpoint.mean_age_s * endpoint.open) / open,
            longest: Math.max(...endpoints.map(({ longest_age_s }) => longest_age_s)),
          },
    waiting_for_client:
      sessions.length - connected(sessions) + telemetry.sessions.length - connected(telemetry.sessions),
    network: network(metrics),
  };
}

export const clientsSchema = z
  .object({
    time: unixMs(),
    clients: z.array(
      z.object({
        client_id: z.string(),
        lane: z.enum(['video', 'telemetry', 'foxglove']),
        connected: z.boolean(),
        duration_s: amount().nullable().describe('age of the session; null where it is not kept'),
        delivered: count().describe('results (video) or messages that it was sent'),
        delivered_per_s: amount().nullable().describe('average over its session; null where its age is not kept'),
        published: count().describe('frames (video) or messages that it has sent'),
        published_per_s: amount().nullable(),
        dropped: count().describe('of messages for it, or of its frames'),
        errors: count().describe('frames that ended in an error, and messages that were refused'),
        error_rate: share('errors among its frames and messages').nullable().describe('null: it has sent nothing'),
        queued: count().describe('frames or messages that wait'),
        lag_ms: amount().nullable().describe('how far it is behind in its own work, as it reports'),
      }),
    ),
  })
  .meta({ id: 'Clients' });

type Client = Document<typeof clientsSchema>['clients'][number];

export function clientsDocument(metrics: Metrics): Document<typeof clientsSchema> {
  const video = metrics.sessions.map(({ client_id, connected, age_s, accounts, quality, refused_messages }): Client => {
    const { received, results, errors, dropped, queued } = accounts;
    return {
      client_id,
      lane: 'video',
      connected,
      duration_s: age_s,
      delivered: results,
      delivered_per_s: per(results, age_s),
      published: received,
      published_per_s: per(received, age_s),
      dropped: total(dropped),
      errors: errors + refused_messages,
      error_rate: per(errors + refused_messages, received + refused_messages),
      queued,
      lag_ms: quality.client_lag_ms,
    };
  });
  const telemetry = metrics.telemetry.sessions.map((session): Client => {
    const { accounts, published, age_s } = session;
    const errors = session.refused_messages + session.refused_publications;
    return {
      client_id: session.client_id,
      lane: 'telemetry',
      connected: session.connected,
      duration_s: age_s,
      delivered: accounts.delivered,
      delivered_per_s: per(accounts.delivered, age_s),
      published,
      published_per_s: per(published, age_s),
      dropped: total(accounts.dropped) + accounts.expired,
      errors,
      error_rate: per(errors, published + errors),
      queued: accounts.queued,
      lag_ms: session.lag_ms,
    };
  });
  const foxglove = metrics.foxglove.map(
    ({ client_id, delivered, lost, expired, queued, received, refused }): Client => ({
      client_id,
      lane: 'foxglove',
      connected: true,
      duration_s: null,
      delivered,
      delivered_per_s: null,
      published: received,
      published_per_s: null,
      dropped: lost + expired,
      errors: refused,
      error_rate: per(refused, received + refused),
      queued,
      lag_ms: null,
    }),
  );
  return { time: metrics.time, clients: [...video, ...telemetry, ...foxglove] };
}

export const backpressureSchema = z
  .object({
    time: unixMs(),
    video: z.object({
      queued: count().describe('frames that wait for a worker'),
      in_flight: count().describe('frames with a worker'),
      unsent: count().describe('results that wait for their socket'),
      dropped: dropsSchema.describe('since the start, sessions that have ended included'),
      drop_rate: share(
        'frames dropped of those received, those of cameras included, over the last ten seconds',
      ).nullable(),
    }),
    engine: z.object({ workers: count(), busy: count(), backlog: count() }),
    adaptation: adaptationSchema,
    telemetry: z.object({
      queued_messages: count(),
      queued_bytes: count(),
      unsent_bytes: count(),
      critical_messages: count(),
      dropped: z.record(z.string(), count()).describe('by cause, of the sessions that are there'),
      expired: count(),
      history_bytes: count(),
    }),
    fences: fencesSchema,
    sockets: z.object({ buffered_bytes: count().describe('written, and not taken by the operating system yet') }),
    sessions: z.array(
      z.object({
        client_id: z.string(),
        queued: count(),
        in_flight: count(),
        unsent: count(),
        dropped: count(),
        granted_fps: amount(),
        used_fps: amount().nullable(),
        reason: grantSchema.shape.reason.describe('what bounds the grant'),
      }),
    ),
  })
  .meta({ id: 'Backpressure' });

export function backpressureDocument(metrics: Metrics): Document<typeof backpressureSchema> {
  const { sessions, telemetry, engine, totals, adaptation } = metrics;
  const dropped: Record<string, number> = {};
  for (const { accounts } of telemetry.sessions) {
    for (const [cause, n] of Object.entries(accounts.dropped)) dropped[cause] = (dropped[cause] ?? 0) + n;
  }
  return {
    time: metrics.time,
    video: {
      queued: sum(sessions, ({ accounts }) => accounts.queued),
      in_flight: sum(sessions, ({ accounts }) => accounts.in_flight),
      unsent: sum(sessions, ({ accounts }) => accounts.unsent),
      dropped: totals.dropped,
      drop_rate: rateOf(metrics.rates, 'dropped_fps'),
    },
    engine: { workers: engine.workers, busy: engine.busy, backlog: engine.backlog },
    adaptation,
    telemetry: {
      queued_messages: sum(telemetry.sessions, ({ accounts }) => accounts.queued),
      queued_bytes: sum(telemetry.sessions, ({ queued_bytes }) => queued_bytes),
      unsent_bytes: sum(telemetry.sessions, ({ unsent_bytes }) => unsent_bytes),
      critical_messages: sum(telemetry.sessions, ({ critical_queue }) => critical_queue),
      dropped,
      expired: sum(telemetry.sessions, ({ accounts }) => accounts.expired),
      history_bytes: telemetry.history_bytes,
    },
    fences: metrics.fences,
    sockets: { buffered_bytes: sum(metrics.connections.endpoints, ({ buffered_bytes }) => buffered_bytes) },
    sessions: sessions.map(({ client_id, accounts, quality }) => ({
      client_id,
      queued: accounts.queued,
      in_flight: accounts.in_flight,
      unsent: accounts.unsent,
      dropped: total(accounts.dropped),
      granted_fps: quality.grant.rate_fps,
      used_fps: quality.used_fps,
      reason: quality.grant.reason,
    })),
  };
}

export const realtimeSchema = z
  .object({
    time: unixMs(),
    rates: ratesSchema.nullable().describe('null in the first second'),
    error_rate: share('errors of the frames received, over the last ten seconds')
      .nullable()
      .describe('null: no frame came'),
    drop_rate: share('frames dropped of those received, over the last ten seconds').nullable(),
    processing_ms: amount().nullable(),
    target_latency_ms: amount(),
    latency: latencySchema.describe('capture to handed to the encoder, recently'),
    stages: z.object({ queue: latencySchema, inference: latencySchema, transmit: latencySchema }).describe('recent'),
    event_loop_delay: eventLoopSchema,
    process: processSchema,
    gpu_percent: amount().nullable(),
    network: byteRatesSchema,
  })
  .meta({ id: 'Realtime' });

export function realtimeDocument(metrics: Metrics, limits: Limits): Document<typeof realtimeSchema> {
  const { total: whole, queue, inference, transmit } = metrics.latency.recent.stages;
  return {
    time: metrics.time,
    rates: metrics.rates,
    error_rate: rateOf(metrics.rates, 'errors_fps'),
    drop_rate: rateOf(metrics.rates, 'dropped_fps'),
    processing_ms: metrics.processing_ms,
    target_latency_ms: limits.targetLatencyMs,
    latency: whole,
    stages: { queue, inference, transmit },
    event_loop_delay: metrics.event_loop_delay,
    process: metrics.process,
    gpu_percent: metrics.gpu_percent,
    network: network(metrics),
  };
}

export const queuesSchema = z
  .object({
    time: unixMs(),
    queues: z.array(
      z.object({
        name: z.enum(['frames', 'engine', 'results', 'telemetry', 'critical']),
        what: z.string(),
        queues: count().describe('number of queues: one for each session, or one'),
        depth: count().describe('of all of them together'),
        deepest: count().describe('of the fullest one'),
        capacity: count().nullable().describe('of one; null: it has no limit of its own'),
        dropped: count().describe(
          'because one was full: of frames since the start, else of the sessions that are there',
        ),
      }),
    ),
  })
  .meta({ id: 'Queues' });

export function queuesDocument(metrics: Metrics, limits: Limits): Document<typeof queuesSchema> {
  const { sessions, telemetry, totals, engine } = metrics;
  return {
    time: metrics.time,
    queues: [
      {
        name: 'frames',
        what: 'frames of a session that wait for a worker; the oldest goes first',
        ...depths(sessions.map(({ accounts }) => accounts.queued)),
        capacity: limits.frameQueue,
        dropped: totals.dropped.queue_full,
      },
      {
        name: 'engine',
        what: 'pictures that wait in the engine for a worker',
        ...depths([engine.backlog]),
        capacity: null,
        dropped: engine.refused,
      },
      {
        name: 'results',
        what: 'results of a session that wait for its socket',
        ...depths(sessions.map(({ accounts }) => accounts.unsent)),
        capacity: limits.resultsHistory,
        dropped: totals.dropped.slow_reader,
      },
      {
        name: 'telemetry',
        what: 'messages not yet sent to a telemetry session; they are in the histories of their topics',
        ...depths(telemetry.sessions.map(({ accounts }) => accounts.queued)),
        capacity: null,
        dropped: sum(telemetry.sessions, ({ accounts }) => total(accounts.dropped)),
      },
      {
        name: 'critical',
        what: 'critical messages of a telemetry session, on a lane of their own; with one more it is closed',
        ...depths(telemetry.sessions.map(({ critical_queue }) => critical_queue)),
        capacity: limits.criticalMessages,
        dropped: 0,
      },
    ],
  };
}

export const adaptiveQualitySchema = z
  .object({
    time: unixMs(),
    adaptation: adaptationSchema,
    grants_told: count().describe('since the start'),
    ladder_moves: count().describe('since the start'),
    grants_per_min: amount().nullable().describe('over the last ten seconds'),
    ladder_moves_per_min: amount().nullable().describe('over the last ten seconds'),
    pinned: count().describe('sessions with a pin'),
    levels: z.record(z.string(), count()).describe('sessions by the rung that they are on'),
    reasons: z.record(z.string(), count()).describe('sessions by what bounds their grant'),
    sessions: z.array(
      z.object({ client_id: z.string(), grant: grantSchema, grants_told: count(), ladder_moves: count() }),
    ),
  })
  .meta({ id: 'AdaptiveQuality' });

export function adaptiveQualityDocument(metrics: Metrics): Document<typeof adaptiveQualitySchema> {
  const grants = metrics.sessions.map(({ quality }) => quality.grant);
  return {
    time: metrics.time,
    adaptation: metrics.adaptation,
    grants_told: metrics.totals.grants_told,
    ladder_moves: metrics.totals.ladder_moves,
    grants_per_min: metrics.rates?.grants_per_min ?? null,
    ladder_moves_per_min: metrics.rates?.ladder_moves_per_min ?? null,
    pinned: grants.filter(({ pinned }) => pinned !== null).length,
    levels: tally(grants.map(({ level }) => level)),
    reasons: tally(grants.map(({ reason }) => reason)),
    sessions: metrics.sessions.map(({ client_id, quality }) => ({
      client_id,
      grant: quality.grant,
      grants_told: quality.grants_told,
      ladder_moves: quality.ladder_moves,
    })),
  };
}

function depths(items: readonly number[]) {
  return { queues: items.length, depth: sum(items, (one) => one), deepest: Math.max(0, ...items) };
}

/** Frames of this kind of those received, over the window; null: none came. */
function rateOf(rates: Rates | null, kind: 'errors_fps' | 'dropped_fps'): number | null {
  // Frames received before the window may be lost within it.
  return rates && rates.received_fps > 0 ? Math.min(1, rates[kind] / rates.received_fps) : null;
}

function network({ network: bytes, rates }: Metrics) {
  return {
    ...bytes,
    received_bytes_per_s: rates?.received_bytes_per_s ?? null,
    sent_bytes_per_s: rates?.sent_bytes_per_s ?? null,
  };
}

function utilisation({ open, max }: { readonly open: number; readonly max: number }): number {
  return Math.min(1, open / max);
}

function connected(sessions: readonly { readonly connected: boolean }[]): number {
  return sessions.filter((session) => session.connected).length;
}

function per(n: number, of: number): number | null {
  return of > 0 ? n / of : null;
}

function total(counts: Readonly<Record<string, number>>): number {
  return sum(Object.values(counts), (n) => n);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((all, item) => all + of(item), 0);
}

function tally(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries(counts);
}
