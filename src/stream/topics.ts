import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { boundless, type MemoryAccount, type MemoryLedger } from '../fences/memory-ledger.ts';
import type { Random } from '../base/random.ts';
import { Priority, type Sample } from '../base/sample.ts';
import { isWellUsed } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { quote } from '../protocol/quote.ts';
import { checkFilter, checkTopic, isPlain, matches } from '../protocol/topic.ts';
import type { Hub } from './hub.ts';
import { PayloadForms } from './payload-forms.ts';
import { MESSAGE_BYTES, TopicPublisher, topicBytes, type Holding } from './topic-publisher.ts';
import type { Stream } from './stream.ts';

/** What the sample of a topic's stream holds. Its `seq` starts at 1 without gaps: position plus 1. */
export interface TelemetryMessage {
  /** The publisher's, Unix ms. */
  readonly timeMs: number;
  readonly payload: Payload;
  /** Of the payload in the form it came in. */
  readonly bytes: number;
  /** Bytes of all messages of this topic before this one: a span's size is a difference. */
  readonly bytesBefore: number;
  /** To whom it is charged. */
  readonly holding: Holding;
}

export interface TopicInput {
  readonly payload: Payload;
  /** Unix ms; default: now. */
  readonly timeMs?: number | undefined;
  readonly priority?: Priority | undefined;
  /** Counts from the publication; default: for ever. */
  readonly ttlMs?: number | undefined;
}

export interface TopicsSettings {
  readonly topicsMax: number;
  /** Messages that a topic remembers, at most. */
  readonly historyMessages: number;
  /** Memory that a topic takes, at most; its newest message stays, whatever its size. */
  readonly historyBytesMax: number;
  /** Memory that histories of publishers that have gone take together. */
  readonly historyDepartedBytesMax: number;
  /** A topic that nobody reads and nobody has published to for so long is forgotten. */
  readonly topicIdleMs: number;
  readonly readersMax: number;
}

export interface TopicsOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  /** For the topics' epochs. */
  readonly random: Random;
  /** Bounds what each publisher, and all together, make the topics remember. Default: no bounds. */
  readonly memory?: MemoryLedger;
  readonly settings: TopicsSettings;
}

export interface TopicStats {
  readonly topic: string;
  readonly epoch: number;
  readonly published: number;
  readonly published_bytes: number;
  readonly history_messages: number;
  /** Memory that these take, with all that is kept beside their payloads. */
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
  /** To whom it is charged: its maker, or the estate once that has gone. */
  readonly keeper: MemoryAccount;
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
  /** Memory that its messages take. */
  historyBytes = 0;
  lastActivityMs: number;
  readonly maker: Holding;
  /** Who published last. */
  holding: Holding;

  constructor(
    parts: Pick<Topic, 'name' | 'number' | 'epoch'> & {
      stream: Stream<TelemetryMessage>;
      nowMs: number;
      maker: TopicPublisher;
    },
  ) {
    this.name = parts.name;
    this.number = parts.number;
    this.epoch = parts.epoch;
    this.stream = parts.stream;
    this.lastActivityMs = parts.nowMs;
    this.maker = parts.maker.holdingOf(this);
    this.holding = this.maker;
  }

  get lastSeq(): number {
    return this.stream.head;
  }

