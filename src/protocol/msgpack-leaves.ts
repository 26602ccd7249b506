import { writeMsgpack } from './msgpack-writer.ts';
import type { Leaves, ShapeNode } from './schema.ts';
import { decodeUtf8 } from './wire-value.ts';

/**
 * The leaves of a message straight out of its MessagePack, without making the object: what a server does with messages that
 * it only hands on. The bytes were checked (`checkMsgpack`) before.
 */

const MISFIT = -1;
const FIX_MASK = 0xf0;
const FIX_MAP = 0x80;
const FIX_LIST = 0x90;
const LIST_16 = 0xdc;
const MAP_16 = 0xde;
const encodedKeys = new WeakMap<ShapeNode, Uint8Array[]>();

/**
 * As `spread` of `schema.ts`; false also for a message that has the shape with its keys in another order or written in an unusual
 * way, for which `spread` has to be asked.
 */
export function spreadMsgpack(
  root: ShapeNode,
  msgpack: Uint8Array,
  into: Leaves | undefined,
  at: number,
  count: number,
): boolean {
  const view = new DataView(msgpack.buffer, msgpack.byteOffset, msgpack.byteLength);
  return walk(root, msgpack, view, 0, into, at, count) === msgpack.length;
}

/** Where the node's bytes end, or MISFIT. */
function walk(
  node: ShapeNode,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  into: Leaves | undefined,
  to: number,
  count: number,
): number {
  const tag = bytes[from]!;
  switch (node.kind) {
    case 'f64': {
      const size = numberSize(tag);
      if (size === 0) return MISFIT;
      if (into) into.values[to + node.column * count] = numberAt(tag, view, from);
      return from + size;
    }
    case 'bool':
      if (tag !== 0xc2 && tag !== 0xc3) return MISFIT;
      if (into) into.values[to + node.column * count] = tag & 1;
      return from + 1;
    case 'json':
      return walkText(tag, bytes, from, into?.texts[node.text]);
    case 'list': {
      const { children } = node;
      if (elementCount(tag, view, from, FIX_LIST, LIST_16) !== children.length) return MISFIT;
      let next = from + ((tag & FIX_MASK) === FIX_LIST ? 1 : 3);
      for (let i = 0; i < children.length && next !== MISFIT; i++) {
        next = walk(children[i]!, bytes, view, next, into, to, count);
      }
      return next;
    }
    case 'object': {
      const { children } = node;
      if (elementCount(tag, view, from, FIX_MAP, MAP_16) !== children.length) return MISFIT;
      const keys = keysOf(node);
      let next = from + ((tag & FIX_MASK) === FIX_MAP ? 1 : 3);
      for (let i = 0; i < children.length && next !== MISFIT; i++) {
        const key = keys[i]!;
        if (!isAt(key, bytes, next)) return MISFIT;
        next = walk(children[i]!, bytes, view, next + key.length, into, to, count);
      }
      return next;
    }
  }
}

/** A text, null, a truth value, or an empty map or list. */
function walkText(tag: number, bytes: Uint8Array, from: number, texts: unknown[] | undefined): number {
  switch (tag) {
    case 0xc0:
      texts?.push(null);
      return from + 1;
    case 0xc2:
    case 0xc3:
      texts?.push(tag === 0xc3);
      return from + 1;
    case FIX_MAP:
      texts?.push({});
      return from + 1;
    case FIX_LIST:
      texts?.push([]);
      return from + 1;
  }
  let head = 1;
  let size = tag & 0x1f;
  if (tag === 0xd9) {
    head = 2;
    size = bytes[from + 1]!;
  } else if (tag === 0xda) {
    head = 3;
    size = (bytes[from + 1]! << 8) | bytes[from + 2]!;
  } else if (tag < 0xa0 || tag > 0xbf) {
    return MISFIT;
  }
  const end = from + head + size;
  texts?.push(decodeUtf8(bytes.subarray(from + head, end)));
  return end;
}

/** Bytes of a number with its type; 0 when it is none. */
function numberSize(tag: number): number {
  if (tag <= 0x7f || tag >= 0xe0) return 1;
  switch (tag) {
    case 0xcc:
    case 0xd0:
      return 2;
    case 0xcd:
    case 0xd1:
      return 3;
    case 0xca:
    case 0xce:
    case 0xd2:
      return 5;
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 9;
    default:
      return 0;
  }
}

function numberAt(tag: number, view: DataView, from: number): number {
  const at = from + 1;
  switch (tag) {
    case 0xca:
      return view.getFloat32(at);
    case 0xcb:
      return view.getFloat64(at);
    case 0xcc:
      return view.getUint8(at);
    case 0xcd:
      return view.getUint16(at);
    case 0xce:
      return view.getUint32(at);
    case 0xcf:
      return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
    case 0xd0:
      return view.getInt8(at);
    case 0xd1:
      return view.getInt16(at);
    case 0xd2:
      return view.getInt32(at);
    case 0xd3:
      return view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
    default:
      return tag <= 0x7f ? tag : tag - 0x100;
  }
}

function elementCount(tag: number, view: DataView, from: number, fix: number, tag16: number): number {
  if ((tag & FIX_MASK) === fix) return tag & 0x0f;
  return tag === tag16 ? view.getUint16(from + 1) : MISFIT;
}

function keysOf(node: ShapeNode & { kind: 'object' }): Uint8Array[] {
  let keys = encodedKeys.get(node);
  if (keys === undefined) {
    keys = node.keys.map((key) => writeMsgpack(key));
    encodedKeys.set(node, keys);
  }
  return keys;
}

function isAt(key: Uint8Array, bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < key.length; i++) if (bytes[from + i] !== key[i]) return false;
  return true;
}
