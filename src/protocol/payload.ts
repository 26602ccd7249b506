import {
  checkMsgpack,
  isByteString,
  parseCheckedMsgpack,
  parseJson,
  stringifyJson,
  stringifyMsgpack,
} from './wire-value.ts';

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
  #byteLength: number | undefined;

  private constructor(form: { value?: unknown; json?: Uint8Array; msgpack?: Uint8Array; bytes?: Uint8Array }) {
    this.#hasValue = 'value' in form;
    this.#value = form.value;
    this.#json = form.json;
    this.#msgpack = form.msgpack;
    this.#bytes = form.bytes;
    this.#byteLength = (form.bytes ?? form.msgpack ?? form.json)?.length;
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
    checkMsgpack(msgpack);
    return isByteString(msgpack) ? Payload.bytes(parseCheckedMsgpack(msgpack) as Uint8Array) : new Payload({ msgpack });
  }

  /** Bytes that mean something to publisher and reader alone. */
  static bytes(bytes: Uint8Array): Payload {
    return new Payload({ bytes });
  }

  /** The bytes, when that is what the payload is. */
  get raw(): Uint8Array | undefined {
    return this.#bytes;
  }

  /** The checked MessagePack, when it came so and nobody has unpacked it. */
  get packed(): Uint8Array | undefined {
    return this.#hasValue || this.#bytes !== undefined ? undefined : this.#msgpack;
  }

  /** The value; for a payload of bytes the bytes. */
  value(): unknown {
    if (this.#bytes !== undefined) return this.#bytes;
    if (!this.#hasValue) {
      this.#value = parseCheckedMsgpack(this.#msgpack!);
      this.#hasValue = true;
    }
    return this.#value;
  }

  /** As a JSON text; bytes as `{ "base64": "…" }` (RFC 4648 §4). */
  json(): Uint8Array {
    this.#json ??= stringifyJson(this.#bytes === undefined ? this.value() : { base64: toBase64(this.#bytes) });
    return this.#json;
  }

  /** As MessagePack; bytes as a byte string. */
  msgpack(): Uint8Array {
    this.#msgpack ??= stringifyMsgpack(this.value());
    return this.#msgpack;
  }

  /** Bytes of the form it came in; those of its JSON for a value of this program. Never changes: queues count with it. */
  get byteLength(): number {
    this.#byteLength ??= this.json().length;
    return this.#byteLength;
  }
}

function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
