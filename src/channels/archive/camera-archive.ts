import type { NamedOutcome, RawFragment } from '../../base/camera-frame.ts';
import { wallAheadMs, wallTimeMs, type Clock } from '../../base/clock.ts';
import type { SightlineError } from '../../base/errors.ts';
import type { Sample } from '../../base/sample.ts';
import { namedOutcomeMessage } from '../../protocol/outcome-message.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import { newestKey } from '../../stream/newest-key.ts';
import type { Reader } from '../../stream/reader.ts';
import { Segmenter, type Segment } from '../segmenter.ts';
import type { ShelvedFile } from './shelf.ts';
import { SegmentWriter, type WriterCounts, type WrittenSegment } from './writer.ts';

export type RecordMode = 'continuous' | 'events';

/** May change at any time. */
export interface RecordTimes {
  readonly fileMs: number;
  readonly freeBytesMin: number;
  readonly memoryBytesMax: number;
  /** What is recorded before an event, and behind it. */
  readonly beforeMs: number;
  readonly afterMs: number;
}

export interface CameraArchiveOptions {
  readonly feed: CameraFeed;
  readonly clock: Clock;
  readonly mode: RecordMode;
  /** Results with one of these are an event; none: with anything at all. */
  readonly labels: readonly string[];
  readonly times: () => RecordTimes;
  readonly folder: string;
  /** What was captured before is there already, Unix ms. */
  readonly keptUntilMs: number;
  readonly onFile: (file: ShelvedFile) => void;
  readonly onChanged: (failure: SightlineError | undefined) => void;
}

/** A segment that would have more bytes ends, with or without a key frame. */
const SEGMENT_BYTES_MAX = 4 * 1024 * 1024;
const BEFORE_RESULTS_MAX = 500;

/** At every moment: made = brought to the writer + passed by + kept in case of an event. */
export interface ArchiveCounts extends WriterCounts {
  readonly made: number;
  /** Nothing happened. */
  readonly passed: number;
  readonly kept: number;
  readonly resultsDropped: number;
}

