import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Principal } from './principal.ts';

/** Who has signed in on the page: a random number in a cookie stands for the credential, which the browser need not keep. */

/** After that the page asks again, ms. */
export const LOGIN_MS = 12 * 3_600_000;
/** At once; of more the oldest ends. */
export const LOGINS_MAX = 1_000;
const ID_BYTES = 32;

interface Login {
  readonly principal: Principal;
  readonly untilMs: number;
  readonly forget: () => void;
}

export class Logins {
  readonly #clock: Clock;
  readonly #logins = new Map<string, Login>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#logins.size;
  }

  /** Gives the secret that stands for it: 43 characters of base64url. */
  open(principal: Principal): string {
    const id = randomBytes(ID_BYTES).toString('base64url');
    const forget = principal.onEnd(() => this.close(id));
    this.#logins.set(id, { principal, untilMs: this.#clock.now() + LOGIN_MS, forget });
    if (this.#logins.size > LOGINS_MAX) this.close(this.#logins.keys().next().value!);
    return id;
  }

  /** undefined: there is no such login, or none any more. */
  principalOf(id: string): Principal | undefined {
    const login = this.#logins.get(id);
    if (login === undefined) return undefined;
    if (this.#clock.now() < login.untilMs) return login.principal;
    this.close(id);
    return undefined;
  }

  /** Idempotent. */
  close(id: string): void {
    this.#logins.get(id)?.forget();
    this.#logins.delete(id);
  }
}
