import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import type { MemoryAccount } from '../fences/memory-ledger.ts';
import { TimeAccount, type Turns, type WaitingClient } from '../fences/turns.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';

export interface InboxOwner {
  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void | Promise<void>;
}

export interface InboxParts {
  readonly clock: Clock;
  readonly turns: Turns;
  readonly memory: MemoryAccount;
  readonly owner: InboxOwner;
}

interface Waiting {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

/** Beside the bytes of a message that waits. */
const WAITING_BYTES = 150;

/**
 * Messages of one client, worked on in their order and when the client has its turn. While some wait the socket is not read: what waits is what
 * `ws` had in hand already, which is what one read brings, 64 KiB, or one larger message.
 */
export class Inbox implements WaitingClient {
  readonly time = new TimeAccount();
  readonly #parts: InboxParts;
  #waiting: Waiting[] = [];
  #next = 0;
  #reading: SocketReading | undefined;
  /** What is to be done once nothing waits any more. */
  #onEmpty: (() => void) | undefined;

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  /** Messages come from this socket from now on; what waits of an earlier one is gone. `address`: the other end of it. */
  open(socket: WebSocket, address: string | undefined): void {
    this.close();
    const { turns } = this.#parts;
    this.time.address = turns.addressTime(address);
    turns.connected(this.time);
    this.#reading = SocketReading.of(socket);
    this.#reading.onReady = () => {
      if (!this.isEmpty || this.#onEmpty || this.#reading?.waitsFor(PauseReason.turn)) this.#parts.turns.wait(this);
    };
  }

  /** Drops what waits. Idempotent. */
  close(): void {
    const { turns, memory } = this.#parts;
    turns.leave(this);
    for (let i = this.#next; i < this.#waiting.length; i++) memory.release('incoming', chargeOf(this.#waiting[i]!));
    this.#waiting = [];
    this.#next = 0;
    this.#onEmpty = undefined;
    if (this.#reading) {
      this.#reading.onReady = undefined;
      turns.disconnected(this.time);
    }
    this.#reading = undefined;
  }

  get isEmpty(): boolean {
    return this.#next === this.#waiting.length;
  }

  get isReady(): boolean {
    return this.#reading !== undefined && !this.#reading.isHeld;
  }

  /** A message has come: it is worked on now, or when the client has its turn. */
  receive(data: Buffer, isBinary: boolean, nowMs: number): void {
    const reading = this.#reading!;
    const { turns, memory } = this.#parts;
    if (this.isEmpty && !reading.isHeld && turns.admits(this.time, nowMs)) return this.#handOn(data, isBinary, nowMs);
    const waiting = { data, isBinary };
    memory.add('incoming', chargeOf(waiting));
    this.#waiting.push(waiting);
    reading.pause(PauseReason.turn);
    turns.wait(this);
  }

  /** Bytes have come. Gives a mark for `endRead`. */
  beginRead(): number {
    return this.#parts.clock.now() - this.time.usedMs;
  }

  /**
   * They are taken apart, and messages that were complete in them worked on: what the bytes themselves have taken is charged as well, or a message
   * whose end never comes would cost nothing. Who has used its turn is not read until the next one.
   */
  endRead(mark: number): void {
    const { clock, turns } = this.#parts;
    const nowMs = clock.now();
    turns.spent(this.time, Math.max(0, nowMs - this.time.usedMs - mark), nowMs);
    if (turns.admits(this.time, nowMs)) return;
    this.#reading?.pause(PauseReason.turn);
    turns.wait(this);
  }

  /** A piece of work for the client has taken so long; fulfilled when it has its next turn. */
  nextTurn(spentMs: number): Promise<void> {
    const { clock, turns } = this.#parts;
    turns.spent(this.time, spentMs, clock.now());
    return turns.next(this.time);
  }

  /** Calls once all that has come so far is worked on: at once where nothing waits. */
  whenEmpty(then: () => void): void {
    if (this.isEmpty && !this.#reading?.isHeld) then();
    else this.#onEmpty = then;
  }

  work(): boolean {
    if (this.isEmpty) {
      this.#emptied();
      return false;
    }
    const waiting = this.#waiting[this.#next]!;
    this.#next++;
    this.#parts.memory.release('incoming', chargeOf(waiting));
    if (this.isEmpty) {
      this.#waiting = [];
      this.#next = 0;
    }
    this.#handOn(waiting.data, waiting.isBinary, this.#parts.clock.now());
    if (!this.isEmpty) return true;
    this.#emptied();
    return false;
  }

  #handOn(data: Buffer, isBinary: boolean, nowMs: number): void {
    const { clock, turns, owner } = this.#parts;
    const reading = this.#reading;
    const work = owner.onMessage(data, isBinary, nowMs);
    const endMs = clock.now();
    turns.spent(this.time, endMs - nowMs, endMs);
    if (work === undefined) return;
    reading?.pause(PauseReason.busy);
    void this.#resumeAfter(work, reading);
  }

  async #resumeAfter(work: Promise<void>, reading: SocketReading | undefined): Promise<void> {
    await work;
    reading?.resume(PauseReason.busy);
    if (reading === this.#reading && this.isEmpty) this.#emptied();
  }

  #emptied(): void {
    this.#reading?.resume(PauseReason.turn);
    if (this.#reading?.isHeld) return;
    const then = this.#onEmpty;
    this.#onEmpty = undefined;
    then?.();
  }
}

function chargeOf({ data }: Waiting): number {
  return data.length + WAITING_BYTES;
}
