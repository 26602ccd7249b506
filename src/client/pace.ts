/** Reserve of the granted rate: the two clocks do not agree, and a client over the limit is punished. */
const MARGIN = 0.9;

/**
 * How many messages may go now, so that a client stays within the rate that its server grants: a bucket that holds one second
 * of it. Messages that must go in any case are counted all the same. Pure but for its state.
 */
export class Pace {
  #spent = 0;
  #atMs = -Infinity;

  allowed(nowMs: number, messagesPerS: number): number {
    const perS = messagesPerS * MARGIN;
    this.#spent = Math.max(0, this.#spent - (Math.max(0, nowMs - this.#atMs) / 1000) * perS);
    this.#atMs = Math.max(nowMs, this.#atMs);
    return Math.max(0, Math.floor(perS - this.#spent));
  }

  spend(messages: number): void {
    this.#spent += messages;
  }
}
