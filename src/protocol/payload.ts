import type { ColumnBatch } from './columns.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import { programValue } from './program-value.ts';
import { checkMsgpack, isByteString, isMap, parseCheckedMsgpack, parseJson, stringifyJson } from './wire-value.ts';

/** A message's place in a batch of columns. */
export interface PayloadRow {
  readonly batch: ColumnBatch;
  readonly index: number;
}

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
  readonly #row: PayloadRow | undefined;
  #byteLength: number | undefined;

  private constructor(form: {
    value?: unknown;
    json?: Uint8Array;
    msgpack?: Uint8Array;
    bytes?: Uint8Array;
    row?: PayloadRow;
  }) {
    this.#hasValue = 'value' in form;
    this.#value = form.value;
    this.#json = form.json;
    this.#msgpack = form.msgpack;
    this.#bytes = form.bytes;
    this.#row = form.row;
    this.#byteLength = (form.bytes ?? form.msgpack ?? form.json)?.length;
  }

  /** A value that a message can say (`programValue`), or bytes. It is not checked. */
  static of(value: unknown): Payload {
    return value instanceof Uint8Array ? Payload.bytes(value) : new Payload({ value });
  }

  /** Whatever a program has at hand, as it is now: its owner may go on and change it. Throws as `programValue` does. */
  static copyOf(value: unknown): Payload {
    if (value instanceof Uint8Array) return Payload.bytes(new Uint8Array(value));
    return new Payload({ msgpack: writeMsgpack(programValue(value)) });
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

  /** A message of a batch of columns, which stays for as long as one of its messages does. */
  static row(batch: ColumnBatch, index: number): Payload {
    return new Payload({ row: { batch, index } });
  }

  /** Where its leaves are, when it came in columns. */
  get row(): PayloadRow | undefined {
    return this.#row;
  }

  /** The bytes, when that is what the payload is. */
  get raw(): Uint8Array | undefined {
    return this.#bytes;
  }

  /** The checked MessagePack, when it came so and nobody has unpacked it. */
  get packed(): Uint8Array | undefined {
    return this.#hasValue || this.#bytes !== undefined || this.#row !== undefined ? undefined : this.#msgpack;
  }

  /** Whether it has an object at its root; MessagePack is not unpacked for the answer. */
  get isObject(): boolean {
    if (this.#bytes !== undefined) return false;
    const { packed } = this;
    if (packed !== undefined) return isMap(packed);
    const value = this.value();
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  }

  /** The value; for a payload of bytes the bytes. */
  value(): unknown {
    if (this.#bytes !== undefined) return this.#bytes;
    if (!this.#hasValue) {
      this.#value =
        this.#row === undefined ? parseCheckedMsgpack(this.#msgpack!) : this.#row.batch.object(this.#row.index);
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
    this.#msgpack ??= writeMsgpack(this.value());
    return this.#msgpack;
  }

  /**
   * Bytes of the form it came in: its leaves for columns, numbers as doubles; its JSON for a value of this program. Never
   * changes: queues count with it.
   */
  get byteLength(): number {
    this.#byteLength ??= this.#row?.batch.rowBytes(this.#row.index) ?? this.json().length;
    return this.#byteLength;
  }
}

/** Characters that one call makes: every engine takes so many arguments. */
const CHARS_PER_CALL = 8_192;

/** In pieces: character by character a megabyte would take thirty times as long. */
function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += CHARS_PER_CALL) {
    binary += Reflect.apply(String.fromCharCode, null, bytes.subarray(at, at + CHARS_PER_CALL)) as string;
  }
  return btoa(binary);
}
