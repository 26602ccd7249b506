/**
 * A second, slow and plain evaluation of TFLite graphs, to check the ONNX conversion against. It shares nothing with
 * `src/inference/tflite`: it reads the FlatBuffer by hand (vtables and offsets as in FlatBuffers' "Internals" page, field
 * numbers of TensorFlow's `schema.fbs`) and computes each operator with loops over NHWC arrays, as its definition says.
 * It trusts the file. Results are rounded to float32 after every operator, sums are kept in double
 * precision; a quantised tensor is rounded to its numbers besides.
 */

export interface Value {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Called after each operator, for comparing step by step. */
type Watch = (kind: number, outputName: string, value: Value) => void;

/**
 * Outputs by name, for inputs in the order of the graph. Quantised tensors are real values here, inputs and outputs too, rounded
 * to the nearest one that their numbers can stand for.
 */
export function evaluateTflite(file: Uint8Array, inputs: readonly Float32Array[], watch?: Watch): Map<string, Value> {
  const graph = open(file);
  const values = new Map<number, Value>();
  graph.inputs.forEach((index, i) =>
    values.set(index, { shape: shapeOf(graph, index), data: rounded(graph, index, inputs[i]!) }),
  );
  for (const operator of graph.operators) {
    const results = compute(graph, operator, (i) => values.get(i) ?? constant(graph, i));
    operator.outputs.forEach((index, i) => {
      const value = { shape: shapeOf(graph, index), data: rounded(graph, index, results[i]!) };
      values.set(index, value);
      watch?.(operator.code, nameOf(graph, index), value);
    });
  }
  return new Map(graph.outputs.map((i) => [nameOf(graph, i), values.get(i) ?? constant(graph, i)]));
}

/** The step between two neighbouring numbers of an output; 0 where it is not quantised. */
export function outputSteps(file: Uint8Array): Map<string, number> {
  const graph = open(file);
  return new Map(
    graph.outputs.map((i) => [nameOf(graph, i), RANGES[typeOf(graph, i)] ? (scalesOf(graph, i).scales[0] ?? 0) : 0]),
  );
}

/** Shapes of the graph's inputs. */
export function inputShapes(file: Uint8Array): number[][] {
  const graph = open(file);
  return graph.inputs.map((i) => shapeOf(graph, i));
}

// --- the file ---------------------------------------------------------------------------------------------------------

interface Operator {
  readonly code: number;
  readonly inputs: number[];
  readonly outputs: number[];
  /** Position of the option table; 0 for none. */
  readonly options: number;
}

interface Graph {
  readonly view: DataView;
  /** Positions of tables. */
  readonly tensors: number[];
  readonly buffers: number[];
  readonly operators: Operator[];
  readonly inputs: number[];
  readonly outputs: number[];
}

function open(file: Uint8Array): Graph {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const model = view.getUint32(0, true);
  const codes = tablesAt(view, slot(view, model, 1)).map((code) => {
    const late = slot(view, code, 3);
    const early = slot(view, code, 0);
    return Math.max(late ? view.getInt32(late, true) : 0, early ? view.getInt8(early) : 0);
  });
  const subgraph = tablesAt(view, slot(view, model, 2))[0]!;
  const operators = tablesAt(view, slot(view, subgraph, 3)).map((table) => {
    const opcode = slot(view, table, 0);
    const options = slot(view, table, 4);
    return {
      code: codes[opcode ? view.getUint32(opcode, true) : 0]!,
      inputs: intsAt(view, slot(view, table, 1)),
      outputs: intsAt(view, slot(view, table, 2)),
      options: options ? options + view.getUint32(options, true) : 0,
    };
  });
  return {
    view,
    operators,
    tensors: tablesAt(view, slot(view, subgraph, 0)),
    buffers: tablesAt(view, slot(view, model, 4)),
    inputs: intsAt(view, slot(view, subgraph, 1)),
    outputs: intsAt(view, slot(view, subgraph, 2)),
  };
}

/** Position of a table's field; 0 when the file leaves it out. */
function slot(view: DataView, table: number, field: number): number {
  if (table === 0) return 0;
  const vtable = table - view.getInt32(table, true);
  const entry = 4 + field * 2;
  if (entry >= view.getUint16(vtable, true)) return 0;
  const offset = view.getUint16(vtable + entry, true);
  return offset === 0 ? 0 : table + offset;
}

function vectorAt(view: DataView, at: number): { start: number; length: number } {
  if (at === 0) return { start: 0, length: 0 };
  const vector = at + view.getUint32(at, true);
  return { start: vector + 4, length: view.getUint32(vector, true) };
}

function tablesAt(view: DataView, at: number): number[] {
  const { start, length } = vectorAt(view, at);
  return Array.from({ length }, (_, i) => start + i * 4 + view.getUint32(start + i * 4, true));
}

function intsAt(view: DataView, at: number): number[] {
  const { start, length } = vectorAt(view, at);
  return Array.from({ length }, (_, i) => view.getInt32(start + i * 4, true));
}

function shapeOf({ view, tensors }: Graph, index: number): number[] {
  return intsAt(view, slot(view, tensors[index]!, 0));
}

function nameOf({ view, tensors }: Graph, index: number): string {
  const { start, length } = vectorAt(view, slot(view, tensors[index]!, 3));
  return Buffer.from(view.buffer, view.byteOffset + start, length).toString('utf8');
}

const FLOAT32 = 0;
const FLOAT16 = 1;
const INT32 = 2;

/** Readers and bytes of an element, by `TensorType`. */
const ELEMENTS: Readonly<Record<number, readonly [bytes: number, read: (view: DataView, at: number) => number]>> = {
  [FLOAT32]: [4, (view, at) => view.getFloat32(at, true)],
  [FLOAT16]: [2, (view, at) => half(view.getUint16(at, true))],
  [INT32]: [4, (view, at) => view.getInt32(at, true)],
  3: [1, (view, at) => view.getUint8(at)],
  4: [8, (view, at) => Number(view.getBigInt64(at, true))],
  6: [1, (view, at) => view.getUint8(at)],
  7: [2, (view, at) => view.getInt16(at, true)],
  9: [1, (view, at) => view.getInt8(at)],
};

/** Numbers that a quantised tensor can have, by `TensorType`. */
const RANGES: Readonly<Record<number, readonly [low: number, high: number]>> = {
  3: [0, 255],
  7: [-32_768, 32_767],
  9: [-128, 127],
};

function typeOf({ view, tensors }: Graph, index: number): number {
  const at = slot(view, tensors[index]!, 1);
  return at ? view.getInt8(at) : FLOAT32;
}

function scalesOf({ view, tensors }: Graph, index: number): { scales: number[]; zeros: number[]; axis: number } {
  const at = slot(view, tensors[index]!, 4);
  const table = at ? at + view.getUint32(at, true) : 0;
  const list = (field: number, bytes: number, read: (from: number) => number) => {
    const { start, length } = vectorAt(view, slot(view, table, field));
    return Array.from({ length }, (_, i) => read(start + i * bytes));
  };
  const axisSlot = slot(view, table, 6);
  return {
    scales: list(2, 4, (from) => view.getFloat32(from, true)),
    zeros: list(3, 8, (from) => Number(view.getBigInt64(from, true))),
    axis: axisSlot ? view.getInt32(axisSlot, true) : 0,
  };
}

/** What the numbers of a quantised tensor can stand for, nearest to `data`; other tensors as they are. */
function rounded(graph: Graph, index: number, data: Float32Array): Float32Array {
  const range = RANGES[typeOf(graph, index)];
  const { scales, zeros } = scalesOf(graph, index);
  if (!range || scales.length === 0) return data;
  const [scale = 1, zero = 0] = [scales[0], zeros[0]];
  return data.map((x) => {
    const steps = Math.sign(x) * Math.floor(Math.abs(x) / scale + 0.5);
    return (Math.min(range[1], Math.max(range[0], steps + zero)) - zero) * scale;
  });
}

/** A constant as float32, whatever it is in the file. `scale`: in place of the tensor's own. */
function constant(graph: Graph, index: number, scale?: readonly number[]): Value {
  const { view } = graph;
  const table = graph.tensors[index]!;
  const bufferSlot = slot(view, table, 2);
  const buffer = graph.buffers[bufferSlot ? view.getUint32(bufferSlot, true) : 0]!;
  const { start, length } = vectorAt(view, slot(view, buffer, 0));
  const [bytes, read] = ELEMENTS[typeOf(graph, index)] ?? [];
  if (!bytes || !read) throw new Error(`constant of type ${typeOf(graph, index)}`);
  const shape = shapeOf(graph, index);
  const stored = Array.from({ length: length / bytes }, (_, i) => read(view, start + i * bytes));
  const sparsity = slot(view, table, 6);
  const plain = sparsity ? spread(view, sparsity + view.getUint32(sparsity, true), stored, shape) : stored;
  const { scales: own, zeros, axis } = scalesOf(graph, index);
  const scales = scale ?? own;
  const isQuantised = scales.length > 0 && typeOf(graph, index) > FLOAT16;
  const data = Float32Array.from(plain, (x, i) => {
    const at = scales.length > 1 ? places(i, shape)[scale ? shape.length - 1 : axis]! : 0;
    return isQuantised ? scales[at]! * (x - (scale ? 0 : (zeros[at] ?? 0))) : x;
  });
  return { shape, data };
}

/** A sparse constant in full: walks the tree of stored dimensions, and notes where it is in each. */
function spread(view: DataView, table: number, stored: readonly number[], shape: readonly number[]): Float32Array {
  const order = intsAt(view, slot(view, table, 0));
  const blockMap = intsAt(view, slot(view, table, 1));
  const dimensions = tablesAt(view, slot(view, table, 2));
  const sizeAt = (dimension: number) => {
    const at = slot(view, dimension, 1);
    return at ? view.getInt32(at, true) : 0;
  };
  const list = (dimension: number, field: number) => {
    const kind = view.getInt8(slot(view, dimension, field));
    const holder = slot(view, dimension, field + 1);
    const { start, length } = vectorAt(view, slot(view, holder + view.getUint32(holder, true), 0));
    const read = [
      () => 0,
      (i: number) => view.getInt32(start + i * 4, true),
      (i: number) => view.getUint16(start + i * 2, true),
      (i: number) => view.getUint8(start + i),
    ][kind]!;
    return Array.from({ length }, (_, i) => read(i));
  };
  const full = new Float32Array(size(shape));
  let next = 0;
  const walk = (level: number, entry: number, at: readonly number[]) => {
    if (level === dimensions.length) {
      const place = shape.map((_, axis) => {
        const outer = at[order.indexOf(axis)]!;
        const block = blockMap.indexOf(axis);
        if (block === -1) return outer;
        const inner = order.indexOf(shape.length + block);
        return outer * sizeAt(dimensions[inner]!) + at[inner]!;
      });
      full[offset(place, shape)] = stored[next]!;
      next += 1;
      return;
    }
    const dimension = dimensions[level]!;
    const isSparse = slot(view, dimension, 0) && view.getInt8(slot(view, dimension, 0)) === 1;
    if (!isSparse) {
      const extent = sizeAt(dimension);
      for (let i = 0; i < extent; i += 1) walk(level + 1, entry * extent + i, [...at, i]);
      return;
    }
    const [segments, indices] = [list(dimension, 2), list(dimension, 4)];
    for (let i = segments[entry]!; i < segments[entry + 1]!; i += 1) walk(level + 1, i, [...at, indices[i]!]);
  };
  walk(0, 0, []);
  return full;
}

const scratch = new DataView(new ArrayBuffer(4));

/** IEEE 754 binary16, by shifting its fields to where binary32 has them. */
function half(bits: number): number {
  scratch.setUint32(0, ((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13));
  // Binary32's exponent has the bias 127, binary16's 15; the product also turns subnormal halves into normal numbers.
  return scratch.getFloat32(0) * 2 ** 112;
}

// --- the operators ----------------------------------------------------------------------------------------------------

type Get = (index: number) => Value;

/** The operator's outputs, in their order. */
function compute(graph: Graph, operator: Operator, get: Get): Float32Array[] {
  const { code, inputs, options, outputs } = operator;
  const shapes = outputs.map((index) => shapeOf(graph, index));
  const shape = shapes[0]!;
  const int = (field: number, fallback = 0) => {
    const at = slot(graph.view, options, field);
    return at ? graph.view.getInt32(at, true) : fallback;
  };
  const byte = (field: number) => {
    const at = slot(graph.view, options, field);
    return at ? graph.view.getInt8(at) : 0;
  };
  const float = (field: number) => {
    const at = slot(graph.view, options, field);
    return at ? graph.view.getFloat32(at, true) : 0;
  };
  const operand = (i: number) => get(inputs[i]!);
  const list = (i: number) => [...operand(i).data];
  const bias = (at = 2) => {
    const index = inputs[at] ?? -1;
    if (index < 0) return undefined;
    if (typeOf(graph, index) === FLOAT32) return get(index).data;
    // Sums of products of the numbers of picture and weights: so are their units.
    const [unit = 0] = scalesOf(graph, inputs[at === 3 ? 2 : 0]!).scales;
    return constant(
      graph,
      index,
      scalesOf(graph, inputs[1]!).scales.map((s) => s * unit),
    ).data;
  };
  const each = (of: (x: number) => number) => [operand(0).data.map(of)];
  const window = (dilation?: number): Window => ({
    same: byte(0) === 0,
    strideX: int(1),
    strideY: int(2),
    dilationX: dilation ? int(dilation, 1) : 1,
    dilationY: dilation ? int(dilation + 1, 1) : 1,
  });
  const pair = (of: (a: number, b: number) => number) => combine(operand(0), operand(1), shape, of);
  const parts = () => inputs.map(get);
  switch (code) {
    case 0:
      return [
        activate(
          pair((a, b) => a + b),
          byte(0),
        ),
      ];
    case 1:
      return [activate(average(operand(0), int(4), int(3), window(), shape), byte(5))];
    case 2:
      return [activate(concatenate(parts(), int(0), shape), byte(1))];
    case 3:
      return [activate(convolve(operand(0), operand(1), bias(), window(4), shape), byte(3))];
    case 4:
      return [activate(convolveDepthwise(operand(0), operand(1), bias(), window(5), shape), byte(4))];
    case 5:
      return [depthToSpace(operand(0), int(0), shape)];
    case 8:
      return each(Math.floor);
    case 9:
      return [activate(multiply(operand(0), operand(1), bias(), shape), byte(0))];
    case 11:
      return [alongLast(operand(0), (row) => row.map((x) => x / Math.max(1e-6, Math.hypot(...row))))];
    case 14:
      return each((x) => 1 / (1 + Math.exp(-x)));
    case 17:
      return [activate(maximum(operand(0), int(4), int(3), window(), shape), byte(5))];
    case 18:
      return [
        activate(
          pair((a, b) => a * b),
          byte(0),
        ),
      ];
    case 19:
      return each((x) => Math.max(0, x));
    case 20:
      return each((x) => Math.min(1, Math.max(-1, x)));
    case 21:
      return each((x) => Math.min(6, Math.max(0, x)));
    case 6: // DEQUANTIZE
    case 22: // RESHAPE
    case 43: // SQUEEZE
    case 70: // EXPAND_DIMS
    case 114: // QUANTIZE
    case 124: // DENSIFY
      if (operand(0).data.length !== size(shape)) throw new Error(`operator ${code} changes the number of elements`);
      return [operand(0).data];
    case 23:
      return [resize(operand(0), byte(2) !== 0, byte(3) !== 0, shape)];
    case 25:
      return [alongLast(operand(0), (row) => softmax(row.map((x) => x * float(0))))];
    case 26:
      return [spaceToDepth(operand(0), int(0), shape)];
    case 28:
      return each(Math.tanh);
    case 34:
      return [pad(operand(0), operand(1).data, shape, () => 0)];
    case 36:
      return [gather(operand(0), operand(1), int(0), shape)];
    case 39: {
      const order = list(1);
      return [pick(operand(0), shape, (place) => order.map((_, axis) => place[order.indexOf(axis)]!))];
    }
    case 40:
      return [reduce(operand(0), list(1), (xs) => xs.reduce((a, b) => a + b, 0) / xs.length)];
    case 41:
      return [
        activate(
          pair((a, b) => a - b),
          byte(0),
        ),
      ];
    case 42:
      return [
        activate(
          pair((a, b) => a / b),
          byte(0),
        ),
      ];
    case 45: {
      const masks = { begin: int(0), end: int(1), ellipsis: int(2), fresh: int(3), shrink: int(4), offset: byte(5) };
      return [stridedSlice(operand(0), list(1), list(2), list(3), masks, shape)];
    }
    case 47:
      return each(Math.exp);
    case 49:
      return split(operand(1), operand(0).data[0]!, shapes);
    case 50:
      return [alongLast(operand(0), (row) => softmax(row).map(Math.log))];
    case 53:
      return typeOf(graph, outputs[0]!) === FLOAT32 ? [operand(0).data] : each(Math.trunc);
    case 54:
      return [pair((x, slope) => (x >= 0 ? x : x * slope))];
    case 55:
      return [pair(Math.max)];
    case 56:
      return [argument(operand(0), operand(1).data[0]!, (a, b) => a > b)];
    case 57:
      return [pair(Math.min)];
    case 59:
      return each((x) => -x);
    case 60:
      return [pad(operand(0), operand(1).data, shape, () => operand(2).data[0]!)];
    case 65: {
      const begin = list(1);
      return [pick(operand(0), shape, (place) => place.map((p, axis) => p + begin[axis]!))];
    }
    case 66:
      return each(Math.sin);
    case 67:
      return [activate(convolveBack(operand(2), operand(1), bias(3), window(), shape), byte(3))];
    case 69:
    case 130:
      return [pick(operand(0), shape, (place) => wrapped(place, operand(0).shape))];
    case 73:
      return each(Math.log);
    case 74:
      return [reduce(operand(0), list(1), (xs) => xs.reduce((a, b) => a + b, 0))];
    case 75:
      return each(Math.sqrt);
    case 76:
      return each((x) => 1 / Math.sqrt(x));
    case 77:
      return [Float32Array.from(operand(0).shape)];
    case 78:
      return [pair((a, b) => a ** b)];
    case 79:
      return [argument(operand(0), operand(1).data[0]!, (a, b) => a < b)];
    case 81:
      return [reduce(operand(0), list(1), (xs) => xs.reduce((a, b) => a * b, 1))];
    case 82:
      return [reduce(operand(0), list(1), (xs) => Math.max(...xs))];
    case 83: {
      const axis = int(1) < 0 ? int(1) + shape.length : int(1);
      const stacked = parts().map(({ data, shape: own }) => ({ data, shape: own.toSpliced(axis, 0, 1) }));
      return [concatenate(stacked, axis, shape)];
    }
    case 88: {
      const rank = operand(0).shape.length;
      const axis = int(1) < 0 ? int(1) + rank : int(1);
      return shapes.map((s, i) => pick(operand(0), s, (place) => place.toSpliced(axis, 0, i)));
    }
    case 89:
      return [reduce(operand(0), list(1), (xs) => Math.min(...xs))];
    case 92:
      return each((x) => x * x);
    case 97:
      return [resizeNearest(operand(0), byte(0) !== 0, byte(1) !== 0, shape)];
    case 98:
      return each((x) => (x >= 0 ? x : x * float(0)));
    case 99:
      return [pair((a, b) => (a - b) ** 2)];
    case 100: {
      const by = list(1);
      const from = operand(0).shape;
      return [pick(operand(0), shape, (place) => place.map((p, axis) => mirrored(p - by[axis * 2]!, from[axis]!)))];
    }
    case 101:
      return each(Math.abs);
    case 102:
      return split(operand(0), operand(2).data[0]!, shapes);
    case 104:
      return each(Math.ceil);
    case 108:
      return each(Math.cos);
    case 111:
      return each((x) => (x < 0 ? Math.expm1(x) : x));
    case 116:
      return each((x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)));
    case 117:
      return each((x) => (x * Math.min(6, Math.max(0, x + 3))) / 6);
    case 126:
      return [matrixProduct(operand(0), operand(1), byte(0) !== 0, byte(1) !== 0, shape)];
    case 150:
      return each(byte(0) ? (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))) : gelu);
    case 152:
      return each((x) => Math.min(1, Math.max(0, x)));
    case 158:
      return each(Math.sign);
    default:
      throw new Error(`operator ${code} for tensor ${outputs[0]} is not evaluated`);
  }
}

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function activate(data: Float32Array, kind: number): Float32Array {
  if (kind === 1) return data.map((x) => Math.max(0, x));
  if (kind === 2) return data.map((x) => Math.min(1, Math.max(-1, x)));
  if (kind === 3) return data.map((x) => Math.min(6, Math.max(0, x)));
  if (kind === 4) return data.map(Math.tanh);
  return data;
}

