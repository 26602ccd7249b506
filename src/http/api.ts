import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { ConfigChange, ConfigRequest, ConfigState, ChangedSetting } from '../config/coordinator.ts';
import type { OverriddenSetting } from '../config/load.ts';
import { CONFIG_KEYS, ENTRY_SECTIONS } from '../config/keys.ts';
import { shownValue } from '../config/secrets.ts';
import { configSchema, type DeepReadonly } from '../config/schema.ts';
import { STRATEGIES } from '../config/strategies.ts';
import {
  grantSchema,
  healthSchema,
  metricsSchema,
  pinSchema,
  sessionSchema,
  type HealthDocument,
  type Metrics,
} from '../observe/metrics.ts';
import { expositionOf, formatFor } from '../observe/exposition.ts';
import type { FigureReading } from '../observe/figures.ts';
import { count } from '../observe/schema.ts';
import * as views from '../observe/views.ts';
import type { SelfBenchmarkResult } from '../observe/self-benchmark.ts';
import type { GrantFields, Pin } from '../protocol/video.ts';
import { openApiDocument, type OpenApiDocument, type OpenApiInfo, type ToldSocket } from './openapi.ts';
import { answer, type Route } from './route.ts';

/** The REST API: its route table. The host supplies the data and the actions. */

export interface ApiHost {
  readonly info: OpenApiInfo;
  health(): HealthDocument;
  /** Frames can be processed now. */
  isReady(): boolean;
  /** Read anew by each call. */
  metrics(): Metrics;
  /** The same as figures. */
  figures(): readonly FigureReading[];
  limits(): views.Limits;
  pipelines(): readonly PipelineReport[];
  /** Throws SESSION_UNKNOWN. */
  session(clientId: string): Metrics['sessions'][number];
  /** Pins the quality of the client; null removes the pin. The client gets a grant. Throws SESSION_UNKNOWN. */
  pin(clientId: string, pin: Pin | null): GrantFields;
  config(): ConfigState;
  /** Throws CONFIG_*. */
  changeConfig(request: ConfigRequest): ConfigChange;
  /** Reads the file again. Throws CONFIG_*. */
  reloadConfig(): ConfigChange;
  /** Throws BENCHMARK_BUSY, MODEL_UNAVAILABLE. */
  benchmark(seconds: number): Promise<SelfBenchmarkResult>;
}

/** `others` and `sockets`: the server's other routes and sockets, listed in the document too. */
export function apiRoutes(host: ApiHost, sockets: readonly ToldSocket[], others: readonly Route[]): Route[] {
  const routes: Route[] = [
    ...healthRoutes(host),
    ...optimizationRoutes(host),
    ...sessionRoutes(host),
    ...configRoutes(host),
    answer({
      method: 'GET',
      url: '/api/pipelines',
      permission: READ_METRICS,
      tag: 'pipelines',
      summary: 'the pipelines: the kinds of work on frames',
      response: z.object({ pipelines: z.array(pipelineSchema) }),
      handle: () => ({ pipelines: [...host.pipelines()] }),
    }),
    ...others,
    answer({
      method: 'GET',
      url: '/api/openapi.json',
      permission: PUBLIC,
      tag: 'api',
      summary: 'this document: OpenAPI 3.1',
      response: openApiSchema,
      handle: () => (document ??= openApiDocument(routes, sockets, { ...host.info, tags: TAGS })),
    }),
  ];
  let document: OpenApiDocument | undefined;
  return routes;
}

const TAGS = {
  health: 'is the server well',
  performance: 'load and speed of the server',
  optimization: 'the same by other views, also under `/api`',
  sessions: 'video sessions, their pins and their results',
  pipelines: 'the pipelines for frames',
  cameras: 'the cameras that the server reads itself',
  webrtc: 'viewers of cameras by WebRTC (WHEP), and publishers that are cameras (WHIP)',
  alerts: 'objectives that are not met, and silences',
  access: 'who is signed in',
  config: 'settings, at run time too',
  page: 'files of the pages',
  api: 'the API’s own description',
};

const PUBLIC = { action: 'public' } as const;
const READ_METRICS = { action: 'read', resource: 'metrics' } as const;

const pipelineSchema = z
  .object({
    name: z.string().describe('for `?pipeline=` of a video session'),
    title: z.string(),
    description: z.string(),
    models: z.record(z.string(), z.string()).describe('ids by role; the defaults of those that may be chosen'),
    choices: z.array(z.string()).describe('options that a source of frames may choose'),
    result: z
      .record(z.string(), z.unknown())
      .describe('JSON Schema of the fields that a result has beside the common ones'),
  })
  .meta({ id: 'Pipeline', description: 'one kind of work on frames' });

