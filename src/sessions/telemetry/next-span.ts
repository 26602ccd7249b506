import { batchEnd, leapTo } from '../../flow/batch-size.ts';
import type { RangeLoss, Span } from '../../stream/range-reader.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';
import { lossMessage, topicMessage } from './topic-messages.ts';

/** What the topic can send in this round. The client is told first of messages that it will not get. */
export function nextSpan(subscribed: SubscribedTopic, writer: SocketWriter): Span | undefined {
  const { reader, sendUntil } = subscribed;
  let span = reader.peek();
  const losses = reader.takeLosses();
  if (losses.length > 0) {
    tellLosses(subscribed, losses, writer);
    span = reader.peek();
  }
  if (span === undefined || span.to <= sendUntil) return span;
  return span.from < sendUntil ? { from: span.from, to: sendUntil } : undefined;
}

/** Where a batch of at most so many bytes ends that begins with the span. */
export function batchEndOf({ topic }: SubscribedTopic, { from, to }: Span, bytesMax: number): number {
  return batchEnd(from, to, bytesMax, (position) => topic.bytesBefore(position));
}

function tellLosses(subscribed: SubscribedTopic, losses: readonly RangeLoss[], writer: SocketWriter): void {
  const { reader, topic, subscription } = subscribed;
  for (const loss of losses) writer.control(lossMessage(subscribed, loss));
  if (!losses.some(({ cause }) => cause === 'overflow')) return;
  // Overtaken by the history. A reliable reader begins anew at the latest message, and is told; the others leap ahead, to
  // where all that are late meet: a chase along the edge of the history would cost a batch of its own for each of them.
  const { head, oldest } = topic.stream;
  const isReliable = subscription.contract === 'reliable';
  reader.skipTo(isReliable ? head - 1 : leapTo(oldest, head), 'overtaken');
  for (const loss of reader.takeLosses()) writer.control(lossMessage(subscribed, loss));
  if (isReliable) writer.control(topicMessage(subscribed, head - 1, false));
}