interface Window {
  readonly same: boolean;
  readonly strideX: number;
  readonly strideY: number;
  readonly dilationX: number;
  readonly dilationY: number;
}

/** Pixels before the picture's edge where the first window starts. */
function before(same: boolean, from: number, to: number, stride: number, kernel: number, dilation: number): number {
  return same ? Math.floor(Math.max(0, (to - 1) * stride + (kernel - 1) * dilation + 1 - from) / 2) : 0;
}

/** Calls `visit` for each result pixel and each kernel tap of it that lies inside of the picture. */
function slide(
  from: readonly number[],
  to: readonly number[],
  kernel: readonly [height: number, width: number],
  window: Window,
  visit: (result: number, pixel: number, tap: number) => void,
): void {
  const [, height = 0, width = 0] = from;
  const [batch = 0, rows = 0, columns = 0] = to;
  const top = before(window.same, height, rows, window.strideY, kernel[0], window.dilationY);
  const left = before(window.same, width, columns, window.strideX, kernel[1], window.dilationX);
  for (let n = 0; n < batch; n += 1) {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const result = (n * rows + row) * columns + column;
        for (let ky = 0; ky < kernel[0]; ky += 1) {
          const y = row * window.strideY - top + ky * window.dilationY;
          if (y < 0 || y >= height) continue;
          for (let kx = 0; kx < kernel[1]; kx += 1) {
            const x = column * window.strideX - left + kx * window.dilationX;
            if (x < 0 || x >= width) continue;
            visit(result, (n * height + y) * width + x, ky * kernel[1] + kx);
          }
        }
      }
    }
  }
}

