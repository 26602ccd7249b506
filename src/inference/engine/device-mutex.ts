/**
 * Lets one thread at a time use a device: ONNX Runtime's WebGPU sessions share one context in a process, which is not made for two threads
 * at once (two workers that ran at the same time ended the process with a segmentation fault: onnxruntime-node 1.30, NVIDIA H200). A
 * mutex in shared memory; waiting for it blocks the thread, as a run does.
 */
export class DeviceMutex {
  static readonly BYTES = Int32Array.BYTES_PER_ELEMENT;
  /** Its holder; 0: none. */
  readonly #holder: Int32Array<SharedArrayBuffer>;
  readonly #me: number;

  /** `me`: above 0, another one for each thread. */
  constructor(memory: SharedArrayBuffer, me: number) {
    this.#holder = new Int32Array(memory);
    this.#me = me;
  }

  /** Waits until no other thread holds it. The holder must not call it. */
  lock(): void {
    for (;;) {
      const holder = Atomics.compareExchange(this.#holder, 0, 0, this.#me);
      if (holder === 0) return;
      Atomics.wait(this.#holder, 0, holder);
    }
  }

  /** Also for the owner of a thread that ended while it held it; does nothing for a thread that does not hold it. */
  unlock(): void {
    if (Atomics.compareExchange(this.#holder, 0, this.#me, 0) === this.#me) Atomics.notify(this.#holder, 0, 1);
  }

  /** Runs something that blocks, or seems to, while this thread holds it. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    this.lock();
    try {
      return await work();
    } finally {
      this.unlock();
    }
  }
}
