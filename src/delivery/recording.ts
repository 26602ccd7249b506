import { rm } from 'node:fs/promises';
import { extname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { wallAheadMs, type Clock } from '../base/clock.ts';
import { toSightlineError, type SightlineError } from '../base/errors.ts';
import type { Sample } from '../base/sample.ts';
import type { Payload } from '../protocol/payload.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';
import type { Topics } from '../stream/topics.ts';
import { RecordingFile, type RecordingFileOptions } from './recording-file.ts';

export interface RecordingSettings extends RecordingFileOptions {
  /** A new file is begun after so many bytes on the disk, or so long; 0: never. */
  readonly rotateBytes: number;
  readonly rotateMs: number;
  /** Files of one recording that are kept: beyond that the oldest is deleted. */
  readonly filesMax: number;
}

export const RECORDING_DEFAULTS: RecordingSettings = {
  compression: 'zstd',
  chunkBytes: 256 * 1024,
  rotateBytes: 0,
  rotateMs: 0,
  filesMax: 1_000,
};

export interface RecorderOptions {
  /** Of the first file; the ones after it get `-2`, `-3` … before the ending. */
  readonly path: string;
  readonly clock: Clock;
  readonly settings: RecordingSettings;
  /** The recording has ended by an error. Nothing is read any more; what was written stays. */
  readonly onFailed?: (error: SightlineError) => void;
}

/** How a sample of any stream becomes a message of the recording; undefined leaves it out. */
export type ToRecorded<T> = (sample: Sample<T>) => { readonly timeMs: number; readonly payload: Payload } | undefined;

export interface TopicRecord {
  readonly topic: string;
  readonly epoch: string;
  readonly recorded: number;
  /** Lost because the disk was too slow, expired meanwhile, or unread when their stream closed. */
  readonly lost: number;
  readonly queued: number;
}

export interface RecordingReport {
  readonly files: readonly string[];
  readonly recorded: number;
  readonly lost: number;
  /** In all files, those deleted since included. */
  readonly bytes: number;
  readonly topics: readonly TopicRecord[];
}

interface Followed {
  readonly topic: string;
  readonly epoch: string;
  readonly reader: Reader<unknown>;
  readonly toRecorded: ToRecorded<unknown>;
  leftOut: number;
}

interface Taken {
  readonly from: Followed;
  readonly sample: Sample<unknown>;
  readonly timeMs: number;
  readonly payload: Payload;
}

/** Messages that are written in one go before other work of the main thread has its turn: about a millisecond. */
const SLICE_MESSAGES = 64;
/** Streams that have closed and whose accounts are still told one by one; those of older ones are in the sums. */
const ENDED_MAX = 1_000;

/**
 * Streams into MCAP files. It reads each by contract `all`, with the stream's own ring as its queue: a disk that is too
 * slow costs this reader messages, which are counted and told in the file, and slows nobody else.
 */
export class Recorder implements AsyncDisposable {
  readonly #options: RecorderOptions;
  readonly #followed = new Map<Stream<unknown>, Followed>();
  /** Those whose reader has something to give. */
  readonly #ready = new Set<Followed>();
  readonly #ended: TopicRecord[] = [];
  readonly #unwatch: (() => void)[] = [];
  readonly #files: string[];
  readonly #running: Promise<void>;
  #file: RecordingFile;
  #fileOpenedMs: number;
  /** By how much the time of day is ahead of the clock; of one file it never falls, so that its log times rise when the clock is set back. */
  #aheadMs: number;
  #fileNumber = 1;
  #closedBytes = 0;
  #forgotten = { recorded: 0, lost: 0 };
  #stopping = false;
  #failure: SightlineError | undefined;
  #wake: () => void = () => {};

  private constructor(file: RecordingFile, options: RecorderOptions) {
    this.#options = options;
    this.#file = file;
    this.#files = [file.path];
    this.#fileOpenedMs = options.clock.now();
    this.#aheadMs = wallAheadMs(options.clock);
    this.#running = this.#run();
  }

  /** Errors: OUTPUT_FAILED. */
  static async start(options: RecorderOptions): Promise<Recorder> {
    return new Recorder(await RecordingFile.create(options.path, options.settings), options);
  }

  /** Resolves when the recording has ended, well or not. */
  get ended(): Promise<void> {
    return this.#running;
  }

  /** The error that ended the recording. */
  get failure(): SightlineError | undefined {
    return this.#failure;
  }

  /** Records every topic that a filter takes in, those to come included. Several filters may overlap. */
  followTopics(topics: Topics, filter: string): void {
    this.#unwatch.push(
      topics.watch(filter, ({ name, epoch, stream }) => {
        this.follow(stream, name, ({ data: { timeMs, payload } }) => ({ timeMs, payload }), String(epoch));
      }),
    );
  }

  /** Records one stream under a topic name: a video session's frames or results, say. A stream is followed once. */
  follow<T>(stream: Stream<T>, topic: string, toRecorded: ToRecorded<T>, epoch = stream.epoch): void {
    const key = stream as Stream<unknown>;
    if (this.#stopping || this.#followed.has(key)) return;
    const onReady = (): void => {
      this.#ready.add(followed);
      this.#wake();
    };
    const onClosed = (): void => this.#forget(key, followed);
    const followed: Followed = {
      topic,
      epoch,
      toRecorded: toRecorded as ToRecorded<unknown>,
      leftOut: 0,
      reader: key.subscribe({ name: 'recording', contract: { kind: 'all' }, onReady, onClosed }),
    };
    this.#followed.set(key, followed);
  }

  report(): RecordingReport {
    const topics = [...this.#ended, ...[...this.#followed.values()].map(accountOf)];
    return {
      files: [...this.#files],
      recorded: this.#forgotten.recorded + sum(topics, ({ recorded }) => recorded),
      lost: this.#forgotten.lost + sum(topics, ({ lost }) => lost),
      bytes: this.#closedBytes + this.#file.bytes,
      topics,
    };
  }

  /**
   * Writes what was published until now, completes the file and resolves to the accounts.
   * Errors: OUTPUT_FAILED, also when the recording had failed before.
   */
  async finish(): Promise<RecordingReport> {
    this.#stopping = true;
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
    this.#wake();
    await this.#running;
    if (this.#failure) throw this.#failure;
    return this.report();
  }

  /** Ends the recording, if that was not done; what went wrong is in `failure`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.finish().catch(() => undefined);
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        const slice = this.#take();
        this.#aheadMs = Math.max(this.#aheadMs, wallAheadMs(this.#options.clock));
        for (const { from, sample, timeMs, payload } of slice) {
          const { topic, epoch } = from;
          const { seq, publishedTimeMs } = sample;
          const logTimeMs = publishedTimeMs + this.#aheadMs;
          await this.#file.write({ topic, epoch, seq, logTimeMs, publishTimeMs: timeMs, payload });
        }
        if (this.#isRotationDue()) await this.#rotate();
        if (slice.length > 0) await nextTurn();
        else if (this.#stopping) break;
        else await this.#untilReady();
      }
      // Nothing is queued at this moment: what comes from now on is not the recording's any more.
      this.#closeReaders();
      await this.#file.finish(this.#metadata());
    } catch (thrown) {
      await this.#fail(toSightlineError(thrown, 'OUTPUT_FAILED'));
    }
  }

  /** The next messages of all topics, taking turns, in the order in which they were published. */
  #take(): Taken[] {
    const slice: Taken[] = [];
    while (slice.length < SLICE_MESSAGES && this.#ready.size > 0) {
      for (const from of this.#ready) {
        const sample = from.reader.next();
        const message = sample && from.toRecorded(sample);
        if (sample === undefined) this.#ready.delete(from);
        else if (message === undefined) from.leftOut++;
        else slice.push({ from, sample, ...message });
      }
    }
    return slice.toSorted((a, b) => a.sample.publishedTimeMs - b.sample.publishedTimeMs);
  }

  #untilReady(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#ready.size > 0 || this.#stopping) resolve();
    });
  }

  #isRotationDue(): boolean {
    const { clock, settings } = this.#options;
    if (this.#file.messages === 0) return false;
    const isLarge = settings.rotateBytes > 0 && this.#file.bytes >= settings.rotateBytes;
    return isLarge || (settings.rotateMs > 0 && clock.now() - this.#fileOpenedMs >= settings.rotateMs);
  }

  async #rotate(): Promise<void> {
    const { path, clock, settings } = this.#options;
    await this.#file.finish(this.#metadata());
    this.#closedBytes += this.#file.bytes;
    this.#file = await RecordingFile.create(numbered(path, ++this.#fileNumber), settings);
    this.#fileOpenedMs = clock.now();
    this.#aheadMs = wallAheadMs(clock);
    this.#files.push(this.#file.path);
    if (this.#files.length > settings.filesMax) await rm(this.#files.shift()!, { force: true });
  }

  /** The accounts since the beginning, as the record `sightline.recording` of a file. */
  #metadata(): Map<string, string> {
    const { recorded, lost, topics } = this.report();
    return new Map([
      ['file', String(this.#fileNumber)],
      ['recorded', String(recorded)],
      ['lost', String(lost)],
      ['topics', JSON.stringify(topics)],
    ]);
  }

  async #fail(error: SightlineError): Promise<void> {
    this.#failure = error;
    this.#stopping = true;
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
    this.#closeReaders();
    await this.#file.abandon();
    this.#options.onFailed?.(error);
  }

  #closeReaders(): void {
    for (const { reader } of this.#followed.values()) reader.close();
  }

  #forget(stream: Stream<unknown>, followed: Followed): void {
    this.#followed.delete(stream);
    this.#ready.delete(followed);
    this.#ended.push(accountOf(followed));
    if (this.#ended.length <= ENDED_MAX) return;
    const { recorded, lost } = this.#ended.shift()!;
    this.#forgotten = { recorded: this.#forgotten.recorded + recorded, lost: this.#forgotten.lost + lost };
  }
}

function accountOf({ topic, epoch, reader, leftOut }: Followed): TopicRecord {
  const { delivered, dropped, expired, queued } = reader.counts();
  const lost = expired + sum(Object.values(dropped), (count) => count);
  return { topic, epoch, recorded: delivered - leftOut, lost, queued };
}

function numbered(path: string, number: number): string {
  const ending = extname(path);
  return `${path.slice(0, path.length - ending.length)}-${number}${ending}`;
}

function sum<T>(items: readonly T[], count: (item: T) => number): number {
  return items.reduce((total, item) => total + count(item), 0);
}
