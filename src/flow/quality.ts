import { JpegSizes } from './jpeg-size.ts';
import { Ladder, nearestRung, type Rung } from './ladder.ts';
import type { PathState } from './path-monitor.ts';
import { RateLoop } from './rate-loop.ts';

/**
 * The quality of one session: a fast loop inside a slow ladder. The loop decides how many bits a second to send over the path to the
 * server; the ladder, from the same figure, how large the pictures are; within a rung frame rate and JPEG quality follow the loop
 * with every frame. Nothing here knows of sessions or sockets. Pure.
 */

export interface QualitySettings {
  /** From the lowest up, at least one. */
  readonly rungs: readonly Rung[];
  readonly startRung: number;
  /** The picture at scale 1, pixels. */
  readonly width: number;
  readonly height: number;
  /** Frames per second: the first grant, and the bounds of every other one. */
  readonly firstFps: number;
  readonly minFps: number;
  readonly maxFps: number;
  readonly stabilityMs: number;
}

/** What the server asks a client for. */
export interface Quality {
  readonly rung: number;
  /** Frames per second, fractions allowed. */
  readonly fps: number;
  /** JPEG quality, 1..100. */
  readonly quality: number;
  readonly scale: number;
}

/** Bounds of a frame's size besides the link. */
export interface FrameBounds {
  /** Time that the session's budget leaves for the passage of a frame. */
  readonly leftMs: number;
  /** Highest frame rate of the source. */
  readonly sourceFps: number;
}

const UNBOUNDED: FrameBounds = { leftMs: Infinity, sourceFps: Infinity };

/** Quality and rate of a rung may go down to those of the one below it, and up to the best before the picture grows. */
const REACH_DOWN = 1;
/**
 * On a path that others share, smaller pictures come more often only up to this share of the highest rate. Sources that send every
 * frame of their cameras keep their order there, and the last one always waits behind all the others: in simulation two of them shared a
 * link with a Jain index of 0.79 (median of 20 seeds) at the full rate, 0.99 at two thirds.
 */
const OFTEN_SHARE_SHARED = 2 / 3;
/** The smallest picture of the next rung may take this much longer than it should, as may that of the current rung: see `Ladder`. */
const NEXT_PASSAGE = 1.25;
/** Share of the link to ask for; the rest covers the variation of frame sizes. */
const HEADROOM = 0.95;
/** A shorter wait on the path is jitter. */
const QUIET_MS = 5;
/** Before any measurement a lone session may ask for this much, bit/s. */
const RATE_FIRST_BPS = 4_000_000;
const RATE_MIN_BPS = 20_000;

export class SessionQuality {
  #settings: QualitySettings;
  #ladder: Ladder;
  /** Moves on earlier ladders. */
  #movesBefore = 0;
  readonly #sizes = new JpegSizes();
  #loop = newLoop();
  #quality: Quality;
  #bound: 'start' | 'link' | 'ladder' | 'settings' = 'start';
  #isMeasured = false;
  #isShared = false;
  #bounds: FrameBounds = UNBOUNDED;

  constructor(settings: QualitySettings) {
    this.#settings = settings;
    const startRung = Math.min(settings.startRung, settings.rungs.length - 1);
    this.#ladder = new Ladder(settings.rungs.length, startRung);
    this.#quality = this.#firstOn(startRung);
  }

  /** Other settings: everything learned of the path and the pictures stays, the rung is the nearest of the new ladder. */
  configure(settings: QualitySettings): void {
    const { rungs: before } = this.#settings;
    this.#settings = settings;
    let { rung } = this.#quality;
    if (JSON.stringify(before) !== JSON.stringify(settings.rungs)) {
      rung = nearestRung(settings.rungs, before[rung]!);
      this.#movesBefore += this.#ladder.moves;
      this.#ladder = new Ladder(settings.rungs.length, rung);
    }
    this.#quality = this.#bound === 'start' ? this.#firstOn(rung) : this.#affordable(rung, this.#loop.rate);
  }

  get current(): Quality {
    return this.#quality;
  }

  /** Bits a second that the loop asks for. */
  get rateBps(): number {
    return this.#loop.rate;
  }

  get ladderMoves(): number {
    return this.#movesBefore + this.#ladder.moves;
  }

  /** What bounds the quality: the path, the rung (a higher one must prove itself first), or the settings. */
  get bound(): 'start' | 'link' | 'ladder' | 'settings' {
    return this.#bound;
  }

  /** Frames per second of pictures like these that the path can carry. */
  fpsFor({ quality, scale }: { readonly quality: number; readonly scale: number }): number {
    if (!this.#isMeasured) return Infinity;
    return this.#loop.rate / (8 * this.#sizes.bytes(this.#pixels(scale), quality));
  }

  /** The first grant of a session. */
  #firstOn(rung: number): Quality {
    const { rungs, firstFps, maxFps } = this.#settings;
    const { quality, scale } = rungs[rung]!;
    return { rung, fps: Math.min(firstFps, maxFps), quality: Math.round(quality), scale };
  }

