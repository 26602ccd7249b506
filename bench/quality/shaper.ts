import type { Random } from '../../src/base/random.ts';
import type { Capacity } from './capacity.ts';

/**
 * One direction of a link as TCP makes it of any link: one queue, first in first out, in front of a bottleneck, then the
 * propagation. Bytes move in packets, so that a frame trickles in at the rate of the link. All times are computed from the
 * capacity: they do not depend on how often, or how late, somebody asks. Pure but for its state; any clock, ms.
 */

/** Of a segment on Ethernet (RFC 9293 with timestamps). */
const PACKET_BYTES = 1_448;

export interface PathOptions {
  readonly capacity: Capacity;
  /** Propagation. */
  readonly delayMs: number;
  /** Further delay of each packet, 0 to this; none overtakes another. */
  readonly jitterMs: number;
  /** From here on the path is full: nobody should send more, but what is sent is kept. */
  readonly queueBytesMax: number;
  readonly random: Random;
}

interface Packet<Owner> {
  readonly owner: Owner;
  /** Empty: the end of the owner's stream. */
  readonly bytes: Uint8Array;
  readonly arrivedMs: number;
}

export interface Parcel<Owner> extends Packet<Owner> {
  /** In the bottleneck. */
  readonly beginMs: number;
  readonly endMs: number;
  /** At the other end. */
  readonly dueMs: number;
}

export interface Progress<Owner> {
  /** Has left the bottleneck since the last time. */
  readonly served: readonly Parcel<Owner>[];
  /** Is at the other end since the last time; in order. */
  readonly delivered: readonly Parcel<Owner>[];
}

export class ShapedPath<Owner> {
  readonly #options: PathOptions;
  readonly #queue: Packet<Owner>[] = [];
  readonly #line: Parcel<Owner>[] = [];
  #backlogBytes = 0;
  #freeMs = -Infinity;
  #lastDueMs = -Infinity;

  constructor(options: PathOptions) {
    this.#options = options;
  }

  /** In front of the bottleneck, the packet that is in it included. */
  get backlogBytes(): number {
    return this.#backlogBytes;
  }

  get isFull(): boolean {
    return this.#backlogBytes >= this.#options.queueBytesMax;
  }

  /** When something will have moved, as far as is known now; Infinity: nothing will. */
  get nextMs(): number {
    return Math.min(this.#line[0]?.dueMs ?? Infinity, this.#nextService()?.endMs ?? Infinity);
  }

  /** `bytes` are borrowed until they are delivered; none: the end of this owner's stream. */
  send(owner: Owner, bytes: Uint8Array, nowMs: number): void {
    for (let at = 0; at < bytes.length || at === 0; at += PACKET_BYTES) {
      this.#queue.push({ owner, bytes: bytes.subarray(at, at + PACKET_BYTES), arrivedMs: nowMs });
    }
    this.#backlogBytes += bytes.length;
  }

  advance(nowMs: number): Progress<Owner> {
    const served: Parcel<Owner>[] = [];
    for (let next = this.#nextService(); next && next.endMs <= nowMs; next = this.#nextService()) {
      const packet = this.#queue.shift()!;
      const { delayMs, jitterMs, random } = this.#options;
      const dueMs = Math.max(this.#lastDueMs, next.endMs + delayMs + jitterMs * random());
      const parcel = { ...packet, ...next, dueMs };
      this.#freeMs = next.endMs;
      this.#lastDueMs = dueMs;
      this.#backlogBytes -= packet.bytes.length;
      served.push(parcel);
      this.#line.push(parcel);
    }
    const delivered: Parcel<Owner>[] = [];
    while (this.#line.length > 0 && this.#line[0]!.dueMs <= nowMs) delivered.push(this.#line.shift()!);
    return { served, delivered };
  }

  #nextService(): { beginMs: number; endMs: number } | undefined {
    const head = this.#queue[0];
    if (!head) return undefined;
    const beginMs = Math.max(head.arrivedMs, this.#freeMs);
    return { beginMs, endMs: this.#options.capacity.doneMs(beginMs, head.bytes.length * 8) };
  }
}
