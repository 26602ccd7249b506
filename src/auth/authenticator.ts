import { timingSafeEqual } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { isLoopback } from '../base/addresses.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { ALL_GRANTS } from './grants.ts';
import { hashOf, idOfKey, type ApiKey } from './keys.ts';
import { loadKeys } from './key-file.ts';
import { Principal } from './principal.ts';

/** Who comes in. */

export interface AuthSettings {
  readonly keysFile: string;
  /** Only this machine can reach the server: without any key it is open. */
  readonly isLoopback: boolean;
  /** Programs on this machine are not asked. */
  readonly isOpenToLoopback: boolean;
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
  #keys: ReadonlyMap<string, ApiKey> = new Map();
  /** Of keys that have come in, by their ids. */
  readonly #principals = new Map<string, Principal>();
  /** Everybody, while nobody is asked. */
  #anyone: Principal | undefined;
  #version = '';
  #isChecking = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(parts: { readonly clock: Clock; readonly log: Log; readonly settings: AuthSettings }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings;
  }

  /** Nobody is asked who they are. */
  get isOpen(): boolean {
    const { isLoopback, isOpenToLoopback } = this.#settings;
    return isLoopback && (isOpenToLoopback || this.#keys.size === 0);
  }

  get keys(): number {
    return this.#keys.size;
  }

  /** Reads the keys, and follows their file. Errors: CREDENTIALS_UNREADABLE, ADDRESS_NEEDS_CREDENTIALS. */
  async open(): Promise<void> {
    const { keysFile, isLoopback } = this.#settings;
    this.#version = await versionOf(keysFile);
    this.#take(await loadKeys(keysFile));
    if (!isLoopback && this.#keys.size === 0) {
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

  /** `address`: of the caller. Throws CREDENTIALS_MISSING, CREDENTIALS_BAD, CREDENTIALS_EXPIRED. */
  principalOf(credential: string | undefined, address: string | undefined): Principal {
    const { isOpenToLoopback } = this.#settings;
    if (this.isOpen || (isOpenToLoopback && address !== undefined && isLoopback(address))) {
      return (this.#anyone ??= new Principal({ id: 'anyone', name: 'anyone', grants: ALL_GRANTS }));
    }
    if (credential === undefined) {
      throw new SightlineError('CREDENTIALS_MISSING', 'this server asks for a key: Authorization: Bearer KEY');
    }
    const key = this.#keyOf(credential);
    if (isOver(key, wallTimeMs(this.#clock))) throw expired(key);
    let principal = this.#principals.get(key.id);
    if (principal === undefined) {
      const { name, grants, expiresAtMs } = key;
      principal = new Principal({ id: `key:${key.id}`, name, grants, expiresAtMs });
      this.#principals.set(key.id, principal);
    }
    return principal;
  }

  #keyOf(credential: string): ApiKey {
    const id = credential.length <= CREDENTIAL_CHARS_MAX ? idOfKey(credential) : undefined;
    const key = id === undefined ? undefined : this.#keys.get(id);
    // The same words for both: nobody learns which ids there are.
    if (!key || !timingSafeEqual(Buffer.from(key.hash), Buffer.from(hashOf(credential)))) {
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
        this.#version = version;
        // Who has taken the file away by mistake must not open the server by it.
        if (version === '') throw new SightlineError('CREDENTIALS_UNREADABLE', `${keysFile} is gone`);
        this.#take(await loadKeys(keysFile));
        this.#log.write('keys_changed', { count: this.#keys.size });
      }
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      this.#log.write('keys_unreadable', { code, reason: message });
    } finally {
      this.#isChecking = false;
    }
    this.#endExpired();
  }

  #take(keys: readonly ApiKey[]): void {
    const wasOpen = this.isOpen;
    const before = this.#keys;
    this.#keys = new Map(keys.map((key) => [key.id, key]));
    for (const [id, principal] of this.#principals) {
      const [own, other] = [before.get(id), this.#keys.get(id)];
      if (other && other.hash === own?.hash && JSON.stringify(other.grants) === JSON.stringify(own.grants)) continue;
      this.#end(id, principal, new SightlineError('CREDENTIALS_BAD', `the key "${principal.name}" was revoked`));
    }
    if (wasOpen === this.isOpen) return;
    this.#anyone?.end(new SightlineError('CREDENTIALS_MISSING', 'this server asks for a key from now on'));
    this.#anyone = undefined;
  }

  #endExpired(): void {
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
