import { batchEnd, shareBatches } from '../../flow/batch-size.ts';
import type { SharedPosition } from '../../stream/range-reader.ts';
import type { Topic } from '../../stream/topics.ts';
import type { Feed } from './subscribed-topic.ts';
import type { EncodedRange, Part, RangeEncoder, Writing } from './encoder.ts';
import type { Outbox } from './outbox.ts';

/** Sent to in one go: not so many that they hold up the event loop. */
const MEMBERS_MAX = 128;
/** Topics that are encoded in one go. */
const PARTS_MAX = 256;

export interface ConvoyHost {
  /** What its members want: see `Outbox.convoyKey`. */
  readonly key: string;
  readonly encoder: RangeEncoder;
  readonly batchBytesMax: number;
  /** Bytes that an idle socket is given in one round. */
  readonly socketBytesMax: number;
}

/** One topic of a convoy. */
interface Stop {
  readonly topicId: number;
  /** Up to where all members have it. */
  readonly place: SharedPosition;
}

/**
 * Connections that want the same topics and have taken everything so far: they all get the same bytes, and a round costs each of
 * them one write, however many topics it has. Their readers stand at places that they share. Who cannot take it at once leaves
 * before the others move on, and goes on by itself.
 */
export class Convoy {
  readonly #host: ConvoyHost;
  readonly #writing: Writing;
  readonly #stops = new Map<Topic, Stop>();
  readonly #members = new Set<Outbox>();
  /** Topics with something new, and up to where it goes in this round. */
  readonly #dirty = new Map<Topic, number>();

  /** For a first member, which still has to join. */
  constructor(host: ConvoyHost, feeds: Iterable<Feed>) {
    this.#host = host;
    const [first] = feeds;
    this.#writing = first!.subscription.writing;
    for (const { topic, topicId, reader } of feeds) {
      this.#stops.set(topic, { topicId, place: { position: reader.position } });
    }
  }

  get key(): string {
    return this.#host.key;
  }

  get members(): Iterable<Outbox> {
    return this.#members;
  }

  get size(): number {
    return this.#members.size;
  }

  get topics(): Iterable<Topic> {
    return this.#stops.keys();
  }

  /** False: there is no place, or the member is not where the others are. It wants the same topics by the same numbers. */
  join(member: Outbox): boolean {
    if (this.#members.size >= MEMBERS_MAX) return false;
    for (const { topic, reader } of member.feeds) {
      if (!reader.canFollow(this.#stops.get(topic)!.place)) return false;
    }
    for (const { topic, reader } of member.feeds) reader.follow(this.#stops.get(topic)!.place);
    this.#members.add(member);
    return true;
  }

  /** The member goes on by itself, from where the others are. True: it has something to send in this round. */
  leave(member: Outbox): boolean {
    if (!this.#members.delete(member)) return false;
    for (const feed of member.feeds) {
      feed.reader.unfollow();
      const until = this.#dirty.get(feed.topic);
      if (until === undefined) continue;
      feed.sendUntil = until;
      member.activate(feed);
    }
    return this.#dirty.size > 0;
  }

  /** In this round the topic is sent up to a position. */
  mark(topic: Topic, until: number): void {
    this.#dirty.set(topic, until);
  }

  /** Sends what was marked. `onLeave` is called for each member that has to go on by itself. */
  flush(nowMs: number, onLeave: (member: Outbox) => void): void {
    let roomBytes = this.#host.socketBytesMax;
    while (this.#dirty.size > 0 && this.#members.size > 0) {
      const parts = this.#isPlain() && roomBytes > 0 ? this.#nextParts() : undefined;
      for (const member of this.#members) if (parts === undefined || !member.isIdle(nowMs)) onLeave(member);
      if (parts === undefined) break;
      const ranges = this.#encode(parts);
      for (const { bytes } of ranges) roomBytes -= bytes.length;
      for (const { topic, to } of parts) this.#moveTo(topic, to);
      for (const member of this.#members) for (const range of ranges) member.send(range, nowMs);
    }
    this.#dirty.clear();
  }

  /** Everything is still there, and nothing of it can expire. */
  #isPlain(): boolean {
    for (const topic of this.#dirty.keys()) {
      const { position } = this.#stops.get(topic)!.place;
      const { oldest, lastDeadline } = topic.stream;
      if (position < oldest || lastDeadline >= position) return false;
    }
    return true;
  }

  #nextParts(): Part[] {
    const parts: Part[] = [];
    let room = this.#host.batchBytesMax;
    for (const [topic, until] of this.#dirty) {
      if (room <= 0 || parts.length >= PARTS_MAX) break;
      const { topicId, place } = this.#stops.get(topic)!;
      const to = batchEnd(place.position, until, room, (position) => topic.bytesBefore(position));
      parts.push({ topic, topicId, from: place.position, to });
      room -= topic.bytesBefore(to) - topic.bytesBefore(place.position);
    }
    return parts;
  }

  #encode(parts: readonly Part[]): EncodedRange[] {
    const { encoder } = this.#host;
    const readers = parts.reduce((most, { topic }) => Math.max(most, topic.stream.readerCount), 0);
    return shareBatches(this.#members.size, readers)
      ? [encoder.encode(parts, this.#writing)]
      : encoder.encodeApart(parts, this.#writing);
  }

  #moveTo(topic: Topic, position: number): void {
    const { place } = this.#stops.get(topic)!;
    place.position = position;
    if (position >= this.#dirty.get(topic)!) this.#dirty.delete(topic);
  }
}
