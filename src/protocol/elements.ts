import { SightlineError } from '../base/errors.ts';
import { closingQuote, QUOTE } from './json-text.ts';
import type { PayloadCodec } from './telemetry.ts';

/**
 * How many elements a value has: each text, number, list, object … counts, whatever its size. A value of a megabyte may be one text, or 350,000
 * empty lists, which take a hundred times as long to read and fifty times the memory.
 */

/** Shorter data is not counted: the worst that it can be takes a few milliseconds to read. */
const UNCOUNTED_BYTES = 64 * 1024;
const [COMMA, COLON] = [0x2c, 0x3a];
const [OPEN_LIST, OPEN_OBJECT] = [0x5b, 0x7b];

/** Throws MESSAGE_TOO_LARGE where data has more than `elementsMax` elements; bytes have none. */
export function limitElements(data: Uint8Array, codec: PayloadCodec, elementsMax: number): void {
  if (codec === 'json') limitJsonElements(data, elementsMax);
  else if (codec === 'msgpack') limitMsgpackElements(data, elementsMax);
}

/** It need not be JSON: then it is refused elsewhere. */
function limitJsonElements(json: Uint8Array, elementsMax: number): void {
  if (json.length <= UNCOUNTED_BYTES) return;
  let elements = 1;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) at = closingQuote(json, at);
    else if (byte === COMMA || byte === COLON || byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++elements > elementsMax) throw tooMany(elementsMax);
    }
  }
}

/** Keys are among the elements. It need not be MessagePack: then it is refused elsewhere. */
function limitMsgpackElements(msgpack: Uint8Array, elementsMax: number): void {
  if (msgpack.length <= UNCOUNTED_BYTES) return;
  let elements = 0;
  // Elements stand one after the other, those of a list behind its head.
  for (let at = 0; at < msgpack.length; at = endOfElement(msgpack, at)) {
    if (++elements > elementsMax) throw tooMany(elementsMax);
  }
}

/** Where the next element begins: behind a scalar, a text, or the head of a list or map. */
function endOfElement(msgpack: Uint8Array, at: number): number {
  const tag = msgpack[at]!;
  if (tag >= 0xa0 && tag <= 0xbf) return at + 1 + (tag & 0x1f);
  const [headBytes, lengthBytes] = HEADS[tag]!;
  let length = 0;
  for (let i = 1; i <= lengthBytes; i++) length = length * 256 + (msgpack[at + i] ?? 0);
  return at + headBytes + length;
}

/** By tag: the bytes of an element up to its text or bytes, and how many of them say how long these are. */
const HEADS: readonly (readonly [headBytes: number, lengthBytes: number])[] = Array.from({ length: 256 }, (_, tag) => {
  if (tag >= 0xc4 && tag <= 0xc6) return [1 + 2 ** (tag - 0xc4), 2 ** (tag - 0xc4)];
  if (tag >= 0xd9 && tag <= 0xdb) return [1 + 2 ** (tag - 0xd9), 2 ** (tag - 0xd9)];
  // Numbers by their size; lists and maps by that of their length.
  const scalarBytes: Readonly<Record<number, number>> = {
    0xca: 5,
    0xcb: 9,
    0xcc: 2,
    0xcd: 3,
    0xce: 5,
    0xcf: 9,
    0xd0: 2,
    0xd1: 3,
    0xd2: 5,
    0xd3: 9,
    0xdc: 3,
    0xdd: 5,
    0xde: 3,
    0xdf: 5,
  };
  return [scalarBytes[tag] ?? 1, 0];
});

function tooMany(elementsMax: number): SightlineError {
  return new SightlineError(
    'MESSAGE_TOO_LARGE',
    `the data has more than ${elementsMax} elements: large data goes as bytes, or in several messages`,
  );
}
