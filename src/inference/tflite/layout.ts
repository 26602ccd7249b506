import { attr, DataType } from '../onnx/model.ts';
import { elementsOf } from './arrays.ts';
import type { GraphBuilder } from './builder.ts';
import type { TfliteOperator } from './reader.ts';
import { axisOf, onNchw, operandsOf, result } from './result.ts';
import type { Convert } from './result.ts';
import { planSlice } from './slices.ts';
import type { AxisSlice, SlicePlan } from './slices.ts';

/** Operators that move elements, resize pictures, or reduce along axes. */
export const LAYOUT: Readonly<Record<string, Convert>> = {
  RESHAPE: reshape,
  SQUEEZE: squeeze,
  EXPAND_DIMS: expandDims,
  TRANSPOSE: transpose,
  CONCATENATION: concatenation,
  PACK: pack,
  UNPACK: unpack,
  SPLIT: (operator, graph) => split(operator, graph, { axis: 0, value: 1 }),
  SPLIT_V: (operator, graph) => split(operator, graph, { value: 0, sizes: 1, axis: 2 }),
  SLICE: slice,
  STRIDED_SLICE: stridedSlice,
  GATHER: gather,
  TILE: tile,
  BROADCAST_TO: broadcastTo,
  PAD: pad,
  PADV2: pad,
  MIRROR_PAD: mirrorPad,
  DEPTH_TO_SPACE: depthToSpace,
  SPACE_TO_DEPTH: spaceToDepth,
  RESIZE_BILINEAR: resizeBilinear,
  RESIZE_NEAREST_NEIGHBOR: resizeNearest,
  MEAN: reduce('ReduceMean'),
  SUM: reduce('ReduceSum'),
  REDUCE_MAX: reduce('ReduceMax'),
  REDUCE_MIN: reduce('ReduceMin'),
  REDUCE_PROD: reduce('ReduceProd'),
  ARG_MAX: argument('ArgMax'),
  ARG_MIN: argument('ArgMin'),
};

/**
 * Writes `input` in another shape. A first dimension of 1 before and after is the batch and stays open: 0 in ONNX's Reshape
 * takes it over from the input. `keepsBatch`: where the first dimension is another one although both are 1.
 */
function emitReshape(
  graph: GraphBuilder,
  [input, to]: readonly [string, string],
  from: readonly number[],
  shape: readonly number[],
  keepsBatch = from[0] === 1 && shape[0] === 1,
): void {
  if (!keepsBatch) graph.batchIsFixed = true;
  const target = keepsBatch ? [0, ...shape.slice(1)] : shape;
  graph.emit('Reshape', [input, graph.integerConstant(`${to}/shape`, target)], to);
}

/** The target is the second operand, else in the options, else the output's own shape. One entry may be −1: the rest. */
function reshape(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input, target = -1] = operator.inputs;
  const from = graph.shape(input);
  const [output = -1] = operator.outputs;
  const wanted = [...(target === -1 ? (operator.list ?? graph.shape(output)) : graph.integers(target))];
  const open = wanted.indexOf(-1);
  if (open !== -1) wanted[open] = elementsOf(from) / elementsOf(wanted.filter((_, i) => i !== open));
  if (elementsOf(from) !== elementsOf(wanted)) throw graph.damaged(`RESHAPE from [${from}] to [${wanted}]`);
  reshaped(operator, graph, input as number, wanted);
}

function reshaped(
  operator: TfliteOperator,
  graph: GraphBuilder,
  input: number,
  shape: readonly number[],
  keepsBatch?: boolean,
): void {
  const from = graph.shape(input);
  const name = graph.operand(input);
  const emit = (to: string) => emitReshape(graph, [name, to], from, shape, keepsBatch);
  result(operator, graph, shape, emit, { passesOn: [input] });
}

/** Without axes in the options all dimensions of 1 go. */
function squeeze(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const from = graph.shape(input);
  const axes = (operator.list ?? []).map((axis) => axisOf(axis, from.length, operator, graph));
  if (axes.some((axis) => from[axis] !== 1)) throw graph.damaged(`SQUEEZE of [${from}] along ${axes}`);
  const goes = (axis: number) => (axes.length > 0 ? axes.includes(axis) : from[axis] === 1);
  const shape = from.filter((_, axis) => !goes(axis));
  reshaped(operator, graph, input, shape, !goes(0));
}