/** Weights [out, height, width, in / groups]; each group of results reads a group of channels. */
function convolve(
  input: Value,
  weights: Value,
  bias: Float32Array | undefined,
  window: Window,
  shape: number[],
): Float32Array {
  const [out = 0, height = 0, width = 0, depth = 0] = weights.shape;
  const channels = input.shape[3]!;
  const perGroup = out / (channels / depth);
  const sums = new Float64Array(size(shape));
  if (bias) for (let i = 0; i < sums.length; i += 1) sums[i] = bias[i % out]!;
  const [x, w] = [input.data, weights.data];
  slide(input.shape, shape, [height, width], window, (result, pixel, tap) => {
    for (let o = 0; o < out; o += 1) {
      const weight = (o * height * width + tap) * depth;
      const start = pixel * channels + Math.floor(o / perGroup) * depth;
      let sum = 0;
      for (let i = 0; i < depth; i += 1) sum += x[start + i]! * w[weight + i]!;
      sums[result * out + o]! += sum;
    }
  });
  return Float32Array.from(sums);
}

/** Weights [1, height, width, channels × multiplier]. */
function convolveDepthwise(
  input: Value,
  weights: Value,
  bias: Float32Array | undefined,
  window: Window,
  shape: number[],
): Float32Array {
  const [, height = 0, width = 0, out = 0] = weights.shape;
  const channels = input.shape[3]!;
  const multiplier = out / channels;
  const sums = new Float64Array(size(shape));
  if (bias) for (let i = 0; i < sums.length; i += 1) sums[i] = bias[i % out]!;
  const [x, w] = [input.data, weights.data];
  slide(input.shape, shape, [height, width], window, (result, pixel, tap) => {
    for (let c = 0; c < channels; c += 1) {
      for (let m = 0; m < multiplier; m += 1) {
        const o = c * multiplier + m;
        sums[result * out + o]! += x[pixel * channels + c]! * w[tap * out + o]!;
      }
    }
  });
  return Float32Array.from(sums);
}

