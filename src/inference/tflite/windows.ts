import { attr } from '../onnx/model.ts';
import type { OnnxAttribute } from '../onnx/model.ts';
import { elementsOf, transposed } from './arrays.ts';
import type { GraphBuilder } from './builder.ts';
import type { TfliteOperator } from './reader.ts';
import { linearResult, onNchw, operandsOf, result } from './result.ts';
import type { Convert } from './result.ts';
import { TensorType } from './schema.ts';

/** Convolutions, pooling and matrix products. */
export const WINDOWS: Readonly<Record<string, Convert>> = {
  CONV_2D: convolution,
  DEPTHWISE_CONV_2D: depthwiseConvolution,
  TRANSPOSE_CONV: transposedConvolution,
  MAX_POOL_2D: (operator, graph) => pool('MaxPool', operator, graph),
  AVERAGE_POOL_2D: (operator, graph) => pool('AveragePool', operator, graph),
  FULLY_CONNECTED: fullyConnected,
  BATCH_MATMUL: batchMatMul,
};

type Pair = readonly [height: number, width: number];

interface Window {
  readonly kernel: Pair;
  readonly dilation: Pair;
}

/** Sizes of the result, and the window as attributes of Conv and of the pools, for a window over the NHWC `shape`. */
function slide(
  operator: TfliteOperator,
  graph: GraphBuilder,
  shape: readonly number[],
  { kernel, dilation }: Window,
): { sizes: number[]; attributes: OnnxAttribute[] } {
  const strides = stridesOf(operator, graph);
  if ([...kernel, ...dilation].some((n) => n < 1))
    throw graph.damaged(`${operator.kind} has the kernel ${kernel} and the dilation ${dilation}`);
  const along = strides.map((stride, axis) => {
    const size = shape[axis + 1] ?? 0;
    const span = ((kernel[axis] ?? 1) - 1) * (dilation[axis] ?? 1) + 1;
    return isSame(operator, graph)
      ? { size: Math.ceil(size / stride), ...samePadding(size, Math.ceil(size / stride), stride, span) }
      : { size: Math.ceil((size - span + 1) / stride), before: 0, after: 0 };
  });
  const attributes = [
    attr.ints('kernel_shape', [...kernel]),
    attr.ints('strides', strides),
    attr.ints('pads', [...along.map((p) => p.before), ...along.map((p) => p.after)]),
  ];
  return { sizes: along.map((a) => a.size), attributes };
}

function stridesOf(operator: TfliteOperator, graph: GraphBuilder): number[] {
  const { strideH = 0, strideW = 0 } = operator.options;
  if (strideH < 1 || strideW < 1) throw graph.damaged(`${operator.kind} has the strides ${strideH}, ${strideW}`);
  return [strideH, strideW];
}

function isSame(operator: TfliteOperator, graph: GraphBuilder): boolean {
  const { padding } = operator.options;
  if (padding !== 0 && padding !== 1) throw graph.unsupported(`${operator.kind} with the padding ${padding}`);
  return padding === 0;
}

/** `SAME` padding, the odd pixel after (TensorFlow's `ComputePaddingHeightWidth`). */
function samePadding(size: number, results: number, stride: number, span: number): { before: number; after: number } {
  const total = Math.max(0, (results - 1) * stride + span - size);
  const before = total >> 1;
  return { before, after: total - before };
}

/** Weights times `factor`, their dimensions in another order; as a constant where they are one. */
function weightsOf(
  operator: TfliteOperator,
  graph: GraphBuilder,
  index: number,
  order: readonly number[],
  factor: number,
): string {
  const shape = graph.shape(index);
  const to = `${graph.name(operator.outputs[0] ?? 0)}/weights`;
  const values = graph.floats(index);
  if (!values) {
    const moved = graph.fresh(to);
    graph.emit('Transpose', [graph.real(operator.kind, index)], moved, [attr.ints('perm', [...order])]);
    return emitTimes(graph, moved, factor, to);
  }
  if (values.length !== elementsOf(shape))
    throw graph.damaged(`the weights "${graph.tensor(index).name}" do not fill the shape [${shape}]`);
  const movedShape = order.map((axis) => shape[axis] ?? 1);
  return graph.constant(to, movedShape, transposed(times(values, factor), shape, order));
}

