import { channelSchema, type ChannelSchema } from '../delivery/foreign-schema.ts';
import { formOf, toForeign } from '../delivery/recording-format.ts';
import type { TelemetryMessage, Topic, Topics } from '../stream/topics.ts';
import { viewsOf } from './foxglove-views.ts';
import type { FoxgloveChannel } from './foxglove-wire.ts';

export interface AdvertisedTopic {
  readonly topic: Topic;
  readonly channel: FoxgloveChannel;
  /** A message as the channel has it; undefined when it has no part in it. */
  readonly toJson: (message: TelemetryMessage) => Uint8Array | undefined;
}

export interface ChannelCatalogueEvents {
  readonly onAdded: (channels: readonly FoxgloveChannel[]) => void;
  readonly onRemoved: (channelIds: readonly number[]) => void;
}

/** Topics that are looked at before other work of the main thread has its turn: a few hundred microseconds as a rule. */
const SLICE_TOPICS = 16;

/**
 * The topics and the views of them as channels, the same for all clients. A channel's schema is inferred from a message, so
 * that a topic becomes one when its first message is there; nothing is looked at while there is no client. Holds no reader: a
 * topic that nobody reads can be forgotten.
 */
export class ChannelCatalogue {
  readonly #channels = new Map<number, AdvertisedTopic>();
  readonly #topics: Topics;
  readonly #events: ChannelCatalogueEvents;
  #unwatch: (() => void) | undefined;
  #lastId = 0;
  /** New topics; announced together when the publication that made them is over. */
  #fresh: Topic[] = [];
  #isAdding = false;

  constructor(topics: Topics, events: ChannelCatalogueEvents) {
    this.#topics = topics;
    this.#events = events;
  }

  /** Somebody wants to know: from now on topics become channels, those that are there first. Idempotent. */
  open(): void {
    if (this.#unwatch) return;
    this.#unwatch = this.#topics.watch('#', (topic) => {
      this.#fresh.push(topic);
      if (this.#isAdding) return;
      this.#isAdding = true;
      queueMicrotask(this.#addFresh);
    });
  }

  get(channelId: number): AdvertisedTopic | undefined {
    return this.#channels.get(channelId);
  }

  get size(): number {
    return this.#channels.size;
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

  /** Nobody is there any more: forgets all channels. Idempotent. */
  close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#fresh = [];
    this.#channels.clear();
  }

  readonly #addFresh = (): void => {
    const added = this.#fresh.splice(0, SLICE_TOPICS).flatMap((topic) => this.#advertise(topic));
    for (const advertised of added) this.#channels.set(advertised.channel.id, advertised);
    if (added.length > 0) this.#events.onAdded(added.map(({ channel }) => channel));
    if (this.#fresh.length > 0) setImmediate(this.#addFresh);
    else this.#isAdding = false;
  };

  /** The topic itself and its views; nothing for a topic that has gone already. */
  #advertise(topic: Topic): AdvertisedTopic[] {
    const { name, stream } = topic;
    const newest = [...stream.history(stream.head - 1)].at(-1);
    if (!newest || stream.closed) return [];
    const { payload } = newest.data;
    const form = formOf(payload);
    const whole: AdvertisedTopic = {
      topic,
      channel: this.#channel(name, channelSchema(name, form, payload)),
      toJson: (message) => toForeign(message.payload, message.timeMs, name).json,
    };
    // One that is still packed was too large to be looked into for the schema, too.
    const value = form === 'object' && payload.packed === undefined ? payload.value() : undefined;
    const views = viewsOf(value).map(({ key, schema, toJson }): AdvertisedTopic => ({
      topic,
      channel: this.#channel(`${name}.${key}`, schema),
      toJson: (message) => toJson(message.payload.value(), message.timeMs),
    }));
    return [whole, ...views];
  }

  #channel(topic: string, { name: schemaName, schema }: ChannelSchema): FoxgloveChannel {
    return {
      id: ++this.#lastId,
      topic,
      encoding: 'json',
      schemaName,
      schema: JSON.stringify(schema),
      schemaEncoding: 'jsonschema',
    };
  }
}
