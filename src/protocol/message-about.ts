import { closingQuote, QUOTE } from './json-text.ts';
import { TOPIC_BYTES_MAX } from './topic.ts';
import { parseCheckedMsgpack } from './wire-value.ts';

/**
 * What a message that cannot be taken is about, so that its refusal can name it. The message may be anything: too large, broken
 * off, with data that no message may hold. It is walked through once, and nothing is made of what is passed over.
 */
export interface About {
  readonly id?: number;
  readonly topic?: string;
  readonly seq?: number;
  readonly alias?: number;
}

const U32_MAX = 0xffff_ffff;
/** A value longer than this is none that is looked for, nor is a key. */
const SCALAR_BYTES_MAX = 8 * TOPIC_BYTES_MAX;
/** No message has so many fields at its top, nor is more than this passed over to find them: who sends rubbish waits for nobody. */
const FIELDS_MAX = 100;
const ELEMENTS_MAX = 100_000;
const BLANKS_MAX = 100;
/** Bytes looked at one by one; those of texts count for less. */
const STEPS_MAX = 2_000_000;
const BYTES_A_STEP = 8;
const [COLON, COMMA] = [0x3a, 0x2c];
const [OPEN_MAP, CLOSE_MAP, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];
const decoder = new TextDecoder();

/** Whether bytes begin as a MessagePack map does; neither a JSON text nor a batch does. */
export function isMsgpackMap(bytes: Uint8Array): boolean {
  const tag = bytes[0] ?? 0;
  return (tag >= 0x80 && tag <= 0x8f) || tag === 0xde || tag === 0xdf;
}

/** A control message in JSON or MessagePack: the fields at its top that have a meaning, as far as they are sound. */
export function aboutMessage(bytes: Uint8Array): About {
  const found: Record<string, unknown> = {};
  steps = 0;
  const keep = (key: string, value: unknown): void => void (found[key] = value);
  try {
    if (isMsgpackMap(bytes)) walkMsgpack(bytes, keep);
    else walkJson(bytes, keep);
  } catch {
    // What was found before it breaks off counts.
  }
  const { id, topic, seq, alias } = found;
  return {
    ...(isWhole(id, U32_MAX) && { id }),
    ...(typeof topic === 'string' && topic !== '' && topic.length <= TOPIC_BYTES_MAX && { topic }),
    ...(isWhole(seq, Number.MAX_SAFE_INTEGER) && { seq }),
    ...(isWhole(alias, U32_MAX) && { alias }),
  };
}

function isWhole(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

// JSON: also what only looks like it, as far as keys and values can be told apart.

function walkJson(bytes: Uint8Array, keep: (key: string, value: unknown) => void): void {
  let at = bytes.subarray(0, BLANKS_MAX).indexOf(OPEN_MAP) + 1;
  // A list or a text has no fields, whatever lies in it.
  if (at === 0 || decoder.decode(bytes.subarray(0, at - 1)).trim() !== '') return;
  for (let field = 0; field < FIELDS_MAX && at < bytes.length; field++) {
    const keyAt = bytes.indexOf(QUOTE, at);
    if (keyAt === -1) return;
    const keyEnd = endOfText(bytes, keyAt);
    const colon = bytes.indexOf(COLON, keyEnd);
    if (colon === -1) return;
    const end = endOfJson(bytes, colon + 1);
    const key = scalar(bytes, keyAt, keyEnd);
    if (typeof key === 'string') keep(key, scalar(bytes, colon + 1, end));
    if (bytes[end] !== COMMA) return;
    at = end + 1;
  }
}

/** Undefined for what is no JSON, or too long to be one of the values that are looked for. */
function scalar(bytes: Uint8Array, from: number, to: number): unknown {
  if (to - from > SCALAR_BYTES_MAX) return undefined;
  try {
    return JSON.parse(decoder.decode(bytes.subarray(from, to)));
  } catch {
    return undefined;
  }
}

let steps = 0;

function count(more: number): void {
  steps += more;
  if (steps > STEPS_MAX) throw new RangeError('too long');
}

/** Behind the closing quote. */
function endOfText(bytes: Uint8Array, from: number): number {
  const end = closingQuote(bytes, from);
  count((end - from) / BYTES_A_STEP);
  return Math.min(end + 1, bytes.length);
}

/** Where the value ends: at the comma or the brace behind it. */
function endOfJson(bytes: Uint8Array, from: number): number {
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    count(1);
    switch (bytes[at]) {
      case QUOTE:
        at = endOfText(bytes, at) - 1;
        break;
      case OPEN_MAP:
      case OPEN_LIST:
        depth++;
        break;
      case CLOSE_MAP:
      case CLOSE_LIST:
        if (depth-- === 0) return at;
        break;
      case COMMA:
        if (depth === 0) return at;
        break;
      default:
    }
  }
  return bytes.length;
}

