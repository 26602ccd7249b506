import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { systemClock, wallAheadMs, wallTimeMs } from './base/clock.ts';
import type { WorkerStagesMs } from './base/detection.ts';
import { toSightlineError } from './base/errors.ts';
import type { Picture } from './base/picture.ts';
import { ConfigCoordinator, type ConfigState } from './config/coordinator.ts';
import type { Config } from './config/schema.ts';
import { packageVersion } from './config/version.ts';
import type { Recorder, RecordingSettings } from './delivery/recording.ts';
import { Recordings } from './delivery/recordings.ts';
import { serveEvents } from './delivery/sse.ts';
import { apiRoutes, type ApiHost } from './http/api.ts';
import { answer, type Route } from './http/route.ts';
import { HttpServer } from './http/server.ts';
import { httpSettings, PAGE_DIR } from './http/settings.ts';
import { OnnxEngine } from './inference/engine/engine.ts';
import type { ModelManifest } from './inference/manifest.ts';
import { ModelBook } from './inference/model-book.ts';
import { ModelRegistry } from './inference/registry.ts';
import { engineOptions, imageLimits, modelBookSettings, registryOptions } from './inference/settings.ts';
import { uprightJpegSize, type ImageLimits } from './media/jpeg.ts';
import { EventLoopMonitor } from './observe/event-loop.ts';
import { FrameLatencies } from './observe/histogram.ts';
import type { HealthDocument, Metrics } from './observe/metrics.ts';
import { ProcessMonitor } from './observe/process-figures.ts';
import { RateMeter, type Counters } from './observe/rates.ts';
import { SelfBenchmark } from './observe/self-benchmark.ts';
import { ServerHealth, type ServerFacts } from './observe/server-health.ts';
import { healthLimits, viewLimits } from './observe/settings.ts';
import { Admission } from './pipelines/admission.ts';
import { Dispatcher } from './pipelines/dispatcher.ts';
import { FrameInput } from './pipelines/frame-input.ts';
import { objectsCall } from './pipelines/objects/call.ts';
import type { PipelineChoice } from './pipelines/pipeline.ts';
import { PipelineHost, type OpenSource } from './pipelines/pipeline-host.ts';
import { pipelineReports } from './pipelines/registry.ts';
import { dispatcherSettings } from './pipelines/settings.ts';
import { FoxgloveLane } from './sessions/foxglove.ts';
import { outcomeMessage } from './protocol/outcome-message.ts';
import { foxgloveParameters, foxgloveSettings, telemetrySettings, videoSettings } from './sessions/settings.ts';
import type { AttachedWork } from './sessions/video-session.ts';
import { reportOf, VideoLane, type AttachRequest } from './sessions/video.ts';
import { TelemetryLane } from './sessions/telemetry.ts';
import { TELEMETRY_SUBPROTOCOLS } from './protocol/telemetry.ts';
import { Hub } from './stream/hub.ts';
import { streamsMax, topicsSettings } from './stream/settings.ts';
import { Topics } from './stream/topics.ts';

export type { HealthDocument } from './observe/metrics.ts';

export interface SightlineOptions {
  readonly config: Config;
  /** Told in a line what a person at the terminal wants to know; default: nobody is told. */
  readonly say?: (line: string) => void;
  /** False: it opens no port; requests come by `handleRequest` and `handleUpgrade`. Default: true. */
  readonly listens?: boolean;
}

/** Builds everything in order and listens. Errors: ADDRESS_IN_USE, and those of a default model that cannot be had. */
export async function openServer(options: SightlineOptions): Promise<Sightline> {
  const app = new Sightline(options);
  try {
    await app.start();
  } catch (thrown) {
    await app.close();
    throw thrown;
  }
  return app;
}

