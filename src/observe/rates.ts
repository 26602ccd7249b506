import { z } from 'zod';
import type { Clock } from '../base/clock.ts';
import { RateWindow } from './rate-window.ts';
import { amount } from './schema.ts';

export const ratesSchema = z
  .object({
    window_s: amount().describe('time over which the rates are taken'),
    received_fps: amount().describe('frames of sessions, and those of cameras that are decoded for pipelines'),
    results_fps: amount(),
    errors_fps: amount(),
    dropped_fps: amount(),
    grants_per_min: amount().describe('grants sent to clients'),
    ladder_moves_per_min: amount(),
    telemetry_messages_per_s: amount().describe('published'),
    received_bytes_per_s: amount(),
    sent_bytes_per_s: amount(),
  })
  .meta({ id: 'Rates', description: 'over the last ten seconds' });

export type Rates = Readonly<z.output<typeof ratesSchema>>;

/** Which counter each rate is of. */
const COUNTERS = {
  received_fps: 'sightline_frames_received_total',
  results_fps: 'sightline_frames_results_total',
  errors_fps: 'sightline_frames_errors_total',
  dropped_fps: 'sightline_frames_dropped_total',
  grants_per_min: 'sightline_video_grants_told_total',
  ladder_moves_per_min: 'sightline_video_ladder_moves_total',
  telemetry_messages_per_s: 'sightline_telemetry_messages_total',
  received_bytes_per_s: 'sightline_network_received_bytes_total',
  sent_bytes_per_s: 'sightline_network_sent_bytes_total',
} as const satisfies Record<Exclude<keyof Rates, 'window_s'>, string>;

type RateName = keyof typeof COUNTERS;
type Counter = (typeof COUNTERS)[RateName];
const RATE_NAMES = Object.keys(COUNTERS) as RateName[];
const WINDOW_MS = 10_000;

/** Rates of the registry's counters over the last ten seconds. */
export class RecentRates {
  readonly #clock: Clock;
  readonly #totals: (names: readonly Counter[]) => Readonly<Record<Counter, number>>;
  readonly #window = new RateWindow<Counter>(WINDOW_MS);

  constructor(clock: Clock, totals: (names: readonly Counter[]) => Readonly<Record<Counter, number>>) {
    this.#clock = clock;
    this.#totals = totals;
  }

  /** To be called about once a second. */
  note(): void {
    this.#window.add(this.#clock.now(), this.#now());
  }

  /** null: nothing was noted long enough ago. */
  read(): Rates | null {
    const rates = this.#window.rates(this.#clock.now(), this.#now());
    if (!rates) return null;
    const { spanMs, perS } = rates;
    const named = RATE_NAMES.map((name) => [name, perS[COUNTERS[name]] * (name.endsWith('_per_min') ? 60 : 1)]);
    return { window_s: spanMs / 1000, ...(Object.fromEntries(named) as Record<RateName, number>) };
  }

  #now(): Readonly<Record<Counter, number>> {
    return this.#totals(Object.values(COUNTERS));
  }
}
