/** Messages of one batch as they arrived. */
export interface ArrivedBatch {
  readonly count: number;
  /** The publisher's, Unix ms on the server's clock. */
  readonly times: ArrayLike<number>;
  /** `seq` of the newest message. */
  readonly timestamp: number;
  /** From `timestamp` to the arrival. */
  readonly latencyMs: number;
}

export interface LinkFigures {
  /** Undefined while nothing comes. */
  readonly latencyMs: { readonly p50: number; readonly p95: number } | undefined;
  readonly jitterMs: number;
  /** Messages a second. */
  readonly rateHz: number;
  /** Since the last message; Infinity before the first. */
  readonly silenceMs: number;
}

/** State of the link for the viewer. */
export type LinkHealth = 'none' | 'good' | 'degraded';

const WINDOW_MS = 3_000;
/** Of 200 messages a second with room to spare. */
const MESSAGES_MAX = 2_048;
/** RFC 3550 §6.4.1. */
const JITTER_GAIN = 1 / 16;

const SILENCE_MAX_MS = 1_500;
const DEGRADED_LATENCY_MS = 150;
const DEGRADED_JITTER_MS = 40;

/** Latency, jitter and rate of the last seconds, from every message. */
export class LinkStats {
  readonly #arrivals = new Float64Array(MESSAGES_MAX);
  readonly #latencies = new Float64Array(MESSAGES_MAX);
  #count = 0;
  #jitterMs = 0;
  #lastLatencyMs: number | undefined;
  #lastMs = -Infinity;

  /** `nowMs`: any clock that only rises, always the same one. */
  add({ count, times, timestamp, latencyMs }: ArrivedBatch, nowMs: number): void {
    for (let i = 0; i < count; i++) {
      const latency = latencyMs + timestamp - times[i]!;
      const before = this.#lastLatencyMs;
      if (before !== undefined) this.#jitterMs += (Math.abs(latency - before) - this.#jitterMs) * JITTER_GAIN;
      this.#lastLatencyMs = latency;
      this.#latencies[this.#count % MESSAGES_MAX] = latency;
      this.#arrivals[this.#count % MESSAGES_MAX] = nowMs;
      this.#count++;
    }
    if (count > 0) this.#lastMs = nowMs;
  }

  read(nowMs: number): LinkFigures {
    const latencies: number[] = [];
    const oldest = Math.max(0, this.#count - MESSAGES_MAX);
    let firstMs = nowMs;
    for (let i = this.#count - 1; i >= oldest; i--) {
      const arrivedMs = this.#arrivals[i % MESSAGES_MAX]!;
      if (nowMs - arrivedMs > WINDOW_MS) break;
      firstMs = arrivedMs;
      latencies.push(this.#latencies[i % MESSAGES_MAX]!);
    }
    const sorted = Float64Array.from(latencies).toSorted();
    const at = (share: number) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!;
    // A link that has just begun has no whole window behind it.
    const spanMs = Math.max(500, nowMs - firstMs);
    return {
      latencyMs: sorted.length === 0 ? undefined : { p50: at(0.5), p95: at(0.95) },
      jitterMs: this.#jitterMs,
      rateHz: (sorted.length * 1000) / spanMs,
      silenceMs: nowMs - this.#lastMs,
    };
  }

  clear(): void {
    this.#count = 0;
    this.#jitterMs = 0;
    this.#lastLatencyMs = undefined;
    this.#lastMs = -Infinity;
  }
}

/** `lostShare`: recent share of lost messages, 0 to 1. */
export function healthOf({ latencyMs, jitterMs, silenceMs }: LinkFigures, lostShare: number): LinkHealth {
  if (!latencyMs || silenceMs > SILENCE_MAX_MS) return 'none';
  const isBad = latencyMs.p95 > DEGRADED_LATENCY_MS || jitterMs > DEGRADED_JITTER_MS || lostShare > 0.01;
  return isBad ? 'degraded' : 'good';
}
