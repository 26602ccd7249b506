import type { ColumnBatch } from './columns.ts';
import { writeMsgpack } from './msgpack-writer.ts';
import { programValue } from './program-value.ts';
import { limitJsonElements } from './elements.ts';
import { checkMsgpack, isByteString, isMap, parseCheckedMsgpack, parseJson, stringifyJson } from './wire-value.ts';

/** A message's place in a batch of columns. */
export interface PayloadRow {
  readonly batch: ColumnBatch;
  readonly index: number;
}

/** From this size on a payload goes out as it came, where a reader takes that. */
export const LARGE_BYTES = 128 * 1024;

/** Memory for forms that were made beside the one that a payload came in, of all payloads together, bytes by estimate. */
const FORMS_BYTES_MAX = 24 * 1024 * 1024;
/** A value as V8 has it, for each byte that says it: `[{},{}]` is the worst (24 bytes for 3, measured), a text the best. */
const VALUE_BYTES_PER_BYTE = 24;
const FORM_BYTES = 200;

/** Payloads that have more than one form: the one that was made to have it first gives way. */
class Forms {
  readonly #queue: (Payload | undefined)[] = [];
  #first = 0;
  #bytes = 0;

  /** A payload has got another form. */
  made(payload: Payload, bytes: number, isFirst: boolean): void {
    this.#bytes += bytes;
    if (isFirst) this.#queue.push(payload);
    // The newest stays: whoever asked for it is about to use it.
    while (this.#bytes > FORMS_BYTES_MAX && this.#first < this.#queue.length - 1) {
      const oldest = this.#queue[this.#first]!;
      this.#queue[this.#first++] = undefined;
      this.#bytes -= oldest.formBytes;
      oldest.forgetForms();
    }
    if (this.#first > 1_000 && 2 * this.#first > this.#queue.length) {
      this.#queue.splice(0, this.#first);
      this.#first = 0;
    }
  }
}

function valueBytes(bytes: number): number {
  return bytes * VALUE_BYTES_PER_BYTE;
}

const forms = new Forms();

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
  #origin: 'value' | 'json' | 'msgpack' | 'bytes' | 'row';
  /** What it is to keep when it came as a value. */
  #kept: 'json' | 'msgpack' = 'json';
  /** What its other forms count for, among all that have some; 0: it has none. */
  #formBytes = 0;

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

  /** The same for a value that came in MessagePack, which has numbers that JSON has not. */
  static ofMsgpack(value: unknown): Payload {
    const payload = Payload.of(value);
    payload.#kept = 'msgpack';
    return payload;
  }

  /** Whatever a program has at hand, as it is now: its owner may go on and change it. Throws as `programValue` does. */
  static copyOf(value: unknown): Payload {
    if (value instanceof Uint8Array) return Payload.bytes(new Uint8Array(value));
    return new Payload({ msgpack: writeMsgpack(programValue(value)) });
  }

  /** A JSON text of at most so many elements. Throws MESSAGE_TOO_LARGE for more, PAYLOAD_BAD when it is none, so that `json()` may give the same bytes to others. */
  static json(json: Uint8Array, elementsMax = Infinity): Payload {
    limitJsonElements(json, elementsMax);
    const payload = new Payload({ json, value: parseJson(json) });
    payload.#madeForm(valueBytes(json.length));
    return payload;
  }

  /** A MessagePack value; a byte string alone is a payload of bytes. Throws PAYLOAD_BAD. */
  static msgpack(msgpack: Uint8Array, elementsMax = Infinity): Payload {
    checkMsgpack(msgpack, 0, elementsMax);
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

  /** The form that it keeps, where that is a text or MessagePack and too large to be made into another one in passing. */
  get ownForm(): 'json' | 'msgpack' | undefined {
    if (this.#origin !== 'json' && this.#origin !== 'msgpack') return undefined;
    return this.byteLength > LARGE_BYTES ? this.#origin : undefined;
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

  /** Whether it has an object at its root; bytes are not parsed for the answer. */
  get isObject(): boolean {
    if (this.#bytes !== undefined) return false;
    const { packed } = this;
    if (packed !== undefined) return isMap(packed);
    if (this.#origin === 'json' && !this.#hasValue) return isJsonObject(this.#json!);
    const value = this.value();
    return typeof value === 'object' && value !== null && !Array.isArray(value);
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
      this.#madeForm(valueBytes(this.byteLength));
    }
    return this.#value;
  }

  /** As a JSON text; bytes as `{ "base64": "…" }` (RFC 4648 §4). */
  json(): Uint8Array {
    if (this.#json === undefined) {
      this.#json = this.#bytes === undefined ? stringifyJson(this.value()) : base64Json(this.#bytes);
      this.#madeForm(this.#json.length);
    }
    return this.#json;
  }

  /** As MessagePack; bytes as a byte string. */
  msgpack(): Uint8Array {
    if (this.#msgpack === undefined) {
      this.#msgpack = writeMsgpack(this.value());
      this.#madeForm(this.#msgpack.length);
    }
    return this.#msgpack;
  }

  /** Has it keep bytes, where it came as a value of this program: those are known by their size. Returns `byteLength`. */
  settle(): number {
    if (this.#origin === 'value') {
      const { length } = this.#kept === 'json' ? this.json() : this.msgpack();
      this.#origin = this.#kept;
      this.#byteLength = length;
      this.#madeForm(valueBytes(length));
    }
    return this.byteLength;
  }

  /** Where its bytes lie, perhaps beside those of others; undefined for columns. */
  get memory(): ArrayBufferLike | undefined {
    return this.#own?.buffer;
  }

  /** Moves its bytes to memory of their own, since their neighbours are of no use any more. */
  moveOut(): void {
    const own = this.#own;
    if (own === undefined) return;
    const moved = new Uint8Array(own);
    if (this.#origin === 'json') this.#json = moved;
    else if (this.#origin === 'msgpack') this.#msgpack = moved;
    else this.#bytes = moved;
  }

  /** Keeps the form that it came in alone: others are made again when somebody asks. */
  forgetForms(): void {
    this.#formBytes = 0;
    if (this.#origin !== 'value') {
      this.#hasValue = false;
      this.#value = undefined;
    }
    if (this.#origin !== 'json') this.#json = undefined;
    if (this.#origin !== 'msgpack') this.#msgpack = undefined;
  }

  /**
   * Bytes of the form it came in: its leaves for columns, numbers as doubles; its JSON for a value of this program. Never
   * changes: queues count with it.
   */
  get byteLength(): number {
    this.#byteLength ??= this.#row?.batch.rowBytes(this.#row.index) ?? this.json().length;
    return this.#byteLength;
  }

  /** The bytes that it keeps, where it keeps bytes. */
  get #own(): Uint8Array | undefined {
    if (this.#origin === 'json') return this.#json;
    return this.#origin === 'msgpack' ? this.#msgpack : this.#bytes;
  }

  /** What its other forms take, by estimate. */
  get formBytes(): number {
    return this.#formBytes;
  }

  #madeForm(bytes: number): void {
    // A program's own value is the program's, however large.
    if (this.#origin === 'value') return;
    const isFirst = this.#formBytes === 0;
    this.#formBytes += bytes + FORM_BYTES;
    forms.made(this, bytes + FORM_BYTES, isFirst);
  }
}

/** Of a valid JSON text. */
function isJsonObject(json: Uint8Array): boolean {
  const first = json.findIndex((byte) => byte > 0x20);
  return json[first] === 0x7b;
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
