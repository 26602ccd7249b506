import { attr } from '../onnx/model.ts';
import type { OnnxAttribute } from '../onnx/model.ts';
import { elementsOf } from './builder.ts';
import type { GraphBuilder } from './builder.ts';
import { TensorType } from './reader.ts';
import type { TfliteOperator } from './reader.ts';

/**
 * One function per TFLite operator: reads the operator, writes ONNX nodes (opset 18). What each operator computes is told
 * by TensorFlow's `lite/kernels/internal/reference`, what the ONNX ones compute by the ONNX operator reference.
 */
type Convert = (operator: TfliteOperator, graph: GraphBuilder) => void;

const OPERATORS: Readonly<Record<string, Convert>> = {
  CONV_2D: convolution,
  DEPTHWISE_CONV_2D: depthwiseConvolution,
  MAX_POOL_2D: maxPool,
  FULLY_CONNECTED: fullyConnected,
  RESIZE_BILINEAR: resizeBilinear,
  RESHAPE: reshape,
  CONCATENATION: concatenation,
  PAD: pad,
  MEAN: mean,
  ADD: add,
  PRELU: (operator, graph) => elementWise('PRelu', operator, graph),
  LOGISTIC: (operator, graph) => elementWise('Sigmoid', operator, graph),
  DEQUANTIZE: dequantize,
};

/** Appends the ONNX nodes of one operator. Throws MODEL_UNSUPPORTED naming it, or MODEL_DAMAGED when it makes no sense. */
export function convertOperator(operator: TfliteOperator, graph: GraphBuilder): void {
  const convert = OPERATORS[operator.kind];
  if (!convert) throw graph.unsupported(`the TFLite operator ${operator.kind} is not supported`);
  if (operator.outputs.length !== 1) throw graph.damaged(`${operator.kind} has ${operator.outputs.length} outputs`);
  convert(operator, graph);
}

const TO_NCHW = attr.ints('perm', [0, 3, 1, 2]);
const TO_NHWC = attr.ints('perm', [0, 2, 3, 1]);

/** `opType` on an NHWC tensor, between two transposes. `rest`: the operands behind the picture. */
function onNchw(
  graph: GraphBuilder,
  opType: string,
  input: string,
  rest: string[],
  output: string,
  attributes: OnnxAttribute[],
): void {
  graph.emit('Transpose', [input], `${output}/nchw_in`, [TO_NCHW]);
  graph.emit(opType, [`${output}/nchw_in`, ...rest], `${output}/nchw_out`, attributes);
  graph.emit('Transpose', [`${output}/nchw_out`], output, [TO_NHWC]);
}

/** Writes `emit`'s result through the fused activation (`ActivationFunctionType`) into the operator's output. */
function withActivation(operator: TfliteOperator, graph: GraphBuilder, emit: (output: string) => void): void {
  const output = graph.name(outputOf(operator));
  const activation = operator.options['activation'];
  if (activation === 0) return emit(output);
  const plain = `${output}/plain`;
  emit(plain);
  if (activation === 1) graph.emit('Relu', [plain], output);
  else if (activation === 2) clip(graph, plain, output, -1, 1);
  else if (activation === 3) clip(graph, plain, output, 0, 6);
  else if (activation === 4) graph.emit('Tanh', [plain], output);
  else throw graph.unsupported(`${operator.kind} with the fused activation ${activation}`);
}

function clip(graph: GraphBuilder, input: string, output: string, low: number, high: number): void {
  const bound = (value: number) => graph.constant(`clip/${value}`, [], Float32Array.of(value));
  graph.emit('Clip', [input, bound(low), bound(high)], output);
}

function outputOf(operator: TfliteOperator): number {
  return operator.outputs[0] as number;
}

interface Window {
  readonly kernel: readonly [height: number, width: number];
  readonly dilation: readonly [height: number, width: number];
}

