import { SightlineError } from '../base/errors.ts';

export interface PoolLimits {
  /** Buffers of one shape, in use and free together. */
  readonly buffersPerShape: number;
  /** Shapes that are kept; the least recently used idle one makes room for a new one. */
  readonly shapesMax: number;
  /** Bytes of free buffers that are kept; those of the least recently used shape go first. Default: without limit. */
  readonly freeBytesMax?: number;
}

export interface PoolCounters {
  /** Buffers that were handed out. */
  readonly acquired: number;
  /** Of these, buffers that were used before. */
  readonly reused: number;
  /** Times that the pool was exhausted. */
  readonly exhausted: number;
  /** Shapes that made room for others. */
  readonly shapesEvicted: number;
  /** Free buffers that were given up because all together were too large. */
  readonly buffersDropped: number;
}

interface Shelf {
  readonly bytes: number;
  readonly free: Uint8Array[];
  inUse: number;
}

const DEFAULT_LIMITS: PoolLimits = { buffersPerShape: 10, shapesMax: 8 };

/**
 * Picture buffers kept by shape, so that a stream of frames of one size allocates nothing. A buffer belongs to the code that
 * acquired it until it is released; it still has its last content. An exhausted pool hands out nothing, never a buffer
 * in use.
 */
export class BufferPool {
  readonly #limits: PoolLimits;
  /** In order of use, the least recent first. */
  readonly #shelves = new Map<string, Shelf>();
  readonly #owners = new Map<Uint8Array, Shelf>();
  #acquired = 0;
  #reused = 0;
  #exhausted = 0;
  #shapesEvicted = 0;
  #freeBytes = 0;
  #buffersDropped = 0;

  constructor(limits: PoolLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  /** width × height × channels bytes with a memory of their own; undefined when the limits are reached. */
  acquire(width: number, height: number, channels: number): Uint8Array | undefined {
    const shelf = this.#shelf(width, height, channels);
    if (!shelf || shelf.inUse >= this.#limits.buffersPerShape) {
      this.#exhausted += 1;
      return undefined;
    }
    const used = shelf.free.pop();
    if (used) this.#freeBytes -= used.length;
    // A Buffer, because native code wants one; `Slow` keeps it off Node's shared slab.
    const buffer = used ?? Buffer.allocUnsafeSlow(shelf.bytes);
    shelf.inUse += 1;
    this.#owners.set(buffer, shelf);
    this.#acquired += 1;
    if (used) this.#reused += 1;
    return buffer;
  }

  /** Gives a buffer back. Errors: INTERNAL when it is not out (released twice, or never acquired here). */
  release(buffer: Uint8Array): void {
    const shelf = this.#owners.get(buffer);
    if (!shelf)
      throw new SightlineError('INTERNAL', `a buffer of ${buffer.length} bytes was released that is not in use`);
    this.#owners.delete(buffer);
    shelf.inUse -= 1;
    shelf.free.push(buffer);
    this.#freeBytes += buffer.length;
    this.#shrink();
  }

  #shrink(): void {
    const { freeBytesMax = Infinity } = this.#limits;
    for (const { free } of this.#shelves.values()) {
      while (this.#freeBytes > freeBytesMax && free.length > 0) {
        this.#freeBytes -= free.pop()!.length;
        this.#buffersDropped += 1;
      }
    }
  }

  counters(): PoolCounters {
    return {
      acquired: this.#acquired,
      reused: this.#reused,
      exhausted: this.#exhausted,
      shapesEvicted: this.#shapesEvicted,
      buffersDropped: this.#buffersDropped,
    };
  }

  #shelf(width: number, height: number, channels: number): Shelf | undefined {
    const key = `${width}×${height}×${channels}`;
    let shelf = this.#shelves.get(key);
    if (shelf) this.#shelves.delete(key);
    else {
      if (this.#shelves.size >= this.#limits.shapesMax && !this.#evict()) return undefined;
      shelf = { bytes: width * height * channels, free: [], inUse: 0 };
    }
    this.#shelves.set(key, shelf);
    return shelf;
  }

  /** Forgets the least recently used shape that has nothing in use; false when there is none. */
  #evict(): boolean {
    for (const [key, shelf] of this.#shelves) {
      if (shelf.inUse > 0) continue;
      this.#shelves.delete(key);
      this.#freeBytes -= shelf.bytes * shelf.free.length;
      this.#shapesEvicted += 1;
      return true;
    }
    return false;
  }
}
