import { readFile, stat } from 'node:fs/promises';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { readIdentity, type Identity, type PemFile } from './identity.ts';

/** The certificate by which the server proves who it is, followed where its files change. */

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateSettings {
  readonly files: CertificateFiles;
  /** Makes the files, or makes them anew where it is time; asked at the start and then once in `UPKEEP_MS`. */
  readonly maintain?: ((nowMs: number) => Promise<void>) | undefined;
  /** The certificate of the authority that it makes them by, for everybody. */
  readonly authority?: { readonly folder: string; readonly name: string } | undefined;
}

/** As `Tls` among the measurements. */
export interface CertificatesReport {
  /** When the certificate in use ends, Unix ms. */
  readonly certificate_expires: number;
  /** Changes that were taken up. */
  readonly reloads: number;
  /** Tries to take up a change that failed. */
  readonly failures: number;
}

/** A change of the files is looked for so often, and counts once it has stood as long: both files are seldom replaced at once. */
const WATCH_MS = 500;
/** What could not be used is tried again. */
const RETRY_MS = 10_000;
const UPKEEP_MS = 60_000;
/** A chain of certificates takes some KiB. */
const FILE_BYTES_MAX = 1_048_576;
/** So long before its end it is told. */
export const SOON_MS = 14 * 86_400_000;
const REMIND_MS = 86_400_000;

export class Certificates {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #settings: CertificateSettings;
  readonly #listeners = new Set<(identity: Identity) => void>();
  #identity: Identity | undefined;
  /** Of the files in use. */
  #version = '';
  /** Of the files that were seen last, and since when they have been so. */
  #seen: { readonly version: string; readonly sinceMs: number } = { version: '', sinceMs: 0 };
  /** Of the files that could not be used, and when. */
  #failed: { readonly version: string; readonly atMs: number } | undefined;
  #maintainedMs = 0;
  #remindedMs = -Infinity;
  #reloads = 0;
  #failures = 0;
  #checking: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor(parts: { readonly clock: Clock; readonly log: Log; readonly settings: CertificateSettings }) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings;
  }

  /** Reads the files, and follows them. Errors: CERTIFICATE_UNREADABLE, CERTIFICATE_BAD, those of `maintain`. */
  async open(): Promise<void> {
    await this.#maintain();
    this.#version = await this.#versionOfFiles();
    this.#identity = await this.#load();
    this.#seen = { version: this.#version, sinceMs: this.#clock.now() };
    this.#remind();
    this.#watch = setInterval(() => void this.check(), WATCH_MS).unref();
  }

  /** Idempotent. */
  close(): void {
    clearInterval(this.#watch);
  }

  /** The one in use. Throws USAGE before `open`. */
  get identity(): Identity {
    if (this.#identity === undefined) throw new SightlineError('USAGE', 'the certificate has not been read yet');
    return this.#identity;
  }

  /** Another one is in use from then on. */
  onChange(listener: (identity: Identity) => void): void {
    this.#listeners.add(listener);
  }

  report(): CertificatesReport {
    return { certificate_expires: this.identity.validToMs, reloads: this.#reloads, failures: this.#failures };
  }

  /** Takes up a change of the files, `atOnce` without waiting whether they change further. What cannot be used changes nothing, and is logged. */
  check(atOnce = false): Promise<void> {
    this.#checking ??= this.#check(atOnce).finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  async #check(atOnce: boolean): Promise<void> {
    const nowMs = this.#clock.now();
    let version = '';
    try {
      if (nowMs - this.#maintainedMs >= UPKEEP_MS) await this.#maintain();
      version = await this.#versionOfFiles();
      if (!this.#isToTake(version, nowMs, atOnce)) return;
      const identity = await this.#load();
      this.#version = version;
      this.#failed = undefined;
      this.#take(identity);
    } catch (thrown) {
      const { code, message } = toSightlineError(thrown);
      this.#failed = { version, atMs: nowMs };
      this.#failures++;
      this.#log.write('certificate_unusable', { code, reason: message });
    } finally {
      this.#remind();
    }
  }

  #isToTake(version: string, nowMs: number, atOnce: boolean): boolean {
    if (version !== this.#seen.version) this.#seen = { version, sinceMs: nowMs };
    if (version === this.#version) return false;
    if (atOnce) return true;
    if (this.#failed?.version === version) return nowMs - this.#failed.atMs >= RETRY_MS;
    return nowMs - this.#seen.sinceMs >= WATCH_MS;
  }

  #take(identity: Identity): void {
    this.#identity = identity;
    this.#reloads++;
    this.#remindedMs = -Infinity;
    this.#log.write('certificate_changed', { names: identity.names, expires_at: dateOf(identity.validToMs) });
    for (const listener of this.#listeners) listener(identity);
  }

  async #maintain(): Promise<void> {
    this.#maintainedMs = this.#clock.now();
    await this.#settings.maintain?.(wallTimeMs(this.#clock));
  }

  #remind(): void {
    const [nowMs, validToMs] = [this.#clock.now(), this.#identity?.validToMs];
    if (validToMs === undefined || validToMs - wallTimeMs(this.#clock) > SOON_MS) return;
    if (nowMs - this.#remindedMs < REMIND_MS) return;
    this.#remindedMs = nowMs;
    this.#log.write('certificate_expires', { expires_at: dateOf(validToMs) });
  }

  #load(): Promise<Identity> {
    return loadIdentity(this.#settings.files, wallTimeMs(this.#clock));
  }

  async #versionOfFiles(): Promise<string> {
    const { certificate, key } = this.#settings.files;
    return (await Promise.all([certificate, key].map(versionOf))).join(' ');
  }
}

/** `nowMs`: the time of day. Errors: CERTIFICATE_UNREADABLE, CERTIFICATE_BAD. */
export async function loadIdentity({ certificate, key }: CertificateFiles, nowMs: number): Promise<Identity> {
  const [certificateFile, keyFile] = await Promise.all([readPem(certificate), readPem(key)]);
  return readIdentity(certificateFile, keyFile, nowMs);
}

/** Errors: CERTIFICATE_UNREADABLE. */
async function readPem(path: string): Promise<PemFile> {
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) throw new Error(`it is over ${FILE_BYTES_MAX} bytes`);
    return { path, text: await readFile(path, 'utf8') };
  } catch (thrown) {
    const { message } = thrown as Error;
    throw new SightlineError('CERTIFICATE_UNREADABLE', `${path} cannot be read: ${message}`, { cause: thrown });
  }
}

/** Differs when the file was replaced or written; empty: there is none. Links are followed, so that a switched one counts as well. */
async function versionOf(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}:${size}:${mtimeMs}`;
  } catch {
    return '';
  }
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}
