import { parseJson, parseMsgpack, stringifyJson, stringifyMsgpack } from './wire-value.ts';

/**
 * The data of one message, in the form it came in; other forms are made when somebody asks, and kept. Shared by all
 * readers of the message: nobody writes into what it gives. Bytes handed in are borrowed for as long as the payload lives.
 */
export class Payload {
  #value: unknown;
  #hasValue: boolean;
  #json: Uint8Array | undefined;
  #msgpack: Uint8Array | undefined;
  #bytes: Uint8Array | undefined;

  private constructor(form: { value?: unknown; json?: Uint8Array; msgpack?: Uint8Array; bytes?: Uint8Array }) {
    this.#hasValue = 'value' in form;
    this.#value = form.value;
    this.#json = form.json;
    this.#msgpack = form.msgpack;
    this.#bytes = form.bytes;
  }

  /** A value of this program: what JSON can say. It is not checked. */
  static of(value: unknown): Payload {
    return value instanceof Uint8Array ? Payload.bytes(value) : new Payload({ value });
  }

  /** A JSON text. Throws PAYLOAD_BAD when it is none, so that `json()` may give the same bytes to others. */
  static json(json: Uint8Array): Payload {
    return new Payload({ json, value: parseJson(json) });
  }

  /** A MessagePack value; a byte string alone is a payload of bytes. Throws PAYLOAD_BAD. */
  static msgpack(msgpack: Uint8Array): Payload {
    const value = parseMsgpack(msgpack);
    return value instanceof Uint8Array ? Payload.bytes(value) : new Payload({ msgpack, value });
  }

  /** Bytes that mean something to publisher and reader alone. */
  static bytes(bytes: Uint8Array): Payload {
    return new Payload({ bytes });
  }

  /** The bytes, when that is what the payload is. */
  get raw(): Uint8Array | undefined {
    return this.#bytes;
  }

  /** The value; for a payload of bytes the bytes. */
  value(): unknown {
    return this.#hasValue ? this.#value : this.#bytes;
  }

  /** As a JSON text; bytes as `{ "base64": "…" }` (RFC 4648 §4). */
  json(): Uint8Array {
    this.#json ??= stringifyJson(this.#bytes === undefined ? this.#value : { base64: toBase64(this.#bytes) });
    return this.#json;
  }

  /** As MessagePack; bytes as a byte string. */
  msgpack(): Uint8Array {
    this.#msgpack ??= stringifyMsgpack(this.value());
    return this.#msgpack;
  }

  /** Bytes of the form it came in; a value of this program is made JSON to find out. */
  get byteLength(): number {
    return (this.#bytes ?? this.#msgpack ?? this.json()).length;
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
