import type { RedisClientType, RedisClientOptions } from '@redis/client';
import type { Clock } from '../../base/clock.ts';
import { opened, sealed } from './envelope.ts';
import { Outage } from './outage.ts';
import type { FarTier, FarTierReport } from './tier.ts';
import { within } from './within.ts';
import { WriteQueue } from './writes.ts';

export interface RedisTierSettings {
  /** `redis://…`, `rediss://…`. May have a password. */
  readonly url: string;
  /** In front of all keys: of this process alone, since nobody else knows what they stand for. */
  readonly prefix: string;
  /** A fragment is kept so long. */
  readonly keepMs: number;
  /** Of all that is there of this process. */
  readonly bytesMax: number;
  readonly connections: number;
  /** Of each question. */
  readonly timeoutMs: number;
}

type Client = Pick<RedisClientType, 'connect' | 'destroy' | 'isReady'> & {
  on(event: 'error' | 'ready', listener: (error: Error) => void): unknown;
  sendCommand(args: readonly (string | Buffer)[], options: object): Promise<unknown>;
};

const CONNECT_TIMEOUT_MS = 2_000;
const RECONNECT_MS = { first: 100, max: 5_000 };
const WAITING_BYTES_MAX = 32 * 1024 * 1024;
const WRITES_AT_ONCE_EACH = 4;
/** Commands of one connection that have no answer yet. */
const COMMANDS_MAX = 1_000;

/** Fragments in Redis. Whatever is wrong with it, the cache goes on without it, and says so. */
export class RedisTier implements FarTier {
  readonly name = 'redis';
  readonly #clock: Clock;
  readonly #settings: RedisTierSettings;
  readonly #reads: Outage;
  readonly #puts: Outage;
  readonly #writes: WriteQueue;
  /** What this process has put there, and how large it is: the oldest first. */
  readonly #entries = new Map<string, { readonly size: number; readonly putMs: number }>();
  #bytes = 0;
  #clients: readonly Client[] = [];
  #opening: Promise<void> | undefined;
  #options: object = {};
  #next = 0;
  #damaged = 0;
  #failures = 0;
  #isClosed = false;

  constructor(parts: {
    readonly clock: Clock;
    readonly settings: RedisTierSettings;
    readonly onChanged: (reason: string | undefined) => void;
  }) {
    this.#clock = parts.clock;
    this.#settings = parts.settings;
    const changed = (): void => {
      const { reason } = this.report();
      parts.onChanged(reason);
    };
    this.#reads = new Outage(parts.clock, changed);
    this.#puts = new Outage(parts.clock, changed);
    this.#writes = new WriteQueue({
      write: (key, bytes) => this.#write(key, bytes),
      bytesMax: WAITING_BYTES_MAX,
      atOnce: WRITES_AT_ONCE_EACH * parts.settings.connections,
    });
  }

  /** Connects, and goes on trying by itself. */
  open(): Promise<void> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    if (!this.#entries.has(key) || !this.#reads.mayTry) return undefined;
    let answer: unknown;
    try {
      answer = await this.#send(['GET', this.#settings.prefix + key]);
    } catch (thrown) {
      this.#failures++;
      this.#reads.failed(reasonOf(thrown));
      return undefined;
    }
    this.#reads.worked();
    // It has made room for others.
    if (answer === null) this.#forget(key);
    if (!Buffer.isBuffer(answer)) return undefined;
    const fragment = opened(key, answer);
    if (fragment) return fragment;
    this.#damaged++;
    this.#forget(key);
    return undefined;
  }

  put(key: string, bytes: Uint8Array): void {
    if (this.#entries.has(key)) return;
    this.#writes.offer(key, bytes, !this.#puts.mayTry);
  }

  /** To be called now and then. */
  sweep(): void {
    const sinceMs = this.#clock.now() - this.#settings.keepMs;
    for (const [key, { putMs }] of this.#entries) {
      if (putMs > sinceMs) break;
      this.#forget(key);
    }
  }

  report(): FarTierReport {
    const [reads, puts] = [this.#reads.report(), this.#puts.report()];
    return {
      ...(reads.state === 'failing' ? reads : puts),
      entries: this.#entries.size,
      bytes: this.#bytes,
      bytesMax: this.#settings.bytesMax,
      ...this.#writes.counts(),
      damaged: this.#damaged,
      failures: this.#failures,
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#writes.close();
    for (const client of this.#clients) client.destroy();
    this.#clients = [];
    await this.#writes.rest();
  }

  async #open(): Promise<void> {
    // Most servers have none of it.
    const { createClient, RESP_TYPES } = await import('@redis/client');
    const { url, connections } = this.#settings;
    const options: RedisClientOptions = {
      url,
      disableOfflineQueue: true,
      commandsQueueMaxLength: COMMANDS_MAX,
      socket: {
        connectTimeout: CONNECT_TIMEOUT_MS,
        reconnectStrategy: (retries) => Math.min(RECONNECT_MS.max, RECONNECT_MS.first * 2 ** Math.min(retries, 10)),
      },
    };
    this.#options = { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } };
    if (this.#isClosed) return;
    this.#clients = Array.from({ length: connections }, () => createClient(options) as unknown as Client);
    for (const client of this.#clients) {
      client.on('error', (error) => {
        if (this.#isClosed) return;
        this.#reads.failed(reasonOf(error));
        this.#puts.failed(reasonOf(error));
      });
      client.on('ready', () => {
        this.#reads.worked();
        this.#puts.worked();
      });
      // It goes on trying by itself until `close`.
      client.connect().catch(() => undefined);
    }
  }

  async #write(key: string, bytes: Uint8Array): Promise<void> {
    const { prefix, keepMs, bytesMax } = this.#settings;
    const content = sealed(key, bytes);
    try {
      for (const oldest of this.#entries.keys()) {
        if (this.#bytes + content.length <= bytesMax) break;
        this.#forget(oldest);
        await this.#send(['UNLINK', prefix + oldest]);
      }
      if (content.length > bytesMax) throw new Error('it has more bytes than all may have');
      await this.#send(['SET', prefix + key, content, 'PX', String(Math.ceil(keepMs))]);
    } catch (thrown) {
      this.#failures++;
      this.#puts.failed(reasonOf(thrown));
      throw thrown;
    }
    this.#puts.worked();
    this.#entries.set(key, { size: content.length, putMs: this.#clock.now() });
    this.#bytes += content.length;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.size;
  }

  async #send(args: readonly (string | Buffer)[]): Promise<unknown> {
    const { timeoutMs } = this.#settings;
    const client = this.#pick();
    return await within(timeoutMs, () => client.sendCommand(args, this.#options));
  }

  /** One after the other of those that are connected. */
  #pick(): Client {
    for (let tried = 0; tried < this.#clients.length; tried++) {
      this.#next = (this.#next + 1) % this.#clients.length;
      const client = this.#clients[this.#next]!;
      if (client.isReady) return client;
    }
    throw new Error('it is not connected');
  }
}

/** Without what an address may hold. */
function reasonOf(thrown: unknown): string {
  const { message, code } = thrown as NodeJS.ErrnoException;
  const text = message || code || 'it failed';
  return text.replaceAll(/\/\/[^@/\s]*@/g, '//').slice(0, 200);
}
