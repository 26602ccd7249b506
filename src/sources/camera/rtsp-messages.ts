import { SightlineError } from '../../base/errors.ts';

/** What comes over a connection of RTSP 1.0 (RFC 2326): answers, requests of the other side, and packets between them. No I/O. */

export interface RtspAnswer {
  readonly kind: 'answer';
  readonly status: number;
  readonly words: string;
  readonly sequence: number;
  /** Names in small letters; those that come several times have several values. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly body: string;
}

export type RtspMessage =
  | RtspAnswer
  | { readonly kind: 'request'; readonly method: string; readonly sequence: number }
  | { readonly kind: 'packet'; readonly channel: number; readonly bytes: Buffer };

const HEAD_BYTES_MAX = 16 * 1024;
const BODY_BYTES_MAX = 256 * 1024;
const PACKET_MARK = 0x24;

export class RtspReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that are whole with this chunk; packets are views of it where they lie in it whole. Errors: CAMERA_FORMAT for what is no RTSP. */
  *push(chunk: Buffer): Generator<RtspMessage, void, undefined> {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (;;) {
      // Empty lines between messages.
      while (bytes[0] === 0x0d || bytes[0] === 0x0a) bytes = bytes.subarray(1);
      const end = bytes[0] === PACKET_MARK ? packetEnd(bytes) : messageEnd(bytes);
      if (end === undefined || end > bytes.length) break;
      const message = bytes.subarray(0, end);
      bytes = bytes.subarray(end);
      this.#rest = bytes;
      if (message[0] === PACKET_MARK) yield { kind: 'packet', channel: message[1]!, bytes: message.subarray(4) };
      else yield read(message);
    }
    this.#rest = bytes;
  }
}

function packetEnd(bytes: Buffer): number | undefined {
  return bytes.length < 4 ? undefined : 4 + bytes.readUInt16BE(2);
}

function messageEnd(bytes: Buffer): number | undefined {
  const head = bytes.indexOf('\r\n\r\n');
  if (head < 0) {
    const isText = bytes.subarray(0, 8).every((byte) => byte >= 0x20 && byte < 0x7f);
    if (!isText || bytes.length > HEAD_BYTES_MAX) throw bad();
    return undefined;
  }
  const length = Number(/^content-length:\s*(\d+)\s*$/im.exec(bytes.toString('latin1', 0, head))?.[1] ?? 0);
  if (length > BODY_BYTES_MAX) throw bad();
  return head + 4 + length;
}

function read(message: Buffer): RtspMessage {
  const split = message.indexOf('\r\n\r\n');
  const [first = '', ...lines] = message.toString('latin1', 0, split).split('\r\n');
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  const sequence = Number(headers.get('cseq')?.[0] ?? Number.NaN);
  const answer = /^RTSP\/1\.\d (\d{3}) ?(.*)$/.exec(first);
  if (answer) {
    const body = message.toString('utf8', split + 4);
    return { kind: 'answer', status: Number(answer[1]), words: answer[2]!.trim(), sequence, headers, body };
  }
  const request = /^([A-Z_]+) \S+ RTSP\/1\.\d$/.exec(first);
  if (!request) throw bad();
  return { kind: 'request', method: request[1]!, sequence };
}

function bad(): SightlineError {
  return new SightlineError('CAMERA_FORMAT', 'what answers there does not speak RTSP');
}
