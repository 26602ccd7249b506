/**
 * The limits of the server's own process: how many frames a second its main thread can take in, and less while its memory is over its
 * limit. Inference has threads of its own, whose capacity `EngineControl` measures; this covers everything else. Pure.
 */

export interface ProcessFacts {
  readonly nowMs: number;
  /** Busy time of the main thread since the start. */
  readonly busyMs: number;
  /** Share of its time that may be used, 0..1. */
  readonly busyShareMax: number;
  readonly rssBytes: number;
  readonly rssBytesMax: number;
  /** Frames taken in since the start. Asked now and then. */
  readonly received: () => number;
}

/** Long enough that one collection of garbage is no load. */
const MEASURE_MS = 500;
const LEARNING = 0.4;
/** A thread that uses less than this share of its limit does not show its capacity. */
const TELLING_SHARE = 0.5;
/** Over its memory limit by this share the process asks for its least; from this share below the limit on it asks for less. */
const MEMORY_MARGIN = 0.1;
/** Least share of the engine's capacity, whatever the process lacks: its load may not come from video. */
const LEAST_SHARE = 0.25;

export class ProcessControl {
  #last: { readonly nowMs: number; readonly busyMs: number; readonly received: number } | undefined;
  #busyShare = 0;
  /** Frames a second that the main thread can take in within its share; Infinity: it is far from its limit. */
  #framesMax = Infinity;
  #memoryShare = 1;

  /** Recently used share of the main thread's time, 0..1. */
  get busyShare(): number {
    return this.#busyShare;
  }

  update({ nowMs, busyMs, busyShareMax, rssBytes, rssBytesMax, received }: ProcessFacts): void {
    this.#memoryShare = memoryShare(rssBytes / rssBytesMax);
    const elapsedMs = nowMs - (this.#last?.nowMs ?? -Infinity);
    if (elapsedMs >= 0 && elapsedMs < MEASURE_MS) return;
    const now = { nowMs, busyMs, received: received() };
    if (this.#last && elapsedMs > 0 && elapsedMs < Infinity) {
      const share = Math.min(1, Math.max(0, (busyMs - this.#last.busyMs) / elapsedMs));
      this.#busyShare += LEARNING * (share - this.#busyShare);
      const fps = ((now.received - this.#last.received) * 1000) / elapsedMs;
      this.#framesMax = this.#framesMaxAfter(fps, busyShareMax);
    }
    this.#last = now;
  }

  /** Frames a second that all sessions together may be asked for, with an engine of this capacity. */
  ceilingFps(capacityFps: number | undefined): number {
    if (capacityFps === undefined) return Infinity;
    const ceiling = Math.min(this.#framesMax, this.#memoryShare < 1 ? this.#memoryShare * capacityFps : Infinity);
    return Math.max(ceiling, LEAST_SHARE * capacityFps);
  }

  #framesMaxAfter(fps: number, busyShareMax: number): number {
    if (fps <= 0 || this.#busyShare < TELLING_SHARE * busyShareMax) return Infinity;
    const measured = (fps * busyShareMax) / this.#busyShare;
    return this.#framesMax === Infinity ? measured : this.#framesMax + LEARNING * (measured - this.#framesMax);
  }
}

/** 1 up to a tenth below the limit, the least a tenth above it, linear in between. */
function memoryShare(used: number): number {
  const over = (used - (1 - MEMORY_MARGIN)) / (2 * MEMORY_MARGIN);
  return Math.max(LEAST_SHARE, Math.min(1, 1 - (1 - LEAST_SHARE) * over));
}
