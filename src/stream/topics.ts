import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { Payload } from '../protocol/payload.ts';
import { quote } from '../protocol/quote.ts';
import { checkFilter, checkTopic, isPlain, matches } from '../protocol/topic.ts';
import type { Hub } from './hub.ts';
import type { Stream } from './stream.ts';

/** What the sample of a topic's stream holds. Its `seq` starts at 1 without gaps: position plus 1. */
export interface TelemetryMessage {
  /** The publisher's, Unix ms. */
  readonly timeMs: number;
  readonly payload: Payload;
  /** `Infinity` for never. Counts from the publication. */
  readonly ttlMs: number;
  /** Of the payload in the form it came in. */
  readonly bytes: number;
  /** Bytes of all messages of this topic before this one: a span's size is a difference. */
  readonly bytesBefore: number;
}

export interface TopicInput {
  readonly payload: Payload;
  /** Unix ms; default: now. */
  readonly timeMs?: number;
  readonly priority?: Priority;
  readonly ttlMs?: number;
}

/** Who makes topics: how many of those that are there are its own. */
export interface TopicMaker {
  topicsMade: number;
}

export interface TopicsSettings {
  readonly topicsMax: number;
  /** Messages that a topic remembers, at most. */
  readonly historyMessages: number;
  /** Bytes that a topic remembers, at most; the newest message stays, whatever its size. */
  readonly historyBytesMax: number;
  /** Bytes that all topics remember together, at most: the largest one gives way. */
  readonly historyTotalBytesMax: number;
  /** A topic that nobody reads and nobody has published to for so long is forgotten. */
  readonly topicIdleMs: number;
  readonly readersMax: number;
}

export interface TopicsOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  /** For the topics' epochs. */
  readonly random: Random;
  readonly settings: TopicsSettings;
}

export interface TopicStats {
  readonly topic: string;
  readonly epoch: number;
  readonly published: number;
  readonly published_bytes: number;
  readonly history_messages: number;
  readonly history_bytes: number;
  readonly readers: number;
}

export interface Topic {
  readonly name: string;
  /** Counts the topics of this server from 1, and is never used again. */
  readonly number: number;
  /** u32, new whenever the topic's history began anew. */
  readonly epoch: number;
  readonly stream: Stream<TelemetryMessage>;
  readonly lastSeq: number;
  /** Of all messages since the beginning. */
  readonly publishedBytes: number;
  /** Of all messages before a position that its ring holds, or its head. */
  bytesBefore(position: number): number;
  stats(): TopicStats;
}

class OpenTopic implements Topic {
  readonly name: string;
  readonly number: number;
  readonly epoch: number;
  readonly stream: Stream<TelemetryMessage>;
  publishedBytes = 0;
  historyBytes = 0;
  lastActivityMs: number;
  readonly maker: TopicMaker | undefined;

  constructor(
    parts: Pick<Topic, 'name' | 'number' | 'epoch'> & {
      stream: Stream<TelemetryMessage>;
      nowMs: number;
      maker: TopicMaker | undefined;
    },
  ) {
    this.name = parts.name;
    this.number = parts.number;
    this.epoch = parts.epoch;
    this.stream = parts.stream;
    this.lastActivityMs = parts.nowMs;
    this.maker = parts.maker;
  }

  get lastSeq(): number {
    return this.stream.head;
  }

  bytesBefore(position: number): number {
    return this.stream.at(position)?.data.bytesBefore ?? this.publishedBytes;
  }

  stats(): TopicStats {
    return {
      topic: this.name,
      epoch: this.epoch,
      published: this.stream.head,
      published_bytes: this.publishedBytes,
      history_messages: this.stream.head - this.stream.oldest,
      history_bytes: this.historyBytes,
      readers: this.stream.readerCount,
    };
  }
}

interface Watcher {
  readonly filter: string;
  readonly onTopic: (topic: Topic) => void;
}

/** The registry of topics, each a stream in the hub with what its ring holds as its history. */
export class Topics {
  readonly #options: TopicsOptions;
  readonly #topics = new Map<string, OpenTopic>();
  /** Who waits for one name, and who for any that match. */
  readonly #plainWatchers = new Map<string, Set<Watcher>>();
  readonly #wildWatchers = new Set<Watcher>();
  readonly #listeners = new Set<(topic: Topic, sample: Sample<TelemetryMessage>) => void>();
  readonly #closeListeners = new Set<() => void>();
  #lastNumber = 0;
  #historyBytes = 0;
  #forgotten = 0;

  constructor(options: TopicsOptions) {
    this.#options = options;
  }

  /** Bytes that the histories of all topics hold. */
  get historyBytes(): number {
    return this.#historyBytes;
  }

  /** Topics that were forgotten because nobody used them. */
  get forgotten(): number {
    return this.#forgotten;
  }

  get size(): number {
    return this.#topics.size;
  }

