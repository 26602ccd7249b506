import type { TelemetryContract } from '../../protocol/telemetry.ts';
import type { RangeReader, Span } from '../../stream/range-reader.ts';
import type { TelemetryMessage, Topic } from '../../stream/topics.ts';
import type { Writing } from './encoder.ts';
import type { Outbox } from './outbox.ts';

/** What a feed belongs to. */
export interface Subscription {
  /** The client's. */
  readonly id: number;
  readonly filter: string;
  readonly contract: TelemetryContract;
  readonly writing: Writing;
}

/** One topic of one subscription: a cursor in the topic, and the number that this connection knows it by. */
export class Feed {
  readonly subscription: Subscription;
  readonly outbox: Outbox;
  readonly topic: Topic;
  readonly topicId: number;
  readonly reader: RangeReader<TelemetryMessage>;
  /** What was missed, sent once the line is idle. */
  readonly isBackfill: boolean;
  /**
   * Position up to which it sends in this round: the topic's head when the round began. A round may take several turns of the
   * event loop, in which more is published; with a common end all readers get the same batch.
   */
  sendUntil: number;
  /** It stands in its outbox's list of those that have something to send. */
  isActive = false;
  /** It gets something else than others that read the topic, even while they all keep up. */
  readonly isLoner: boolean;
  /** Bytes that it may still send in its turn. */
  deficitBytes = 0;

  constructor(
    parts: Pick<Feed, 'subscription' | 'outbox' | 'topic' | 'topicId' | 'reader' | 'isBackfill' | 'isLoner'>,
  ) {
    this.subscription = parts.subscription;
    this.outbox = parts.outbox;
    this.topic = parts.topic;
    this.topicId = parts.topicId;
    this.reader = parts.reader;
    this.isBackfill = parts.isBackfill;
    this.isLoner = parts.isLoner;
    this.sendUntil = parts.isBackfill ? Infinity : parts.topic.stream.head;
  }

  get queuedBytes(): number {
    return this.reader.spans().reduce((sum, span) => sum + this.bytesOf(span), 0);
  }

  bytesOf({ from, to }: Span): number {
    return this.topic.bytesBefore(to) - this.topic.bytesBefore(from);
  }
}
