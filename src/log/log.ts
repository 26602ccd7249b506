import { wallTimeMs, type Clock } from '../base/clock.ts';
import {
  LOG_EVENTS,
  LOG_LEVELS,
  type EntryLevel,
  type FieldsOf,
  type LogEventName,
  type LogFields,
  type LogLevel,
} from './events.ts';
import { EntryLimiter } from './limiter.ts';
import { redactFields } from './redact.ts';

/** Something that happened, as it is written. */
export interface LogEntry {
  /** Unix ms. */
  readonly timeMs: number;
  readonly level: EntryLevel;
  readonly room: string;
  /** Its stable name: docs/logging.md lists them. */
  readonly event: LogEventName;
  /** The same as a sentence for a person. */
  readonly text: string;
  readonly fields: LogFields;
  /** How many more of these entries were suppressed since the last one. */
  readonly suppressed?: number;
}

/** Where entries go. Its exceptions are ignored. */
export type LogSink = (entry: LogEntry) => void;

export interface LogOptions {
  readonly clock: Clock;
  readonly sink: LogSink;
  /** Entries of this level and above are written; default `info`. */
  readonly level?: LogLevel;
}

interface Happening {
  readonly event: LogEventName;
  readonly fields: LogFields;
  readonly timeMs: number;
}

interface Kind {
  readonly room: string;
  readonly level: EntryLevel;
  readonly text: (fields: LogFields) => string;
  readonly intervalMs?: number;
  readonly by?: string;
}

const INTERVAL_MS = 1_000;
const KINDS = LOG_EVENTS as unknown as Readonly<Record<LogEventName, Kind>>;

/** Takes events, leaves out those below the level, too frequent ones and secrets, and hands the rest to its sink. */
export class Log {
  level: LogLevel;
  readonly #clock: Clock;
  readonly #sink: LogSink;
  readonly #limiter = new EntryLimiter<Happening>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ clock, sink, level = 'info' }: LogOptions) {
    this.#clock = clock;
    this.#sink = sink;
    this.level = level;
  }

  write<E extends LogEventName>(event: E, fields: FieldsOf<E>): void {
    const { level, intervalMs = INTERVAL_MS, by } = KINDS[event];
    if (LOG_LEVELS.indexOf(level) > LOG_LEVELS.indexOf(this.level)) return;
    const nowMs = this.#clock.now();
    const happening: Happening = { event, fields, timeMs: wallTimeMs(this.#clock, nowMs) };
    if (intervalMs === 0) {
      this.#tell(happening, 0);
      return;
    }
    const value = by === undefined ? undefined : String((fields as LogFields)[by]);
    const suppressed = this.#limiter.take(happening, event, value, intervalMs, nowMs);
    if (suppressed === undefined) this.#timer ??= this.#wakeUp(nowMs);
    else this.#tell(happening, suppressed);
    this.#tellDue(nowMs);
  }

  /** Writes the entries suppressed until now. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#tellDue(Infinity);
  }

  #wakeUp(nowMs: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#timer = undefined;
      const laterMs = this.#clock.now();
      this.#tellDue(laterMs);
      if (this.#limiter.nextDueMs < Infinity) this.#timer = this.#wakeUp(laterMs);
    }, this.#limiter.nextDueMs - nowMs);
    timer.unref();
    return timer;
  }

  #tellDue(nowMs: number): void {
    for (const { entry, suppressed } of this.#limiter.due(nowMs)) this.#tell(entry, suppressed);
  }

  #tell({ event, fields: raw, timeMs }: Happening, suppressed: number): void {
    const { room, level, text } = KINDS[event];
    const fields = redactFields(raw);
    try {
      this.#sink({ timeMs, level, room, event, text: text(fields), fields, ...(suppressed > 0 && { suppressed }) });
    } catch {
      // Timers and sockets call it, where no caller could catch an error.
    }
  }
}

/** For callers that want no log. */
export function noLog(clock: Clock): Log {
  return new Log({ clock, sink: () => undefined, level: 'silent' });
}
