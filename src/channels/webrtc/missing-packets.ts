/**
 * Packets of RTP that have not come while others behind them have, and when each is to be asked for again (NACK, RFC 4585). Not the library's list: a sender whose numbers jump makes that one work for
 * a long time, and all who share its thread wait.
 */

/** Where more are missing at once a key frame helps. */
const MISSING_MAX = 256;
/** Some are only late. */
const FIRST_MS = 10;
/** Until one that was asked for has had the time to come. */
const AGAIN_MS = 50;
const TIMES_MAX = 5;
const ROUND = 0x10000;

export class MissingPackets {
  #newest: number | undefined;
  readonly #missing = new Map<number, { dueMs: number; times: number }>();

  get size(): number {
    return this.#missing.size;
  }

  /** A packet has come, by its number. */
  see(sequence: number, nowMs: number): void {
    const ahead = this.#newest === undefined ? 0 : (sequence - this.#newest + ROUND) % ROUND;
    if (ahead > ROUND / 2) {
      this.#missing.delete(sequence);
      return;
    }
    if (ahead > MISSING_MAX) this.#missing.clear();
    else {
      for (let back = ahead - 1; back > 0; back--) {
        this.#missing.set((sequence - back + ROUND) % ROUND, { dueMs: nowMs + FIRST_MS, times: 0 });
      }
    }
    for (const old of this.#missing.keys()) {
      if (this.#missing.size <= MISSING_MAX) break;
      this.#missing.delete(old);
    }
    this.#newest = sequence;
  }

  /** Those that are to be asked for now, the oldest first. */
  due(nowMs: number): number[] {
    const due: number[] = [];
    for (const [sequence, wish] of this.#missing) {
      if (wish.dueMs > nowMs) continue;
      if (wish.times === TIMES_MAX) {
        this.#missing.delete(sequence);
        continue;
      }
      wish.times++;
      wish.dueMs = nowMs + AGAIN_MS;
      due.push(sequence);
    }
    return due;
  }
}
