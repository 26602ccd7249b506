import type { Part } from './encoder.ts';
import { batchEndOf, nextSpan } from './next-span.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { Sender, SubscribedTopic } from './subscribed-topic.ts';

/** Bytes that a topic may send before the next one has its turn. */
const TURN_BYTES = 64 * 1024;
/** Topics and messages of one batch. */
const PARTS_MAX = 256;
const MESSAGES_MAX = 8_000;

/** Shared by all that have nothing to send. Nobody adds to it. */
const NONE = Object.freeze<SubscribedTopic[]>([]) as SubscribedTopic[];
/** The topic has something to send and has to wait for another turn. */
const WAITS = Symbol('waits');

export interface TurnsHost {
  readonly settings: { readonly batchBytesMax: number; readonly socketBytesMax: number };
  readonly rounds: {
    /** Has `flush` called at a moment (ms of the clock), or before. */
    wakeAt(sender: Sender, timeMs: number): void;
  };
}

export interface TurnPart extends Part {
  readonly subscribed: SubscribedTopic;
}

/**
 * The topics of one connection that have something to send. They take turns by bytes (deficit round robin: Shreedhar and
 * Varghese 1995), so that a large topic does not starve a small one. A topic whose next message may only be sent later rests until then.
 */
export class Turns {
  readonly #host: TurnsHost;
  readonly #sender: Sender;
  readonly #writer: SocketWriter;
  /** In the order of their turns. */
  #active = NONE;
  #resting: Set<SubscribedTopic> | undefined;

  constructor(host: TurnsHost, sender: Sender, writer: SocketWriter) {
    this.#host = host;
    this.#sender = sender;
    this.#writer = writer;
  }

  get active(): readonly SubscribedTopic[] {
    return this.#active;
  }

  /** Topics that have something to send. */
  get length(): number {
    return this.#active.length;
  }

  /** Bytes that wait in the topics. */
  get queuedBytes(): number {
    return this.#active.reduce((sum, subscribed) => sum + subscribed.queuedBytes, 0);
  }

  get queuedMessages(): number {
    return this.#active.reduce((sum, { reader }) => sum + reader.queued, 0);
  }

  /** The topic is not among them yet. */
  add(subscribed: SubscribedTopic): void {
    if (this.#active === NONE) this.#active = [subscribed];
    else this.#active.push(subscribed);
  }

  remove(subscribed: SubscribedTopic): void {
    this.#active = this.#active.filter((other) => other !== subscribed);
    this.#resting?.delete(subscribed);
  }

  /** Topics whose time has come take turns again. */
  wake(nowMs: number): void {
    if (this.#resting === undefined) return;
    for (const subscribed of this.#resting) {
      const { readyAtMs } = subscribed.reader;
      if (readyAtMs > nowMs) this.#host.rounds.wakeAt(this.#sender, readyAtMs);
      else {
        this.#resting.delete(subscribed);
        this.#sender.activate(subscribed);
      }
    }
  }

  /** A turn for each topic, as far as one batch and the socket have room. Who had its turn goes to the end of the line. */
  take(): TurnPart[] {
    const { batchBytesMax, socketBytesMax } = this.#host.settings;
    let room = Math.min(batchBytesMax, socketBytesMax - this.#writer.unsentBytes);
    let messages = 0;
    const parts: TurnPart[] = [];
    const line = this.#active;
    const again: SubscribedTopic[] = [];
    this.#active = NONE;
    let turn = 0;
    for (; turn < line.length && room > 0 && parts.length < PARTS_MAX && messages < MESSAGES_MAX; turn++) {
      const subscribed = line[turn]!;
      const part = this.#takeTurn(subscribed, room, line.length === 1);
      if (part === undefined) this.#rest(subscribed);
      else again.push(subscribed);
      if (part === undefined || part === WAITS) continue;
      parts.push(part);
      room -= subscribed.bytesOf(part);
      messages += part.to - part.from;
    }
    if (turn < line.length || again.length > 0) this.#active = [...line.slice(turn), ...again, ...this.#active];
    return parts;
  }

  /** Undefined: the topic has nothing to send now. */
  #takeTurn(subscribed: SubscribedTopic, room: number, isAlone: boolean): TurnPart | typeof WAITS | undefined {
    const span = nextSpan(subscribed, this.#writer);
    if (span === undefined) return undefined;
    subscribed.deficitBytes += TURN_BYTES;
    const bytesMax = isAlone ? room : Math.min(room, subscribed.deficitBytes);
    const to = batchEndOf(subscribed, span, bytesMax);
    const bytes = subscribed.bytesOf({ from: span.from, to });
    // A message that is larger than its topic's allowance waits for further turns, while others send.
    if (bytes > subscribed.deficitBytes && !isAlone) return WAITS;
    const taken = subscribed.reader.takeRange(to - span.from);
    if (taken === undefined) return undefined;
    subscribed.deficitBytes = Math.max(0, subscribed.deficitBytes - bytes);
    return { subscribed, topic: subscribed.topic, topicId: subscribed.topicId, from: taken.from, to: taken.to };
  }

  #rest(subscribed: SubscribedTopic): void {
    const { reader, sendUntil } = subscribed;
    subscribed.isActive = false;
    subscribed.deficitBytes = 0;
    // What came after the round began wakes it in the next one.
    if (reader.queued === 0 || reader.position >= sendUntil) return;
    this.#resting ??= new Set();
    this.#resting.add(subscribed);
    this.#host.rounds.wakeAt(this.#sender, reader.readyAtMs);
  }
}
