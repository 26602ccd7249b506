import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { isSameInit, type InitName, type RawFragment } from '../../base/camera-frame.ts';
import { SightlineError } from '../../base/errors.ts';
import { newestKey } from '../../stream/newest-key.ts';
import type { Reader } from '../../stream/reader.ts';
import type { Stream } from '../../stream/stream.ts';
import { mediaPlaylist, multivariantPlaylist, type RenditionReport, type WriteOptions } from './playlist.ts';
import { Segmenter, type Part, type Segment } from '../segmenter.ts';
import { Waits, type Asker, type WaitPlaces } from './waits.ts';
import { SegmentWindow, type EvictionBound } from './window.ts';

export interface ChannelSettings {
  readonly partS: number;
  readonly listedS: number;
  readonly bytesMax: number;
}

export interface LiveChannelOptions {
  readonly clock: Clock;
  readonly stream: Stream<RawFragment>;
  /** Asks the camera for it. Returns how to end that. */
  readonly watch: () => () => void;
  readonly settings: ChannelSettings;
  readonly firstMsn: number;
  readonly firstPart: number;
  readonly places: WaitPlaces;
  readonly onEvicted: (bound: EvictionBound, segments: number) => void;
  /** It has another one, and more bytes than before. */
  readonly onSegment: (segment: Segment) => void;
  /** The camera is no more. */
  readonly onEnding: () => void;
}

/** What a player wants to be in the playlist that it gets (`_HLS_msn`, `_HLS_part`). */
export interface Wanted {
  readonly msn: number;
  /** undefined: the whole segment. */
  readonly part: number | undefined;
}

/** For the first segment: as long as one can be, and some more for the frames to come. */
const OPENING_MS = 10_000;
/** 6.2.5.2. */
const BLOCKING_DURATIONS = 3;
const AHEAD_SEGMENTS_MAX = 2;
const AHEAD_PARTS_S = 3;
/** Of a part that was hinted at: it comes at once, or never. */
const HINT_DURATIONS = 1;
/** A segment has a part of the room at most, so that there are several. */
const SEGMENT_SHARE = 0.25;
/** So that a camera's frames that come a little unevenly change nothing. */
const PART_TARGET_STEP_S = 0.01;

