import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A client's side of a TCP connection, byte by byte: it may leave unread what comes, stop in the middle of a message, and close rudely,
 * which no library of WebSockets lets it do.
 */

/** Of RFC 6455 §5.2. */
export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
export type Opcode = (typeof Opcode)[keyof typeof Opcode];

const LENGTH_16 = 126;
const LENGTH_64 = 127;
const IS_LAST = 0x80;
const IS_MASKED = 0x80;
/** Of zeros: the payload goes as it is, and the server unmasks it all the same. */
const MASK = Buffer.alloc(4);

/** A client's frame. */
export function frame(opcode: Opcode, payload: string | Uint8Array, isLast = true): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
  return Buffer.concat([frameHead(opcode, bytes.length, isLast), bytes]);
}

/** What stands in front of a payload of this length, whether that comes or not. */
export function frameHead(opcode: Opcode, length: number, isLast = true): Buffer {
  const first = (isLast ? IS_LAST : 0) | opcode;
  if (length < LENGTH_16) return Buffer.concat([Buffer.of(first, IS_MASKED | length), MASK]);
  const isShort = length <= 0xffff;
  const head = Buffer.alloc(isShort ? 4 : 10);
  head[0] = first;
  head[1] = IS_MASKED | (isShort ? LENGTH_16 : LENGTH_64);
  if (isShort) head.writeUInt16BE(length, 2);
  else head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, MASK]);
}

export interface WireOptions {
  readonly port: number;
  /** Address that it comes from; not given: the operating system's choice. */
  readonly from?: string | undefined;
  /** Discards what comes; `false`: leaves it unread. */
  readonly reads?: boolean;
  /** Stays when the other side has ended its half. */
  readonly isHalfOpen?: boolean;
}

const HOST = '127.0.0.1';
const CONNECT_TIMEOUT_MS = 5_000;
/** Bytes that this process may hold for the other side. */
const IN_FLIGHT_BYTES_MAX = 1_000_000;
const ROOM_POLL_MS = 4;
const HEAD_BYTES_MAX = 65_536;
const HEAD_END = '\r\n\r\n';
/** Any 16 bytes in base64. */
const KEY = Buffer.from('sixteen bytes 16').toString('base64');

export class Wire {
  readonly #socket: Socket;
  readonly #reads: boolean;
  /** Bytes behind the answer to the handshake. */
  #behindHead: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, reads: boolean) {
    this.#socket = socket;
    this.#reads = reads;
    // A connection that is cut shows in `isOpen`.
    socket.on('error', () => undefined);
  }

  /** Rejects when nobody takes the connection in time. */
  static async open({ port, from, reads = true, isHalfOpen = false }: WireOptions): Promise<Wire> {
    const socket = connect({
      host: HOST,
      port,
      allowHalfOpen: isHalfOpen,
      ...(from !== undefined && { localAddress: from }),
    });
    const wire = new Wire(socket, reads);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
    } catch (thrown) {
      socket.destroy();
      throw thrown;
    }
    if (reads) socket.resume();
    return wire;
  }

  /** Neither side has ended it, as far as is known here: whoever does not read learns it late. */
  get isOpen(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  get inFlightBytes(): number {
    return this.#socket.writableLength;
  }

  get sentBytes(): number {
    return this.#socket.bytesWritten;
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead;
  }

  /** Whatever is in flight: see `hasRoom`. */
  write(bytes: string | Uint8Array): void {
    if (this.isOpen) this.#socket.write(bytes);
  }

  /** Waits until little is in flight; false when the time is over (`performance.now()`), or the connection. */
  async hasRoom(untilMs: number, inFlightMax = IN_FLIGHT_BYTES_MAX): Promise<boolean> {
    while (this.isOpen && performance.now() < untilMs) {
      if (this.#socket.writableLength <= inFlightMax) return true;
      await sleep(ROOM_POLL_MS);
    }
    return false;
  }

  /** The WebSocket handshake. False: it was refused, or not answered in time. */
  async upgrade(path: string, protocol?: string): Promise<boolean> {
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: ${HOST}:${this.#socket.remotePort}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${KEY}`,
      'Sec-WebSocket-Version: 13',
      ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
    ];
    this.write(lines.join('\r\n') + HEAD_END);
    const got = await this.#collect((bytes) => bytes.includes(HEAD_END) || bytes.length > HEAD_BYTES_MAX);
    const end = got.indexOf(HEAD_END);
    if (end < 0 || !got.subarray(0, end).toString('latin1').startsWith('HTTP/1.1 101')) return false;
    this.#behindHead = got.subarray(end + HEAD_END.length);
    return true;
  }

  /** The first text message after `upgrade`; undefined when none comes in time. What follows it is discarded. */
  async firstText(): Promise<string | undefined> {
    const got = await this.#collect(
      (bytes) => textIn(bytes) !== undefined || bytes.length > HEAD_BYTES_MAX,
      this.#behindHead,
    );
    return textIn(got);
  }

  /** Calls back with what comes from now on, in the pieces in which it comes. */
  onBytes(take: (bytes: Buffer) => void): void {
    if (this.#behindHead.length > 0) take(this.#behindHead);
    this.#socket.on('data', take);
  }

  /** Reads on, or no more. */
  set reading(reads: boolean) {
    if (reads) this.#socket.resume();
    else this.#socket.pause();
  }

  /** Ends this side alone, with a FIN. */
  end(): void {
    this.#socket.end();
  }

  /** Without a word, and what is in flight is thrown away. */
  destroy(): void {
    this.#socket.destroy();
  }

  /** Rudest: by RST. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /** What comes until it is enough, the connection ends, or a time-out. */
  async #collect(isEnough: (bytes: Buffer) => boolean, before: Buffer = Buffer.alloc(0)): Promise<Buffer> {
    let got = before;
    if (isEnough(got)) return got;
    const enough = Promise.withResolvers<void>();
    const onData = (bytes: Buffer): void => {
      got = Buffer.concat([got, bytes]);
      if (isEnough(got)) enough.resolve();
    };
    const onEnd = (): void => enough.resolve();
    const timer = setTimeout(onEnd, CONNECT_TIMEOUT_MS);
    this.#socket.on('data', onData).once('end', onEnd).once('close', onEnd);
    this.#socket.resume();
    await enough.promise;
    clearTimeout(timer);
    this.#socket.off('data', onData).off('end', onEnd).off('close', onEnd);
    if (this.#reads) this.#socket.resume();
    else this.#socket.pause();
    return got;
  }
}

/** The payload of the first frame, where it is a whole text message. A server's frames are not masked. */
function textIn(bytes: Buffer): string | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes[1]! & 0x7f;
  const at = short < LENGTH_16 ? 2 : short === LENGTH_16 ? 4 : 10;
  if (bytes.length < at) return undefined;
  const length = at === 2 ? short : at === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < at + length || bytes[0] !== (IS_LAST | Opcode.text)) return undefined;
  return bytes.subarray(at, at + length).toString();
}
