import { NO_DROPS, type DropCause } from './tier.ts';

interface Waiting {
  readonly key: string;
  readonly bytes: Uint8Array;
}

/** Fragments that wait for a tier, which writes a few at once. What is beyond a number of bytes is dropped, the newest first: nobody waits for it. */
export class WriteQueue {
  readonly #write: (key: string, bytes: Uint8Array) => Promise<void>;
  readonly #bytesMax: number;
  readonly #atOnce: number;
  readonly #waiting: Waiting[] = [];
  /** Of those that wait or are being written. */
  readonly #keys = new Set<string>();
  #bytes = 0;
  readonly #running = new Set<Promise<void>>();
  #offered = 0;
  #kept = 0;
  #isClosed = false;
  readonly #dropped: Record<DropCause, number> = { ...NO_DROPS };

  /** `write` throws where it could not be written. */
  constructor(parts: {
    readonly write: (key: string, bytes: Uint8Array) => Promise<void>;
    readonly bytesMax: number;
    readonly atOnce: number;
  }) {
    this.#write = parts.write;
    this.#bytesMax = parts.bytesMax;
    this.#atOnce = parts.atOnce;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** `isOff`: the tier takes nothing now. */
  offer(key: string, bytes: Uint8Array, isOff: boolean): void {
    // What a key stands for never changes.
    if (this.#keys.has(key)) return;
    this.#offered++;
    if (isOff || this.#isClosed) this.#dropped.off++;
    else if (this.#bytes + bytes.length > this.#bytesMax) this.#dropped.queue++;
    else {
      this.#keys.add(key);
      this.#bytes += bytes.length;
      this.#waiting.push({ key, bytes });
      if (this.#running.size < this.#atOnce) this.#begin();
    }
  }

  counts() {
    return { offered: this.#offered, kept: this.#kept, dropped: this.#dropped, waiting: this.#keys.size };
  }

  /** What waits is given up. */
  close(): void {
    this.#isClosed = true;
    for (const { key, bytes } of this.#waiting.splice(0)) this.#done(key, bytes, 'off');
  }

  /** Resolves when nothing is being written. */
  async rest(): Promise<void> {
    await Promise.all(this.#running);
  }

  #begin(): void {
    const run = this.#run().finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #run(): Promise<void> {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      const { key, bytes } = next;
      try {
        await this.#write(key, bytes);
        this.#done(key, bytes);
      } catch {
        this.#done(key, bytes, 'failed');
      }
    }
  }

  #done(key: string, bytes: Uint8Array, dropped?: DropCause): void {
    this.#keys.delete(key);
    this.#bytes -= bytes.length;
    if (dropped) this.#dropped[dropped]++;
    else this.#kept++;
  }
}
