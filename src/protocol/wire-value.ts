import { Unpackr } from 'msgpackr/unpack';
import { SightlineError } from '../base/errors.ts';

/**
 * Values of messages as JSON and MessagePack, both held to one model: what JSON can say, at most 64 levels deep, without
 * the key `__proto__`, in valid UTF-8. MessagePack may also say NaN, the infinities and −0 (JSON has null and 0 for them); its
 * 64-bit integers are read as doubles, as JSON's are. `programValue` makes such a value of a program's own.
 */

export const DEPTH_MAX = 64;

const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number' });
const encoder = new TextEncoder();
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const BIN8 = 0xc4;
const BIN32 = 0xc6;
const PROTO = encoder.encode('__proto__');

/** The value of a JSON text. Throws PAYLOAD_BAD. */
export function parseJson(bytes: Uint8Array): unknown {
  return parseJsonText(decodeUtf8(bytes));
}

/** The value of a JSON text that is a string already; data may lie in it, so many levels down. Throws PAYLOAD_BAD. */
export function parseJsonText(text: string, levelsAbove = 0): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SightlineError('PAYLOAD_BAD', 'the data is not JSON', { cause });
  }
  // Halves of characters, which UTF-8 cannot say, are written as escapes alone.
  checkValue(value, -levelsAbove, text.includes('\\u'));
  return value;
}

export function stringifyJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value) ?? 'null');
}

/**
 * Throws PAYLOAD_BAD unless the bytes are one MessagePack value of the model. They are walked through, so that a claimed length
 * allocates nothing and the library never sees extension types. Data may lie in it, so many levels down; a byte string is the
 * whole of some data.
 */
export function checkMsgpack(bytes: Uint8Array, levelsAbove = 0): void {
  const end = skip(bytes, 0, -levelsAbove);
  if (end !== bytes.length) throw badMsgpack(`${bytes.length - end} bytes follow the value`);
}

/** The value of MessagePack bytes that `checkMsgpack` has let pass. */
export function parseCheckedMsgpack(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

/** Whether checked MessagePack bytes are one byte string. */
export function isByteString(msgpack: Uint8Array): boolean {
  const tag = msgpack[0]!;
  return tag >= BIN8 && tag <= BIN32;
}

/** Whether checked MessagePack bytes are a map. */
export function isMap(msgpack: Uint8Array): boolean {
  const tag = msgpack[0]!;
  return (tag >= 0x80 && tag <= 0x8f) || tag === 0xde || tag === 0xdf;
}

/** Text in strict UTF-8. Throws PAYLOAD_BAD. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictDecoder.decode(bytes);
  } catch (cause) {
    throw new SightlineError('PAYLOAD_BAD', 'the text is not valid UTF-8', { cause });
  }
}

function checkValue(value: unknown, depth: number, hasEscapes: boolean): void {
  if (hasEscapes && typeof value === 'string') checkText(value);
  if (typeof value !== 'object' || value === null) return;
  checkDepth(depth);
  if (Array.isArray(value)) {
    for (const element of value) checkValue(element, depth + 1, hasEscapes);
    return;
  }
  for (const key in value) {
    if (key === '__proto__') refuseProto();
    if (hasEscapes) checkText(key);
    checkValue((value as Record<string, unknown>)[key], depth + 1, hasEscapes);
  }
}

function checkText(text: string): void {
  if (!text.isWellFormed()) throw new SightlineError('PAYLOAD_BAD', 'a text of the data has half a character');
}

function checkDepth(depth: number): void {
  if (depth >= DEPTH_MAX) throw new SightlineError('PAYLOAD_BAD', `the data is nested deeper than ${DEPTH_MAX} levels`);
}

function refuseProto(): never {
  throw new SightlineError('PAYLOAD_BAD', 'the data has a key "__proto__"');
}

/** Where the value that begins at `at` ends; depth 0 is where data begins. */
function skip(bytes: Uint8Array, at: number, depth: number): number {
  const tag = bytes[at];
  if (tag === undefined) throw badMsgpack('it ends too early');
  if (tag <= 0x7f || tag >= 0xe0) return at + 1;
  if (tag <= 0x8f) return skipMap(bytes, at + 1, tag & 0x0f, depth);
  if (tag <= 0x9f) return skipList(bytes, at + 1, tag & 0x0f, depth);
  if (tag <= 0xbf) return skipText(bytes, at + 1, tag & 0x1f);
  switch (tag) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1;
    case 0xc4:
    case 0xc5:
    case 0xc6: {
      if (depth !== 0) throw badMsgpack('a byte string is inside the data');
      const size = 1 << (tag - 0xc4);
      return within(bytes, at + 1 + size + length(bytes, at + 1, size));
    }
    case 0xcc:
    case 0xd0:
      return within(bytes, at + 2);
    case 0xcd:
    case 0xd1:
      return within(bytes, at + 3);
    case 0xca:
    case 0xce:
    case 0xd2:
      return within(bytes, at + 5);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return within(bytes, at + 9);
    case 0xd9:
    case 0xda:
    case 0xdb: {
      const size = 1 << (tag - 0xd9);
      return skipText(bytes, at + 1 + size, length(bytes, at + 1, size));
    }
    case 0xdc:
    case 0xdd: {
      const size = tag === 0xdc ? 2 : 4;
      return skipList(bytes, at + 1 + size, length(bytes, at + 1, size), depth);
    }
    case 0xde:
    case 0xdf: {
      const size = tag === 0xde ? 2 : 4;
      return skipMap(bytes, at + 1 + size, length(bytes, at + 1, size), depth);
    }
    default:
      throw badMsgpack(`type 0x${tag.toString(16)} has no place in it`);
  }
}

function skipList(bytes: Uint8Array, at: number, count: number, depth: number): number {
  checkDepth(depth);
  let next = at;
  for (let i = 0; i < count; i++) next = skip(bytes, next, depth + 1);
  return next;
}

function skipMap(bytes: Uint8Array, at: number, count: number, depth: number): number {
  checkDepth(depth);
  let next = at;
  for (let i = 0; i < count; i++) {
    const tag = bytes[next];
    const isText = tag !== undefined && ((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb));
    if (!isText) throw badMsgpack('a key is not text');
    const keyEnd = skip(bytes, next, depth);
    // The text is the last bytes of its encoding, however its length was written.
    if (endsWithProto(bytes, next, keyEnd)) refuseProto();
    next = skip(bytes, keyEnd, depth + 1);
  }
  return next;
}

function endsWithProto(bytes: Uint8Array, at: number, end: number): boolean {
  const tag = bytes[at]!;
  const head = tag <= 0xbf ? 1 : 1 + (1 << (tag - 0xd9));
  if (end - at - head !== PROTO.length) return false;
  return PROTO.every((byte, i) => bytes[at + head + i] === byte);
}

function skipText(bytes: Uint8Array, at: number, size: number): number {
  const end = within(bytes, at + size);
  for (let i = at; i < end; i++) {
    if (bytes[i]! >= 0x80) {
      decodeUtf8(bytes.subarray(i, end));
      break;
    }
  }
  return end;
}

function length(bytes: Uint8Array, at: number, size: number): number {
  within(bytes, at + size);
  let value = 0;
  for (let i = 0; i < size; i++) value = value * 256 + bytes[at + i]!;
  return value;
}

function within(bytes: Uint8Array, end: number): number {
  if (end > bytes.length) throw badMsgpack('it ends too early');
  return end;
}

function badMsgpack(why: string): SightlineError {
  return new SightlineError('PAYLOAD_BAD', `the data is not MessagePack: ${why}`);
}
