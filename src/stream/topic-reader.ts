import { SightlineError } from '../base/errors.ts';
import { checkFilter, matches } from '../protocol/topic.ts';
import type { Payload } from '../protocol/payload.ts';
import { parseCheckedMsgpack } from '../protocol/wire-value.ts';
import type { Topics } from './topics.ts';

export interface ReadMessage {
  readonly topic: string;
  /** Counts the topic's messages from 1; begins anew with another epoch. */
  readonly seq: number;
  readonly epoch: number;
  /** The publisher's, Unix ms. */
  readonly timeMs: number;
  /** A copy: do with it what you like. Bytes come as a `Uint8Array`. */
  readonly data: unknown;
}

/** Messages of topics, one at a time, with `for await`; ends with `close()` or the server. */
export interface TopicReader extends AsyncIterable<ReadMessage>, Disposable {
  /** Messages that were dropped because more than `queueMax` waited. */
  readonly lost: number;
  /** Messages that wait. */
  readonly queued: number;
  /** Idempotent. */
  close(): void;
}

const QUEUE_MAX = 1_024;
const QUEUE_MAX_MAX = 1_000_000;

interface Waiting extends Omit<ReadMessage, 'data'> {
  readonly payload: Payload;
}

/** Throws FILTER_BAD, STREAM_OPTION_BAD. */
export function openTopicReader(topics: Topics, filter: string, options: { readonly queueMax?: number }): TopicReader {
  const { queueMax = QUEUE_MAX } = options;
  checkFilter(filter);
  if (!Number.isInteger(queueMax) || queueMax < 1 || queueMax > QUEUE_MAX_MAX) {
    throw new SightlineError(
      'STREAM_OPTION_BAD',
      `queueMax ${queueMax} is not a whole number from 1 to ${QUEUE_MAX_MAX}`,
    );
  }
  return new OpenTopicReader(topics, filter, queueMax);
}

class OpenTopicReader implements TopicReader {
  lost = 0;
  readonly #queueMax: number;
  #queue: Waiting[] = [];
  /** How much of the queue has been taken: shifting a long array each time would cost its length. */
  #taken = 0;
  /** Loops that have nothing to give at present. */
  #idle: (() => void)[] = [];
  #isClosed = false;
  readonly #unlisten: () => void;

  constructor(topics: Topics, filter: string, queueMax: number) {
    this.#queueMax = queueMax;
    this.#unlisten = topics.listen(
      (topic, { seq, data }) => {
        if (!matches(filter, topic.name)) return;
        this.#put({ topic: topic.name, seq, epoch: topic.epoch, timeMs: data.timeMs, payload: data.payload });
      },
      () => this.close(),
    );
  }

  get queued(): number {
    return this.#queue.length - this.#taken;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unlisten();
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ReadMessage, void, undefined> {
    try {
      for (;;) {
        const next = this.#next();
        if (next !== undefined) {
          const { payload, ...message } = next;
          yield { ...message, data: copied(payload) };
        } else if (this.#isClosed) {
          return;
        } else {
          await new Promise<void>((done) => this.#idle.push(done));
        }
      }
    } finally {
      this.close();
    }
  }

  #put(message: Waiting): void {
    if (this.queued >= this.#queueMax) {
      this.#next();
      this.lost++;
    }
    this.#queue.push(message);
    this.#wake();
  }

  #wake(): void {
    for (const done of this.#idle.splice(0)) done();
  }

  #next(): Waiting | undefined {
    const next = this.#queue[this.#taken];
    if (next === undefined) return undefined;
    this.#taken++;
    if (this.#taken >= this.#queueMax || this.#taken === this.#queue.length) {
      this.#queue = this.#queue.slice(this.#taken);
      this.#taken = 0;
    }
    return next;
  }
}

function copied(payload: Payload): unknown {
  return payload.raw === undefined ? parseCheckedMsgpack(payload.msgpack()) : new Uint8Array(payload.raw);
}
