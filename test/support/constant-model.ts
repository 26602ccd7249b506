import { attr, DataType, encodeOnnx, node, tensor } from '../../src/inference/onnx/model.ts';

export interface ConstantOutput {
  readonly dims: number[];
  readonly values: (row: number, column: number) => number;
  /** As the file declares it, where that differs: a name stands for a size that is only known at run time. */
  readonly declared?: (number | string)[];
}

/**
 * An ONNX file with the outputs and metadata of an exporter, which answers the same to every picture: what is chosen to read it with is what
 * counts. `side`: of the picture, pixels.
 */
export function constantModel(
  outputs: Readonly<Record<string, ConstantOutput>>,
  metadata: Record<string, string> = {},
  side = 96,
): Uint8Array {
  const entries = Object.entries(outputs);
  const valuesOf = ({ dims, values }: ConstantOutput) => {
    const columns = dims.at(-1) ?? 1;
    const length = dims.reduce((a, b) => a * b, 1);
    return Float32Array.from({ length }, (_, i) => values(Math.floor(i / columns), i % columns));
  };
  return encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'test',
    metadata,
    graph: {
      name: 'constant',
      node: [
        node('ReduceMean', ['images', 'axes'], ['mean'], [attr.int('keepdims', 0)]),
        node('Mul', ['mean', 'zero'], ['nothing']),
        ...entries.map(([name]) => node('Add', ['nothing', `${name}_values`], [name])),
      ],
      initializer: [
        tensor.int64('axes', [3], [1, 2, 3]),
        tensor.float('zero', [1], [0]),
        ...entries.map(([name, output]) => tensor.float(`${name}_values`, output.dims, valuesOf(output))),
      ],
      input: [{ name: 'images', elemType: DataType.float, shape: [1, 3, side, side] }],
      output: entries.map(([name, { dims, declared }]) => ({
        name,
        elemType: DataType.float,
        shape: declared ?? dims,
      })),
    },
  });
}
