import type { ColumnBatch } from './columns.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import { programValue } from './program-value.ts';
import { checkMsgpack, isByteString, parseCheckedMsgpack, parseJson, stringifyJson } from './wire-value.ts';

/** A message's place in a batch of columns. */
export interface PayloadRow {
  readonly batch: ColumnBatch;
  readonly index: number;
}

/** From this size on a payload goes out as it came, where a reader takes that. */
export const LARGE_BYTES = 128 * 1024;

export type PayloadForm = 'value' | 'json' | 'msgpack' | 'bytes' | 'row';

/** Told of each form that a payload makes beside the one that it keeps. */
export interface FormKeeper {
  /** `bytes`: of the form, or of the one that a value was made of. */
  made(payload: Payload, isValue: boolean, bytes: number): void;
}

/**
 * The data of one message, in the form it came in; other forms are made when somebody asks, and kept for a while. Shared by all
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
  /** What it came in, and keeps. */
  #origin: PayloadForm;
  #keeper: FormKeeper | undefined;

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
    this.#origin = form.row ? 'row' : form.bytes ? 'bytes' : form.msgpack ? 'msgpack' : form.json ? 'json' : 'value';
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

  /** What it keeps. */
  get form(): PayloadForm {
    return this.#origin;
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

  /** The value; for a payload of bytes the bytes. */
  value(): unknown {
    if (this.#bytes !== undefined) return this.#bytes;
    if (!this.#hasValue) {
      this.#value =
        this.#row !== undefined
          ? this.#row.batch.object(this.#row.index)
          : this.#msgpack !== undefined
            ? parseCheckedMsgpack(this.#msgpack)
            : parseJson(this.#json!);
      this.#hasValue = true;
      this.#keeper?.made(this, true, this.byteLength);
    }
    return this.#value;
  }

  /** As a JSON text; bytes as `{ "base64": "…" }` (RFC 4648 §4). */
  json(): Uint8Array {
    if (this.#json === undefined) {
      this.#json = this.#bytes === undefined ? stringifyJson(this.value()) : base64Json(this.#bytes);
      this.#keeper?.made(this, false, this.#json.length);
    }
    return this.#json;
  }

  /** As MessagePack; bytes as a byte string. */
  msgpack(): Uint8Array {
    if (this.#msgpack === undefined) {
      this.#msgpack = writeMsgpack(this.value());
      this.#keeper?.made(this, false, this.#msgpack.length);
    }
    return this.#msgpack;
  }

  /**
   * It is to be kept: as bytes, where it came as a value of this program; as MessagePack if that was made, else as JSON. Other forms
   * stay until the keeper has it `forget` them.
   * Returns `byteLength`.
   */
  settle(keeper: FormKeeper): number {
    if (this.#origin === 'value') {
      this.#origin = this.#msgpack === undefined ? 'json' : 'msgpack';
      this.#byteLength = (this.#msgpack ?? this.json()).length;
    }
    this.#keeper = keeper;
    const { byteLength } = this;
    if (this.#hasValue) keeper.made(this, true, byteLength);
    return byteLength;
  }

  /** Keeps one form alone: others are made again when somebody asks. */
  forget(): void {
    this.#hasValue = false;
    this.#value = undefined;
    if (this.#origin !== 'json') this.#json = undefined;
    if (this.#origin !== 'msgpack') this.#msgpack = undefined;
  }

  /** The bytes that it keeps, where it keeps bytes; `moved`: the same ones elsewhere, to keep instead. */
  own(moved?: Uint8Array): Uint8Array | undefined {
    switch (this.#origin) {
      case 'json':
        return (this.#json = moved ?? this.#json);
      case 'msgpack':
        return (this.#msgpack = moved ?? this.#msgpack);
      default:
        return (this.#bytes = moved ?? this.#bytes);
    }
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

const ALPHABET = new TextEncoder().encode('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;
const BEFORE = new TextEncoder().encode('{"base64":"');
const AFTER = new TextEncoder().encode('"}');

/** Written at once: by way of texts a megabyte of bytes would hold up everything else for ten times as long. */
function base64Json(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  const json = new Uint8Array(BEFORE.length + 4 * Math.ceil(length / 3) + AFTER.length);
  json.set(BEFORE);
  let at = BEFORE.length;
  for (let i = 0; i < length; i += 3) {
    // Beyond the end there are zeros.
    const three = (bytes[i]! << 16) | (bytes[i + 1]! << 8) | bytes[i + 2]!;
    json[at++] = ALPHABET[three >> 18]!;
    json[at++] = ALPHABET[(three >> 12) & 63]!;
    json[at++] = i + 1 < length ? ALPHABET[(three >> 6) & 63]! : PAD;
    json[at++] = i + 2 < length ? ALPHABET[three & 63]! : PAD;
  }
  json.set(AFTER, at);
  return json;
}
