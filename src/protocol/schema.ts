import { SightlineError } from '../base/errors.ts';
import { textBytes } from '../base/text-bytes.ts';
import { FIELD_KINDS, type SchemaField } from './telemetry.ts';
import { DEPTH_MAX } from './wire-value.ts';

/**
 * The shape of a topic's messages as a list of leaves. A path joins the keys of objects and the places in lists by dots,
 * so keys that hold a dot, are empty or are numbers have no path, and messages with such keys no schema.
 */

export const FIELDS_MAX = 1000;
const PATH_CHARS_MAX = 512;
/** Fewer numbers than this do not earn a schema. */
const NUMBERS_MIN = 4;

/** A place in the shape. `column` counts the numeric leaves in the schema's order, `text` the others. */
export type ShapeNode =
  | { readonly kind: 'f64' | 'bool'; readonly column: number }
  | { readonly kind: 'json'; readonly text: number }
  | { readonly kind: 'list'; readonly children: readonly ShapeNode[] }
  | { readonly kind: 'object'; readonly keys: readonly string[]; readonly children: readonly ShapeNode[] };

/** A schema made ready for use; kept for as long as its list of fields lives. */
export interface Shape {
  readonly root: ShapeNode;
  /** Numeric leaves (`f64`, `bool`). */
  readonly columns: number;
  readonly texts: number;
  /** The fields in their order, as so many numeric leaves, one text, so many numeric leaves, one text, … */
  readonly runs: readonly number[];
  /** Of all fields. */
  readonly paths: readonly string[];
  /** Place among the numeric leaves by path. */
  readonly columnOf: ReadonlyMap<string, number>;
  readonly textOf: ReadonlyMap<string, number>;
}

const shapes = new WeakMap<readonly SchemaField[], Shape>();

/**
 * The fields of a sample object when all of the values have its shape, and columns are worth it: several numbers, and
 * more of them than other leaves.
 */
export function schemaFor(values: readonly unknown[]): SchemaField[] | undefined {
  const fields: SchemaField[] = [];
  if (!collect(values[0], '', 0, fields) || fields.length > FIELDS_MAX) return undefined;
  const numbers = fields.filter(({ kind }) => kind === 'f64').length;
  if (numbers < NUMBERS_MIN || numbers * 2 < fields.length) return undefined;
  return values.every((value) => fits(fields, value)) ? fields : undefined;
}

/** Whether a message has the shape of the schema: the same keys in whatever order, a leaf of the right kind at each. */
export function fits(fields: readonly SchemaField[], value: unknown): boolean {
  return spread(shapeOf(fields).root, value, undefined, 0, 1);
}

const SHARED_MAX = 256;
/** By their JSON; the oldest goes first. */
const sharedFields = new Map<string, readonly SchemaField[]>();

/** One list of these fields for all connections of a process, so that what is made for it is made once. */
export function shareFields(fields: readonly SchemaField[]): readonly SchemaField[] {
  const key = JSON.stringify(fields);
  const known = sharedFields.get(key);
  if (known !== undefined) return known;
  if (sharedFields.size >= SHARED_MAX) sharedFields.delete(sharedFields.keys().next().value!);
  sharedFields.set(key, fields);
  return fields;
}

/**
 * What V8 takes for a list of fields made ready, bytes: for each field its own objects and its places in maps and lists, for each part of
 * a path that leads to others a node. Measured in Node 24 by `sessions/session-memory.test.ts`, which holds it to a factor of 1.5.
 */
const LAYOUT_BYTES = 500;
const FIELD_BYTES = 200;
const NODE_BYTES = 150;

/** Memory that a layout takes, bytes. Throws MESSAGE_FIELD_BAD when the fields contradict each other. */
export function layoutBytes(fields: readonly SchemaField[]): number {
  const { root } = shapeOf(fields);
  return fields.reduce(
    (sum, { path }) => sum + FIELD_BYTES + textBytes(path),
    LAYOUT_BYTES + nodesOf(root) * NODE_BYTES,
  );
}

/** Lists and objects. */
function nodesOf(node: ShapeNode): number {
  return 'children' in node ? node.children.reduce((sum, child) => sum + nodesOf(child), 1) : 0;
}

/** Throws MESSAGE_FIELD_BAD when the fields contradict each other. */
export function shapeOf(fields: readonly SchemaField[]): Shape {
  let shape = shapes.get(fields);
  if (shape === undefined) {
    shape = makeShape(fields);
    shapes.set(fields, shape);
  }
  return shape;
}

/** Where the leaves of messages go. */
export interface Leaves {
  readonly values: Float64Array;
  readonly texts: readonly unknown[][];
}

/**
 * Puts the leaves of a message into columns: its numbers into `values` from `at` on, `count` apart, what else there is at the
 * ends of `texts`; without `into` it only looks. False when the message has another shape; then some leaves may have been
 * written.
 */
