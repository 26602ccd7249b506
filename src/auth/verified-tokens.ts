import { createHash } from 'node:crypto';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { grantText } from './grants.ts';
import { Principal } from './principal.ts';
import type { Verified } from './verified.ts';

/** Credentials that somebody else has to check: each is checked once for as long as the answer counts, and asked about again when it ends. */

export type Verify = (credential: string, address: string | undefined) => Promise<Verified>;

/** Of more the one goes that came first and by which nothing lives. */
export const TOKENS_MAX = 10_000;
/** Checks at once; further credentials are refused for now. */
export const CHECKS_MAX = 64;
/** Where an answer is over and nobody gives another one, its holder stays for so long, ms. */
const GRACE_MS = 30_000;

interface Token {
  readonly principal: Principal;
  readonly tokenId: string | undefined;
  expiresAtMs: number;
  /** It is asked about again. undefined: its end is its end. */
  readonly renew: (() => Promise<Verified>) | undefined;
  isRenewing: boolean;
}

export class VerifiedTokens {
  readonly #clock: Clock;
  /** By the hash of the credential. */
  readonly #tokens = new Map<string, Token>();
  readonly #checks = new Map<string, Promise<Principal>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#tokens.size;
  }

  /** `renews`: what is over is asked about again. Errors: those of `verify`; CREDENTIALS_UNCHECKED where too many are being checked. */
  principalOf(
    credential: string,
    address: string | undefined,
    { verify, renews, isRevoked }: { verify: Verify; renews: boolean; isRevoked: (tokenId: string) => boolean },
  ): Principal | Promise<Principal> {
    const hash = createHash('sha256').update(credential).digest('base64');
    const known = this.#tokens.get(hash);
    if (known && !known.principal.isEnded && wallTimeMs(this.#clock) < known.expiresAtMs) return known.principal;
    const check = this.#checks.get(hash);
    if (check) return check;
    if (this.#checks.size >= CHECKS_MAX) {
      throw new SightlineError('CREDENTIALS_UNCHECKED', `${CHECKS_MAX} credentials are being checked: try again`);
    }
    const checked = this.#check(hash, () => verify(credential, address), { renews, isRevoked }).finally(() =>
      this.#checks.delete(hash),
    );
    this.#checks.set(hash, checked);
    return checked;
  }

  /** Ends what is over, and asks about what may go on. To be called often. */
  sweep(isRevoked: (tokenId: string) => boolean): void {
    const nowMs = wallTimeMs(this.#clock);
    for (const [hash, token] of this.#tokens) {
      if (token.tokenId !== undefined && isRevoked(token.tokenId)) this.#end(hash, revoked());
      else if (nowMs >= token.expiresAtMs) this.#renew(hash, token, nowMs);
    }
  }

  async #check(
    hash: string,
    verify: () => Promise<Verified>,
    { renews, isRevoked }: { renews: boolean; isRevoked: (tokenId: string) => boolean },
  ): Promise<Principal> {
    const verified = await verify();
    const { id, name, grants, expiresAtMs, tokenId } = verified;
    if (tokenId !== undefined && isRevoked(tokenId)) throw revoked();
    const before = this.#tokens.get(hash);
    if (before && !before.principal.isEnded) {
      // What lives by it must not be forgotten: its end is still to be told.
      before.expiresAtMs = expiresAtMs;
      if (isSame(verified, before.principal)) return before.principal;
      this.#end(hash, otherPermissions(before.principal));
    }
    const principal = new Principal({ id, name, grants });
    this.#tokens.delete(hash);
    this.#tokens.set(hash, { principal, tokenId, expiresAtMs, renew: renews ? verify : undefined, isRenewing: false });
    this.#forgetOne();
    return principal;
  }

  #renew(hash: string, token: Token, nowMs: number): void {
    const { renew, principal } = token;
    // Nobody would notice, or it cannot go on.
    if (renew === undefined || principal.dependants === 0) {
      return this.#end(
        hash,
        new SightlineError('CREDENTIALS_EXPIRED', `the credential of "${principal.name}" has expired`),
      );
    }
    if (token.isRenewing) return;
    token.isRenewing = true;
    void this.#renewWith(renew, { hash, token, nowMs });
  }

  async #renewWith(
    renew: () => Promise<Verified>,
    { hash, token, nowMs }: { hash: string; token: Token; nowMs: number },
  ): Promise<void> {
    const { principal } = token;
    try {
      const verified = await renew();
      token.expiresAtMs = verified.expiresAtMs;
      if (isSame(verified, principal)) return;
      this.#end(hash, otherPermissions(principal));
    } catch (thrown) {
      const error = toSightlineError(thrown);
      if (error.code !== 'CREDENTIALS_UNCHECKED' || nowMs >= token.expiresAtMs + GRACE_MS) this.#end(hash, error);
    } finally {
      token.isRenewing = false;
    }
  }

  #end(hash: string, reason: SightlineError): void {
    this.#tokens.get(hash)?.principal.end(reason);
    this.#tokens.delete(hash);
  }

  #forgetOne(): void {
    if (this.#tokens.size <= TOKENS_MAX) return;
    for (const [hash, { principal }] of this.#tokens) {
      if (principal.dependants > 0) continue;
      this.#tokens.delete(hash);
      return;
    }
  }
}

function isSame({ id, grants }: Verified, principal: Principal): boolean {
  return id === principal.id && grants.map(grantText).join(' ') === principal.grants.map(grantText).join(' ');
}

function otherPermissions({ name }: Principal): SightlineError {
  return new SightlineError('CREDENTIALS_BAD', `"${name}" has other permissions from now on`);
}

function revoked(): SightlineError {
  return new SightlineError('CREDENTIALS_BAD', 'the token was revoked');
}