export type PipelineReport = DeepReadonly<z.output<typeof pipelineSchema>>;

const openApiSchema = z.object({
  openapi: z.string(),
  info: z.object({
    title: z.string(),
    version: z.string(),
    description: z.string(),
    license: z.object({ name: z.string(), identifier: z.string() }),
  }),
  servers: z.array(z.object({ url: z.string(), description: z.string() })),
  security: z.array(z.record(z.string(), z.array(z.string()))).describe('any one of them'),
  tags: z.array(z.object({ name: z.string(), description: z.string().optional() })),
  paths: z.record(z.string(), z.record(z.string(), z.record(z.string(), z.unknown()))),
  'x-websockets': z.array(z.record(z.string(), z.unknown())).describe('operations that OpenAPI cannot describe'),
  components: z.object({
    schemas: z.record(z.string(), z.record(z.string(), z.unknown())),
    securitySchemes: z.record(z.string(), z.record(z.string(), z.unknown())),
  }),
});

const healthStatusSchema = healthSchema
  .pick({ status: true })
  .meta({ id: 'HealthStatus', description: 'for who may not read `metrics`' });

const BENCHMARK_SECONDS_MAX = 10;

const benchmarkSchema = z
  .object({
    seconds: z.number().min(0).describe('the actual duration'),
    frames: count(),
    fps: z.number().min(0).describe('frames a second of the engine beside its sessions'),
    parallel: count().describe('most pictures in the engine at once'),
    stood_back: z.number().min(0).max(1).describe('share of the time in which it gave way to sessions'),
    p50_ms: z.number().min(0).describe('of one picture, JPEG to detections, its wait for a worker included'),
    p95_ms: z.number().min(0),
    stages_ms: z
      .object({
        decode: z.number().min(0),
        preprocess: z.number().min(0),
        inference: z.number().min(0),
        postprocess: z.number().min(0),
      })
      .describe('means'),
  })
  .meta({ id: 'Benchmark' });

function healthRoutes(host: ApiHost): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/health',
      permission: PUBLIC,
      tag: 'health',
      summary: 'health of the server, with the issues found',
      description: 'Who may not read `metrics` gets the status alone.',
      response: healthSchema.or(healthStatusSchema),
      handle: ({ caller }) => {
        const health = host.health();
        return caller.principal?.allows('read', 'metrics') ? health : { status: health.status };
      },
    }),
    answer({
      method: 'GET',
      url: '/-/ready',
      permission: PUBLIC,
      tag: 'health',
      summary: 'may work be sent here: 200, or 503',
      response: z.string(),
      errors: ['NOT_READY'],
      handle: () => {
        if (host.isReady()) return 'ready\n';
        throw new SightlineError('NOT_READY', 'the server has no model or no worker yet, or stops');
      },
    }),
    answer({
      method: 'GET',
      url: '/metrics',
      permission: READ_METRICS,
      tag: 'performance',
      summary: 'all figures for a scraper: OpenMetrics, or Prometheus’ text format',
      response: z.string(),
      handle: ({ caller }) => {
        const format = formatFor(caller.request.headers.accept);
        caller.setHeader('Content-Type', format.contentType);
        return expositionOf(host.figures(), format);
      },
    }),
    answer({
      method: 'GET',
      url: '/api/performance/metrics',
      permission: READ_METRICS,
      tag: 'performance',
      summary: 'all measurements, read at one moment',
      response: metricsSchema,
      handle: () => host.metrics(),
    }),
    answer({
      method: 'GET',
      url: '/api/performance/connections',
      permission: READ_METRICS,
      tag: 'performance',
      summary: 'the connections by address: how many, how old, how many bytes',
      response: views.connectionsDocumentSchema,
      handle: () => views.connectionsDocument(host.metrics()),
    }),
    answer({
      method: 'GET',
      url: '/api/performance/backpressure',
      permission: READ_METRICS,
      tag: 'performance',
      summary: 'how much waits, how much was dropped, and what the server asks of sources because of it',
      response: views.backpressureSchema,
      handle: () => views.backpressureDocument(host.metrics()),
    }),
    answer({
      method: 'POST',
      url: '/api/performance/benchmark',
      permission: { action: 'admin', resource: 'engine' },
      tag: 'performance',
      summary: 'measure the spare capacity of the engine, with a picture of the server’s own',
      description:
        'One at a time. It gives way to sessions: while one is connected it leaves a worker free for it, and while a frame waits it runs nothing. The server refuses it where that leaves no room.',
      body: z.strictObject({
        seconds: z.number().min(1).max(BENCHMARK_SECONDS_MAX).default(3).describe('for how long'),
      }),
      example: { seconds: 3 },
      errors: ['BENCHMARK_BUSY', 'MODEL_UNAVAILABLE', 'SHUTTING_DOWN'],
      response: benchmarkSchema,
      handle: ({ body }) => host.benchmark(body.seconds),
    }),
    answer({
      method: 'GET',
      url: '/stream/performance',
      permission: READ_METRICS,
      tag: 'performance',
      summary: 'the detection API’s figures',
      response: views.streamPerformanceSchema,
      handle: () => views.streamPerformance(host.metrics()),
    }),
  ];
}

