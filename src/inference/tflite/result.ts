import { attr } from '../onnx/model.ts';
import type { OnnxAttribute } from '../onnx/model.ts';
import type { Grid, GraphBuilder } from './builder.ts';
import type { TfliteOperator } from './reader.ts';
import { TensorType, typeName } from './schema.ts';

/** The common part of all operators: how a result is written, and how operands are read. */

/** Reads one operator, writes its ONNX nodes. */
export type Convert = (operator: TfliteOperator, graph: GraphBuilder) => void;

export interface ResultOptions {
  /** Which of the operator's outputs. Default: the first. */
  readonly output?: number;
  /** The operands whose values are handed on unchanged: where the result is quantised like them it needs no rounding. */
  readonly passesOn?: readonly number[];
}

/**
 * Writes an operator's result of `shape`: `emit` writes the plain value under the name that it is given; the fused activation
 * (`ActivationFunctionType`) and, where the result is quantised, the rounding to its numbers follow.
 */
export function result(
  operator: TfliteOperator,
  graph: GraphBuilder,
  shape: readonly number[],
  emit: (to: string) => void,
  { output = 0, passesOn = [] }: ResultOptions = {},
): void {
  const index = operator.outputs[output];
  const { type, name } = graph.tensor(index);
  const at = index as number;
  graph.define(operator.kind, at, shape);
  const { activation = 0 } = operator.options;
  const isPassedOn = passesOn.length > 0;
  if (isPassedOn) for (const from of passesOn) requireSameKind(operator, graph, from, at);
  else if (!graph.isReal(at)) throw graph.unsupported(`${operator.kind} to ${typeName(type)} ("${name}")`);
  const final = graph.name(at);
  const grid = graph.isReal(at) ? graph.grid(at) : undefined;
  const keepsGrid = isPassedOn && activation === 0 && passesOn.every((from) => hasGrid(graph, from, grid));
  const rounds = grid !== undefined && !keepsGrid;
  const plain = activation !== 0 || rounds ? graph.fresh(`${final}/plain`) : final;
  emit(plain);
  const active = activation !== 0 && rounds ? graph.fresh(`${final}/active`) : final;
  if (activation !== 0) activate(operator, graph, plain, active);
  if (rounds) round(graph, grid, activation === 0 ? plain : active, final);
}

/**
 * The same of an operator that is linear in its weights, so that a quantised result can come in steps of its grid: `emit` writes
 * the plain value times `factor`. Activation and saturation are then one cut, as in TFLite's kernels.
 */
export function linearResult(
  operator: TfliteOperator,
  graph: GraphBuilder,
  shape: readonly number[],
  emit: (to: string, factor: number) => void,
): void {
  const [index = -1] = operator.outputs;
  const grid = graph.isReal(index) ? graph.grid(index) : undefined;
  const bounds = BOUNDS[operator.options['activation'] ?? 0];
  if (!grid || !bounds) return result(operator, graph, shape, (to) => emit(to, 1));
  graph.define(operator.kind, index, shape);
  const final = graph.name(index);
  const steps = graph.fresh(`${final}/plain`);
  emit(steps, 1 / grid.scale);
  roundSteps(graph, grid, steps, final, bounds);
}

/** Where fused activations cut off. */
const BOUNDS: Readonly<Record<number, readonly [low: number, high: number]>> = {
  0: [-Infinity, Infinity],
  1: [0, Infinity],
  2: [-1, 1],
  3: [0, 6],
};

/** Values that are handed on keep their type. */
function requireSameKind(operator: TfliteOperator, graph: GraphBuilder, from: number, to: number): void {
  if (graph.elementType(from) === graph.elementType(to)) return;
  const [a, b] = [graph.tensor(from), graph.tensor(to)];
  throw graph.unsupported(`${operator.kind} of ${typeName(a.type)} ("${a.name}") to ${typeName(b.type)} ("${b.name}")`);
}

function hasGrid(graph: GraphBuilder, index: number, grid: Grid | undefined): boolean {
  if (!grid) return true;
  const own = graph.tensor(index).quantisation?.scales.length === 1 ? graph.grid(index) : undefined;
  return own?.type === grid.type && own.scale === grid.scale && own.zeroPoint === grid.zeroPoint;
}

