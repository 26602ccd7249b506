import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { performance } from 'node:perf_hooks';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { z } from 'zod';
import { systemClock, wallAheadMs, wallTimeMs } from './base/clock.ts';
import type { WorkerStagesMs } from './base/detection.ts';
import { SightlineError, toSightlineError } from './base/errors.ts';
import type { FrameOutcome } from './base/frame.ts';
import type { Picture } from './base/picture.ts';
import { seededRandom } from './base/random.ts';
import { Priority } from './base/sample.ts';
import { ConfigCoordinator, type ConfigState } from './config/coordinator.ts';
import type { Config } from './config/schema.ts';
import { packageVersion } from './config/version.ts';
import { Recorder, RECORDING_DEFAULTS, type RecordingSettings } from './delivery/recording.ts';
import { serveEvents } from './delivery/sse.ts';
import { apiRoutes, type ApiHost } from './http/api.ts';
import { answer, type Route } from './http/route.ts';
import { HttpServer } from './http/server.ts';
import { ladderOf, nearestRung, rungOfMode } from './flow/ladder.ts';
import type { SessionControlSettings } from './flow/session-control.ts';
import { OnnxEngine } from './inference/engine/engine.ts';
import { requireDetector } from './inference/manifest.ts';
import type { ModelManifest, ReadyModel } from './inference/manifest.ts';
import { ModelRegistry } from './inference/registry.ts';
import { engineOptions, registryOptions } from './inference/settings.ts';
import { checkJpeg, encodeJpeg } from './media/jpeg.ts';
import { uprightSize } from './media/orient.ts';
import { EventLoopMonitor } from './observe/event-loop.ts';
import { judgeHealth } from './observe/health.ts';
import { FrameLatencies } from './observe/histogram.ts';
import type { HealthDocument, Metrics, Rates } from './observe/metrics.ts';
import { ProcessMonitor } from './observe/process-figures.ts';
import { RateWindow } from './observe/rate-window.ts';
import { SelfBenchmark, type SelfBenchmarkResult } from './observe/self-benchmark.ts';
import type { Limits } from './observe/views.ts';
import { DetectPipeline, type DetectLane, type DetectLaneOptions } from './pipelines/detect.ts';
import { FrameInput } from './pipelines/frame-input.ts';
import { objectsCall } from './pipelines/objects/call.ts';
import { Payload } from './protocol/payload.ts';
import { FoxgloveLane } from './sessions/foxglove.ts';
import { outcomeMessage } from './sessions/messages.ts';
import type { AttachedPipeline } from './sessions/video-session.ts';
import { reportOf, VideoLane, type AttachRequest, type VideoTotals } from './sessions/video.ts';
import { TelemetryLane } from './sessions/telemetry.ts';
import { TELEMETRY_SUBPROTOCOLS } from './protocol/telemetry.ts';
import { Hub } from './stream/hub.ts';
import { Topics } from './stream/topics.ts';

/** A lane whose oldest frame is with a worker for longer than this gives it up for the newer ones behind it. */
const STALL_TIMEOUT_MS = 1_000;
/** Each session has a stream of frames and one of outcomes. */
const STREAMS_PER_SESSION = 2;
/** Subscriptions of one connection may take in a topic several times, once more for what was missed. */
const READERS_PER_CONNECTION = 4;
/** A message over the limit is refused and the session lives on; over so many times the limit its socket is closed. */
const HARD_LIMIT_FACTOR = 2;
/** The main thread is not to be held up for longer than 5 ms; this is an order of magnitude of trouble. */
const EVENT_LOOP_DELAY_P99_MAX_MS = 50;
const MIB = 2 ** 20;
/** Rates are taken over so long, from readings so far apart. */
const RATE_WINDOW_MS = 10_000;
/** How long `/health` tells that a model which a session asked for failed. */
const MODEL_FAILED_TOLD_MS = 60_000;
const RATE_READING_MS = 1_000;
/** Of the runs that a model's first ones promise; the rest goes into decoding, scaling and the sockets. */
const EXPECTED_SHARE = 0.75;
/** A server goes on for days without anybody watching: what fills the disk may be cleared away. */
const SERVER_RECORDING: RecordingSettings = { ...RECORDING_DEFAULTS, retryMs: 10_000 };
const PAGE_DIR = fileURLToPath(new URL('../dashboard/dist', import.meta.url));

