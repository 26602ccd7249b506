import type { TelemetryLossCause, TelemetryServerMessage } from '../../protocol/telemetry.ts';
import type { RangeLoss } from '../../stream/range-reader.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';

const CAUSES: Readonly<Record<string, TelemetryLossCause>> = {
  overflow: 'overflow',
  overtaken: 'overflow',
  expired: 'expired',
  slow_reader: 'slow_reader',
};

/** `seq`: of the last message before the one that comes next. */
export function topicMessage(
  { subscription, topic, topicId }: Pick<SubscribedTopic, 'subscription' | 'topic' | 'topicId'>,
  seq: number,
  recovered: boolean,
): TelemetryServerMessage {
  return {
    type: 'topic',
    id: subscription.id,
    topic: topic.name,
    topic_id: topicId,
    epoch: topic.epoch,
    seq,
    recovered,
  };
}

/** Positions count from 0, sequence numbers from 1. */
export function lossMessage({ subscription, topicId }: SubscribedTopic, loss: RangeLoss): TelemetryServerMessage {
  return {
    type: 'loss',
    id: subscription.id,
    topic_id: topicId,
    from: loss.from + 1,
    to: loss.to,
    count: loss.count,
    cause: CAUSES[loss.cause] ?? 'overflow',
  };
}
