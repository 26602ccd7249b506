import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Which datagrams of a viewer's port go on to the libraries behind it: a check of ICE (STUN, RFC 8489) that knows the session's password, and whatever comes from an address that one came from. All else
 * is a stranger's, and nobody reads it.
 */

export interface GateKeys {
  readonly localUfrag: string;
  readonly localPassword: string;
  readonly remoteUfrag: string;
}

const STUN_HEADER_BYTES = 20;
const STUN_COOKIE = 0x2112a442;
const STUN = { USERNAME: 0x0006, INTEGRITY: 0x0008 } as const;
const INTEGRITY_BYTES = 20;
/** Bits of the class in the type of a message (5): a request has none of them, a response has the second. */
const CLASS = { BITS: 0x0110, RESPONSE: 0x0100 } as const;
/** Addresses of one viewer: a machine has a few, and a translator in front of it some ports. */
const PEERS_MAX = 16;

export class Gate {
  readonly #username: Buffer;
  readonly #password: string;
  readonly #peers = new Set<string>();
  #strangers = 0;

  constructor({ localUfrag, localPassword, remoteUfrag }: GateKeys) {
    this.#username = Buffer.from(`${localUfrag}:${remoteUfrag}`);
    this.#password = localPassword;
  }

  /** Datagrams that were not let in. */
  get strangers(): number {
    return this.#strangers;
  }

  admits(datagram: Buffer, address: string, port: number): boolean {
    const isIn = this.#isIn(datagram, `${address} ${port}`);
    if (!isIn) this.#strangers++;
    return isIn;
  }

  #isIn(datagram: Buffer, peer: string): boolean {
    const type = stunType(datagram);
    if (type === undefined || (type & CLASS.RESPONSE) !== 0) return this.#peers.has(peer);
    if ((type & CLASS.BITS) !== 0 || !this.#isOurs(datagram)) return false;
    if (!this.#peers.has(peer)) {
      if (this.#peers.size >= PEERS_MAX) return false;
      this.#peers.add(peer);
    }
    return true;
  }

  /** 9.1: the name is that of both ends, and the message is signed by our password. */
  #isOurs(message: Buffer): boolean {
    let isNamed = false;
    for (let at = STUN_HEADER_BYTES; at + 4 <= message.length;) {
      const [type, length] = [message.readUInt16BE(at), message.readUInt16BE(at + 2)];
      const value = message.subarray(at + 4, at + 4 + length);
      if (value.length < length) return false;
      if (type === STUN.USERNAME) isNamed = value.equals(this.#username);
      // Nothing behind it is signed.
      if (type === STUN.INTEGRITY) return isNamed && length === INTEGRITY_BYTES && this.#isSigned(message, at, value);
      at += 4 + length + ((4 - (length % 4)) % 4);
    }
    return false;
  }

  /** 14.5: by all before, with a length that ends with the signature. */
  #isSigned(message: Buffer, at: number, signature: Buffer): boolean {
    const signed = Buffer.from(message.subarray(0, at));
    signed.writeUInt16BE(at + 4 + INTEGRITY_BYTES - STUN_HEADER_BYTES, 2);
    return timingSafeEqual(createHmac('sha1', this.#password).update(signed).digest(), signature);
  }
}

/** RFC 7983: what begins with 0 to 3 is STUN. */
function stunType(datagram: Buffer): number | undefined {
  const isStun = datagram.length >= STUN_HEADER_BYTES && datagram[0]! < 4 && datagram.readUInt32BE(4) === STUN_COOKIE;
  return isStun ? datagram.readUInt16BE(0) : undefined;
}
