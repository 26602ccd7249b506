import { ByteBuffer } from 'flatbuffers';
import { SightlineError } from '../../base/errors.ts';
import { CUSTOM_OPERATOR, elementBytes, operatorName, OPTION_LISTS, OPTIONS } from './schema.ts';
import type { OptionType } from './schema.ts';

/**
 * TFLite files as plain objects. The format is FlatBuffers; field numbers are those of TensorFlow's `schema.fbs`, as in
 * `schema.ts`. The file may come from anybody: every offset is checked against its
 * end, and every count against a limit, so that garbage is refused by name and never followed.
 */

/** How the numbers of a quantised tensor stand for real ones: real = scale × (number − zero point). */
export interface Quantisation {
  /** One for the whole tensor, or one for each index along `axis`. */
  readonly scales: readonly number[];
  /** As many as scales. */
  readonly zeroPoints: readonly number[];
  readonly axis: number;
}

/** Where the elements of a sparse constant belong (`SparsityParameters`). */
export interface Sparsity {
  /** Dimensions in the order in which they are stored; those from the tensor's rank on count inside of blocks. */
  readonly order: readonly number[];
  /** The dimension of the tensor that each dimension of a block divides. */
  readonly blockMap: readonly number[];
  /** In the order of `order`. */
  readonly dimensions: readonly SparseDimension[];
}

export type SparseDimension =
  | { readonly kind: 'dense'; readonly size: number }
  | { readonly kind: 'csr'; readonly segments: readonly number[]; readonly indices: readonly number[] };

export interface TfliteTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** `TensorType`. */
  readonly type: number;
  /** The elements of a constant, little-endian, a view into the file; absent for computed tensors. */
  readonly data?: Uint8Array;
  readonly quantisation?: Quantisation;
  readonly sparsity?: Sparsity;
  /** The shape with −1 for each dimension that the file leaves open; `shape` has 1 there. */
  readonly openShape?: readonly number[];
}

export interface TfliteOperator {
  /** As in `BuiltinOperator`, `CUSTOM <code>`, or `OPERATOR_<number>` for one that Sightline has no name for. */
  readonly kind: string;
  /** Indices of tensors; −1 stands for an optional input that is left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** The option table's fields by name; those that the file leaves out have the schema's defaults. */
  readonly options: Readonly<Record<string, number>>;
  /** The option table's list, for the operators that have one; absent when the file leaves it out. */
  readonly list?: readonly number[];
}

export interface TfliteGraph {
  readonly tensors: readonly TfliteTensor[];
  readonly operators: readonly TfliteOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Larger numbers are refused as not supported, except names, which are cut. */
const LIMITS = { tensors: 50_000, operators: 20_000, operands: 1_024, rank: 8, subgraphs: 1_024, nameBytes: 1_024 };

/** Lists may overlap in a crafted file; the data copied out of one is bounded by this many times its size. */
const LIST_BYTES_PER_FILE_BYTE = 8;

/** The file, and how much may still be copied out of it. */
class Source {
  readonly buffer: ByteBuffer;
  #bytesLeft: number;

  constructor(bytes: Uint8Array) {
    this.buffer = new ByteBuffer(bytes);
    this.#bytesLeft = bytes.length * LIST_BYTES_PER_FILE_BYTE;
  }

  spend(bytes: number): void {
    this.#bytesLeft -= bytes;
    if (this.#bytesLeft < 0) throw new Damage('its lists overlap');
  }
}

/** A FlatBuffers table: typed access to its fields by number, within the file's bounds. */
class Table {
  readonly #source: Source;
  readonly #buffer: ByteBuffer;
  readonly #at: number;

  constructor(source: Source, at: number) {
    const { buffer } = source;
    this.#source = source;
    this.#buffer = buffer;
    this.#at = at;
    within(buffer, at, 4);
    const vtable = at - buffer.readInt32(at);
    within(buffer, vtable, 4);
    within(buffer, vtable, buffer.readUint16(vtable));
  }

  byte(field: number, fallback: number): number {
    const at = this.#field(field, 1);
    return at === undefined ? fallback : this.#buffer.readInt8(at);
  }

  int(field: number, fallback: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? fallback : this.#buffer.readInt32(at);
  }

  float(field: number, fallback: number): number {
    const at = this.#field(field, 4);
    return at === undefined ? fallback : this.#buffer.readFloat32(at);
  }