// MessagePack: also with what the protocol has no place for.

function walkMsgpack(bytes: Uint8Array, keep: (key: string, value: unknown) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const map = elementAt(view, 0);
  let at = map.end;
  for (let field = 0; field < Math.min(FIELDS_MAX, map.children / 2); field++) {
    const key = scalarAt(bytes, view, at);
    at = endOfMsgpack(view, at);
    if (typeof key === 'string') keep(key, scalarAt(bytes, view, at));
    at = endOfMsgpack(view, at);
  }
}

/** A text or a number; undefined for anything else. */
function scalarAt(bytes: Uint8Array, view: DataView, at: number): unknown {
  const { isScalar, end } = elementAt(view, at);
  if (!isScalar || end - at > SCALAR_BYTES_MAX || end > bytes.length) return undefined;
  return parseCheckedMsgpack(bytes.subarray(at, end));
}

/** Throws RangeError where the bytes end before the value does, or it has too many parts. */
function endOfMsgpack(view: DataView, from: number): number {
  let at = from;
  let passed = 0;
  for (let left = 1; left > 0; left--) {
    if (++passed > ELEMENTS_MAX) throw new RangeError('too many parts');
    const { end, children } = elementAt(view, at);
    left += children;
    at = end;
  }
  return at;
}

interface Element {
  /** Without its children. */
  readonly end: number;
  readonly children: number;
  /** A text or a number. */
  readonly isScalar: boolean;
}

function elementAt(view: DataView, at: number): Element {
  const tag = view.getUint8(at);
  if (tag <= 0x7f || tag >= 0xe0) return leaf(at + 1, true);
  if (tag <= 0x8f) return container(at + 1, (tag & 0x0f) * 2);
  if (tag <= 0x9f) return container(at + 1, tag & 0x0f);
  if (tag <= 0xbf) return leaf(at + 1 + (tag & 0x1f), true);
  if (tag <= 0xc3) return leaf(at + 1);
  // Byte strings, then extensions, whose type is one byte more.
  if (tag <= 0xc6) return leaf(at + sized(view, at, tag - 0xc4));
  if (tag <= 0xc9) return leaf(at + 1 + sized(view, at, tag - 0xc7));
  if (tag === 0xca) return leaf(at + 5, true);
  if (tag === 0xcb) return leaf(at + 9, true);
  if (tag <= 0xcf) return leaf(at + 1 + (1 << (tag - 0xcc)), true);
  if (tag <= 0xd3) return leaf(at + 1 + (1 << (tag - 0xd0)), true);
  if (tag <= 0xd8) return leaf(at + 2 + (1 << (tag - 0xd4)));
  if (tag <= 0xdb) return leaf(at + sized(view, at, tag - 0xd9), true);
  const isShort = tag === 0xdc || tag === 0xde;
  const count = isShort ? view.getUint16(at + 1) : view.getUint32(at + 1);
  return container(at + (isShort ? 3 : 5), tag >= 0xde ? count * 2 : count);
}

function leaf(end: number, isScalar = false): Element {
  return { end, children: 0, isScalar };
}

function container(end: number, children: number): Element {
  return { end, children, isScalar: false };
}

/** The tag, a length of 1, 2 or 4 bytes, and what it counts. */
function sized(view: DataView, at: number, size: number): number {
  if (size === 0) return 2 + view.getUint8(at + 1);
  return size === 1 ? 3 + view.getUint16(at + 1) : 5 + view.getUint32(at + 1);
}
