import { randomBytes } from 'node:crypto';
import { setTimeout as sleepFor } from 'node:timers/promises';
import { wallAheadMs, type Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { Log } from '../../log/log.ts';
import { OutboundError, type Outbound } from '../../net/outbound.ts';
import type { TracedFrame } from './frame-trace.ts';
import { otlpRequest, rejectedIn, type Resource } from './otlp.ts';
import { spanCount } from './spans.ts';

/** Sends frames to a collector over OTLP/HTTP, one batch after another, and never lets anybody wait for it. */

export interface ExportSettings {
  /** Takes the requests, such as `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  /** For each try, ms. */
  readonly timeoutMs: number;
}

/**
 * Why spans were lost: the queue was full; the collector will not have them; it could not be reached, or did not take them after several
 * tries; it did not answer; the server ended.
 */
export const SPAN_DROP_CAUSES = ['queue_full', 'refused', 'failed', 'timeout', 'stopped'] as const;
export type SpanDropCause = (typeof SPAN_DROP_CAUSES)[number];

export interface ExportReport {
  readonly queued: number;
  readonly exported: number;
  /** Requests that were sent again. */
  readonly retries: number;
  readonly dropped: Readonly<Record<SpanDropCause, number>>;
}

/** Frames that wait. */
export const QUEUE_FRAMES_MAX = 1_024;
/** Of one request: its JSON takes some 80 kB, and a millisecond of the main thread to write. */
const BATCH_FRAMES = 32;
/** A frame waits for so long at most for others to go with. */
const GATHER_MS = 1_000;
const TRIES_MAX = 4;
const BACKOFF_MS = 1_000;
/** A collector that asks for more patience is asked again all the same. */
const RETRY_AFTER_MS_MAX = 60_000;
const ANSWER_BYTES_MAX = 64 * 1024;
/** How long the server's end may wait for what is queued. */
const FLUSH_MS = 500;
/** Worth another try by the specification of OTLP ("Failures"). */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const REASON_CHARS_MAX = 200;

/** What came of one try. */
type Tried =
  | { readonly kind: 'taken'; readonly rejected: number; readonly reason: string }
  | {
      readonly kind: 'failed';
      readonly cause: SpanDropCause;
      readonly reason: string;
      /** undefined: it would be of no use. */
      readonly retryAfterMs: number | undefined;
    };

export interface ExporterParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly outbound: Outbound;
  readonly log: Log;
  readonly settings: ExportSettings;
  readonly resource: Resource;
  /** Default: that of the platform. Rejects when the signal says so. */
  readonly sleep?: Sleep;
}

type Sleep = (ms: number, signal: AbortSignal) => Promise<unknown>;

export class OtlpExporter {
  readonly #parts: ExporterParts;
  readonly #sleep: Sleep;
  readonly #queue: TracedFrame[] = [];
  #queuedSpans = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  /** The server ends: no more waiting, then no more sending. */
  readonly #hurry = new AbortController();
  readonly #end = new AbortController();
  #closing: Promise<void> | undefined;
  #exported = 0;
  #retries = 0;
  readonly #dropped: Record<SpanDropCause, number> = { queue_full: 0, refused: 0, failed: 0, timeout: 0, stopped: 0 };

  constructor(parts: ExporterParts) {
    this.#parts = parts;
    this.#sleep = parts.sleep ?? ((ms, signal) => sleepFor(ms, undefined, { ref: false, signal }));
  }

