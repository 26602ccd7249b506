import { holderOf } from '../base/addresses.ts';
import type { Clock } from '../base/clock.ts';

/**
 * Failed logins make further ones wait, twice as long each time: from their address, and, much later, for their name wherever they
 * come from. A name alone would be a weapon, as anybody could keep its owner out: so an address from which the name has signed in
 * before does not wait for the name.
 */

/** Failures that nobody waits for. */
const ADDRESS_FREE = 5;
const NAME_FREE = 20;
const ADDRESS_WAIT_S_MAX = 60;
const NAME_WAIT_S_MAX = 30;
/** After so long without a failure one of them is forgotten. */
const FORGET_MS = 600_000;
/** Addresses, names, and pairs of both that are remembered; of more the oldest are forgotten. */
const REMEMBERED_MAX = 10_000;

interface Failures {
  readonly count: number;
  readonly lastMs: number;
}

interface Rule {
  readonly free: number;
  readonly waitSMax: number;
}

/** A login that is being tried. */
export interface LoginAttempt {
  /** It was right, or nobody could tell: it counts as no failure. */
  forgive(): void;
  /** It was right. */
  succeed(): void;
}

export class LoginLimits {
  readonly #clock: Clock;
  readonly #byAddress: FailureBook;
  readonly #byName: FailureBook;
  readonly #known = new Set<string>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#byAddress = new FailureBook({ free: ADDRESS_FREE, waitSMax: ADDRESS_WAIT_S_MAX });
    this.#byName = new FailureBook({ free: NAME_FREE, waitSMax: NAME_WAIT_S_MAX });
  }

  /** How long the next try has to wait, whole seconds; 0: not at all. `name`: undefined for a login by a key, which cannot be guessed. */
  waitS(address: string | undefined, name: string | undefined): number {
    const nowMs = this.#clock.now();
    const from = holderOf(address ?? '');
    const forAddress = this.#byAddress.waitMs(from, nowMs);
    const isKnown = name === undefined || this.#known.has(`${name} ${from}`);
    const forName = isKnown ? 0 : this.#byName.waitMs(name, nowMs);
    return Math.ceil(Math.max(forAddress, forName) / 1000);
  }

  /** It counts as a failure until it is known to be none: many at once gain nothing. */
  begin(address: string | undefined, name: string | undefined): LoginAttempt {
    const nowMs = this.#clock.now();
    const from = holderOf(address ?? '');
    this.#byAddress.add(from, nowMs);
    if (name !== undefined) this.#byName.add(name, nowMs);
    const forgive = (): void => {
      this.#byAddress.takeBack(from);
      if (name !== undefined) this.#byName.takeBack(name);
    };
    return {
      forgive,
      succeed: () => {
        forgive();
        if (name !== undefined) this.#know(`${name} ${from}`);
      },
    };
  }

  #know(pair: string): void {
    this.#known.delete(pair);
    this.#known.add(pair);
    if (this.#known.size > REMEMBERED_MAX) this.#known.delete(this.#known.keys().next().value!);
  }
}

class FailureBook {
  readonly #rule: Rule;
  /** The longest without a failure first. */
  readonly #failures = new Map<string, Failures>();

  constructor(rule: Rule) {
    this.#rule = rule;
  }

  waitMs(who: string, nowMs: number): number {
    const { free, waitSMax } = this.#rule;
    const { count, lastMs } = this.#at(who, nowMs);
    if (count < free) return 0;
    const waitMs = Math.min(waitSMax, 2 ** (count - free)) * 1000;
    return Math.max(0, lastMs + waitMs - nowMs);
  }

  add(who: string, nowMs: number): void {
    this.#set(who, { count: this.#at(who, nowMs).count + 1, lastMs: nowMs });
    if (this.#failures.size > REMEMBERED_MAX) this.#failures.delete(this.#failures.keys().next().value!);
  }

  takeBack(who: string): void {
    const failures = this.#failures.get(who);
    if (!failures) return;
    if (failures.count <= 1) this.#failures.delete(who);
    else this.#failures.set(who, { ...failures, count: failures.count - 1 });
  }

  #at(who: string, nowMs: number): Failures {
    const failures = this.#failures.get(who);
    if (!failures) return { count: 0, lastMs: -Infinity };
    const forgotten = Math.floor((nowMs - failures.lastMs) / FORGET_MS);
    return { count: Math.max(0, failures.count - forgotten), lastMs: failures.lastMs };
  }

  #set(who: string, failures: Failures): void {
    this.#failures.delete(who);
    this.#failures.set(who, failures);
  }
}
