import { timingSafeEqual } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { isLoopback } from '../base/addresses.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { Outbound } from '../net/outbound.ts';
import { ALL_GRANTS } from './grants.ts';
import { CallbackVerifier, type CallbackSettings } from './callback.ts';
import { JwtVerifier, type JwtSettings } from './jwt.ts';
import { hashOf, idOfKey, type ApiKey, type KeyRing } from './keys.ts';
import { loadKeys } from './key-file.ts';
import { PasswordChecker } from './passwords.ts';
import { Principal } from './principal.ts';
import { VerifiedTokens, type Verify } from './verified-tokens.ts';

/** Who comes in. */

export interface AuthSettings {
  readonly keysFile: string;
  /** Only this machine can reach the server: without any key it is open. */
  readonly isLoopback: boolean;
  /** Programs on this machine are not asked. */
  readonly isOpenToLoopback: boolean;
  readonly jwt: JwtSettings | undefined;
  readonly callback: CallbackSettings | undefined;
}

/** A change of the keys is noticed within this time, and a key that expires. */
const WATCH_MS = 500;
/** No credential is as long. */
const CREDENTIAL_CHARS_MAX = 16_384;

/** Decides by a credential who its holder is, and tells all that live by a credential when it counts no more. */
export class Authenticator {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: AuthSettings;
  readonly #jwt: JwtVerifier | undefined;
  readonly #callback: CallbackVerifier | undefined;
  readonly #tokens: VerifiedTokens;
  readonly #passwords = new PasswordChecker();
  #keys: ReadonlyMap<string, ApiKey> = new Map();
  #revokedTokens: ReadonlySet<string> = new Set();
  /** Of keys that have come in, by their ids. */
  readonly #principals = new Map<string, Principal>();
  /** Everybody, while nobody is asked. */
  #anyone: Principal | undefined;
  #version = '';
  #isChecking = false;
  #watch: NodeJS.Timeout | undefined;

  /** Changes of the file of keys, and tries to take one up that failed. */
  readonly reads = { taken: 0, failed: 0 };

  constructor(parts: {
    readonly clock: Clock;
    readonly log: Log;
    readonly settings: AuthSettings;
    /** By which others are asked. */
    readonly outbound: Outbound;
  }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings;
    const { clock, outbound } = parts;
    const { jwt, callback } = parts.settings;
    this.#jwt = jwt && new JwtVerifier({ clock, outbound, settings: jwt });
    this.#callback = callback && new CallbackVerifier({ clock, outbound, settings: callback });
    this.#tokens = new VerifiedTokens(parts.clock);
  }

  /** Nobody is asked who they are. */
  get isOpen(): boolean {
    const { isLoopback, isOpenToLoopback } = this.#settings;
    return isLoopback && (isOpenToLoopback || !this.#asks);
  }

  /** Somebody could come in by something. */
  get #asks(): boolean {
    return this.#keys.size > 0 || this.#jwt !== undefined || this.#callback !== undefined;
  }

  get keys(): number {
    return this.#keys.size;
  }

  /** Reads the keys, and follows their file. Errors: CREDENTIALS_UNREADABLE, ADDRESS_NEEDS_CREDENTIALS. */
  async open(): Promise<void> {
    const { keysFile, isLoopback } = this.#settings;
    this.#version = await versionOf(keysFile);
    this.#take(await loadKeys(keysFile));
    if (!isLoopback && !this.#asks) {
      throw new SightlineError(
        'ADDRESS_NEEDS_CREDENTIALS',
        `other machines can reach server.host, and ${keysFile} has no key: make one with "sightline keys add NAME --allow admin"`,
      );
    }
    this.#watch = setInterval(() => void this.#check(), WATCH_MS).unref();
  }

