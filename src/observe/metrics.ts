import { z } from 'zod';
import type { DeepReadonly } from '../config/schema.ts';
import { MEMORY_KINDS } from '../fences/memory-ledger.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS, type DropCause, type GrantReason } from '../protocol/video.ts';
import { eventLoopSchema } from './event-loop.ts';
import { latenciesSchema } from './histogram.ts';
import { processSchema } from './process-figures.ts';
import { ratesSchema } from './rates.ts';
import { amount, count, each, share, unixMs } from './schema.ts';

/**
 * The one snapshot of a running server, as `GET /api/performance/metrics` gives it; the other documents are views of it
 * (views.ts). Units stand in the names. `null`: not measured, or nothing to measure yet. It contains no tokens.
 */

const clientId = () => z.string().describe('name of the session');

const DROP_CAUSES = [
  'queue_full',
  'expired',
  'superseded',
  'stale',
  'slow_reader',
  'disconnected',
] as const satisfies readonly DropCause[];

const REASONS = [
  'start',
  'fixed',
  'pin',
  'link',
  'compute',
  'client',
  'ladder',
  'settings',
] as const satisfies readonly GrantReason[];

export const dropsSchema = each(DROP_CAUSES, count).describe('frames that got no result, by cause');

export const pinSchema = z
  .object({
    level: z.enum(QUALITY_LEVELS).optional().describe('quality level; excludes `mode`'),
    mode: z.enum(PERFORMANCE_MODES).optional().describe('performance mode; excludes `level`'),
    skip_ratio: z.int().min(1).max(60).optional().describe('only every n-th frame is sent'),
  })
  .meta({ id: 'Pin', description: 'the quality that the user has fixed' });

export const grantSchema = z
  .object({
    rate_fps: amount().describe('frames a second that the client may send'),
    window: count().describe('frames that may be unanswered at once'),
    width: count().describe('of the largest useful picture, pixels'),
    height: count(),
    quality: z.int().min(1).max(100).describe('of JPEG'),
    pinned: pinSchema.nullable(),
    level: z.string().describe('rung of the quality ladder, `fixed` without one'),
    reason: z.enum(REASONS).describe('what bounds the grant'),
  })
  .meta({ id: 'Grant', description: 'what the server asks of a client' });

const controlSchema = z
  .object({
    grant: grantSchema,
    grants_told: count(),
    ladder_moves: count(),
    last_grant_time: unixMs('time of the last grant').nullable(),
    used_fps: amount().nullable().describe('recent frames a second of the client; null before its second frame'),
    share_fps: amount().nullable().describe('frames a second of the engine; null: unlimited'),
    asked_bps: amount().nullable().describe('bits a second that the server asks of the path'),
    capacity_bps: amount().nullable().describe('estimated bandwidth of the path, bits a second'),
    link_queue_ms: amount()
      .nullable()
      .describe('wait of the last frame behind earlier ones on the path; null: no frame had its time of sending'),
    link_service_ms: amount().nullable().describe('its own serialisation'),
    link_one_way_ms: z.number().nullable().describe('propagation'),
    client_lag_ms: amount().nullable().describe('how far the client’s display is behind; null: it has not reported it'),
    unread_ms: amount().describe('how long the oldest result has been waiting in the client’s send buffer'),
  })
  .meta({ id: 'Quality', description: 'measurements and decisions of a session’s controller' });

const accountsSchema = z
  .object({
    received: count(),
    results: count(),
    errors: count(),
    dropped: dropsSchema,
    queued: count().describe('waiting for a worker'),
    in_flight: count().describe('with a worker'),
    unsent: count().describe('answered, and not handed to the socket yet'),
  })
  .describe('received = results + errors + dropped + queued + in_flight + unsent');

export const sessionSchema = z
  .object({
    client_id: clientId(),
    pipeline: z.string().describe('several with a comma between them'),
    model: z.string().describe('of each of them, likewise'),
    connected: z.boolean().describe('false: its socket is lost, and it waits for its client'),
    age_s: amount(),
    accounts: accountsSchema,
    pipelines: z
      .array(z.object({ pipeline: z.string(), model: z.string(), accounts: accountsSchema }))
      .optional()
      .describe('of a session of several: each; `accounts` beside it are their sums'),
    quality: controlSchema,
    capture_times_replaced: count().describe('impossible capture times, replaced by the arrival'),
    refused_messages: count(),
    refused_costly: count().describe('frames that were refused for what their pictures cost (`SESSION_COSTLY`)'),
  })
  .meta({ id: 'Session', description: 'a video session' });

