import { Priority } from '../../base/sample.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';

/**
 * Drops waiting messages until so many bytes are gone: the lowest class first, and within a class the topic with the most bytes.
 * Reliable readers keep what the history holds.
 */
export function shed(waiting: readonly SubscribedTopic[], excessBytes: number): void {
  const largestFirst = waiting
    .filter(({ subscription }) => subscription.contract !== 'reliable')
    .map((subscribed) => ({ subscribed, bytes: subscribed.queuedBytes }))
    .toSorted((a, b) => b.bytes - a.bytes);
  let left = excessBytes;
  for (const lowest of [Priority.low, Priority.normal, Priority.high]) {
    for (const { subscribed } of largestFirst) {
      if (left <= 0) return;
      subscribed.reader.drop('slow_reader', ({ priority, data }) => {
        if (priority !== lowest || left <= 0) return false;
        left -= data.bytes;
        return true;
      });
    }
  }
}