/** The same for a computed tensor. `wanted`: its name. */
function emitTimes(graph: GraphBuilder, from: string, factor: number, wanted: string): string {
  if (factor === 1) return from;
  const to = graph.fresh(wanted);
  graph.emit('Mul', [from, graph.number(factor)], to);
  return to;
}

function times(values: Float32Array, factor: number): Float32Array {
  return factor === 1 ? values : values.map((x) => x * factor);
}

/**
 * The bias times `factor`, if there is one. That of a quantised operator is in units of its operands' scales, whatever its own
 * tensor says: TFLite's kernels read it so.
 */
function biasOf(
  operator: TfliteOperator,
  graph: GraphBuilder,
  [input, weights, bias]: readonly number[],
  factor: number,
): string[] {
  if (bias === undefined || bias === -1) return [];
  const { type } = graph.tensor(bias);
  const shape = graph.shape(bias);
  const to = `${graph.name(operator.outputs[0] ?? 0)}/bias`;
  if (type !== TensorType.int32 && type !== TensorType.int64) {
    const values = graph.floats(bias);
    if (values) return [graph.constant(to, shape, times(values, factor))];
    return [emitTimes(graph, graph.real(operator.kind, bias), factor, to)];
  }
  const grid = graph.grid(input as number);
  const scales = graph.tensor(weights).quantisation?.scales;
  if (!grid || !scales) throw graph.unsupported(`${operator.kind} with a bias of integers over floats`);
  const numbers = graph.integers(bias);
  if (scales.length !== 1 && scales.length !== numbers.length)
    throw graph.damaged(`${operator.kind} has ${numbers.length} biases and ${scales.length} scales`);
  const values = numbers.map((n, i) => n * grid.scale * (scales[i] ?? scales[0] ?? 0) * factor);
  return [graph.constant(to, shape, Float32Array.from(values))];
}

/** Weights [out, height, width, in / groups] → ONNX [out, in / groups, height, width]. */
function convolution(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture, weights] = operandsOfConvolution(operator, graph);
  const channels = graph.shapeOfRank(picture, 4)[3] ?? 0;
  const [out = 0, height = 0, width = 0, depth = 0] = graph.shapeOfRank(weights, 4);
  const groups = channels / depth;
  if (!Number.isInteger(groups) || out % groups !== 0)
    throw graph.damaged(`CONV_2D over ${channels} channels has ${out} × ${depth} weights`);
  windowed(operator, graph, [height, width], groups, out, [0, 3, 1, 2]);
}

/** Weights [1, height, width, in × multiplier] → ONNX [in × multiplier, 1, height, width] in groups of one channel. */
function depthwiseConvolution(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture, weights] = operandsOfConvolution(operator, graph);
  const channels = graph.shapeOfRank(picture, 4)[3] ?? 0;
  const [one, height = 0, width = 0, out = 0] = graph.shapeOfRank(weights, 4);
  if (one !== 1 || out % channels !== 0)
    throw graph.damaged(`DEPTHWISE_CONV_2D over ${channels} channels has weights of shape [${graph.shape(weights)}]`);
  windowed(operator, graph, [height, width], channels, out, [3, 0, 1, 2]);
}

/** Picture and weights, which must be there; the bias may be left out. */
function operandsOfConvolution(operator: TfliteOperator, graph: GraphBuilder): [number, number] {
  const [picture, weights] = operator.inputs;
  graph.tensor(picture);
  graph.tensor(weights);
  return [picture as number, weights as number];
}

