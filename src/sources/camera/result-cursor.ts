import type { WireFrame } from '../../protocol/cameras.ts';
import type { NamedOutcome } from '../../base/camera-frame.ts';
import type { Reader, ReaderCounts } from '../../stream/reader.ts';
import type { Stream } from '../../stream/stream.ts';
import { Loss, type CursorOptions, type Taken } from './raw-cursor.ts';

/** A view's place among the outcomes of a camera. It begins with the newest one; what has waited for longer than the budget is left out, but for the newest. */
export class ResultCursor {
  readonly #reader: Reader<NamedOutcome>;
  readonly #budgetMs: number;
  readonly #openedMs: number;
  readonly #loss = new Loss();
  #last: WireFrame | undefined;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(stream: Stream<NamedOutcome>, { budgetMs, openedMs, onReady, onEnding }: CursorOptions) {
    this.#budgetMs = budgetMs;
    this.#openedMs = openedMs;
    this.#reader = stream.subscribe({
      name: 'camera view',
      contract: { kind: 'all' },
      from: Math.max(stream.oldest, stream.head - 1),
      onReady,
      onEnding,
      onLost: (seqs, cause) => this.#loss.note(seqs.length, cause),
    });
  }

  get isReady(): boolean {
    return this.#reader.ready;
  }

  counts(): ReaderCounts {
    return this.#reader.counts();
  }

  take(nowMs: number): Taken<NamedOutcome> | undefined {
    this.catchUp(nowMs);
    const sample = this.#reader.next();
    if (sample === undefined) return undefined;
    const { epoch, seq } = sample.data.frame;
    const loss = this.#loss.take();
    const gap = loss && this.#last && { from: after(this.#last), to: { epoch, seq }, ...loss };
    this.#last = { epoch, seq };
    return { sample, gap };
  }

  /** Leaves out what has waited for too long. */
  catchUp(nowMs: number): void {
    while (this.#reader.queued > 1) {
      const oldest = this.#reader.peek();
      if (oldest === undefined) return;
      if (nowMs - Math.max(oldest.publishedTimeMs, this.#openedMs) <= this.#budgetMs) return;
      this.#reader.drop('behind', 1);
    }
  }

  close(): void {
    this.#reader.close();
  }
}

function after({ epoch, seq }: WireFrame): WireFrame {
  return { epoch, seq: seq + 1 };
}
