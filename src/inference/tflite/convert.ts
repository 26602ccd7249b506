import { SightlineError } from '../../base/errors.ts';
import { attr, DataType, encodeOnnx } from '../onnx/model.ts';
import { BATCH, GraphBuilder } from './builder.ts';
import { noteRange, readMetadata } from './metadata.ts';
import { convertOperator } from './operators.ts';
import { readTflite } from './reader.ts';
import { NUMBERS, round } from './result.ts';
import { TensorType, typeName } from './schema.ts';

/**
 * A TFLite model as an ONNX file with the same inputs and outputs: same names, same order, same layout (NHWC), and a symbolic
 * first dimension `batch` where the graph allows one. Real numbers are float32: constants in half precision or quantised ones
 * are widened here, once, and a quantised model computes in floats, rounded at each tensor to the numbers that the tensor has in
 * the file. Inputs and outputs are floats: of a quantised tensor the real values, not the numbers; of bytes that stand for nothing
 * else 0..255 (uint8) or −128..127; of integers the same numbers.
 *
 * Tensors keep TFLite's layout all the way: each convolution, pooling or resizing stands between two transposes, and ONNX
 * Runtime's optimizer cancels the pairs.
 *
 * `name` is the file's name in errors. Throws MODEL_DAMAGED when the bytes are not a whole TFLite file, MODEL_UNSUPPORTED
 * when the graph holds an operator, a type or an option that Sightline does not convert.
 */
export function convertTflite(bytes: Uint8Array, name: string): Uint8Array {
  const graph = readTflite(bytes, name);
  const { inputs } = graph;
  const outputs = [...new Set(graph.outputs)];
  for (const [what, list] of Object.entries({ input: inputs, output: outputs }))
    if (list.length === 0) throw new SightlineError('MODEL_UNSUPPORTED', `${name}: the graph has no ${what}`);
  const builder = new GraphBuilder(graph, name, bytes.length);
  const names = new Map([...inputs, ...outputs].map((index) => [index, builder.name(index)]));
  for (const index of inputs) convertInput(builder, index);
  // Integer outputs become floats, so that inside they have another name.
  for (const index of outputs)
    if (!builder.isReal(index)) builder.rename(index, builder.fresh(`${builder.name(index)}/inside`));
  for (const operator of graph.operators) convertOperator(operator, builder);
  for (const index of outputs) convertOutput(builder, inputs, index, names.get(index) ?? '');
  const info = (index: number) => {
    const shape = builder.shape(index);
    return {
      name: names.get(index) ?? '',
      elemType: DataType.float,
      shape: builder.batchIsFixed || builder.isConstant(index) ? [...shape] : [BATCH, ...shape.slice(1)],
    };
  };
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'sightline',
    metadata: { ...readMetadata(bytes), ...(inputs.length === 1 && rangeOf(builder, inputs[0] ?? -1)) },
    graph: {
      name: 'tflite',
      node: builder.nodes,
      initializer: builder.initializers,
      input: inputs.map(info),
      output: outputs.map(info),
    },
  });
}

/** Inputs are floats outside; inside a quantised one has the values of its numbers, and one of bytes its bytes. */
function convertInput(builder: GraphBuilder, index: number): void {
  const { name: label, type, openShape = [], shape, data } = builder.tensor(index);
  if (data) throw builder.damaged(`the input "${label}" is a constant`);
  if (openShape.slice(1).includes(-1) || shape.some((d) => d < 1)) {
    const open = openShape.length > 0 ? openShape : shape;
    throw builder.unsupported(`the input "${label}" has the open shape [${open}]; export it with one height and width`);
  }
  const name = builder.name(index);
  const grid = builder.isReal(index) ? builder.grid(index) : undefined;
  const isByte = type === TensorType.uint8 || type === TensorType.int8;
  if (builder.isReal(index) && !grid) return;
  if (!grid && !isByte) throw builder.unsupported(`the input "${label}" has the type ${typeName(type)}`);
  const inside = builder.fresh(`${name}/inside`);
  builder.rename(index, inside);
  if (grid) return round(builder, grid, name, inside);
  const whole = builder.fresh(`${name}/whole`);
  builder.emit('Round', [name], whole);
  builder.emit('Cast', [whole], inside, [attr.int('to', builder.elementType(index))]);
}

/** The values that an input of 8 bits can take, for the code that prepares pictures for it. */
function rangeOf(builder: GraphBuilder, index: number): Record<string, string> {
  const { type } = builder.tensor(index);
  const [low, high] = NUMBERS[type] ?? [];
  if (low === undefined || high === undefined || type === TensorType.int16) return {};
  const { scale, zeroPoint } = (builder.isReal(index) ? builder.grid(index) : undefined) ?? { scale: 1, zeroPoint: 0 };
  return noteRange((low - zeroPoint) * scale, (high - zeroPoint) * scale);
}

/** ONNX wants a node behind each output, also behind a constant, and another name than an input's. */
function convertOutput(builder: GraphBuilder, inputs: readonly number[], index: number, outside: string): void {
  const { name } = builder.tensor(index);
  if (inputs.includes(index)) throw builder.unsupported(`the output "${name}" is the input itself`);
  const from = builder.operand(index);
  const isFloat = builder.elementType(index) === DataType.float;
  if (!isFloat) builder.emit('Cast', [from], outside, [attr.int('to', DataType.float)]);
  else if (from !== outside) builder.emit('Identity', [from], outside);
}
