import { z } from 'zod';

/**
 * What the monitor reads of a server's two documents. The server may be older or newer than this command: whatever is not
 * there, or is of another kind, is `undefined` and not shown.
 */

const figure = z.number().optional().catch(undefined);
const text = z.string().optional().catch(undefined);
const flag = z.boolean().optional().catch(undefined);
const figures = z.record(z.string(), figure).optional().catch(undefined);

function part<S extends z.ZodRawShape>(shape: S) {
  return z.object(shape).optional().catch(undefined);
}

/** All fields of `shape` are optional: what is not an object becomes one without any. It is counted, and has nothing to show. */
function list<S extends z.ZodRawShape>(shape: S) {
  return z
    .array(z.object(shape).catch({} as z.output<z.ZodObject<S>>))
    .optional()
    .catch(undefined);
}

const latencyFigures = part({ count: figure, p50_ms: figure, p95_ms: figure, p99_ms: figure });

const healthSchema = z.object({
  status: z.string(),
  issues: list({ code: text, message: text }),
  version: text,
  uptime_s: figure,
});

/** What `Date` can tell. */
const TIME_MAX_MS = 8.64e15;

const metricsSchema = z.object({
  time: z.number().min(0).max(TIME_MAX_MS).optional().catch(undefined),
  latency: part({
    recent: part({ stages: z.record(z.string(), latencyFigures).optional().catch(undefined), bottlenecks: figures }),
  }),
  event_loop_delay: part({ p50_ms: figure, p99_ms: figure, max_ms: figure }),
  process: part({
    uptime_s: figure,
    cpu_percent: figure,
    rss_bytes: figure,
    heap_used_bytes: figure,
    heap_total_bytes: figure,
  }),
  connections: part({ open: figure, max: figure }),
  streams: figure,
  callback_faults: figure,
  sessions: list({
    client_id: text,
    pipeline: text,
    model: text,
    connected: flag,
    age_s: figure,
    accounts: part({ results: figure, errors: figure, dropped: figures, queued: figure, in_flight: figure }),
    quality: part({
      grant: part({ rate_fps: figure, width: figure, height: figure, quality: figure, level: text, reason: text }),
    }),
  }),
  engine: part({
    seats: figure,
    workers: figure,
    busy: figure,
    backlog: figure,
    restarts: figure,
    completed: figure,
    failed: figure,
    models: list({ id: text, providers: part({ effective: text }) }),
  }),
  telemetry: part({
    sessions: list({
      client_id: text,
      connected: flag,
      accounts: part({ delivered: figure, dropped: figures, queued: figure }),
    }),
    topics: list({
      stats: part({ topic: text, epoch: figure, published: figure, published_bytes: figure, readers: figure }),
    }),
    history_bytes: figure,
  }),
  foxglove: list({}),
});

export type MonitorHealth = z.output<typeof healthSchema>;
export type MonitorMetrics = z.output<typeof metricsSchema>;
export type SessionSeen = NonNullable<MonitorMetrics['sessions']>[number];
export type TopicSeen = NonNullable<NonNullable<MonitorMetrics['telemetry']>['topics']>[number];

export interface MonitorDocument {
  readonly health: MonitorHealth;
  readonly metrics: MonitorMetrics;
}

/** `undefined`: these are not the documents of a Sightline server. */
export function readDocument(health: unknown, metrics: unknown): MonitorDocument | undefined {
  const [read, measured] = [healthSchema.safeParse(health), metricsSchema.safeParse(metrics)];
  return read.success && measured.success ? { health: read.data, metrics: measured.data } : undefined;
}
