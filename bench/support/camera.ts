/**
 * The beat of one source. Whoever asks late gets the newest beat, as a camera has only the newest picture: those before it
 * are missed, and counted, since a load that was not offered must not look as if it had been. Pure but for its state.
 */
export class Camera {
  readonly #firstMs: number;
  readonly #periodMs: number;
  #beat = -1;
  #missed = 0;

  /** `firstMs`: of the first beat, on the clock that `take` is asked by. */
  constructor(firstMs: number, fps: number) {
    this.#firstMs = firstMs;
    this.#periodMs = 1_000 / fps;
  }

  /** Beats that nobody asked for in time. */
  get missed(): number {
    return this.#missed;
  }

  get nextMs(): number {
    return this.#firstMs + (this.#beat + 1) * this.#periodMs;
  }

  /** How late the newest beat is taken, ms; undefined when it was taken before. */
  take(nowMs: number): number | undefined {
    const due = Math.floor((nowMs - this.#firstMs) / this.#periodMs);
    if (due <= this.#beat) return undefined;
    this.#missed += due - this.#beat - 1;
    this.#beat = due;
    return nowMs - (this.#firstMs + due * this.#periodMs);
  }
}

/** What may be used ahead of its time, ms of one core: a burst of frames that come together is no overuse. */
const RESERVE_MS = 50;

/**
 * Bounds the processor time of a load generator that shares its cores with the server: beyond it frames are not sent, so that
 * what is measured is the server and not a generator that takes its cores away. Pure but for its state.
 */
export class CpuBound {
  readonly #cores: number;
  #overMs = 0;
  #timeMs: number;
  #usedMs: number;

  /** `cores`: how many may be used on average; `usedMs`: the processor time of the process at `nowMs`. */
  constructor(cores: number, nowMs: number, usedMs: number) {
    this.#cores = cores;
    this.#timeMs = nowMs;
    this.#usedMs = usedMs;
  }

  allows(nowMs: number, usedMs: number): boolean {
    const grownMs = usedMs - this.#usedMs - (nowMs - this.#timeMs) * this.#cores;
    this.#overMs = Math.max(0, this.#overMs + grownMs);
    this.#timeMs = nowMs;
    this.#usedMs = usedMs;
    return this.#overMs <= RESERVE_MS;
  }
}