/** Strides, kernel and padding of a sliding window over the NHWC `shape`, as attributes of Conv and MaxPool. */
function windowAttributes(
  operator: TfliteOperator,
  graph: GraphBuilder,
  shape: readonly number[],
  { kernel, dilation }: Window,
): OnnxAttribute[] {
  const { padding, strideH = 0, strideW = 0 } = operator.options;
  const strides = [strideH, strideW];
  if ([...strides, ...kernel, ...dilation].some((n) => n < 1)) {
    throw graph.damaged(
      `${operator.kind} has the strides ${strides}, the kernel ${kernel} and the dilation ${dilation}`,
    );
  }
  const pads = strides.map((stride, axis) => {
    if (padding !== 0) return { before: 0, after: 0 };
    return samePadding(shape[axis + 1] ?? 0, stride, ((kernel[axis] ?? 1) - 1) * (dilation[axis] ?? 1) + 1);
  });
  return [
    attr.ints('kernel_shape', [...kernel]),
    attr.ints('strides', strides),
    attr.ints('dilations', [...dilation]),
    attr.ints('pads', [...pads.map((p) => p.before), ...pads.map((p) => p.after)]),
  ];
}

/** `SAME` padding: ceil(size / stride) results, the odd pixel after (TensorFlow's `ComputePaddingHeightWidth`). */
function samePadding(size: number, stride: number, span: number): { before: number; after: number } {
  const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + span - size);
  const before = total >> 1;
  return { before, after: total - before };
}

/** Weights [out, height, width, in / groups] → ONNX [out, in / groups, height, width]. */
function convolution(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture, weights] = operator.inputs;
  const shape = graph.shapeOfRank(picture, 4);
  const [out = 0, height = 0, width = 0, depth = 0] = graph.shapeOfRank(weights, 4);
  if ((shape[3] ?? 0) % depth !== 0) throw graph.damaged(`CONV_2D over ${shape[3]} channels has weights for ${depth}`);
  const moved = transposed(graph.weights(weights), [out, height, width, depth], [0, 3, 1, 2]);
  windowed(operator, graph, [height, width], (shape[3] ?? 0) / depth, [out, depth, height, width], moved);
}

/** Weights [1, height, width, in × multiplier] → ONNX [in × multiplier, 1, height, width] in groups of one channel. */
function depthwiseConvolution(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture, weights] = operator.inputs;
  const channels = graph.shapeOfRank(picture, 4)[3] ?? 0;
  const [one, height = 0, width = 0, out = 0] = graph.shapeOfRank(weights, 4);
  if (one !== 1 || out % channels !== 0) {
    throw graph.damaged(`DEPTHWISE_CONV_2D over ${channels} channels has weights of shape [${graph.shape(weights)}]`);
  }
  const moved = transposed(graph.weights(weights), [1, height, width, out], [3, 0, 1, 2]);
  windowed(operator, graph, [height, width], channels, [out, 1, height, width], moved);
}

function windowed(
  operator: TfliteOperator,
  graph: GraphBuilder,
  kernel: readonly [number, number],
  group: number,
  weightShape: readonly number[],
  weights: Float32Array,
): void {
  const [picture, , bias] = operator.inputs;
  const output = graph.name(outputOf(operator));
  const { dilationH = 1, dilationW = 1 } = operator.options;
  const attributes = [
    ...windowAttributes(operator, graph, graph.shape(picture), { kernel, dilation: [dilationH, dilationW] }),
    attr.int('group', group),
  ];
  const rest = [graph.constant(`${output}/weights`, weightShape, weights)];
  if (bias !== undefined && bias !== -1) rest.push(graph.operand(bias));
  withActivation(operator, graph, (plain) => onNchw(graph, 'Conv', graph.operand(picture), rest, plain, attributes));
}

function maxPool(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture] = operator.inputs;
  const { filterH = 0, filterW = 0 } = operator.options;
  const window: Window = { kernel: [filterH, filterW], dilation: [1, 1] };
  const attributes = windowAttributes(operator, graph, graph.shapeOfRank(picture, 4), window);
  withActivation(operator, graph, (plain) => onNchw(graph, 'MaxPool', graph.operand(picture), [], plain, attributes));
}