function expandDims(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, axisOperand = -1] = operandsOf(operator, graph, 2);
  const from = graph.shape(input);
  const axis = axisOf(graph.integers(axisOperand)[0] ?? 0, from.length + 1, operator, graph);
  reshaped(operator, graph, input, from.toSpliced(axis, 0, 1), from[0] === 1 && axis > 0);
}

function transpose(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, order = -1] = operandsOf(operator, graph, 2);
  const from = graph.shape(input);
  const axes = graph.integers(order).map((axis) => axisOf(axis, from.length, operator, graph));
  if (axes.length !== from.length || new Set(axes).size !== axes.length)
    throw graph.damaged(`TRANSPOSE of [${from}] by [${axes}]`);
  if (axes[0] !== 0) graph.batchIsFixed = true;
  const name = graph.operand(input);
  const shape = axes.map((axis) => from[axis] ?? 0);
  result(operator, graph, shape, (to) => graph.emit('Transpose', [name], to, [attr.ints('perm', axes)]), {
    passesOn: [input],
  });
}

function concatenation(operator: TfliteOperator, graph: GraphBuilder): void {
  const parts = operator.inputs;
  const shapes = parts.map((index) => graph.shape(index));
  const [first = []] = shapes;
  const axis = axisOf(operator.options['axis'] ?? 0, first.length, operator, graph);
  const agree = shapes.every((s) => s.length === first.length && s.every((d, i) => i === axis || d === first[i]));
  if (parts.length === 0 || !agree)
    throw graph.damaged(`CONCATENATION of ${shapes.map((s) => `[${s}]`).join(', ')} along axis ${axis}`);
  if (axis === 0 || hasConstantRow(graph, parts)) graph.batchIsFixed = true;
  const names = parts.map((index) => graph.operand(index));
  const shape = first.with(
    axis,
    shapes.reduce((sum, s) => sum + (s[axis] ?? 0), 0),
  );
  result(operator, graph, shape, (to) => graph.emit('Concat', names, to, [attr.int('axis', axis)]), {
    passesOn: parts,
  });
}

/** A constant part has one row; it does not grow with the batch. */
function hasConstantRow(graph: GraphBuilder, parts: readonly number[]): boolean {
  return parts.some((index) => graph.isConstant(index)) && !parts.every((index) => graph.isConstant(index));
}

/** The operands beside each other along a new axis. */
function pack(operator: TfliteOperator, graph: GraphBuilder): void {
  const parts = operator.inputs;
  const [first = -1] = parts;
  const from = graph.shape(first);
  if (parts.some((index) => String(graph.shape(index)) !== String(from)))
    throw graph.damaged(`PACK of the shapes ${parts.map((index) => `[${graph.shape(index)}]`).join(', ')}`);
  const axis = axisOf(operator.options['axis'] ?? 0, from.length + 1, operator, graph);
  if (axis === 0 || hasConstantRow(graph, parts)) graph.batchIsFixed = true;
  const names = parts.map((index) => graph.operand(index));
  const emit = (to: string) => {
    const axes = graph.integerConstant(`${to}/axes`, [axis]);
    const rows = names.map((name) => {
      const row = graph.fresh(`${to}/row`);
      graph.emit('Unsqueeze', [name, axes], row);
      return row;
    });
    graph.emit('Concat', rows, to, [attr.int('axis', axis)]);
  };
  result(operator, graph, from.toSpliced(axis, 0, parts.length), emit, { passesOn: parts });
}

function unpack(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const from = graph.shape(input);
  const axis = axisOf(operator.options['axis'] ?? 0, from.length, operator, graph);
  if (from[axis] !== operator.outputs.length)
    throw graph.damaged(`UNPACK of [${from}] along axis ${axis} into ${operator.outputs.length}`);
  if (axis === 0) graph.batchIsFixed = true;
  const name = graph.operand(input);
  for (const output of operator.outputs.keys()) {
    const emit = (to: string) =>
      graph.emit('Gather', [name, graph.integerConstant(`${to}/index`, [output], [])], to, [attr.int('axis', axis)]);
    result(operator, graph, from.toSpliced(axis, 1), emit, { output, passesOn: [input] });
  }
}