function maximum(input: Value, height: number, width: number, window: Window, shape: number[]): Float32Array {
  const channels = shape[3]!;
  const result = new Float32Array(size(shape)).fill(Number.NEGATIVE_INFINITY);
  slide(input.shape, shape, [height, width], window, (to, pixel) => {
    for (let c = 0; c < channels; c += 1) {
      result[to * channels + c] = Math.max(result[to * channels + c]!, input.data[pixel * channels + c]!);
    }
  });
  return result;
}

/** The mean over what of the window lies inside of the picture. */
function average(input: Value, height: number, width: number, window: Window, shape: number[]): Float32Array {
  const channels = shape[3]!;
  const sums = new Float64Array(size(shape));
  const counts = new Float64Array(sums.length);
  slide(input.shape, shape, [height, width], window, (to, pixel) => {
    for (let c = 0; c < channels; c += 1) {
      sums[to * channels + c]! += input.data[pixel * channels + c]!;
      counts[to * channels + c]! += 1;
    }
  });
  return Float32Array.from(sums, (sum, i) => sum / counts[i]!);
}

/** Weights [out, height, width, in]: what a convolution from the result to the picture reads, this one writes. */
function convolveBack(
  input: Value,
  weights: Value,
  bias: Float32Array | undefined,
  window: Window,
  shape: number[],
): Float32Array {
  const [out = 0, height = 0, width = 0, depth = 0] = weights.shape;
  const sums = new Float64Array(size(shape));
  if (bias) for (let i = 0; i < sums.length; i += 1) sums[i] = bias[i % out]!;
  slide(shape, input.shape, [height, width], window, (pixel, to, tap) => {
    for (let o = 0; o < out; o += 1) {
      for (let i = 0; i < depth; i += 1) {
        const weight = weights.data[(o * height * width + tap) * depth + i]!;
        sums[to * out + o]! += input.data[pixel * depth + i]! * weight;
      }
    }
  });
  return Float32Array.from(sums);
}

