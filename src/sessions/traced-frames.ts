import type { FrameTrace } from '../observe/traces/frame-trace.ts';

/** The traces of frames of a session that are not answered yet, by their numbers, which rise. */

/** Of more the oldest are forgotten; a session has fewer frames on the way. */
const WAITING_MAX = 1_024;

export class TracedFrames {
  readonly #waiting = new Map<number, FrameTrace>();

  get size(): number {
    return this.#waiting.size;
  }

  add(seq: number, trace: FrameTrace): void {
    this.#waiting.set(seq, trace);
    if (this.#waiting.size > WAITING_MAX) this.#waiting.delete(this.#waiting.keys().next().value!);
  }

  get(seq: number): FrameTrace | undefined {
    return this.#waiting.get(seq);
  }

  /** The frame is done, and so are all before it. */
  forgetUpTo(seq: number): void {
    for (const one of this.#waiting.keys()) {
      if (one > seq) return;
      this.#waiting.delete(one);
    }
  }

  clear(): void {
    this.#waiting.clear();
  }
}