  /**
   * Appends to the topic, which is made when there is none, and counts as its maker's until it is forgotten.
   * Errors: TOPIC_BAD, TOPIC_LIMIT_REACHED, PAYLOAD_BAD for what is no `Payload`.
   */
  publish(name: string, input: TopicInput, maker?: TopicMaker): { epoch: number; seq: number } {
    const { payload, ttlMs = Infinity, priority = Priority.normal } = input;
    // Its readers would find out, each in a turn of the event loop where nobody is to blame.
    if (!(payload instanceof Payload))
      throw new SightlineError('PAYLOAD_BAD', `topic ${quote(name)}: no Payload is given`);
    const topic = this.#topics.get(name) ?? this.#create(name, maker);
    const { clock } = this.#options;
    const nowMs = clock.now();
    const timeMs = input.timeMs ?? wallTimeMs(clock, nowMs);
    const bytesBefore = topic.publishedBytes;
    const bytes = payload.byteLength;
    topic.lastActivityMs = nowMs;
    topic.publishedBytes += bytes;
    topic.historyBytes += bytes;
    this.#historyBytes += bytes;
    const sample = topic.stream.publish({
      data: { timeMs, payload, ttlMs, bytes, bytesBefore },
      captureTimeMs: timeMs,
      priority,
      deadlineMs: nowMs + ttlMs,
    });
    this.#bound(topic);
    for (const listener of this.#listeners) listener(topic, sample);
    return { epoch: topic.epoch, seq: sample.seq };
  }

  get(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  list(): Topic[] {
    return [...this.#topics.values()];
  }

  /** Calls for every topic that matches: at once for those that are there, then for each new one before its first message. Returns how to end it. Errors: FILTER_BAD. */
  watch(filter: string, onTopic: (topic: Topic) => void): () => void {
    checkFilter(filter);
    const watcher = { filter, onTopic };
    if (isPlain(filter)) return this.#watchPlain(watcher);
    this.#wildWatchers.add(watcher);
    for (const topic of this.list()) if (matches(filter, topic.name)) onTopic(topic);
    return () => void this.#wildWatchers.delete(watcher);
  }

  /** Calls after every publication, and once when all topics close. Returns how to end it. */
  listen(onPublished: (topic: Topic, sample: Sample<TelemetryMessage>) => void, onClosed?: () => void): () => void {
    this.#listeners.add(onPublished);
    if (onClosed !== undefined) this.#closeListeners.add(onClosed);
    return () => {
      this.#listeners.delete(onPublished);
      if (onClosed !== undefined) this.#closeListeners.delete(onClosed);
    };
  }

  /** To be called now and then: forgets topics that nobody uses. */
  sweep(): void {
    const { clock, settings } = this.#options;
    const nowMs = clock.now();
    for (const topic of this.#topics.values()) {
      if (topic.stream.readerCount > 0) topic.lastActivityMs = nowMs;
      else if (nowMs - topic.lastActivityMs >= settings.topicIdleMs) {
        this.#forgotten++;
        this.#forget(topic);
      }
    }
  }

  /** Closes every topic. Idempotent. */
  close(): void {
    for (const topic of this.#topics.values()) this.#forget(topic);
    this.#plainWatchers.clear();
    this.#wildWatchers.clear();
    this.#listeners.clear();
    for (const onClosed of this.#closeListeners) onClosed();
    this.#closeListeners.clear();
  }

  #create(name: string, maker: TopicMaker | undefined): OpenTopic {
    checkTopic(name);
    const { hub, clock, random, settings } = this.#options;
    if (this.#topics.size >= settings.topicsMax) {
      throw new SightlineError(
        'TOPIC_LIMIT_REACHED',
        `topic "${name.slice(0, 80)}" would exceed the limit of ${settings.topicsMax} topics (telemetry.topics_max)`,
      );
    }
    const stream = hub.create<TelemetryMessage>(streamName(name), {
      capacity: settings.historyMessages,
      readersMax: settings.readersMax,
      onEvict: ({ data }) => {
        topic.historyBytes -= data.bytes;
        this.#historyBytes -= data.bytes;
      },
    });
    const epoch = Math.floor(random() * 2 ** 32);
    const number = ++this.#lastNumber;
    const topic: OpenTopic = new OpenTopic({ name, number, epoch, stream, nowMs: clock.now(), maker });
    this.#topics.set(name, topic);
    if (maker) maker.topicsMade++;
    for (const watcher of this.#plainWatchers.get(name) ?? []) watcher.onTopic(topic);
    for (const watcher of this.#wildWatchers) if (matches(watcher.filter, name)) watcher.onTopic(topic);
    return topic;
  }

  #forget(topic: OpenTopic): void {
    this.#topics.delete(topic.name);
    if (topic.maker) topic.maker.topicsMade--;
    topic.stream.close();
  }

  #watchPlain(watcher: Watcher): () => void {
    const { filter } = watcher;
    const watchers = this.#plainWatchers.get(filter) ?? new Set();
    this.#plainWatchers.set(filter, watchers.add(watcher));
    const topic = this.#topics.get(filter);
    if (topic !== undefined) watcher.onTopic(topic);
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#plainWatchers.get(filter) === watchers) this.#plainWatchers.delete(filter);
    };
  }

  /** Gives up the oldest messages of a topic over its bytes, and half of the largest topic when all together are over theirs. */
  #bound(topic: OpenTopic): void {
    const { historyBytesMax, historyTotalBytesMax } = this.#options.settings;
    if (topic.historyBytes > historyBytesMax) trimTo(topic, historyBytesMax);
    if (this.#historyBytes <= historyTotalBytesMax) return;
    let largest = topic;
    for (const other of this.#topics.values()) if (other.historyBytes > largest.historyBytes) largest = other;
    trimTo(largest, largest.historyBytes / 2);
  }
}

/** Forgets the oldest messages until at most `bytesMax` are held; the newest message stays in any case. */
function trimTo(topic: OpenTopic, bytesMax: number): void {
  const { stream, publishedBytes } = topic;
  let position = stream.oldest;
  while (position < stream.head - 1 && publishedBytes - stream.at(position)!.data.bytesBefore > bytesMax) position++;
  stream.trim(position);
}

/** A colon stands in no client's name, so that topics and the streams of video sessions cannot collide. */
function streamName(topic: string): string {
  return `topic:${topic}`;
}
