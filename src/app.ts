import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { systemClock, wallTimeMs } from './base/clock.ts';
import { ConfigCoordinator } from './config/coordinator.ts';
import type { Config } from './config/schema.ts';
import { packageVersion } from './config/version.ts';
import type { Recorder, RecordingSettings } from './delivery/recording.ts';
import { Recordings } from './delivery/recordings.ts';
import { apiRoutes, type ApiHost } from './http/api.ts';
import { eventRoutes } from './http/events.ts';
import { DemoCamera, pageRoutes } from './http/pages.ts';
import { HttpServer } from './http/server.ts';
import { apiInfo, eventSettings, httpSettings } from './http/settings.ts';
import { OnnxEngine } from './inference/engine/engine.ts';
import type { ModelManifest } from './inference/manifest.ts';
import { ModelBook } from './inference/model-book.ts';
import { ModelRegistry } from './inference/registry.ts';
import { engineOptions, imageLimits, modelBookSettings, registryOptions } from './inference/settings.ts';
import { uprightJpegSize } from './media/jpeg.ts';
import { EventLoopMonitor } from './observe/event-loop.ts';
import { FrameLatencies } from './observe/histogram.ts';
import type { HealthDocument, Metrics } from './observe/metrics.ts';
import { ProcessMonitor } from './observe/process-figures.ts';
import { countersOf, RateMeter } from './observe/rates.ts';
import { SelfBenchmark } from './observe/self-benchmark.ts';
import { ServerHealth, type ServerFacts } from './observe/server-health.ts';
import { healthLimits, viewLimits } from './observe/settings.ts';
import { DetectSources, type DetectorChoice } from './pipelines/detect-sources.ts';
import { DetectPipeline } from './pipelines/detect.ts';
import { engineFacts } from './pipelines/engine-facts.ts';
import type { FrameInput } from './pipelines/frame-input.ts';
import { objectsCall } from './pipelines/objects/call.ts';
import { detectSettings, detectSourceSettings } from './pipelines/settings.ts';
import { FoxgloveLane } from './sessions/foxglove.ts';
import { foxgloveParameters, foxgloveSettings, telemetrySettings, videoSettings } from './sessions/settings.ts';
import { laneSockets } from './sessions/sockets.ts';
import { TelemetryLane } from './sessions/telemetry.ts';
import { reportOf, VideoLane } from './sessions/video.ts';
import { Hub } from './stream/hub.ts';
import { streamsMax, topicsSettings } from './stream/settings.ts';
import { Topics } from './stream/topics.ts';

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
  readonly #detect: DetectPipeline;
  readonly #sources: DetectSources;
  readonly #lane: VideoLane;
  readonly #topics: Topics;
  readonly #telemetry: TelemetryLane;
  readonly #foxglove: FoxgloveLane;
  readonly #recordings: Recordings;
  readonly #http: HttpServer;
  readonly #camera = new DemoCamera();
  #closing: Promise<void> | undefined;

  constructor({ config, say, listens = true }: SightlineOptions) {
    const clock = systemClock;
    const version = packageVersion();
    const limits = imageLimits(config);
    this.#listens = listens;
    this.#coordinator = new ConfigCoordinator(config, (changed) => this.#configure(changed));
    this.#say = say ?? (() => {});
    this.#hub = new Hub({ clock, streamsMax: streamsMax(config) });
    this.#engine = new OnnxEngine(engineOptions(config));
    this.#models = new ModelBook({
      registry: new ModelRegistry(registryOptions(config)),
      engine: this.#engine,
      clock,
      settings: modelBookSettings(config),
    });
    this.#detect = new DetectPipeline({ engine: this.#engine, clock, ...detectSettings(config) });
    this.#sources = new DetectSources({
      hub: this.#hub,
      clock,
      detect: this.#detect,
      models: this.#models,
      imageLimits: limits,
      settings: detectSourceSettings(config),
    });
    this.#lane = new VideoLane({
      hub: this.#hub,
      clock,
      observer: this.#latencies,
      attach: async (request) => {
        const attached = await this.#sources.attach(request);
        this.#recordings.follow({ clientId: request.clientId, pipelines: ['objects'] });
        return attached;
      },
      engine: () => engineFacts(this.#engine.stats(), this.#detect.takeWaitMs()),
      process: () => this.#process.load(),
      readJpeg: (bytes) => uprightJpegSize(bytes, limits),
      settings: videoSettings(config),
    });
    this.#topics = new Topics({ hub: this.#hub, clock, random: Math.random, settings: topicsSettings(config) });
    this.#topics.listen(() => this.#messages++);
    this.#telemetry = new TelemetryLane({ topics: this.#topics, clock, settings: telemetrySettings(config) });
    this.#foxglove = new FoxgloveLane({
      topics: this.#topics,
      clock,
      version,
      settings: foxgloveSettings(config),
      parameters: () => {
        const { connectionCount: connections } = this.#http;
        return foxgloveParameters(this.#config, { version, connections, topics: this.#topics });
      },
    });
    this.#recordings = new Recordings({
      hub: this.#hub,
      topics: this.#topics,
      clock,
      sessions: () => [...this.#lane.sessions],
      say: this.#say,
    });
    this.#benchmark = new SelfBenchmark({
      clock,
      run: async (picture) => {
        const modelId = await this.#models.detector();
        const [running] = this.#engine.run({ picture, programs: [objectsCall(modelId)] });
        return (await running!).stagesMs;
      },
      occupancy: () => ({
        workers: this.#engine.stats().workers,
        load: this.#lane.adaptation().load,
        connected: this.#lane.connected,
        isWaiting: [...this.#lane.sessions].some((session) => session.accounts().queued > 0),
      }),
    });
    this.#http = new HttpServer({
      clock,
      ...httpSettings(config),
      say: this.#say,
      onError: (error) => this.#say(`a request failed: ${error instanceof Error ? error.stack : String(error)}`),
      sockets: laneSockets({ video: this.#lane, telemetry: this.#telemetry, foxglove: this.#foxglove }),
      routes: apiRoutes(this.#apiHost(version), [
        ...eventRoutes({
          clock,
          session: (clientId, token) => this.#lane.find(clientId, token),
          settings: () => eventSettings(this.#config),
        }),
        ...pageRoutes(this.#camera),
      ]),
    });
    this.#rates = new RateMeter({
      clock,
      counters: () => countersOf(this.#lane.totals(), this.#messages, this.#http.traffic),
      // So that the processor's load is that of the last second, whoever asks.
      onReading: () => this.#process.read(),
    });
    this.#health = new ServerHealth({
      version,
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
    this.#camera.start(makeClip, this.#say);
  }

  health(): HealthDocument {
    return this.#health.document();
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
  openFrames(choice?: DetectorChoice): Promise<FrameInput> {
    return this.#sources.openInput(choice);
  }

  /** Loads a model by its id or the path of a file (`ModelBook.add`). Errors: MODEL_*, for paths SOURCE_* and USAGE. */
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
    this.#sources.close();
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

  /** Each room takes its slice of a changed configuration; the first may refuse it (CONFIG_VALUE_BAD), before anything has changed. */
  #configure(config: Config): void {
    this.#lane.configure(videoSettings(config));
    this.#sources.configure(detectSourceSettings(config));
    this.#health.configure(healthLimits(config));
  }

  #apiHost(version: string): ApiHost {
    return {
      info: apiInfo(version),
      health: () => this.health(),
      metrics: () => this.metrics(),
      limits: () => viewLimits(this.#config),
      session: (clientId) => reportOf(this.#lane.get(clientId), systemClock.now()),
      pin: (clientId, pin) => this.#lane.get(clientId).pin(pin),
      config: () => this.#coordinator.state,
      changeConfig: (request) => this.#coordinator.change(request),
      benchmark: async (seconds) => {
        await this.#models.detector();
        return await this.#benchmark.run(seconds);
      },
    };
  }
}
