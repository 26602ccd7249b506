import { Builder } from 'flatbuffers';

/** Writes small TFLite files for tests. Field numbers are those of TensorFlow's `schema.fbs`. */

export interface WrittenTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** `TensorType`; default FLOAT32. */
  readonly type?: number;
  readonly data?: Uint8Array;
  /** Index of a tensor whose data this one shares. */
  readonly dataOf?: number;
  /** real = scale × (number − zero point); several scales count along `axis`. */
  readonly quantisation?: {
    readonly scales: readonly number[];
    readonly zeroPoints: readonly number[];
    readonly axis?: number;
  };
  readonly sparsity?: WrittenSparsity;
  /** The shape with −1 for what is open. */
  readonly openShape?: readonly number[];
  /** Keeps its value from run to run. */
  readonly isVariable?: boolean;
}

/** `SparsityParameters`: a number for a dense dimension's size, else the lists of a compressed one. */
export interface WrittenSparsity {
  readonly order: readonly number[];
  readonly blockMap?: readonly number[];
  readonly dimensions: readonly (
    | number
    | { readonly segments: readonly number[]; readonly indices: readonly number[]; readonly width: 8 | 16 | 32 }
  )[];
}

export interface WrittenOperator {
  /** `BuiltinOperator`. */
  readonly code: number;
  /** Of a custom operator. */
  readonly customCode?: string;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Fields of the option table. */
  readonly options?: readonly WrittenOption[];
}

export type WrittenOption =
  | readonly [field: number, type: 'byte' | 'int' | 'float', value: number]
  | readonly [field: number, type: 'ints', values: readonly number[]];

export interface WrittenGraph {
  readonly tensors: readonly WrittenTensor[];
  readonly operators: readonly WrittenOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Names of further subgraphs, which are empty. */
  readonly moreSubgraphs?: readonly string[];
  /** Of the schema; default 3. */
  readonly version?: number;
}

/** Number of the option table in the union `BuiltinOptions`, by `BuiltinOperator`. */
const OPTION_TABLES = new Map(
  (
    '0=11 1=5 2=10 3=1 4=2 5=94 6=38 9=8 11=12 17=5 18=21 22=17 23=15 25=9 26=19 34=22 36=23 39=26 40=27 ' +
    '41=28 42=29 43=30 45=32 47=33 49=35 50=36 53=37 55=39 56=40 57=39 59=42 60=43 65=48 67=49 69=51 ' +
    '70=52 74=27 77=55 78=56 79=57 81=27 82=27 83=59 88=64 89=27 92=66 97=74 98=75 99=76 100=77 101=78 ' +
    '102=79 108=84 114=89 117=91 124=99 126=101 130=104 150=116'
  )
    .split(' ')
    .map((pair): [number, number] => [Number(pair.split('=')[0]), Number(pair.split('=')[1])]),
);

export function writeTflite(graph: WrittenGraph): Uint8Array {
  const b = new Builder(1024);
  // Buffer 0 stands for none; an empty constant has a buffer of its own.
  const buffers = tables(b, [undefined, ...graph.tensors.map((t) => t.data)], (data) => {
    const at = data ? bytes(b, data) : 0;
    return table(b, 1, () => b.addFieldOffset(0, at, 0));
  });
  const tensors = tables(
    b,
    graph.tensors.map((tensor, i) => ({ tensor, i })),
    ({ tensor, i }) => {
      const name = b.createString(tensor.name);
      const shape = ints(b, tensor.shape);
      const quantisation = tensor.quantisation ? writeQuantisation(b, tensor.quantisation) : 0;
      const sparsity = tensor.sparsity ? writeSparsity(b, tensor.sparsity) : 0;
      const openShape = tensor.openShape ? ints(b, tensor.openShape) : 0;
      const buffer = tensor.dataOf ?? (tensor.data ? i : -1);
      return table(b, 8, () => {
        b.addFieldOffset(0, shape, 0);
        b.addFieldInt8(1, tensor.type ?? 0, 0);
        b.addFieldInt32(2, buffer + 1, 0);
        b.addFieldOffset(3, name, 0);
        b.addFieldOffset(4, quantisation, 0);
        b.addFieldInt8(5, tensor.isVariable ? 1 : 0, 0);
        b.addFieldOffset(6, sparsity, 0);
        b.addFieldOffset(7, openShape, 0);
      });
    },
  );
  const operators = tables(
    b,
    graph.operators.map((operator, i) => ({ operator, i })),
    ({ operator, i }) => {
      const { options = [], code } = operator;
      const [inputs, outputs] = [ints(b, operator.inputs), ints(b, operator.outputs)];
      const lists = options.map(([, type, value]) => (type === 'ints' ? ints(b, value) : 0));
      const optionTable = table(b, 8, () => {
        for (const [i, [field, type, value]] of options.entries()) {
          if (type === 'ints') b.addFieldOffset(field, lists[i] as number, 0);
          else if (type === 'byte') b.addFieldInt8(field, value, 0);
          else if (type === 'float') b.addFieldFloat32(field, value, 0);
          else b.addFieldInt32(field, value, 0);
        }
      });
      return table(b, 5, () => {
        b.addFieldInt32(0, i, 0);
        b.addFieldOffset(1, inputs, 0);
        b.addFieldOffset(2, outputs, 0);
        b.addFieldInt8(3, OPTION_TABLES.get(code) ?? 0, 0);
        b.addFieldOffset(4, optionTable, 0);
      });
    },
  );
  const codes = tables(b, graph.operators, ({ code, customCode }) => {
    const custom = customCode === undefined ? 0 : b.createString(customCode);
    return table(b, 4, () => {
      b.addFieldInt8(0, Math.min(code, 127), 0);
      b.addFieldOffset(1, custom, 0);
      b.addFieldInt32(3, code, 0);
    });
  });
  const [inputs, outputs] = [ints(b, graph.inputs), ints(b, graph.outputs)];
  const subgraph = table(b, 4, () => {
    b.addFieldOffset(0, tensors, 0);
    b.addFieldOffset(1, inputs, 0);
    b.addFieldOffset(2, outputs, 0);
    b.addFieldOffset(3, operators, 0);
  });
  const more = (graph.moreSubgraphs ?? []).map((title) => {
    const name = b.createString(title);
    return table(b, 5, () => b.addFieldOffset(4, name, 0));
  });
  const subgraphs = tables(b, [subgraph, ...more], (at) => at);
  const model = table(b, 5, () => {
    b.addFieldInt32(0, graph.version ?? 3, 0);
    b.addFieldOffset(1, codes, 0);
    b.addFieldOffset(2, subgraphs, 0);
    b.addFieldOffset(4, buffers, 0);
  });
  b.finish(model, 'TFL3');
  return Uint8Array.from(b.asUint8Array());
}

