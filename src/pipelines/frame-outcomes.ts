import type { FrameOutcome } from '../base/frame.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';

/** Awaits the outcomes of frames by their numbers: for each pipeline of a source. */
export class FrameOutcomes implements Disposable {
  readonly #pipelines: readonly { readonly reader: Reader<FrameOutcome>; readonly waiting: Waiting }[];

  /** `onClosed`: one of the streams has ended; no more outcomes will come. */
  constructor(pipelines: readonly { readonly outcomes: Stream<FrameOutcome> }[], onClosed?: () => void) {
    this.#pipelines = pipelines.map(({ outcomes }) => {
      const waiting: Waiting = new Map();
      const reader: Reader<FrameOutcome> = outcomes.subscribe({
        name: 'program',
        contract: { kind: 'all' },
        onReady: () => settle(reader, waiting),
        onClosed: () => {
          giveUp(waiting);
          onClosed?.();
        },
      });
      return { reader, waiting };
    });
  }

  /** A promise for each pipeline, in their order. To be called before the frame is published. */
  of(seq: number): Promise<FrameOutcome>[] {
    return this.#pipelines.map(({ waiting }) => {
      const { promise, resolve } = Promise.withResolvers<FrameOutcome>();
      waiting.set(seq, resolve);
      return promise;
    });
  }

  /** Frames without an outcome are dropped. Idempotent. */
  [Symbol.dispose](): void {
    for (const { reader, waiting } of this.#pipelines) {
      reader.close();
      giveUp(waiting);
    }
  }
}

type Waiting = Map<number, (outcome: FrameOutcome) => void>;

function settle(reader: Reader<FrameOutcome>, waiting: Waiting): void {
  for (let sample = reader.next(); sample !== undefined; sample = reader.next()) {
    waiting.get(sample.seq)?.(sample.data);
    waiting.delete(sample.seq);
  }
}

function giveUp(waiting: Waiting): void {
  for (const resolve of waiting.values()) resolve({ kind: 'dropped', cause: 'disconnected' });
  waiting.clear();
}
