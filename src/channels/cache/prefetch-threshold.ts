/** How likely something must be asked for to be fetched ahead: so that of what is fetched little is wasted. Pure. */

/** Of what was fetched and decided of late: the share in bytes that nobody asked for is held below this. */
const WASTED_SHARE_MAX = 0.15;
const START = 0.6;
const BOUNDS = { min: 0.35, max: 0.95 };
const STEP = { up: 0.05, down: 0.01 };
/** Older than this many bytes counts half, and so on. */
const MEMORY_BYTES = 64 * 2 ** 20;

export class PrefetchThreshold {
  #value = START;
  #used = 0;
  #wasted = 0;

  get value(): number {
    return this.#value;
  }

  used(bytes: number): void {
    this.#used += bytes;
    this.#decide();
  }

  wasted(bytes: number): void {
    this.#wasted += bytes;
    this.#decide();
  }

  #decide(): void {
    const total = this.#used + this.#wasted;
    const step = this.#wasted > WASTED_SHARE_MAX * total ? STEP.up : -STEP.down;
    this.#value = Math.min(BOUNDS.max, Math.max(BOUNDS.min, this.#value + step));
    if (total < MEMORY_BYTES) return;
    this.#used /= 2;
    this.#wasted /= 2;
  }
}