/** `places`: which operand is the value, which the axis, and which, if any, the sizes of the parts. */
function split(
  operator: TfliteOperator,
  graph: GraphBuilder,
  places: { readonly value: number; readonly axis: number; readonly sizes?: number },
): void {
  const operands = operandsOf(operator, graph, places.sizes === undefined ? 2 : 3);
  const input = operands[places.value] ?? -1;
  const from = graph.shape(input);
  const axis = axisOf(graph.integers(operands[places.axis])[0] ?? 0, from.length, operator, graph);
  const size = from[axis] ?? 0;
  const count = operator.outputs.length;
  const sizes =
    places.sizes === undefined
      ? Array.from({ length: count }, () => size / count)
      : [...graph.integers(operands[places.sizes])];
  const open = sizes.indexOf(-1);
  if (open !== -1) sizes[open] = size - sizes.filter((_, i) => i !== open).reduce((a, b) => a + b, 0);
  if (sizes.length !== count || sizes.some((n) => !Number.isInteger(n)) || sizes.reduce((a, b) => a + b, 0) !== size)
    throw graph.damaged(`${operator.kind} of [${from}] along axis ${axis} into ${count} parts [${sizes}]`);
  if (axis === 0) graph.batchIsFixed = true;
  const name = graph.operand(input);
  let start = 0;
  for (const [output, length] of sizes.entries()) {
    const slices = from.map((d, i) => (i === axis ? { start, step: 1, length } : { start: 0, step: 1, length: d }));
    result(operator, graph, from.with(axis, length), (to) => emitSlice(graph, name, to, from, slices), {
      output,
      passesOn: [input],
    });
    start += length;
  }
}

/** Slices along the axes where something is left out; a whole first dimension stays open. */
function emitSlice(
  graph: GraphBuilder,
  name: string,
  to: string,
  from: readonly number[],
  slices: readonly AxisSlice[],
): void {
  const cut = slices.flatMap((s, axis) => {
    const isWhole = s.length === from[axis] && (s.step === 1 || s.length === 1);
    return isWhole ? [] : [{ ...s, axis, size: from[axis] ?? 0 }];
  });
  if (cut.length === 0) return graph.emit('Identity', [name], to);
  if (cut.some(({ axis }) => axis === 0)) graph.batchIsFixed = true;
  // One step beyond the last element; before the first one, ONNX counts from the end once more.
  const ends = cut.map(({ start, step, length, size }) => {
    const end = start + (length - 1) * step + Math.sign(step);
    return end < 0 ? -size - 1 : end;
  });
  const list = (part: string, values: number[]) => graph.integerConstant(`${to}/${part}`, values);
  graph.emit(
    'Slice',
    [
      name,
      list(
        'starts',
        cut.map((c) => c.start),
      ),
      list('ends', ends),
      list(
        'axes',
        cut.map((c) => c.axis),
      ),
      list(
        'steps',
        cut.map((c) => c.step),
      ),
    ],
    to,
  );
}

/** Begin and size of each dimension; a size of −1 reaches to the end. */
function slice(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, beginOperand = -1, sizeOperand = -1] = operandsOf(operator, graph, 3);
  const from = graph.shape(input);
  const [begin, sizes] = [graph.integers(beginOperand), graph.integers(sizeOperand)];
  const slices = from.map((d, i) => {
    const start = begin[i] ?? 0;
    return { start, step: 1, length: sizes[i] === -1 ? d - start : (sizes[i] ?? 0) };
  });
  const fits = slices.every(({ start, length }, i) => start >= 0 && length >= 0 && start + length <= (from[i] ?? 0));
  if (begin.length !== from.length || sizes.length !== from.length || !fits)
    throw graph.damaged(`SLICE of [${from}] from [${begin}] with the sizes [${sizes}]`);
  const name = graph.operand(input);
  const shape = slices.map((s) => s.length);
  result(operator, graph, shape, (to) => emitSlice(graph, name, to, from, slices), { passesOn: [input] });
}

/** The part of `from` that a STRIDED_SLICE takes. */
export function stridedSlicePlan(operator: TfliteOperator, graph: GraphBuilder, from: readonly number[]): SlicePlan {
  const [, ...lists] = operandsOf(operator, graph, 4);
  const [begin = [], end = [], strides = []] = lists.map((index) => graph.integers(index));
  const {
    offset = 0,
    beginMask = 0,
    endMask = 0,
    ellipsisMask = 0,
    newAxisMask = 0,
    shrinkAxisMask = 0,
  } = operator.options;
  const masks = { beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask };
  const plan = planSlice(from, { begin, end, strides, ...masks, offset: offset !== 0 });
  if (!plan) throw graph.damaged(`STRIDED_SLICE of [${from}] from [${begin}] to [${end}] by [${strides}]`);
  return plan;
}

