/**
 * Tells the owner of a thread whether the thread is inside a native library, which no thread survives when it is terminated there: ONNX
 * Runtime and the JPEG library end the whole process when they come back and find their thread gone. One cell of shared memory, on which
 * both sides agree: the thread enters no library once the owner has claimed it, and the owner claims it only outside of them.
 */
export class NativeGuard {
  static readonly BYTES = Int32Array.BYTES_PER_ELEMENT;
  /** Native calls under way, which may overlap; `CLAIMED`. */
  readonly #calls: Int32Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.#calls = new Int32Array(memory);
  }

  get memory(): SharedArrayBuffer {
    return this.#calls.buffer;
  }

  /** The thread's: before a native call. In a thread that is claimed it does not return. */
  enter(): void {
    for (;;) {
      const calls = Atomics.load(this.#calls, 0);
      if (calls === CLAIMED) Atomics.wait(this.#calls, 0, CLAIMED);
      else if (Atomics.compareExchange(this.#calls, 0, calls, calls + 1) === calls) return;
    }
  }

  /** The thread's: after it. */
  leave(): void {
    Atomics.sub(this.#calls, 0, 1);
  }

  /** The thread's: runs a native call, or something with some of them in it. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    this.enter();
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  /** The owner's: true when the thread is in no library, and will not enter one any more: it may be terminated. */
  claim(): boolean {
    const before = Atomics.compareExchange(this.#calls, 0, 0, CLAIMED);
    return before === 0 || before === CLAIMED;
  }
}

const CLAIMED = -1;
