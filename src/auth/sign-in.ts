import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { Authenticator } from './authenticator.ts';
import { KEY_NAME } from './keys.ts';
import { LoginLimits } from './login-limits.ts';
import type { Principal } from './principal.ts';

/** Signing in on the page: by a key, or by a name and its password. Failed tries are counted, and further ones wait. */

export type LoginProof = { readonly key: string } | { readonly name: string; readonly password: string };

/** `unchecked`: nobody could say whether it was right. */
export const LOGIN_OUTCOMES = ['accepted', 'refused', 'limited', 'unchecked'] as const;
export type LoginOutcome = (typeof LOGIN_OUTCOMES)[number];

/** Of a login that has to wait. */
export class LoginLimitError extends SightlineError {
  readonly waitS: number;

  constructor(waitS: number) {
    super('LOGIN_LIMIT_REACHED', `too many logins have failed: try again in ${waitS} s`);
    this.waitS = waitS;
  }
}

export class SignIn {
  readonly #authenticator: Pick<Authenticator, 'principalOf' | 'principalByPassword'>;
  readonly #limits: LoginLimits;
  readonly #log: Log;
  readonly #counts: Record<LoginOutcome, number> = { accepted: 0, refused: 0, limited: 0, unchecked: 0 };

  constructor(parts: {
    readonly clock: Clock;
    readonly log: Log;
    readonly authenticator: Pick<Authenticator, 'principalOf' | 'principalByPassword'>;
  }) {
    this.#authenticator = parts.authenticator;
    this.#limits = new LoginLimits(parts.clock);
    this.#log = parts.log;
  }

  /** Since the start. */
  get counts(): Readonly<Record<LoginOutcome, number>> {
    return this.#counts;
  }

  /** `address`: of the caller. Errors: CREDENTIALS_*, LoginLimitError. */
  async by(proof: LoginProof, address: string | undefined): Promise<Principal> {
    // A name that nobody can have is no reason to keep anything.
    const name = 'name' in proof && KEY_NAME.test(proof.name) ? proof.name : undefined;
    const waitS = this.#limits.waitS(address, name);
    if (waitS > 0) {
      this.#counts.limited++;
      throw this.#told(new LoginLimitError(waitS), address);
    }
    const attempt = this.#limits.begin(address, name);
    try {
      const principal = await ('key' in proof
        ? this.#authenticator.principalOf(proof.key, address)
        : this.#authenticator.principalByPassword(proof.name, proof.password, address));
      attempt.succeed();
      this.#counts.accepted++;
      return principal;
    } catch (thrown) {
      const { code } = toSightlineError(thrown);
      const isWrong = code === 'CREDENTIALS_BAD';
      if (!isWrong) attempt.forgive();
      this.#counts[isWrong || code === 'CREDENTIALS_EXPIRED' ? 'refused' : 'unchecked']++;
      throw this.#told(thrown, address);
    }
  }

  /** Without the name: in its place people type their password. */
  #told(thrown: unknown, address = ''): unknown {
    const { code, message } = toSightlineError(thrown);
    this.#log.write('login_refused', { code, reason: message, address });
    return thrown;
  }
}
