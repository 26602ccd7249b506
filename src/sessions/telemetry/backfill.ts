import type { RangeEncoder } from './encoder.ts';
import { batchEndOf, nextSpan } from './next-span.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';

export interface BackfillHost {
  readonly encoder: RangeEncoder;
  readonly settings: { readonly batchBytesMax: number };
}

/** Messages that the client of one connection missed long ago, sent batch by batch while the line is idle. */
export class Backfill {
  readonly #host: BackfillHost;
  readonly #writer: SocketWriter;
  #missed: SubscribedTopic[] = [];

  constructor(host: BackfillHost, writer: SocketWriter) {
    this.#host = host;
    this.#writer = writer;
  }

  /** Topics that have missed messages. */
  get length(): number {
    return this.#missed.length;
  }

  add(subscribed: SubscribedTopic): void {
    this.#missed.push(subscribed);
  }

  remove(subscribed: SubscribedTopic): void {
    this.#missed = this.#missed.filter((other) => other !== subscribed);
  }

  /** Sends one batch of the topic whose turn it is, and returns that topic if it was the last one of it. */
  send(nowMs: number): SubscribedTopic | undefined {
    const subscribed = this.#missed.shift()!;
    const { reader, topic, topicId, subscription } = subscribed;
    const { encoder, settings } = this.#host;
    const span = nextSpan(subscribed, this.#writer);
    const taken = span && reader.takeRange(batchEndOf(subscribed, span, settings.batchBytesMax) - span.from);
    if (taken !== undefined) {
      this.#writer.send(encoder.encode([{ topic, topicId, ...taken }], subscription.format), nowMs);
    }
    if (reader.done) return subscribed;
    this.#missed.push(subscribed);
    return undefined;
  }
}