/** Numbers that a quantised tensor can have. */
export const NUMBERS: Readonly<Record<number, readonly [low: number, high: number]>> = {
  [TensorType.int8]: [-128, 127],
  [TensorType.uint8]: [0, 255],
  [TensorType.int16]: [-32_768, 32_767],
};

/**
 * The nearest real value that the grid has. By arithmetic and not by QuantizeLinear and DequantizeLinear: between these ONNX
 * Runtime 1.30 quantises the weights of a convolution anew, with one scale for all channels. Its division takes twenty times as
 * long as its product.
 */
export function round(graph: GraphBuilder, grid: Grid, from: string, to: string): void {
  const steps = graph.fresh(`${to}/steps`);
  graph.emit('Mul', [from, graph.number(1 / grid.scale)], steps);
  roundSteps(graph, grid, steps, to);
}

/** Rounds steps within `bounds` and within the type's numbers, and converts them to their real values. */
function roundSteps(
  graph: GraphBuilder,
  { type, scale, zeroPoint }: Grid,
  from: string,
  to: string,
  bounds: readonly [low: number, high: number] = [-Infinity, Infinity],
): void {
  const [least, most] = NUMBERS[type] ?? [0, 0];
  const [low, high] = bounds.map((bound) => Math.round(bound / scale)) as [number, number];
  const [cut, whole] = [graph.fresh(`${to}/cut`), graph.fresh(`${to}/whole`)];
  // Cut off first: ONNX Runtime makes a convolution and a Clip behind it one node.
  clip(graph, from, cut, Math.max(low, least - zeroPoint), Math.min(high, most - zeroPoint));
  graph.emit('Round', [cut], whole);
  graph.emit('Mul', [whole, graph.number(scale)], to);
}

function activate(operator: TfliteOperator, graph: GraphBuilder, from: string, to: string): void {
  const { activation: kind = 0 } = operator.options;
  if (kind === 1) graph.emit('Relu', [from], to);
  else if (kind === 2) clip(graph, from, to, -1, 1);
  else if (kind === 3) clip(graph, from, to, 0, 6);
  else if (kind === 4) graph.emit('Tanh', [from], to);
  else throw graph.unsupported(`${operator.kind} with the fused activation ${kind}`);
}

export function clip(graph: GraphBuilder, from: string, to: string, low: number, high: number): void {
  graph.emit('Clip', [from, graph.number(low), graph.number(high)], to);
}

const TO_NCHW = attr.ints('perm', [0, 3, 1, 2]);
const TO_NHWC = attr.ints('perm', [0, 2, 3, 1]);

/** `opType` on an NHWC tensor, between two transposes. `rest`: the operands behind the picture. */
export function onNchw(
  graph: GraphBuilder,
  opType: string,
  input: string,
  rest: readonly string[],
  output: string,
  attributes: OnnxAttribute[],
): void {
  const [before, after] = [graph.fresh(`${output}/nchw_in`), graph.fresh(`${output}/nchw_out`)];
  graph.emit('Transpose', [input], before, [TO_NCHW]);
  graph.emit(opType, [before, ...rest], after, attributes);
  graph.emit('Transpose', [after], output, [TO_NHWC]);
}

/** Counts an axis from the front. `rank`: how many there are. */
export function axisOf(axis: number, rank: number, operator: TfliteOperator, graph: GraphBuilder): number {
  const counted = axis < 0 ? axis + rank : axis;
  if (!(counted >= 0 && counted < rank)) throw graph.damaged(`${operator.kind} along axis ${axis} of ${rank}`);
  return counted;
}

/**
 * The operator's inputs, of which there must be as many as `counts` says. Of an operator with one operand those behind it are
 * not looked at: there is nothing that they could say.
 */
export function operandsOf(operator: TfliteOperator, graph: GraphBuilder, ...counts: number[]): number[] {
  const operands = counts[0] === 1 ? operator.inputs.slice(0, 1) : [...operator.inputs];
  if (counts.includes(operands.length) && !operands.includes(-1)) return operands;
  throw graph.damaged(`${operator.kind} has ${operands.length} operands instead of ${counts.join(' or ')}`);
}
