/** Kept from what is granted: the two clocks do not agree, and who is over the limit is punished. */
const MARGIN = 0.9;

/**
 * How many messages may go now, so that a client stays within the rate that its server grants: a bucket that holds one second
 * of it. What must go in any case is spent all the same. Pure but for its state.
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
