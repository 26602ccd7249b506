/**
 * Measures the path to the server from the frames of a session. It models the path as one queue with one server, first in first
 * out: a frame is sent at `s`, travels for `base`, waits while earlier frames of the session are served, is served for its
 * own size over the capacity, and has arrived at `a`. Then (Lindley's recursion)
 *
 *     wait    = max(0, a[n-1] - (s[n] + base))
 *     service = a[n] - max(a[n-1], s[n] + base)      capacity = size / service
 *
 * so that every frame measures the capacity, also on a lightly used link, and separates the queue from the frame's own
 * serialisation. Traffic of others looks like less capacity. `base` is half of the round trip that the client has measured:
 * its clock is set by the same exchange, so that an error in one is an error in the other. For a client that reports no round trip
 * `base` is the smallest recent delay, which includes the service of a frame: then only frames that queued measure anything.
 *
 * Pure; times in Unix milliseconds on the server's clock.
 */

/** One frame that has arrived whole. */
export interface FrameArrival {
  readonly bytes: number;
  /** When the client handed it to its socket. */
  readonly sentTimeMs: number;
  readonly arrivedTimeMs: number;
}

export interface PathState {
  /** How long the last frame waited behind earlier ones. */
  readonly queueMs: number;
  /** Serialisation of the last frame. */
  readonly serviceMs: number;
  /** One-way propagation. */
  readonly baseMs: number;
  /** Current bandwidth of the path, bits a second; undefined until something was measured. */
  readonly capacityBps: number | undefined;
  /** Its recent peak: the reference for probing. */
  readonly peakBps: number | undefined;
}

/** A single late frame (a retransmission time-out) does not show the capacity, two of three do. */
const SAMPLES = 3;
/** A shorter time measures the jitter of timers and threads. */
const SERVICE_MS_MIN = 2;
/** Without a round trip the smallest delay of the last one to two of these counts. */
const BASE_WINDOW_MS = 10_000;
/** Half-life of the peak. */
const PEAK_HALF_LIFE_MS = 5_000;
/** How long a capacity may go unmeasured (no round trip, and nothing waits) before it is unknown: more may be tried. */
const UNMEASURED_MS = 10_000;

export class PathMonitor {
  readonly #samples: number[] = [];
  #roundTripMs: number | undefined;
  /** Smallest delays of this window and the one before it. */
  #windowMinMs = Infinity;
  #lastMinMs = Infinity;
  #windowEndMs = -Infinity;
  #lastArrivedMs = -Infinity;
  #lastSampleMs = -Infinity;
  #peak: { readonly bps: number; readonly timeMs: number } | undefined;
  #state: PathState = { queueMs: 0, serviceMs: 0, baseMs: 0, capacityBps: undefined, peakBps: undefined };

  get state(): PathState {
    return this.#state;
  }

  /** Some frame had its time of sending. */
  get hasMeasured(): boolean {
    return this.#lastArrivedMs > -Infinity;
  }

  /** The round trip that the client has measured; undefined: it has reported none. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** The client measures it with small messages. Invalid times are ignored. */
  roundTrip(roundTripMs: number): void {
    if (roundTripMs >= 0 && roundTripMs < Infinity) this.#roundTripMs = roundTripMs;
  }

  frame({ bytes, sentTimeMs, arrivedTimeMs }: FrameArrival): PathState {
    const delayMs = arrivedTimeMs - sentTimeMs;
    if (!Number.isFinite(delayMs)) return this.#state;
    this.#keepMin(delayMs, arrivedTimeMs);
    const smallestMs = Math.min(this.#windowMinMs, this.#lastMinMs);
    const isBaseKnown = this.#roundTripMs !== undefined;
    const baseMs = isBaseKnown ? Math.min(this.#roundTripMs! / 2, smallestMs) : smallestMs;
    const beginMs = sentTimeMs + baseMs;
    const queueMs = Math.max(0, this.#lastArrivedMs - beginMs);
    const serviceMs = Math.max(0, arrivedTimeMs - Math.max(this.#lastArrivedMs, beginMs));
    this.#lastArrivedMs = Math.max(this.#lastArrivedMs, arrivedTimeMs);
    if (isBaseKnown || queueMs > 0) this.#sample((bytes * 8_000) / Math.max(SERVICE_MS_MIN, serviceMs), arrivedTimeMs);
    else if (arrivedTimeMs - this.#lastSampleMs > UNMEASURED_MS) {
      this.#samples.length = 0;
      this.#peak = undefined;
    }
    const capacityBps = medianOf(this.#samples);
    this.#state = { queueMs, serviceMs, baseMs, capacityBps, peakBps: this.#peakAt(arrivedTimeMs) };
    return this.#state;
  }

  #keepMin(delayMs: number, nowMs: number): void {
    if (nowMs >= this.#windowEndMs) {
      this.#lastMinMs = nowMs < this.#windowEndMs + BASE_WINDOW_MS ? this.#windowMinMs : Infinity;
      this.#windowMinMs = Infinity;
      this.#windowEndMs = nowMs + BASE_WINDOW_MS;
    }
    this.#windowMinMs = Math.min(this.#windowMinMs, delayMs);
  }

  #sample(bps: number, nowMs: number): void {
    this.#samples.push(bps);
    this.#lastSampleMs = nowMs;
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    const median = medianOf(this.#samples)!;
    if (median >= (this.#peakAt(nowMs) ?? 0)) this.#peak = { bps: median, timeMs: nowMs };
  }

  #peakAt(nowMs: number): number | undefined {
    return this.#peak && this.#peak.bps * 0.5 ** (Math.max(0, nowMs - this.#peak.timeMs) / PEAK_HALF_LIFE_MS);
  }
}

/** The lower one of two in the middle: the cautious choice with few samples. */
function medianOf(samples: readonly number[]): number | undefined {
  return samples.toSorted((a, b) => a - b)[(samples.length - 1) >> 1];
}
