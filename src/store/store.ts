import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import type { Log } from '../log/log.ts';
import type { Change, KindRetention, StoredRecord } from './database.ts';
import type { StoreReply, StoreRequest, WorkerSettings } from './messages.ts';

/**
 * What outlives the server: small records by kind and key. Writing returns at once; a thread writes them, many at a time. Whoever
 * writes keeps what it needs in memory and reads at its start alone: so a full disk, a folder that cannot be written, or another
 * process that has the file, holds up nothing. What is to be written waits then, the newest of each record, and is tried again.
 *
 * The file and the thread come with the first record.
 */

export interface StoreSettings {
  /** undefined: nothing is kept. */
  readonly file: string | undefined;
  readonly bytesMax: number;
  readonly retention: Readonly<Record<string, KindRetention>>;
}

export interface StoreOptions {
  readonly settings: StoreSettings;
  readonly clock: Clock;
  readonly log: Log;
  /** Between two attempts while it cannot be written, ms. */
  readonly retryMs?: number;
  /** A damaged file was replaced by an empty one: whoever has records in it writes them again. */
  readonly onReplaced?: () => void;
}

/** Why changes were not written: too many waited; a value was too large; the server has ended. */
export type StoreLoss = 'queue_full' | 'too_large' | 'closed';

/** published = written + superseded + dropped + queued */
export interface StoreReport {
  /** `memory`: it cannot be written at present, or is not meant to be. */
  readonly state: 'idle' | 'file' | 'memory';
  readonly file: string | null;
  readonly fault: string | null;
  readonly published: number;
  readonly written: number;
  /** A newer one of the same record came first. */
  readonly superseded: number;
  readonly dropped: Readonly<Record<StoreLoss, number>>;
  readonly queued: number;
  readonly bytes: number;
  /** Old records that were removed. */
  readonly pruned: number;
}

/** Changes that wait to be written, and the characters of their values together. */
const CHANGES_MAX = 4_096;
const WAITING_CHARS_MAX = 8_388_608;
const BATCH_MAX = 256;
/** So long changes are gathered, ms. */
const GATHER_MS = 20;
const VALUE_CHARS_MAX = 65_536;
const RETRY_MS = 5_000;
const READ_MS_MAX = 10_000;
const CLOSE_MS_MAX = 2_000;
const WORKER_HEAP_MB_MAX = 64;