function stridedSlice(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operator.inputs;
  const from = graph.shape(input);
  const { slices, shape, origins } = stridedSlicePlan(operator, graph, from);
  const sliced = slices.map((s) => s.length);
  const name = graph.operand(input);
  const keepsAxes = origins.length === from.length && origins.every((origin, i) => origin === i);
  const emit = (to: string) => {
    if (keepsAxes) return emitSlice(graph, name, to, from, slices);
    const between = graph.fresh(`${to}/sliced`);
    emitSlice(graph, name, between, from, slices);
    emitReshape(graph, [between, to], sliced, shape, sliced[0] === 1 && origins[0] === 0);
  };
  result(operator, graph, shape, emit, { passesOn: [input] });
}

function gather(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, indices = -1] = operandsOf(operator, graph, 2);
  const { batchDims = 0 } = operator.options;
  const from = graph.shape(input);
  const axis = axisOf(operator.options['axis'] ?? 0, from.length, operator, graph);
  if (batchDims !== 0) throw graph.unsupported(`GATHER with ${batchDims} batch dimensions`);
  const wanted = graph.integers(indices);
  if (wanted.some((i) => i < 0 || i >= (from[axis] ?? 0)))
    throw graph.damaged(`GATHER of [${wanted}] along axis ${axis} of [${from}]`);
  if (axis === 0) graph.batchIsFixed = true;
  const name = graph.operand(input);
  const at = graph.shape(indices);
  const emit = (to: string) =>
    graph.emit('Gather', [name, graph.integerConstant(`${to}/indices`, wanted, at)], to, [attr.int('axis', axis)]);
  result(operator, graph, from.toSpliced(axis, 1, ...at), emit, { passesOn: [input] });
}

function tile(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, repeats = -1] = operandsOf(operator, graph, 2);
  const from = graph.shape(input);
  const times = graph.integers(repeats);
  if (times.length !== from.length || times.some((n) => n < 0)) throw graph.damaged(`TILE of [${from}] by [${times}]`);
  const name = graph.operand(input);
  const shape = from.map((d, i) => d * (times[i] ?? 1));
  const emit = (to: string) => graph.emit('Tile', [name, graph.integerConstant(`${to}/times`, times)], to);
  result(operator, graph, shape, emit, { passesOn: [input] });
}

function broadcastTo(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, target = -1] = operandsOf(operator, graph, 2);
  const from = graph.shape(input);
  const shape = graph.integers(target);
  const fits = from.length <= shape.length && from.every((d, i) => d === 1 || d === shape.at(i - from.length));
  if (!fits) throw graph.damaged(`BROADCAST_TO of [${from}] to [${shape}]`);
  if (shape.length > from.length) graph.batchIsFixed = true;
  const name = graph.operand(input);
  const emit = (to: string) => graph.emit('Expand', [name, graph.integerConstant(`${to}/shape`, shape)], to);
  result(operator, graph, shape, emit, { passesOn: [input] });
}

/** Paddings [rank, 2] (before, after) of `from`. */
function paddingsOf(operator: TfliteOperator, graph: GraphBuilder): { shape: number[]; pads: number[] } {
  const [input, paddings] = operator.inputs;
  const from = graph.shape(input);
  const values = graph.integers(paddings);
  if (values.length !== 2 * from.length || values.some((n) => n < 0))
    throw graph.damaged(`${operator.kind} of ${from.length} dimensions by [${values}]`);
  if (values[0] || values[1]) graph.batchIsFixed = true;
  const [before, after] = [0, 1].map((side) => values.filter((_, i) => i % 2 === side)) as [number[], number[]];
  return { shape: from.map((d, i) => d + (before[i] ?? 0) + (after[i] ?? 0)), pads: [...before, ...after] };
}

/** With 0, or in PADV2 with the value that the third operand holds. */
function pad(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1, , value = -1] = operandsOf(operator, graph, operator.kind === 'PADV2' ? 3 : 2);
  const { shape, pads } = paddingsOf(operator, graph);
  const operands = [graph.real(operator.kind, input)];
  const constant = value === -1 ? [] : [scalar(operator, graph, value)];
  const emit = (to: string) =>
    graph.emit('Pad', [...operands, graph.integerConstant(`${to}/pads`, pads), ...constant], to);
  result(operator, graph, shape, emit, { passesOn: [input] });
}

