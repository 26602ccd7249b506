import { attr, DataType } from '../onnx/model.ts';
import type { OnnxAttribute } from '../onnx/model.ts';
import { broadcastShape } from './arrays.ts';
import type { GraphBuilder } from './builder.ts';
import type { TfliteOperator } from './reader.ts';
import { axisOf, clip, operandsOf, result } from './result.ts';
import type { Convert } from './result.ts';
import { TensorType, typeName } from './schema.ts';

/** Operators that work element by element, along one axis, or on an element's type. */
export const ELEMENTWISE: Readonly<Record<string, Convert>> = {
  RELU: unary('Relu'),
  RELU6: clipped(0, 6),
  RELU_N1_TO_1: clipped(-1, 1),
  RELU_0_TO_1: clipped(0, 1),
  LEAKY_RELU: unary('LeakyRelu', ({ options }) => [attr.float('alpha', options['alpha'] ?? 0)]),
  ELU: unary('Elu'),
  HARD_SWISH: unary('HardSwish'),
  LOGISTIC: unary('Sigmoid'),
  TANH: unary('Tanh'),
  EXP: unary('Exp'),
  LOG: unary('Log'),
  SQRT: unary('Sqrt'),
  RSQRT: chain('Sqrt', 'Reciprocal'),
  ABS: unary('Abs'),
  NEG: unary('Neg'),
  SIGN: unary('Sign'),
  SIN: unary('Sin'),
  COS: unary('Cos'),
  FLOOR: unary('Floor'),
  CEIL: unary('Ceil'),
  ROUND: unary('Round'),
  SQUARE: square,
  GELU: gelu,
  ADD: binary('Add'),
  SUB: binary('Sub'),
  MUL: binary('Mul'),
  DIV: binary('Div'),
  POW: binary('Pow'),
  MAXIMUM: binary('Max'),
  MINIMUM: binary('Min'),
  SQUARED_DIFFERENCE: squaredDifference,
  PRELU: prelu,
  SOFTMAX: softmax,
  LOG_SOFTMAX: alongLast('LogSoftmax'),
  L2_NORMALIZATION: l2Normalization,
  QUANTIZE: unary('Identity'),
  DEQUANTIZE: dequantize,
  DENSIFY: densify,
  CAST: cast,
};

/** Writes one value from another one of the same shape. */
type Emit = (graph: GraphBuilder, from: string, to: string) => void;

function each(operator: TfliteOperator, graph: GraphBuilder, emit: Emit): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const from = graph.real(operator.kind, input);
  result(operator, graph, graph.shape(input), (to) => emit(graph, from, to));
}

function unary(opType: string, attributes: (operator: TfliteOperator) => OnnxAttribute[] = () => []): Convert {
  return (operator, graph) =>
    each(operator, graph, (_, from, to) => graph.emit(opType, [from], to, attributes(operator)));
}

function clipped(low: number, high: number): Convert {
  return (operator, graph) => each(operator, graph, (_, from, to) => clip(graph, from, to, low, high));
}

function chain(first: string, second: string): Convert {
  return (operator, graph) =>
    each(operator, graph, (_, from, to) => {
      const between = graph.fresh(`${to}/${first}`);
      graph.emit(first, [from], between);
      graph.emit(second, [between], to);
    });
}

function square(operator: TfliteOperator, graph: GraphBuilder): void {
  each(operator, graph, (_, from, to) => graph.emit('Mul', [from, from], to));
}

/** x · Φ(x), with Φ the normal distribution, or its approximation by tanh. */
function gelu(operator: TfliteOperator, graph: GraphBuilder): void {
  each(operator, graph, (_, from, to) => {
    const step = (opType: string, inputs: string[], last?: string) => {
      const name = last ?? graph.fresh(`${to}/${opType}`);
      graph.emit(opType, inputs, name);
      return name;
    };
    let gate: string;
    if (operator.options['approximate']) {
      const cube = step('Mul', [step('Mul', [from, from]), from]);
      const inner = step('Add', [from, step('Mul', [cube, graph.number(0.044715)])]);
      gate = step('Tanh', [step('Mul', [inner, graph.number(Math.sqrt(2 / Math.PI))])]);
    } else {
      gate = step('Erf', [step('Mul', [from, graph.number(Math.SQRT1_2)])]);
    }
    step('Mul', [step('Mul', [from, graph.number(0.5)]), step('Add', [gate, graph.number(1)])], to);
  });
}

/** The broadcast shape of two operands. Where they are of different rank, the batch of the lower one would meet another axis. */
function broadcast(operator: TfliteOperator, graph: GraphBuilder, operands: readonly number[]): number[] {
  const [a = [], b = []] = operands.map((index) => graph.shape(index));
  const shape = broadcastShape(a, b);
  if (!shape) throw graph.damaged(`${operator.kind} of the shapes [${a}] and [${b}]`);
  if (operands.some((index) => !graph.isConstant(index) && graph.shape(index).length < shape.length))
    graph.batchIsFixed = true;
  return shape;
}

