import { describe, expect, test } from 'vitest';
import { brightnessManifest } from '../../test/support/brightness-model.ts';
import type { PictureInput } from '../vision/types.ts';
import { checkInput, detectorFor } from './fit.ts';
import type { ModelManifest } from './manifest.ts';

const PLAIN = brightnessManifest('mine');
const manifest = (input: Partial<PictureInput> = {}, change: Partial<ModelManifest> = {}): ModelManifest => ({
  ...PLAIN,
  ...change,
  input: { ...PLAIN.input, ...input },
});
const seen = (dims: (number | string)[], type = 'float32') => [{ name: 'image', type, dims }];
const BYTES = { mean: [0, 0, 0], std: [1, 1, 1] } as const;

describe('an input that fits', () => {
  test.each<[string, Partial<PictureInput>, (number | string)[], string, number]>([
    ['as it is', {}, [1, 3, 8, 8], 'float32', 1],
    ['with an open batch', {}, ['n', 3, 8, 8], 'float32', 1],
    ['all open', {}, ['n', 'c', 'h', 'w'], 'float32', 1],
    ['of four pictures', {}, [4, 3, 8, 8], 'float16', 4],
    ['of bytes, colours last', { ...BYTES, layout: 'nhwc' }, [2, 8, 8, 3], 'uint8', 2],
    ['of signed bytes', { mean: [128, 128, 128], std: [1, 1, 1] }, [1, 3, 8, 8], 'int8', 1],
    ['grey', { colour: 'grey' }, [1, 1, 8, 8], 'float32', 1],
  ])('%s', (_what, input, dims, type, batch) => {
    expect(checkInput(manifest(input), seen(dims, type))).toEqual({ name: 'image', type, batch });
  });
});

describe('an input that does not', () => {
  test.each<[string, Partial<PictureInput>, (number | string)[], string, RegExp]>([
    ['another size', {}, [1, 3, 9, 9], 'float32', /takes \[1, 3, 9, 9\], its manifest says \[1, 3, 8, 8\]/],
    ['other colours', {}, [1, 1, 8, 8], 'float32', /takes \[1, 1, 8, 8\]/],
    ['no picture', {}, [1, 3], 'float32', /takes \[1, 3\]/],
    ['no batch at all', {}, [0, 3, 8, 8], 'float32', /takes \[0, 3, 8, 8\]/],
    [
      'a type that pictures cannot have',
      {},
      [1, 3, 8, 8],
      'int64',
      /takes int64; pictures can be handed over as float32/,
    ],
    [
      'bytes of fractions',
      {},
      [1, 3, 8, 8],
      'uint8',
      /takes uint8, 0 to 255, and mean 0 and std 255 make pixels 0 to 1/,
    ],
    ['signed bytes of bytes', BYTES, [1, 3, 8, 8], 'int8', /takes int8, -128 to 127/],
    ['bytes below zero', { mean: [128, 128, 128], std: [1, 1, 1] }, [1, 3, 8, 8], 'uint8', /pixels -128 to 127/],
    ['grey by three means', { colour: 'grey', mean: [1, 2, 3] }, [1, 1, 8, 8], 'float32', /one number each/],
  ])('%s', (_what, input, dims, type, words) => {
    expect(() => checkInput(manifest(input), seen(dims, type))).toThrow(
      expect.objectContaining({ code: 'MODEL_UNSUPPORTED', message: expect.stringMatching(words) }),
    );
  });

  test('none, or two', () => {
    expect(() => checkInput(PLAIN, [])).toThrow('mine has no input instead of one picture');
    expect(() => checkInput(PLAIN, [...seen([1]), { name: 'mask', type: 'float32', dims: [1] }])).toThrow(
      'the inputs image, mask',
    );
  });
});

describe('outputs', () => {
  const out = (dims: number[], type = 'float32', name = 'output0') => ({ name, type, dims });

  test('that can be read, for each picture its own', () => {
    expect(detectorFor(PLAIN, [out([1, 5, 7])], 1)).toBeDefined();
    expect(detectorFor(PLAIN, [out([4, 5, 7], 'float16')], 4)).toBeDefined();
    expect(detectorFor(manifest({}, { head: { kind: 'tensors' } }), [out([1, 9], 'int64')], 1)).toBeUndefined();
  });

  test.each<[string, Partial<ModelManifest>, ReturnType<typeof out>[], number, RegExp]>([
    [
      'of another type',
      {},
      [out([1, 5, 7], 'int64')],
      1,
      /mine gives its output output0 as int64; float32 and float16/,
    ],
    [
      'of all pictures together',
      {},
      [out([1, 5, 7])],
      4,
      /takes 4 pictures at a time, and its output output0 of shape \[1,5,7\]/,
    ],
    ['of two pictures where one is taken', {}, [out([2, 5, 7])], 1, /mine: output output0 of shape/],
    [
      'that the head does not have',
      { head: { kind: 'yolov8', output: 'boxes' } },
      [out([1, 5, 7])],
      1,
      /no output boxes, only output0/,
    ],
    ['of more classes than labels', {}, [out([1, 84, 7])], 1, /mine: 80 classes in the output but 1 labels/],
  ])('%s', (_what, change, outputs, batch, words) => {
    expect(() => detectorFor(manifest({}, change), outputs, batch)).toThrow(
      expect.objectContaining({ code: 'MODEL_UNSUPPORTED', message: expect.stringMatching(words) }),
    );
  });
});