/** y = x · weightsᵀ + bias, with x flattened to [rows, depth] and weights [out, depth]. */
function fullyConnected(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input, weights, bias] = operator.inputs;
  const [out = 0, depth = 0] = graph.shapeOfRank(weights, 2);
  const { weightsFormat, keepNumDims } = operator.options;
  if (weightsFormat !== 0) throw graph.unsupported(`FULLY_CONNECTED with the weights format ${weightsFormat}`);
  const shape = graph.shape(input);
  const rowsPerPicture = elementsOf(shape.slice(1)) / depth;
  if (!Number.isInteger(rowsPerPicture))
    throw graph.damaged(`FULLY_CONNECTED over [${shape}] has weights for ${depth}`);
  // Without the kept dimensions the batch and the rows of one picture come out as one.
  if (rowsPerPicture !== 1 && !keepNumDims) graph.batchIsFixed = true;
  const output = graph.name(outputOf(operator));
  const rows = `${output}/rows`;
  graph.emit('Reshape', [graph.operand(input), graph.integerConstant(`${output}/rows_shape`, [-1, depth])], rows);
  const rest = [graph.constant(`${output}/weights`, [out, depth], graph.weights(weights))];
  if (bias !== undefined && bias !== -1) rest.push(graph.operand(bias));
  withActivation(operator, graph, (plain) => {
    const flat = keepNumDims ? `${plain}/flat` : plain;
    graph.emit('Gemm', [rows, ...rest], flat, [attr.int('transB', 1)]);
    if (!keepNumDims) return;
    const kept = graph.shape(outputOf(operator));
    graph.emit('Reshape', [flat, graph.integerConstant(`${plain}/shape`, [-1, ...kept.slice(1)])], plain);
  });
}

function resizeBilinear(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture, size] = operator.inputs;
  const shape = graph.shapeOfRank(picture, 4);
  const sizes = graph.integers(size);
  if (sizes.length !== 2 || sizes.some((n) => n < 1)) throw graph.damaged(`RESIZE_BILINEAR to the size [${sizes}]`);
  const { alignCorners, halfPixelCenters } = operator.options;
  const mode = alignCorners ? 'align_corners' : halfPixelCenters ? 'half_pixel' : 'asymmetric';
  const output = graph.name(outputOf(operator));
  // Scales, not sizes: sizes would fix the batch, and ONNX Runtime 1.30 loses those of `axes` when it moves transposes.
  const scales = [1, 1, ...sizes.map((to, axis) => floatFrom(to / (shape[axis + 1] ?? 1)))];
  const rest = ['', graph.constant(`${output}/scales`, [4], Float32Array.from(scales))];
  onNchw(graph, 'Resize', graph.operand(picture), rest, output, [
    attr.string('mode', 'linear'),
    attr.string('coordinate_transformation_mode', mode),
  ]);
}

/** The smallest float32 that is not below `value` (> 0): ONNX rounds size × scale down, and must not lose a pixel. */
function floatFrom(value: number): number {
  const float = Float32Array.of(value);
  if ((float[0] as number) < value) new Int32Array(float.buffer)[0]! += 1;
  return float[0] as number;
}

/** The target shape is the output tensor's own: TFLite has worked it out already. */
function reshape(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input] = operator.inputs;
  const from = graph.shape(input);
  const to = graph.shape(outputOf(operator));
  if (elementsOf(from) !== elementsOf(to)) throw graph.damaged(`RESHAPE from [${from}] to [${to}]`);
  const keepsBatch = from[0] === 1 && to[0] === 1;
  if (!keepsBatch) graph.batchIsFixed = true;
  const output = graph.name(outputOf(operator));
  const shape = graph.integerConstant(`${output}/shape`, keepsBatch ? batchedShape(to) : [...to]);
  graph.emit('Reshape', [graph.operand(input), shape], output);
}

/** 0 in ONNX's Reshape takes the dimension over from the input. */
function batchedShape(shape: readonly number[]): number[] {
  return [0, ...shape.slice(1)];
}

