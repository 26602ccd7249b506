import type { Sample } from '../../base/sample.ts';
import type { GapCause, WireFrame } from '../../protocol/cameras.ts';
import { follows, type RawFragment } from '../../base/camera-frame.ts';
import { newestKey } from '../../stream/newest-key.ts';
import type { LossCause, Reader, ReaderCounts } from '../../stream/reader.ts';
import type { Stream } from '../../stream/stream.ts';

/** What is left out before the next one: `from` is the first of it, `to` the one that comes. */
export interface Gap {
  readonly from: WireFrame;
  readonly to: WireFrame;
  readonly count: number;
  readonly cause: GapCause;
}

export interface Taken<T> {
  readonly sample: Sample<T>;
  readonly gap: Gap | undefined;
}

export interface CursorOptions {
  /** What waits for longer is left out, ms. */
  readonly budgetMs: number;
  readonly openedMs: number;
  readonly onReady: () => void;
  /** The stream is no more. */
  readonly onEnding: () => void;
}

/** What a reader has left out since it last gave something. */
export class Loss {
  #count = 0;
  #cause: GapCause | undefined;

  note(count: number, cause: LossCause): void {
    this.#count += count;
    // What cannot be decoded for want of a key frame is left out because of what was left out before it.
    this.#cause ??= cause === 'overflow' ? 'overflow' : cause === 'no_key' ? 'source' : 'behind';
  }

  /** Forgets it. */
  take(): { readonly count: number; readonly cause: GapCause } | undefined {
    const taken = this.#cause && { count: this.#count, cause: this.#cause };
    this.#count = 0;
    this.#cause = undefined;
    return taken;
  }
}

/**
 * A view's place in a raw channel. It begins with a key frame, and whatever is left out, it goes on with one: no fragment is given that cannot be decoded.
 * What has waited for longer than the budget is left out, up to the newest key frame.
 *
 * At every moment: published = delivered + dropped (`behind`, `no_key`, `overflow`, `closed`) + queued.
 */
export class RawCursor {
  readonly #stream: Stream<RawFragment>;
  readonly #reader: Reader<RawFragment>;
  readonly #budgetMs: number;
  readonly #loss = new Loss();
  /** Before that nothing has waited: the view was opened then, or has skipped. */
  #sinceMs: number;
  #last: (WireFrame & { readonly order: number; readonly position: number }) | undefined;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(stream: Stream<RawFragment>, { budgetMs, openedMs, onReady, onEnding }: CursorOptions) {
    this.#stream = stream;
    this.#budgetMs = budgetMs;
    this.#sinceMs = openedMs;
    this.#reader = stream.subscribe({
      name: 'camera view',
      contract: { kind: 'all' },
      from: newestKey(stream) ?? 'live',
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

  take(nowMs: number): Taken<RawFragment> | undefined {
    this.catchUp(nowMs);
    for (;;) {
      const sample = this.#reader.peek();
      if (sample === undefined) return undefined;
      const { frame, isKey, order } = sample.data;
      if (!isKey && !follows(this.#last, sample)) {
        this.#reader.drop('no_key', 1);
        continue;
      }
      this.#reader.next();
      const gap = this.#gapBefore(sample.data);
      this.#last = { epoch: frame.epoch, seq: frame.seq, order, position: sample.position };
      return { sample, gap };
    }
  }

  /** Leaves out what has waited for too long. */
  catchUp(nowMs: number): void {
    const oldest = this.#reader.peek();
    if (oldest === undefined || nowMs - Math.max(oldest.publishedTimeMs, this.#sinceMs) <= this.#budgetMs) return;
    const key = newestKey(this.#stream, oldest.position + 1);
    this.#reader.drop('behind', key === undefined ? Infinity : key - oldest.position);
    this.#sinceMs = nowMs;
  }

  /** What was given was of no use: it goes on with a key frame. */
  needKey(): void {
    this.#last = undefined;
  }

  close(): void {
    this.#reader.close();
  }

  #gapBefore({ frame: { epoch, seq }, order }: RawFragment): Gap | undefined {
    const loss = this.#loss.take();
    const last = this.#last;
    if (last === undefined) return undefined;
    const from = { epoch: last.epoch, seq: last.seq + 1 };
    // The order counts also what has never come as far as this stream.
    const count = last.epoch === epoch ? order - last.order - 1 : (loss?.count ?? 0);
    if (count <= 0) return undefined;
    return { from, to: { epoch, seq }, count, cause: loss?.cause ?? 'source' };
  }
}