const totalsSchema = z
  .object({
    sessions: count(),
    received: count(),
    results: count(),
    errors: count(),
    dropped: dropsSchema,
    grants_told: count(),
    ladder_moves: count(),
  })
  .meta({ id: 'Totals', description: 'of all video sessions since the start, those that have ended included' });

const cameraFramesSchema = accountsSchema
  .omit({ unsent: true })
  .extend({
    late: count().describe('results that came later, from the arrival, than the objective of their class allows'),
  })
  .meta({
    id: 'CameraFrames',
    description:
      'frames of cameras that were decoded for pipelines, since the start, counted for each pipeline: received = results + errors + dropped + queued + in_flight',
  });

export const adaptationSchema = z
  .object({
    is_adaptive: z.boolean(),
    capacity_fps: amount()
      .nullable()
      .describe('measured capacity of the engine for the recent mix of work, frames a second'),
    load: share('share of the workers’ time that is used'),
    asked_fps: amount().nullable().describe('most frames a second that the server grants to all sessions together'),
    main_thread_load: share('share of the main thread’s time that is used'),
    process_ceiling_fps: amount()
      .nullable()
      .describe('frames a second that the main thread and memory allow; null where they bound nothing'),
  })
  .meta({ id: 'Adaptation', description: 'the engine’s capacity and how much of it is granted' });

const modelSchema = z.object({
  id: z.string(),
  providers: z
    .object({
      requested: z.array(z.string()),
      effective: z.string().describe('the one that runs the model'),
      refused: z.array(z.object({ provider: z.string(), reason: z.string() })),
      nodes: z.record(z.string(), count()).describe('nodes of the graph by the provider that runs them'),
      notes: z.array(z.string()).optional(),
    })
    .describe('execution providers of ONNX Runtime'),
  warmUpMs: amount(),
});

const engineSchema = z
  .object({
    workerSlots: count().describe('worker slots, with a ready worker or without'),
    workers: count().describe('workers that are ready'),
    busy: count(),
    restarts: count(),
    completed: count(),
    failed: count(),
    decodes: count().describe('pictures that were decoded: one for each frame'),
    workerMs: amount().describe('worker time of the programs that ran to their end, or failed'),
    busyMs: amount().describe('busy time of all workers together'),
    neededMs: amount().describe('of that, the time that the same frames would have needed in full runs'),
    models: z.array(
      modelSchema.extend({
        batch: z
          .object({
            max: count().describe('most pictures in one run that pay'),
            costsMs: z.record(z.string(), amount()).describe('learned time of a run by its size'),
            runs: z.record(z.string(), count()).describe('runs by the number of pictures in them'),
          })
          .describe('how pictures share runs'),
      }),
    ),
    work: z
      .array(
        z.object({
          program: z.string(),
          models: z.record(z.string(), z.string()).describe('by the role that they have in the program'),
          completed: count(),
          workerMs: amount().describe('worker time of all completed ones'),
          costMs: amount().describe('recent worker time of one'),
        }),
      )
      .describe('kinds of work on frames, and their costs'),
    backlog: count(),
    redispatched: count(),
    refused: count(),
    detectionsCapped: count(),
    strays: count(),
    lastLoss: z.string().optional().describe('why the last worker died'),
    isBroken: z.boolean(),
  })
  .meta({ id: 'Engine', description: 'the inference engine' });

const readerCountsSchema = z
  .object({
    published: count(),
    delivered: count(),
    conflated: count(),
    dropped: z.record(z.string(), count()).describe('by cause'),
    expired: count(),
    queued: count(),
  })
  .meta({ id: 'ReaderCounts', description: 'published = delivered + conflated + dropped + expired + queued' });

const telemetrySchema = z
  .object({
    sessions: z.array(
      z.object({
        client_id: clientId(),
        connected: z.boolean(),
        protocol: z.string(),
        age_s: amount(),
        subscriptions: count(),
        topics: count(),
        accounts: readerCountsSchema,
        published: count(),
        duplicates: count(),
        refused_publications: count(),
        refused_messages: count(),
        unsent_bytes: count().describe('in the socket'),
        queued_bytes: count().describe('behind it'),
        critical_queue: count(),
        lag_ms: amount().nullable().describe('how far it is behind in its own work; null: it has not reported it'),
      }),
    ),
    topics: z.array(
      z.object({
        stats: z.object({
          topic: z.string(),
          epoch: count(),
          published: count(),
          published_bytes: count(),
          history_messages: count(),
          history_bytes: count(),
          readers: count(),
        }),
        accounts: readerCountsSchema,
      }),
    ),
    history_bytes: count(),
    topics_forgotten: count(),
    batches_encoded: count(),
    batches_reused: count(),
    fanout_groups: count(),
    fanout_members: count(),
  })
  .meta({ id: 'Telemetry', description: 'the telemetry lane' });

