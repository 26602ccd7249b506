import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { opened, sealed, sealedBytes } from './envelope.ts';
import { Outage } from './outage.ts';
import type { FarTier, FarTierReport } from './tier.ts';
import { within } from './within.ts';
import { WriteQueue } from './writes.ts';

export interface DiskTierSettings {
  readonly folder: string;
  readonly bytesMax: number;
  /** A fragment is kept so long. */
  readonly keepMs: number;
}

interface Entry {
  readonly file: string;
  readonly size: number;
  readonly putMs: number;
}

const READ_TIMEOUT_MS = 1_000;
const WAITING_BYTES_MAX = 32 * 1024 * 1024;
const WRITES_AT_ONCE = 2;
const OWN_FOLDER = /^sightline-cache-(\d+)-[0-9a-f]{8}$/;

/** Fragments as files of this process: what a file stands for is known only here, and another start begins with nothing. */
export class DiskTier implements FarTier {
  readonly name = 'disk';
  readonly #clock: Clock;
  readonly #settings: () => DiskTierSettings;
  readonly #outage: Outage;
  /** The oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #writes: WriteQueue;
  #folder: Promise<string> | undefined;
  #bytes = 0;
  #lastFile = 0;
  #damaged = 0;
  #failures = 0;
  #isClosed = false;
  /** Files that are being removed. */
  readonly #removals = new Set<Promise<void>>();

  constructor(parts: {
    readonly clock: Clock;
    readonly settings: () => DiskTierSettings;
    readonly onChanged: (reason: string | undefined) => void;
  }) {
    this.#clock = parts.clock;
    this.#settings = parts.settings;
    this.#outage = new Outage(parts.clock, parts.onChanged);
    this.#writes = new WriteQueue({
      write: (key, bytes) => this.#write(key, bytes),
      bytesMax: WAITING_BYTES_MAX,
      atOnce: WRITES_AT_ONCE,
    });
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const entry = this.#entries.get(key);
    if (!entry || this.#isExpired(entry)) return undefined;
    let bytes: Buffer;
    try {
      bytes = await within(READ_TIMEOUT_MS, (signal) => readFile(entry.file, { signal }));
    } catch (thrown) {
      // It may have gone meanwhile.
      if (this.#entries.get(key) !== entry) return undefined;
      this.#failures++;
      this.#remove(key);
      this.#outage.failed(reasonOf(thrown));
      return undefined;
    }
    const fragment = opened(key, bytes);
    if (fragment) return fragment;
    this.#damaged++;
    this.#remove(key);
    return undefined;
  }

  put(key: string, bytes: Uint8Array): void {
    if (this.#entries.has(key)) return;
    const isTooLarge = sealedBytes(key, bytes) > this.#settings().bytesMax;
    this.#writes.offer(key, bytes, isTooLarge || !this.#outage.mayTry);
  }

  /** To be called now and then. */
  sweep(): void {
    for (const [key, entry] of this.#entries) {
      if (!this.#isExpired(entry)) break;
      this.#remove(key);
    }
    this.#makeRoom(0);
  }

  report(): FarTierReport {
    return {
      ...this.#outage.report(),
      entries: this.#entries.size,
      bytes: this.#bytes,
      bytesMax: this.#settings().bytesMax,
      ...this.#writes.counts(),
      damaged: this.#damaged,
      failures: this.#failures,
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#writes.close();
    await this.#writes.rest();
    for (const key of this.#entries.keys()) this.#remove(key);
    await Promise.all(this.#removals);
    const folder = await this.#folder?.catch(() => undefined);
    if (folder !== undefined) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }

  async #write(key: string, bytes: Uint8Array): Promise<void> {
    try {
      this.#folder ??= ownFolder(this.#settings().folder);
      const file = join(await this.#folder, String(++this.#lastFile));
      const content = sealed(key, bytes);
      this.#makeRoom(content.length);
      try {
        await writeFile(file, content, { flag: 'wx', mode: 0o600 });
      } catch (thrown) {
        await rm(file, { force: true }).catch(() => undefined);
        throw thrown;
      }
      this.#outage.worked();
      this.#entries.set(key, { file, size: content.length, putMs: this.#clock.now() });
      this.#bytes += content.length;
      if (this.#isClosed) this.#remove(key);
    } catch (thrown) {
      this.#folder = undefined;
      this.#outage.failed(reasonOf(thrown));
      throw thrown;
    }
  }

  #isExpired({ putMs }: Entry): boolean {
    return this.#clock.now() - putMs >= this.#settings().keepMs;
  }

  /** For so many bytes more. */
  #makeRoom(bytes: number): void {
    const { bytesMax } = this.#settings();
    for (const key of this.#entries.keys()) {
      if (this.#bytes + bytes <= bytesMax) return;
      this.#remove(key);
    }
  }

  #remove(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.size;
    const removal = rm(entry.file, { force: true })
      .catch((thrown: unknown) => this.#outage.failed(reasonOf(thrown)))
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
  }
}

/** A folder of this process's own; those of processes that are no more are removed. */
async function ownFolder(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true, mode: 0o700 });
  for (const entry of await readdir(parent)) {
    const pid = Number(OWN_FOLDER.exec(entry)?.[1] ?? NaN);
    if (Number.isNaN(pid) || isRunning(pid)) continue;
    await rm(join(parent, entry), { recursive: true, force: true });
  }
  const folder = join(parent, `sightline-cache-${process.pid}-${randomBytes(4).toString('hex')}`);
  await mkdir(folder, { mode: 0o700 });
  return folder;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    // Of another user.
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function reasonOf(thrown: unknown): string {
  return (thrown as Error).message;
}
