import { expect, test } from 'vitest';
import { pictureSize } from './options.ts';

test('a size is two numbers of pixels', () => {
  expect(pictureSize('640x480')).toEqual({ width: 640, height: 480 });
  expect(pictureSize('32×32')).toEqual({ width: 32, height: 32 });
  for (const text of ['10', '640', '0x640', '640x', '-1x2', '70000x2', '640x480x3', 'x', '6.4x4']) {
    expect(() => pictureSize(text), text).toThrow(/WIDTHxHEIGHT/);
  }
});