const foxgloveSchema = z.object({
  client_id: clientId(),
  subscriptions: count(),
  published: count(),
  delivered: count(),
  lost: count(),
  expired: count(),
  queued: count(),
  received: count(),
  refused: count(),
});

export const fencesSchema = z
  .object({
    memory: each(MEMORY_KINDS, () =>
      z.object({
        bytes: count().describe('what clients make the server keep, all together, by estimate'),
        total_bytes_max: count(),
        client_bytes_max: count().describe('of one client'),
        refusals: count().describe('since the start: more was refused'),
        evictions: count().describe('since the start: something older had to go'),
      }),
    ),
    planned_bytes: count().describe('all bounds of memory together, see docs/limits.md'),
    time: z.object({
      used_ms: amount().describe(
        'of the main thread, for messages of clients, reading them and delivering to them, since the start',
      ),
      waits: count().describe('times that messages of a client had to wait for their turn'),
      waiting: count().describe('clients whose messages wait'),
    }),
    clients: z
      .array(
        z.object({
          lane: z.string().describe('`server`: its own topics, and what clients have left'),
          client_id: z.string(),
          bytes: each(MEMORY_KINDS, count),
          nearest: z.object({ kind: z.enum(MEMORY_KINDS), share: amount().describe('of the bound of one client') }),
          refusals: count(),
          evictions: count(),
          used_ms: amount().nullable().describe('of the main thread; null: it has no connection of its own'),
          waits: count().nullable(),
        }),
      )
      .describe('those that hold something, or have used time: nearest to a bound first, at most 100'),
    clients_left_out: count(),
    refusals: z
      .array(z.object({ lane: z.string(), code: z.string(), count: count() }))
      .describe('errors that clients were told, since the start'),
    banned_refusals: z
      .object({ video: count(), telemetry: count(), foxglove: count() })
      .describe('connections of banned clients'),
  })
  .meta({ id: 'Fences', description: 'what clients make the server keep and do, and what bounds them' });

const recordingSchema = z
  .object({
    state: z
      .enum(['recording', 'interrupted', 'failed', 'ended'])
      .describe(
        '`interrupted`: it cannot be written, and the server tries again; `failed`: that has ended it; `ended`: it is complete; ended ones stay until another begins',
      ),
    file: z.string().describe('the newest, without its folder'),
    files: count(),
    recorded: count().describe('messages'),
    lost: count().describe('messages, because the disk was full or too slow, or that expired meanwhile'),
    queued: count(),
    odd_times: count().describe('messages whose time the file cannot express: before 1970, or after 2554'),
    interruptions: count(),
    bytes: count().describe('on the disk'),
    error: z.string().nullable(),
  })
  .meta({ id: 'Recording', description: 'a recording of this server' });

export const endpointSchema = z
  .object({
    endpoint: z.string(),
    open: count(),
    mean_age_s: amount(),
    longest_age_s: amount(),
    received_bytes: count(),
    sent_bytes: count(),
    buffered_bytes: count().describe('written, and not yet taken by the operating system'),
  })
  .meta({ id: 'Endpoint', description: 'the open connections at one address' });

const connectionsSchema = z.object({
  open: count().describe('WebSockets and event streams'),
  max: count().describe('`server.max_connections`, or fewer where the process may not open as many files'),
  opened: count().describe('since the start'),
  refused: count().describe('since the start, because all were taken'),
  endpoints: z.array(endpointSchema).describe('those with a connection'),
});

/** What a TCP connection is doing. */
export const SOCKET_STATES = ['waiting', 'request', 'event_stream', 'websocket', 'closing'] as const;
export type SocketState = (typeof SOCKET_STATES)[number];

/** Why a TCP connection has ended; `closed`: in the ordinary way, by either side. */
export const SOCKET_ENDINGS = [
  'closed',
  'silent',
  'header_timeout',
  'request_timeout',
  'bad_request',
  'handshake_failed',
  'idle',
  'unread',
  'unanswered',
  'pipelined',
  'answers_full',
  'half_open',
  'refused',
  'evicted',
  'full',
  'stopped',
] as const;
export type SocketEnding = (typeof SOCKET_ENDINGS)[number];

/** Why a TLS handshake has failed; `untrusted`: the client does not take the certificate. */
export const HANDSHAKE_FAULTS = ['timeout', 'plain_http', 'protocol', 'untrusted', 'ended'] as const;
export type HandshakeFault = (typeof HANDSHAKE_FAULTS)[number];

