import { readdir, rm } from 'node:fs/promises';
import { basename, extname, join, parse } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { wallAheadMs, type Clock } from '../base/clock.ts';
import { toSightlineError, type SightlineError } from '../base/errors.ts';
import type { Sample } from '../base/sample.ts';
import type { RecordingStatus } from '../observe/metrics.ts';
import type { Payload } from '../protocol/payload.ts';
import type { Reader, ReaderCounts } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';
import type { Topics } from '../stream/topics.ts';
import { isRecorded, partOf, RecordingFile, type RecordingFileOptions } from './recording-file.ts';

export interface RecordingSettings extends RecordingFileOptions {
  /** Begins a new file after this many bytes on the disk, or this time; 0: never. */
  readonly rotateBytes: number;
  readonly rotateMs: number;
  /** Files of one recording that are kept: beyond that the oldest is deleted. */
  readonly filesMax: number;
  /**
   * When the file cannot be written any more, a new one is tried at this interval, and messages that find no room in the rings
   * meanwhile are lost and counted; 0: the recording ends.
   */
  readonly retryMs: number;
}

export const RECORDING_DEFAULTS: RecordingSettings = {
  compression: 'zstd',
  chunkBytes: 256 * 1024,
  rotateBytes: 0,
  rotateMs: 0,
  filesMax: 1_000,
  retryMs: 0,
};

export interface RecorderOptions {
  /** Path of the first file; the next ones get `-2`, `-3` … before the ending. */
  readonly path: string;
  readonly clock: Clock;
  readonly settings: RecordingSettings;
  /** Entries for the metadata of every file beside the recording's own accounts. */
  readonly notes?: () => Readonly<Record<string, string>>;
  /** The recording has ended by an error. It reads nothing any more; written messages stay. */
  readonly onFailed?: (error: SightlineError) => void;
  /** The file cannot be written; a new one is tried every `retryMs`. */
  readonly onInterrupted?: (error: SightlineError) => void;
  /** It goes on, in this file. */
  readonly onResumed?: (path: string) => void;
}

/** What a sample becomes in the recording. */
export interface Recorded {
  /** The publisher's, Unix ms. */
  readonly timeMs: number;
  readonly payload: Payload;
  /** Default: those under which its stream is followed. */
  readonly topic?: string;
  readonly epoch?: string;
  /** Default: that of the sample. */
  readonly seq?: number;
  /** By the clock of samples; default: when the sample was published. */
  readonly arrivedMs?: number;
  /** As in `RecordedMessage`. */
  readonly behind?: string;
  /** It is of no use without the one before it in its stream: where that is not in the recording, this one is not either. */
  readonly continues?: boolean;
}

/** How a sample of any stream becomes a message of the recording; undefined leaves it out. */
export type ToRecorded<T> = (sample: Sample<T>) => Recorded | undefined;

export interface FollowOptions<T> {
  /** Default: the stream's. */
  readonly epoch?: string;
  /** Default: `live`. */
  readonly from?: 'live' | number;
  /** Where the next sample is not due it stays where it is: it waits for something of the other stream, which is followed too. */
  readonly waits?: { readonly for: Stream<unknown>; readonly isDue: (sample: Sample<T>) => boolean };
}

export interface TopicRecord {
  readonly topic: string;
  readonly epoch: string;
  readonly recorded: number;
  /** Lost because the disk was full or too slow, expired meanwhile, or unread when their stream closed. */
  readonly lost: number;
  readonly queued: number;
}

export interface RecordingReport {
  /** Those that were never finished end in `.part`. */
  readonly files: readonly string[];
  readonly recorded: number;
  readonly lost: number;
  /** Messages whose publisher's time the format cannot express: the file has the nearest possible one. */
  readonly odd_times: number;
  /** How often no file could be written for a while. */
  readonly interruptions: number;
  /** In all files, those deleted since included. */
  readonly bytes: number;
  readonly topics: readonly TopicRecord[];
}

interface Followed {
  readonly topic: string;
  /** Of its newest message, where these have epochs of their own. */
  epoch: string;
  readonly toRecorded: ToRecorded<unknown>;
  readonly waits: { readonly for: Followed; readonly isDue: (sample: Sample<unknown>) => boolean } | undefined;
  /** Undefined once its stream has closed: the ring is not kept for the accounts. */
  reader: Reader<unknown> | undefined;
  counts: () => ReaderCounts;
  leftOut: number;
  /** Taken from the reader, and lost: with a chunk that did not get to the disk, or because JSON cannot say it. */
  unwritten: number;
  /** Its accounts are in the sums alone. */
  isForgotten: boolean;
  /** Position of the newest one in the recording; undefined: there was none yet; NaN: it is lost, or what came behind it. */
  written: number | undefined;
}

