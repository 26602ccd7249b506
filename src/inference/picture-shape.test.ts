import { expect, test } from 'vitest';
import { closePictureShape } from './picture-shape.ts';

const SIZE = { width: 64, height: 48 };

test.each<[string, (number | string)[], Parameters<typeof closePictureShape>[1], number[] | undefined]>([
  ['nothing is open', [1, 3, 32, 32], {}, [1, 3, 32, 32]],
  ['the batch alone', ['batch', 3, 32, 32], {}, [1, 3, 32, 32]],
  ['a batch of its own', [4, 3, 32, 32], {}, [4, 3, 32, 32]],
  ['a batch of its own and an open size', [2, 3, 'height', 'width'], SIZE, [2, 3, 48, 64]],
  ['the size, and nobody says it', ['n', 3, 'h', 'w'], {}, undefined],
  ['one side, and nobody says it', [1, 3, 32, 'w'], {}, undefined],
  ['the size, colours last', ['n', 'h', 'w', 3], SIZE, [1, 48, 64, 3]],
  ['all four, as Optimum does', ['batch_size', 'num_channels', 'height', 'width'], SIZE, [1, 3, 48, 64]],
  ['all four, without names', ['', '', '', ''], SIZE, [1, 3, 48, 64]],
  ['all four, colours last by name', ['batch', 'height', 'width', 'channels'], SIZE, [1, 48, 64, 3]],
  ['all four, colours last by the manifest', ['', '', '', ''], { ...SIZE, layout: 'nhwc' }, [1, 48, 64, 3]],
  ['all four, grey', ['b', 'c', 'h', 'w'], { ...SIZE, channels: 1 }, [1, 1, 48, 64]],
  ['no picture', ['n', 7], SIZE, [1, 7]],
  ['a size that the model has', [1, 3, 32, 32], SIZE, [1, 3, 32, 32]],
])('%s', (_what, shape, wish, dims) => {
  expect(closePictureShape(shape, wish).dims).toEqual(dims);
});

test('an open size is told', () => {
  expect(closePictureShape(['b', 'c', 'h', 'w'], SIZE).sizeOpen).toBe(true);
  expect(closePictureShape(['b', 'c', 32, 32], SIZE).sizeOpen).toBe(false);
  expect(closePictureShape(['n', 7]).sizeOpen).toBe(false);
});