/** Each under its own name and under `/api`. */
function optimizationRoutes(host: ApiHost): Route[] {
  const table = (prefix: string): Route[] => [
    answer({
      method: 'GET',
      url: `${prefix}/optimization/realtime/stats`,
      permission: READ_METRICS,
      tag: 'optimization',
      summary: 'recent rates, latency, processor, memory and network',
      response: views.realtimeSchema,
      handle: () => views.realtimeDocument(host.metrics(), host.limits()),
    }),
    answer({
      method: 'GET',
      url: `${prefix}/optimization/websocket/pool/stats`,
      permission: READ_METRICS,
      tag: 'optimization',
      summary: 'the connections as a pool: how many, how long, how full',
      response: views.poolSchema,
      handle: () => views.poolDocument(host.metrics()),
    }),
    answer({
      method: 'GET',
      url: `${prefix}/optimization/websocket/clients`,
      permission: READ_METRICS,
      tag: 'optimization',
      summary: 'every client: its age, throughput, errors, losses and queue',
      response: views.clientsSchema,
      handle: () => views.clientsDocument(host.metrics()),
    }),
    answer({
      method: 'GET',
      url: `${prefix}/optimization/queues/stats`,
      permission: READ_METRICS,
      tag: 'optimization',
      summary: 'every kind of queue: its depth, its capacity and what it dropped',
      response: views.queuesSchema,
      handle: () => views.queuesDocument(host.metrics(), host.limits()),
    }),
    answer({
      method: 'GET',
      url: `${prefix}/optimization/adaptive-quality/stats`,
      permission: READ_METRICS,
      tag: 'optimization',
      summary: 'the grants of sessions, their reasons, and how often they change',
      response: views.adaptiveQualitySchema,
      handle: () => views.adaptiveQualityDocument(host.metrics()),
    }),
  ];
  return [...table(''), ...table('/api')];
}

const sessionParams = z.object({ id: z.string().describe('`client_id` of a video session') });
const pinnedSchema = z.object({ client_id: z.string(), grant: grantSchema }).meta({ id: 'Pinned' });

const pinRequest = z
  .strictObject(pinSchema.shape)
  .refine(({ level, mode }) => level === undefined || mode === undefined, 'level and mode exclude each other')
  .refine(
    (pin) => Object.values(pin).some((value) => value !== undefined),
    'it pins nothing: give level, mode or skip_ratio',
  );

function sessionRoutes(host: ApiHost): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/api/sessions',
      permission: { action: 'read', resource: 'sessions' },
      tag: 'sessions',
      summary: 'the video sessions',
      response: z.object({ sessions: z.array(sessionSchema) }),
      handle: () => ({ sessions: host.metrics().sessions }),
    }),
    answer({
      method: 'GET',
      url: '/api/sessions/:id',
      permission: { action: 'read', resource: 'sessions/:id' },
      tag: 'sessions',
      summary: 'one video session',
      params: sessionParams,
      response: sessionSchema,
      errors: ['SESSION_UNKNOWN'],
      handle: ({ params }) => host.session(params.id),
    }),
    answer({
      method: 'PUT',
      url: '/api/sessions/:id/quality',
      permission: { action: 'admin', resource: 'sessions/:id' },
      tag: 'sessions',
      summary: 'fix the quality of a session',
      description:
        'A level or a mode, with or without a skip ratio; it replaces an earlier pin. The client gets a `grant` message, as if it had sent `pin` itself. Never beyond the configured limits.',
      params: sessionParams,
      body: pinRequest,
      example: { level: 'medium' },
      response: pinnedSchema,
      errors: ['SESSION_UNKNOWN'],
      handle: ({ params, body }) => ({ client_id: params.id, grant: host.pin(params.id, definedOf(body)) }),
    }),
    answer({
      method: 'DELETE',
      url: '/api/sessions/:id/quality',
      permission: { action: 'admin', resource: 'sessions/:id' },
      tag: 'sessions',
      summary: 'remove a session’s pin',
      params: sessionParams,
      response: pinnedSchema,
      errors: ['SESSION_UNKNOWN'],
      handle: ({ params }) => ({ client_id: params.id, grant: host.pin(params.id, null) }),
    }),
  ];
}