interface Taken extends Recorded {
  readonly from: Followed;
  readonly sample: Sample<unknown>;
  readonly arrivedMs: number;
}

/** Messages that are written in one go before other work of the main thread has its turn, and their bytes: about a millisecond. */
const SLICE_MESSAGES = 64;
const SLICE_BYTES = 1024 * 1024;
/** Messages of ended streams that may wait for the disk, and their bytes: no ring holds them any more. */
const TAKEN_MAX = 4_096;
export const TAKEN_BYTES_MAX = 64 * 1024 * 1024;
/** Streams that have closed and still have accounts of their own; those of older ones are in the sums. */
const ENDED_MAX = 1_000;

/**
 * Streams into MCAP files. It reads each by contract `all`, with the stream's own ring as its queue: a disk that is too
 * slow costs this reader messages, which are counted and recorded in the file, and slows nobody else.
 */
export class Recorder implements AsyncDisposable {
  readonly #options: RecorderOptions;
  readonly #followed = new Map<Stream<unknown>, Followed>();
  /** Those whose reader has something to give. */
  readonly #ready = new Set<Followed>();
  /** Those whose next one is not due. */
  readonly #held = new Set<Followed>();
  /** Streams that have closed. */
  readonly #ended: Followed[] = [];
  readonly #unwatch: (() => void)[] = [];
  readonly #files: string[];
  readonly #running: Promise<void>;
  /** The last one that was begun. */
  #file: RecordingFile;
  #isFileOpen = true;
  /** Taken and not handed to the file yet. */
  readonly #taken: Taken[] = [];
  #takenBytes = 0;
  /** Whose messages are in the file's chunk, and not on the disk yet. */
  #inChunk: Followed[] = [];
  #fileOpenedMs: number;
  /** By how much the time of day is ahead of the clock; of one file it never falls, so that its log times rise when the clock is set back. */
  #aheadMs: number;
  #fileNumber: number;
  #closedBytes = 0;
  #closedOddTimes = 0;
  #interruptions = 0;
  readonly #stop = new AbortController();
  readonly #forgotten = { recorded: 0, lost: 0 };
  #stopping = false;
  #isComplete = false;
  #failure: SightlineError | undefined;
  #interruption: SightlineError | undefined;
  #wake: () => void = () => {};

  private constructor(file: RecordingFile, fileNumber: number, options: RecorderOptions) {
    this.#options = options;
    this.#file = file;
    this.#fileNumber = fileNumber;
    this.#files = [file.path];
    this.#fileOpenedMs = options.clock.now();
    this.#aheadMs = wallAheadMs(options.clock);
    this.#running = this.#run();
  }

  /** Nothing that was recorded before is overwritten: `a.mcap` goes on as `a-2.mcap`, and so on. Errors: OUTPUT_FAILED. */
  static async start(options: RecorderOptions): Promise<Recorder> {
    const { path, settings } = options;
    const number = (await lastNumber(path)) + 1;
    return new Recorder(await RecordingFile.create(numbered(path, number), settings), number, options);
  }

  /** The file that was begun last. */
  get path(): string {
    return this.#file.path;
  }

  /** Resolves when the recording has ended, well or not. */
  get ended(): Promise<void> {
    return this.#running;
  }

  /** The error that ended the recording. */
  get failure(): SightlineError | undefined {
    return this.#failure;
  }