  get keeper(): MemoryAccount {
    return this.maker.publisher.memory;
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

/** A topic that nobody reads, and when it was last used as that was seen. */
interface Idle {
  readonly topic: OpenTopic;
  readonly activityMs: number;
}

/** So many are looked for at once. */
const IDLE_MAX = 64;
/** Further forms of payloads are kept for this long, or twice as long. */
const FORMS_AGE_MS = 5_000;

/** The registry of topics, each a stream in the hub with what its ring holds as its history. */
export class Topics {
  readonly #options: TopicsOptions;
  readonly #topics = new Map<string, OpenTopic>();
  /** Who waits for one name, and who for any that match, by what they wait for. */
  readonly #plainWatchers = new Map<string, Set<Watcher>>();
  readonly #wildWatchers = new Map<string, Set<Watcher>>();
  readonly #listeners = new Set<(topic: Topic, sample: Sample<TelemetryMessage>) => void>();
  readonly #closeListeners = new Set<() => void>();
  #lastNumber = 0;
  readonly #memory: MemoryLedger;
  readonly #forms = new PayloadForms();
  #agedMs = -Infinity;
  readonly #server: TopicPublisher;
  /** Takes over what clients have left. */
  readonly #estate: TopicPublisher;
  /** All that have published and have not gone, and the estate. */
  readonly #publishers = new Set<TopicPublisher>();
  #forgotten = 0;
  /** By maker: topics that nobody has used for longest. */
  readonly #idle = new WeakMap<TopicPublisher, Idle[]>();

  constructor(options: TopicsOptions) {
    this.#options = options;
    this.#memory = options.memory ?? boundless();
    this.#server = new TopicPublisher(this.#memory.server);
    this.#estate = new TopicPublisher(this.#memory.estate);
    this.#publishers.add(this.#estate);
  }

  /** Memory that all topics take with their histories. */
  get historyBytes(): number {
    return this.#memory.bytes('history');
  }

  /** Topics that were forgotten because nobody used them. */
  get forgotten(): number {
    return this.#forgotten;
  }

  get size(): number {
    return this.#topics.size;
  }

  /**
   * Appends to the topic, which is made when there is none, and counts as its maker's until it is forgotten. `publisher`: whom it is
   * charged to; default: the server. Errors: TOPIC_BAD, TOPIC_LIMIT_REACHED, PAYLOAD_BAD for what is no `Payload`.
   */
  publish(name: string, input: TopicInput, publisher = this.#server): { epoch: number; seq: number } {
    const { payload, ttlMs = Infinity, priority = Priority.normal } = input;
    // Its readers would find out, each in a turn of the event loop where nobody is to blame.
    if (!(payload instanceof Payload))
      throw new SightlineError('PAYLOAD_BAD', `topic ${quote(name)}: no Payload is given`);
    const topic = this.#topics.get(name) ?? this.#create(name, publisher);
    const { clock } = this.#options;
    const nowMs = clock.now();
    const timeMs = input.timeMs ?? wallTimeMs(clock, nowMs);
    const bytesBefore = topic.publishedBytes;
    const bytes = payload.settle(this.#forms);
    topic.lastActivityMs = nowMs;
    topic.publishedBytes += bytes;
    topic.historyBytes += bytes + MESSAGE_BYTES;
    if (topic.holding.publisher !== publisher) {
      topic.holding = publisher.holdingOf(topic);
      this.#publishers.add(publisher);
    }
    const { holding } = topic;
    holding.add(bytes + MESSAGE_BYTES);
    const sample = topic.stream.publish({
      data: { timeMs, payload, bytes, bytesBefore, holding },
      captureTimeMs: timeMs,
      priority,
      deadlineMs: nowMs + ttlMs,
    });
    this.#bound(topic, publisher);
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
    const end = this.#addWatcher(this.#wildWatchers, watcher);
    for (const topic of this.list()) if (matches(filter, topic.name)) onTopic(topic);
    return end;
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
    if (nowMs - this.#agedMs >= FORMS_AGE_MS) {
      this.#agedMs = nowMs;
      this.#forms.age();
    }
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

  /** The publisher has gone: what it leaves is kept as far as there is room for all that was left. */
  depart(publisher: TopicPublisher): void {
    publisher.leaveTo(this.#estate);
    this.#idle.delete(this.#estate);
    this.#publishers.delete(publisher);
    this.#boundEstate();
  }

  #create(name: string, maker: TopicPublisher): OpenTopic {
    checkTopic(name);
    const { hub, clock, random, settings } = this.#options;
    if (this.#topics.size >= settings.topicsMax) this.#forgetOneFor(maker);
    if (this.#topics.size >= settings.topicsMax) {
      throw new SightlineError(
        'TOPIC_LIMIT_REACHED',
        `topic "${name.slice(0, 80)}" would exceed the limit of ${settings.topicsMax} topics (telemetry.topics_max)`,
      );
    }
    const stream = hub.create<TelemetryMessage>(streamName(name), {
      capacity: settings.historyMessages,
      readersMax: settings.readersMax,
      onEvict: ({ data: { bytes, holding } }) => {
        topic.historyBytes -= bytes + MESSAGE_BYTES;
        holding.release(bytes + MESSAGE_BYTES);
      },
    });
    const epoch = Math.floor(random() * 2 ** 32);
    const number = ++this.#lastNumber;
    const topic: OpenTopic = new OpenTopic({ name, number, epoch, stream, nowMs: clock.now(), maker });
    this.#topics.set(name, topic);
    maker.topicsMade++;
    this.#publishers.add(maker);
    topic.maker.add(topicBytes(name));
    for (const watcher of this.#plainWatchers.get(name) ?? []) watcher.onTopic(topic);
    for (const [filter, watchers] of this.#wildWatchers) {
      if (matches(filter, name)) for (const watcher of watchers) watcher.onTopic(topic);
    }
    return topic;
  }

  #forget(topic: OpenTopic): void {
    this.#topics.delete(topic.name);
    topic.maker.publisher.topicsMade--;
    topic.stream.close();
    topic.maker.release(topicBytes(topic.name));
  }

  /**
   * All topics are taken: the one gives way that nobody has used for longest and nobody reads, of those that were left by
   * their makers, else of the maker that has most, if it still has no fewer than the newcomer then.
   */
  #forgetOneFor(newcomer: TopicPublisher): void {
    let most = newcomer;
    for (const publisher of this.#publishers) {
      if (publisher !== this.#estate && publisher.topicsMade > most.topicsMade) most = publisher;
    }
    const mayTake = most.topicsMade > newcomer.topicsMade + 1;
    const victim = this.#idlest(this.#estate) ?? (mayTake ? this.#idlest(most) : undefined);
    if (victim === undefined) return;
    this.#forgotten++;
    this.#forget(victim);
  }

  /** Who asks for one topic more is likely to go on, so that one look at all topics finds several. */
  #idlest(maker: TopicPublisher): OpenTopic | undefined {
    if (maker.topicsMade === 0) return undefined;
    const isLeft = ({ topic, activityMs }: Idle): boolean =>
      this.#topics.get(topic.name) === topic &&
      topic.maker.publisher === maker &&
      topic.lastActivityMs === activityMs &&
      topic.stream.readerCount === 0;
    const seen = this.#idle.get(maker) ?? [];
    while (seen.length > 0) {
      const next = seen.shift()!;
      if (isLeft(next)) return next.topic;
    }
    const found = this.#lookForIdle(maker);
    this.#idle.set(maker, found);
    return found.shift()?.topic;
  }

  /** Those that have not been used for longest first. */
  #lookForIdle(maker: TopicPublisher): Idle[] {
    const idle: Idle[] = [];
    for (const topic of this.#topics.values()) {
      if (topic.maker.publisher !== maker || topic.stream.readerCount > 0) continue;
      const { lastActivityMs: activityMs } = topic;
      if (idle.length >= IDLE_MAX && activityMs >= idle.at(-1)!.activityMs) continue;
      const at = idle.findLastIndex((other) => other.activityMs <= activityMs) + 1;
      idle.splice(at, 0, { topic, activityMs });
      if (idle.length > IDLE_MAX) idle.pop();
    }
    return idle;
  }

  #watchPlain(watcher: Watcher): () => void {
    const end = this.#addWatcher(this.#plainWatchers, watcher);
    const topic = this.#topics.get(watcher.filter);
    if (topic !== undefined) watcher.onTopic(topic);
    return end;
  }

  #addWatcher(byFilter: Map<string, Set<Watcher>>, watcher: Watcher): () => void {
    const { filter } = watcher;
    const watchers = byFilter.get(filter) ?? new Set();
    byFilter.set(filter, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && byFilter.get(filter) === watchers) byFilter.delete(filter);
    };
  }

