import { ByteBuffer } from 'flatbuffers';
import { SightlineError } from '../../base/errors.ts';

/**
 * TFLite files as plain objects. The format is FlatBuffers; field numbers, enumerations and defaults are those of
 * TensorFlow's `tensorflow/lite/schema/schema.fbs`. The file may come from anybody: every offset is checked against its
 * end, and every count against a limit, so that garbage is refused by name and never followed.
 */

/** `TensorType`. Only those that Sightline can read as constants; the rest keep their number in the message. */
export const TensorType = { float32: 0, float16: 1, int32: 2, uint8: 3, int64: 4, int8: 9 } as const;

/** Bytes of one element, by `TensorType`. */
const ELEMENT_BYTES: Readonly<Record<number, number>> = { 0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8 };

export interface TfliteTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  /** The elements of a constant, little-endian, a view into the file; absent for what is computed. */
  readonly data?: Uint8Array;
}

export interface TfliteOperator {
  /** As in `BuiltinOperator`, `CUSTOM <code>`, or `OPERATOR_<number>` for one that Sightline has no name for. */
  readonly kind: string;
  /** Indices of tensors; −1 stands for an optional input that is left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** The option table's fields by name; those that the file leaves out have the schema's defaults. */
  readonly options: Readonly<Record<string, number>>;
}

export interface TfliteGraph {
  readonly tensors: readonly TfliteTensor[];
  readonly operators: readonly TfliteOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

const LIMITS = { tensors: 50_000, operators: 20_000, operands: 1_024, rank: 8, nameBytes: 1_024 };

/** `BuiltinOperator`: numbers and names. Names beyond those converted are here for the sake of clear refusals. */
const OPERATORS: Readonly<Record<number, string>> = {
  0: 'ADD',
  1: 'AVERAGE_POOL_2D',
  2: 'CONCATENATION',
  3: 'CONV_2D',
  4: 'DEPTHWISE_CONV_2D',
  5: 'DEPTH_TO_SPACE',
  6: 'DEQUANTIZE',
  9: 'FULLY_CONNECTED',
  11: 'L2_NORMALIZATION',
  14: 'LOGISTIC',
  16: 'LSTM',
  17: 'MAX_POOL_2D',
  18: 'MUL',
  19: 'RELU',
  20: 'RELU_N1_TO_1',
  21: 'RELU6',
  22: 'RESHAPE',
  23: 'RESIZE_BILINEAR',
  25: 'SOFTMAX',
  26: 'SPACE_TO_DEPTH',
  28: 'TANH',
  34: 'PAD',
  36: 'GATHER',
  37: 'BATCH_TO_SPACE_ND',
  38: 'SPACE_TO_BATCH_ND',
  39: 'TRANSPOSE',
  40: 'MEAN',
  41: 'SUB',
  42: 'DIV',
  43: 'SQUEEZE',
  45: 'STRIDED_SLICE',
  47: 'EXP',
  48: 'TOPK_V2',
  49: 'SPLIT',
  53: 'CAST',
  54: 'PRELU',
  55: 'MAXIMUM',
  56: 'ARG_MAX',
  57: 'MINIMUM',
  65: 'SLICE',
  67: 'TRANSPOSE_CONV',
  69: 'TILE',
  70: 'EXPAND_DIMS',
  74: 'SUM',
  75: 'SQRT',
  76: 'RSQRT',
  77: 'SHAPE',
  78: 'POW',
  83: 'PACK',
  88: 'UNPACK',
  97: 'RESIZE_NEAREST_NEIGHBOR',
  98: 'LEAKY_RELU',
  101: 'ABS',
  114: 'QUANTIZE',
  117: 'HARD_SWISH',
  126: 'BATCH_MATMUL',
};

type OptionType = 'byte' | 'int';
type OptionFields = Readonly<Record<string, readonly [field: number, type: OptionType, fallback: number]>>;

const CONV_FIELDS = {
  padding: [0, 'byte', 0],
  strideW: [1, 'int', 0],
  strideH: [2, 'int', 0],
} as const satisfies OptionFields;

/** Option tables by operator: each field's number, type and default. */
const OPTIONS: Readonly<Record<string, OptionFields>> = {
  CONV_2D: { ...CONV_FIELDS, activation: [3, 'byte', 0], dilationW: [4, 'int', 1], dilationH: [5, 'int', 1] },
  DEPTHWISE_CONV_2D: { ...CONV_FIELDS, activation: [4, 'byte', 0], dilationW: [5, 'int', 1], dilationH: [6, 'int', 1] },
  MAX_POOL_2D: { ...CONV_FIELDS, filterW: [3, 'int', 0], filterH: [4, 'int', 0], activation: [5, 'byte', 0] },
  ADD: { activation: [0, 'byte', 0] },
  CONCATENATION: { axis: [0, 'int', 0], activation: [1, 'byte', 0] },
  RESIZE_BILINEAR: { alignCorners: [2, 'byte', 0], halfPixelCenters: [3, 'byte', 0] },
  MEAN: { keepDims: [0, 'byte', 0] },
  FULLY_CONNECTED: { activation: [0, 'byte', 0], weightsFormat: [1, 'byte', 0], keepNumDims: [2, 'byte', 0] },
};

/** A FlatBuffers table: typed access to its fields by number, within the file's bounds. */
class Table {
  readonly #buffer: ByteBuffer;
  readonly #at: number;

