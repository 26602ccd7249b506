import type { Clock } from '../base/clock.ts';
import type { Rates } from './metrics.ts';
import { RateWindow } from './rate-window.ts';

/** Rates are taken over so long, from readings so far apart. */
const WINDOW_MS = 10_000;
const READING_MS = 1_000;

/** Running totals of the server since its start. */
export interface Counters {
  readonly received: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: number;
  readonly grants_told: number;
  readonly ladder_moves: number;
  readonly telemetry_messages: number;
  readonly received_bytes: number;
  readonly sent_bytes: number;
}

/** Out of what the rooms count: frames of all video sessions, with their losses by cause, and bytes of all connections. */
export function countersOf(
  frames: Omit<Counters, 'dropped' | 'telemetry_messages' | 'received_bytes' | 'sent_bytes'> & {
    readonly dropped: Readonly<Record<string, number>>;
  },
  telemetryMessages: number,
  traffic: Pick<Counters, 'received_bytes' | 'sent_bytes'>,
): Counters {
  const { received, results, errors, dropped, grants_told, ladder_moves } = frames;
  return {
    received,
    results,
    errors,
    dropped: Object.values(dropped).reduce((sum, n) => sum + n, 0),
    grants_told,
    ladder_moves,
    telemetry_messages: telemetryMessages,
    received_bytes: traffic.received_bytes,
    sent_bytes: traffic.sent_bytes,
  };
}

export interface RateMeterOptions {
  readonly clock: Clock;
  readonly counters: () => Counters;
  /** Called with each reading, once a second. */
  readonly onReading?: () => void;
}

/** What the server's counters gained of late. Close it: it holds a timer (which does not keep a process alive). */
export class RateMeter {
  readonly #options: RateMeterOptions;
  readonly #window = new RateWindow<keyof Counters>(WINDOW_MS);
  readonly #readings: NodeJS.Timeout;

  constructor(options: RateMeterOptions) {
    this.#options = options;
    const { clock, counters, onReading } = options;
    this.#readings = setInterval(() => {
      this.#window.add(clock.now(), counters());
      onReading?.();
    }, READING_MS);
    this.#readings.unref();
  }

  /** null in the first second. */
  read(): Rates | null {
    const { clock, counters } = this.#options;
    const rates = this.#window.rates(clock.now(), counters());
    if (!rates) return null;
    const { spanMs, perS } = rates;
    return {
      window_s: spanMs / 1000,
      received_fps: perS.received,
      results_fps: perS.results,
      errors_fps: perS.errors,
      dropped_fps: perS.dropped,
      grants_per_min: perS.grants_told * 60,
      ladder_moves_per_min: perS.ladder_moves * 60,
      telemetry_messages_per_s: perS.telemetry_messages,
      received_bytes_per_s: perS.received_bytes,
      sent_bytes_per_s: perS.sent_bytes,
    };
  }

  close(): void {
    clearInterval(this.#readings);
  }
}
