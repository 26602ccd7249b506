import { Buffer } from 'node:buffer';
import { textBytes } from '../base/text-bytes.ts';
import { channelSchema, isLookedInto, WELL_KNOWN, type ChannelSchema } from '../delivery/foreign-schema.ts';
import { formOf, toForeign } from '../delivery/recording-format.ts';
import type { MemoryAccount, MemoryLedger } from '../fences/memory-ledger.ts';
import type { TelemetryMessage, Topic, Topics } from '../stream/topics.ts';
import { viewsOf } from './foxglove-views.ts';
import type { FoxgloveChannel, FoxgloveServerMessage } from './foxglove-wire.ts';

export interface AdvertisedTopic {
  readonly topic: Topic;
  readonly channel: FoxgloveChannel;
  /** A message as the channel has it; undefined when it has no part in it. */
  readonly toJson: (message: TelemetryMessage) => Uint8Array | undefined;
}

interface Entry extends AdvertisedTopic {
  /** To whom it is charged, and what. */
  readonly keeper: MemoryAccount;
  readonly bytes: number;
}

/** Where a viewer stands in the catalogue. */
export interface CatalogueCursor {
  /** The last channel that it was told of. */
  channelId: number;
  /** Of the channels that have gone since the catalogue was opened: those that it was told of, as far as it knew them. */
  removed: number;
  /** Of a viewer that may not know all topics. */
  readonly filter?: ViewerFilter | undefined;
}

/** Which topics a viewer may know, and the channels of them that it was told of. */
export interface ViewerFilter {
  readonly mayKnow: (topic: string) => boolean;
  readonly told: Set<number>;
}

/** Some channels as one message, the same for all viewers that come to them. */
interface Page {
  readonly message: Buffer;
  readonly lastId: number;
  /** Later channels have no place in it. */
  readonly isFull: boolean;
}

export interface ChannelCatalogueEvents {
  /** There is something to tell. */
  readonly onNews: () => void;
  readonly onRemoved: (channelIds: readonly number[]) => void;
}

/** Time for looking at topics before other work of the main thread has its turn. */
const SLICE_MS = 1;
/** What a page holds: as much as viewers may have in their sockets without reading them, beside data. */
const PAGE_CHARS = 32 * 1024;
const PAGE_CHANNELS = 256;
/** Pages that are kept for further viewers. */
const PAGES_MAX = 16;
/** Channels that are no more, which viewers may still have to be told. One that lags further is given up. */
const REMOVED_MAX = 10_000;

/**
 * What the process takes for a channel, without its texts: objects, closures, and places in maps and lists. Measured in Node 24 by
 * `foxglove-channels-memory.test.ts`, which holds it to a factor of 1.5.
 */
export const CHANNEL_BYTES = 400;

/**
 * The topics and the views of them as channels, the same for all clients. A channel's schema is inferred from a message, so
 * that a topic becomes one when its first message is there; nothing is looked at while there is no client. Holds no reader: a
 * topic that nobody reads can be forgotten. What it keeps is charged to the topics' makers: where there is no memory for it, a topic has
 * neither a schema nor views. Viewers come for what they have not been told yet; nothing is kept for one of them.
 */
export class ChannelCatalogue {
  /** In the order of the numbers. */
  readonly #channels = new Map<number, Entry>();
  readonly #topics: Topics;
  readonly #memory: MemoryLedger;
  readonly #events: ChannelCatalogueEvents;
  readonly #now: () => number;
  #unwatch: (() => void) | undefined;
  #lastId = 0;
  /** New topics; looked at when the publication that made them is over. */
  #fresh: Topic[] = [];
  #isAdding = false;
  /** The same channels as a list, which is made anew when some have gone. */
  #list: Entry[] = [];
  /** Numbers of channels that are no more, and how many were there before. */
  #removed: number[] = [];
  #forgottenRemovals = 0;
  /** By the channel that they begin after. */
  readonly #pages = new Map<number, Page>();

  constructor(topics: Topics, memory: MemoryLedger, now: () => number, events: ChannelCatalogueEvents) {
    this.#topics = topics;
    this.#memory = memory;
    this.#now = now;
    this.#events = events;
  }

