import { JpegSizes } from './jpeg-size.ts';
import { Ladder, nearestRung, type Rung } from './ladder.ts';
import type { PathState } from './path-monitor.ts';
import { RateLoop } from './rate-loop.ts';

/**
 * The quality of one session: a fast loop inside a slow ladder. The loop says how many bits a second the way to the server
 * carries; the ladder, from the same figure, how large the pictures are; within a rung frame rate and JPEG quality follow the loop
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

/** What a client is asked for. */
export interface Quality {
  readonly rung: number;
  /** Frames per second, fractions allowed. */
  readonly fps: number;
  /** JPEG quality, 1..100. */
  readonly quality: number;
  readonly scale: number;
}

/** Quality and rate of a rung may go so far beyond it before the picture grows: room for a link that has just doubled. */
const REACH_DOWN = 1;
const REACH_UP = 2;
/** Share of the link that is asked for; the rest is what frames differ by in size. */
const HEADROOM = 0.95;
/** A shorter wait on the way is jitter. */
const QUIET_MS = 5;
/** Before anything was measured: a lone session may ask for so much, bit/s. */
const RATE_FIRST_BPS = 4_000_000;
const RATE_MIN_BPS = 20_000;

export class SessionQuality {
  #settings: QualitySettings;
  #ladder: Ladder;
  /** Of the ladders before this one. */
  #movesBefore = 0;
  readonly #sizes = new JpegSizes();
  #loop = newLoop();
  #quality: Quality;
  #bound: 'start' | 'link' | 'ladder' | 'settings' = 'start';
  #isMeasured = false;

  constructor(settings: QualitySettings) {
    this.#settings = settings;
    const startRung = Math.min(settings.startRung, settings.rungs.length - 1);
    this.#ladder = new Ladder(settings.rungs.length, startRung);
    this.#quality = this.#firstOn(startRung);
  }

  /** Other settings: what was learned of the way and of the pictures stays, the rung is the nearest of the new ladder. */
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

  /** What the quality is bounded by: the way, the rung (a higher one must prove itself first), or the settings. */
  get bound(): 'start' | 'link' | 'ladder' | 'settings' {
    return this.#bound;
  }

  /** Frames per second of pictures like these that the way carries. */
  fpsFor({ quality, scale }: { readonly quality: number; readonly scale: number }): number {
    if (!this.#isMeasured) return Infinity;
    return this.#loop.rate / (8 * this.#sizes.bytes(this.#pixels(scale), quality));
  }

  /** What a session begins with. */
  #firstOn(rung: number): Quality {
    const { rungs, firstFps, maxFps } = this.#settings;
    const { quality, scale } = rungs[rung]!;
    return { rung, fps: Math.min(firstFps, maxFps), quality: Math.round(quality), scale };
  }

  /** A frame has arrived; `sentQuality` is the JPEG quality and scale that were granted when it was sent. */
  frame(
    nowMs: number,
    bytes: number,
    sent: { readonly quality: number; readonly scale: number },
    path: PathState,
  ): Quality {
    this.#sizes.learn({ bytes, pixels: this.#pixels(sent.scale), quality: sent.quality });
    const { queueMs, capacityBps: capacity, peakBps: peak } = path;
    this.#isMeasured ||= capacity !== undefined;
    this.#loop.update({ nowMs, queueMs, quietMs: QUIET_MS, capacity, peak });
    return this.#isMeasured ? this.#decide(nowMs) : this.#quality;
  }

  /** Another connection: what was known of the way is not true any more; the picture stays what it is. */
  restart(): void {
    this.#loop = newLoop();
    this.#isMeasured = false;
  }

  #decide(nowMs: number): Quality {
    const rung = this.#ladder.update({
      nowMs,
      available: this.#loop.steadyRate,
      stabilityMs: this.#settings.stabilityMs,
      costOf: (candidate) => this.#bps(candidate, Math.max(0, candidate - REACH_DOWN)),
    });
    this.#quality = this.#affordable(rung, this.#loop.rate);
    return this.#quality;
  }

  /** The best quality and rate on this rung that cost at most `bps`; below the least of a rung only the rate falls. */
  #affordable(rung: number, bps: number): Quality {
    const { minFps, rungs } = this.#settings;
    const { scale } = rungs[rung]!;
    let low = Math.max(0, rung - REACH_DOWN);
    const least = this.#bps(rung, low);
    this.#bound = 'link';
    if (bps < least) {
      const { quality, fps } = this.#between(low);
      return { rung, fps: Math.max(minFps, (fps * bps) / least), quality: Math.round(quality), scale };
    }
    let high = Math.min(rungs.length - 1, rung + REACH_UP);
    if (bps >= this.#bps(rung, high)) {
      this.#bound = rung < rungs.length - 1 ? 'ladder' : 'settings';
      low = high;
    }
    while (high - low > 0.01) {
      const middle = (low + high) / 2;
      if (this.#bps(rung, middle) <= bps) low = middle;
      else high = middle;
    }
    const { quality, fps } = this.#between(low);
    return { rung, fps, quality: Math.round(quality), scale };
  }

  /** Bits a second of the pictures of `rung` at the quality and rate of `height` on the ladder (fractions: between two). */
  #bps(rung: number, height: number): number {
    const { quality, fps } = this.#between(height);
    return 8 * fps * this.#sizes.bytes(this.#pixels(this.#settings.rungs[rung]!.scale), quality);
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

function newLoop(): RateLoop {
  return new RateLoop({ initial: RATE_FIRST_BPS, min: RATE_MIN_BPS, headroom: HEADROOM });
}
