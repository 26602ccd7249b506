import { RateWindow } from '../../observe/rate-window.ts';
import type { ReaderCounts } from './messages.ts';

/** What processes have counted of one camera, over all its connections. Pure. */

export type CameraTotals = { -readonly [K in keyof ReaderCounts]: number };
type Rated = 'received' | 'receivedBytes' | 'decoded' | 'pictures';

const WINDOW_MS = 5_000;

export function noTotals(): CameraTotals {
  return {
    received: 0,
    receivedBytes: 0,
    decoded: 0,
    damaged: 0,
    unmasked: 0,
    pictures: 0,
    picturesDropped: 0,
    fragments: 0,
    fragmentsDropped: 0,
    transcoded: 0,
    transcodedDropped: 0,
    annotated: 0,
    annotatedDropped: 0,
    decodeMs: 0,
    scaleMs: 0,
    encodeMs: 0,
  };
}

export function addTotals(to: CameraTotals, more: Readonly<CameraTotals>): void {
  for (const key of Object.keys(to) as (keyof CameraTotals)[]) to[key] += more[key];
}

export class CameraCounts {
  /** Of connections that are over. */
  readonly #past = noTotals();
  /** Of the present one. */
  #now: CameraTotals | undefined;
  #window = new RateWindow<Rated>(WINDOW_MS);

  /** What the process says of the present connection. */
  note(counts: ReaderCounts, nowMs: number): void {
    this.#now = { ...counts };
    this.#window.add(nowMs, this.totals);
  }

  /** The connection is over. */
  end(): void {
    if (this.#now) addTotals(this.#past, this.#now);
    this.#now = undefined;
    this.#window = new RateWindow(WINDOW_MS);
  }

  get totals(): CameraTotals {
    const totals = { ...this.#past };
    if (this.#now) addTotals(totals, this.#now);
    return totals;
  }

  /** Of the last seconds; 0 while too little is known. */
  rates(nowMs: number): Readonly<Record<Rated, number>> {
    return this.#window.rates(nowMs, this.totals)?.perS ?? { received: 0, receivedBytes: 0, decoded: 0, pictures: 0 };
  }
}
