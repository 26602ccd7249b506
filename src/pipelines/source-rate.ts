import type { Clock } from '../base/clock.ts';
import type { Priority } from '../base/sample.ts';
import type { Demand } from '../flow/share.ts';
import { UseMeter } from '../flow/use-meter.ts';
import type { AdmissionMember } from './admission.ts';

export interface SourceRateOptions {
  readonly clock: Clock;
  readonly priority: () => Priority;
  /** It sends nothing at all, and needs no share. Left out: it always may send. */
  readonly isAway?: () => boolean;
  /** Cost of a frame of this source, worker milliseconds; undefined: nothing is known. */
  readonly costMs: () => number | undefined;
  /** As in `AdmissionMember`. */
  readonly isCostly?: () => boolean;
  /** Runs callbacks of others: their exceptions are kept away from the rest. */
  readonly guard: (callback: () => void) => void;
}

/** Nothing is known of the source's speed: two frames that come together at the beginning show no more than this. */
const FIRST_FPS_MAX = 30;
/** Its claim before it has sent anything. */
const IDLE_FPS = 1;
/** Changes smaller than this are not worth a call. */
const RATE_NEWS = 0.06;

/** A source without a socket, as a member of the admission: it has no client to grant anything to, and is told its rate. */
export class SourceRate implements AdmissionMember {
  readonly #options: SourceRateOptions;
  readonly #use = new UseMeter();
  readonly #watchers = new Set<(rateFps: number) => void>();
  #rateFps = Infinity;

  constructor(options: SourceRateOptions) {
    this.#options = options;
  }

  /** Frames a second that it may send now; Infinity: unlimited. */
  get rateFps(): number {
    return this.#rateFps;
  }

  /** Does the source keep to its rate, with some patience? */
  get isWithin(): boolean {
    return this.#use.keepsTo(this.#rateFps);
  }

  /** Calls back when the rate has changed by enough to matter. Returns a function that ends that. */
  watch(onRate: (rateFps: number) => void): () => void {
    this.#watchers.add(onRate);
    return () => this.#watchers.delete(onRate);
  }

  /** A frame was sent. */
  frame(): void {
    this.#use.frame(this.#options.clock.now(), FIRST_FPS_MAX);
  }

  /** Little more than it uses; the engine may have more for it. */
  demand(nowMs: number): Omit<Demand, 'floor'> | undefined {
    if (this.#options.isAway?.()) return undefined;
    const wanted = this.#use.fps === undefined ? IDLE_FPS : this.#use.wantedFps(nowMs);
    return { priority: this.#options.priority(), wanted, most: Infinity };
  }

  costMs(): number | undefined {
    return this.#options.costMs();
  }

  isCostly(): boolean {
    return this.#options.isCostly?.() ?? false;
  }

  onShare(fps: number): void {
    // For one without a bound this is not a number.
    const change = fps / this.#rateFps;
    if (Number.isNaN(change) || Math.abs(change - 1) < RATE_NEWS) return;
    this.#rateFps = fps;
    for (const onRate of this.#watchers) this.#options.guard(() => onRate(fps));
  }
}
