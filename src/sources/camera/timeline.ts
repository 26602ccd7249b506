import { TICKS_PER_S } from '../../base/camera-frame.ts';

/** The time of the medium, in which all frames of an epoch stand, whatever the timestamps of a camera do. Pure. */

const TICKS_PER_MS = TICKS_PER_S / 1000;

/** In ticks. Cameras leave out any of them. */
export interface PacketTimes {
  readonly pts: number | undefined;
  readonly dts: number | undefined;
  readonly duration: number | undefined;
  readonly arrivedMs: number;
  /** Frames that are decoded before one that is shown earlier, as far as the stream tells; default: none until one comes. */
  readonly reorderedFrames?: number | undefined;
}

/** In whole ticks from the beginning of the epoch. `decode` rises from frame to frame. */
export interface FrameTimes {
  readonly decode: number;
  readonly presentation: number;
  /** An estimate: how long it is shown is known when the next one is there. */
  readonly duration: number;
}

/** The timestamps of a live camera and the arrival of its frames may drift apart by so much from one to the next; more is a jump. */
const LIVE_JUMP_MS = 3_000;
/** A pause in a file is no longer than this; a longer one is a jump. */
const PAUSE_TICKS_MAX = 10 * TICKS_PER_S;
/** Timestamps fall by more only by a jump. */
const FALL_TICKS_MAX = 0.2 * TICKS_PER_S;
/** Frames that are shown before others that came earlier (B-frames) lie within this. */
const REORDER_TICKS_MAX = TICKS_PER_S;
const IN_ORDER_MAX = 25;
/** No interval, but a timestamp that was moved so that it rises. */
export const INTERVAL_MIN = TICKS_PER_MS;
const INTERVALS_KEPT = 5;
/** For frames that are not shown in the order in which they come. */
const STAMPS_KEPT = 8;
/** Rather too long: see `raw-track.ts`. */
const UNKNOWN_INTERVAL = 0.1 * TICKS_PER_S;

export class Timeline {
  readonly #isLive: boolean;
  /** Added to the camera's timestamps. */
  #offset = 0;
  /** Of the camera; undefined: there was none, or the next one has nothing to do with it. */
  #lastStamp: number | undefined;
  #isDecodingTime = false;
  #lastDecode = -1;
  #lastArrivedMs = 0;
  #intervals: number[] = [];
  #stamps: number[] = [];
  /** Frames that were decoded before one that was shown earlier, so far. */
  #reordered = 0;
  /** Presentation of frames whose time for being decoded is yet to come, the earliest first. */
  #waiting: number[] = [];
  /** Since the last one that was shown before others that came earlier. */
  #inOrder = 0;
  #firstDuration: number | undefined;

  /** `isLive`: frames arrive at the pace of their timestamps. */
  constructor(isLive: boolean) {
    this.#isLive = isLive;
  }

  /** The next frame follows the last one, whatever its timestamps are: a file begins anew. */
  rebase(): void {
    this.#lastStamp = undefined;
  }

  /** Frames before the next one are lost. */
  break(): void {
    this.#waiting = [];
  }