  /**
   * A frame has arrived; `sent` is the JPEG quality and scale that were granted when it was sent. Where pictures of a rung take longer
   * than `bounds.leftMs`, they become smaller and more frequent.
   */
  frame(
    nowMs: number,
    bytes: number,
    sent: { readonly quality: number; readonly scale: number },
    path: PathState,
    bounds = UNBOUNDED,
  ): Quality {
    this.#sizes.learn({ bytes, pixels: this.#pixels(sent.scale), quality: sent.quality });
    const { queueMs, capacityBps: capacity, peakBps: peak } = path;
    this.#isMeasured ||= capacity !== undefined;
    this.#loop.update({ nowMs, queueMs, quietMs: QUIET_MS, capacity, peak });
    this.#bounds = bounds;
    return this.#isMeasured ? this.#decide(nowMs) : this.#quality;
  }

  /** Do other sessions use the same path? */
  shareWay(isShared: boolean): void {
    this.#isShared = isShared;
  }

  /** Another connection: measurements of the old path no longer hold; the picture stays what it is. */
  restart(): void {
    this.#loop = newLoop();
    this.#isMeasured = false;
  }

  #decide(nowMs: number): Quality {
    const rung = this.#ladder.update({
      nowMs,
      available: this.#loop.steadyRate,
      stabilityMs: this.#settings.stabilityMs,
      costOf: (candidate) => this.#leastBps(candidate),
    });
    this.#quality = this.#affordable(rung, this.#loop.rate);
    return this.#quality;
  }

  /** The best quality and rate on this rung that cost at most `bps`; below the least of a rung only the rate falls. */
  #affordable(rung: number, bps: number): Quality {
    const { minFps, rungs } = this.#settings;
    const { scale } = rungs[rung]!;
    const low = Math.max(0, rung - REACH_DOWN);
    const high = rungs.length - 1;
    const least = this.#bps(rung, low);
    this.#bound = 'link';
    if (bps < least) {
      const { quality, fps } = this.#between(low);
      return { rung, fps: Math.max(minFps, (fps * bps) / least), quality: Math.round(quality), scale };
    }
    const isAll = bps >= this.#bps(rung, high);
    const height = isAll ? high : highest(low, high, (middle) => this.#bps(rung, middle) <= bps);
    const bytesMax = (this.#loop.steadyRate * this.#serviceMsMax) / (8_000 * HEADROOM);
    const isTooLarge = this.#bytes(rung, height) > bytesMax;
    const inTime = isTooLarge ? highest(low, height, (middle) => this.#bytes(rung, middle) <= bytesMax) : height;
    if (isAll && !isTooLarge) this.#bound = rung < high ? 'ladder' : 'settings';
    // Smaller pictures leave room for more of them; so does a rung whose next one must prove itself first.
    const isMore = isTooLarge || this.#bound === 'ladder';
    const often = isMore ? Math.min(this.#oftenFps, bps / (8 * this.#bytes(rung, inTime))) : 0;
    const fps = Math.max(this.#between(height).fps, often);
    return { rung, fps, quality: Math.round(this.#between(inTime).quality), scale };
  }

  /** Least cost of a rung: its lowest rate, and the passage of one of its smallest pictures in time. */
  #leastBps(rung: number): number {
    const low = Math.max(0, rung - REACH_DOWN);
    const passageMs = this.#serviceMsMax * (rung > this.#ladder.rung ? NEXT_PASSAGE : 1);
    return Math.max(this.#bps(rung, low), (8_000 * HEADROOM * this.#bytes(rung, low)) / passageMs);
  }

  /** Bits a second of the pictures of `rung` at the quality and rate of `height` on the ladder (fractions: between two). */
  #bps(rung: number, height: number): number {
    return 8 * this.#between(height).fps * this.#bytes(rung, height);
  }

  /** Bytes of a picture of `rung` at the quality of `height` on the ladder. */
  #bytes(rung: number, height: number): number {
    return this.#sizes.bytes(this.#pixels(this.#settings.rungs[rung]!.scale), this.#between(height).quality);
  }

  /** Highest rate of small pictures. */
  get #oftenFps(): number {
    return Math.min(this.#settings.maxFps * (this.#isShared ? OFTEN_SHARE_SHARED : 1), this.#bounds.sourceFps);
  }

  /** Longest passage of one picture. Smaller pictures than that would leave the link idle, since their rate is limited. */
  get #serviceMsMax(): number {
    return Math.max(this.#bounds.leftMs, (1000 * HEADROOM) / this.#oftenFps);
  }

  #between(height: number): { quality: number; fps: number } {
    const { rungs, minFps, maxFps } = this.#settings;
    const below = rungs[Math.floor(height)]!;
    const above = rungs[Math.ceil(height)]!;
    const share = height - Math.floor(height);
    const fps = below.fps + share * (above.fps - below.fps);
    return {
      quality: below.quality + share * (above.quality - below.quality),
      fps: Math.min(maxFps, Math.max(minFps, fps)),
    };
  }

  #pixels(scale: number): number {
    return this.#settings.width * this.#settings.height * scale ** 2;
  }
}

/** The highest place on the ladder between two for which something holds; the lower one if it does for none. */
function highest(low: number, high: number, holds: (height: number) => boolean): number {
  let [from, to] = [low, high];
  while (to - from > 0.01) {
    const middle = (from + to) / 2;
    if (holds(middle)) from = middle;
    else to = middle;
  }
  return from;
}

function newLoop(): RateLoop {
  return new RateLoop({ initial: RATE_FIRST_BPS, min: RATE_MIN_BPS, headroom: HEADROOM });
}