/** A constant of one element, whatever its shape is. */
function scalar(operator: TfliteOperator, graph: GraphBuilder, index: number): string {
  const values = graph.floats(index);
  if (!values || values.length !== 1) throw graph.unsupported(`${operator.kind} with a value that is computed`);
  return graph.number(values[0] as number);
}

function mirrorPad(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 2);
  if (operator.options['mode'] !== 0) throw graph.unsupported('MIRROR_PAD that repeats the edge (SYMMETRIC)');
  const { shape, pads } = paddingsOf(operator, graph);
  const name = graph.real(operator.kind, input);
  const emit = (to: string) =>
    graph.emit('Pad', [name, graph.integerConstant(`${to}/pads`, pads)], to, [attr.string('mode', 'reflect')]);
  result(operator, graph, shape, emit, { passesOn: [input] });
}

/** Channels count as [row in the block, column in the block, channel]. */
function depthToSpace(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const [n = 1, height = 0, width = 0, depth = 0] = graph.shapeOfRank(input, 4);
  const { blockSize = 0 } = operator.options;
  if (blockSize < 1 || depth % blockSize ** 2 !== 0)
    throw graph.damaged(`DEPTH_TO_SPACE of ${depth} channels in blocks of ${blockSize}`);
  const attributes = [attr.int('blocksize', blockSize), attr.string('mode', 'DCR')];
  const shape = [n, height * blockSize, width * blockSize, depth / blockSize ** 2];
  const name = graph.real(operator.kind, input);
  result(operator, graph, shape, (to) => onNchw(graph, 'DepthToSpace', name, [], to, attributes), {
    passesOn: [input],
  });
}

function spaceToDepth(operator: TfliteOperator, graph: GraphBuilder): void {
  const [input = -1] = operandsOf(operator, graph, 1);
  const [n = 1, height = 0, width = 0, depth = 0] = graph.shapeOfRank(input, 4);
  const { blockSize = 0 } = operator.options;
  if (blockSize < 1 || height % blockSize !== 0 || width % blockSize !== 0)
    throw graph.damaged(`SPACE_TO_DEPTH of ${width}×${height} in blocks of ${blockSize}`);
  const shape = [n, height / blockSize, width / blockSize, depth * blockSize ** 2];
  const name = graph.real(operator.kind, input);
  const attributes = [attr.int('blocksize', blockSize)];
  result(operator, graph, shape, (to) => onNchw(graph, 'SpaceToDepth', name, [], to, attributes), {
    passesOn: [input],
  });
}

/** The size that a resizing operator gives: [height, width]. */
function resizedTo(operator: TfliteOperator, graph: GraphBuilder, size: number): [number, number] {
  const sizes = graph.integers(size);
  if (sizes.length !== 2 || sizes.some((n) => n < 1)) throw graph.damaged(`${operator.kind} to the size [${sizes}]`);
  return [sizes[0] as number, sizes[1] as number];
}

function resizeBilinear(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture = -1, size = -1] = operandsOf(operator, graph, 2);
  const shape = graph.shapeOfRank(picture, 4);
  const sizes = resizedTo(operator, graph, size);
  const { alignCorners, halfPixelCenters } = operator.options;
  if (alignCorners && halfPixelCenters) throw graph.unsupported('RESIZE_BILINEAR with aligned corners and half pixels');
  const mode = alignCorners ? 'align_corners' : halfPixelCenters ? 'half_pixel' : 'asymmetric';
  // Scales, not sizes: sizes would fix the batch, and ONNX Runtime 1.30 loses those of `axes` when it moves transposes.
  const scales = [1, 1, ...sizes.map((to, axis) => floatFrom(to / (shape[axis + 1] ?? 1)))];
  const name = graph.real(operator.kind, picture);
  const attributes = [attr.string('mode', 'linear'), attr.string('coordinate_transformation_mode', mode)];
  result(operator, graph, [shape[0] ?? 1, ...sizes, shape[3] ?? 0], (to) => {
    const rest = ['', graph.constant(`${to}/scales`, [4], Float32Array.from(scales))];
    onNchw(graph, 'Resize', name, rest, to, attributes);
  });
}

/** The smallest float32 that is not below `value` (> 0): ONNX rounds size × scale down, and must not lose a pixel. */
function floatFrom(value: number): number {
  const float = Float32Array.of(value);
  if ((float[0] as number) < value) new Int32Array(float.buffer)[0]! += 1;
  return float[0] as number;
}