/** Weights [out, depth]. */
function multiply(input: Value, weights: Value, bias: Float32Array | undefined, shape: number[]): Float32Array {
  const [out = 0, depth = 0] = weights.shape;
  return new Float32Array(size(shape)).map((_, i) => {
    const row = Math.floor(i / out) * depth;
    const column = (i % out) * depth;
    let sum = bias?.[i % out] ?? 0;
    for (let k = 0; k < depth; k += 1) sum += input.data[row + k]! * weights.data[column + k]!;
    return sum;
  });
}

/** The index in `shape` that stands behind an element of `of`, with dimensions of 1 repeated. */
function broadcast(index: number, of: readonly number[], shape: readonly number[]): number {
  let rest = index;
  let place = 0;
  let stride = 1;
  for (let axis = 1; axis <= of.length; axis += 1) {
    const extent = of.at(-axis)!;
    const own = shape.length >= axis ? shape.at(-axis)! : 1;
    if (own !== 1) place += (rest % extent) * stride;
    stride *= own;
    rest = Math.floor(rest / extent);
  }
  return place;
}

function combine(a: Value, b: Value, shape: number[], of: (a: number, b: number) => number): Float32Array {
  return new Float32Array(size(shape)).map((_, i) =>
    of(a.data[broadcast(i, shape, a.shape)]!, b.data[broadcast(i, shape, b.shape)]!),
  );
}

