import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import type { MemoryAccount } from '../fences/memory-ledger.ts';
import { TimeAccount, type Turns, type WaitingClient } from '../fences/turns.ts';
import { PauseReason, SocketReading, type SocketReader } from './socket-reading.ts';

export interface InboxOwner {
  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void | Promise<void>;
}

export interface InboxHost {
  readonly clock: Clock;
  readonly fences: { readonly turns: Turns };
}

export interface InboxParts {
  readonly host: InboxHost;
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
export class Inbox implements WaitingClient, SocketReader {
  readonly time = new TimeAccount();
  readonly #host: InboxHost;
  readonly #memory: MemoryAccount;
  readonly #owner: InboxOwner;
  /** Made when the first one waits. */
  #waiting: Waiting[] | undefined;
  #next = 0;
  #reading: SocketReading | undefined;
  /** What is to be done once nothing waits any more. */
  #onEmpty: (() => void) | undefined;

  constructor({ host, memory, owner }: InboxParts) {
    this.#host = host;
    this.#memory = memory;
    this.#owner = owner;
  }

  /** Messages come from this socket from now on; what waits of an earlier one is gone. `address`: the other end of it. */
  open(socket: WebSocket, address: string | undefined): void {
    this.close();
    this.time.address = this.#turns.addressTime(address);
    this.#turns.connected(this.time);
    this.#reading = SocketReading.of(socket);
    this.#reading.reader = this;
  }

  /** Drops what waits. Idempotent. */
  close(): void {
    this.#turns.leave(this);
    for (const waiting of this.#waiting?.slice(this.#next) ?? []) this.#memory.release('incoming', chargeOf(waiting));
    this.#waiting = undefined;
    this.#next = 0;
    this.#onEmpty = undefined;
    if (this.#reading) {
      this.#reading.reader = undefined;
      this.#turns.disconnected(this.time);
    }
    this.#reading = undefined;
  }

  onReady(): void {
    if (!this.isEmpty || this.#onEmpty || this.#reading?.waitsFor(PauseReason.turn)) this.#turns.wait(this);
  }

  get #turns(): Turns {
    return this.#host.fences.turns;
  }

  get isEmpty(): boolean {
    return this.#waiting === undefined;
  }

  get isReady(): boolean {
    return this.#reading !== undefined && !this.#reading.isHeld;
  }

  /** A message has come: it is worked on now, or when the client has its turn. */
  receive(data: Buffer, isBinary: boolean, nowMs: number): void {
    const reading = this.#reading!;
    const mayGoOn = this.isEmpty && !reading.isHeld && this.#turns.admits(this.time, nowMs);
    if (mayGoOn) return this.#handOn(data, isBinary, nowMs);
    const waiting = { data, isBinary };
    this.#memory.add('incoming', chargeOf(waiting));
    this.#waiting ??= [];
    this.#waiting.push(waiting);
    reading.pause(PauseReason.turn);
    this.#turns.wait(this);
  }

  /** Bytes have come. Gives a mark for `endRead`. */
  beginRead(): number {
    return this.#host.clock.now() - this.time.usedMs;
  }

  /**
   * They are taken apart, and messages that were complete in them worked on: what the bytes themselves have taken is charged as well, or a message
   * whose end never comes would cost nothing. Who has used its turn is not read until the next one.
   */
  endRead(mark: number): void {
    const nowMs = this.#host.clock.now();
    this.#turns.spent(this.time, Math.max(0, nowMs - this.time.usedMs - mark), nowMs);
    if (this.#turns.admits(this.time, nowMs)) return;
    this.#reading?.pause(PauseReason.turn);
    this.#turns.wait(this);
  }

  /** A piece of work for the client has taken so long; fulfilled when it has its next turn. */
  nextTurn(spentMs: number): Promise<void> {
    this.#turns.spent(this.time, spentMs, this.#host.clock.now());
    return this.#turns.next(this.time);
  }

  /** Calls once all that has come so far is worked on: at once where nothing waits. */
  whenEmpty(then: () => void): void {
    if (this.isEmpty && !this.#reading?.isHeld) then();
    else this.#onEmpty = then;
  }

  work(): boolean {
    const waiting = this.#waiting?.[this.#next];
    if (waiting === undefined) {
      this.#emptied();
      return false;
    }
    this.#next++;
    this.#memory.release('incoming', chargeOf(waiting));
    if (this.#next === this.#waiting?.length) {
      this.#waiting = undefined;
      this.#next = 0;
    }
    this.#handOn(waiting.data, waiting.isBinary, this.#host.clock.now());
    if (!this.isEmpty) return true;
    this.#emptied();
    return false;
  }

  #handOn(data: Buffer, isBinary: boolean, nowMs: number): void {
    const reading = this.#reading;
    const work = this.#owner.onMessage(data, isBinary, nowMs);
    const endMs = this.#host.clock.now();
    this.#turns.spent(this.time, endMs - nowMs, endMs);
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