function windowed(
  operator: TfliteOperator,
  graph: GraphBuilder,
  kernel: Pair,
  groups: number,
  out: number,
  order: readonly number[],
): void {
  const [picture, weights] = operandsOfConvolution(operator, graph);
  const { dilationH = 1, dilationW = 1 } = operator.options;
  const shape = graph.shape(picture);
  const dilation: Pair = [dilationH, dilationW];
  const { sizes, attributes } = slide(operator, graph, shape, { kernel, dilation });
  const all = [...attributes, attr.ints('dilations', [...dilation]), attr.int('group', groups)];
  const input = graph.real(operator.kind, picture);
  linearResult(operator, graph, [shape[0] ?? 1, ...sizes, out], (to, factor) => {
    const rest = [
      weightsOf(operator, graph, weights, order, factor),
      ...biasOf(operator, graph, operator.inputs, factor),
    ];
    onNchw(graph, 'Conv', input, rest, to, all);
  });
}

/**
 * The inverse of a convolution's shape: operands are the result's shape, the weights [out, height, width, in], the picture, and
 * perhaps a bias. Each pixel adds its weights at its place times the stride; the padding of the convolution is cut off.
 */
function transposedConvolution(operator: TfliteOperator, graph: GraphBuilder): void {
  const [sizeOperand, weights = -1, picture = -1, bias = -1] = operator.inputs;
  const [batch = 1, ...from] = graph.shapeOfRank(picture, 4);
  const [out = 0, height = 0, width = 0, depth = 0] = graph.shapeOfRank(weights, 4);
  const wanted = graph.integers(sizeOperand);
  if (wanted.length !== 4 || depth !== from[2] || wanted[3] !== out)
    throw graph.damaged(`TRANSPOSE_CONV of [${graph.shape(picture)}] to [${wanted}] has ${out} × ${depth} weights`);
  const strides = stridesOf(operator, graph);
  const along = strides.map((stride, axis) => {
    const [size = 0, span = 1, results = 0] = [wanted[axis + 1], axis === 0 ? height : width, from[axis]];
    const fits = Math.ceil((isSame(operator, graph) ? size : size - span + 1) / stride) === results;
    if (!fits) throw graph.unsupported(`TRANSPOSE_CONV of ${results} pixels with the stride ${stride} to ${size}`);
    const { before } = isSame(operator, graph) ? samePadding(size, results, stride, span) : { before: 0 };
    const after = (results - 1) * stride + span - before - size;
    return { size, before, after: Math.max(0, after), beyond: Math.max(0, -after) };
  });
  const attributes = [
    attr.ints('kernel_shape', [height, width]),
    attr.ints('strides', strides),
    attr.ints('pads', [...along.map((a) => a.before), ...along.map((a) => a.after)]),
    attr.ints(
      'output_padding',
      along.map((a) => a.beyond),
    ),
  ];
  const input = graph.real(operator.kind, picture);
  const shape = [batch, ...along.map((a) => a.size), out];
  linearResult(operator, graph, shape, (to, factor) => {
    const rest = [
      weightsOf(operator, graph, weights, [3, 0, 1, 2], factor),
      ...biasOf(operator, graph, [picture, weights, bias], factor),
    ];
    onNchw(graph, 'ConvTranspose', input, rest, to, attributes);
  });
}

function pool(opType: 'MaxPool' | 'AveragePool', operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture = -1] = operandsOf(operator, graph, 1);
  const { filterH = 0, filterW = 0 } = operator.options;
  const shape = graph.shapeOfRank(picture, 4);
  const window: Window = { kernel: [filterH, filterW], dilation: [1, 1] };
  // The mean is over the pixels inside of the picture, which is the default of AveragePool too.
  const { sizes, attributes } = slide(operator, graph, shape, window);
  const input = graph.real(operator.kind, picture);
  const emit = (to: string) => onNchw(graph, opType, input, [], to, attributes);
  const passesOn = opType === 'MaxPool' ? [picture] : [];
  result(operator, graph, [shape[0] ?? 1, ...sizes, shape[3] ?? 0], emit, { passesOn });
}

