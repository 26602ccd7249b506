/**
 * MessagePack of plain values: what `wireValue` gives, and what JSON and MessagePack were read into. Written here, since a
 * library would write −0 as 0, and `undefined`, dates and maps as extension types that the protocol has no place for.
 */

const SIZE_MIN = 8 * 1024;
/** Memory beyond this is not kept for the next value. */
const SIZE_KEPT_MAX = 1024 * 1024;
/** Shorter texts are copied character by character as long as they are ASCII. */
const SHORT_CHARS = 32;

const encoder = new TextEncoder();
let out = new Uint8Array(SIZE_MIN);
let view = new DataView(out.buffer);
let at = 0;

/** As JSON does, it leaves out keys without a value, and writes null for what has none elsewhere. The bytes are a copy. */
export function writeMsgpack(value: unknown): Uint8Array<ArrayBuffer> {
  at = 0;
  write(value);
  const bytes = out.slice(0, at);
  if (out.length > SIZE_KEPT_MAX) resize(SIZE_MIN);
  return bytes;
}

function write(value: unknown): void {
  if (at + 9 > out.length) resize(out.length * 2);
  switch (typeof value) {
    case 'string':
      return writeText(value);
    case 'number':
      return writeNumber(value);
    case 'boolean':
      out[at++] = value ? 0xc3 : 0xc2;
      return;
    case 'object':
      if (value === null) break;
      if (Array.isArray(value)) return writeList(value);
      if (value instanceof Uint8Array) return writeBytes(value);
      return writeMap(value as Record<string, unknown>);
    default:
  }
  out[at++] = 0xc0;
}

function writeNumber(value: number): void {
  if (value >>> 0 === value && !Object.is(value, -0)) return writeWhole(value);
  if ((value | 0) === value && value < 0) return writeNegative(value);
  out[at] = 0xcb;
  view.setFloat64(at + 1, value);
  at += 9;
}

function writeWhole(value: number): void {
  if (value < 0x80) out[at++] = value;
  else if (value < 0x100) {
    out[at++] = 0xcc;
    out[at++] = value;
  } else writeSized(0xcd, value);
}

function writeNegative(value: number): void {
  if (value >= -0x20) out[at++] = value;
  else if (value >= -0x80) {
    out[at++] = 0xd0;
    out[at++] = value;
  } else if (value >= -0x8000) {
    out[at] = 0xd1;
    view.setInt16(at + 1, value);
    at += 3;
  } else {
    out[at] = 0xd2;
    view.setInt32(at + 1, value);
    at += 5;
  }
}

function writeText(text: string): void {
  const { length } = text;
  reserve(5 + length * 3);
  if (length < SHORT_CHARS && writeAscii(text)) return;
  // The head is as long as the longest text of so many characters may need: a shorter one may be written so, too.
  const headBytes = length * 3 < 0x20 ? 1 : length * 3 < 0x100 ? 2 : length * 3 < 0x1_0000 ? 3 : 5;
  const { written } = encoder.encodeInto(text, out.subarray(at + headBytes));
  if (headBytes === 1) out[at] = 0xa0 | written;
  else if (headBytes === 2) {
    out[at] = 0xd9;
    out[at + 1] = written;
  } else if (headBytes === 3) {
    out[at] = 0xda;
    view.setUint16(at + 1, written);
  } else {
    out[at] = 0xdb;
    view.setUint32(at + 1, written);
  }
  at += headBytes + written;
}

/** False, and nothing has changed, for a text with other characters. Fewer than 32 of them: their head is one byte. */
function writeAscii(text: string): boolean {
  const { length } = text;
  const from = at + 1;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return false;
    out[from + i] = code;
  }
  out[at] = 0xa0 | length;
  at = from + length;
  return true;
}

function writeBytes(bytes: Uint8Array): void {
  const { length } = bytes;
  reserve(5 + length);
  if (length < 0x100) {
    out[at++] = 0xc4;
    out[at++] = length;
  } else writeSized(0xc5, length);
  out.set(bytes, at);
  at += length;
}

function writeList(list: readonly unknown[]): void {
  const { length } = list;
  if (length < 16) out[at++] = 0x90 | length;
  else writeSized(0xdc, length);
  for (let i = 0; i < length; i++) write(list[i]);
}

function writeMap(map: Record<string, unknown>): void {
  const keys = Object.keys(map);
  const headAt = at;
  let count = keys.length;
  const isShort = count < 16;
  if (isShort) at++;
  else writeSized(0xde, count);
  for (const key of keys) {
    const value = map[key];
    if (isThere(value)) {
      writeText(key);
      write(value);
    } else count--;
  }
  if (isShort) out[headAt] = 0x80 | count;
  else if (count < keys.length) rewriteCount(headAt, count);
}

function rewriteCount(headAt: number, count: number): void {
  if (out[headAt] === 0xde) view.setUint16(headAt + 1, count);
  else view.setUint32(headAt + 1, count);
}

function isThere(value: unknown): boolean {
  return value !== undefined && typeof value !== 'function' && typeof value !== 'symbol';
}

/** A tag with a length or a number of 16 bits, or the next tag with one of 32. */
function writeSized(tag16: number, value: number): void {
  if (value < 0x1_0000) {
    out[at] = tag16;
    view.setUint16(at + 1, value);
    at += 3;
  } else {
    out[at] = tag16 + 1;
    view.setUint32(at + 1, value);
    at += 5;
  }
}

/** Room for so many bytes, and for the head of what follows. */
function reserve(bytes: number): void {
  if (at + bytes + 9 > out.length) resize(Math.max(out.length * 2, at + bytes + SIZE_MIN));
}

function resize(size: number): void {
  const before = out;
  out = new Uint8Array(size);
  view = new DataView(out.buffer);
  if (at > 0 && size >= at) out.set(before.subarray(0, at));
}