export class Store {
  readonly #options: StoreOptions;
  readonly #retryMs: number;
  /** By kind and key. */
  readonly #queue = new Map<string, Change>();
  /** Of the values in it. */
  #queuedChars = 0;
  /** With the thread. */
  #batch: readonly Change[] = [];
  #worker: Worker | undefined;
  readonly #answers = new Map<number, (reply: StoreReply) => void>();
  #lastId = 0;
  #timer: NodeJS.Timeout | undefined;
  #fault: string | undefined;
  /** There is, or was, a file. */
  #isUsed = false;
  #closing: Promise<void> | undefined;
  #published = 0;
  #written = 0;
  #superseded = 0;
  readonly #dropped: Record<StoreLoss, number> = { queue_full: 0, too_large: 0, closed: 0 };
  #bytes = 0;
  #pruned = 0;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#retryMs = options.retryMs ?? RETRY_MS;
  }

  report(): StoreReport {
    const file = this.#options.settings.file ?? null;
    return {
      state: file === null || this.#fault !== undefined ? 'memory' : this.#isUsed ? 'file' : 'idle',
      file,
      fault: this.#fault ?? null,
      published: this.#published,
      written: this.#written,
      superseded: this.#superseded,
      dropped: { ...this.#dropped },
      queued: this.#queue.size + this.#batch.length,
      bytes: this.#bytes,
      pruned: this.#pruned,
    };
  }

  /** The newest `limit` records of a kind, the oldest of them first. None where there is no file, or none that can be read: the log says so. */
  async read(kind: string, limit: number): Promise<StoredRecord[]> {
    const { file } = this.#options.settings;
    if (file === undefined || this.#closing || (!this.#isUsed && !existsSync(file))) return [];
    this.#isUsed = true;
    const reply = await this.#ask({ type: 'read', kind, limit }, READ_MS_MAX);
    this.#note(reply);
    return [...(reply.records ?? [])];
  }

  /** Keeps the record in place of an earlier one of its kind and key. `value` becomes JSON. */
  put(kind: string, key: string, value: unknown): void {
    const text = JSON.stringify(value);
    if (text.length > VALUE_CHARS_MAX) {
      this.#published++;
      return this.#drop('too_large', 1);
    }
    this.#add({ kind, key, timeMs: wallTimeMs(this.#options.clock), value: text });
  }

  delete(kind: string, key: string): void {
    this.#add({ kind, key, timeMs: 0, value: undefined });
  }

  /** Writes what waits, if that takes no more than two seconds, and ends the thread. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #add(change: Change): void {
    if (this.#options.settings.file === undefined) return;
    this.#published++;
    if (this.#closing) return this.#drop('closed', 1);
    this.#enqueue(change);
    let lost = 0;
    while (this.#queue.size + this.#batch.length > CHANGES_MAX || this.#queuedChars > WAITING_CHARS_MAX) {
      this.#take(this.#queue.keys().next().value!);
      lost++;
    }
    this.#drop('queue_full', lost);
    this.#schedule(GATHER_MS);
  }

  /** At the end, so that what belongs together is written together. */
  #enqueue(change: Change): void {
    const key = keyOf(change);
    if (this.#take(key)) this.#superseded++;
    this.#queue.set(key, change);
    this.#queuedChars += charsOf(change);
  }

  #take(key: string): boolean {
    const change = this.#queue.get(key);
    if (!change) return false;
    this.#queue.delete(key);
    this.#queuedChars -= charsOf(change);
    return true;
  }

  #drop(cause: StoreLoss, count: number): void {
    if (count === 0) return;
    this.#dropped[cause] += count;
    this.#options.log.write('store_lost', { cause, changes: count });
  }

  #schedule(delayMs: number): void {
    if (this.#timer || this.#batch.length > 0 || this.#queue.size === 0) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        void this.#flush();
      },
      this.#fault === undefined ? delayMs : this.#retryMs,
    );
    this.#timer.unref();
  }

  async #flush(): Promise<void> {
    if (this.#batch.length > 0 || this.#queue.size === 0) return;
    this.#isUsed = true;
    this.#batch = [...this.#queue.values()].slice(0, BATCH_MAX);
    for (const change of this.#batch) this.#take(keyOf(change));
    const reply = await this.#ask({ type: 'write', changes: this.#batch }, undefined);
    const batch = this.#batch;
    this.#batch = [];
    if (!reply.fault) this.#written += batch.length;
    else this.#putBack(batch);
    this.#note(reply);
    this.#schedule(0);
  }

  /** They were not written: newer ones of the same records go before them. */
  #putBack(batch: readonly Change[]): void {
    const newer = [...this.#queue.values()];
    this.#queue.clear();
    this.#queuedChars = 0;
    for (const change of [...batch, ...newer]) this.#enqueue(change);
  }

  /** What the thread says of its file, and the log of the changes in that. */
  #note({ fault, movedTo, bytes, pruned }: StoreReply): void {
    const { log, settings, onReplaced } = this.#options;
    const file = settings.file!;
    this.#bytes = bytes;
    this.#pruned = pruned;
    if (movedTo !== undefined) {
      log.write('store_replaced', { file, moved_to: movedTo });
      onReplaced?.();
    }
    const before = this.#fault;
    this.#fault = fault && `${FAULTS[fault.kind]}: ${fault.reason}`;
    if (this.#fault !== undefined && before === undefined) log.write('store_failed', { file, reason: this.#fault });
    if (this.#fault === undefined && before !== undefined) {
      log.write('store_recovered', { file, changes: this.#queue.size });
    }
  }

  /** Never rejects. Without a time it takes as long as it takes: the batch is with the thread. */
  #ask(request: AskedRequest, timeoutMs: number | undefined): Promise<StoreReply> {
    const { clock } = this.#options;
    const id = ++this.#lastId;
    const full = { ...request, id, nowMs: clock.now(), wallMs: wallTimeMs(clock) } as StoreRequest;
    const { promise, resolve } = Promise.withResolvers<StoreReply>();
    const timer = timeoutMs !== undefined && setTimeout(() => this.#fail(id, 'it takes too long'), timeoutMs);
    this.#answers.set(id, (reply) => {
      if (timer) clearTimeout(timer);
      resolve(reply);
    });
    const worker = (this.#worker ??= this.#startWorker());
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window
    worker.postMessage(full);
    return promise;
  }

  #fail(id: number, reason: string): void {
    this.#answers.get(id)?.({ id, fault: { kind: 'failed', reason }, bytes: this.#bytes, pruned: this.#pruned });
    this.#answers.delete(id);
  }

  #startWorker(): Worker {
    const { file: path, bytesMax, retention } = this.#options.settings;
    const workerData: WorkerSettings = { path: path!, bytesMax, retention };
    const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      name: 'store',
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB_MAX },
      // Releases of Node before 24.12 or so still tell everybody that its SQLite is experimental.
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    worker.on('message', (reply: StoreReply) => {
      this.#answers.get(reply.id)?.(reply);
      this.#answers.delete(reply.id);
    });
    let reason = 'its thread has ended';
    worker.on('error', ({ message }) => (reason = message));
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const id of this.#answers.keys()) this.#fail(id, reason);
    });
    // It keeps no process that has nothing else to do.
    worker.unref();
    return worker;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer);
    const deadline = new Promise((done) => setTimeout(done, CLOSE_MS_MAX).unref());
    if (this.#worker || this.#queue.size > 0) await Promise.race([this.#finish(), deadline]);
    clearTimeout(this.#timer);
    this.#drop('closed', this.#queue.size + this.#batch.length);
    this.#queue.clear();
    this.#batch = [];
    await this.#worker?.terminate();
  }

  async #finish(): Promise<void> {
    this.#worker ??= this.#startWorker();
    // It must not end before it has written.
    this.#worker.ref();
    do {
      // The batch that is with the thread is answered first.
      if (this.#batch.length > 0) await this.#ask({ type: 'read', kind: '', limit: 0 }, undefined);
      else await this.#flush();
      // Whatever is wrong with the file, there was one more attempt.
    } while (this.#queue.size + this.#batch.length > 0 && this.#fault === undefined);
    if (this.#worker) await this.#ask({ type: 'close' }, undefined);
  }
}

type AskedRequest =
  | { readonly type: 'write'; readonly changes: readonly Change[] }
  | { readonly type: 'read'; readonly kind: string; readonly limit: number }
  | { readonly type: 'close' };

const FAULTS = {
  locked: 'another process has it',
  full: 'there is no room',
  read_only: 'it cannot be written',
  newer: 'a newer version of Sightline has made it',
  failed: 'it cannot be used',
} as const;

function charsOf({ value }: Change): number {
  return value?.length ?? 0;
}

function keyOf({ kind, key }: { readonly kind: string; readonly key: string }): string {
  return `${kind} ${key}`;
}