/** One channel of a camera as LL-HLS, made once for all its viewers. It lives by its owner, which closes it when nobody asks any more. */
export class LiveChannel {
  readonly #options: LiveChannelOptions;
  readonly #segmenter: Segmenter;
  readonly #window: SegmentWindow;
  readonly #waits: Waits;
  readonly #reader: Reader<RawFragment>;
  readonly #unwatch: () => void;
  readonly #counts = { parts: 0, segments: 0, gaps: 0, discontinuities: 0 };
  #intervalS = 0;
  #askedMs: number;
  #isEnded = false;
  #closed: SightlineError | undefined;
  /** Of the playlist as it is now, by form, without anything behind its addresses. */
  readonly #texts = new Map<boolean, string>();

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(options: LiveChannelOptions) {
    this.#options = options;
    const { clock, settings, stream } = options;
    this.#askedMs = clock.now();
    this.#waits = new Waits(options.places);
    this.#window = new SegmentWindow(settings, options.onEvicted);
    this.#segmenter = new Segmenter({
      partS: settings.partS,
      firstMsn: options.firstMsn,
      firstPart: options.firstPart,
      segmentBytesMax: settings.bytesMax * SEGMENT_SHARE,
      wallTimeMs: (timeMs) => wallTimeMs(clock, timeMs),
      onPart: () => {
        this.#counts.parts++;
      },
      onSegment: (segment) => {
        if (segment.isGap) this.#counts.gaps++;
        else this.#counts.segments++;
        if (segment.isDiscontinuous) this.#counts.discontinuities++;
        this.#window.add(segment, this.#segmenter.targetS!);
        options.onSegment(segment);
      },
    });
    this.#reader = stream.subscribe({
      name: 'hls',
      contract: { kind: 'all' },
      from: newestKey(stream) ?? 'live',
      onReady: () => this.#read(),
      onEnding: options.onEnding,
    });
    this.#unwatch = options.watch();
    this.#read();
  }

  /** When somebody asked last, or now where somebody waits, ms. */
  get askedMs(): number {
    return this.#waits.size > 0 ? this.#options.clock.now() : this.#askedMs;
  }

  /** Nobody asks it more seldom while it is played, s. */
  get reloadS(): number {
    return BLOCKING_DURATIONS * (this.#segmenter.targetS ?? 0);
  }

  get bytes(): number {
    const { open } = this.#segmenter;
    return this.#window.bytes + (open?.parts ?? []).reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** The camera has ended: nothing more comes, and all of it is listed. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  get canEvict(): boolean {
    return this.#window.canEvict;
  }

  /** The next numbers that it would use. */
  get next(): Segmenter['next'] {
    return this.#segmenter.next;
  }

  counts() {
    return { ...this.#counts, ...this.#segmenter.counts() };
  }

  /** Its oldest segment gives way to others. */
  evict(): void {
    this.#window.evict('total_bytes');
    this.#texts.clear();
  }

  touch(): void {
    this.#askedMs = this.#options.clock.now();
  }

  /** How others tell of it; undefined: it has nothing yet. */
  report(uri: string): RenditionReport | undefined {
    const { open } = this.#segmenter;
    if (open && open.parts.length > 0) return { uri, lastMsn: open.msn, lastPart: open.parts.length - 1 };
    const { newest } = this.#window;
    return newest && { uri, lastMsn: newest.msn, lastPart: newest.isGap ? undefined : newest.parts.length - 1 };
  }

  /** Errors: CAMERA_NO_PICTURE; WAIT_LIMIT_REACHED; that of its end. */
  async multivariant(asker: Asker, options: WriteOptions): Promise<string> {
    await this.#opened(asker);
    const segments = this.#window.listed.filter(({ isGap }) => !isGap);
    const newest = segments.at(-1);
    if (!newest) throw new SightlineError('CAMERA_NO_PICTURE', 'all that is kept was lost');
    const { init } = newest;
    const bits = segments.map(({ bytes, durationS }) => [bytes!.length * 8, durationS] as const);
    return multivariantPlaylist(
      {
        codecString: init.codecString,
        width: init.width,
        height: init.height,
        rateFps: this.#intervalS > 0 ? 1 / this.#intervalS : 0,
        peakBitsPerS: Math.max(...bits.map(([count, durationS]) => count / durationS)),
        meanBitsPerS: sum(bits.map(([count]) => count)) / sum(bits.map(([, durationS]) => durationS)),
        uri: 'media.m3u8',
      },
      options,
    );
  }

  /** Errors: QUERY_BAD, where it is too far ahead; otherwise as above. */
  async media(
    wanted: Wanted | undefined,
    asker: Asker,
    options: WriteOptions & { readonly reports: () => readonly RenditionReport[] },
  ): Promise<{ readonly text: string; readonly targetS: number }> {
    await this.#opened(asker);
    const targetS = this.#segmenter.targetS!;
    if (wanted !== undefined) {
      this.#requireNear(wanted);
      await this.#waits.until(() => this.#has(wanted), BLOCKING_DURATIONS * targetS * 1000, asker);
      if (!this.#has(wanted)) throw noFrame(BLOCKING_DURATIONS * targetS);
    }
    return { text: this.#text(options), targetS };
  }

  init(name: InitName): Uint8Array | undefined {
    const { open, init } = this.#segmenter;
    for (const one of [open?.init, init]) if (one && isSameInit(name, one)) return one.bytes;
    return this.#window.init(name);
  }

  hasPart(epoch: number, number: number): boolean {
    return this.#part(epoch, number) !== undefined;
  }

  /** One that is not there yet, but the next. Errors: as above. */
  async part(epoch: number, number: number, asker: Asker): Promise<Uint8Array | undefined> {
    const { targetS = 0 } = this.#segmenter;
    const isAwaited = () => number === this.#segmenter.next.part && this.#segmenter.init?.epoch === epoch;
    await this.#waits.until(
      () => this.#isEnded || this.#part(epoch, number) !== undefined || !isAwaited(),
      HINT_DURATIONS * targetS * 1000,
      asker,
    );
    const part = this.#part(epoch, number);
    if (part === undefined && isAwaited() && !this.#isEnded) throw noFrame(HINT_DURATIONS * targetS);
    return part?.bytes;
  }

  segment(epoch: number, msn: number): Uint8Array | undefined {
    return this.#window.segment(epoch, msn)?.bytes;
  }

  /** The camera has ended. */
  end(): void {
    if (this.#isEnded || this.#closed) return;
    this.#isEnded = true;
    this.#segmenter.end();
    this.#changed();
  }

  /** Nobody waits any more. */
  stopWaiting(reason: SightlineError): void {
    this.#waits.fail(reason);
  }

  /** Whoever waits is told why. Idempotent. */
  close(reason: SightlineError): void {
    if (this.#closed) return;
    this.#closed = reason;
    this.#reader.close();
    this.#unwatch();
    this.#segmenter.end();
    this.#window.clear();
    this.#waits.fail(reason);
  }

  #read(): void {
    let hasRead = false;
    for (let sample = this.#reader.next(); sample; sample = this.#reader.next()) {
      hasRead = true;
      // What comes behind the end is of another connection, for whoever opens it anew.
      if (this.#isEnded) continue;
      this.#intervalS = sample.data.durationS;
      this.#segmenter.push(sample);
    }
    if (hasRead) this.#changed();
  }

  #changed(): void {
    this.#texts.clear();
    this.#waits.look();
  }

  /** Has a segment. */
  async #opened(asker: Asker): Promise<void> {
    const isOpened = () => this.#segmenter.targetS !== undefined || this.#isEnded;
    await this.#waits.until(isOpened, OPENING_MS, asker);
    if (this.#closed) throw this.#closed;
    if (this.#segmenter.targetS === undefined) throw noFrame(OPENING_MS / 1000);
  }

  /** Throws QUERY_BAD. */
  #requireNear({ msn, part }: Wanted): void {
    const { open } = this.#segmenter;
    const last = open ? open.msn - 1 : this.#window.newest!.msn;
    if (msn > last + AHEAD_SEGMENTS_MAX) {
      throw new SightlineError('QUERY_BAD', `_HLS_msn ${msn} is far ahead: the last segment is ${last}`);
    }
    const parts = msn === last + 1 ? (open?.parts.length ?? 0) : 0;
    if (part !== undefined && msn > last && part > parts + AHEAD_PARTS_S / this.#options.settings.partS) {
      throw new SightlineError('QUERY_BAD', `_HLS_part ${part} is far ahead: segment ${msn} has ${parts} parts`);
    }
  }

  #has({ msn, part }: Wanted): boolean {
    if (this.#isEnded) return true;
    const { open } = this.#segmenter;
    const whole = this.#window.newest?.msn ?? -1;
    if (part === undefined || msn > whole + 1) return msn <= whole;
    if (msn === whole + 1) return (open?.parts.length ?? 0) > part;
    // One part too many is the first of the next segment.
    if (msn < whole || this.#window.newest!.isGap) return true;
    return this.#window.newest!.parts.length > part || (open?.parts.length ?? 0) > 0;
  }

  #part(epoch: number, number: number): Part | undefined {
    const { open } = this.#segmenter;
    const [first] = open?.parts ?? [];
    if (!open || first === undefined || number < first.number) return this.#window.part(epoch, number);
    return open.init.epoch === epoch ? open.parts[number - first.number] : undefined;
  }

  #text({
    isDelta = false,
    suffix = '',
    reports,
  }: WriteOptions & { readonly reports: () => readonly RenditionReport[] }) {
    const write = (): string => {
      const { open, init, next } = this.#segmenter;
      const segments = this.#window.listed;
      const parts = [...segments, ...(open ? [open] : [])].flatMap((segment) => segment.parts);
      const longestS =
        parts.length === 0 ? this.#options.settings.partS : Math.max(...parts.map(({ durationS }) => durationS));
      const list = {
        targetS: this.#segmenter.targetS!,
        partTargetS: Math.ceil(longestS / PART_TARGET_STEP_S - 1e-6) * PART_TARGET_STEP_S,
        segments,
        open,
        discontinuitySequence: this.#window.discontinuitySequence,
        hint: init && { epoch: init.epoch, part: next.part },
        reports: reports(),
        isEnded: this.#isEnded,
        wallTimeMs: (timeMs: number) => wallTimeMs(this.#options.clock, timeMs),
      };
      return mediaPlaylist(list, { isDelta, suffix });
    };
    if (suffix !== '') return write();
    let text = this.#texts.get(isDelta);
    if (text === undefined) this.#texts.set(isDelta, (text = write()));
    return text;
  }
}

function noFrame(seconds: number): SightlineError {
  return new SightlineError('CAMERA_NO_PICTURE', `nothing new came within ${seconds} s`);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
