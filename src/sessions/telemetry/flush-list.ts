import type { Clock } from '../../base/clock.ts';

export interface FlushListParts<T> {
  readonly clock: Clock;
  /** It belongs to a client that takes little of the main thread's time. */
  readonly isLight: (item: T, nowMs: number) => boolean;
  /** It may end before all is done where a moment has come, and add the item again. */
  readonly flush: (item: T, nowMs: number, untilMs: number) => void;
  /** Flushing it has taken so long. */
  readonly charge: (item: T, ms: number, nowMs: number) => void;
}

/** What a round still has to flush. What is light goes first, and does not wait for the end of a round that others make long. */
export class FlushList<T> {
  readonly #parts: FlushListParts<T>;
  readonly #light = new Set<T>();
  readonly #heavy = new Set<T>();

  constructor(parts: FlushListParts<T>) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#light.size + this.#heavy.size;
  }

  get hasLight(): boolean {
    return this.#light.size > 0;
  }

  /** Idempotent. */
  add(item: T, nowMs: number): void {
    if (this.#light.has(item) || this.#heavy.has(item)) return;
    (this.#parts.isLight(item, nowMs) ? this.#light : this.#heavy).add(item);
  }

  /** False: it is not light, and is as it was. */
  addLight(item: T, nowMs: number): boolean {
    if (!this.#parts.isLight(item, nowMs)) return false;
    this.#heavy.delete(item);
    this.#light.add(item);
    return true;
  }

  delete(item: T): void {
    this.#light.delete(item);
    this.#heavy.delete(item);
  }

  clear(): void {
    this.#light.clear();
    this.#heavy.clear();
  }

  /** Flushes what is light until a moment, and returns the time. */
  flushLight(startMs: number, untilMs: number): number {
    let nowMs = startMs;
    for (const item of this.#light) {
      if (nowMs >= untilMs) break;
      this.#light.delete(item);
      // It has become heavy since it was put here.
      if (this.#parts.isLight(item, nowMs)) nowMs = this.#flush(item, nowMs, untilMs);
      else this.#heavy.add(item);
    }
    return nowMs;
  }

  /** Flushes the others until a moment, and returns the time. */
  flushHeavy(startMs: number, untilMs: number): number {
    let nowMs = startMs;
    for (const item of this.#heavy) {
      if (nowMs >= untilMs) break;
      this.#heavy.delete(item);
      nowMs = this.#flush(item, nowMs, untilMs);
    }
    return nowMs;
  }

  #flush(item: T, startMs: number, untilMs: number): number {
    this.#parts.flush(item, startMs, untilMs);
    const nowMs = this.#parts.clock.now();
    this.#parts.charge(item, nowMs - startMs, nowMs);
    return nowMs;
  }
}