const socketsSchema = z
  .object({
    open: each(SOCKET_STATES, count).describe(
      '`waiting`: for the header of a request; `closing`: refused, and given a moment to read why',
    ),
    max: count().describe('further ones take the place of the longest waiting'),
    accepted: count(),
    ended: each(SOCKET_ENDINGS, count).describe('by the reason: docs/api.md tells what each means'),
    refused: z
      .object({ connections: count(), rate: count(), handshakes: count() })
      .describe('by the bound of their address: open ones, new ones a second, or TLS handshakes that failed'),
    handshakes_failed: each(HANDSHAKE_FAULTS, count).describe(
      'TLS handshakes, by why; `untrusted`: the client does not take the certificate; `ended`: it went away',
    ),
    addresses: count().describe('those with an open connection'),
    answer_bytes: count().describe('of answers that clients have not taken yet'),
    requests_waiting: count().describe('requests and handshakes that wait for their turn on the main thread'),
  })
  .meta({ id: 'Sockets', description: 'TCP connections of all kinds since the start' });

export const networkSchema = z.object({ received_bytes: count(), sent_bytes: count() }).meta({
  id: 'Network',
  description: 'bytes of all TCP connections since the start, HTTP and WebSocket framing included',
});

const tlsSchema = z
  .object({
    certificate_expires: unixMs('when the certificate in use ends'),
    reloads: count().describe('changes of its files that were taken up'),
    failures: count().describe('changes of its files that could not be used'),
  })
  .meta({ id: 'Tls', description: 'the certificate by which the server proves who it is' });

export const metricsSchema = z
  .object({
    time: unixMs(),
    latency: latenciesSchema.describe('of frames of sessions and of cameras'),
    processing_ms: amount()
      .nullable()
      .describe('recent average time from handing a frame to a worker until it is done'),
    rates: ratesSchema.nullable().describe('null in the first second'),
    event_loop_delay: eventLoopSchema,
    process: processSchema,
    gpu_percent: amount().nullable().describe('null: this version reads no GPU'),
    network: networkSchema,
    connections: connectionsSchema,
    sockets: socketsSchema,
    tls: tlsSchema.nullable().describe('null: the server speaks no TLS'),
    streams: count(),
    callback_faults: count().describe('callbacks of readers that threw: faults of the program'),
    sessions: z.array(sessionSchema).describe('video sessions'),
    totals: totalsSchema,
    camera_frames: cameraFramesSchema,
    adaptation: adaptationSchema,
    engine: engineSchema,
    telemetry: telemetrySchema,
    fences: fencesSchema,
    foxglove: z.array(foxgloveSchema).describe('clients of Foxglove’s protocol'),
    recordings: z.array(recordingSchema).describe('running ones, and failed ones until another begins'),
  })
  .meta({ id: 'Metrics', description: 'all measurements, read at one moment' });

export type Metrics = DeepReadonly<z.output<typeof metricsSchema>>;

/** What rooms report: parts of the document. Their shapes are defined here alone. */
export type VideoSessionReport = Metrics['sessions'][number];
export type VideoTotals = Metrics['totals'];
export type CameraFrames = Metrics['camera_frames'];
export type AdaptationReport = Metrics['adaptation'];
export type TelemetryReport = Metrics['telemetry'];
export type TelemetrySessionReport = TelemetryReport['sessions'][number];
export type FencesReport = Metrics['fences'];
export type FoxgloveSessionReport = Metrics['foxglove'][number];
export type ConnectionsReport = Metrics['connections'];
export type SocketsReport = Metrics['sockets'];
export type TlsReport = NonNullable<Metrics['tls']>;
export type EndpointReport = ConnectionsReport['endpoints'][number];
export type RecordingStatus = Metrics['recordings'][number];

export const healthSchema = z
  .object({
    status: z
      .enum(['ok', 'starting', 'degraded'])
      .describe(
        '`starting`: the server does not process frames yet and nothing is wrong; `degraded`: see the issues, but for those of models that sessions asked for, and for a low limit of open files',
      ),
    issues: z.array(z.object({ code: z.string(), message: z.string().describe('for people') })),
    version: z.string(),
    uptime_s: amount(),
    connections: z.object({ open: count(), max: count() }),
    sessions: count().describe('of all lanes'),
    cameras: z
      .object({ live: count(), wanted: count().describe('those that are to be read') })
      .describe('that the server reads itself'),
    models: z.array(
      modelSchema.extend({ title: z.string(), licence: z.object({ spdx: z.string(), notice: z.string() }) }),
    ),
  })
  .meta({ id: 'Health', description: 'health of the server, with the issues found' });

export type HealthDocument = DeepReadonly<z.output<typeof healthSchema>>;
