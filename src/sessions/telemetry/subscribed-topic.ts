import type { Sample } from '../../base/sample.ts';
import type { TimeAccount } from '../../fences/turns.ts';
import type { TelemetryContract } from '../../protocol/telemetry.ts';
import type { RangeReader, Span } from '../../stream/range-reader.ts';
import type { TelemetryMessage, Topic } from '../../stream/topics.ts';
import type { WireFormat } from './wire-format.ts';

export interface Subscription {
  /** The client's. */
  readonly id: number;
  readonly filter: string;
  readonly contract: TelemetryContract;
  readonly format: WireFormat;
}

/** What sends the messages of a connection's topics: its outbox. */
export interface Sender {
  /** To whom sending is charged. */
  readonly time: TimeAccount;
  /** The topic has something to send, or may have. */
  activate(subscribed: SubscribedTopic): void;
  /** A critical message, to be sent ahead of what waits. */
  critical(subscribed: SubscribedTopic, sample: Sample<TelemetryMessage>): void;
  /** Sends what may go now, until a moment; asks for another flush where that came first. */
  flush(nowMs: number, untilMs: number): void;
  flushCriticals(nowMs: number): void;
}

/** One topic of one subscription: a cursor in the topic, and the number that the connection knows the topic by. */
export class SubscribedTopic {
  readonly subscription: Subscription;
  readonly sender: Sender;
  readonly topic: Topic;
  readonly topicId: number;
  readonly reader: RangeReader<TelemetryMessage>;
  /** These are messages that the client missed, sent once the line is idle. */
  readonly isBackfill: boolean;
  /** Its reader gets other messages than most readers of the topic, or by another number, even while all keep up. */
  readonly needsOwnBatches: boolean;
  /**
   * Position up to which messages are sent in this round: the topic's head when the round began. A round may take several turns of
   * the event loop, in which more is published; with a common end all readers get the same batch.
   */
  sendUntil: number;
  /** It has its place among the topics of the connection that have something to send. */
  isActive = false;
  /** Bytes that it may still send in its turn. */
  deficitBytes = 0;

  constructor(
    parts: Pick<
      SubscribedTopic,
      'subscription' | 'sender' | 'topic' | 'topicId' | 'reader' | 'isBackfill' | 'needsOwnBatches'
    >,
  ) {
    this.subscription = parts.subscription;
    this.sender = parts.sender;
    this.topic = parts.topic;
    this.topicId = parts.topicId;
    this.reader = parts.reader;
    this.isBackfill = parts.isBackfill;
    this.needsOwnBatches = parts.needsOwnBatches;
    this.sendUntil = parts.isBackfill ? Infinity : parts.topic.stream.head;
  }

  get queuedBytes(): number {
    return this.reader.spans().reduce((sum, span) => sum + this.bytesOf(span), 0);
  }

  bytesOf({ from, to }: Span): number {
    return this.topic.bytesBefore(to) - this.topic.bytesBefore(from);
  }
}
