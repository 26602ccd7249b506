import { SightlineError } from '../../base/errors.ts';
import { DataType, encodeOnnx } from '../onnx/model.ts';
import { BATCH, GraphBuilder } from './builder.ts';
import { convertOperator } from './operators.ts';
import { readTflite } from './reader.ts';

/**
 * A TFLite model as an ONNX file with the same inputs and outputs: same names, same order, same layout (NHWC), float32,
 * and a symbolic first dimension `batch` where the graph allows one.
 *
 * Tensors keep TFLite's layout all the way: each convolution, pooling or resizing stands between two transposes, and ONNX
 * Runtime's optimizer cancels the pairs. Constants in half precision are widened to float32 here, once.
 *
 * `name` is what errors call the file. Throws MODEL_DAMAGED when the bytes are no whole TFLite file, MODEL_UNSUPPORTED
 * when the graph holds an operator, a type or an option that Sightline does not convert.
 */
export function convertTflite(bytes: Uint8Array, name: string): Uint8Array {
  const graph = readTflite(bytes, name);
  const builder = new GraphBuilder(graph, name, bytes.length);
  for (const index of graph.inputs) builder.requireFloat(index);
  for (const operator of graph.operators) convertOperator(operator, builder);
  if (graph.inputs.length === 0 || graph.outputs.length === 0) {
    throw new SightlineError(
      'MODEL_DAMAGED',
      `${name}: the graph has no ${graph.inputs.length === 0 ? 'input' : 'output'}`,
    );
  }
  const info = (index: number) => {
    const shape = builder.shape(index);
    return {
      name: builder.name(index),
      elemType: DataType.float,
      shape: builder.batchIsFixed ? [...shape] : [BATCH, ...shape.slice(1)],
    };
  };
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'sightline',
    metadata: {},
    graph: {
      name: 'tflite',
      node: builder.nodes,
      initializer: builder.initializers,
      input: graph.inputs.map(info),
      output: graph.outputs.map(info),
    },
  });
}
