import type { SightlineError } from '../base/errors.ts';
import type { MemoryAccount, MemoryLedger } from './memory-ledger.ts';

/** A connection with a message that has begun to come. */
export interface IncomingMessage {
  readonly memory: MemoryAccount;
  /** Where it comes from; clients of a shared one have only the address in common. */
  readonly address: { readonly isShared: boolean };
  /** Clients from there are banned by now, for what they did. */
  readonly isBanned: boolean;
  /** Its place is needed: the connection is to end. */
  onCut(reason: SightlineError): void;
}

/** One address may have this part of the bound for all. */
const ADDRESS_PART = 0.25;
/** Parts of messages up to this size are not counted: most reads end within a message. */
const UNCOUNTED_BYTES = 4 * 1024;

/**
 * Messages of which a part has come. WebSockets gather them, so that many connections that send most of a large message and stop would take all
 * memory. Where all together are over their bound, the address gives way from which most has come: the connection is cut off whose message began
 * first, since one that goes on is done soon. An address that is banned for that loses all that it has begun.
 */
export class Incoming {
  readonly #ledger: MemoryLedger;
  /** What has come, bytes; in the order in which they began. */
  readonly #parts = new Map<IncomingMessage, number>();
  readonly #byAddress = new Map<IncomingMessage['address'], number>();

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
    const { address } = message;
    const ofAddress = (this.#byAddress.get(address) ?? 0) + now - before;
    if (ofAddress > 0) this.#byAddress.set(address, ofAddress);
    else this.#byAddress.delete(address);
    if (now > before) this.#makeRoom(address);
  }

  /** Nothing more comes. */
  forget(message: IncomingMessage): void {
    this.update(message, 0);
  }

  #makeRoom(address: IncomingMessage['address']): void {
    const addressBytesMax = address.isShared ? Infinity : this.#ledger.bounds.incoming.totalBytesMax * ADDRESS_PART;
    while ((this.#byAddress.get(address) ?? 0) > addressBytesMax) this.#cutOldest(address);
    while (this.#ledger.isOver('incoming')) {
      const greediest = this.#greediest();
      // What else is charged of this kind is not ours to give.
      if (greediest === undefined) return;
      this.#cutOldest(greediest);
    }
  }

  #cutOldest(of: IncomingMessage['address']): void {
    for (const [message, bytes] of this.#parts) {
      if (message.address !== of) continue;
      this.#cut(message, bytes);
      if (!message.isBanned) return;
    }
  }

  #cut(message: IncomingMessage, bytes: number): void {
    const reason = this.#ledger.refuse('incoming', message.memory, bytes);
    this.forget(message);
    message.onCut(reason);
  }

  #greediest(): IncomingMessage['address'] | undefined {
    let greediest: IncomingMessage['address'] | undefined;
    let most = 0;
    for (const [address, bytes] of this.#byAddress) if (bytes > most) [greediest, most] = [address, bytes];
    return greediest;
  }
}