export function spread(node: ShapeNode, value: unknown, into: Leaves | undefined, at: number, count: number): boolean {
  switch (node.kind) {
    case 'f64':
      if (typeof value !== 'number') return false;
      if (into) into.values[at + node.column * count] = value;
      return true;
    case 'bool':
      if (typeof value !== 'boolean') return false;
      if (into) into.values[at + node.column * count] = value ? 1 : 0;
      return true;
    case 'json':
      if (!isText(value)) return false;
      into?.texts[node.text]!.push(value);
      return true;
    case 'list': {
      const { children } = node;
      if (!Array.isArray(value) || value.length !== children.length) return false;
      for (let i = 0; i < children.length; i++) {
        if (!spread(children[i]!, value[i], into, at, count)) return false;
      }
      return true;
    }
    case 'object': {
      const { keys, children } = node;
      if (!isPlainObject(value) || !hasKeys(value, keys.length)) return false;
      for (let i = 0; i < children.length; i++) {
        if (!spread(children[i]!, value[keys[i]!], into, at, count)) return false;
      }
      return true;
    }
  }
}

/** Whether it has exactly so many keys. A plain object inherits nothing that could be counted. */
function hasKeys(value: Record<string, unknown>, wanted: number): boolean {
  let count = 0;
  // Counted, since a list of the keys would be made for nothing.
  for (const _ in value) if (++count > wanted) return false;
  return count === wanted;
}

/** Whether a value is one that a `json` leaf holds: no number, and without leaves of its own. */
export function isText(value: unknown): boolean {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || isEmptyContainer(value);
}

function collect(value: unknown, path: string, depth: number, fields: SchemaField[]): boolean {
  if (depth >= DEPTH_MAX || path.length > PATH_CHARS_MAX || fields.length > FIELDS_MAX) return false;
  if (path !== '' && isText(value) && typeof value !== 'boolean') return fields.push({ path, kind: 'json' }) > 0;
  if (path !== '' && typeof value === 'number') return fields.push({ path, kind: 'f64' }) > 0;
  if (path !== '' && typeof value === 'boolean') return fields.push({ path, kind: 'bool' }) > 0;
  const prefix = path === '' ? '' : `${path}.`;
  if (Array.isArray(value)) return value.every((element, i) => collect(element, `${prefix}${i}`, depth + 1, fields));
  if (!isPlainObject(value)) return false;
  return Object.keys(value).every((key) => isKey(key) && collect(value[key], `${prefix}${key}`, depth + 1, fields));
}

function isKey(key: string): boolean {
  return key !== '' && key !== '__proto__' && !key.includes('.') && !isPlace(key);
}

function isPlace(part: string): boolean {
  return /^\d+$/.test(part);
}

/** What JSON calls an object: no list, and nothing with a class, such as bytes. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isEmptyContainer(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isPlainObject(value) && hasKeys(value, 0);
}

type Draft = Map<string, Draft> | { kind: SchemaField['kind']; index: number };

function makeShape(fields: readonly SchemaField[]): Shape {
  if (fields.length === 0 || fields.length > FIELDS_MAX) throw badField(`${fields.length} fields`);
  const columnOf = new Map<string, number>();
  const textOf = new Map<string, number>();
  const root: Draft = new Map();
  const runs = [0];
  for (const { path, kind } of fields) {
    if (!FIELD_KINDS.includes(kind)) throw badField(`kind ${String(kind).slice(0, 20)}`);
    const indices = kind === 'json' ? textOf : columnOf;
    plant(root, path, { kind, index: indices.size });
    indices.set(path, indices.size);
    if (kind === 'json') runs.push(0);
    else runs[runs.length - 1]! += 1;
  }
  const paths = fields.map(({ path }) => path);
  return { root: settle(root), columns: columnOf.size, texts: textOf.size, runs, paths, columnOf, textOf };
}

function plant(root: Map<string, Draft>, path: string, leaf: Draft): void {
  const parts = path.length > PATH_CHARS_MAX ? [] : path.split('.');
  // One level less than a message may have: an empty list at the end is a level too.
  if (parts.length === 0 || parts.length >= DEPTH_MAX) throw badField('a path that is too long');
  let node: Draft = root;
  for (const [i, part] of parts.entries()) {
    if (!(node instanceof Map) || !(isKey(part) || isPlace(part))) throw badField(`path ${JSON.stringify(path)}`);
    const isLast = i === parts.length - 1;
    let next: Draft | undefined = node.get(part);
    if (next !== undefined && isLast) throw badField(`path ${JSON.stringify(path)} twice`);
    if (next === undefined) {
      next = isLast ? leaf : new Map<string, Draft>();
      node.set(part, next);
    }
    node = next;
  }
}

function settle(draft: Draft): ShapeNode {
  if (!(draft instanceof Map)) {
    const { kind, index } = draft;
    return kind === 'json' ? { kind, text: index } : { kind, column: index };
  }
  const keys = [...draft.keys()];
  const children = [...draft.values()].map(settle);
  if (!keys.some(isPlace)) return { kind: 'object', keys, children };
  if (keys.some((key, i) => key !== String(i))) throw badField(`places ${keys.slice(0, 5).join(', ')} of a list`);
  return { kind: 'list', children };
}

function badField(what: string): SightlineError {
  return new SightlineError('MESSAGE_FIELD_BAD', `a schema cannot have ${what}`);
}
