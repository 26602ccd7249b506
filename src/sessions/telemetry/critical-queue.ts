import type { Sample } from '../../base/sample.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import { MESSAGE_BYTES } from '../../stream/topic-publisher.ts';
import type { TelemetryMessage } from '../../stream/topics.ts';
import type { RangeEncoder } from './encoder.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';

/** What critical messages may put into a socket that takes no more data. */
export const CRITICAL_BYTES = 64 * 1024;

export interface CriticalQueueHost {
  readonly encoder: RangeEncoder;
  readonly settings: { readonly socketBytesMax: number; readonly batchMessagesMax: number };
}

interface Critical {
  readonly subscribed: SubscribedTopic;
  readonly sample: Sample<TelemetryMessage>;
}

/**
 * Critical messages that wait for one socket; their readers hold them until they are sent or have expired. They may be in no history any
 * more: what they take is charged to the client that does not read them.
 */
export class CriticalQueue {
  readonly #host: CriticalQueueHost;
  readonly #writer: SocketWriter;
  readonly #memory: MemoryAccount;
  #waiting: Critical[] = [];

  constructor(host: CriticalQueueHost, writer: SocketWriter, memory: MemoryAccount) {
    this.#host = host;
    this.#writer = writer;
    this.#memory = memory;
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** Throws MEMORY_LIMIT_REACHED. */
  add(subscribed: SubscribedTopic, sample: Sample<TelemetryMessage>): void {
    this.#memory.charge('session', bytesOf(sample));
    this.#waiting.push({ subscribed, sample });
  }

  remove(subscribed: SubscribedTopic): void {
    this.#waiting = this.#waiting.filter((critical) => {
      const stays = critical.subscribed !== subscribed;
      if (!stays) this.#release(critical.sample);
      return stays;
    });
  }

  /** Nothing is sent any more. */
  close(): void {
    for (const { sample } of this.#waiting.splice(0)) this.#release(sample);
  }

  /** Sends as many as the socket may hold. */
  send(nowMs: number): void {
    const { encoder, settings } = this.#host;
    while (this.#waiting.length > 0 && this.#writer.unsentBytes < settings.socketBytesMax + CRITICAL_BYTES) {
      const { subscribed, sample } = this.#waiting[0]!;
      const { reader, topic, topicId, subscription } = subscribed;
      if (nowMs > sample.deadlineMs) {
        this.#waiting.shift();
        this.#release(sample);
        reader.settle(sample.position, 'expired');
        continue;
      }
      const run = firstRun(this.#waiting, settings.batchMessagesMax);
      this.#waiting.splice(0, run.length);
      for (const one of run) this.#release(one);
      const from = sample.position;
      const part = { topic, topicId, from, to: from + run.length };
      const range = encoder.encode([part], subscription.format, (_, position) => run[position - from]!);
      this.#writer.send(range, nowMs);
      for (const { position } of run) reader.settle(position);
    }
  }

  #release(sample: Sample<TelemetryMessage>): void {
    this.#memory.release('session', bytesOf(sample));
  }
}

function bytesOf({ data }: Sample<TelemetryMessage>): number {
  return data.bytes + MESSAGE_BYTES;
}

/** The first messages of the queue that follow each other in one topic of one subscription. */
function firstRun(waiting: readonly Critical[], countMax: number): Sample<TelemetryMessage>[] {
  const { subscribed, sample: first } = waiting[0]!;
  const run = [first];
  for (let i = 1; i < waiting.length && run.length < countMax; i++) {
    const next = waiting[i]!;
    if (next.subscribed !== subscribed || next.sample.position !== first.position + i) break;
    run.push(next.sample);
  }
  return run;
}
