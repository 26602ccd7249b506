/** How the messages of a WebSocket fare on a shaped path, by their places in the stream of bytes. Payloads are not looked at. */

/** One message, its header included. Times on the clock of whoever asks; Infinity: not yet. */
export interface Passage {
  readonly isBinary: boolean;
  readonly payloadBytes: number;
  /** Of the first byte at the queue. */
  readonly arrivedMs: number;
  /** First byte into the bottleneck: it has waited behind everything that came before. */
  readonly beginMs: number;
  /** Last byte out of it. */
  readonly endMs: number;
}

/** Where a message begins and ends in the stream, in bytes from its start. */
export interface MessagePlace {
  readonly from: number;
  readonly to: number;
  readonly isBinary: boolean;
  readonly payloadBytes: number;
}

const HTTP_END = '\r\n\r\n';
const OPCODE_CONTINUATION = 0x0;
const OPCODE_BINARY = 0x2;
const FIN = 0x80;
const MASKED = 0x80;
const MASK_BYTES = 4;

/** Finds the messages in what a WebSocket's client sends: its HTTP request, then frames as RFC 6455 §5.2 has them. */
export class MessageScanner {
  #position = 0;
  /** Characters of `HTTP_END` that have been seen; undefined behind them. */
  #httpEnd: number | undefined = 0;
  #header: number[] = [];
  #payloadLeft = 0;

  /** Messages whose header ends in these bytes. Throws for a message in several frames: nobody here sends those. */
  scan(bytes: Uint8Array): MessagePlace[] {
    const found: MessagePlace[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (this.#payloadLeft > 0) {
        const step = Math.min(this.#payloadLeft, bytes.length - at);
        this.#payloadLeft -= step;
        at += step;
        continue;
      }
      const byte = bytes[at]!;
      at += 1;
      if (this.#httpEnd !== undefined) this.#request(byte);
      else {
        this.#header.push(byte);
        const place = this.#place(this.#position + at);
        if (place) found.push(place);
      }
    }
    this.#position += bytes.length;
    return found;
  }

  #request(byte: number): void {
    const isNext = byte === HTTP_END.charCodeAt(this.#httpEnd!);
    // What breaks the sequence can only be its first character again.
    this.#httpEnd = isNext ? this.#httpEnd! + 1 : byte === HTTP_END.charCodeAt(0) ? 1 : 0;
    if (this.#httpEnd === HTTP_END.length) this.#httpEnd = undefined;
  }

  /** Once the header is whole, whose last byte stands just before `position`. */
  #place(position: number): MessagePlace | undefined {
    const [first = 0, second] = this.#header;
    if (second === undefined) return undefined;
    const short = second & 0x7f;
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0;
    const headerBytes = 2 + lengthBytes + (second & MASKED ? MASK_BYTES : 0);
    if (this.#header.length < headerBytes) return undefined;
    const opcode = first & 0x0f;
    if (!(first & FIN) || opcode === OPCODE_CONTINUATION) throw new Error('a message in several frames');
    const length = this.#header.slice(2, 2 + lengthBytes).reduce((sum, byte) => sum * 256 + byte, 0);
    const payloadBytes = lengthBytes === 0 ? short : length;
    this.#header = [];
    this.#payloadLeft = payloadBytes;
    const isBinary = opcode === OPCODE_BINARY;
    return { from: position - headerBytes, to: position + payloadBytes, isBinary, payloadBytes };
  }
}

interface Open extends MessagePlace {
  readonly arrivedMs: number;
  beginMs: number;
  endMs: number;
}

/** The passages of one connection, in the order of its messages. */
export class PassageLog {
  readonly #scanner = new MessageScanner();
  readonly #all: Open[] = [];
  /** Of the first message that has not passed. */
  #next = 0;
  #servedBytes = 0;

  arrived(bytes: Uint8Array, nowMs: number): void {
    for (const place of this.#scanner.scan(bytes)) {
      this.#all.push({ ...place, arrivedMs: nowMs, beginMs: Infinity, endMs: Infinity });
    }
  }

  /** The next bytes of the stream have passed the bottleneck, evenly between two moments. */
  served(bytes: number, beginMs: number, endMs: number): void {
    const from = this.#servedBytes;
    const to = from + bytes;
    const timeOf = (position: number): number =>
      bytes === 0 ? endMs : beginMs + ((endMs - beginMs) * Math.max(0, position - from)) / bytes;
    this.#servedBytes = to;
    for (let i = this.#next; i < this.#all.length && this.#all[i]!.from < to; i += 1) {
      const message = this.#all[i]!;
      message.beginMs = Math.min(message.beginMs, timeOf(message.from));
      if (message.to > to) return;
      message.endMs = timeOf(message.to);
      this.#next = i + 1;
    }
  }

  get passages(): Passage[] {
    return this.#all.map(({ isBinary, payloadBytes, arrivedMs, beginMs, endMs }) => ({
      isBinary,
      payloadBytes,
      arrivedMs,
      beginMs,
      endMs,
    }));
  }
}