/**
 * Rows and columns by number, worked out as TFLite does in float32 (`GetNearestNeighbor` of its reference kernels): ONNX's
 * Resize divides by the scale, which gives another pixel where the quotient is whole.
 */
function resizeNearest(operator: TfliteOperator, graph: GraphBuilder): void {
  const [picture = -1, size = -1] = operandsOf(operator, graph, 2);
  const shape = graph.shapeOfRank(picture, 4);
  const sizes = resizedTo(operator, graph, size);
  const [rows = [], columns = []] = sizes.map((to, axis) => nearest(operator, shape[axis + 1] ?? 1, to));
  const name = graph.operand(picture);
  const emit = (to: string) => {
    const [high, list] = [graph.fresh(`${to}/rows`), (part: string, n: number[]) => graph.integerConstant(part, n)];
    graph.emit('Gather', [name, list(`${to}/row_indices`, rows)], high, [attr.int('axis', 1)]);
    graph.emit('Gather', [high, list(`${to}/column_indices`, columns)], to, [attr.int('axis', 2)]);
  };
  result(operator, graph, [shape[0] ?? 1, ...sizes, shape[3] ?? 0], emit, { passesOn: [picture] });
}

/** For each of `to` pixels the one of `from` that it is taken from. */
function nearest({ options }: TfliteOperator, from: number, to: number): number[] {
  const { alignCorners = 0, halfPixelCenters = 0 } = options;
  const f = Math.fround;
  const scale = alignCorners && to > 1 ? f((from - 1) / f(to - 1)) : f(from / f(to));
  return Array.from({ length: to }, (_, i) => {
    const exact = f(f(i + (halfPixelCenters ? 0.5 : 0)) * scale);
    const whole = alignCorners ? Math.floor(exact + 0.5) : Math.floor(exact);
    return Math.max(0, Math.min(from - 1, whole));
  });
}

/** Axes in the second operand; without any nothing would be reduced. */
function axesOf(operator: TfliteOperator, graph: GraphBuilder): { from: readonly number[]; axes: number[] } {
  const [input = -1, axesOperand = -1] = operandsOf(operator, graph, 2);
  const from = graph.shape(input);
  const counted = graph.integers(axesOperand).map((axis) => axisOf(axis, from.length, operator, graph));
  const axes = [...new Set(counted)];
  if (axes.length === 0) throw graph.unsupported(`${operator.kind} over no axes`);
  if (axes.includes(0)) graph.batchIsFixed = true;
  return { from, axes };
}

function reduce(opType: string): Convert {
  return (operator, graph) => {
    const [input = -1] = operator.inputs;
    const { from, axes } = axesOf(operator, graph);
    const keepDims = operator.options['keepDims'] ? 1 : 0;
    const shape = from.flatMap((d, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [d]));
    const name = graph.real(operator.kind, input);
    const picks = opType === 'ReduceMax' || opType === 'ReduceMin';
    const emit = (to: string) =>
      graph.emit(opType, [name, graph.integerConstant(`${to}/axes`, axes)], to, [attr.int('keepdims', keepDims)]);
    result(operator, graph, shape, emit, picks ? { passesOn: [input] } : {});
  };
}

/** The index of the largest or smallest element along an axis: the first one of several. */
function argument(opType: 'ArgMax' | 'ArgMin'): Convert {
  return (operator, graph) => {
    const [input = -1] = operator.inputs;
    const [output = -1] = operator.outputs;
    const { from, axes } = axesOf(operator, graph);
    const [axis = 0] = axes;
    const type = graph.elementType(output);
    if (axes.length !== 1 || (type !== DataType.int32 && type !== DataType.int64))
      throw graph.unsupported(`${operator.kind} over the axes ${axes} to another type than INT32 and INT64`);
    const name = graph.real(operator.kind, input);
    graph.define(operator.kind, output, from.toSpliced(axis, 1));
    const to = graph.name(output);
    const attributes = [attr.int('axis', axis), attr.int('keepdims', 0)];
    if (type === DataType.int64) return graph.emit(opType, [name], to, attributes);
    const wide = graph.fresh(`${to}/int64`);
    graph.emit(opType, [name], wide, attributes);
    graph.emit('Cast', [wide], to, [attr.int('to', type)]);
  };
}
