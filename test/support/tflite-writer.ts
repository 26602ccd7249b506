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
}

export interface WrittenOperator {
  /** `BuiltinOperator`. */
  readonly code: number;
  /** Of a custom operator. */
  readonly customCode?: string;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  /** Fields of the option table. */
  readonly options?: readonly (readonly [field: number, type: 'byte' | 'int', value: number])[];
}

export interface WrittenGraph {
  readonly tensors: readonly WrittenTensor[];
  readonly operators: readonly WrittenOperator[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export function writeTflite(graph: WrittenGraph): Uint8Array {
  const b = new Builder(1024);
  const buffers = tables(b, [new Uint8Array(), ...graph.tensors.map((t) => t.data ?? new Uint8Array())], (data) => {
    const at = bytes(b, data);
    return table(b, 1, () => b.addFieldOffset(0, at, 0));
  });
  const tensors = tables(
    b,
    graph.tensors.map((tensor, i) => ({ tensor, i })),
    ({ tensor, i }) => {
      const name = b.createString(tensor.name);
      const shape = ints(b, tensor.shape);
      return table(b, 4, () => {
        b.addFieldOffset(0, shape, 0);
        b.addFieldInt8(1, tensor.type ?? 0, 0);
        b.addFieldInt32(2, (tensor.dataOf ?? i) + 1, 0);
        b.addFieldOffset(3, name, 0);
      });
    },
  );
  const operators = tables(
    b,
    graph.operators.map((operator, i) => ({ operator, i })),
    ({ operator, i }) => {
      const { options = [] } = operator;
      const [inputs, outputs] = [ints(b, operator.inputs), ints(b, operator.outputs)];
      const optionTable = table(b, 8, () => {
        for (const [field, type, value] of options) {
          if (type === 'byte') b.addFieldInt8(field, value, 0);
          else b.addFieldInt32(field, value, 0);
        }
      });
      return table(b, 5, () => {
        b.addFieldInt32(0, i, 0);
        b.addFieldOffset(1, inputs, 0);
        b.addFieldOffset(2, outputs, 0);
        b.addFieldInt8(3, 1, 0);
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
  const subgraphs = tables(b, [subgraph], (at) => at);
  const model = table(b, 5, () => {
    b.addFieldInt32(0, 3, 0);
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

function bytes(b: Builder, data: Uint8Array): number {
  b.startVector(1, data.length, 16);
  for (const byte of data.toReversed()) b.addInt8(byte);
  return b.endVector();
}