  /** Gives up old messages: of a topic that is over its bound, of a publisher that is over its, and of whoever has most where all together are over theirs. */
  #bound(topic: OpenTopic, publisher: TopicPublisher): void {
    const { historyBytesMax } = this.#options.settings;
    if (topic.historyBytes > historyBytesMax) trimTo(topic, historyBytesMax, 1);
    if (publisher.memory.isOver('history')) this.#shrink(publisher, () => publisher.memory.isOver('history'));
    if (!this.#memory.isOver('history')) return;
    const { totalBytesMax } = this.#memory.bounds.history;
    // A little more than has to be, so that not every publication that follows finds too much again.
    const isOver = () => this.#memory.bytes('history') > totalBytesMax * (1 - SLACK_SHARE);
    for (let i = 0; i < PUBLISHERS_SHRUNK_MAX && isOver(); i++) this.#shrink(this.#largest(), isOver);
  }

  #boundEstate(): void {
    const { historyDepartedBytesMax } = this.#options.settings;
    const { memory } = this.#estate;
    if (memory.bytes('history') <= historyDepartedBytesMax) return;
    this.#shrink(this.#estate, () => memory.bytes('history') > historyDepartedBytesMax * (1 - SLACK_SHARE));
  }

  #largest(): TopicPublisher {
    let largest = this.#server;
    for (const publisher of this.#publishers) {
      if (publisher.memory.bytes('history') > largest.memory.bytes('history')) largest = publisher;
    }
    return largest;
  }

  /** Has the larger of a publisher's topics forget half of what they hold, at last also their newest message, until it is enough. */
  #shrink(publisher: TopicPublisher, isOver: () => boolean): void {
    this.#memory.evict('history', publisher.memory);
    for (let round = 0; round < SHRINK_ROUNDS && isOver(); round++) {
      for (const holding of publisher.larger()) {
        const topic = holding.topic as OpenTopic;
        trimTo(topic, topic.historyBytes / 2, 0);
        if (!isOver()) return;
      }
    }
  }
}