function concatenation(operator: TfliteOperator, graph: GraphBuilder): void {
  const rank = graph.shape(outputOf(operator)).length;
  const axis = axisOf(operator.options['axis'] ?? 0, rank, operator, graph);
  if (axis === 0) graph.batchIsFixed = true;
  const parts = operator.inputs.map((index) => graph.operand(index));
  // A constant part has one row; it does not grow with the batch.
  if (operator.inputs.some((index) => graph.floats(index))) graph.batchIsFixed = true;
  withActivation(operator, graph, (plain) => graph.emit('Concat', parts, plain, [attr.int('axis', axis)]));
}

/** Paddings [rank, 2] (before, after) → ONNX: all before, then all after. */
function pad(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input, paddings] = operator.inputs;
  const rank = graph.shape(input).length;
  const values = graph.integers(paddings);
  if (values.length !== 2 * rank || values.some((n) => n < 0))
    throw graph.damaged(`PAD of ${rank} dimensions by [${values}]`);
  if (values[0] || values[1]) graph.batchIsFixed = true;
  const output = graph.name(outputOf(operator));
  const pads = [...values.filter((_, i) => i % 2 === 0), ...values.filter((_, i) => i % 2 === 1)];
  graph.emit('Pad', [graph.operand(input), graph.integerConstant(`${output}/pads`, pads)], output);
}

function mean(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input, axesIndex] = operator.inputs;
  const rank = graph.shape(input).length;
  const axes = graph.integers(axesIndex).map((axis) => axisOf(axis, rank, operator, graph));
  if (axes.length === 0) throw graph.unsupported('MEAN over no axes');
  if (axes.includes(0)) graph.batchIsFixed = true;
  const output = graph.name(outputOf(operator));
  graph.emit('ReduceMean', [graph.operand(input), graph.integerConstant(`${output}/axes`, axes)], output, [
    attr.int('keepdims', operator.options['keepDims'] ? 1 : 0),
  ]);
}

function axisOf(axis: number, rank: number, operator: TfliteOperator, graph: GraphBuilder): number {
  const counted = axis < 0 ? axis + rank : axis;
  if (counted < 0 || counted >= rank) throw graph.damaged(`${operator.kind} along axis ${axis} of ${rank}`);
  return counted;
}

function add(operator: TfliteOperator, graph: GraphBuilder): void {
  const operands = operator.inputs.map((index) => graph.operand(index));
  if (operands.length !== 2) throw graph.damaged(`ADD of ${operands.length} operands`);
  withActivation(operator, graph, (plain) => graph.emit('Add', operands, plain));
}

function elementWise(opType: string, operator: TfliteOperator, graph: GraphBuilder): void {
  const operands = operator.inputs.map((index) => graph.operand(index));
  graph.emit(opType, operands, graph.name(outputOf(operator)));
}

/** From half precision only: the constant is widened and the operator is gone. Quantised models are not converted. */
function dequantize(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input] = operator.inputs;
  const { type, name } = graph.tensor(input);
  if (type !== TensorType.float16) {
    throw graph.unsupported(
      `DEQUANTIZE of "${name}": its tensor type is ${type}, and only FLOAT16 is supported (quantised models are not)`,
    );
  }
  graph.widen(input as number, outputOf(operator));
}

/** The elements of a 4-dimensional array in another order of dimensions: `to[i] = from[permutation[i]]`. */
function transposed(values: Float32Array, shape: readonly number[], permutation: readonly number[]): Float32Array {
  const strides = shape.map((_, axis) => elementsOf(shape.slice(axis + 1)));
  const [n0 = 1, n1 = 1, n2 = 1, n3 = 1] = permutation.map((axis) => shape[axis] ?? 1);
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = permutation.map((axis) => strides[axis] ?? 0);
  const moved = new Float32Array(values.length);
  let to = 0;
  for (let a = 0; a < n0; a += 1) {
    for (let b = 0; b < n1; b += 1) {
      for (let c = 0; c < n2; c += 1) {
        for (let d = 0; d < n3; d += 1) moved[to++] = values[a * s0 + b * s1 + c * s2 + d * s3] as number;
      }
    }
  }
  return moved;
}
