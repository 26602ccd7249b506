import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Log } from '../log/log.ts';
import type { AlertDocument, Notification, SinkReport } from './documents.ts';

/**
 * The way of notifications to one place: at least once, in their order, each tried again with growing pauses until it is taken, refused, or
 * its time is over. Every place has a queue of its own, so that one that hangs holds up no other.
 */

/** Somewhere that notifications go. */
export interface Sink {
  readonly name: string;
  /** One attempt; never rejects. `signal` gives it up. */
  send(notification: Notification, signal: AbortSignal): Promise<SendOutcome>;
  /** Once a second: the alerts that go on, for a place that wants to hear of them again and again. */
  refresh?(firing: readonly AlertDocument[], nowMs: number): void;
  /** Idempotent. */
  close(): void;
}

/** `refused`: it will never be taken. `afterMs`: the place wants to be left alone for so long. */
export type SendOutcome =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string; readonly afterMs?: number | undefined };

export interface DeliverySettings {
  readonly queueMax: number;
  readonly giveUpMs: number;
  readonly timeoutMs: number;
}

export interface DeliveryParts {
  readonly sink: Sink;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings: DeliverySettings;
  /** It is delivered, refused or lost: nothing more is to be done. */
  readonly onDone: (notification: Notification) => void;
}

const DELAY_MIN_MS = 1_000;
const DELAY_MAX_MS = 300_000;
const ATTEMPTS_MAX = 500;
/** A place cannot put off a notification for longer, whatever it says. */
const RETRY_AFTER_MS_MAX = 3_600_000;
/** What is given up is given so long to notice. */
const GRACE_MS = 2_000;

/** Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015). `attempt` counts from 1. */
export function retryDelayMs(attempt: number, random: Random): number {
  return DELAY_MIN_MS + random() * Math.min(DELAY_MAX_MS, DELAY_MIN_MS * 2 ** Math.min(attempt, 30));
}

interface Waiting {
  readonly notification: Notification;
  readonly sinceMs: number;
  attempts: number;
  nextMs: number;
}

interface Attempt {
  readonly waiting: Waiting;
  readonly beganMs: number;
  readonly abort: AbortController;
}

export class Delivery {
  readonly #parts: DeliveryParts;
  readonly #queue: Waiting[] = [];
  #attempt: Attempt | undefined;
  #lastFault: string | null = null;
  #isClosed = false;
  readonly #counts = { delivered: 0, retried: 0, refused: 0, given_up: 0, queue_full: 0 };

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  get name(): string {
    return this.#parts.sink.name;
  }

  get waiting(): Notification[] {
    return this.#queue.map(({ notification }) => notification);
  }

  get report(): SinkReport {
    const [first] = this.#queue;
    return {
      sink: this.name,
      queued: this.#queue.length,
      ...this.#counts,
      last_fault: this.#lastFault,
      oldest_s: first ? (this.#parts.clock.now() - first.sinceMs) / 1_000 : null,
    };
  }

  /** It goes out at once where nothing is before it. */
  push(notification: Notification): void {
    const { clock, settings } = this.#parts;
    if (this.#queue.length >= settings.queueMax) {
      // The one that is on its way just now may arrive.
      const [lost] = this.#queue.splice(this.#attempt ? 1 : 0, 1);
      if (lost) this.#lose(lost, 'queue_full', 'too many wait');
    }
    const nowMs = clock.now();
    this.#queue.push({ notification, sinceMs: nowMs, attempts: 0, nextMs: nowMs });
    this.tick();
  }

  /** To be called once a second: makes the attempt that is due. */
  tick(): void {
    const nowMs = this.#parts.clock.now();
    const { settings } = this.#parts;
    const attempt = this.#attempt;
    if (attempt && nowMs - attempt.beganMs > settings.timeoutMs) attempt.abort.abort();
    if (attempt && nowMs - attempt.beganMs > settings.timeoutMs + GRACE_MS) {
      // It does not even notice that it is given up.
      this.#settle(attempt, { kind: 'failed', reason: `no answer within ${settings.timeoutMs / 1_000} s` });
    }
    const [first] = this.#queue;
    if (!first || this.#attempt || this.#isClosed) return;
    if (first.attempts > 0 && (nowMs - first.sinceMs >= settings.giveUpMs || first.attempts >= ATTEMPTS_MAX)) {
      this.#queue.shift();
      this.#lose(first, 'given_up', this.#lastFault ?? '');
      return this.tick();
    }
    if (nowMs >= first.nextMs) this.#begin(first, nowMs);
  }

  /** What waits is kept by the store. Idempotent. */
  close(): void {
    this.#isClosed = true;
    this.#attempt?.abort.abort();
    this.#parts.sink.close();
  }

  #begin(waiting: Waiting, nowMs: number): void {
    const attempt: Attempt = { waiting, beganMs: nowMs, abort: new AbortController() };
    this.#attempt = attempt;
    waiting.attempts++;
    void this.#parts.sink.send(waiting.notification, attempt.abort.signal).then(
      (outcome) => this.#settle(attempt, outcome),
      (thrown: unknown) => this.#settle(attempt, { kind: 'failed', reason: String(thrown) }),
    );
  }

  #settle(attempt: Attempt, outcome: SendOutcome): void {
    // It was given up before.
    if (attempt !== this.#attempt || this.#isClosed) return;
    this.#attempt = undefined;
    const { waiting } = attempt;
    const { clock, random } = this.#parts;
    if (outcome.kind === 'failed') {
      this.#counts.retried++;
      this.#tell(outcome.reason);
      const delayMs = Math.max(
        retryDelayMs(waiting.attempts, random),
        Math.min(outcome.afterMs ?? 0, RETRY_AFTER_MS_MAX),
      );
      waiting.nextMs = clock.now() + delayMs;
      return;
    }
    this.#queue.splice(this.#queue.indexOf(waiting), 1);
    if (outcome.kind === 'refused') this.#lose(waiting, 'refused', outcome.reason);
    else {
      this.#counts.delivered++;
      this.#lastFault = null;
      this.#parts.onDone(waiting.notification);
    }
    this.tick();
  }

  #tell(reason: string): void {
    this.#lastFault = reason;
    this.#parts.log.write('alert_undelivered', { sink: this.name, reason });
  }

  #lose({ notification }: Waiting, cause: 'queue_full' | 'given_up' | 'refused', reason: string): void {
    this.#counts[cause]++;
    if (cause === 'refused') this.#lastFault = reason;
    this.#parts.log.write('alert_lost', { sink: this.name, alert: notification.alert.summary, cause, reason });
    this.#parts.onDone(notification);
  }
}
