import { randomUUID } from 'node:crypto';
import { ownTimeMs, wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import {
  SILENCE_S_MAX,
  silenceSchema,
  type AlertDocument,
  type SilenceDocument,
  type SilenceRequest,
} from './documents.ts';

/** Alerts of which nobody is told for a while. Their time is that of a clock which nobody sets. */

const SILENCES_MAX = 100;

interface Silence {
  readonly document: SilenceDocument;
  readonly endMs: number;
}

export class Silences {
  readonly #clock: Clock;
  readonly #silences = new Map<string, Silence>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The one that ends last comes first. */
  get all(): SilenceDocument[] {
    return [...this.#silences.values()].toSorted((a, b) => b.endMs - a.endMs).map(({ document }) => document);
  }

  /** Throws SILENCE_LIMIT_REACHED. */
  add({ match, duration_s, comment }: SilenceRequest, author: string): SilenceDocument {
    if (this.#silences.size >= SILENCES_MAX) {
      throw new SightlineError('SILENCE_LIMIT_REACHED', `there are ${SILENCES_MAX} silences: remove one`);
    }
    const nowMs = this.#clock.now();
    const started_at = wallTimeMs(this.#clock, nowMs);
    const ends_at = started_at + duration_s * 1_000;
    const document: SilenceDocument = { id: randomUUID(), match, author, comment, started_at, ends_at };
    this.#silences.set(document.id, { document, endMs: nowMs + duration_s * 1_000 });
    return document;
  }

  /** Throws SILENCE_UNKNOWN. */
  remove(id: string): SilenceDocument {
    const silence = this.#silences.get(id);
    if (!silence) throw new SightlineError('SILENCE_UNKNOWN', `there is no silence "${id.slice(0, 80)}"`);
    this.#silences.delete(id);
    return silence.document;
  }

  /** One that an earlier run of the server has kept. False: it is over, or is none. */
  restore(value: unknown): boolean {
    const parsed = silenceSchema.safeParse(value);
    if (!parsed.success || this.#silences.size >= SILENCES_MAX) return false;
    const document = parsed.data as SilenceDocument;
    const nowMs = this.#clock.now();
    // A wall clock that was set back meanwhile makes no silence longer than it may be.
    const endMs = Math.min(ownTimeMs(this.#clock, document.ends_at), nowMs + SILENCE_S_MAX * 1_000);
    if (endMs <= nowMs) return false;
    this.#silences.set(document.id, { document, endMs });
    return true;
  }

  /** Removes those that are over, and returns their ids. */
  expire(): string[] {
    const nowMs = this.#clock.now();
    const over = [...this.#silences].filter(([, { endMs }]) => endMs <= nowMs).map(([id]) => id);
    for (const id of over) this.#silences.delete(id);
    return over;
  }

  covers(alert: Pick<AlertDocument, 'rule' | 'class'>, severity: 'warning' | 'critical'): boolean {
    return [...this.#silences.values()].some(
      ({ document: { match } }) =>
        (match.rule === undefined || match.rule === alert.rule) &&
        (match.class === undefined || match.class === alert.class) &&
        (match.severity === undefined || match.severity === severity),
    );
  }
}