  close(): void {
    clearInterval(this.#watch);
  }

  /**
   * `address`: of the caller. At once, but for a credential that somebody else has to check.
   * Errors: CREDENTIALS_MISSING, CREDENTIALS_BAD, CREDENTIALS_EXPIRED, CREDENTIALS_UNCHECKED.
   */
  principalOf(credential: string | undefined, address: string | undefined): Principal | Promise<Principal> {
    const everybody = this.#everybody(address);
    if (everybody) return everybody;
    if (credential === undefined) {
      throw new SightlineError('CREDENTIALS_MISSING', 'this server asks for a key: Authorization: Bearer KEY');
    }
    if (credential.length > CREDENTIAL_CHARS_MAX) {
      throw new SightlineError('CREDENTIALS_BAD', `the credential is over ${CREDENTIAL_CHARS_MAX} characters`);
    }
    return this.#foreign(credential, address) ?? this.#holderOf(this.#keyOf(credential));
  }

  /**
   * Whoever has this name and password. Takes a quarter of a second whether or not there is such a name. Errors: CREDENTIALS_BAD,
   * CREDENTIALS_EXPIRED, CREDENTIALS_UNCHECKED where too many ask.
   */
  async principalByPassword(name: string, password: string, address: string | undefined): Promise<Principal> {
    const everybody = this.#everybody(address);
    if (everybody) return everybody;
    const before = this.#keyNamed(name);
    const isRight = await this.#passwords.check(password, before?.password);
    // It may have been revoked meanwhile.
    const key = this.#keyNamed(name);
    if (!isRight || key === undefined || key.id !== before?.id || key.password !== before.password) {
      // The same words for all: nobody learns which names there are.
      throw new SightlineError('CREDENTIALS_BAD', 'the name or the password is wrong');
    }
    return this.#holderOf(key);
  }

  #keyNamed(name: string): ApiKey | undefined {
    for (const key of this.#keys.values()) if (key.name === name) return key;
    return undefined;
  }

  /** undefined: the caller has to say who it is. */
  #everybody(address: string | undefined): Principal | undefined {
    const isNear = this.#settings.isOpenToLoopback && address !== undefined && isLoopback(address);
    if (!this.isOpen && !isNear) return undefined;
    return (this.#anyone ??= new Principal({ id: 'anyone', name: 'anyone', grants: ALL_GRANTS }));
  }

  /** undefined: it is this server's own to check. */
  #foreign(credential: string, address: string | undefined): Principal | Promise<Principal> | undefined {
    if (idOfKey(credential) !== undefined) return undefined;
    const [jwt, callback] = [this.#jwt, this.#callback];
    if (jwt && JwtVerifier.isToken(credential)) {
      const verify: Verify = (token) => jwt.verify(token);
      return this.#tokens.principalOf(credential, address, { verify, renews: false, isRevoked: this.#isRevoked });
    }
    if (!callback) return undefined;
    const verify: Verify = (given, from) => callback.verify(given, from);
    return this.#tokens.principalOf(credential, address, { verify, renews: true, isRevoked: this.#isRevoked });
  }

  readonly #isRevoked = (tokenId: string): boolean => this.#revokedTokens.has(tokenId);

  #holderOf(key: ApiKey): Principal {
    if (isOver(key, wallTimeMs(this.#clock))) throw expired(key);
    let principal = this.#principals.get(key.id);
    if (principal === undefined) {
      const { name, grants } = key;
      principal = new Principal({ id: `key:${key.id}`, name, grants });
      this.#principals.set(key.id, principal);
    }
    return principal;
  }

  #keyOf(credential: string): ApiKey {
    const id = idOfKey(credential);
    const key = id === undefined ? undefined : this.#keys.get(id);
    // The same words for both: nobody learns which ids there are.
    if (!key?.hash || !timingSafeEqual(Buffer.from(key.hash), Buffer.from(hashOf(credential)))) {
      throw new SightlineError('CREDENTIALS_BAD', 'the key is not one of this server, or was revoked');
    }
    return key;
  }

  /** Takes up what has changed since the last time. */
  async #check(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    const { keysFile } = this.#settings;
    try {
      const version = await versionOf(keysFile);
      if (version !== this.#version) {
        // Who has taken the file away by mistake must not open the server by it.
        if (version === '') throw new SightlineError('CREDENTIALS_UNREADABLE', `${keysFile} is gone`);
        this.#take(await loadKeys(keysFile));
        // Only now: what could not be read is tried again.
        this.#version = version;
        this.reads.taken++;
        this.#log.write('keys_changed', { count: this.#keys.size });
      }
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      this.reads.failed++;
      this.#log.write('keys_unreadable', { code, reason: message });
    } finally {
      this.#isChecking = false;
    }
    this.#endExpired();
  }

  #take({ keys, revokedTokens }: KeyRing): void {
    const wasOpen = this.isOpen;
    const before = this.#keys;
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    this.#revokedTokens = new Set(revokedTokens);
    for (const [id, principal] of this.#principals) {
      const [own, other] = [before.get(id), this.#keys.get(id)];
      if (other && own && isSame(own, other)) continue;
      this.#end(id, principal, new SightlineError('CREDENTIALS_BAD', `the key "${principal.name}" was revoked`));
    }
    if (wasOpen === this.isOpen) return;
    this.#anyone?.end(new SightlineError('CREDENTIALS_MISSING', 'this server asks for a key from now on'));
    this.#anyone = undefined;
  }

  #endExpired(): void {
    this.#tokens.sweep(this.#isRevoked);
    const nowMs = wallTimeMs(this.#clock);
    for (const [id, principal] of this.#principals) {
      const key = this.#keys.get(id)!;
      if (isOver(key, nowMs)) this.#end(id, principal, expired(key));
    }
  }

  #end(id: string, principal: Principal, reason: SightlineError): void {
    this.#principals.delete(id);
    principal.end(reason);
  }
}

/** By another password, too, nobody stays who came in by the old one. */
function isSame(own: ApiKey, other: ApiKey): boolean {
  return (
    other.hash === own.hash &&
    other.password === own.password &&
    JSON.stringify(other.grants) === JSON.stringify(own.grants)
  );
}

function isOver({ expiresAtMs }: ApiKey, nowMs: number): boolean {
  return expiresAtMs !== undefined && nowMs >= expiresAtMs;
}

function expired({ name, expiresAtMs }: ApiKey): SightlineError {
  return new SightlineError(
    'CREDENTIALS_EXPIRED',
    `the key "${name}" has expired at ${new Date(expiresAtMs!).toISOString()}`,
  );
}

/** Differs when the file was replaced; empty: there is none. */
async function versionOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}:${size}:${mtimeMs}`;
  } catch {
    return '';
  }
}
