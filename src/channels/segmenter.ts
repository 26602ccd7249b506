import { follows, isSameInit, TICKS_PER_S, type RawFragment, type RawInit } from '../base/camera-frame.ts';
import type { Sample } from '../base/sample.ts';
import { fragmentTimes } from '../media/fmp4.ts';
import { joined, partBytes, type TimedFrame } from './part-bytes.ts';

/**
 * From fragments of single frames to parts, and from these to segments. A frame's duration is known when the next one has come, so it waits for that: then all durations are
 * true, and those of the parts of an epoch add up to its time without an error.
 *
 * At every moment: fragments that came = those in parts + left out + in hand.
 */

export interface Part {
  /** Rises by one from part to part, over all segments. */
  readonly number: number;
  readonly durationS: number;
  /** Begins with a key frame. */
  readonly isIndependent: boolean;
  /** Shared by all viewers. Once its segment is whole, a view of the segment's. */
  bytes: Uint8Array;
}

export interface Segment {
  /** Media sequence number. */
  readonly msn: number;
  readonly init: RawInit;
  /** Nothing of what came before goes on in it. */
  readonly isDiscontinuous: boolean;
  /** What should be in it was lost. */
  readonly isGap: boolean;
  /** Capture of its first frame, by the clock of the process, ms. */
  readonly startTimeMs: number;
  readonly parts: readonly Part[];
  readonly durationS: number;
  /** undefined: it is not whole yet, or is a gap. */
  readonly bytes: Uint8Array | undefined;
}

export interface SegmenterOptions {
  /** Parts last as long as comes closest to that in whole frames. */
  readonly partS: number;
  readonly firstMsn: number;
  readonly firstPart: number;
  /** A segment that would have more bytes ends, with or without a key frame. */
  readonly segmentBytesMax: number;
  /** Time of day at a moment of the clock, for the names of frames. */
  readonly wallTimeMs: (timeMs: number) => number;
  /** A part of the open segment is there. */
  readonly onPart: (part: Part) => void;
  readonly onSegment: (segment: Segment) => void;
}

/** A key frame begins a segment that would else be shorter. A little less than a second, so that key frames each second begin one each. */
const SEGMENT_S_MIN = 0.9;
/** Bounds of the target duration, s: that of the first segment, and some more, within these. */
const TARGET_S = { min: 2, max: 6 };
const TARGET_SHARE = 1.25;
/** A frame is shown until the next one comes, unless that is longer than this and so many of its durations: then something is missing. */
const HOLE_S = 0.5;
const HOLE_DURATIONS = 2.5;
/** What is missing is told as gaps up to this, s; behind more the time begins anew. */
const GAP_S_MAX = 30;

interface OpenSegment {
  readonly msn: number;
  readonly init: RawInit;
  readonly isDiscontinuous: boolean;
  readonly startTimeMs: number;
  readonly parts: Part[];
  /** Of its parts: how long they last. */
  ticks: number;
  bytes: number;
}

interface PendingFrame {
  readonly sample: Sample<RawFragment>;
  readonly decodeTime: number;
  /** Until then it is shown, or one that was decoded before it in its epoch. */
  readonly shownUntil: number;
}

export class Segmenter {
  readonly #options: SegmenterOptions;
  #targetS: number | undefined;
  #msn: number;
  #number: number;
  #open: OpenSegment | undefined;
  /** Of the part that is begun. */
  #frames: TimedFrame[] = [];
  #partTicks = 0;
  #pending: PendingFrame | undefined;
  #last: { readonly epoch: number; readonly order: number; readonly position: number } | undefined;
  #isDiscontinuous = false;
  #taken = 0;
  #leftOut = 0;

  constructor(options: SegmenterOptions) {
    this.#options = options;
    this.#msn = options.firstMsn;
    this.#number = options.firstPart;
  }

  /** No segment lasts longer, s; undefined: the first one is not whole yet. Stays as it is. */
  get targetS(): number | undefined {
    return this.#targetS;
  }

  /** The segment that has begun, and the parts that it has by now. */
  get open(): Pick<Segment, 'msn' | 'init' | 'isDiscontinuous' | 'startTimeMs' | 'parts'> | undefined {
    return this.#open;
  }