  get size(): number {
    return this.#channels.size;
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

  /** For a viewer that has been told nothing. `mayKnow`: of topics, where it may not know all. */
  begin(mayKnow?: ViewerFilter['mayKnow']): CatalogueCursor {
    return { channelId: 0, removed: this.#removals, filter: mayKnow && { mayKnow, told: new Set() } };
  }

  /**
   * The next message for a viewer, whose cursor moves on. Undefined: it has been told everything. `lost`: it has lagged for so long that
   * nobody knows any more what it would have to be told.
   */
  next(cursor: CatalogueCursor): Buffer | 'lost' | undefined {
    if (cursor.removed < this.#forgottenRemovals) return 'lost';
    if (cursor.removed < this.#removals) {
      const news = this.#removed.slice(cursor.removed - this.#forgottenRemovals);
      cursor.removed = this.#removals;
      // It never knew of those that came after.
      const channelIds = news.filter((id) => id <= cursor.channelId && (cursor.filter?.told.delete(id) ?? true));
      if (channelIds.length > 0) return encode({ op: 'unadvertise', channelIds });
    }
    if (cursor.filter) return this.#nextFiltered(cursor, cursor.filter);
    const page = this.#pageAfter(cursor.channelId);
    if (page === undefined) return undefined;
    cursor.channelId = page.lastId;
    return page.message;
  }

  /** To be called now and then: takes out the topics that were forgotten. */
  sweep(): void {
    const gone = this.#list.filter(({ topic }) => topic.stream.closed);
    if (gone.length === 0) return;
    const ids = gone.map(({ channel }) => channel.id);
    for (const entry of gone) this.#drop(entry);
    this.#list = [...this.#channels.values()];
    this.#pages.clear();
    this.#removed.push(...ids);
    const excess = this.#removed.length - REMOVED_MAX;
    if (excess > 0) {
      this.#removed.splice(0, excess);
      this.#forgottenRemovals += excess;
    }
    this.#events.onRemoved(ids);
    this.#events.onNews();
  }

  /** Nobody is there any more: forgets all channels. Idempotent. */
  close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#fresh = [];
    for (const entry of this.#list) this.#drop(entry);
    this.#list = [];
    this.#removed = [];
    this.#forgottenRemovals = 0;
    this.#pages.clear();
  }

  readonly #addFresh = (): void => {
    const startMs = this.#now();
    const before = this.#list.length;
    let looked = 0;
    while (looked < this.#fresh.length && (looked === 0 || this.#now() - startMs < SLICE_MS)) {
      for (const entry of this.#advertise(this.#fresh[looked]!)) this.#add(entry);
      looked++;
    }
    this.#fresh.splice(0, looked);
    if (this.#list.length > before) this.#events.onNews();
    if (this.#fresh.length > 0) setImmediate(this.#addFresh);
    else this.#isAdding = false;
  };

  #add(entry: Entry): void {
    this.#channels.set(entry.channel.id, entry);
    this.#list.push(entry);
  }

  #drop(entry: Entry): void {
    const { keeper, bytes, channel } = entry;
    this.#channels.delete(channel.id);
    // What a client that has gone was charged for is the estate's.
    (keeper.isClosed ? this.#memory.estate : keeper).release('channels', bytes);
  }

  /** Channels that have gone since the catalogue was opened. */
  get #removals(): number {
    return this.#forgottenRemovals + this.#removed.length;
  }

  #pageAfter(channelId: number): Page | undefined {
    const known = this.#pages.get(channelId);
    if (known?.isFull || known?.lastId === this.#list.at(-1)?.channel.id) return known;
    const page = this.#makePage(channelId);
    if (page === undefined) return undefined;
    this.#pages.delete(channelId);
    this.#pages.set(channelId, page);
    if (this.#pages.size > PAGES_MAX) this.#pages.delete(this.#pages.keys().next().value!);
    return page;
  }

  #makePage(after: number): Page | undefined {
    const { channels, lastId, isFull } = this.#gather(after, () => true);
    if (channels.length === 0) return undefined;
    return { message: encode({ op: 'advertise', channels }), lastId, isFull };
  }

  /** A page for one viewer alone. */
  #nextFiltered(cursor: CatalogueCursor, { mayKnow, told }: ViewerFilter): Buffer | undefined {
    const { channels, lastId } = this.#gather(cursor.channelId, mayKnow);
    cursor.channelId = lastId;
    if (channels.length === 0) return undefined;
    for (const { id } of channels) told.add(id);
    return encode({ op: 'advertise', channels });
  }

  /** The next channels, as many as a page holds, and the last one that was looked at. */
  #gather(after: number, mayKnow: ViewerFilter['mayKnow']) {
    const channels: FoxgloveChannel[] = [];
    let room = PAGE_CHARS;
    let lastId = after;
    for (let i = this.#placeAfter(after); i < this.#list.length; i++) {
      if (room <= 0 || channels.length >= PAGE_CHANNELS) break;
      const { channel, topic } = this.#list[i]!;
      lastId = channel.id;
      if (!mayKnow(topic.name)) continue;
      channels.push(channel);
      room -= channel.schema.length + channel.topic.length;
    }
    return { channels, lastId, isFull: room <= 0 || channels.length >= PAGE_CHANNELS };
  }

  /** Of the first channel after that one in the list. */
  #placeAfter(channelId: number): number {
    let [from, to] = [0, this.#list.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#list[middle]!.channel.id <= channelId) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** The topic itself and its views; nothing for a topic that has gone already. */
  #advertise(topic: Topic): Entry[] {
    const { name, stream } = topic;
    const newest = stream.at(stream.head - 1);
    if (!newest || stream.closed) return [];
    const { payload } = newest.data;
    const form = formOf(payload);
    const whole = this.#entry(topic, name, channelSchema(name, form, payload), (message) => {
      return toForeign(message.payload, message.timeMs, name).json;
    });
    const isViewed = whole.channel.schema !== NO_SCHEMA && form === 'object' && isLookedInto(payload);
    const views: Entry[] = [];
    for (const { key, schema, toJson } of isViewed ? viewsOf(payload.value()) : []) {
      const view = this.#entry(topic, `${name}.${key}`, schema, (message) => {
        return toJson(message.payload.value(), message.timeMs);
      });
      // Without its schema nobody would know it for what it is.
      if (view.channel.schema === NO_SCHEMA) this.#drop(view);
      else views.push(view);
    }
    return [whole, ...views];
  }

  #entry(topic: Topic, channelTopic: string, inferred: ChannelSchema, toJson: AdvertisedTopic['toJson']): Entry {
    const { keeper } = topic;
    const bareBytes = CHANNEL_BYTES + textBytes(channelTopic);
    const schema = textOf(inferred);
    const bytes = bareBytes + (SHARED_TEXTS.has(schema) ? 0 : textBytes(schema));
    const channel = {
      id: ++this.#lastId,
      topic: channelTopic,
      encoding: 'json',
      schemaEncoding: 'jsonschema',
    } as const;
    try {
      keeper.charge('channels', bytes);
      return { topic, channel: { ...channel, schemaName: inferred.name, schema }, toJson, keeper, bytes };
    } catch {
      keeper.add('channels', bareBytes);
      return {
        topic,
        channel: { ...channel, schemaName: channelTopic, schema: NO_SCHEMA },
        toJson,
        keeper,
        bytes: bareBytes,
      };
    }
  }
}

/** Of an object of which nothing is said. */
const NO_SCHEMA = JSON.stringify({ type: 'object', properties: {} });
/** Those of Foxglove's own names are the same for all channels. */
const KNOWN_TEXTS = new Map(Object.values(WELL_KNOWN).map((schema) => [schema as object, JSON.stringify(schema)]));
const SHARED_TEXTS: ReadonlySet<string> = new Set([NO_SCHEMA, ...KNOWN_TEXTS.values()]);

function textOf({ schema }: ChannelSchema): string {
  return KNOWN_TEXTS.get(schema) ?? JSON.stringify(schema);
}

function encode(message: FoxgloveServerMessage): Buffer {
  return Buffer.from(JSON.stringify(message));
}