/** What the benchmark runs. */
const OWN_PICTURE = { width: 640, height: 480, quality: 70 };

export type { HealthDocument } from './observe/metrics.ts';

export interface SightlineOptions {
  readonly config: Config;
  /** Told in a line what a person at the terminal wants to know; default: nobody is told. */
  readonly say?: (line: string) => void;
  /** False: it opens no port; requests come by `handleRequest` and `handleUpgrade`. Default: true. */
  readonly listens?: boolean;
}

/** What a source of frames may choose; all of it is the server's where it is not given. */
export interface DetectorChoice {
  /** Id of a model. */
  readonly model?: string | undefined;
  /** Thresholds, 0..1. */
  readonly confidence?: number | undefined;
  readonly iou?: number | undefined;
}

type Counter = Exclude<keyof VideoTotals, 'sessions'> | 'telemetry_messages' | 'received_bytes' | 'sent_bytes';

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
  readonly #imageLimits: { readonly sideMax: number; readonly pixelsMax: number };
  readonly #frameInputs = new Set<FrameInput>();
  #lastFrameInput = 0;
  readonly #hub: Hub;
  readonly #latencies = new FrameLatencies(systemClock);
  #eventLoop = new EventLoopMonitor();
  readonly #process = new ProcessMonitor(systemClock);
  readonly #rates = new RateWindow<Counter>(RATE_WINDOW_MS);
  readonly #rateReadings: NodeJS.Timeout;
  readonly #benchmark: SelfBenchmark;
  #ownPicture: Picture | undefined;
  /** Telemetry messages that were published, whoever did. */
  #messages = 0;
  readonly #registry: ModelRegistry;
  readonly #engine: OnnxEngine;
  readonly #detect: DetectPipeline;
  readonly #lane: VideoLane;
  readonly #topics: Topics;
  readonly #telemetry: TelemetryLane;
  readonly #foxglove: FoxgloveLane;
  /** Recordings that are going on. */
  readonly #recorders = new Set<Recorder>();
  readonly #http: HttpServer;
  /** Models by id, from the moment somebody asks for one. One that failed is forgotten, so that it can be tried again. */
  readonly #models = new Map<string, Promise<void>>();
  readonly #manifests = new Map<string, ModelManifest>();
  readonly #modelsLoading = new Set<string>();
  readonly #modelsFailed = new Map<string, { readonly reason: string; readonly timeMs: number }>();
  /** Id of the model of sessions that name none, once it is loaded. */
  #defaultModel: Promise<string> | undefined;
  #isStarting = true;
  #camera: Promise<string | undefined> = Promise.resolve(undefined);
  #closing: Promise<void> | undefined;

  constructor({ config, say, listens = true }: SightlineOptions) {
    this.#listens = listens;
    this.#coordinator = new ConfigCoordinator(config, (changed) => this.#configure(changed));
    this.#say = say ?? (() => {});
    const { server, streaming, telemetry } = config;
    this.#hub = new Hub({
      clock: systemClock,
      streamsMax: server.max_connections * STREAMS_PER_SESSION + telemetry.topics_max,
    });
    this.#registry = new ModelRegistry(registryOptions(config));
    this.#engine = new OnnxEngine(engineOptions(config));
    this.#detect = new DetectPipeline({
      engine: this.#engine,
      clock: systemClock,
      laneInFlightMax: streaming.receive_queue,
      stallTimeoutMs: STALL_TIMEOUT_MS,
    });
    this.#imageLimits = { sideMax: streaming.image_side_max, pixelsMax: streaming.image_pixels_max };
    this.#lane = new VideoLane({
      hub: this.#hub,
      clock: systemClock,
      observer: this.#latencies,
      attach: (request) => this.#attach(request),
      engine: () => {
        const { workers, completed, failed, busyMs, neededMs, models } = this.#engine.stats();
        // Of one picture, without decoding it and what a busy machine adds.
        const runMs = models[0]?.batch.costsMs['1'];
        const expectedFps = runMs === undefined ? undefined : (EXPECTED_SHARE * workers * 1000) / runMs;
        const waitMs = this.#detect.takeWaitMs();
        return { workers, completed: completed + failed, busyMs, neededMs, waitMs, expectedFps };
      },
      process: () => ({
        busyMs: performance.eventLoopUtilization().active,
        rssBytes: process.memoryUsage.rss(),
      }),
      readJpeg: (bytes) => this.#readJpeg(bytes),
      settings: laneSettings(config),
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
      parameters: () => this.#parameters(),
    });
    this.#benchmark = new SelfBenchmark({ clock: systemClock, run: () => this.#runOwnPicture() });
    this.#http = new HttpServer({
      clock: systemClock,
      host: server.host,
      port: server.port,
      rules: {
        hosts: [server.host, ...server.allowed_hosts],
        origins: server.allowed_origins,
        allowedHosts: server.allowed_hosts,
      },
      connectionsMax: server.max_connections,
      headerTimeoutMs: server.header_timeout_ms,
      requestTimeoutMs: server.request_timeout_ms,
      shutdownTimeoutMs: server.shutdown_timeout_ms,
      closeTimeoutMs: streaming.close_timeout_s * 1000,
      messageBytesHardMax: Math.max(streaming.message_bytes_max, telemetry.message_bytes_max) * HARD_LIMIT_FACTOR,
      pageDir: PAGE_DIR,
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
    this.#rateReadings = setInterval(() => {
      this.#rates.add(systemClock.now(), this.#counters());
      // So that the processor's load is that of the last second, whoever asks.
      this.#process.read();
    }, RATE_READING_MS);
    this.#rateReadings.unref();
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
    this.#defaultModel = this.#registry.resolve(this.#config.detection.model).then(async (model) => {
      const { id } = requireDetector(model.manifest);
      await this.#ready(id, async () => model);
      return id;
    });
    await this.#defaultModel;
    this.#isStarting = false;
    // Starting up holds the event loop (a model may have been converted): that is over, and no frame waited for it.
    this.#eventLoop.close();
    this.#eventLoop = new EventLoopMonitor();
  }

  /** The page has a demo camera from now on: requests for it wait until the clip is made. */
  startCamera(makeClip: () => Promise<string>): void {
    this.#camera = makeClip().catch((thrown: unknown) => {
      this.#say(`there is no demo camera: ${toSightlineError(thrown).message}`);
      return undefined;
    });
  }

  health(): HealthDocument {
    const engine = this.#engine.stats();
    const total = this.#latencies.recent().stages.total;
    const { rss_bytes: rssBytes, uptime_s } = this.#process.read();
    const health = judgeHealth(
      {
        starting: this.#isStarting,
        modelsLoading: [...this.#modelsLoading],
        modelsFailed: this.#recentlyFailed(),
        workers: { alive: engine.workers, wanted: engine.seats },
        stopping: this.#closing !== undefined,
        latency: { p95Ms: total.p95_ms ?? 0, frames: total.count },
        eventLoopDelayP99Ms: this.#eventLoop.read().p99_ms ?? 0,
        rssBytes,
        callbackFaults: this.#hub.callbackFaults.count,
        recordings: [...this.#recorders].flatMap(({ status: { state, file, error, lost } }) => {
          return error === null ? [] : [{ file, reason: error, lost, goesOn: state === 'interrupted' }];
        }),
      },
      {
        latencyP95MaxMs: this.#config.performance.target_latency_ms,
        eventLoopDelayP99MaxMs: EVENT_LOOP_DELAY_P99_MAX_MS,
        rssBytesMax: this.#config.performance.max_memory_usage * MIB,
      },
    );
    return {
      ...health,
      version: packageVersion(),
      uptime_s,
      connections: this.#connections(),
      sessions: this.#lane.report().length + this.#telemetry.sessions + this.#foxglove.connected,
      models: engine.models.map((model) => {
        const { title, licence } = this.#manifests.get(model.id)!;
        return { id: model.id, title, licence, providers: model.providers, warmUpMs: model.warmUpMs };
      }),
    };
  }

  /** Everything that is measured, read now. */
  metrics(): Metrics {
    const { serviceMs } = this.#detect;
    return {
      time: wallTimeMs(systemClock),
      latency: {
        since_start: this.#latencies.sinceStart(),
        recent: this.#latencies.recent(),
        window_s: this.#latencies.windowMs / 1000,
      },
      processing_ms: serviceMs > 0 ? serviceMs : null,
      rates: this.#ratesNow(),
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
      recordings: [...this.#recorders].map(({ status }) => status),
    };
  }

  #counters(): Readonly<Record<Counter, number>> {
    const { dropped, sessions: _, ...frames } = this.#lane.totals();
    return {
      ...frames,
      dropped: Object.values(dropped).reduce((sum, n) => sum + n, 0),
      telemetry_messages: this.#messages,
      ...this.#http.traffic,
    };
  }

  #ratesNow(): Rates | null {
    const rates = this.#rates.rates(systemClock.now(), this.#counters());
    if (!rates) return null;
    const { spanMs, perS } = rates;
    return {
      window_s: spanMs / 1000,
      received_fps: perS.received,
      results_fps: perS.results,
      errors_fps: perS.errors,
      dropped_fps: perS.dropped,
      grants_per_min: perS.grants_told * 60,
      ladder_moves_per_min: perS.ladder_moves * 60,
      telemetry_messages_per_s: perS.telemetry_messages,
      received_bytes_per_s: perS.received_bytes,
      sent_bytes_per_s: perS.sent_bytes,
    };
  }

  /**
   * Records the topics that match, and the pictures and results of all video sessions, those to come included, on one
   * timeline. Ends with `Recorder.finish`, or with the server; where the disk is full it waits for room, unless the settings
   * say otherwise. Errors: OUTPUT_FAILED, FILTER_BAD.
   */
  async record(path: string, filter = '#', settings: RecordingSettings = SERVER_RECORDING): Promise<Recorder> {
    const retryS = settings.retryMs / 1000;
    const recorder = await Recorder.start({
      path,
      clock: systemClock,
      settings,
      onFailed: ({ message }) => {
        this.#say(`the recording has ended: ${message}; ${recorder.status.lost} messages are lost`);
      },
      onInterrupted: ({ message }) => {
        this.#say(`the recording is interrupted: ${message}; it is tried again every ${retryS} s`);
      },
      onResumed: (file) => this.#say(`the recording goes on in ${file}; ${recorder.status.lost} messages are lost`),
    });
    // Those that have failed stay for `/health` until somebody has begun another.
    for (const earlier of this.#recorders) if (earlier.failure) this.#recorders.delete(earlier);
    this.#recorders.add(recorder);
    void recorder.ended.then(() => recorder.failure === undefined && this.#recorders.delete(recorder));
    recorder.followTopics(this.#topics, filter);
    for (const { client_id, pipeline } of this.#lane.report()) this.#followVideo(recorder, client_id, pipeline);
    return recorder;
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  async openFrames(choice: DetectorChoice = {}): Promise<FrameInput> {
    const modelId = await this.#modelFor(choice.model);
    // A colon stands in no client's name.
    const name = `program:${++this.#lastFrameInput}`;
    const frames = this.#hub.create<Picture>(`${name}/frames`, { capacity: this.#config.streaming.queue_size });
    const { outcomes, lane } = this.#openLane(name, { frames, modelId, ...choice });
    const input = new FrameInput({
      frames,
      outcomes,
      clock: systemClock,
      readJpeg: (bytes) => this.#readJpeg(bytes),
      onClose: () => {
        this.#frameInputs.delete(input);
        this.#detect.detach(lane);
        frames.close();
      },
    });
    this.#frameInputs.add(input);
    return input;
  }

  /**
   * Loads a model by its id, or by the path of an `.onnx` or `.tflite` file, which may be asked for by its id from then on.
   * Errors: MODEL_*, for paths SOURCE_* and USAGE (it cannot be told what it is, or another model has its id).
   */
  async addModel(idOrPath: string): Promise<ModelManifest> {
    const model = await this.#registry.resolve(idOrPath);
    const manifest = requireDetector(model.manifest);
    const { id, sha256 } = manifest;
    // A file is called by its name, which may be that of another model.
    const named = this.#manifests.get(id) ?? (await this.#registry.get(id).catch(() => undefined));
    if (named !== undefined && named.sha256 !== sha256) {
      throw new SightlineError('USAGE', `${idOrPath}: there is another model "${id}"; give the file another name`);
    }
    await this.#ready(id, async () => model);
    return manifest;
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
    // What was published is written first; one that has failed has said so.
    await Promise.allSettled([...this.#recorders].map((recorder) => recorder.finish()));
    for (const input of this.#frameInputs) input.close();
    this.#lane.close();
    this.#telemetry.close();
    this.#foxglove.close();
    this.#topics.close();
    this.#hub.close();
    await this.#http.close();
    await this.#engine.close();
    this.#eventLoop.close();
    clearInterval(this.#rateReadings);
  }

  /** Hands a changed configuration on. Throws CONFIG_VALUE_BAD before anything has changed. */
  #configure(config: Config): void {
    this.#lane.configure(laneSettings(config));
  }

  /** What Foxglove shows as parameters; a name is that of the configuration where it is a setting. */
  #parameters() {
    const { telemetry } = this.#config;
    return {
      'server.version': packageVersion(),
      'server.connections': this.#http.connectionCount,
      'server.uptime_s': Math.floor(process.uptime()),
      'process.rss_bytes': process.memoryUsage.rss(),
      'telemetry.topics': this.#topics.size,
      'telemetry.history_bytes': this.#topics.historyBytes,
      'telemetry.history_messages': telemetry.history_messages,
      'telemetry.target_latency_ms': telemetry.target_latency_ms,
      'telemetry.target_frequency_hz': telemetry.target_frequency_hz,
    };
  }

  #followVideo(recorder: Recorder, clientId: string, pipeline: string): void {
    const frames = this.#hub.get<Picture>(`${clientId}/frames`);
    const outcomes = this.#hub.get<FrameOutcome>(`${clientId}/objects`);
    if (frames) {
      recorder.follow(frames, `video/${clientId}/frames`, ({ captureTimeMs, data }) => {
        return { timeMs: wallTimeMs(systemClock, captureTimeMs), payload: Payload.bytes(data.bytes) };
      });
    }
    if (outcomes) {
      recorder.follow(outcomes, `video/${clientId}/${pipeline}`, (sample) => {
        if (sample.data.kind === 'dropped') return undefined;
        const aheadMs = wallAheadMs(systemClock);
        const result = outcomeMessage(sample, { clientId, pipeline }, systemClock.now(), aheadMs);
        return { timeMs: sample.captureTimeMs + aheadMs, payload: Payload.of(result) };
      });
    }
  }

  #connections() {
    return { open: this.#http.connectionCount, max: this.#config.server.max_connections };
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
      limits: () => limitsOf(this.#config),
      session: (clientId) => reportOf(this.#lane.get(clientId), systemClock.now()),
      pin: (clientId, pin) => this.#lane.get(clientId).pin(pin),
      config: (): ConfigState => this.#coordinator.state,
      changeConfig: (request) => this.#coordinator.change(request),
      benchmark: (seconds) => this.#runBenchmark(seconds),
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
        query: z.strictObject({ token: z.string().optional().describe('of the session’s `welcome`') }),
        errors: ['SESSION_UNKNOWN', 'SESSION_TOKEN_BAD', 'CONNECTIONS_EXHAUSTED'],
        stream: (request, response, params) => {
          const session = this.#lane.find(params['client_id'] ?? '', tokenOf(request));
          serveEvents(request, response, {
            stream: session.outcomes,
            heartbeatMs: this.#config.streaming.sse_heartbeat_s * 1000,
            bufferBytesMax: this.#config.streaming.send_buffer_bytes_max,
            toEvent: (sample) => {
              const data = outcomeMessage(sample, session, systemClock.now(), wallAheadMs(systemClock));
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

  /** Errors: BENCHMARK_BUSY, MODEL_UNAVAILABLE. */
  async #runBenchmark(seconds: number): Promise<SelfBenchmarkResult> {
    await this.#modelFor(undefined);
    // Of the sessions alone: the benchmark would find its own load later.
    const { load } = this.#lane.adaptation();
    const spare = Math.floor(this.#engine.stats().workers * (1 - load));
    return await this.#benchmark.run(seconds, () => this.#room(spare));
  }

  /** Pictures of its own that the engine may have now: while a client is connected a worker is left to it. */
  #room(spare: number): number {
    if (this.#lane.connected === 0) return this.#engine.stats().workers;
    for (const session of this.#lane.sessions) if (session.accounts().queued > 0) return 0;
    return Math.min(spare, this.#engine.stats().workers - 1);
  }

  async #runOwnPicture(): Promise<WorkerStagesMs> {
    const modelId = await this.#modelFor(undefined);
    this.#ownPicture ??= ownPicture();
    const [running] = this.#engine.run({ picture: this.#ownPicture, programs: [objectsCall(modelId)] });
    return (await running!).stagesMs;
  }

  /** The `objects` pipeline for one session, with its model ready. */
  async #attach(request: AttachRequest): Promise<AttachedPipeline> {
    const { pipeline, clientId, frames, isWithinGrant } = request;
    if (pipeline !== 'objects') {
      throw new SightlineError('PIPELINE_UNKNOWN', `there is no pipeline "${pipeline.slice(0, 80)}"; there is objects`);
    }
    const model = await this.#modelFor(request.model);
    const { outcomes, lane } = this.#openLane(clientId, { ...request, frames, modelId: model, isWithinGrant });
    for (const recorder of this.#recorders) this.#followVideo(recorder, clientId, pipeline);
    return {
      outcomes,
      model,
      inFlight: () => lane.counts().inFlight,
      queued: () => lane.reader.queued,
      serviceMs: () => this.#detect.serviceMs,
      discardQueued: () => lane.discardQueued(),
      detach: () => this.#detect.detach(lane),
    };
  }

  /** A lane of the pipeline for frames of one source, and the stream of their outcomes. */
  #openLane(
    source: string,
    {
      frames,
      modelId,
      isWithinGrant,
      ...choice
    }: Pick<DetectLaneOptions, 'frames' | 'modelId' | 'isWithinGrant'> & DetectorChoice,
  ): { readonly outcomes: DetectLaneOptions['outcomes']; readonly lane: DetectLane } {
    const { detection, streaming } = this.#config;
    const outcomes = this.#hub.create<FrameOutcome>(`${source}/objects`, { capacity: streaming.results_history });
    const confidence = choice.confidence ?? detection.confidence_threshold;
    const iou = choice.iou ?? detection.iou_threshold;
    const lane = this.#detect.attach({
      frames,
      outcomes,
      modelId,
      ...(isWithinGrant && { isWithinGrant }),
      ...(confidence !== undefined && { confidence }),
      ...(iou !== undefined && { iou }),
    });
    return { outcomes, lane };
  }

  /** The size of a JPEG that stands upright. Throws FRAME_*. */
  #readJpeg(bytes: Uint8Array): { readonly width: number; readonly height: number } {
    const header = checkJpeg(bytes, this.#imageLimits);
    return uprightSize(header, header.orientation);
  }

  /** A client names models by their id only: a path would let it probe this machine's files. */
  async #modelFor(requested: string | undefined): Promise<string> {
    if (!this.#defaultModel) throw new SightlineError('MODEL_UNAVAILABLE', 'the server is starting');
    const defaultId = await this.#defaultModel;
    if (requested === undefined || requested === defaultId) return defaultId;
    const isThere = this.#models.get(requested);
    if (isThere !== undefined) {
      await isThere;
      return requested;
    }
    const { id } = requireDetector(await this.#registry.get(requested.slice(0, 80)));
    await this.#ready(id, () => this.#registry.resolve(id));
    return id;
  }

  /** Loads a model once, however many sessions ask; one that failed can be asked for again. */
  #ready(id: string, resolve: () => Promise<ReadyModel>): Promise<void> {
    let ready = this.#models.get(id);
    if (!ready) {
      const { models_max: modelsMax } = this.#config.inference;
      if (this.#models.size >= modelsMax) {
        throw new SightlineError(
          'MODEL_UNAVAILABLE',
          `model ${id} does not fit: all ${modelsMax} places (inference.models_max) are taken`,
        );
      }
      this.#modelsLoading.add(id);
      this.#modelsFailed.delete(id);
      ready = this.#load(resolve)
        .catch((thrown: unknown) => {
          this.#models.delete(id);
          const { code, message } = toSightlineError(thrown);
          // That somebody asked for a model that was never pulled says nothing about this server's health.
          if (code !== 'MODEL_UNAVAILABLE') this.#modelsFailed.set(id, { reason: message, timeMs: systemClock.now() });
          throw thrown;
        })
        .finally(() => this.#modelsLoading.delete(id));
      this.#models.set(id, ready);
    }
    return ready;
  }

  #recentlyFailed(): { id: string; reason: string }[] {
    for (const [id, { timeMs }] of this.#modelsFailed) {
      if (systemClock.now() - timeMs > MODEL_FAILED_TOLD_MS) this.#modelsFailed.delete(id);
    }
    return [...this.#modelsFailed].map(([id, { reason }]) => ({ id, reason }));
  }

  async #load(resolve: () => Promise<ReadyModel>): Promise<void> {
    const model = await resolve();
    this.#manifests.set(model.manifest.id, model.manifest);
    await this.#engine.load(model);
  }
}

function controlSettings({ streaming, video, performance }: Config): SessionControlSettings {
  const rungs = ladderOf(performance.ladder, video.fps, streaming.max_fps);
  return {
    rungs,
    startRung: nearestRung(rungs, rungOfMode(performance.mode, video.fps)),
    width: video.width,
    height: video.height,
    firstFps: streaming.default_fps,
    minFps: Math.min(streaming.min_fps, streaming.max_fps),
    maxFps: streaming.max_fps,
    sourceFps: video.fps,
    stabilityMs: performance.stability_s * 1000,
    riseIntervalMs: performance.adaptation_interval_s * 1000,
    isAdaptive: performance.adaptive_quality,
    fixedQuality: video.quality,
    windowMin: streaming.window,
    budgetMs: performance.target_latency_ms,
    priority: Priority.normal,
  };
}

function laneSettings(config: Config) {
  const { server, streaming, performance } = config;
  return {
    control: controlSettings(config),
    process: {
      busyShareMax: performance.max_cpu_usage / 100,
      rssBytesMax: performance.max_memory_usage * MIB,
    },
    frameQueue: streaming.queue_size,
    messageBytesMax: streaming.message_bytes_max,
    imageSideMax: streaming.image_side_max,
    imagePixelsMax: streaming.image_pixels_max,
    idleTimeoutMs: streaming.session_timeout_s * 1000,
    sendBufferBytesMax: streaming.send_buffer_bytes_max,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
    resumeWindowMs: streaming.resume_window_s * 1000,
    sessionsMax: server.max_connections,
  };
}

function limitsOf({ streaming, telemetry, performance }: Config): Limits {
  return {
    frameQueue: streaming.queue_size,
    resultsHistory: streaming.results_history,
    criticalMessages: telemetry.critical_messages_max,
    targetLatencyMs: performance.target_latency_ms,
  };
}

/** Of the size and weight that a camera's pictures have: smooth shades with some noise, always the same. */
function ownPicture(): Picture {
  const { width, height } = OWN_PICTURE;
  const random = seededRandom(1);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < data.length; i++) {
    const pixel = Math.floor(i / 3);
    const shade = 128 + 60 * Math.sin((pixel % width) / 40) + 40 * Math.cos(pixel / width / 30 + (i % 3));
    data[i] = Math.max(0, Math.min(255, shade + 24 * (random() - 0.5)));
  }
  return { kind: 'jpeg', bytes: encodeJpeg({ data, width, height }, OWN_PICTURE.quality), width, height };
}

function topicsSettings({ server, telemetry }: Config) {
  return {
    topicsMax: telemetry.topics_max,
    historyMessages: telemetry.history_messages,
    historyBytesMax: telemetry.history_bytes_max,
    historyTotalBytesMax: telemetry.history_total_bytes_max,
    topicIdleMs: telemetry.topic_idle_s * 1000,
    readersMax: server.max_connections * READERS_PER_CONNECTION,
  };
}

function telemetrySettings({ server, streaming, telemetry }: Config) {
  return {
    targetLatencyMs: telemetry.target_latency_ms,
    batchDelayMs: telemetry.max_batch_delay_ms,
    batchMessagesMax: telemetry.batch_messages_max,
    batchBytesMax: telemetry.batch_bytes_max,
    socketBytesMax: telemetry.socket_bytes_max,
    queueBytesMax: telemetry.queue_bytes_max,
    criticalMessagesMax: telemetry.critical_messages_max,
    slowConsumerMs: telemetry.slow_consumer_s * 1000,
    compression: telemetry.compression,
    // A bit takes 1000 / (Mbit/s) nanoseconds.
    nsPerByte: 8_000 / telemetry.line_mbit_s,
    compressionThresholdBytes: telemetry.compression_threshold_bytes,
    rate: publishRate(telemetry),
    banMs: telemetry.ban_s * 1000,
    messageBytesMax: telemetry.message_bytes_max,
    subscriptionsMax: telemetry.subscriptions_max,
    topicsMax: telemetry.subscribed_topics_max,
    historyMessages: telemetry.history_messages,
    idleTimeoutMs: streaming.session_timeout_s * 1000,
    resumeWindowMs: telemetry.resume_window_s * 1000,
    sessionsMax: server.max_connections,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
  };
}

function publishRate({ publish_rate_max, publish_bytes_max, mute_s }: Config['telemetry']) {
  return { messagesPerS: publish_rate_max, bytesPerS: publish_bytes_max, muteMs: mute_s * 1000 };
}

function foxgloveSettings({ server, streaming, telemetry }: Config) {
  return {
    queueMax: telemetry.history_messages,
    socketBytesMax: telemetry.socket_bytes_max,
    rate: publishRate(telemetry),
    messageBytesMax: telemetry.message_bytes_max,
    subscriptionsMax: telemetry.subscriptions_max,
    sessionsMax: server.max_connections,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
  };
}

/** From the query, since an `EventSource` cannot set headers, or from `Authorization: Bearer`. */
function tokenOf(request: {
  url?: string | undefined;
  headers: { authorization?: string | undefined };
}): string | undefined {
  const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
  return bearer ?? URL.parse(request.url ?? '', 'http://localhost')?.searchParams.get('token') ?? undefined;
}