  /** Numbers that the next segment and the next part get. */
  get next(): { readonly msn: number; readonly part: number } {
    return { msn: this.#open ? this.#open.msn + 1 : this.#msn, part: this.#number };
  }

  /** Of the newest frame. */
  get init(): RawInit | undefined {
    return this.#pending?.sample.data.init;
  }

  counts(): { readonly taken: number; readonly leftOut: number; readonly inHand: number } {
    return { taken: this.#taken, leftOut: this.#leftOut, inHand: this.#frames.length + (this.#pending ? 1 : 0) };
  }

  push(sample: Sample<RawFragment>): void {
    const { data, position } = sample;
    const isNext = follows(this.#last, sample);
    if (!isNext && !data.isKey) {
      this.#leftOut++;
      return;
    }
    const { decodeTime, compositionOffset } = fragmentTimes(data.bytes);
    const isSameEpoch = this.#last?.epoch === data.frame.epoch;
    const shownUntil = decodeTime + compositionOffset + ownTicks(data);
    const before = isSameEpoch ? this.#pending?.shownUntil : undefined;
    const frame = { sample, decodeTime, shownUntil: Math.max(shownUntil, before ?? 0) };
    if (this.#pending) this.#settle(this.#pending, frame, isNext);
    this.#pending = frame;
    this.#last = { epoch: data.frame.epoch, order: data.order, position };
  }

  /** Nothing more comes: what is begun is whole. */
  end(): void {
    if (this.#pending) this.#append(this.#pending, lastTicks(this.#pending));
    this.#pending = undefined;
    this.#last = undefined;
    this.#closeSegment();
  }

  /** How long the frame lasts is known now. */
  #settle(frame: PendingFrame, next: PendingFrame, isNext: boolean): void {
    const { epoch } = frame.sample.data.frame;
    const own = ownTicks(frame.sample.data);
    const isSameEpoch = next.sample.data.frame.epoch === epoch;
    const ticks = next.decodeTime - frame.decodeTime;
    const isSameSize = isSameInit(frame.sample.data.init, next.sample.data.init);
    const isHole = ticks > Math.max(HOLE_S * TICKS_PER_S, HOLE_DURATIONS * own);
    if (!isSameEpoch || ticks <= 0) {
      this.#append(frame, lastTicks(frame));
      this.#closeSegment();
      this.#isDiscontinuous = true;
      return;
    }
    if (isHole) {
      this.#append(frame, own);
      this.#closeSegment();
      this.#leave(frame, (ticks - own) / TICKS_PER_S);
      this.#isDiscontinuous ||= !isSameSize;
      return;
    }
    this.#append(frame, ticks);
    if (!isSameSize) {
      this.#closeSegment();
      this.#isDiscontinuous = true;
    }
    // What was lost before it is shorter than a gap.
    else if (!isNext) this.#closeSegment();
    else if (next.sample.data.isKey && this.#openS >= SEGMENT_S_MIN) this.#closeSegment();
  }

  #append(frame: PendingFrame, ticks: number): void {
    const { data, captureTimeMs } = frame.sample;
    const durationS = ticks / TICKS_PER_S;
    const bytes = data.bytes.length;
    if (this.#open && this.#openS > 0) {
      const isLong = this.#openS + durationS > (this.#targetS ?? TARGET_S.max);
      if (isLong || this.#open.bytes + bytes > this.#options.segmentBytesMax) this.#closeSegment();
      else if (this.#partS > 0 && this.#partS + durationS > 1.5 * this.#options.partS) this.#closePart();
    }
    this.#open ??= this.#begin(data.init, captureTimeMs);
    this.#open.bytes += bytes;
    this.#frames.push({
      fragment: data,
      decodeTime: frame.decodeTime,
      ticks,
      captureTimeMs: this.#options.wallTimeMs(captureTimeMs),
    });
    this.#partTicks += ticks;
    if (this.#partS + durationS / 2 > this.#options.partS) this.#closePart();
  }

  #begin(init: RawInit, startTimeMs: number): OpenSegment {
    const isDiscontinuous = this.#isDiscontinuous;
    this.#isDiscontinuous = false;
    return { msn: this.#msn++, init, isDiscontinuous, startTimeMs, parts: [], ticks: 0, bytes: 0 };
  }

  get #partS(): number {
    return this.#partTicks / TICKS_PER_S;
  }

  get #openS(): number {
    return ((this.#open?.ticks ?? 0) + this.#partTicks) / TICKS_PER_S;
  }

  #closePart(): void {
    const frames = this.#frames;
    if (!this.#open || frames.length === 0) return;
    const part: Part = {
      number: this.#number++,
      durationS: this.#partS,
      isIndependent: frames[0]!.fragment.isKey,
      bytes: partBytes(frames),
    };
    this.#taken += frames.length;
    this.#frames = [];
    this.#open.parts.push(part);
    this.#open.ticks += this.#partTicks;
    this.#partTicks = 0;
    this.#options.onPart(part);
  }

  #closeSegment(): void {
    this.#closePart();
    const open = this.#open;
    if (!open) return;
    this.#open = undefined;
    const { msn, init, isDiscontinuous, startTimeMs, parts, ticks } = open;
    const durationS = ticks / TICKS_PER_S;
    this.#targetS ??= Math.min(TARGET_S.max, Math.max(TARGET_S.min, Math.ceil(durationS * TARGET_SHARE)));
    const bytes = joined(parts.map((part) => part.bytes));
    let at = 0;
    for (const part of parts) {
      const { length } = part.bytes;
      part.bytes = bytes.subarray(at, at + length);
      at += length;
    }
    this.#options.onSegment({ msn, init, isDiscontinuous, isGap: false, startTimeMs, parts, durationS, bytes });
  }

  /** Behind the last segment so much is missing. */
  #leave({ sample: { data, captureTimeMs } }: PendingFrame, holeS: number): void {
    if (holeS > GAP_S_MAX) {
      this.#isDiscontinuous = true;
      return;
    }
    const count = Math.ceil(holeS / this.#targetS!);
    const durationS = holeS / count;
    for (let i = 0; i < count; i++) {
      this.#options.onSegment({
        msn: this.#msn++,
        init: data.init,
        isDiscontinuous: false,
        isGap: true,
        startTimeMs: captureTimeMs + (data.durationS + i * durationS) * 1000,
        parts: [],
        durationS,
        bytes: undefined,
      });
    }
  }
}

/** As long as it is likely to last. */
function ownTicks({ durationS }: RawFragment): number {
  return Math.max(1, Math.round(durationS * TICKS_PER_S));
}

/** Behind it another time begins: where B-frames are shown later than they are decoded, after the last of them. Otherwise players have two frames for one moment. */
function lastTicks({ sample, decodeTime, shownUntil }: PendingFrame): number {
  return Math.max(ownTicks(sample.data), shownUntil - decodeTime);
}