/** The composition root: owns every room, wires them, closes them in reverse. */
export class Sightline implements AsyncDisposable {
  readonly #coordinator: ConfigCoordinator;
  readonly #say: (line: string) => void;
  readonly #listens: boolean;
  readonly #imageLimits: ImageLimits;
  readonly #frameInputs = new Set<FrameInput>();
  #lastFrameInput = 0;
  readonly #hub: Hub;
  readonly #latencies = new FrameLatencies(systemClock);
  readonly #eventLoop = new EventLoopMonitor();
  readonly #process = new ProcessMonitor(systemClock);
  readonly #rates: RateMeter;
  readonly #health: ServerHealth;
  readonly #benchmark: SelfBenchmark;
  /** Telemetry messages that were published, whoever did. */
  #messages = 0;
  readonly #engine: OnnxEngine;
  readonly #models: ModelBook;
  readonly #dispatcher: Dispatcher;
  readonly #admission: Admission;
  readonly #pipelines: PipelineHost;
  readonly #lane: VideoLane;
  readonly #topics: Topics;
  readonly #telemetry: TelemetryLane;
  readonly #foxglove: FoxgloveLane;
  readonly #recordings: Recordings;
  readonly #http: HttpServer;
  #camera: Promise<string | undefined> = Promise.resolve(undefined);
  #closing: Promise<void> | undefined;