/** Records one camera: its own frames, in segments that begin with key frames, and what was found in them. */
export class CameraArchive {
  readonly feed: CameraFeed;
  readonly mode: RecordMode;
  readonly labels: readonly string[];
  readonly #options: CameraArchiveOptions;
  readonly #segmenter: Segmenter;
  readonly #writer: SegmentWriter;
  readonly #frames: Reader<RawFragment>;
  readonly #results: Reader<NamedOutcome>;
  readonly #unwatch: () => void;
  #isApart = true;
  /** When the epoch began whose frames come. */
  #masks: readonly string[] = [];
  #epoch: number | undefined;
  #made = 0;
  #passed = 0;
  /** Until then everything is written; by the time of day, as captures are told. */
  #untilMs: number;
  #before: WrittenSegment[] = [];
  #beforeResults: { readonly atMs: number; readonly result: object }[] = [];
  #isClosed = false;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(options: CameraArchiveOptions) {
    this.#options = options;
    const { feed, clock, mode } = options;
    this.feed = feed;
    this.mode = mode;
    this.labels = options.labels;
    this.#untilMs = mode === 'continuous' ? Infinity : -Infinity;
    this.#writer = new SegmentWriter({ ...options, camera: feed.id, now: () => clock.now() });
    this.#segmenter = new Segmenter({
      // A segment is all of one part.
      partS: Infinity,
      firstMsn: 0,
      firstPart: 0,
      segmentBytesMax: SEGMENT_BYTES_MAX,
      wallTimeMs: (timeMs) => wallTimeMs(clock, timeMs),
      onPart: () => {},
      onSegment: (segment) => this.#take(segment),
    });
    const common = { name: 'archive', contract: { kind: 'all' }, takesExpired: true } as const;
    this.#frames = feed.raw.subscribe({
      ...common,
      from: this.#begin(),
      onReady: () => this.#readFrames(),
      onEnding: () => this.#readFrames(),
    });
    this.#results = feed.results.subscribe({ ...common, onReady: () => this.#readResults() });
    this.#unwatch = feed.watchRaw();
    this.#readFrames();
  }

  get openName(): string | undefined {
    return this.#writer.openName;
  }

  get failure(): SightlineError | undefined {
    return this.#writer.failure;
  }

  /** Segments are written now, or something has to happen first. */
  get isOn(): boolean {
    return this.#untilMs > wallTimeMs(this.#options.clock);
  }

  counts(): ArchiveCounts {
    return {
      ...this.#writer.counts(),
      made: this.#made,
      passed: this.#passed,
      kept: this.#before.length,
      resultsDropped: this.#writer.resultsDropped,
    };
  }

  /** What has come is written, and the file is whole. Idempotent. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#readFrames();
      this.#frames.close();
      this.#results.close();
      this.#unwatch();
      this.#segmenter.end();
      this.#passed += this.#before.length;
      this.#before = [];
    }
    await this.#writer.close();
  }

  /** The group of pictures that has begun, unless it was recorded. */
  #begin(): number | 'live' {
    const { feed, clock, keptUntilMs } = this.#options;
    const key = newestKey(feed.raw);
    if (key === undefined) return 'live';
    return wallTimeMs(clock, feed.raw.at(key)!.captureTimeMs) >= keptUntilMs ? key : 'live';
  }

  #readFrames(): void {
    for (let sample = this.#frames.next(); sample; sample = this.#frames.next()) {
      // What that makes whole is of the frames before.
      this.#segmenter.push(sample);
      const { epoch } = sample.data.frame;
      if (epoch !== this.#epoch) this.#masks = this.feed.masks;
      this.#epoch = epoch;
    }
  }

  #readResults(): void {
    for (let sample = this.#results.next(); sample; sample = this.#results.next()) this.#found(sample);
  }

  #found(sample: Sample<NamedOutcome>): void {
    const { outcome } = sample.data;
    if (outcome.kind === 'dropped') return;
    const { clock, labels } = this.#options;
    const atMs = wallTimeMs(clock, sample.captureTimeMs);
    if (this.mode === 'events' && isEvent(sample.data, labels)) this.#happened(atMs);
    const result = namedOutcomeMessage(sample, clock.now(), wallAheadMs(clock));
    if (atMs < this.#untilMs) return this.#writer.note(result);
    this.#beforeResults.push({ atMs, result });
    if (this.#beforeResults.length > BEFORE_RESULTS_MAX) this.#beforeResults.shift();
  }

  #happened(atMs: number): void {
    const { beforeMs, afterMs } = this.#options.times();
    this.#untilMs = Math.max(this.#untilMs, atMs + afterMs);
    for (const { atMs: foundMs, result } of this.#beforeResults) {
      if (foundMs > atMs - beforeMs) this.#writer.note(result);
    }
    this.#beforeResults = [];
    const before = this.#before;
    this.#before = [];
    const from = Math.max(
      0,
      before.findLastIndex(({ isKey, fromMs }) => isKey && fromMs <= atMs - beforeMs),
    );
    this.#passed += from;
    for (const segment of before.slice(from)) this.#writer.write(segment);
  }

  #take({ init, bytes, startTimeMs, durationS, isDiscontinuous, isGap, parts: [first] }: Segment): void {
    if (isGap || isDiscontinuous) this.#isApart = true;
    if (bytes === undefined) return;
    this.#made++;
    const fromMs = Math.round(wallTimeMs(this.#options.clock, startTimeMs));
    const isKey = first!.isIndependent;
    const masks = this.#masks;
    const segment: WrittenSegment = { init, bytes, fromMs, durationS, isKey, isApart: this.#isApart, masks };
    this.#isApart = false;
    if (fromMs < this.#untilMs) return this.#writer.write(segment);
    if (this.#before.length === 0) this.#writer.endFile();
    this.#before.push(segment);
    this.#pass();
  }

  /** What would be too early for an event that happens now, or is too much, is kept no more. The first one begins with a key frame. */
  #pass(): void {
    const { beforeMs, memoryBytesMax } = this.#options.times();
    const fromMs = endOf(this.#before.at(-1)!) - beforeMs;
    let bytes = this.#before.reduce((sum, one) => sum + one.bytes.length, 0);
    const isOver = (first: WrittenSegment) => endOf(first) < fromMs || bytes > memoryBytesMax || !first.isKey;
    while (this.#before.length > 1 && isOver(this.#before[0]!)) {
      bytes -= this.#before.shift()!.bytes.length;
      this.#passed++;
    }
  }
}

function endOf({ fromMs, durationS }: WrittenSegment): number {
  return fromMs + durationS * 1000;
}

function isEvent({ outcome }: NamedOutcome, labels: readonly string[]): boolean {
  if (outcome.kind !== 'result') return false;
  const { result } = outcome;
  if (result.pipeline === 'hands') return labels.length === 0 && result.hands.length > 0;
  return result.detections.some(({ label }) => labels.length === 0 || labels.includes(label));
}
