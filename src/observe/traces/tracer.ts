import { randomFillSync } from 'node:crypto';
import { readTraceParent, readTraceParentBytes } from '../../protocol/trace-context.ts';
import { isSampledAt, isSlow, type FrameTrace, type TracedFrame } from './frame-trace.ts';

/** Decides which frames are traced. There is none where nobody wants traces, so that frames cost nothing more then. */

export interface TracerReport {
  /** Frames whose `traceparent` could not be read: their traces begin here. */
  readonly parentsIgnored: number;
  /** Frames that the tracing of the embedding program has thrown at. */
  readonly sinkFaults: number;
}

const ID_BYTES = 16;
/** Random bytes are cheaper by the many. */
const POOL_IDS = 256;

/** Where kept frames go. */
export interface TraceSink {
  push(frame: TracedFrame): void;
}

export class FrameTracer {
  readonly #sampleRate: number;
  readonly #sink: TraceSink;
  readonly #pool = Buffer.alloc(ID_BYTES * POOL_IDS);
  #used = this.#pool.length;
  #parentsIgnored = 0;
  #sinkFaults = 0;

  /** `sampleRate`: share of the frames that are kept, 0..1, beside those that somebody else has decided on, and slow ones. */
  constructor({ sampleRate, sink }: { readonly sampleRate: number; readonly sink: TraceSink }) {
    this.#sampleRate = sampleRate;
    this.#sink = sink;
  }

  report(): TracerReport {
    return { parentsIgnored: this.#parentsIgnored, sinkFaults: this.#sinkFaults };
  }

  /** A frame has come. `traceparent`: as it came, text or bytes; undefined: it brings none. One that says nothing is left out, and counted. */
  begin(traceparent: unknown): FrameTrace {
    if (traceparent !== undefined) {
      const parent =
        traceparent instanceof Uint8Array ? readTraceParentBytes(traceparent) : readTraceParent(traceparent);
      if (parent) return { traceId: parent.traceId, parent, isSampled: parent.isSampled };
      this.#parentsIgnored++;
    }
    const traceId = this.#newId();
    return { traceId, parent: undefined, isSampled: isSampledAt(traceId, this.#sampleRate) };
  }

  /** It is answered. */
  end(frame: TracedFrame): void {
    if (!frame.trace.isSampled && !isSlow(frame)) return;
    try {
      this.#sink.push(frame);
    } catch {
      // Somebody else's tracing must not cost a session.
      this.#sinkFaults++;
    }
  }

  #newId(): string {
    if (this.#used >= this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const from = this.#used;
    this.#used += ID_BYTES;
    return this.#pool.toString('hex', from, this.#used);
  }
}
