import type { ModelManifest } from '../../src/inference/manifest.ts';
import { attr, DataType, encodeOnnx, node, tensor } from '../../src/inference/onnx/model.ts';

/** A model that can be checked by heart, for tests that need one without fetching any. */

const SIDE = 8;

/**
 * `apart`: pictures that share a run do not know of each other. `mixed`: each gets the mean of all. `one`: the model declares that it
 * takes several, but fails on them.
 */
type Sharing = 'apart' | 'mixed' | 'one';

/** What the model takes and gives where that is not float32 pictures of three colours, plane by plane. */
interface Form {
  /** A model that takes whole numbers scales them itself. */
  readonly input?: DataType;
  readonly output?: DataType;
  readonly channels?: number;
  readonly layout?: 'nchw' | 'nhwc';
}

/**
 * One box of a quarter of the picture, in its middle, whose score is the picture's mean brightness. `batch`: how the model
 * declares its first dimension; `declared`: how it declares the number of boxes.
 */
export function brightnessModel(
  batch: number | string = 1,
  declared: number | string = 1,
  sharing: Sharing = 'apart',
  { input = DataType.float, output = DataType.float, channels = 3, layout = 'nchw' }: Form = {},
): Uint8Array {
  const isWhole = input === DataType.uint8 || input === DataType.int8;
  return encodeOnnx({
    irVersion: 8,
    opset: 13,
    producerName: 'test',
    metadata: {},
    graph: {
      name: 'brightness',
      node: [
        node('Cast', ['image'], ['values'], [attr.int('to', DataType.float)]),
        node('Add', ['values', 'black'], ['from black']),
        node('Mul', ['from black', 'white'], ['scaled']),
        node('Transpose', ['scaled'], ['planes'], [attr.ints('perm', layout === 'nchw' ? [0, 1, 2, 3] : [0, 3, 1, 2])]),
        node('GlobalAveragePool', ['planes'], ['channels']),
        node('ReduceMean', ['channels'], ['mean'], [attr.ints('axes', [1, 2, 3]), attr.int('keepdims', 1)]),
        node('Reshape', ['mean', 'shape'], ['own']),
        // Sums with nothing bring everything to one row for each picture.
        node('Mul', ['own', 'zero'], ['nothing']),
        node('Add', ['nothing', 'box'], ['boxes']),
        node('ReduceMean', ['own'], ['of all'], [attr.ints('axes', [0]), attr.int('keepdims', 1)]),
        node('Add', ['nothing', 'of all'], ['shared']),
        node('Concat', ['boxes', sharing === 'mixed' ? 'shared' : 'own'], ['found'], [attr.int('axis', 1)]),
        node('Cast', ['found'], ['output0'], [attr.int('to', output)]),
      ],
      initializer: [
        tensor.int64('shape', [3], [sharing === 'one' ? 1 : -1, 1, 1]),
        tensor.float('box', [1, 4, 1], [4, 4, 4, 4]),
        tensor.float('zero', [1], [0]),
        tensor.float('black', [1], [input === DataType.int8 ? 128 : 0]),
        tensor.float('white', [1], [isWhole ? 1 / 255 : 1]),
      ],
      input: [
        {
          name: 'image',
          elemType: input,
          shape: layout === 'nchw' ? [batch, channels, SIDE, SIDE] : [batch, SIDE, SIDE, channels],
        },
      ],
      output: [{ name: 'output0', elemType: output, shape: [batch, 5, declared] }],
    },
  });
}

export function brightnessManifest(id: string, change: Partial<ModelManifest> = {}): ModelManifest {
  return {
    id,
    title: id,
    task: 'detect',
    format: 'onnx',
    source: { kind: 'file', path: '' },
    sha256: '',
    licence: { spdx: 'CC0-1.0', notice: '' },
    builtIn: false,
    labels: ['light'],
    input: {
      width: SIDE,
      height: SIDE,
      layout: 'nchw',
      colour: 'rgb',
      mean: [0, 0, 0],
      std: [255, 255, 255],
      fit: 'stretch',
    },
    head: { kind: 'yolov8' },
    defaults: { confidence: 0.5, iou: 0.45 },
    ...change,
  };
}