  table(field: number): Table | undefined {
    const at = this.#field(field, 4);
    return at === undefined ? undefined : new Table(this.#source, at + this.#buffer.readUint32(at));
  }

  tables(field: number, what: string, countMax: number): Table[] {
    const { at, count } = this.#vector(field, 4, what, countMax);
    return Array.from({ length: count }, (_, i) => {
      const entry = at + i * 4;
      return new Table(this.#source, entry + this.#buffer.readUint32(entry));
    });
  }

  ints(field: number, what: string, countMax?: number): number[] {
    return this.#list(field, 4, (at) => this.#buffer.readInt32(at), what, countMax);
  }

  shorts(field: number): number[] {
    return this.#list(field, 2, (at) => this.#buffer.readUint16(at));
  }

  bytesList(field: number): number[] {
    return this.#list(field, 1, (at) => this.#buffer.readUint8(at));
  }

  floats(field: number): number[] {
    return this.#list(field, 4, (at) => this.#buffer.readFloat32(at));
  }

  longs(field: number): number[] {
    return this.#list(field, 8, (at) => Number(this.#buffer.readInt64(at)));
  }

  /** A view, not a copy. */
  bytes(field: number): Uint8Array {
    const { at, count } = this.#vector(field, 1);
    return this.#buffer.bytes().subarray(at, at + count);
  }

  /** Cut where it is long: fused operators can have names of any length. */
  string(field: number): string {
    const { at, count } = this.#vector(field, 1);
    return new TextDecoder().decode(this.#buffer.bytes().subarray(at, at + Math.min(count, LIMITS.nameBytes)));
  }

  has(field: number): boolean {
    return this.#field(field, 1) !== undefined;
  }

  /** Where a field lies; undefined when the file leaves it out. */
  #field(field: number, bytes: number): number | undefined {
    const offset = this.#buffer.__offset(this.#at, 4 + 2 * field);
    if (offset === 0) return undefined;
    within(this.#buffer, this.#at + offset, bytes);
    return this.#at + offset;
  }

  #list(field: number, elementBytes: number, read: (at: number) => number, what = '', countMax?: number): number[] {
    const { at, count } = this.#vector(field, elementBytes, what, countMax);
    this.#source.spend(count * elementBytes);
    return Array.from({ length: count }, (_, i) => read(at + i * elementBytes));
  }

  #vector(field: number, elementBytes: number, what = '', countMax = Infinity): { at: number; count: number } {
    const field0 = this.#field(field, 4);
    if (field0 === undefined) return { at: 0, count: 0 };
    const vector = field0 + this.#buffer.readUint32(field0);
    within(this.#buffer, vector, 4);
    const count = this.#buffer.readUint32(vector);
    within(this.#buffer, vector + 4, count * elementBytes);
    if (count > countMax) throw new Unsupported(`it has ${count} ${what}, more than ${countMax}`);
    return { at: vector + 4, count };
  }
}

/** Why the bytes are not a TFLite file. Becomes MODEL_DAMAGED with the file's name at the room's edge. */
class Damage extends Error {}

function within(buffer: ByteBuffer, at: number, bytes: number): void {
  if (at < 0 || at + bytes > buffer.capacity())
    throw new Damage(`it points to byte ${at + bytes} of ${buffer.capacity()}`);
}

/**
 * The graph of a TFLite file. `name` is the file's name in errors. Throws MODEL_DAMAGED when the bytes are not a whole TFLite
 * file, MODEL_UNSUPPORTED when they are one of a kind that Sightline does not read: several subgraphs, constants outside of
 * the FlatBuffer, another schema.
 */
export function readTflite(bytes: Uint8Array, name: string): TfliteGraph {
  try {
    return readGraph(bytes);
  } catch (thrown) {
    if (thrown instanceof Damage) {
      throw new SightlineError('MODEL_DAMAGED', `${name} is not a whole TFLite file: ${thrown.message}`, {
        cause: thrown,
      });
    }
    if (thrown instanceof Unsupported) {
      throw new SightlineError('MODEL_UNSUPPORTED', `${name}: ${thrown.message}`, { cause: thrown });
    }
    throw thrown;
  }
}

class Unsupported extends Error {}

/** Files of other versions are of before 2018, and laid out differently. */
const SCHEMA_VERSION = 3;

function readGraph(bytes: Uint8Array): TfliteGraph {
  const source = new Source(bytes);
  const { buffer } = source;
  within(buffer, 0, 8);
  if (!buffer.__has_identifier('TFL3')) throw new Damage('the identifier TFL3 is not there');
  const model = new Table(source, buffer.readUint32(0));
  const codes = model.tables(1, 'operator codes', LIMITS.operators).map(operatorKind);
  const buffers = model.tables(4, 'buffers', LIMITS.tensors);
  const subgraphs = model.tables(2, 'subgraphs', LIMITS.subgraphs);
  const [subgraph] = subgraphs;
  if (!subgraph) throw new Damage('it holds no graph');
  const version = model.int(0, 0);
  if (version !== SCHEMA_VERSION)
    throw new Unsupported(`it has version ${version} of the TFLite schema instead of ${SCHEMA_VERSION}`);
  if (subgraphs.length > 1) throw new Unsupported(severalSubgraphs(subgraphs, codes));
  const tensors = subgraph.tables(0, 'tensors', LIMITS.tensors).map((t) => readTensor(t, buffers));
  const operators = subgraph.tables(3, 'operators', LIMITS.operators).map((o) => readOperator(o, codes));
  const graph = {
    tensors,
    operators,
    inputs: subgraph.ints(1, 'inputs', LIMITS.operands),
    outputs: subgraph.ints(2, 'outputs', LIMITS.operands),
  };
  checkReferences(graph, subgraph);
  return graph;
}

/** Branches, loops and further signatures are subgraphs of their own. */
function severalSubgraphs(subgraphs: readonly Table[], codes: readonly string[]): string {
  const names = subgraphs.slice(0, 4).map((s, i) => `"${s.string(4) || i}"`);
  const control = ['CALL', 'CALL_ONCE', 'IF', 'WHILE'].filter((kind) => codes.includes(kind));
  return (
    `it holds ${subgraphs.length} subgraphs (${names.join(', ')}${subgraphs.length > 4 ? ', …' : ''}), ` +
    `${control.length > 0 ? `used by ${control.join(', ')}, ` : ''}and only files with one are supported`
  );
}

/** Files before schema version 3a keep the code in a byte (field 0); later ones in field 3, and 127 in the byte. */
function operatorKind(code: Table): string {
  const number = Math.max(code.byte(0, 0), code.int(3, 0));
  return number === CUSTOM_OPERATOR ? `CUSTOM ${code.string(1)}` : operatorName(number);
}

function readTensor(table: Table, buffers: readonly Table[]): TfliteTensor {
  const name = table.string(3);
  const shape = table.ints(0, `dimensions in the tensor "${name}"`, LIMITS.rank);
  const openShape = table.ints(7, `dimensions in the tensor "${name}"`, LIMITS.rank);
  if (shape.some((d) => d < -1)) throw new Damage(`a tensor has the shape [${shape}]`);
  if (shape.includes(-1)) throw new Unsupported(`the tensor "${name}" has the open shape [${shape}]`);
  const type = table.byte(1, 0);
  const quantisation = readQuantisation(table.table(4), name);
  const head = {
    name,
    shape,
    type,
    ...(quantisation && { quantisation }),
    ...(openShape.includes(-1) && { openShape }),
  };
  const index = table.int(2, 0);
  const holder = buffers[index];
  if (!holder) throw new Damage(`the tensor "${name}" refers to buffer ${index} of ${buffers.length}`);
  if (holder.has(1)) throw new Unsupported(`the tensor "${name}" lies outside of the FlatBuffer (a file over 2 GB)`);
  const data = holder.bytes(0);
  // Buffer 0 is empty and stands for none; a constant without elements has an empty buffer of its own.
  if (data.length === 0) return index > 0 && shape.includes(0) ? { ...head, data } : head;
  const sparsity = readSparsity(table.table(6));
  if (sparsity) return { ...head, data, sparsity };
  const expected = shape.reduce((a, b) => a * b, elementBytes(type) ?? Number.NaN);
  // Strings and sub-byte types have no fixed element size; nothing converts them, so their length is not judged.
  if (!Number.isNaN(expected) && data.length !== expected) {
    throw new Damage(`the tensor "${name}" of shape [${shape}] has ${data.length} bytes instead of ${expected}`);
  }
  return { ...head, data };
}

/** Undefined where no scale is given: some files note the range of floats here. */
function readQuantisation(table: Table | undefined, tensor: string): Quantisation | undefined {
  if (!table) return undefined;
  if (table.byte(4, 0) !== 0) throw new Unsupported(`the tensor "${tensor}" has a quantisation of its own kind`);
  const scales = table.floats(2);
  if (scales.length === 0) return undefined;
  const zeroPoints = table.longs(3);
  if (zeroPoints.length > 1 && zeroPoints.length !== scales.length)
    throw new Damage(`the tensor "${tensor}" has ${scales.length} scales and ${zeroPoints.length} zero points`);
  return { scales, zeroPoints: scales.map((_, i) => zeroPoints[i] ?? zeroPoints[0] ?? 0), axis: table.int(6, 0) };
}

function readSparsity(table: Table | undefined): Sparsity | undefined {
  if (!table) return undefined;
  const rankMax = 2 * LIMITS.rank;
  return {
    order: table.ints(0, 'sparse dimensions', rankMax),
    blockMap: table.ints(1, 'block dimensions', rankMax),
    dimensions: table.tables(2, 'sparse dimensions', rankMax).map((dimension): SparseDimension => {
      const format = dimension.byte(0, 0);
      if (format === 0) return { kind: 'dense', size: dimension.int(1, 0) };
      if (format !== 1) throw new Unsupported(`a sparse tensor has dimensions of the kind ${format}`);
      return { kind: 'csr', segments: readIndices(dimension, 2), indices: readIndices(dimension, 4) };
    }),
  };
}

/** `SparseIndexVector`: its kind in `field`, the table behind it. */
function readIndices(dimension: Table, field: number): number[] {
  const table = dimension.table(field + 1);
  const kind = dimension.byte(field, 0);
  if (!table || kind === 0) return [];
  if (kind === 1) return table.ints(0, 'indices');
  if (kind === 2) return table.shorts(0);
  if (kind === 3) return table.bytesList(0);
  throw new Unsupported(`a sparse tensor has indices of the kind ${kind}`);
}

function readOperator(table: Table, codes: readonly string[]): TfliteOperator {
  const index = table.int(0, 0);
  const kind = codes[index];
  if (kind === undefined) throw new Damage(`an operator refers to code ${index} of ${codes.length}`);
  const fields = OPTIONS[kind] ?? {};
  const options = table.table(4);
  const read = ([field, type, fallback]: readonly [number, OptionType, number]) =>
    options?.[type](field, fallback) ?? fallback;
  const listField = OPTION_LISTS[kind];
  const list = listField !== undefined && options?.has(listField) && options.ints(listField, 'entries', LIMITS.rank);
  return {
    kind,
    inputs: table.ints(1, `inputs of ${kind}`, LIMITS.operands),
    outputs: table.ints(2, `outputs of ${kind}`, LIMITS.operands),
    options: Object.fromEntries(Object.entries(fields).map(([name, spec]) => [name, read(spec)])),
    ...(list && { list }),
  };
}

/** Every operand is a tensor that exists, and is computed, given or constant before it is used. */
function checkReferences({ tensors, operators, inputs, outputs }: TfliteGraph, subgraph: Table): void {
  const known = new Set(inputs);
  tensors.forEach((t, i) => t.data && known.add(i));
  for (const i of inputs) if (!tensors[i]) throw new Damage(`the graph's input is tensor ${i} of ${tensors.length}`);
  for (const { kind, inputs: used, outputs: made } of operators) {
    for (const i of used) {
      if (i === -1 || known.has(i)) continue;
      if (subgraph.tables(0, 'tensors', LIMITS.tensors)[i]?.byte(5, 0))
        throw new Unsupported(`${kind} keeps a state in "${tensors[i]?.name}" from run to run`);
      throw new Damage(`${kind} uses tensor ${i} before anything makes it`);
    }
    for (const i of made) {
      if (!tensors[i] || known.has(i)) throw new Damage(`${kind} writes tensor ${i}, which is taken or not there`);
      known.add(i);
    }
  }
  for (const i of outputs) if (!known.has(i)) throw new Damage(`nothing makes the graph's output, tensor ${i}`);
}
