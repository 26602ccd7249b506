/** Between two marks: so often, or after so many bytes. */
const MARK_INTERVAL_MS = 50;
const MARK_BYTES = 64 * 1024;

/**
 * How long what was handed to a socket is on its way. The system takes megabytes for a client that reads slowly, which then lie there for seconds, and
 * tells nobody; so marks go along (pings, which every WebSocket answers by itself), and a mark without its answer says how old what lies before it is.
 * Pure.
 */
export class Flight {
  /** Marks without an answer, oldest first. They are bounded: nothing more is sent, and so marked, while the oldest of them is too old. */
  readonly #marks: { readonly number: number; readonly sentMs: number }[] = [];
  #number = 0;
  #bytes = 0;
  #lastMs = -Infinity;
  #roundTripMs = Infinity;

  /** Shortest time from a mark to its answer; Infinity: there was none yet. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  /** So much was handed to the socket. Gives the number of the mark that is to follow it, if one is due. */
  sent(bytes: number, nowMs: number): number | undefined {
    this.#bytes += bytes;
    if (this.#bytes < MARK_BYTES && nowMs - this.#lastMs < MARK_INTERVAL_MS) return undefined;
    this.#bytes = 0;
    this.#lastMs = nowMs;
    this.#number = (this.#number + 1) >>> 0;
    this.#marks.push({ number: this.#number, sentMs: nowMs });
    return this.#number;
  }

  /** What came before the mark has arrived. A number that was not given, or was answered before, changes nothing. */
  answered(number: number, nowMs: number): void {
    const place = this.#marks.findIndex((mark) => mark.number === number);
    if (place < 0) return;
    this.#roundTripMs = Math.min(this.#roundTripMs, nowMs - this.#marks[place]!.sentMs);
    this.#marks.splice(0, place + 1);
  }

  /** How much longer than an empty path would need the oldest mark has been without its answer, ms. */
  delayMs(nowMs: number): number {
    const oldest = this.#marks[0];
    if (oldest === undefined) return 0;
    const needsMs = this.#roundTripMs === Infinity ? 0 : this.#roundTripMs;
    return Math.max(0, nowMs - oldest.sentMs - needsMs);
  }
}
