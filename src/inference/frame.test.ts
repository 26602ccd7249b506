import { describe, expect, test } from 'vitest';
import { frameOf, ownConvention } from './frame.ts';

const input = (dims: number[], type = 'float32') => ({ name: 'images', type, dims });

describe('the frame', () => {
  test.each<[number[], ReturnType<typeof frameOf>]>([
    [[1, 3, 480, 640], { layout: 'nchw', height: 480, width: 640 }],
    [[4, 480, 640, 3], { layout: 'nhwc', height: 480, width: 640 }],
    [[1, 1, 480, 640], { layout: 'nchw', height: 480, width: 640 }],
    [[1, 480, 640, 1], { layout: 'nhwc', height: 480, width: 640 }],
    [[1, 3, 1, 1], { layout: 'nchw', height: 1, width: 1 }],
  ])('%j', (dims, frame) => expect(frameOf('mine', input(dims))).toEqual(frame));

  test.each([[[1, 2, 28, 28]], [[1, 4, 64, 64]], [[1, 3]], [[3, 480, 640]]])('%j is none', (dims) => {
    expect(() => frameOf('mine', input(dims))).toThrow(
      expect.objectContaining({
        code: 'MODEL_UNSUPPORTED',
        message: expect.stringMatching(/^mine: .*"images".*not a picture/),
      }),
    );
  });
});

describe('what the input tells of its values', () => {
  test('three colours in fractions: nothing', () => {
    for (const type of ['float32', 'float16']) expect(ownConvention('mine', input([1, 3, 1, 1], type))).toEqual({});
  });

  test('one channel: grey, in either order of axes', () => {
    expect(ownConvention('mine', input([1, 1, 640, 640]))).toEqual({ colour: 'grey' });
    expect(ownConvention('mine', input([4, 640, 640, 1]))).toEqual({ colour: 'grey' });
  });

  test('bytes of pixels: as they are, whatever the head usually has', () => {
    expect(ownConvention('mine', input([1, 640, 640, 3], 'uint8'))).toEqual({ mean: [0, 0, 0], std: [1, 1, 1] });
  });

  test('signed bytes: nothing tells how they are made, so it is asked for', () => {
    const signed = input([1, 3, 640, 640], 'int8');
    expect(() => ownConvention('mine', signed)).toThrow(/int8.*--mean and --std/);
    expect(() => ownConvention('mine', signed, { std: [1, 1, 1] })).toThrow(/--mean and --std/);
    expect(ownConvention('mine', signed, { mean: [128, 128, 128], std: [1, 1, 1] })).toEqual({});
  });
});
