import { channelSchema, toForeign } from '../delivery/recording-format.ts';
import type { Topic, Topics } from '../stream/topics.ts';
import type { FoxgloveChannel } from './foxglove-wire.ts';

export interface AdvertisedTopic {
  readonly topic: Topic;
  readonly channel: FoxgloveChannel;
}

export interface ChannelCatalogueEvents {
  readonly onAdded: (channels: readonly FoxgloveChannel[]) => void;
  readonly onRemoved: (channelIds: readonly number[]) => void;
}

/**
 * The topics as channels, the same for all clients. A channel's schema is inferred from a message, so that a topic becomes
 * one when its first message is there. Holds no reader: a topic that nobody reads can be forgotten.
 */
export class ChannelCatalogue {
  readonly #channels = new Map<number, AdvertisedTopic>();
  readonly #events: ChannelCatalogueEvents;
  readonly #unwatch: () => void;
  /** New topics; announced together when the publication that made them is over. */
  #fresh: Topic[] = [];

  constructor(topics: Topics, events: ChannelCatalogueEvents) {
    this.#events = events;
    this.#unwatch = topics.watch('#', (topic) => {
      if (this.#fresh.push(topic) === 1) queueMicrotask(() => this.#addFresh());
    });
  }

  get(channelId: number): AdvertisedTopic | undefined {
    return this.#channels.get(channelId);
  }

  list(): FoxgloveChannel[] {
    return [...this.#channels.values()].map(({ channel }) => channel);
  }

  /** To be called now and then: takes out the topics that were forgotten. */
  sweep(): void {
    const removed = [...this.#channels].filter(([, { topic }]) => topic.stream.closed).map(([id]) => id);
    for (const id of removed) this.#channels.delete(id);
    if (removed.length > 0) this.#events.onRemoved(removed);
  }

  close(): void {
    this.#unwatch();
    this.#fresh = [];
  }

  #addFresh(): void {
    const added: FoxgloveChannel[] = [];
    for (const topic of this.#fresh.splice(0)) {
      const channel = channelOf(topic);
      if (!channel) continue;
      this.#channels.set(channel.id, { topic, channel });
      added.push(channel);
    }
    if (added.length > 0) this.#events.onAdded(added);
  }
}

/** Undefined for a topic that has gone already. */
function channelOf({ name, number, stream }: Topic): FoxgloveChannel | undefined {
  const newest = [...stream.history(stream.head - 1)].at(-1);
  if (!newest) return undefined;
  const { payload, timeMs } = newest.data;
  const { form } = toForeign(payload, timeMs, name);
  const { name: schemaName, schema } = channelSchema(name, form, payload);
  return {
    id: number,
    topic: name,
    encoding: 'json',
    schemaName,
    schema: JSON.stringify(schema),
    schemaEncoding: 'jsonschema',
  };
}
