/**
 * What the frames of a session tell of the way that they came. The way is taken for one queue with one server, first in first
 * out: a frame is sent at `s`, travels for `base`, waits while earlier frames of the session are served, is served for its
 * own size over the capacity, and has arrived at `a`. Then (Lindley's recursion)
 *
 *     wait    = max(0, a[n-1] - (s[n] + base))
 *     service = a[n] - max(a[n-1], s[n] + base)      capacity = size / service
 *
 * so that every frame measures the capacity, a lightly used link included, and the queue is told apart from the frame's own
 * serialisation. Traffic of others looks like less capacity. `base` is half of the round trip that the client's clock has measured:
 * its clock is set by the same exchange, so that an error in one is an error in the other. A client that tells no round trip
 * has the smallest delay of late for a base, which includes the service of a frame: then only frames that queued measure anything.
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
  /** Propagation, one way. */
  readonly baseMs: number;
  /** Bits a second that the way takes now; undefined until something was measured. */
  readonly capacityBps: number | undefined;
  /** The most that it took of late: what probing may be measured by. */
  readonly peakBps: number | undefined;
}

/** A single late frame (a retransmission time-out) says nothing of the capacity, two of three do. */
const SAMPLES = 3;
/** Below this the jitter of timers and threads is what is measured. */
const SERVICE_MS_MIN = 2;
/** Without a round trip the smallest delay counts for one to two of these. */
const BASE_WINDOW_MS = 10_000;
/** The peak is forgotten by half in so long. */
const PEAK_HALF_LIFE_MS = 5_000;
/** A capacity that was not measured for so long (no round trip, and nothing waits) is not known any more: more may be tried. */
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

  /** A frame has told when it was sent. */
  get hasMeasured(): boolean {
    return this.#lastArrivedMs > -Infinity;
  }

  /** As the client has measured it; undefined: it has not told. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** What the client has measured with small messages. What is no time is left out. */
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

/** The lower one of two in the middle: with few samples the careful reading. */
function medianOf(samples: readonly number[]): number | undefined {
  return samples.toSorted((a, b) => a - b)[(samples.length - 1) >> 1];
}
