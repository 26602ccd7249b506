import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { openServer, type Sightline as App } from './app.ts';
import { systemClock } from './base/clock.ts';
import { SightlineError } from './base/errors.ts';
import { Priority } from './base/sample.ts';
import { loadConfig } from './config/load.ts';
import type { RecordingReport, RecordingSettings } from './delivery/recording.ts';
import { Log, noLog, type LogSink } from './log/log.ts';
import type { HealthDocument, Metrics } from './observe/metrics.ts';
import type { PipelineChoice } from './pipelines/pipeline.ts';
import type { FrameInput } from './pipelines/frame-input.ts';
import { Payload } from './protocol/payload.ts';
import { openTopicReader, type TopicReader } from './stream/topic-reader.ts';

export type { Box, Detection, WorkerStagesMs } from './base/detection.ts';
export { SightlineError, type ErrorCode } from './base/errors.ts';
export type { FrameDropCause } from './base/frame.ts';
export type { RecordingReport, RecordingSettings } from './delivery/recording.ts';
export type { LogEntry, LogSink } from './log/log.ts';
export type { HealthDocument, Metrics } from './observe/metrics.ts';
export type { PipelineChoice as DetectorChoice } from './pipelines/pipeline.ts';
export type { FrameInput, PushedFrame, PushOptions } from './pipelines/frame-input.ts';
export type { ReadMessage, TopicReader } from './stream/topic-reader.ts';

export interface CreateSightlineOptions {
  /** YAML file, as for `--config`. */
  readonly configFile?: string;
  /** Dotted key → value, such as `{ 'server.port': 0 }`; beats file and environment. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Where `SIGHTLINE_SECTION__KEY` and the cache folder are looked up, such as `process.env`; default: nowhere. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Gets every log entry at the levels that `log.level` lets through. Its exceptions are ignored. Default: none. */
  readonly log?: LogSink;
  /** False: no port is opened, and requests come from an HTTP server of your own by `handleRequest` and `handleUpgrade`. Default: true. */
  readonly listen?: boolean;
}

export interface PublishOptions {
  /** Unix ms; default: now. */
  readonly timeMs?: number;
  /** Default: normal. */
  readonly priority?: keyof typeof Priority;
  /** Milliseconds from now after which the message is of no use; default: never. */
  readonly ttlMs?: number;
}

export interface LoadedModel {
  /** The name by which `openFrames` and clients (`?model=`) ask for it. */
  readonly id: string;
  readonly labels: readonly string[];
}

/** A running recording. */
export interface Recording {
  report(): RecordingReport;
  /** Ends it; resolves when the file is complete. Idempotent. */
  finish(): Promise<RecordingReport>;
}

/**
 * The server inside another program: listens when it resolves, ends with `close()` or `await using`.
 *
 * Throws SightlineError CONFIG_*, ADDRESS_*, MODEL_*.
 */
export async function createSightline(options: CreateSightlineOptions = {}): Promise<Sightline> {
  const { configFile, settings = {}, env = {}, log: sink, listen } = options;
  const config = loadConfig({ file: configFile, env, flags: settings });
  const log = sink === undefined ? noLog(systemClock) : new Log({ clock: systemClock, sink });
  return new EmbeddedServer(await openServer({ config, log, ...(listen !== undefined && { listens: listen }) }), log);
}

/** A running server. Failures are thrown to the caller, or rejected: they never end the program. */
export interface Sightline extends AsyncDisposable {
  /** Where it listens, such as `http://127.0.0.1:8080`. Throws USAGE without a port of its own. */
  readonly url: string;
  /** The document of `GET /health`. */
  health(): HealthDocument;
  /** The document of `GET /api/performance/metrics`. */
  metrics(): Metrics;
  /**
   * Publishes a value, or bytes (`Uint8Array`), to every subscriber of the topic. It is encoded at once: you may go on and change it.
   * Throws TOPIC_BAD, TOPIC_LIMIT_REACHED, PAYLOAD_BAD (no message can hold the value), MESSAGE_FIELD_BAD (an option).
   */
  publish(topic: string, value: unknown, options?: PublishOptions): { readonly epoch: number; readonly seq: number };
  /**
   * Messages published from now on, by clients or by this program, to the topics that match (`+` and `#` are wildcards), to be read with
   * `for await`. At most `queueMax` messages wait (default 1,024): a further one drops the oldest, which is counted. Throws FILTER_BAD.
   */
  subscribe(filter: string, options?: { readonly queueMax?: number }): TopicReader;
  /**
   * A source of frames: `push` a JPEG, get its detections. `rateFps` is the number a second that are in time, `watchRate` calls back when it changes.
   * Rejects with MODEL_*, STREAM_LIMIT_REACHED.
   */
  openFrames(choice?: PipelineChoice): Promise<FrameInput>;
  /** Loads a model by its id or the path of an `.onnx` or `.tflite` file. Rejects with MODEL_*, SOURCE_*, USAGE. */
  addModel(idOrPath: string): Promise<LoadedModel>;
  /** Records topics and cameras that match, and all video sessions, into an MCAP file. Rejects with OUTPUT_FAILED, FILTER_BAD. */
  record(path: string, filter?: string, settings?: RecordingSettings): Promise<Recording>;
  /** Answers a request of your own HTTP server. */
  handleRequest(request: IncomingMessage, response: ServerResponse): void;
  /** Answers the `upgrade` event of your own HTTP server: opens the WebSocket, or refuses it. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends sessions and recordings, and frees everything. Idempotent. */
  close(): Promise<void>;
}

class EmbeddedServer implements Sightline {
  /** No part of the interface: for tools that look inside. */
  readonly app: App;
  readonly #log: Log;

  constructor(app: App, log: Log) {
    this.app = app;
    this.#log = log;
  }

  get url(): string {
    return this.app.url;
  }

  health(): HealthDocument {
    return this.app.health();
  }

  metrics(): Metrics {
    return this.app.metrics();
  }

  publish(topic: string, value: unknown, options: PublishOptions = {}): { epoch: number; seq: number } {
    const { timeMs, priority = 'normal', ttlMs } = options;
    if (timeMs !== undefined && !Number.isFinite(timeMs)) throw badOption('timeMs', timeMs);
    if (ttlMs !== undefined && !(ttlMs > 0)) throw badOption('ttlMs', ttlMs);
    if (!Object.hasOwn(Priority, priority)) throw badOption('priority', priority);
    return this.app.topics.publish(topic, {
      payload: Payload.copyOf(value),
      priority: Priority[priority],
      ...(timeMs !== undefined && { timeMs }),
      ...(ttlMs !== undefined && { ttlMs }),
    });
  }

  subscribe(filter: string, options: { readonly queueMax?: number } = {}): TopicReader {
    return openTopicReader(this.app.topics, filter, options);
  }

  openFrames(choice?: PipelineChoice): Promise<FrameInput> {
    return this.app.openFrames(choice);
  }

  async addModel(idOrPath: string): Promise<LoadedModel> {
    const { id, labels } = await this.app.addModel(idOrPath);
    return { id, labels };
  }

  record(path: string, filter?: string, settings?: RecordingSettings): Promise<Recording> {
    return this.app.record(path, filter, settings);
  }

  handleRequest(request: IncomingMessage, response: ServerResponse): void {
    this.app.handleRequest(request, response);
  }

  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.app.handleUpgrade(request, socket, head);
  }

  async close(): Promise<void> {
    await this.app.close();
    this.#log.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function badOption(name: string, value: unknown): SightlineError {
  return new SightlineError('MESSAGE_FIELD_BAD', `${name} cannot be ${String(value).slice(0, 80)}`);
}