  constructor({ config, say, listens = true }: SightlineOptions) {
    this.#listens = listens;
    this.#coordinator = new ConfigCoordinator(config, (changed) => this.#configure(changed));
    this.#say = say ?? (() => {});
    this.#hub = new Hub({
      clock: systemClock,
      streamsMax: streamsMax(config),
    });
    this.#engine = new OnnxEngine(engineOptions(config));
    this.#models = new ModelBook({
      registry: new ModelRegistry(registryOptions(config)),
      engine: this.#engine,
      clock: systemClock,
      settings: modelBookSettings(config),
    });
    this.#dispatcher = new Dispatcher({
      engine: this.#engine,
      clock: systemClock,
      ...dispatcherSettings(config),
    });
    this.#admission = new Admission(() => this.#dispatcher.facts());
    this.#pipelines = new PipelineHost({
      hub: this.#hub,
      dispatcher: this.#dispatcher,
      models: this.#models,
      config: () => this.#config,
    });
    this.#imageLimits = imageLimits(config);
    this.#lane = new VideoLane({
      hub: this.#hub,
      clock: systemClock,
      observer: this.#latencies,
      attach: (request) => this.#attach(request),
      admission: this.#admission,
      process: () => ({
        busyMs: performance.eventLoopUtilization().active,
        rssBytes: process.memoryUsage.rss(),
      }),
      readJpeg: (bytes) => uprightJpegSize(bytes, this.#imageLimits),
      settings: videoSettings(config),
    });
    this.#topics = new Topics({
      hub: this.#hub,
      clock: systemClock,
      random: Math.random,
      settings: topicsSettings(config),
    });
    this.#topics.listen(() => this.#messages++);
    this.#telemetry = new TelemetryLane({
      topics: this.#topics,
      clock: systemClock,
      settings: telemetrySettings(config),
    });
    this.#foxglove = new FoxgloveLane({
      topics: this.#topics,
      clock: systemClock,
      version: packageVersion(),
      settings: foxgloveSettings(config),
      parameters: () =>
        foxgloveParameters(this.#config, {
          version: packageVersion(),
          connections: this.#http.connectionCount,
          topics: this.#topics,
        }),
    });
    this.#recordings = new Recordings({
      hub: this.#hub,
      topics: this.#topics,
      clock: systemClock,
      sessions: () => [...this.#lane.sessions],
      say: this.#say,
    });
    this.#benchmark = new SelfBenchmark({
      clock: systemClock,
      run: (picture) => this.#runOwnPicture(picture),
      occupancy: () => ({
        workers: this.#engine.stats().workers,
        load: this.#lane.adaptation().load,
        connected: this.#lane.connected,
        isWaiting: [...this.#lane.sessions].some((session) => session.accounts().queued > 0),
      }),
    });
    this.#http = new HttpServer({
      clock: systemClock,
      ...httpSettings(config),
      say: this.#say,
      onError: (error) => this.#say(`a request failed: ${error instanceof Error ? error.stack : String(error)}`),
      sockets: [
        ...['/ws/video', '/stream/detection'].map((path) => ({
          path,
          open: (socket: WebSocket, query: URLSearchParams) => void this.#lane.open(socket, query),
        })),
        {
          path: '/ws/telemetry',
          protocols: TELEMETRY_SUBPROTOCOLS,
          open: (socket, query) => void this.#telemetry.open(socket, query),
        },
        {
          path: '/ws/foxglove',
          protocols: FoxgloveLane.subprotocols,
          open: (socket, query) => void this.#foxglove.open(socket, query),
        },
      ],
      routes: apiRoutes(this.#apiHost(), this.#otherRoutes()),
    });
    this.#rates = new RateMeter({
      clock: systemClock,
      counters: () => this.#counters(),
      // So that the processor's load is that of the last second, whoever asks.
      onReading: () => this.#process.read(),
    });
    this.#health = new ServerHealth({
      version: packageVersion(),
      latencies: this.#latencies,
      eventLoop: this.#eventLoop,
      process: this.#process,
      facts: () => this.#serverFacts(),
      settings: healthLimits(config),
    });
  }

  get #config(): Config {
    return this.#coordinator.config;
  }

  /** What is published here reaches every subscriber of the telemetry lane, and the other way round. */
  get topics(): Topics {
    return this.#topics;
  }

  /** Where it listens, such as `http://127.0.0.1:8080`. Throws USAGE where it opens no port. */
  get url(): string {
    return this.#http.url;
  }

  /** Answers a request of a server of this program's own. */
  handleRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#http.handleRequest(request, response);
  }

  /** The same for its `upgrade` event. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#http.handleUpgrade(request, socket, head);
  }

  /**
   * Listens first, so that `/health` says `starting` while the default model is made ready; sessions wait for it.
   * Errors: ADDRESS_IN_USE, and those of a model that cannot be had.
   */
  async start(): Promise<void> {
    await (this.#listens ? this.#http.listen() : this.#http.prepare());
    await this.#models.open();
    // Starting up holds the event loop (a model may have been converted): that is over, and no frame waited for it.
    this.#eventLoop.restart();
  }

  /** The page has a demo camera from now on: requests for it wait until the clip is made. */
  startCamera(makeClip: () => Promise<string>): void {
    this.#camera = makeClip().catch((thrown: unknown) => {
      this.#say(`there is no demo camera: ${toSightlineError(thrown).message}`);
      return undefined;
    });
  }

  health(): HealthDocument {
    return this.#health.document();
  }

  /** Everything that is measured, read now. */
  metrics(): Metrics {
    const { serviceMs } = this.#dispatcher;
    return {
      time: wallTimeMs(systemClock),
      latency: {
        since_start: this.#latencies.sinceStart(),
        recent: this.#latencies.recent(),
        window_s: this.#latencies.windowMs / 1000,
      },
      processing_ms: serviceMs > 0 ? serviceMs : null,
      rates: this.#rates.read(),
      event_loop_delay: this.#eventLoop.read(),
      process: this.#process.read(),
      gpu_percent: null,
      network: this.#http.traffic,
      connections: this.#http.connections(),
      streams: this.#hub.list().length,
      callback_faults: this.#hub.callbackFaults.count,
      sessions: this.#lane.report(),
      totals: this.#lane.totals(),
      adaptation: this.#lane.adaptation(),
      engine: this.#engine.stats(),
      telemetry: this.#telemetry.report(),
      foxglove: this.#foxglove.report(),
      recordings: this.#recordings.status(),
    };
  }

  #counters(): Counters {
    const { dropped, sessions: _, ...frames } = this.#lane.totals();
    return {
      ...frames,
      dropped: Object.values(dropped).reduce((sum, n) => sum + n, 0),
      telemetry_messages: this.#messages,
      ...this.#http.traffic,
    };
  }

  #serverFacts(): ServerFacts {
    const { workers, seats } = this.#engine.stats();
    return {
      starting: this.#models.isStarting,
      stopping: this.#closing !== undefined,
      modelsLoading: this.#models.loading,
      modelsFailed: this.#models.failed,
      workers: { alive: workers, wanted: seats },
      callbackFaults: this.#hub.callbackFaults.count,
      recordings: this.#recordings.status(),
      connections: { open: this.#http.connectionCount, max: this.#config.server.max_connections },
      sessions: this.#lane.report().length + this.#telemetry.sessions + this.#foxglove.connected,
      models: this.#models.report(),
    };
  }

  /** Records topics that match, and all video sessions (`Recordings.start`). Errors: OUTPUT_FAILED, FILTER_BAD. */
  record(path: string, filter?: string, settings?: RecordingSettings): Promise<Recorder> {
    return this.#recordings.start(path, filter, settings);
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async openFrames(choice: PipelineChoice = {}): Promise<FrameInput> {
    // A colon stands in no client's name.
    const source = `program:${++this.#lastFrameInput}`;
    const frames = this.#hub.create<Picture>(`${source}/frames`, { capacity: this.#config.streaming.queue_size });
    let open: OpenSource;
    try {
      const isWithinGrant = () => input.isWithinRate;
      open = await this.#pipelines.open({ source, frames, pipelines: ['objects'], choice, isWithinGrant });
    } catch (thrown) {
      frames.close();
      throw thrown;
    }
    const { lane, pipelines } = open;
    const input: FrameInput = new FrameInput({
      frames,
      outcomes: pipelines[0]!.outcomes,
      clock: systemClock,
      readJpeg: (bytes) => uprightJpegSize(bytes, this.#imageLimits),
      onClose: () => {
        this.#frameInputs.delete(input);
        leave();
        this.#dispatcher.detach(lane);
        frames.close();
      },
      guard: (callback) => this.#hub.guard(callback),
    });
    const leave = this.#admission.join({
      demand: (nowMs) => input.demand(nowMs),
      costMs: () => lane.work.costMs,
      onShare: (fps) => input.tellRate(fps),
    });
    this.#frameInputs.add(input);
    return input;
  }

  /**
   * Loads a model by its id, or by the path of an `.onnx` or `.tflite` file, which may be asked for by its id from then on.
   * Errors: MODEL_*, for paths SOURCE_* and USAGE (it cannot be told what it is, or another model has its id).
   */
  addModel(idOrPath: string): Promise<ModelManifest> {
    return this.#models.add(idOrPath);
  }

  /** Ends the sessions, waits for their sockets, and frees everything. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // What was published is written first.
    await this.#recordings.close();
    for (const input of this.#frameInputs) input.close();
    this.#lane.close();
    this.#telemetry.close();
    this.#foxglove.close();
    this.#topics.close();
    this.#hub.close();
    await this.#http.close();
    await this.#engine.close();
    this.#eventLoop.close();
    this.#rates.close();
  }

  /** Hands a changed configuration on. Throws CONFIG_VALUE_BAD before anything has changed. */
  #configure(config: Config): void {
    this.#lane.configure(videoSettings(config));
    this.#health.configure(healthLimits(config));
  }

  #apiHost(): ApiHost {
    return {
      info: {
        title: 'Sightline',
        version: packageVersion(),
        description:
          'A real-time perception server. Video and telemetry go over WebSockets (`/ws/video`, `/stream/detection`, `/ws/telemetry`, `/ws/foxglove`), which are described in docs/protocol.md.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      health: () => this.health(),
      metrics: () => this.metrics(),
      pipelines: () => pipelineReports(this.#config),
      limits: () => viewLimits(this.#config),
      session: (clientId) => reportOf(this.#lane.get(clientId), systemClock.now()),
      pin: (clientId, pin) => this.#lane.get(clientId).pin(pin),
      config: (): ConfigState => this.#coordinator.state,
      changeConfig: (request) => this.#coordinator.change(request),
      benchmark: async (seconds) => {
        await this.#models.detector();
        return await this.#benchmark.run(seconds);
      },
    };
  }

  /** What is no question of the API but belongs into its document. */
  #otherRoutes(): Route[] {
    return [
      {
        kind: 'stream',
        url: '/stream/events/:client_id',
        tag: 'sessions',
        summary: 'a session’s results as server-sent events',
        description: 'For who has the session’s token: in the query, or as `Authorization: Bearer`.',
        contentType: 'text/event-stream',
        needsToken: true,
        params: z.object({ client_id: z.string() }),
        query: z.strictObject({
          token: z.string().optional().describe('of the session’s `welcome`'),
          pipeline: z
            .string()
            .optional()
            .describe('of a session of several: whose results; the first one’s unless told'),
        }),
        errors: ['QUERY_BAD', 'SESSION_UNKNOWN', 'SESSION_TOKEN_BAD', 'CONNECTIONS_EXHAUSTED'],
        stream: (request, response, params) => {
          const session = this.#lane.find(params['client_id'] ?? '', tokenOf(request));
          serveEvents(request, response, {
            stream: session.outcomesOf(queryOf(request)?.get('pipeline') ?? undefined),
            heartbeatMs: this.#config.streaming.sse_heartbeat_s * 1000,
            bufferBytesMax: this.#config.streaming.send_buffer_bytes_max,
            toEvent: (sample) => {
              const data = outcomeMessage(sample, session.clientId, systemClock.now(), wallAheadMs(systemClock));
              return { event: data.type, data };
            },
          });
        },
      },
      {
        kind: 'file',
        url: '/demo/camera.mp4',
        tag: 'page',
        summary: 'the demo camera’s clip, in a demo',
        contentType: 'video/mp4',
        file: () => this.#camera,
      },
      answer({
        method: 'GET',
        url: '/licences',
        tag: 'page',
        summary: 'licences of what Sightline is built on',
        response: z.string(),
        handle: () => readFile(new URL('../NOTICE', import.meta.url), 'utf8'),
      }),
      {
        kind: 'file',
        url: '/api/docs',
        tag: 'api',
        summary: 'a page to read this document and to try the API',
        contentType: 'text/html',
        file: async () => join(PAGE_DIR, 'api.html'),
      },
    ];
  }

  async #runOwnPicture(picture: Picture): Promise<WorkerStagesMs> {
    const modelId = await this.#models.detector();
    const [running] = this.#engine.run({ picture, programs: [objectsCall(modelId)] });
    return (await running!).stagesMs;
  }

  /** What works for one session, with its models ready. */
  async #attach({
    clientId,
    frames,
    pipelines: names,
    isWithinGrant,
    ...choice
  }: AttachRequest): Promise<AttachedWork> {
    const { lane, pipelines } = await this.#pipelines.open({
      source: clientId,
      frames,
      pipelines: names,
      choice,
      isWithinGrant,
    });
    this.#recordings.follow({ clientId, pipelines: pipelines.map(({ name }) => name) });
    return {
      pipelines,
      queued: () => lane.reader.queued,
      serviceMs: () => lane.work.serviceMs,
      costMs: () => lane.work.costMs,
      discardQueued: () => lane.discardQueued(),
      detach: () => this.#dispatcher.detach(lane),
    };
  }
}

function queryOf(request: { url?: string | undefined }): URLSearchParams | undefined {
  return URL.parse(request.url ?? '', 'http://localhost')?.searchParams;
}

/** From the query, since an `EventSource` cannot set headers, or from `Authorization: Bearer`. */
function tokenOf(request: {
  url?: string | undefined;
  headers: { authorization?: string | undefined };
}): string | undefined {
  const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
  return bearer ?? queryOf(request)?.get('token') ?? undefined;
}
