import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Alerts } from './alerts/alerts.ts';
import { alertsPart } from './alerts/figures.ts';
import { CLASSES, FrameMeter } from './alerts/frame-meter.ts';
import type { ClassCounts } from './alerts/objectives.ts';
import { alertRetention, alertsSettings } from './alerts/settings.ts';
import { sinksOf } from './alerts/sinks/sinks.ts';
import { Authenticator } from './auth/authenticator.ts';
import { Logins } from './auth/logins.ts';
import { authSettings } from './auth/settings.ts';
import { SignIn } from './auth/sign-in.ts';
import { Tickets } from './auth/tickets.ts';
import { isLoopback } from './base/addresses.ts';
import { systemClock } from './base/clock.ts';
import { toSightlineError } from './base/errors.ts';
import { Archive } from './channels/archive/archive.ts';
import { ClipExports } from './channels/archive/clip-exports.ts';
import { cachePart } from './channels/cache/figures.ts';
import type { FragmentCache } from './channels/cache/fragment-cache.ts';
import { openCache } from './channels/cache/open-cache.ts';
import { cacheSettings } from './channels/cache/settings.ts';
import { Desk } from './channels/archive/desk.ts';
import { archivePart, exportsPart } from './channels/archive/figures.ts';
import { archiveSettings, exportSettings } from './channels/archive/settings.ts';
import { HlsChannels } from './channels/hls/channels.ts';
import { hlsPart } from './channels/hls/figures.ts';
import { hlsSettings } from './channels/hls/settings.ts';
import { webRtcPart } from './channels/webrtc/figures.ts';
import { webRtcSettings } from './channels/webrtc/settings.ts';
import { WebRtc } from './channels/webrtc/webrtc.ts';
import { ConfigCoordinator, type ChangedSetting, type ConfigChange, type ConfigRequest } from './config/coordinator.ts';
import { CAMERAS_MAX, type Config } from './config/schema.ts';
import { packageVersion } from './config/version.ts';
import { openFences } from './fences/fences.ts';
import type { Recorder, RecordingSettings } from './delivery/recording.ts';
import { recordingsPart } from './delivery/recording-figures.ts';
import { Recordings } from './delivery/recordings.ts';
import { alertRoutes } from './http/alerts.ts';
import { cameraRoutes } from './http/cameras.ts';
import { nameOfAddress } from './http/addresses.ts';
import { apiRoutes, type ApiHost } from './http/api.ts';
import { archiveRoutes } from './http/archive.ts';
import { cacheRoutes } from './http/cache.ts';
import { eventRoutes } from './http/events.ts';
import { httpParts } from './http/figures.ts';
import { hlsRoutes } from './http/hls.ts';
import { loginFigures, loginRoutes } from './http/logins.ts';
import { DemoCamera, pageRoutes } from './http/pages.ts';
import { HttpServer } from './http/server.ts';
import { ticketFigures, ticketRoutes } from './http/tickets.ts';
import { webRtcRoutes } from './http/webrtc.ts';
import { apiInfo, basePathOf, eventSettings, httpSettings, unboundedAddresses } from './http/settings.ts';
import { enginePart } from './inference/engine-figures.ts';
import { OnnxEngine } from './inference/engine/engine.ts';
import type { ModelManifest } from './inference/manifest.ts';
import { ModelBook } from './inference/model-book.ts';
import { ModelRegistry } from './inference/registry.ts';
import { engineOptions, imageLimits, modelBookSettings, registryOptions } from './inference/settings.ts';
import { noLog, type Log } from './log/log.ts';
import { shutDown } from './log/shutdown.ts';
import { uprightJpegSize } from './media/jpeg.ts';
import { Outbound } from './net/outbound.ts';
import { outboundOptions } from './net/settings.ts';
import { part, type FigureRegistry } from './observe/figures.ts';
import { framesPart, sumOf, type ClassAccounts } from './observe/frame-accounts.ts';
import type { FrameLane } from './observe/histogram.ts';
import type { HealthDocument, Metrics } from './observe/metrics.ts';
import { machineBytes } from './observe/machine.ts';
import { SelfBenchmark } from './observe/self-benchmark.ts';
import { ServerHealth, type ServerFacts } from './observe/server-health.ts';
import { hubParts, ServerMonitor } from './observe/server-monitor.ts';
import { healthLimits, traceSettings, viewLimits } from './observe/settings.ts';
import { lifecycleFigures } from './observe/lifecycle-figures.ts';
import { storePart } from './observe/store-figures.ts';
import { Traces } from './observe/traces/traces.ts';
import { Admission } from './pipelines/admission.ts';
import { cameraPictures } from './pipelines/camera-pictures.ts';
import { Dispatcher } from './pipelines/dispatcher.ts';
import { processingPart } from './pipelines/figures.ts';
import type { FrameInput } from './pipelines/frame-input.ts';
import { FrameSources } from './pipelines/frame-sources.ts';
import { objectsCall } from './pipelines/objects/call.ts';
import type { PipelineChoice } from './pipelines/pipeline.ts';
import { PipelineHost } from './pipelines/pipeline-host.ts';
import { pipelineReports } from './pipelines/registry.ts';
import { dispatcherSettings } from './pipelines/settings.ts';
import { fencesPart } from './sessions/fence-figures.ts';
import { camerasLanePart } from './sessions/cameras/figures.ts';
import { CamerasLane } from './sessions/cameras/lane.ts';
import { FoxgloveLane } from './sessions/foxglove.ts';
import { excessOf, memoryPlan, plannedBytes, type PlannedMemory } from './sessions/memory-plan.ts';
import {
  camerasLaneSettings,
  foxgloveParameters,
  foxgloveSettings,
  penaltySettings,
  telemetrySettings,
  videoSettings,
} from './sessions/settings.ts';
import { laneSockets } from './sessions/sockets.ts';
import { telemetryParts } from './sessions/telemetry-figures.ts';
import { TelemetryLane } from './sessions/telemetry/lane.ts';
import { videoParts } from './sessions/video-figures.ts';
import { reportOf, VideoLane } from './sessions/video.ts';
import { camerasPart } from './sources/camera/camera-figures.ts';
import { CameraFleet, STREAMS_PER_CAMERA } from './sources/camera/fleet.ts';
import { fleetSettings } from './sources/camera/settings.ts';
import { KeptCameras } from './sources/camera/kept-cameras.ts';
import { storeSettings } from './store/settings.ts';
import { Store } from './store/store.ts';
import { FrameStreams } from './stream/frame-streams.ts';
import { Hub } from './stream/hub.ts';
import { memoryBounds, streamsMax, topicsSettings } from './stream/settings.ts';
import { Topics } from './stream/topics.ts';
import { Certificates } from './tls/certificates.ts';
import { certificateSettings } from './tls/settings.ts';

