import type { SightlineError } from '../base/errors.ts';
import type { MemoryAccount, MemoryLedger } from './memory-ledger.ts';

/** A connection with a message that has begun to come. */
export interface IncomingMessage {
  readonly memory: MemoryAccount;
  /** Its place is needed: the connection is to end. */
  onCut(reason: SightlineError): void;
}

/** Parts of messages up to this size are not counted: most reads end within a message. */
const UNCOUNTED_BYTES = 4 * 1024;

/**
 * Messages of which a part has come. WebSockets gather them, so that many connections that send most of a large message and stop would take all
 * memory. Where all together are over their bound, the connection is cut off whose message began first: one that goes on is done soon.
 */
export class Incoming {
  readonly #ledger: MemoryLedger;
  /** What has come, bytes; in the order in which they began. */
  readonly #parts = new Map<IncomingMessage, number>();

  constructor(ledger: MemoryLedger) {
    this.#ledger = ledger;
  }

  /** So many bytes of a message are there that is not complete; 0: none. */
  update(message: IncomingMessage, bytes: number): void {
    const before = this.#parts.get(message) ?? 0;
    const now = bytes > UNCOUNTED_BYTES ? bytes : 0;
    if (now === before) return;
    // A message that follows another one at once has begun now.
    if (now < before) this.#parts.delete(message);
    if (now > 0) this.#parts.set(message, now);
    message.memory.add('incoming', now - before);
    if (now > before) this.#makeRoom();
  }

  /** Nothing more comes. */
  forget(message: IncomingMessage): void {
    this.update(message, 0);
  }

  #makeRoom(): void {
    for (const [oldest, bytes] of this.#parts) {
      if (!this.#ledger.isOver('incoming')) return;
      const reason = this.#ledger.refuse('incoming', oldest.memory, bytes);
      this.forget(oldest);
      oldest.onCut(reason);
    }
  }
}
