import type { Clock } from '../../base/clock.ts';
import { Priority, type Sample } from '../../base/sample.ts';
import type { Turns } from '../../fences/turns.ts';
import type { TelemetryMessage, Topic } from '../../stream/topics.ts';
import type { FanoutGroupHost } from './fanout-group.ts';
import { FanoutGroups, type IndividualDelivery } from './fanout-groups.ts';
import { FlushList } from './flush-list.ts';
import type { QueueGroups } from './queue-groups.ts';
import { RoundTimer } from './round-timer.ts';
import { PauseReason } from '../socket-reading.ts';
import type { SocketWriter } from './socket-writer.ts';
import type { Sender, SubscribedTopic } from './subscribed-topic.ts';
import { TopicSets } from './topic-sets.ts';
import { WakeUps } from './wake-ups.ts';

/** Longest time that one turn of the event loop spends on sending, so that video is not held up. */
const SLICE_MS = 2;
/** The same for connections that are not light. */
const HEAVY_SLICE_MS = 1;

export interface RoundsHost extends Omit<FanoutGroupHost, 'leave'> {
  readonly clock: Clock;
  readonly turns: Turns;
  readonly settings: FanoutGroupHost['settings'] & { readonly batchDelayMs: number };
  readonly queueGroups: QueueGroups;
}

/**
 * Carries what is published to all that have subscribed, round by round. At the beginning of a round the head of each topic with
 * something new is fixed, so that all readers get the same batches; a round may take several turns of the event loop, a slice in each.
 * Connections of clients that take little of the main thread's time come first in it, and get what is published meanwhile without
 * waiting for its end: those that take much make rounds long only for each other.
 */
export class Rounds implements IndividualDelivery {
  readonly fanout: FanoutGroups;
  /** Rounds that have ended. */
  count = 0;
  readonly #clock: Clock;
  readonly #queueGroups: QueueGroups;
  readonly #timer: RoundTimer;
  readonly #wakeUps: WakeUps<Sender>;
  /** Subscribed topics of connections that are in no fan-out group. */
  readonly #attached = new TopicSets<SubscribedTopic>();
  /** Topics with something new since the last round began, and how many messages they have of it together. */
  readonly #dirty = new Set<Topic>();
  #messages = 0;
  /** Of these topics, those of which the light connections have not got it either. */
  readonly #fresh = new Set<Topic>();
  /** A round is under way: connections still have to be flushed. */
  #isMidRound = false;
  /** Connections that are to be flushed, and those with critical messages. */
  readonly #work: FlushList<Sender>;
  readonly #criticalWork = new Set<Sender>();
  /** Sockets of publishers that wait for the end of the round. */
  readonly #heldBack = new Set<SocketWriter>();