/** Of the time for the end, what is kept for closing the sockets. */
const CLOSE_MS = 1_000;
const DRAIN_POLL_MS = 10;
/** Changed settings that the log names. */
const PATHS_TOLD_MAX = 50;

export interface SightlineOptions {
  readonly config: Config;
  /** Gets every log entry; its level follows the configuration. Default: none. */
  readonly log?: Log;
  /** False: it opens no port; requests come by `handleRequest` and `handleUpgrade`. Default: true. */
  readonly listens?: boolean;
}

/** Builds everything in order and listens. Errors: ADDRESS_IN_USE, and those of a default model that cannot be loaded. */
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
  readonly #log: Log;
  readonly #listens: boolean;
  readonly #hub: Hub;
  readonly #monitor = new ServerMonitor(systemClock);
  /** The measurements of every room. */
  readonly figures: FigureRegistry<Metrics>;
  readonly #health: ServerHealth;
  readonly #benchmark: SelfBenchmark;
  readonly #engine: OnnxEngine;
  readonly #models: ModelBook;
  readonly #sources: FrameSources;
  readonly #fleet: CameraFleet;
  readonly #lane: VideoLane;
  readonly #topics: Topics;
  readonly #telemetry: TelemetryLane;
  readonly #foxglove: FoxgloveLane;
  readonly #cameras: CamerasLane;
  readonly #webRtc: WebRtc;
  readonly #hls: HlsChannels;
  readonly #archive: Archive;
  readonly #cache: FragmentCache;
  readonly #exports: ClipExports;
  readonly #recordings: Recordings;
  readonly #traces: Traces;
  readonly #store: Store;
  readonly #keptCameras: KeptCameras;
  readonly #alerts: Alerts;
  readonly #authenticator: Authenticator;
  readonly #certificates: Certificates | undefined;
  readonly #http: HttpServer;
  readonly #camera = new DemoCamera();
  /** From now on the fleet follows the configuration. */
  #hasCameras = false;
  readonly #reloads = { taken: 0, failed: 0 };
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #closingStep: string | undefined;
  /** When sockets are cut that have not closed. */
  #endMs = 0;

  constructor({ config, log = noLog(systemClock), listens = true }: SightlineOptions) {
    const clock = systemClock;
    const version = packageVersion();
    const limits = imageLimits(config);
    const alerts = alertsSettings(config, machineBytes());
    const { instance } = alerts;
    // Before anything is opened: a file of a secret may be missing.
    const outbound = new Outbound(outboundOptions(config));
    const sinks = sinksOf(config.alerts, { clock, outbound, instance });
    this.#listens = listens;
    this.#coordinator = new ConfigCoordinator(config, (changed) => this.#configure(changed));
    this.#log = log;
    log.level = config.log.level;
    const fences = openFences({
      clock,
      bounds: memoryBounds(config),
      log,
      ...penaltySettings(config),
      nameOfAddress: nameOfAddress(unboundedAddresses(config.server)),
    });
    const { memory } = fences;
    this.#hub = new Hub({ clock, streamsMax: streamsMax(config) + CAMERAS_MAX * STREAMS_PER_CAMERA });
    this.#engine = new OnnxEngine({ ...engineOptions(config), log });
    this.#models = new ModelBook({
      registry: new ModelRegistry(registryOptions(config)),
      engine: this.#engine,
      clock,
      log,
      settings: modelBookSettings(config),
    });
    this.#traces = new Traces({ clock, log, outbound, version, settings: traceSettings(config) });
    const dispatcher = new Dispatcher({ engine: this.#engine, clock, ...dispatcherSettings(config) });
    const streams = new FrameStreams(this.#hub, memory);
    const admission = new Admission(() => dispatcher.facts());
    this.#sources = new FrameSources({
      hub: this.#hub,
      streams,
      memory,
      clock,
      dispatcher,
      admission,
      host: new PipelineHost({ streams, dispatcher, models: this.#models, config: () => this.#config }),
      imageLimits: limits,
      frameQueue: () => this.#config.streaming.queue_size,
    });
    const meter = new FrameMeter(() => clock.now());
    const { latencies } = this.#monitor;
    const sentFrom = (lane: FrameLane) => ({
      encoded: (ms: number) => latencies.encoded(lane, ms),
      transmitted: (ms: number) => latencies.transmitted(lane, ms),
    });
    this.#fleet = new CameraFleet({
      clock,
      random: Math.random,
      log,
      memory,
      streams,
      openPictures: cameraPictures(this.#sources),
      observer: {
        frame: (frame, priority, stages, stages_ms) => {
          latencies.frame('cameras', stages);
          return meter.frame({ ...frame, stages_ms }, priority);
        },
        budgetMs: (priority) => meter.lateMs(priority),
      },
      tracer: () => this.#traces.tracer,
      guard: (callback) => this.#hub.guard(callback),
    });
    this.#lane = new VideoLane({
      streams,
      clock,
      log,
      fences,
      observer: {
        frame: (result, priority) => {
          latencies.frame('video', result.stages_ms);
          return meter.frame(result, priority);
        },
        ...sentFrom('video'),
      },
      tracing: () => this.#traces.tracer,
      attach: async (request) => {
        const work = await this.#sources.attach(request);
        const pipelines = work.pipelines.map(({ name }) => name);
        this.#recordings.follow({ clientId: request.clientId, pipelines });
        return work;
      },
      admission,
      process: () => this.#monitor.process.load(),
      readJpeg: (bytes) => uprightJpegSize(bytes, limits),
      settings: videoSettings(config),
    });
    this.#topics = new Topics({ hub: this.#hub, clock, random: Math.random, memory, settings: topicsSettings(config) });
    this.#telemetry = new TelemetryLane({
      topics: this.#topics,
      clock,
      log,
      fences,
      settings: telemetrySettings(config),
    });
    this.#foxglove = new FoxgloveLane({
      topics: this.#topics,
      clock,
      log,
      fences,
      version,
      settings: foxgloveSettings(config),
      parameters: () => {
        const { connectionCount: connections } = this.#http;
        return foxgloveParameters(this.#config, { version, connections, topics: this.#topics });
      },
    });
    this.#cameras = new CamerasLane({
      feeds: this.#fleet,
      clock,
      log,
      fences,
      observer: sentFrom('cameras'),
      settings: camerasLaneSettings(config),
    });
    this.#webRtc = new WebRtc({
      feeds: this.#fleet,
      clock,
      log,
      refusals: fences.refusals,
      nameOfAddress: nameOfAddress(unboundedAddresses(config.server)),
      settings: webRtcSettings(config),
    });
    this.#cache = openCache({ clock, log, settings: () => cacheSettings(this.#config) });
    this.#hls = new HlsChannels({
      clock,
      feeds: this.#fleet,
      cache: this.#cache,
      settings: () => hlsSettings(this.#config),
    });
    this.#archive = new Archive({ feeds: this.#fleet, clock, log, settings: archiveSettings(config) });
    this.#exports = new ClipExports({ feeds: this.#fleet, log, settings: exportSettings(config) });
    this.#recordings = new Recordings({
      hub: this.#hub,
      topics: this.#topics,
      clock,
      sessions: () => [...this.#lane.sessions],
      cameras: this.#fleet,
      takesUnmasked: config.fleet.record_unmasked,
      log,
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
    this.#store = new Store({
      settings: storeSettings(config, alertRetention(config)),
      clock,
      log,
      onReplaced: () => {
        this.#alerts.rewrite();
        this.#keptCameras.rewrite();
      },
    });
    this.#keptCameras = new KeptCameras({ store: this.#store, log, coordinator: this.#coordinator });
    this.#alerts = new Alerts({
      clock,
      random: Math.random,
      log,
      store: this.#store,
      hub: this.#hub,
      meter,
      figures: () => this.#alertFigures(),
      streams: () => [...this.#lane.tallies(), ...this.#fleet.tallies()],
      sinks,
      settings: alerts,
    });
    this.#authenticator = new Authenticator({ clock, log, outbound, settings: authSettings(config, listens) });
    const access = { authenticator: this.#authenticator, logins: new Logins(clock), tickets: new Tickets(clock) };
    const signIn = new SignIn({ clock, log, authenticator: this.#authenticator });
    const certificates = listens ? certificateSettings(config.server) : undefined;
    this.#certificates = certificates && new Certificates({ clock, log, settings: certificates });
    const sockets = laneSockets({
      video: this.#lane,
      telemetry: this.#telemetry,
      foxglove: this.#foxglove,
      cameras: this.#cameras,
    });
    this.#http = new HttpServer({
      clock,
      ...httpSettings(config),
      tls: this.#certificates && {
        certificates: this.#certificates,
        hstsS: config.server.tls.hsts_s,
        http2: config.server.tls.http2,
      },
      fences,
      access,
      descriptors: this.#monitor.process.descriptors,
      log,
      sockets,
      routes: apiRoutes(this.#apiHost(version), sockets, [
        ...eventRoutes({
          clock,
          isOpen: () => this.#authenticator.isOpen,
          session: (clientId, { needed, given }) =>
            needed ? this.#lane.find(clientId, given) : this.#lane.get(clientId),
          settings: () => eventSettings(this.#config),
        }),
        ...alertRoutes(this.#alerts, () => eventSettings(this.#config)),
        ...cameraRoutes({
          clock,
          feeds: this.#fleet,
          entries: () => this.#config.cameras,
          isPreparing: () => this.isPreparingCameras,
          change: (entries) =>
            void this.#changeConfig({
              entries: entries.map(({ id, value }) => ({ section: 'cameras', name: id, value })),
            }),
          isKept: (cameras) => this.#keptCameras.isKept(cameras),
          test: (settings) => this.#fleet.test(settings),
          eventSettings: () => eventSettings(this.#config),
        }),
        ...webRtcRoutes(this.#webRtc, basePathOf(config.server)),
        ...hlsRoutes({ channels: this.#hls, isOpen: () => this.#authenticator.isOpen }),
        ...archiveRoutes({
          clock,
          desk: new Desk({
            archive: this.#archive,
            exports: this.#exports,
            cache: this.#cache,
            prefetches: () => this.#config.cache.prefetch,
          }),
          isOpen: () => this.#authenticator.isOpen,
        }),
        ...cacheRoutes(() => this.#cache.report()),
        ...loginRoutes({ ...access, signIn, basePath: basePathOf(config.server) }),
        ...ticketRoutes(access.tickets, basePathOf(config.server)),
        ...pageRoutes(this.#camera, certificates?.authority),
      ]),
    });
    const { accounts: sessions, ...video } = videoParts(this.#lane);
    const { accounts: messages, published, ...telemetry } = telemetryParts(this.#telemetry, this.#foxglove);
    const rooms = {
      processing_ms: processingPart(() => dispatcher.serviceMs),
      ...httpParts(this.#http, this.#certificates),
      ...hubParts(this.#hub),
      ...video,
      camera_frames: part(() => sumOf(this.#fleet.frames())),
      engine: enginePart(this.#engine),
      ...telemetry,
      ...fencesPart({
        fences,
        links: () => [this.#lane, this.#telemetry, this.#foxglove, this.#cameras].flatMap(({ links }) => links),
        plannedBytes: () => plannedBytes(this.#memoryPlan),
      }),
      recordings: recordingsPart(() => this.#recordings.status()),
    };
    const store = storePart(() => this.#store.report());
    this.figures = this.#monitor.register(rooms, [
      framesPart(() => this.#frames),
      sessions,
      messages,
      published,
      this.#traces.figures(),
      loginFigures(signIn),
      ticketFigures(access.tickets),
      camerasPart(this.#fleet),
      camerasLanePart(this.#cameras),
      webRtcPart(this.#webRtc),
      hlsPart(this.#hls),
      archivePart(this.#archive),
      exportsPart(this.#exports),
      cachePart(this.#cache),
      store,
      alertsPart(this.#alerts),
      lifecycleFigures(clock, () => ({ configReloads: this.#reloads, keyReads: this.#authenticator.reads })),
    ]);
    this.#health = new ServerHealth({
      version,
      monitor: this.#monitor,
      facts: () => this.#serverFacts(),
      settings: healthLimits(config),
    });
  }

  get #config(): Config {
    return this.#coordinator.config;
  }

  get #memoryPlan(): readonly PlannedMemory[] {
    return memoryPlan(this.#config, { workers: this.#engine.stats().workerSlots });
  }

  /** Topics of the telemetry lane: messages published here reach all its subscribers, and the other way round. */
  get topics(): Topics {
    return this.#topics;
  }

  /** The HTTP operations that it answers, such as `GET /health`. */
  get mounted(): readonly string[] {
    return this.#http.mounted;
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
   * Errors: ADDRESS_IN_USE, CERTIFICATE_*, and those of a model that cannot be loaded.
   */
  async start(): Promise<void> {
    this.#traces.open();
    // Before anybody can change them.
    await Promise.all([this.#authenticator.open(), this.#alerts.open(), this.#keptCameras.open()]);
    await this.#certificates?.open();
    if (this.#listens) await this.#listen();
    else await this.#http.prepare();
    this.#warnOfPromises();
    const models = this.#models.open();
    // Their pictures wait for the models, as those of sessions do.
    this.#hasCameras = true;
    void this.#archive.open();
    this.#fleet.configure(fleetSettings(this.#config));
    await models;
    // By now the workers have their own.
    this.#http.tellPlaces();
    // No frame waited for it.
    this.#monitor.forgetStart();
  }

  async #listen(): Promise<void> {
    this.#log.write('server_listening', { url: await this.#http.listen() });
    const { host } = this.#config.server;
    if (!isLoopback(host) && !this.#certificates) this.#log.write('transport_plain', { host });
  }

  /** Says so where the settings promise more memory than there is. */
  #warnOfPromises(): void {
    const promised = excessOf(this.#memoryPlan, this.#config.performance.max_memory_usage, machineBytes());
    if (promised !== undefined) this.#log.write('memory_promised', promised);
  }

  /** The page has a demo camera from now on: requests for it wait until the clip is made. Resolves when it is, or cannot be. */
  async startCamera(makeClip: () => Promise<string>): Promise<void> {
    this.#camera.start(makeClip, this.#log);
    await this.#camera.clip;
  }

  /** Ids of the cameras that it reads, or may read. */
  get cameraIds(): readonly string[] {
    return Object.keys(this.#config.cameras);
  }

  /** Cameras will be lent: those who look for some are told. */
  isPreparingCameras = false;

  /** A further camera for this run alone, whatever is done to it. Errors: CONFIG_*. */
  lendCamera(id: string, value: Readonly<Record<string, unknown>>): void {
    this.#coordinator.change({ entry: { section: 'cameras', name: id, value } });
    this.#keptCameras.leaveOut(this.#config.cameras[id]!);
  }

  health(): HealthDocument {
    return this.#health.document();
  }

  get #isReady(): boolean {
    const { starting, stopping, workers } = this.#serverFacts();
    return !starting && !stopping && workers.alive > 0;
  }

  /** All measurements, read now. */
  metrics(): Metrics {
    return this.figures.document();
  }

  /** What became of all frames. */
  get #frames(): readonly ClassAccounts[] {
    return [...this.#lane.accounts(), ...this.#fleet.frames()];
  }

  #alertFigures() {
    const accounts = this.#frames;
    const sums = CLASSES.map((name) => {
      const sum = { results: 0, late: 0, lost: 0, failed: 0 };
      for (const one of accounts) {
        if (one.class !== name) continue;
        sum.results += one.results;
        sum.late += one.late;
        sum.lost += one.lost;
        sum.failed += one.failed;
      }
      return [name, sum] as const;
    });
    const { cpu_percent: cpuPercent, rss_bytes: rssBytes } = this.#monitor.process.read();
    return { classes: Object.fromEntries(sums) as Record<(typeof CLASSES)[number], ClassCounts>, cpuPercent, rssBytes };
  }

  #serverFacts(): ServerFacts {
    const { workers, workerSlots } = this.#engine.stats();
    return {
      starting: this.#models.isStarting,
      stopping: this.#closing !== undefined || this.#draining !== undefined,
      modelsLoading: this.#models.loading,
      modelsFailed: this.#models.failed,
      workers: { alive: workers, wanted: workerSlots },
      callbackFaults: this.#hub.callbackFaults.count,
      recordings: this.#recordings.status(),
      store: this.#store.report(),
      alerts: this.#alerts.firing(),
      connections: {
        open: this.#http.connectionCount,
        max: this.#http.connectionsMax,
        wanted: this.#config.server.max_connections,
      },
      cameras: this.#camerasTold(),
      sessions: this.#lane.report().length + this.#telemetry.sessions + this.#foxglove.connected,
      models: this.#models.report(),
      memory: { plannedBytes: plannedBytes(this.#memoryPlan), machineBytes: machineBytes() },
    };
  }

  #camerasTold(): ServerFacts['cameras'] {
    const { states } = this.#fleet.accounts();
    const all = Object.values(states).reduce((sum, count) => sum + count, 0);
    return { live: states.live, wanted: all - states.off - states.ended };
  }

  /** Reads the configuration file again: what can change at run time does, or nothing. Errors: CONFIG_*. */
  reload(): ConfigChange {
    // Whoever says that something has changed need not wait until it is noticed.
    void this.#certificates?.check(true);
    try {
      const change = this.#coordinator.reload();
      this.#reloads.taken++;
      this.#log.write('config_reloaded', {
        settings: pathsOf([...change.atOnce, ...change.newSessions]),
        needs_restart: pathsOf(change.needsRestart),
      });
      return change;
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      this.#reloads.failed++;
      this.#log.write('config_reload_failed', { code, reason: message });
      throw thrown;
    }
  }

  /** Records topics and cameras that match, and all video sessions (`Recordings.start`). Errors: OUTPUT_FAILED, FILTER_BAD. */
  record(path: string, filter?: string, settings?: RecordingSettings): Promise<Recorder> {
    return this.#recordings.start(path, filter, settings);
  }

  /** A source of frames in this program. Errors: MODEL_*, STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  openFrames(choice?: PipelineChoice): Promise<FrameInput> {
    return this.#sources.openInput(choice);
  }

  /** Loads a model by its id or the path of a file (`ModelBook.add`). Errors: MODEL_*, for paths SOURCE_* and USAGE. */
  addModel(idOrPath: string): Promise<ModelManifest> {
    return this.#models.add(idOrPath);
  }

  /** The part that it closes now, or has closed last; undefined: it is not closing. */
  get closingStep(): string | undefined {
    return this.#closingStep;
  }

  /**
   * Before the end: `/-/ready` says 503, nobody new comes in, sessions take no more frames. Resolves when every frame has its answer and every
   * critical message is with its client's socket, or the time is over (`server.shutdown_timeout_ms`, less what closing needs). Idempotent.
   */
  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async #drain(): Promise<void> {
    const timeoutMs = this.#config.server.shutdown_timeout_ms;
    this.#endMs = systemClock.now() + timeoutMs;
    for (const room of [
      this.#http,
      this.#fleet,
      this.#cameras,
      this.#webRtc,
      this.#hls,
      this.#exports,
      this.#lane,
      this.#telemetry,
      this.#foxglove,
    ])
      room.drain();
    const untilMs = this.#endMs - Math.min(CLOSE_MS, timeoutMs / 2);
    while (!this.#isDrained && systemClock.now() < untilMs) await sleep(DRAIN_POLL_MS);
  }

  get #isDrained(): boolean {
    return this.#lane.isDrained && this.#telemetry.isDrained && this.#fleet.isDrained;
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
    // After a failed start the error says everything; whoever has started it writes that.
    const { level } = this.#log;
    if (this.#models.isStarting) this.#log.level = 'silent';
    const rooms = [
      this.#hls,
      this.#sources,
      this.#cameras,
      this.#lane,
      this.#telemetry,
      this.#foxglove,
      this.#topics,
      this.#hub,
    ];
    const steps = {
      drain: () => this.drain(),
      // Published messages are written first.
      recordings: () =>
        Promise.all([this.#recordings.close(), this.#archive.close(), this.#exports.close(), this.#cache.close()]),
      sessions: () => {
        // First: they have streams of the hub's.
        this.#alerts.close();
        void this.#webRtc.close();
        void this.#fleet.close();
        rooms.forEach((room) => room.close());
      },
      http: () => {
        // At the same time: both may wait for somebody else.
        void this.#traces.close();
        return this.#http.close(Math.max(0, this.#endMs - systemClock.now()));
      },
      cameras: () => this.#fleet.close(),
      webrtc: () => this.#webRtc.close(),
      traces: () => this.#traces.close(),
      engine: () => this.#engine.close(),
      store: () => this.#store.close(),
    };
    await shutDown(this.#log, systemClock, steps, (step) => {
      this.#closingStep = step;
    });
    this.#authenticator.close();
    this.#certificates?.close();
    this.#monitor.close();
    this.#log.level = level;
  }

  /** Each room takes its slice of a changed configuration; the first may refuse it (CONFIG_VALUE_BAD), before anything has changed. */
  #configure(config: Config): void {
    this.#lane.configure(videoSettings(config));
    this.#log.level = config.log.level;
    this.#health.configure(healthLimits(config));
    this.#alerts.configure(alertsSettings(config, machineBytes()));
    this.#archive.configure(archiveSettings(config));
    this.#exports.configure(exportSettings(config));
    this.#recordings.configure({ takesUnmasked: config.fleet.record_unmasked });
    if (this.#hasCameras) this.#fleet.configure(fleetSettings(config));
  }

  /** All of it or, where something is wrong, nothing. Errors: CONFIG_*. */
  #changeConfig(request: ConfigRequest): ConfigChange {
    const change = this.#coordinator.change(request);
    this.#keptCameras.save();
    const settings = pathsOf([...change.atOnce, ...change.newSessions]);
    if (settings.length > 0) this.#log.write('config_changed', { settings });
    return change;
  }

  #apiHost(version: string): ApiHost {
    return {
      info: apiInfo(version, this.#config),
      health: () => this.health(),
      isReady: () => this.#isReady,
      metrics: () => this.metrics(),
      figures: () => this.figures.read(),
      pipelines: () => pipelineReports(this.#config),
      limits: () => viewLimits(this.#config),
      session: (clientId) => reportOf(this.#lane.get(clientId), systemClock.now()),
      pin: (clientId, pin) => this.#lane.get(clientId).pin(pin),
      config: () => this.#coordinator.state,
      changeConfig: (request) => this.#changeConfig(request),
      reloadConfig: () => this.reload(),
      benchmark: async (seconds) => {
        await this.#models.detector();
        return await this.#benchmark.run(seconds);
      },
    };
  }
}

/** For the log: of a thousand cameras the first few will do. */
function pathsOf(changed: readonly ChangedSetting[]): string[] {
  const paths = changed.slice(0, PATHS_TOLD_MAX).map(({ path }) => path);
  return changed.length > paths.length ? [...paths, `and ${changed.length - paths.length} more`] : paths;
}