  report(): ExportReport {
    return {
      queued: this.#queuedSpans,
      exported: this.#exported,
      retries: this.#retries,
      dropped: { ...this.#dropped },
    };
  }

  /** Takes microseconds, whatever the collector does. */
  push(frame: TracedFrame): void {
    const spans = spanCount(frame);
    if (this.#closing) return this.#drop('stopped', spans);
    if (this.#queue.length >= QUEUE_FRAMES_MAX) return this.#drop('queue_full', spans);
    this.#queue.push(frame);
    this.#queuedSpans += spans;
    if (this.#queue.length >= BATCH_FRAMES) this.#send();
    else this.#timer ??= setTimeout(() => this.#send(), GATHER_MS).unref();
  }

  /** Sends what is queued, for half a second at most; the rest is lost, and counted. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#hurry.abort();
    const end = setTimeout(() => this.#end.abort(), FLUSH_MS);
    this.#send();
    await this.#sending;
    clearTimeout(end);
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
      // What has come while the last batch was on its way.
      if (this.#queue.length > 0) this.#timer ??= setTimeout(() => this.#send(), GATHER_MS).unref();
    });
  }

  async #sendAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const frames = this.#queue.splice(0, BATCH_FRAMES);
      const spans = frames.reduce((sum, frame) => sum + spanCount(frame), 0);
      await this.#sendBatch(frames, spans);
      this.#queuedSpans -= spans;
      // A few wait for others, but not at the end.
      if (this.#queue.length < BATCH_FRAMES && !this.#hurry.signal.aborted) return;
    }
  }

  async #sendBatch(frames: readonly TracedFrame[], spans: number): Promise<void> {
    const { clock, resource } = this.#parts;
    const body = JSON.stringify(otlpRequest(frames, { resource, aheadMs: wallAheadMs(clock), newId: newSpanId }));
    for (let tries = 1; ; tries++) {
      if (this.#end.signal.aborted) return this.#drop('stopped', spans);
      const tried = await this.#try(body);
      if (tried.kind === 'taken') {
        this.#exported += spans - Math.min(spans, tried.rejected);
        if (tried.rejected > 0) this.#lose('refused', Math.min(spans, tried.rejected), tried.reason);
        return;
      }
      const { cause, reason, retryAfterMs } = tried;
      const isLast = tries === TRIES_MAX || retryAfterMs === undefined || this.#hurry.signal.aborted;
      if (isLast) return this.#lose(this.#end.signal.aborted ? 'stopped' : cause, spans, reason);
      this.#retries++;
      await this.#pause(Math.max(retryAfterMs, this.#backoffMs(tries)));
    }
  }

  /** Half of it at random, so that many servers do not come back at once. */
  #backoffMs(tries: number): number {
    return BACKOFF_MS * 2 ** (tries - 1) * (0.5 + this.#parts.random() / 2);
  }

  async #pause(ms: number): Promise<void> {
    try {
      await this.#sleep(ms, this.#hurry.signal);
    } catch {
      // The server ends: one more try.
    }
  }

  async #try(body: string): Promise<Tried> {
    const { outbound, settings } = this.#parts;
    try {
      const response = await outbound.fetch(settings.endpoint, {
        method: 'POST',
        headers: { ...settings.headers, 'Content-Type': 'application/json' },
        body,
        timeoutMs: settings.timeoutMs,
        bytesMax: ANSWER_BYTES_MAX,
        signal: this.#end.signal,
      });
      if (response.ok) {
        const { spans, why } = rejectedIn(await response.text());
        return { kind: 'taken', rejected: spans, reason: why };
      }
      const isWorthIt = RETRYABLE.has(response.status);
      const retryAfterMs = isWorthIt ? this.#retryAfterMs(response.headers.get('Retry-After')) : undefined;
      const cause = isWorthIt ? 'failed' : 'refused';
      return { kind: 'failed', cause, reason: `it answers with status ${response.status}`, retryAfterMs };
    } catch (thrown) {
      const fault = thrown instanceof OutboundError ? thrown.fault : 'failed';
      const isWorthIt = fault === 'failed' || fault === 'timeout';
      return {
        kind: 'failed',
        cause: fault === 'timeout' ? 'timeout' : isWorthIt ? 'failed' : 'refused',
        reason: thrown instanceof Error ? thrown.message : String(thrown),
        retryAfterMs: isWorthIt ? 0 : undefined,
      };
    }
  }

  /** Seconds, or a time of day (RFC 9110 §10.2.3). */
  #retryAfterMs(header: string | null): number {
    if (header === null) return 0;
    const { clock } = this.#parts;
    const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - clock.now() - wallAheadMs(clock);
    return Number.isFinite(ms) ? Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms)) : 0;
  }

  #lose(cause: SpanDropCause, spans: number, reason: string): void {
    this.#drop(cause, spans);
    this.#parts.log.write('traces_lost', { cause, spans, reason: reason.slice(0, REASON_CHARS_MAX) });
  }

  #drop(cause: SpanDropCause, spans: number): void {
    this.#dropped[cause] += spans;
  }
}

function newSpanId(): string {
  return randomBytes(8).toString('hex');
}
