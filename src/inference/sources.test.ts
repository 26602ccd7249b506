import { expect, test } from 'vitest';
import { encodeOnnx } from './onnx/model.ts';
import { inOnePiece } from './sources.ts';

test('a model that was fetched alone and keeps its weights elsewhere is refused, with where', () => {
  const model = (dataLocation: 0 | 1) =>
    encodeOnnx({
      irVersion: 8,
      opset: 18,
      producerName: 'test',
      metadata: {},
      graph: {
        name: 'g',
        node: [],
        initializer: [
          {
            name: 'w',
            dims: [1],
            dataType: 1,
            rawData: new Uint8Array(dataLocation === 0 ? 4 : 0),
            ...(dataLocation === 1 && { externalData: [{ key: 'location', value: 'best.onnx.data' }], dataLocation }),
          },
        ],
        input: [],
        output: [],
      },
    });
  const whole = model(0);
  expect(inOnePiece('far', whole)).toBe(whole);
  expect(() => inOnePiece('far', model(1))).toThrow(
    expect.objectContaining({
      code: 'MODEL_UNSUPPORTED',
      message: expect.stringMatching(/far keeps weights in another file, "best\.onnx\.data".*models import/),
    }),
  );
});