  place({ pts, dts, duration, arrivedMs, reorderedFrames = 0 }: PacketTimes): FrameTimes {
    const isFirst = this.#lastDecode < 0;
    if (isFirst) this.#firstDuration = duration !== undefined && duration > 0 ? duration : undefined;
    const arrivedTicks = isFirst ? 0 : Math.max(0, Math.round((arrivedMs - this.#lastArrivedMs) * TICKS_PER_MS));
    this.#lastArrivedMs = arrivedMs;
    const stamp = dts ?? pts;
    // The first frames may have the one and no other.
    if (stamp !== undefined && this.#isDecodingTime !== (dts !== undefined)) this.#lastStamp = undefined;
    if (stamp !== undefined) this.#isDecodingTime = dts !== undefined;
    const isShownEarlier = dts === undefined && stamp !== undefined && this.#isReordered(stamp);
    const isAnchor =
      !isShownEarlier &&
      (this.#lastStamp === undefined || (stamp !== undefined && this.#isJump(stamp - this.#lastStamp, arrivedTicks)));
    if (isAnchor) this.#waiting = [];
    if (isShownEarlier) this.#noteReordered(stamp);
    const due = dts === undefined && stamp !== undefined ? this.#due(stamp, reorderedFrames) : stamp;
    let decode: number;
    if (isFirst) decode = 0;
    else if (due === undefined) decode = this.#lastDecode + this.#step(arrivedTicks);
    else if (this.#lastStamp === undefined) decode = this.#lastDecode + this.#begin(arrivedTicks);
    else if (isAnchor) decode = this.#lastDecode + this.#pause(arrivedTicks);
    else decode = due + this.#offset;
    decode = Math.max(this.#lastDecode + 1, decode);
    if (stamp !== undefined) this.#stamps = [...this.#stamps, stamp].slice(-STAMPS_KEPT);
    if (stamp !== undefined && !isShownEarlier) {
      if (isAnchor) this.#offset = decode - stamp;
      this.#lastStamp = isAnchor ? stamp : Math.max(stamp, this.#lastStamp!);
    }
    const interval = decode - this.#lastDecode;
    if (!isFirst && interval >= INTERVAL_MIN) this.#intervals = [...this.#intervals, interval].slice(-INTERVALS_KEPT);
    this.#lastDecode = decode;
    const shown = pts === undefined || stamp === undefined ? decode : pts + this.#offset;
    const isNear = Math.abs(shown - decode) <= PAUSE_TICKS_MAX;
    return { decode, presentation: isNear ? Math.max(0, shown) : decode, duration: this.#interval() };
  }

  /** A stream with B-frames has one every few frames; where there was none for long it is a jump. */
  #isReordered(stamp: number): boolean {
    if (this.#lastStamp === undefined || stamp > this.#lastStamp) {
      this.#inOrder += 1;
      return false;
    }
    const isReordered = this.#inOrder <= IN_ORDER_MAX && this.#lastStamp - stamp <= REORDER_TICKS_MAX;
    if (isReordered) this.#inOrder = 0;
    return isReordered;
  }

  #noteReordered(stamp: number): void {
    this.#reordered = Math.max(this.#reordered, this.#stamps.filter((other) => other > stamp).length);
  }

  #isJump(change: number, arrivedTicks: number): boolean {
    if (change < -FALL_TICKS_MAX) return true;
    if (this.#isLive) return Math.abs(change - arrivedTicks) > LIVE_JUMP_MS * TICKS_PER_MS;
    return change > PAUSE_TICKS_MAX;
  }

  /** Behind a frame without timestamps. */
  #step(arrivedTicks: number): number {
    return this.#isLive && arrivedTicks > 0 ? arrivedTicks : this.#interval();
  }

  /** Before the first frame with timestamps that go on from here. */
  #begin(arrivedTicks: number): number {
    const usual = this.#usual() ?? 0;
    return this.#isLive && arrivedTicks > 0 ? Math.max(arrivedTicks, usual) : this.#interval();
  }

  /**
   * When a frame without a decoding time is due: each is decoded at the time at which another one is shown, so many frames earlier as are reordered. So both
   * go on at the same rate, and no frame is shown before it is decoded.
   */
  #due(stamp: number, told: number): number {
    const begins = this.#waiting.length === 0;
    this.#waiting = [...this.#waiting, stamp].toSorted((a, b) => a - b);
    const count = this.#waiting.length - Math.max(this.#reordered, told);
    const due = this.#waiting.splice(0, Math.max(0, count)).at(-1);
    return begins ? stamp : (due ?? -Infinity);
  }

  #pause(arrivedTicks: number): number {
    return this.#isLive ? Math.max(arrivedTicks, this.#interval()) : this.#interval();
  }

  #interval(): number {
    return this.#usual() ?? UNKNOWN_INTERVAL;
  }

  /** Between frames: the median, which an odd one does not change. */
  #usual(): number | undefined {
    const sorted = this.#intervals.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? this.#firstDuration;
  }
}