const valueSchema = z.union([z.number(), z.boolean(), z.string(), z.array(z.string())]).nullable();
const entrySchema = z.record(z.string(), z.unknown()).describe('an entry, as in a configuration file');
const anySchema = z.union([...valueSchema.unwrap().options, entrySchema]).nullable();
const changedSchema = z
  .array(
    z.object({
      key: z.string().describe('`section.key`, or `section.name` of an entry as a whole'),
      from: anySchema.describe('null: not set'),
      to: anySchema,
    }),
  )
  .describe('settings, each with its value before and after');
const overriddenSchema = z
  .array(
    z.object({
      key: z.string(),
      value: valueSchema.describe('the value of the strategy or the profile'),
      layer: z.string().describe('which of them'),
      by: z.string().describe('the setting that overrides it'),
    }),
  )
  .describe('values of the strategy and the profile that something else overrides');
const needsRestartSchema = changedSchema.describe(
  'not in force; a server started with this strategy and profile would have these values',
);

const configStateSchema = z
  .object({
    config: configSchema.describe('in force'),
    origins: z.record(z.string(), z.string()).describe('origin of each value, by key; a missing key is not set'),
    pins: z.record(z.string(), anySchema).describe('values set at run time, by key or entry; null: set to none'),
    changeable: z.array(z.string()).describe('keys that can change while the server runs'),
    entry_sections: z.array(z.string()).describe('sections whose entries can be set and removed while the server runs'),
    needs_restart: needsRestartSchema,
    overridden: overriddenSchema,
  })
  .meta({ id: 'ConfigState' });

const configChangeSchema = z
  .object({
    strategy: z.string(),
    profile: z.string().nullable(),
    at_once: changedSchema.describe('in force now, for open sessions too'),
    new_sessions: changedSchema.describe('in force now for sessions that begin from now on'),
    needs_restart: needsRestartSchema,
    overridden: overriddenSchema,
  })
  .meta({ id: 'ConfigChange' });

const configRequest = z.strictObject({
  strategy: z
    .enum(namesOf(STRATEGIES))
    .nullable()
    .optional()
    .describe('null: the value of the file, the environment or a flag, else the default'),
  profile: z
    .string()
    .nullable()
    .optional()
    .describe('`none`: no profile; null: the profile of the file, the environment or a flag'),
  settings: z
    .record(z.string(), valueSchema)
    .optional()
    .describe(
      'by key, such as `performance.target_latency_ms`; null removes a value that was set at run time, also an entry (`profiles.night`)',
    ),
});

const entryParams = z.object({
  section: z.string().describe(`a section of named entries: ${[...ENTRY_SECTIONS.keys()].join(', ')}`),
  name: z.string().describe('1 to 64 characters out of a-z, 0-9, ".", "_" and "-"'),
});
const ENTRY_ERRORS = ['CONFIG_KEY_UNKNOWN', 'CONFIG_VALUE_BAD', 'CONFIG_CONTRADICTION'] as const;

