/**
 * A second, slow and plain evaluation of TFLite graphs, to check the ONNX conversion against. It shares nothing with
 * `src/inference/tflite`: it reads the FlatBuffer by hand (vtables and offsets as in FlatBuffers' "Internals" page, field
 * numbers of TensorFlow's `schema.fbs`) and computes each operator with loops over NHWC arrays, as its definition says.
 * It trusts the file. Results are rounded to float32 after every operator, sums are kept in double precision.
 */

export interface Value {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Called after each operator, for comparing step by step. */
type Watch = (kind: number, outputName: string, value: Value) => void;

/** Outputs by name, for inputs in the order of the graph. */
export function evaluateTflite(file: Uint8Array, inputs: readonly Float32Array[], watch?: Watch): Map<string, Value> {
  const graph = open(file);
  const values = new Map<number, Value>();
  graph.inputs.forEach((index, i) => values.set(index, { shape: shapeOf(graph, index), data: inputs[i]! }));
  for (const operator of graph.operators) {
    const index = operator.outputs[0]!;
    const data = compute(graph, operator, (i) => values.get(i) ?? constant(graph, i), shapeOf(graph, index));
    const value = { shape: shapeOf(graph, index), data };
    values.set(index, value);
    watch?.(operator.code, nameOf(graph, index), value);
  }
  return new Map(graph.outputs.map((i) => [nameOf(graph, i), values.get(i)!]));
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

/** A constant as float32, whatever it is in the file. */
function constant(graph: Graph, index: number): Value {
  const { view } = graph;
  const table = graph.tensors[index]!;
  const typeSlot = slot(view, table, 1);
  const bufferSlot = slot(view, table, 2);
  const { start, length } = vectorAt(view, slot(view, graph.buffers[view.getUint32(bufferSlot, true)]!, 0));
  const type = typeSlot ? view.getInt8(typeSlot) : FLOAT32;
  const read = {
    [FLOAT32]: (i: number) => view.getFloat32(start + i * 4, true),
    [FLOAT16]: (i: number) => half(view.getUint16(start + i * 2, true)),
    [INT32]: (i: number) => view.getInt32(start + i * 4, true),
  }[type];
  if (!read) throw new Error(`constant of type ${type}`);
  const data = new Float32Array(type === FLOAT16 ? length / 2 : length / 4);
  for (let i = 0; i < data.length; i += 1) data[i] = read(i);
  return { shape: shapeOf(graph, index), data };
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

function compute(graph: Graph, { code, inputs, options, outputs }: Operator, get: Get, shape: number[]): Float32Array {
  const int = (field: number, fallback = 0) => {
    const at = slot(graph.view, options, field);
    return at ? graph.view.getInt32(at, true) : fallback;
  };
  const byte = (field: number) => {
    const at = slot(graph.view, options, field);
    return at ? graph.view.getInt8(at) : 0;
  };
  const operand = (i: number) => get(inputs[i]!);
  const bias = () => (inputs.length > 2 && inputs[2]! >= 0 ? operand(2).data : undefined);
  switch (code) {
    case 0:
      return activate(add(operand(0), operand(1), shape), byte(0));
    case 2:
      return activate(concatenate(inputs.map(get), int(0), shape), byte(1));
    case 3: {
      const window = {
        same: byte(0) === 0,
        strideX: int(1),
        strideY: int(2),
        dilationX: int(4, 1),
        dilationY: int(5, 1),
      };
      return activate(convolve(operand(0), operand(1), bias(), window, shape), byte(3));
    }
    case 4: {
      const window = {
        same: byte(0) === 0,
        strideX: int(1),
        strideY: int(2),
        dilationX: int(5, 1),
        dilationY: int(6, 1),
      };
      return activate(convolveDepthwise(operand(0), operand(1), bias(), window, shape), byte(4));
    }
    case 6:
    case 22:
      if (operand(0).data.length !== size(shape)) throw new Error(`operator ${code} changes the number of elements`);
      return operand(0).data;
    case 9:
      return activate(multiply(operand(0), operand(1), bias(), shape), byte(0));
    case 14:
      return operand(0).data.map((x) => 1 / (1 + Math.exp(-x)));
    case 17: {
      const window = { same: byte(0) === 0, strideX: int(1), strideY: int(2), dilationX: 1, dilationY: 1 };
      return activate(maximum(operand(0), int(4), int(3), window, shape), byte(5));
    }
    case 23:
      return resize(operand(0), byte(2) !== 0, byte(3) !== 0, shape);
    case 34:
      return pad(operand(0), operand(1).data, shape);
    case 40:
      return mean(operand(0), [...operand(1).data], shape);
    case 54:
      return prelu(operand(0), operand(1));
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

/** Weights [out, height, width, in]. */
function convolve(
  input: Value,
  weights: Value,
  bias: Float32Array | undefined,
  window: Window,
  shape: number[],
): Float32Array {
  const [out = 0, height = 0, width = 0, depth = 0] = weights.shape;
  const sums = new Float64Array(size(shape));
  if (bias) for (let i = 0; i < sums.length; i += 1) sums[i] = bias[i % out]!;
  const [x, w] = [input.data, weights.data];
  slide(input.shape, shape, [height, width], window, (result, pixel, tap) => {
    for (let o = 0; o < out; o += 1) {
      const weight = (o * height * width + tap) * depth;
      const start = pixel * depth;
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

function add(a: Value, b: Value, shape: number[]): Float32Array {
  return new Float32Array(size(shape)).map(
    (_, i) => a.data[broadcast(i, shape, a.shape)]! + b.data[broadcast(i, shape, b.shape)]!,
  );
}

function prelu(input: Value, alpha: Value): Float32Array {
  return input.data.map((x, i) => (x >= 0 ? x : x * alpha.data[broadcast(i, input.shape, alpha.shape)]!));
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

/** `by`: [before, after] for each dimension. */
function pad(input: Value, by: Float32Array, shape: number[]): Float32Array {
  const result = new Float32Array(size(shape));
  input.data.forEach((x, i) => {
    const place = places(i, input.shape).map((p, axis) => p + by[axis * 2]!);
    result[offset(place, shape)] = x;
  });
  return result;
}

function mean(input: Value, axes: number[], shape: number[]): Float32Array {
  const over = new Set(axes.map((a) => (a < 0 ? a + input.shape.length : a)));
  const kept = input.shape.map((extent, axis) => (over.has(axis) ? 1 : extent));
  const sums = new Float64Array(size(shape));
  input.data.forEach((x, i) => {
    sums[
      offset(
        places(i, input.shape).map((p, axis) => (over.has(axis) ? 0 : p)),
        kept,
      )
    ]! += x;
  });
  const count = input.data.length / sums.length;
  return Float32Array.from(sums, (s) => s / count);
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