/** Of a bound: what is freed beyond it. */
const SLACK_SHARE = 1 / 16;
const PUBLISHERS_SHRUNK_MAX = 64;
/** Each halves at least the topics that hold more than the mean. */
const SHRINK_ROUNDS = 16;

/** Forgets the oldest messages until at most `bytesMax` are held; the newest `keep` stay in any case. */
function trimTo(topic: OpenTopic, bytesMax: number, keep: number): void {
  const { stream, publishedBytes } = topic;
  const heldFrom = (position: number) =>
    publishedBytes - topic.bytesBefore(position) + (stream.head - position) * MESSAGE_BYTES;
  let position = stream.oldest;
  while (position < stream.head - keep && heldFrom(position) > bytesMax) position++;
  stream.trim(position);
  moveOut(stream);
}

/** The oldest messages may lie in memory that they shared with what is forgotten now. */
function moveOut(stream: Stream<TelemetryMessage>): void {
  const memoryAt = (position: number) => stream.at(position)?.data.payload.own()?.buffer;
  const memory = memoryAt(stream.oldest);
  if (memory === undefined) return;
  let bytes = 0;
  let end = stream.oldest;
  for (; memoryAt(end) === memory; end++) bytes += stream.at(end)!.data.bytes;
  if (isWellUsed(memory.byteLength, bytes)) return;
  for (let position = stream.oldest; position < end; position++) {
    const { payload } = stream.at(position)!.data;
    payload.own(new Uint8Array(payload.own()!));
  }
}

/** A colon stands in no client's name, so that topics and the streams of video sessions cannot collide. */
function streamName(topic: string): string {
  return `topic:${topic}`;
}