function configRoutes(host: ApiHost): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/api/config',
      permission: { action: 'read', resource: 'config' },
      tag: 'config',
      summary: 'the configuration in force, and the origin of every value',
      response: configStateSchema,
      handle: () => configState(host.config()),
    }),
    answer({
      method: 'PUT',
      url: '/api/config',
      permission: { action: 'admin', resource: 'config' },
      tag: 'config',
      summary: 'change strategy, profile or single settings while the server runs',
      description:
        'Settings that are left out stay. The server applies all of it or, when something is wrong, nothing. Sessions go on. Values set at run time beat everything else and are forgotten when the server ends, but for those of cameras.',
      body: configRequest,
      example: { strategy: 'latency', settings: { 'performance.stability_s': 3 } },
      errors: ['CONFIG_KEY_UNKNOWN', 'CONFIG_VALUE_BAD', 'CONFIG_CONTRADICTION', 'CONFIG_KEY_FIXED'],
      response: configChangeSchema,
      handle: ({ body }) => configChange(host.changeConfig(body), host.config()),
    }),
    answer({
      method: 'POST',
      url: '/api/config/reload',
      permission: { action: 'admin', resource: 'config' },
      tag: 'config',
      summary: 'read the configuration file again',
      description:
        'What can change while the server runs does, all of it or, when something is wrong with the file, nothing; `needs_restart` names the rest. Values set at run time stay. SIGHUP does the same.',
      errors: ['CONFIG_UNREADABLE', 'CONFIG_KEY_UNKNOWN', 'CONFIG_VALUE_BAD', 'CONFIG_CONTRADICTION'],
      response: configChangeSchema,
      handle: () => configChange(host.reloadConfig(), host.config()),
    }),
    answer({
      method: 'PUT',
      url: '/api/config/:section/:name',
      permission: { action: 'admin', resource: 'config/:section' },
      tag: 'config',
      summary: 'set one named entry while the server runs',
      description:
        'As a whole: it hides what the file, the environment or a flag says of this entry, until `PUT /api/config` undoes it. The server checks the new configuration before anything changes.',
      params: entryParams,
      body: entrySchema,
      example: { streaming: { max_fps: 10, default_fps: 10 } },
      errors: ENTRY_ERRORS,
      response: configChangeSchema,
      handle: ({ params, body }) =>
        configChange(host.changeConfig({ entry: { ...params, value: body } }), host.config()),
    }),
    answer({
      method: 'DELETE',
      url: '/api/config/:section/:name',
      permission: { action: 'admin', resource: 'config/:section' },
      tag: 'config',
      summary: 'remove one named entry while the server runs',
      description:
        'Whatever set it, the file included: it stays removed until the server ends (a camera beyond that), or until `PUT /api/config` undoes it. The server refuses to remove an entry that another setting names.',
      params: entryParams,
      errors: [...ENTRY_ERRORS, 'CONFIG_ENTRY_UNKNOWN'],
      response: configChangeSchema,
      handle: ({ params }) => configChange(host.changeConfig({ entry: { ...params, value: null } }), host.config()),
    }),
  ];
}

type Answer<S extends z.ZodType> = DeepReadonly<z.output<S>>;

function configState({
  config,
  origins,
  pins,
  needsRestart,
  overridden,
}: ConfigState): Answer<typeof configStateSchema> {
  return {
    config: shownValue('', config),
    origins: Object.fromEntries(origins),
    pins: Object.fromEntries([...pins].map(([key, value]) => [key, told(shownValue(key, value))])),
    changeable: [...CONFIG_KEYS.values()].filter(({ applies }) => applies !== 'restart').map(({ path }) => path),
    entry_sections: [...ENTRY_SECTIONS.keys()],
    needs_restart: needsRestart.map(toldChange),
    overridden: overridden.map(toldOverridden),
  };
}

function configChange(change: ConfigChange, { config }: ConfigState): Answer<typeof configChangeSchema> {
  return {
    strategy: config.performance.strategy,
    profile: config.performance.profile ?? null,
    at_once: change.atOnce.map(toldChange),
    new_sessions: change.newSessions.map(toldChange),
    needs_restart: change.needsRestart.map(toldChange),
    overridden: change.overridden.map(toldOverridden),
  };
}

function toldChange({ path, from, to }: ChangedSetting) {
  return { key: path, from: told(shownValue(path, from)), to: told(shownValue(path, to)) };
}

function toldOverridden({ path, value, layer, by }: OverriddenSetting) {
  return { key: path, value: told<Answer<typeof valueSchema>>(shownValue(path, value)), layer, by };
}

/** JSON has no form for `undefined`. */
function told<T = Answer<typeof anySchema>>(value: unknown): T {
  return (value ?? null) as T;
}

/** Without the keys that were not given: a pin is shown as it was made. */
function definedOf({ level, mode, skip_ratio }: z.output<typeof pinRequest>): Pin {
  return { ...(level && { level }), ...(mode && { mode }), ...(skip_ratio !== undefined && { skip_ratio }) };
}

function namesOf<K extends string>(named: Readonly<Record<K, unknown>>): [K, ...K[]] {
  return Object.keys(named) as [K, ...K[]];
}