/** y = x · weightsᵀ + bias, with x flattened to [rows, depth] and weights [out, depth]. */
function fullyConnected(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input, weights] = operandsOfConvolution(operator, graph);
  const [out = 0, depth = 0] = graph.shapeOfRank(weights, 2);
  const { weightsFormat, keepNumDims } = operator.options;
  if (weightsFormat !== 0) throw graph.unsupported(`FULLY_CONNECTED with the weights format ${weightsFormat}`);
  const shape = graph.shape(input);
  const rowCount = elementsOf(shape) / depth;
  if (!Number.isInteger(rowCount) || (keepNumDims && shape.at(-1) !== depth))
    throw graph.damaged(`FULLY_CONNECTED over [${shape}] has weights for ${depth}`);
  const output = graph.name(operator.outputs[0] ?? 0);
  const rows = graph.fresh(`${output}/rows`);
  const rowShape = graph.integerConstant(`${output}/rows_shape`, [-1, depth]);
  graph.emit('Reshape', [graph.real(operator.kind, input), rowShape], rows);
  const kept = [...shape.slice(0, -1), out];
  linearResult(operator, graph, keepNumDims ? kept : [rowCount, out], (to, factor) => {
    const rest = [
      weightsOf(operator, graph, weights, [0, 1], factor),
      ...biasOf(operator, graph, operator.inputs, factor),
    ];
    const flat = keepNumDims ? graph.fresh(`${to}/flat`) : to;
    graph.emit('Gemm', [rows, ...rest], flat, [attr.int('transB', 1)]);
    // The batch is the rest.
    const shapeOf = () => graph.integerConstant(`${to}/shape`, [-1, ...kept.slice(1)]);
    if (keepNumDims) graph.emit('Reshape', [flat, shapeOf()], to);
  });
}

function batchMatMul(operator: TfliteOperator, graph: GraphBuilder): void {
  const operands = operandsOf(operator, graph, 2);
  const { adjX, adjY } = operator.options;
  const sides = operands.map((index, i) => {
    const shape = [...graph.shape(index)];
    const isTurned = i === 0 ? adjX : adjY;
    const name = graph.real(operator.kind, index);
    if (shape.length < 2) throw graph.damaged(`BATCH_MATMUL over the shape [${shape}]`);
    if (!isTurned) return { shape, name };
    const order = [...shape.keys()];
    order.push(...order.splice(-2).toReversed());
    const turned = graph.fresh(`${graph.name(operator.outputs[0] ?? 0)}/${i === 0 ? 'x' : 'y'}`);
    graph.emit('Transpose', [name], turned, [attr.ints('perm', order)]);
    return { shape: order.map((axis) => shape[axis] ?? 1), name: turned };
  });
  const [x = [], y = []] = sides.map((side) => side.shape);
  const rank = Math.max(x.length, y.length);
  const outer = Array.from({ length: rank - 2 }, (_, i) => {
    const [a, b] = [x.at(i - rank) ?? 1, y.at(i - rank) ?? 1];
    return a === 1 || b === 1 || a === b ? Math.max(a, b) : Number.NaN;
  });
  if (x.at(-1) !== y.at(-2) || outer.includes(Number.NaN)) throw graph.damaged(`BATCH_MATMUL of [${x}] and [${y}]`);
  // Matrices without a batch of their own would have to hold it in their rows.
  const isMixed = operands.some((index) => !graph.isConstant(index) && (rank < 3 || graph.shape(index).length < rank));
  if (isMixed) graph.batchIsFixed = true;
  const names = sides.map((side) => side.name);
  result(operator, graph, [...outer, x.at(-2) ?? 0, y.at(-1) ?? 0], (to) => graph.emit('MatMul', names, to));
}