  constructor(buffer: ByteBuffer, at: number) {
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

  table(field: number): Table | undefined {
    const at = this.#field(field, 4);
    return at === undefined ? undefined : new Table(this.#buffer, at + this.#buffer.readUint32(at));
  }

  tables(field: number, countMax: number): Table[] {
    const { at, count } = this.#vector(field, 4, countMax);
    return Array.from({ length: count }, (_, i) => {
      const entry = at + i * 4;
      return new Table(this.#buffer, entry + this.#buffer.readUint32(entry));
    });
  }

  ints(field: number, countMax: number): number[] {
    const { at, count } = this.#vector(field, 4, countMax);
    return Array.from({ length: count }, (_, i) => this.#buffer.readInt32(at + i * 4));
  }

  /** A view, not a copy. */
  bytes(field: number): Uint8Array {
    const { at, count } = this.#vector(field, 1, Number.POSITIVE_INFINITY);
    return this.#buffer.bytes().subarray(at, at + count);
  }

  string(field: number): string {
    const { at, count } = this.#vector(field, 1, LIMITS.nameBytes);
    return new TextDecoder().decode(this.#buffer.bytes().subarray(at, at + count));
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

  #vector(field: number, elementBytes: number, countMax: number): { at: number; count: number } {
    const field0 = this.#field(field, 4);
    if (field0 === undefined) return { at: 0, count: 0 };
    const vector = field0 + this.#buffer.readUint32(field0);
    within(this.#buffer, vector, 4);
    const count = this.#buffer.readUint32(vector);
    if (count > countMax) throw new Damage(`a list of ${count} entries, more than ${countMax}`);
    within(this.#buffer, vector + 4, count * elementBytes);
    return { at: vector + 4, count };
  }
}

/** Why the bytes are no TFLite file. Becomes MODEL_DAMAGED with the file's name at the room's edge. */
class Damage extends Error {}

function within(buffer: ByteBuffer, at: number, bytes: number): void {
  if (at < 0 || at + bytes > buffer.capacity())
    throw new Damage(`it points to byte ${at + bytes} of ${buffer.capacity()}`);
}

/**
 * The first subgraph of a TFLite file. `name` is what errors call the file. Throws MODEL_DAMAGED when the bytes are no
 * whole TFLite file, MODEL_UNSUPPORTED when they keep constants outside of the FlatBuffer.
 */
export function readTflite(bytes: Uint8Array, name: string): TfliteGraph {
  try {
    return readGraph(bytes);
  } catch (thrown) {
    if (thrown instanceof Damage) {
      throw new SightlineError('MODEL_DAMAGED', `${name} is no whole TFLite file: ${thrown.message}`, {
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

function readGraph(bytes: Uint8Array): TfliteGraph {
  const buffer = new ByteBuffer(bytes);
  within(buffer, 0, 8);
  if (!buffer.__has_identifier('TFL3')) throw new Damage('the identifier TFL3 is not there');
  const model = new Table(buffer, buffer.readUint32(0));
  const codes = model.tables(1, LIMITS.operators).map(operatorKind);
  const buffers = model.tables(4, LIMITS.tensors);
  const subgraph = model.tables(2, LIMITS.operators)[0];
  if (!subgraph) throw new Damage('it holds no graph');
  const tensors = subgraph.tables(0, LIMITS.tensors).map((t) => readTensor(t, buffers));
  const operators = subgraph.tables(3, LIMITS.operators).map((o) => readOperator(o, codes));
  const graph = {
    tensors,
    operators,
    inputs: subgraph.ints(1, LIMITS.operands),
    outputs: subgraph.ints(2, LIMITS.operands),
  };
  checkReferences(graph);
  return graph;
}

/** Files before schema version 3a keep the code in a byte (field 0); later ones in field 3, and 127 in the byte. */
function operatorKind(code: Table): string {
  const number = Math.max(code.byte(0, 0), code.int(3, 0));
  if (number === 32) return `CUSTOM ${code.string(1)}`;
  return OPERATORS[number] ?? `OPERATOR_${number}`;
}

function readTensor(table: Table, buffers: readonly Table[]): TfliteTensor {
  const shape = table.ints(0, LIMITS.rank);
  if (shape.some((d) => d < 0)) throw new Damage(`a tensor has the shape [${shape}]`);
  const type = table.byte(1, 0);
  const head = { name: table.string(3), shape, type };
  const index = table.int(2, 0);
  const holder = buffers[index];
  if (!holder) throw new Damage(`the tensor "${head.name}" refers to buffer ${index} of ${buffers.length}`);
  if (holder.has(1))
    throw new Unsupported(`the tensor "${head.name}" lies outside of the FlatBuffer (a file over 2 GB)`);
  const data = holder.bytes(0);
  if (data.length === 0) return head;
  const expected = shape.reduce((a, b) => a * b, ELEMENT_BYTES[type] ?? Number.NaN);
  // Strings and sub-byte types have no fixed element size; nothing converts them, so their length is not judged.
  if (!Number.isNaN(expected) && data.length !== expected) {
    throw new Damage(`the tensor "${head.name}" of shape [${shape}] has ${data.length} bytes instead of ${expected}`);
  }
  return { ...head, data };
}

function readOperator(table: Table, codes: readonly string[]): TfliteOperator {
  const index = table.int(0, 0);
  const kind = codes[index];
  if (kind === undefined) throw new Damage(`an operator refers to code ${index} of ${codes.length}`);
  const fields = OPTIONS[kind] ?? {};
  const options = table.table(4);
  const read = ([field, type, fallback]: readonly [number, OptionType, number]) =>
    options?.[type](field, fallback) ?? fallback;
  return {
    kind,
    inputs: table.ints(1, LIMITS.operands),
    outputs: table.ints(2, LIMITS.operands),
    options: Object.fromEntries(Object.entries(fields).map(([name, spec]) => [name, read(spec)])),
  };
}

/** Every operand is a tensor that exists, and is computed, given or constant before it is used. */
function checkReferences({ tensors, operators, inputs, outputs }: TfliteGraph): void {
  const known = new Set(inputs);
  tensors.forEach((t, i) => t.data && known.add(i));
  for (const i of inputs) if (!tensors[i]) throw new Damage(`the graph's input is tensor ${i} of ${tensors.length}`);
  for (const { kind, inputs: used, outputs: made } of operators) {
    for (const i of used)
      if (i !== -1 && !known.has(i)) throw new Damage(`${kind} uses tensor ${i} before anything makes it`);
    for (const i of made) {
      if (!tensors[i] || known.has(i)) throw new Damage(`${kind} writes tensor ${i}, which is taken or not there`);
      known.add(i);
    }
  }
  for (const i of outputs) if (!known.has(i)) throw new Damage(`nothing makes the graph's output, tensor ${i}`);
}