/** A place beyond the edge, which the edge is not part of, in a mirror. */
function mirrored(p: number, extent: number): number {
  if (p < 0) return -p;
  return p < extent ? p : 2 * (extent - 1) - p;
}

/** Each row along the last axis by itself. */
function alongLast(input: Value, of: (row: number[]) => number[]): Float32Array {
  const extent = input.shape.at(-1)!;
  const result = new Float32Array(input.data.length);
  for (let at = 0; at < result.length; at += extent) result.set(of([...input.data.subarray(at, at + extent)]), at);
  return result;
}

function softmax(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const powers = row.map((x) => Math.exp(x - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** x · Φ(x), with the normal distribution summed up from far below. */
function gelu(x: number): number {
  let sum = 0;
  const step = 1e-3;
  for (let t = -9; t < x; t += step) {
    const width = Math.min(step, x - t);
    sum += Math.exp(-((t + width / 2) ** 2) / 2) * width;
  }
  return (x * sum) / Math.sqrt(2 * Math.PI);
}

function concatenate(parts: readonly Value[], axis: number, shape: number[]): Float32Array {
  const at = axis < 0 ? axis + shape.length : axis;
  const outer = size(shape.slice(0, at));
  const result = new Float32Array(size(shape));
  let to = 0;
  for (let o = 0; o < outer; o += 1) {
    for (const part of parts) {
      const run = size(part.shape.slice(at));
      result.set(part.data.subarray(o * run, (o + 1) * run), to);
      to += run;
    }
  }
  return result;
}

/** Coordinates of an element. */
function places(index: number, shape: readonly number[]): number[] {
  let rest = index;
  return shape
    .toReversed()
    .map((extent) => {
      const place = rest % extent;
      rest = Math.floor(rest / extent);
      return place;
    })
    .toReversed();
}

const offset = (place: readonly number[], shape: readonly number[]) =>
  place.reduce((sum, p, axis) => sum * shape[axis]! + p, 0);

/** Each element of the result from the place in the input that `where` says. */
function pick(input: Value, shape: readonly number[], where: (place: number[]) => number[]): Float32Array {
  return new Float32Array(size(shape)).map((_, i) => input.data[offset(where(places(i, shape)), input.shape)]!);
}

/** A place in `shape`, repeated in every direction; leading dimensions that it does not have are dropped. */
function wrapped(place: readonly number[], shape: readonly number[]): number[] {
  return place.slice(place.length - shape.length).map((p, axis) => p % shape[axis]!);
}

/** `by`: [before, after] for each dimension. */
function pad(input: Value, by: Float32Array, shape: number[], value: () => number): Float32Array {
  const result = new Float32Array(size(shape)).fill(value());
  input.data.forEach((x, i) => {
    const place = places(i, input.shape).map((p, axis) => p + by[axis * 2]!);
    result[offset(place, shape)] = x;
  });
  return result;
}

function reduce(input: Value, axes: number[], of: (values: number[]) => number): Float32Array {
  const over = new Set(axes.map((a) => (a < 0 ? a + input.shape.length : a)));
  const kept = input.shape.map((extent, axis) => (over.has(axis) ? 1 : extent));
  const groups = Array.from({ length: size(kept) }, (): number[] => []);
  input.data.forEach((x, i) => {
    const place = places(i, input.shape).map((p, axis) => (over.has(axis) ? 0 : p));
    groups[offset(place, kept)]!.push(x);
  });
  return Float32Array.from(groups, of);
}

/** Where along an axis the element is that comes before all others; the first one of several. */
function argument(input: Value, axis: number, isBefore: (a: number, b: number) => boolean): Float32Array {
  return reduce(input, [axis], (xs) => xs.reduce((best, x, i) => (isBefore(x, xs[best]!) ? i : best), 0));
}

function gather(input: Value, at: Value, axis: number, shape: number[]): Float32Array {
  const from = axis < 0 ? axis + input.shape.length : axis;
  const rank = at.shape.length;
  return pick(input, shape, (place) => [
    ...place.slice(0, from),
    at.data[offset(place.slice(from, from + rank), at.shape)]!,
    ...place.slice(from + rank),
  ]);
}

function split(input: Value, axis: number, shapes: readonly number[][]): Float32Array[] {
  const at = axis < 0 ? axis + input.shape.length : axis;
  let start = 0;
  return shapes.map((shape) => {
    const from = start;
    start += shape[at]!;
    return pick(input, shape, (place) => place.map((p, i) => (i === at ? p + from : p)));
  });
}

interface Masks {
  readonly begin: number;
  readonly end: number;
  readonly ellipsis: number;
  readonly fresh: number;
  readonly shrink: number;
  readonly offset: number;
}

const bit = (mask: number, i: number) => Math.floor(mask / 2 ** i) % 2 === 1;

/** As Python slices: lists the indices of each dimension, then takes what they say. */
function stridedSlice(
  input: Value,
  begin: number[],
  end: number[],
  strides: number[],
  masks: Masks,
  shape: number[],
): Float32Array {
  const plain = begin.filter((_, i) => !bit(masks.ellipsis, i) && !bit(masks.fresh, i)).length;
  const chosen: number[][] = [];
  const all = () => chosen.push(Array.from({ length: input.shape[chosen.length]! }, (_, i) => i));
  begin.forEach((first, i) => {
    if (bit(masks.ellipsis, i)) {
      for (let n = input.shape.length - plain; n > 0; n -= 1) all();
      return;
    }
    if (bit(masks.fresh, i)) return;
    const extent = input.shape[chosen.length]!;
    const step = strides[i]!;
    const last = masks.offset ? first + end[i]! : end[i]!;
    const counted = (at: number) => (at < 0 ? at + extent : at);
    const indices: number[] = [];
    if (bit(masks.shrink, i)) {
      indices.push(bit(masks.begin, i) ? (step > 0 ? 0 : extent - 1) : counted(first));
    } else if (step > 0) {
      const from = bit(masks.begin, i) ? 0 : Math.max(0, counted(first));
      const to = bit(masks.end, i) ? extent : Math.min(extent, counted(last));
      for (let at = from; at < to; at += step) indices.push(at);
    } else {
      const from = bit(masks.begin, i) ? extent - 1 : Math.min(extent - 1, counted(first));
      const to = bit(masks.end, i) ? -1 : Math.max(-1, counted(last));
      for (let at = from; at > to; at += step) indices.push(at);
    }
    chosen.push(indices);
  });
  while (chosen.length < input.shape.length) all();
  const taken = chosen.map((indices) => indices.length);
  if (size(taken) !== size(shape)) throw new Error(`a slice of ${taken} for the shape ${shape}`);
  // New dimensions of 1 and those that are gone do not move an element.
  return pick(input, taken, (place) => place.map((p, axis) => chosen[axis]![p]!));
}

/** Channels of the input are [row in the block, column in the block, channel]. */
function depthToSpace(input: Value, block: number, shape: number[]): Float32Array {
  const channels = shape[3]!;
  return pick(input, shape, ([n, y, x, c]) => [
    n!,
    Math.floor(y! / block),
    Math.floor(x! / block),
    ((y! % block) * block + (x! % block)) * channels + c!,
  ]);
}

function spaceToDepth(input: Value, block: number, shape: number[]): Float32Array {
  const channels = input.shape[3]!;
  return pick(input, shape, ([n, y, x, c]) => {
    const within = Math.floor(c! / channels);
    return [n!, y! * block + Math.floor(within / block), x! * block + (within % block), c! % channels];
  });
}

function resizeNearest(input: Value, alignCorners: boolean, halfPixels: boolean, shape: number[]): Float32Array {
  const source = (to: number, from: number, extent: number) => {
    // In float32 like TFLite: where the product is whole the pixel depends on it.
    const f = Math.fround;
    const scale = alignCorners && extent > 1 ? f((from - 1) / (extent - 1)) : f(from / extent);
    const exact = f((to + (halfPixels ? 0.5 : 0)) * scale);
    return Math.max(0, Math.min(from - 1, alignCorners ? Math.round(exact) : Math.floor(exact)));
  };
  const [, height = 0, width = 0] = input.shape;
  return pick(input, shape, ([n, y, x, c]) => [n!, source(y!, height, shape[1]!), source(x!, width, shape[2]!), c!]);
}

/** `turnX`, `turnY`: rows and columns of that side change places. Dimensions before them broadcast. */
function matrixProduct(x: Value, y: Value, turnX: boolean, turnY: boolean, shape: number[]): Float32Array {
  const depth = x.shape.at(turnX ? -2 : -1)!;
  const at = (of: Value, outer: number[], row: number, column: number) => {
    const own = of.shape.slice(0, -2);
    const place = outer.slice(outer.length - own.length).map((p, axis) => (own[axis] === 1 ? 0 : p));
    return of.data[offset([...place, row, column], of.shape)]!;
  };
  return new Float32Array(size(shape)).map((_, i) => {
    const place = places(i, shape);
    const [row = 0, column = 0] = place.slice(-2);
    const outer = place.slice(0, -2);
    let sum = 0;
    for (let k = 0; k < depth; k += 1) {
      const a = turnX ? at(x, outer, k, row) : at(x, outer, row, k);
      sum += a * (turnY ? at(y, outer, column, k) : at(y, outer, k, column));
    }
    return sum;
  });
}

function resize(input: Value, alignCorners: boolean, halfPixels: boolean, shape: number[]): Float32Array {
  const [, height = 0, width = 0, channels = 0] = input.shape;
  const [batch = 0, rows = 0, columns = 0] = shape;
  const source = (to: number, from: number, extent: number) => {
    const scale = alignCorners && extent > 1 ? (from - 1) / (extent - 1) : from / extent;
    const exact = halfPixels ? (to + 0.5) * scale - 0.5 : to * scale;
    const inside = Math.min(from - 1, Math.max(0, exact));
    const low = Math.floor(inside);
    return { low, high: Math.min(from - 1, low + 1), part: inside - low };
  };
  const result = new Float32Array(size(shape));
  for (let n = 0; n < batch; n += 1) {
    for (let row = 0; row < rows; row += 1) {
      const y = source(row, height, rows);
      for (let column = 0; column < columns; column += 1) {
        const x = source(column, width, columns);
        for (let c = 0; c < channels; c += 1) {
          const pixel = (py: number, px: number) => input.data[((n * height + py) * width + px) * channels + c]!;
          const top = pixel(y.low, x.low) * (1 - x.part) + pixel(y.low, x.high) * x.part;
          const bottom = pixel(y.high, x.low) * (1 - x.part) + pixel(y.high, x.high) * x.part;
          result[((n * rows + row) * columns + column) * channels + c] = top * (1 - y.part) + bottom * y.part;
        }
      }
    }
  }
  return result;
}
