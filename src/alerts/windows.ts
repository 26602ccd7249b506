/** Numbers that are added up by slots of time, for the sums of the last so-and-so long. Memory is fixed. */
export class SlotSums {
  readonly #slotMs: number;
  readonly #slots: number;
  readonly #width: number;
  readonly #sums: Float64Array;
  /** Number of the newest slot, counted from the clock's origin. */
  #newest: number | undefined;
  #firstMs: number | undefined;

  /** `width`: numbers that are added at once. */
  constructor(parts: { readonly slotMs: number; readonly slots: number; readonly width: number }) {
    this.#slotMs = parts.slotMs;
    this.#slots = parts.slots;
    this.#width = parts.width;
    this.#sums = new Float64Array(parts.slots * parts.width);
  }

  /** How long ago something was added first; the sums say nothing of the time before. */
  ageMs(nowMs: number): number {
    return this.#firstMs === undefined ? 0 : nowMs - this.#firstMs;
  }

  add(nowMs: number, numbers: readonly number[]): void {
    this.#firstMs ??= nowMs;
    this.#turn(nowMs);
    const at = (this.#newest! % this.#slots) * this.#width;
    for (let i = 0; i < this.#width; i++) this.#sums[at + i]! += numbers[i]!;
  }

  /** Of the present slot, which may have just begun, and of those of the last `windowMs` before it. */
  sum(nowMs: number, windowMs: number): number[] {
    const sums = Array.from({ length: this.#width }, () => 0);
    if (this.#newest === undefined) return sums;
    this.#turn(nowMs);
    const count = Math.min(this.#slots, Math.ceil(windowMs / this.#slotMs) + 1);
    for (let slot = this.#newest; slot > this.#newest - count && slot >= 0; slot--) {
      const at = (slot % this.#slots) * this.#width;
      for (let i = 0; i < this.#width; i++) sums[i]! += this.#sums[at + i]!;
    }
    return sums;
  }

  #turn(nowMs: number): void {
    const now = Math.floor(nowMs / this.#slotMs);
    const from = Math.max(this.#newest === undefined ? now : this.#newest + 1, now - this.#slots + 1);
    for (let slot = from; slot <= now; slot++) {
      this.#sums.fill(0, (slot % this.#slots) * this.#width, ((slot % this.#slots) + 1) * this.#width);
    }
    this.#newest = Math.max(this.#newest ?? now, now);
  }
}