export function floatBytes(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

export function intBytes(values: readonly number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer);
}

export function longBytes(values: readonly number[]): Uint8Array {
  return new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
}

function writeQuantisation(b: Builder, { scales, zeroPoints, axis = 0 }: NonNullable<WrittenTensor['quantisation']>) {
  const scaleList = floats(b, scales);
  const zeroList = longs(b, zeroPoints);
  return table(b, 7, () => {
    b.addFieldOffset(2, scaleList, 0);
    b.addFieldOffset(3, zeroList, 0);
    b.addFieldInt32(6, axis, 0);
  });
}

function writeSparsity(b: Builder, { order, blockMap = [], dimensions }: WrittenSparsity): number {
  const written = tables(b, dimensions, (dimension) => {
    if (typeof dimension === 'number') {
      return table(b, 6, () => {
        b.addFieldInt8(0, 0, 0);
        b.addFieldInt32(1, dimension, 0);
      });
    }
    const kind = { 32: 1, 16: 2, 8: 3 }[dimension.width];
    const [segments, indices] = [dimension.segments, dimension.indices].map((list) => indexVector(b, list, kind)) as [
      number,
      number,
    ];
    return table(b, 6, () => {
      b.addFieldInt8(0, 1, 0);
      b.addFieldInt8(2, kind, 0);
      b.addFieldOffset(3, segments, 0);
      b.addFieldInt8(4, kind, 0);
      b.addFieldOffset(5, indices, 0);
    });
  });
  const [orderList, mapList] = [ints(b, order), blockMap.length > 0 ? ints(b, blockMap) : 0];
  return table(b, 3, () => {
    b.addFieldOffset(0, orderList, 0);
    b.addFieldOffset(1, mapList, 0);
    b.addFieldOffset(2, written, 0);
  });
}

function indexVector(b: Builder, values: readonly number[], kind: number): number {
  const width = [0, 4, 2, 1][kind] as number;
  b.startVector(width, values.length, 4);
  for (const value of values.toReversed()) {
    if (width === 4) b.addInt32(value);
    else if (width === 2) b.addInt16(value);
    else b.addInt8(value);
  }
  const list = b.endVector();
  return table(b, 1, () => b.addFieldOffset(0, list, 0));
}

function table(b: Builder, fields: number, fill: () => void): number {
  b.startObject(fields);
  fill();
  return b.endObject();
}

function tables<T>(b: Builder, items: readonly T[], write: (item: T) => number): number {
  const offsets = items.map(write);
  b.startVector(4, offsets.length, 4);
  for (const offset of offsets.toReversed()) b.addOffset(offset);
  return b.endVector();
}

function ints(b: Builder, values: readonly number[]): number {
  b.startVector(4, values.length, 4);
  for (const value of values.toReversed()) b.addInt32(value);
  return b.endVector();
}

function floats(b: Builder, values: readonly number[]): number {
  b.startVector(4, values.length, 4);
  for (const value of values.toReversed()) b.addFloat32(value);
  return b.endVector();
}

function longs(b: Builder, values: readonly number[]): number {
  b.startVector(8, values.length, 8);
  for (const value of values.toReversed()) b.addInt64(BigInt(value));
  return b.endVector();
}

function bytes(b: Builder, data: Uint8Array): number {
  b.startVector(1, data.length, 16);
  for (const byte of data.toReversed()) b.addInt8(byte);
  return b.endVector();
}
