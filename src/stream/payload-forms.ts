import type { FormKeeper, Payload } from '../protocol/payload.ts';

/** Of all payloads that topics keep, together. */
export const FORMS_BYTES_MAX = 24 * 1024 * 1024;
/** By number: the messages of some rounds. Each keeps its payload, also when its topic has forgotten it: small ones of ten seconds are 100,000 that V8 has to copy and to mark. */
export const FORMS_MAX = 2_048;
/** What a value takes in V8 for each byte that says it: 24 for `[{},{}]`, the worst that was measured; a text takes one. */
const VALUE_BYTES_PER_BYTE = 24;
const FORM_BYTES = 200;

interface Made {
  readonly payload: Payload;
  readonly bytes: number;
}

/**
 * Forms of payloads beside those that they keep, such as values that were read from JSON, for as long as there is room: a value may take
 * twenty times the memory of the text that says it. The one goes that was made first, and those that were made a while ago: readers that keep
 * up want what is new, and an idle server keeps nothing.
 */
export class PayloadForms implements FormKeeper {
  readonly #made: (Made | undefined)[] = [];
  #first = 0;
  /** How many of those that are there were made since the last call of `age`. */
  #fresh = 0;
  #bytes = 0;

  /** By estimate. */
  get bytes(): number {
    return this.#bytes;
  }

  made(payload: Payload, isValue: boolean, bytes: number): void {
    const made = { payload, bytes: bytes * (isValue ? VALUE_BYTES_PER_BYTE : 1) + FORM_BYTES };
    this.#bytes += made.bytes;
    this.#made.push(made);
    this.#fresh++;
    // The newest stays: whoever asked for it is about to use it.
    while (this.#isOver && this.#first < this.#made.length - 1) this.#forgetFirst();
    this.#tidy();
  }

  /** Forgets what was made before the last call. */
  age(): void {
    while (this.#made.length - this.#first > this.#fresh) this.#forgetFirst();
    this.#fresh = 0;
    this.#tidy();
  }

  get #isOver(): boolean {
    return this.#bytes > FORMS_BYTES_MAX || this.#made.length - this.#first > FORMS_MAX;
  }

  #tidy(): void {
    if (this.#first < 1_000 && this.#first < this.#made.length) return;
    if (2 * this.#first <= this.#made.length) return;
    this.#made.splice(0, this.#first);
    this.#first = 0;
  }

  #forgetFirst(): void {
    const { payload, bytes } = this.#made[this.#first]!;
    this.#made[this.#first++] = undefined;
    this.#fresh = Math.min(this.#fresh, this.#made.length - this.#first);
    this.#bytes -= bytes;
    payload.forget();
  }
}