function binary(opType: string): Convert {
  return (operator, graph) => {
    const operands = operandsOf(operator, graph, 2);
    const names = operands.map((index) => graph.real(operator.kind, index));
    const shape = broadcast(operator, graph, operands);
    result(operator, graph, shape, (to) => graph.emit(opType, names, to));
  };
}

function squaredDifference(operator: TfliteOperator, graph: GraphBuilder): void {
  const operands = operandsOf(operator, graph, 2);
  const shape = broadcast(operator, graph, operands);
  const names = operands.map((index) => graph.real(operator.kind, index));
  result(operator, graph, shape, (to) => {
    const difference = graph.fresh(`${to}/difference`);
    graph.emit('Sub', names, difference);
    graph.emit('Mul', [difference, difference], to);
  });
}

/** x where it is not negative, else x · slope; the slopes broadcast to x. ONNX's PRelu wants them to be of no higher rank. */
function prelu(operator: TfliteOperator, graph: GraphBuilder): void {
  const operands = operandsOf(operator, graph, 2);
  const [input = -1] = operands;
  const shape = broadcast(operator, graph, operands);
  const own = graph.shape(input);
  if (String(shape) !== String(own)) throw graph.unsupported(`PRELU of [${own}] with slopes of a larger shape`);
  const names = operands.map((index) => graph.real(operator.kind, index));
  result(operator, graph, shape, (to) => graph.emit('PRelu', names, to));
}

function alongLast(
  opType: string,
  prepare: (operator: TfliteOperator, graph: GraphBuilder, from: string) => string = (_, __, from) => from,
): Convert {
  return (operator, graph) => {
    const [input = -1] = operandsOf(operator, graph, 1);
    const shape = graph.shape(input);
    axisOf(-1, shape.length, operator, graph);
    if (shape.length === 1) graph.batchIsFixed = true;
    const from = prepare(operator, graph, graph.real(operator.kind, input));
    result(operator, graph, shape, (to) => graph.emit(opType, [from], to, [attr.int('axis', -1)]));
  };
}

/** Over the last axis of β · x. */
function softmax(operator: TfliteOperator, graph: GraphBuilder): void {
  const { beta = 1 } = operator.options;
  alongLast('Softmax', (_, __, from) => {
    if (beta === 1) return from;
    const scaled = graph.fresh(`${from}/beta`);
    graph.emit('Mul', [from, graph.number(beta)], scaled);
    return scaled;
  })(operator, graph);
}

/** x / |x| along the last axis; the length counts as 10⁻⁶ at least (TensorFlow's `L2Normalization`). */
function l2Normalization(operator: TfliteOperator, graph: GraphBuilder): void {
  const { activation = 0, ...options } = operator.options;
  if (activation !== 0) throw graph.unsupported(`${operator.kind} with the fused activation ${activation}`);
  const [input = -1] = operandsOf(operator, graph, 1);
  if (graph.shape(input).length === 1) graph.batchIsFixed = true;
  each({ ...operator, options }, graph, (_, from, to) => {
    const [length, least] = [graph.fresh(`${to}/length`), graph.fresh(`${to}/least`)];
    const axes = graph.integerConstant(`${to}/axes`, [-1]);
    graph.emit('ReduceL2', [from, axes], length, [attr.int('keepdims', 1)]);
    graph.emit('Max', [length, graph.number(1e-6)], least);
    graph.emit('Div', [from, least], to);
  });
}

/** Quantised tensors hold real values here already; a constant is widened, and the operator is gone. */
function dequantize(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const [output = -1] = operator.outputs;
  if (graph.isReal(input) && graph.isReal(output) && !graph.grid(output) && graph.floats(input))
    return graph.alias(input, output);
  unary('Identity')(operator, graph);
}

/** A sparse constant in full. */
function densify(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const [output = -1] = operator.outputs;
  const [from, to] = [graph.tensor(input), graph.tensor(output)];
  if (!from.data) throw graph.unsupported(`DENSIFY of "${from.name}", which is computed`);
  if (from.type !== to.type)
    throw graph.unsupported(`DENSIFY of ${typeName(from.type)} ("${from.name}") to ${typeName(to.type)}`);
  graph.alias(input, output);
}

/** From and to reals and integers; reals are cut towards 0, as in TFLite. */
function cast(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const [output = -1] = operator.outputs;
  const types = [input, output].map((index) => graph.tensor(index));
  // The raw numbers of a quantised tensor, not their real values, would be cast.
  const quantised = types.find(
    ({ type, quantisation }) => quantisation && type !== TensorType.float32 && type !== TensorType.float16,
  );
  if (quantised) throw graph.unsupported(`CAST of the quantised tensor "${quantised.name}"`);
  const to = graph.elementType(output);
  const from = graph.operand(input);
  graph.elementType(input);
  graph.define(operator.kind, output, graph.shape(input));
  const name = graph.name(output);
  if (to === DataType.uint8 || to === DataType.int8)
    throw graph.unsupported(`CAST to ${typeName(types[1]?.type ?? -1)}`);
  graph.emit('Cast', [from], name, [attr.int('to', to)]);
}