  /** Records every topic that a filter matches, those to come included. Several filters may overlap. */
  followTopics(topics: Topics, filter: string): void {
    this.#unwatch.push(
      topics.watch(filter, ({ name, epoch, stream }) => {
        this.follow(stream, name, ({ data: { timeMs, payload } }) => ({ timeMs, payload }), { epoch: String(epoch) });
      }),
    );
  }

  /** Records one stream under a topic name: a video session's frames or results, say. A stream is followed once. */
  follow<T>(stream: Stream<T>, topic: string, toRecorded: ToRecorded<T>, options: FollowOptions<T> = {}): void {
    const key = stream as Stream<unknown>;
    if (this.#stopping || this.#followed.has(key)) return;
    const { epoch = stream.epoch, from = 'live', waits } = options;
    const awaited = waits && this.#followed.get(waits.for);
    const onReady = (): void => {
      this.#ready.add(followed);
      this.#wake();
    };
    const onClosed = (): void => this.#forget(key, followed);
    const onEnding = (): void => this.#takeRest(followed);
    const reader = key.subscribe({
      name: 'recording',
      contract: { kind: 'all' },
      from,
      takesExpired: true,
      onReady,
      onEnding,
      onClosed,
    });
    const followed: Followed = {
      topic,
      epoch,
      toRecorded: toRecorded as ToRecorded<unknown>,
      waits: awaited && { for: awaited, isDue: waits.isDue as (sample: Sample<unknown>) => boolean },
      reader,
      counts: () => reader.counts(),
      leftOut: 0,
      unwritten: 0,
      isForgotten: false,
      written: undefined,
    };
    this.#followed.set(key, followed);
    if (reader.ready) onReady();
  }

  report(): RecordingReport {
    const topics = [...this.#ended, ...this.#followed.values()].map(accountOf);
    return {
      files: [...this.#files],
      recorded: this.#forgotten.recorded + sum(topics, ({ recorded }) => recorded),
      lost: this.#forgotten.lost + sum(topics, ({ lost }) => lost),
      odd_times: this.#closedOddTimes + (this.#isFileOpen ? this.#file.oddTimes : 0),
      interruptions: this.#interruptions,
      bytes: this.#closedBytes + (this.#isFileOpen ? this.#file.bytes : 0),
      topics,
    };
  }

  get status(): RecordingStatus {
    const { files, topics, ...accounts } = this.report();
    const error = this.#failure ?? this.#interruption;
    return {
      state: this.#failure ? 'failed' : this.#isComplete ? 'ended' : this.#interruption ? 'interrupted' : 'recording',
      file: basename(this.#file.path),
      files: files.length,
      ...accounts,
      queued: sum(topics, ({ queued }) => queued),
      error: error ? (error.message.split(': ').at(-1) ?? error.message) : null,
    };
  }

  /**
   * Writes the messages published until now, completes the file and resolves to the accounts.
   * Errors: OUTPUT_FAILED, also when the recording had failed before.
   */
  async finish(): Promise<RecordingReport> {
    this.#end();
    this.#wake();
    await this.#running;
    if (this.#failure) throw this.#failure;
    return this.report();
  }

  /** Ends the recording, if that was not done; its error is in `failure`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.finish().catch(() => undefined);
  }

  async #run(): Promise<void> {
    try {
      while (!(await this.#recordOn()));
      this.#isComplete = true;
    } catch (thrown) {
      await this.#fail(toSightlineError(thrown, 'OUTPUT_FAILED'));
    }
  }

  /** Resolves to true when the recording is complete, to false when it goes on in a new file. */
  async #recordOn(): Promise<boolean> {
    try {
      await this.#record();
      return true;
    } catch (thrown) {
      const error = toSightlineError(thrown, 'OUTPUT_FAILED');
      await this.#giveUpFile();
      if (this.#options.settings.retryMs === 0 || error.code !== 'OUTPUT_FAILED') throw error;
      await this.#tryAgain(error);
      return false;
    }
  }

  /** Up to the end of the recording. */
  async #record(): Promise<void> {
    for (;;) {
      if (this.#taken.length === 0) this.#take();
      this.#aheadMs = Math.max(this.#aheadMs, wallAheadMs(this.#options.clock));
      const isIdle = this.#taken.length === 0;
      while (this.#taken.length > 0) {
        await this.#write(this.#taken[0]!);
        this.#takenBytes -= this.#taken.shift()!.payload.byteLength;
      }
      if (this.#isRotationDue()) await this.#rotate();
      if (!isIdle) await nextTurn();
      else if (this.#stopping) break;
      else await this.#untilReady();
    }
    // Nothing is queued at this moment: later messages do not belong to the recording any more.
    this.#closeReaders();
    await this.#finishFile();
  }

  async #write(taken: Taken): Promise<void> {
    const { from, sample, timeMs, payload, behind, continues } = taken;
    if (continues && from.written !== sample.position - 1) {
      // A recording begins where its messages can be read.
      return from.written === undefined ? this.#leaveOut(from) : this.#lose(from);
    }
    const { topic = from.topic, epoch = from.epoch, seq = sample.seq } = taken;
    const logTimeMs = taken.arrivedMs + this.#aheadMs;
    from.epoch = epoch;
    try {
      const times = { logTimeMs, publishTimeMs: timeMs };
      await this.#file.write({ topic, epoch, seq, ...times, payload, ...(behind !== undefined && { behind }) });
      from.written = sample.position;
    } catch (thrown) {
      // The file would refuse it again and again.
      if (toSightlineError(thrown).code === 'PAYLOAD_BAD') return this.#lose(from);
      throw thrown;
    }
    if (this.#file.written === this.#file.messages) this.#inChunk = [];
    else this.#inChunk.push(from);
  }

  async #finishFile(): Promise<void> {
    await this.#file.finish(this.#metadata());
    this.#inChunk = [];
    this.#closeFile();
  }

  /** Its content up to its last whole chunk stays. */
  async #giveUpFile(): Promise<void> {
    if (!this.#isFileOpen) return;
    this.#closeFile();
    if (this.#file.written < this.#file.messages) for (const from of this.#inChunk) this.#lose(from);
    this.#inChunk = [];
    await this.#file.abandon();
    this.#files.pop();
    if (this.#file.written > 0) this.#files.push(partOf(this.#file.path));
    else this.#fileNumber--;
  }

  #closeFile(): void {
    this.#isFileOpen = false;
    this.#closedBytes += this.#file.bytes;
    this.#closedOddTimes += this.#file.oddTimes;
  }

  /** Until a file can be written. Once the recording is to end there is one last attempt. Throws when that fails. */
  async #tryAgain(error: SightlineError): Promise<void> {
    const { settings, onInterrupted, onResumed } = this.#options;
    this.#interruption = error;
    this.#interruptions++;
    onInterrupted?.(error);
    for (;;) {
      const isLast = this.#stopping;
      try {
        if (!isLast) await this.#rest();
        // Room for a chunk: a file of a few bytes would say nothing.
        await this.#openFile(Math.ceil(settings.chunkBytes / 4));
        this.#interruption = undefined;
        return onResumed?.(this.#file.path);
      } catch (thrown) {
        this.#interruption = toSightlineError(thrown, 'OUTPUT_FAILED');
        if (isLast) throw thrown;
      }
    }
  }

  /** Until it is time to try again, or to end. */
  async #rest(): Promise<void> {
    await sleep(this.#options.settings.retryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  /** The next messages of all topics, taking turns, in the order in which they were published. */
  #take(): void {
    const slice: Taken[] = [];
    for (const from of this.#held) this.#ready.add(from);
    this.#held.clear();
    for (const from of this.#ready) {
      if (slice.length >= SLICE_MESSAGES || this.#takenBytes >= SLICE_BYTES) break;
      this.#ready.delete(from);
      const bytes = takeNext(from, slice);
      if (bytes === 'empty') continue;
      if (bytes === 'held') this.#held.add(from);
      else {
        this.#takenBytes += bytes;
        // Behind all others: this loop comes to it again.
        this.#ready.add(from);
      }
    }
    this.#taken.push(...slice.toSorted((a, b) => a.arrivedMs - b.arrivedMs));
  }

  /** For a stream that ends, as when the camera of a session says goodbye: keeps its content, as far as there is room. */
  #takeRest(from: Followed): void {
    while (this.#taken.length < TAKEN_MAX && this.#takenBytes < TAKEN_BYTES_MAX) {
      const bytes = takeNext(from, this.#taken);
      if (typeof bytes !== 'number') break;
      this.#takenBytes += bytes;
    }
    this.#wake();
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
    await this.#finishFile();
    await this.#openFile();
  }

  async #openFile(roomBytes?: number): Promise<void> {
    const { path, clock, settings } = this.#options;
    // Somebody else may record under the same name.
    const number = (await lastNumber(path, this.#fileNumber)) + 1;
    this.#file = await RecordingFile.create(numbered(path, number), settings, roomBytes);
    this.#fileNumber = number;
    this.#isFileOpen = true;
    this.#fileOpenedMs = clock.now();
    this.#aheadMs = wallAheadMs(clock);
    this.#files.push(this.#file.path);
    if (this.#files.length > settings.filesMax) await rm(this.#files.shift()!, { force: true });
  }

  /** The accounts since the beginning, as the record `sightline.recording` of a file. */
  #metadata(): Map<string, string> {
    const { recorded, lost, odd_times, interruptions, topics } = this.report();
    return new Map([
      ['file', String(this.#fileNumber)],
      ['recorded', String(recorded)],
      ['lost', String(lost)],
      ['odd_times', String(odd_times)],
      ['interruptions', String(interruptions)],
      ['topics', JSON.stringify(topics)],
      ...Object.entries(this.#options.notes?.() ?? {}),
    ]);
  }

  async #fail(error: SightlineError): Promise<void> {
    this.#failure = error;
    this.#end();
    this.#closeReaders();
    await this.#giveUpFile();
    for (const { from } of this.#taken.splice(0)) this.#lose(from);
    this.#takenBytes = 0;
    this.#options.onFailed?.(error);
  }

  /** Follows nothing new; queued messages are still written. */
  #end(): void {
    this.#stopping = true;
    this.#stop.abort();
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
  }

  #closeReaders(): void {
    for (const { reader } of this.#followed.values()) reader?.close();
  }

  #forget(stream: Stream<unknown>, followed: Followed): void {
    this.#ready.delete(followed);
    this.#held.delete(followed);
    // At the end all readers close: their accounts are kept one by one, however many there are.
    if (this.#stopping) return;
    this.#followed.delete(stream);
    const counts = followed.counts();
    followed.counts = () => counts;
    followed.reader = undefined;
    this.#ended.push(followed);
    if (this.#ended.length <= ENDED_MAX) return;
    const oldest = this.#ended.shift()!;
    const { recorded, lost } = accountOf(oldest);
    oldest.isForgotten = true;
    this.#forgotten.recorded += recorded;
    this.#forgotten.lost += lost;
  }

  /** It was taken from its reader, and is not to be in the recording. */
  #leaveOut(from: Followed): void {
    if (from.isForgotten) this.#forgotten.recorded--;
    else from.leftOut++;
  }

  /** It was taken from its reader and is not on the disk. */
  #lose(from: Followed): void {
    from.written = NaN;
    if (!from.isForgotten) from.unwritten++;
    else {
      this.#forgotten.recorded--;
      this.#forgotten.lost++;
    }
  }
}

/**
 * Takes the next sample into the list, unless it is not to be recorded; where that is not due, one of those that it waits for. Returns its bytes; `empty`:
 * there is no more; `held`: what it waits for has not come.
 */
function takeNext(from: Followed, into: Taken[]): number | 'empty' | 'held' {
  const { reader, waits } = from;
  const next = waits && reader?.peek();
  if (next && !waits.isDue(next)) {
    const bytes = takeNext(waits.for, into);
    return bytes === 'empty' ? 'held' : bytes;
  }
  const sample = reader?.next();
  if (sample === undefined) return 'empty';
  const message = from.toRecorded(sample);
  if (message === undefined) {
    from.leftOut++;
    return 0;
  }
  into.push({ from, sample, arrivedMs: sample.publishedTimeMs, ...message });
  return message.payload.byteLength;
}

function accountOf({ topic, epoch, counts, leftOut, unwritten }: Followed): TopicRecord {
  const { delivered, dropped, expired, queued } = counts();
  const lost = expired + unwritten + sum(Object.values(dropped), (count) => count);
  return { topic, epoch, recorded: delivered - leftOut - unwritten, lost, queued };
}

/** The highest number that an earlier recording of this name has; `least` where none has a higher one. */
async function lastNumber(path: string, least = 0): Promise<number> {
  const { dir, name, ext } = parse(path);
  // What cannot be read cannot be written either, and that is told in the words of who tries it.
  const found = await readdir(dir).catch(() => []);
  let last = least;
  for (const file of found) {
    const whole = file.replace(/\.part$/, '');
    if (!whole.startsWith(name) || !whole.endsWith(ext)) continue;
    const between = whole.slice(name.length, whole.length - ext.length);
    const number = between === '' ? 1 : Number(/^-([1-9]\d{0,8})$/.exec(between)?.[1] ?? 0);
    if (number > last && (await isRecorded(join(dir, whole)))) last = number;
  }
  return last;
}

function numbered(path: string, number: number): string {
  if (number === 1) return path;
  const ending = extname(path);
  return `${path.slice(0, path.length - ending.length)}-${number}${ending}`;
}

function sum<T>(items: readonly T[], count: (item: T) => number): number {
  return items.reduce((total, item) => total + count(item), 0);
}