  constructor({ clock, turns, encoder, settings, queueGroups }: RoundsHost) {
    this.#clock = clock;
    this.#queueGroups = queueGroups;
    this.#work = new FlushList({
      clock,
      isLight: ({ time }, nowMs) => turns.isLight(time, nowMs),
      flush: (sender, nowMs, untilMs) => sender.flush(nowMs, untilMs),
      charge: ({ time }, ms, nowMs) => turns.charge(time, ms, nowMs),
    });
    this.fanout = new FanoutGroups({ clock, turns, encoder, settings }, this);
    this.#timer = new RoundTimer(clock, settings, () => this.#flush());
    this.#wakeUps = new WakeUps(clock, (sender) => this.enqueue(sender));
  }

  attach(subscribed: SubscribedTopic): void {
    this.#attached.add(subscribed.topic, subscribed);
  }

  detach(subscribed: SubscribedTopic): void {
    this.#attached.remove(subscribed.topic, subscribed);
  }

  /** Has the connection flushed in the next slice. */
  enqueue(sender: Sender): void {
    this.#work.add(sender, this.#clock.now());
    this.#schedule();
  }

  /** Has the connection flushed at a moment (ms of the clock), or before. */
  wakeAt(sender: Sender, timeMs: number): void {
    this.#wakeUps.at(sender, timeMs);
  }

  /** The socket is not read until the round is over. */
  holdBack(writer: SocketWriter): void {
    if (this.#heldBack.has(writer)) return;
    this.#heldBack.add(writer);
    writer.pause(PauseReason.ahead);
    this.#schedule();
  }

  onPublished(topic: Topic, sample: Sample<TelemetryMessage>): void {
    // At the cost of the publisher: a round would mark all groups of all topics in one go.
    this.#queueGroups.mark(topic);
    this.#dirty.add(topic);
    if (this.#isMidRound) this.#fresh.add(topic);
    this.#messages++;
    this.#schedule();
    if (sample.priority === Priority.critical) this.#sendAhead(topic, sample);
  }

  /** Sends what waits, as far as sockets take it. */
  flushAll(): void {
    const nowMs = this.#clock.now();
    this.#begin(nowMs);
    for (const list of [this.fanout.work, this.#work]) {
      list.flushLight(nowMs, Infinity);
      list.flushHeavy(nowMs, Infinity);
    }
    this.#queueGroups.flush(nowMs, Infinity);
  }

  close(): void {
    this.#wakeUps.close();
    this.#timer.close();
  }

  #schedule(): void {
    this.#timer.set(this.#isMidRound);
  }

  #sendAhead(topic: Topic, sample: Sample<TelemetryMessage>): void {
    this.fanout.dissolve(topic);
    for (const subscribed of this.#attached.of(topic)) {
      const { sender } = subscribed;
      sender.critical(subscribed, sample);
      // Once all that this call publishes is there: a batch of critical messages leaves as one.
      if (this.#criticalWork.size === 0) queueMicrotask(() => this.#flushCriticals());
      this.#criticalWork.add(sender);
    }
  }

  #flushCriticals(): void {
    const nowMs = this.#clock.now();
    for (const sender of this.#criticalWork) sender.flushCriticals(nowMs);
    this.#criticalWork.clear();
  }

  /** One slice of a round. */
  #flush(): void {
    const startMs = this.#clock.now();
    const groups = this.fanout.work;
    // What is published while a round is under way waits for the next one: then all readers get the same batches.
    if (!this.#isMidRound) this.#begin(startMs);
    else if (!groups.hasLight && !this.#work.hasLight) this.#beginLight(startMs);
    const lightUntilMs = startMs + SLICE_MS;
    let nowMs = this.#work.flushLight(groups.flushLight(startMs, lightUntilMs), lightUntilMs);
    const heavyUntilMs = nowMs + HEAVY_SLICE_MS;
    nowMs = this.#queueGroups.flush(nowMs, heavyUntilMs);
    nowMs = this.#work.flushHeavy(groups.flushHeavy(nowMs, heavyUntilMs), heavyUntilMs);
    this.#isMidRound = this.#work.size > 0 || groups.size > 0 || this.#queueGroups.hasWork;
    this.#timer.spend(nowMs - startMs);
    if (!this.#isMidRound) this.#end(nowMs);
    if (this.#isMidRound || this.#dirty.size > 0) this.#schedule();
  }

  #begin(nowMs: number): void {
    this.#timer.begin(nowMs, this.#messages / Math.max(1, this.#dirty.size));
    this.#messages = 0;
    for (const topic of this.#dirty) {
      for (const subscribed of this.#attached.of(topic)) {
        this.#work.add(subscribed.sender, nowMs);
        this.#mark(subscribed);
      }
      this.fanout.mark(topic, nowMs);
    }
    this.#dirty.clear();
    this.#fresh.clear();
  }

  /** In the middle of a round: what is new is sent to the light connections as well. */
  #beginLight(nowMs: number): void {
    for (const topic of this.#fresh) {
      for (const subscribed of this.#attached.of(topic)) {
        if (this.#work.addLight(subscribed.sender, nowMs)) this.#mark(subscribed);
      }
      this.fanout.markLight(topic, nowMs);
    }
    this.#fresh.clear();
  }

  #mark(subscribed: SubscribedTopic): void {
    subscribed.sendUntil = subscribed.topic.stream.head;
    subscribed.sender.activate(subscribed);
  }

  #end(nowMs: number): void {
    this.count++;
    this.#timer.end(nowMs);
    this.fanout.joinOffered(nowMs);
    for (const writer of this.#heldBack) writer.resume(PauseReason.ahead);
    this.#heldBack.clear();
  }
}
