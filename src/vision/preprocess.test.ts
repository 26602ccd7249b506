import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { placePicture } from './placement.ts';
import { expandRgb, Preprocessor, type RgbxPicture } from './preprocess.ts';
import { inputDims, type PictureInput } from './types.ts';

const PLAIN: PictureInput = {
  width: 4,
  height: 4,
  layout: 'nhwc',
  colour: 'rgb',
  mean: [0, 0, 0],
  std: [1, 1, 1],
  fit: 'stretch',
};

/** A picture from a function of place and channel (0 red, 1 green, 2 blue); the fourth byte is noise that must not matter. */
function picture(width: number, height: number, value: (x: number, y: number, c: number) => number): RgbxPicture {
  const data = new Uint8Array(width * height * 4).fill(0xa5);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) data[(y * width + x) * 4 + c] = value(x, y, c);
  }
  return { data, width, height };
}

function write(input: PictureInput, from: RgbxPicture): Float32Array {
  const out = new Float32Array(inputDims(input, 1).reduce((a, b) => a * b, 1)).fill(NaN);
  new Preprocessor(input).write(from, out);
  return out;
}

describe('placement', () => {
  test.each([
    ['stretch', 640, 480, { x: 0, y: 0, width: 416, height: 416 }],
    ['letterbox-corner', 640, 480, { x: 0, y: 0, width: 416, height: 312 }],
    ['letterbox', 640, 480, { x: 0, y: 52, width: 416, height: 312 }],
    ['letterbox', 480, 640, { x: 52, y: 0, width: 312, height: 416 }],
    ['letterbox-corner', 10_000, 1, { x: 0, y: 0, width: 416, height: 1 }],
  ] as const)('%s of %d×%d', (fit, width, height, wanted) => {
    expect(placePicture({ ...PLAIN, width: 416, height: 416, fit }, width, height)).toEqual(wanted);
  });
});

describe('values', () => {
  test('a picture of the right size goes over as it is', () => {
    const from = picture(4, 4, (x, y, c) => 60 * c + 4 * y + x);
    const out = write(PLAIN, from);
    for (let i = 0; i < 48; i++) expect(out[i]).toBe(from.data[Math.floor(i / 3) * 4 + (i % 3)]);
  });

  test('grey is the luma of the colours, normalised, with its own padding, in either layout', () => {
    const colours = picture(8, 4, (x, _y, c) => (x < 4 ? [200, 100, 50] : [10, 20, 30])[c]!);
    const luma = ([r, g, b]: readonly number[]) => 0.299 * r! + 0.587 * g! + 0.114 * b!;
    for (const layout of ['nchw', 'nhwc'] as const) {
      const input: PictureInput = {
        ...PLAIN,
        width: 8,
        height: 8,
        layout,
        colour: 'grey',
        mean: [10, 10, 10],
        std: [2, 2, 2],
        fit: 'letterbox-corner',
        padValue: 114,
      };
      const out = write(input, colours);
      expect(out).toHaveLength(64);
      expect(out[0]).toBeCloseTo((luma([200, 100, 50]) - 10) / 2, 3);
      expect(out[3 * 8 + 7]).toBeCloseTo((luma([10, 20, 30]) - 10) / 2, 3);
      expect(out[4 * 8]).toBeCloseTo((114 - 10) / 2, 3);
    }
  });

  test('planes, blue first, normalised per channel', () => {
    const input: PictureInput = { ...PLAIN, layout: 'nchw', colour: 'bgr', mean: [10, 20, 30], std: [1, 2, 4] };
    const out = write(
      input,
      picture(4, 4, (_x, _y, c) => [130, 120, 110][c]!),
    );
    // Blue 110 − 10, green (120 − 20) / 2, red (130 − 30) / 4.
    expect(Array.from(out)).toEqual([...Array(16).fill(100), ...Array(16).fill(50), ...Array(16).fill(25)]);
  });

  test('padding is a pixel of that value', () => {
    const input: PictureInput = { ...PLAIN, fit: 'letterbox', padValue: 114, mean: [14, 14, 14], std: [2, 2, 2] };
    const out = write(
      input,
      picture(4, 2, () => 14),
    );
    const rows = Array.from({ length: 4 }, (_, y) => Array.from(out.subarray(y * 12, y * 12 + 12)));
    expect(rows).toEqual([Array(12).fill(50), Array(12).fill(0), Array(12).fill(0), Array(12).fill(50)]);
  });

  test('old pixels do not shine through when the next picture has another shape', () => {
    const input: PictureInput = { ...PLAIN, fit: 'letterbox-corner', padValue: 7 };
    const preprocessor = new Preprocessor(input);
    const out = new Float32Array(48);
    preprocessor.write(
      picture(4, 4, () => 200),
      out,
    );
    preprocessor.write(
      picture(2, 8, () => 100),
      out,
    );
    const fresh = write(
      input,
      picture(2, 8, () => 100),
    );
    expect(out).toEqual(fresh);
    expect(out[0]).toBe(100);
    expect(out[3 * 3]).toBe(7);
  });
});

describe('scaling', () => {
  /** Bilinear with aligned sample centres, straight from the definition. */
  function bilinear(from: RgbxPicture, width: number, height: number, x: number, y: number, c: number): number {
    const place = (i: number, size: number, to: number) =>
      Math.min(size - 1, Math.max(0, ((i + 0.5) * size) / to - 0.5));
    const px = place(x, from.width, width);
    const py = place(y, from.height, height);
    const at = (ix: number, iy: number) =>
      from.data[(Math.min(iy, from.height - 1) * from.width + Math.min(ix, from.width - 1)) * 4 + c]!;
    const [x0, y0] = [Math.floor(px), Math.floor(py)];
    const mix = (a: number, b: number, t: number) => a + (b - a) * t;
    return mix(mix(at(x0, y0), at(x0 + 1, y0), px - x0), mix(at(x0, y0 + 1), at(x0 + 1, y0 + 1), px - x0), py - y0);
  }

  test('interpolates within two steps of 255 of the exact value, up and down, whatever the picture', () => {
    const size = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(size, size, size, size, fc.infiniteStream(fc.nat(255)), (w, h, toW, toH, noise) => {
        fc.pre(w * h < 4 * toW * toH);
        const from = picture(w, h, () => noise.next().value);
        const out = write({ ...PLAIN, width: toW, height: toH }, from);
        for (let y = 0; y < toH; y++) {
          for (let x = 0; x < toW; x++) {
            for (let c = 0; c < 3; c++) {
              const wanted = bilinear(from, toW, toH, x, y, c);
              expect(Math.abs(out[(y * toW + x) * 3 + c]! - wanted)).toBeLessThanOrEqual(2);
            }
          }
        }
      }),
    );
  });

  test('averages when the picture shrinks by three: every pixel counts once', () => {
    const from = picture(12, 12, (x, y, c) => (x * 37 + y * 91 + c * 13) % 256);
    const out = write(PLAIN, from);
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let i = 0; i < 9; i++) sum += from.data[((y * 3 + Math.floor(i / 3)) * 12 + x * 3 + (i % 3)) * 4 + c]!;
          expect(out[(y * 4 + x) * 3 + c]).toBeCloseTo(sum / 9, 4);
        }
      }
    }
  });

  test('a fine chequered pattern becomes grey, not a pattern of its own', () => {
    const out = write(
      PLAIN,
      picture(12, 12, (x, y) => ((x + y) % 2) * 255),
    );
    for (const value of out) expect(Math.abs(value - 127.5)).toBeLessThan(15);
  });

  test('white stays white and black black, at any size', () => {
    for (const level of [0, 255]) {
      for (const [w, h] of [
        [3, 5],
        [9, 31],
        [200, 100],
      ] as const) {
        for (const value of write(
          PLAIN,
          picture(w, h, () => level),
        ))
          expect(value).toBeCloseTo(level, 3);
      }
    }
  });
});

test('packed RGB becomes 4 bytes a pixel', () => {
  const { data } = expandRgb(Uint8Array.of(1, 2, 3, 253, 254, 255), 2, 1, new Uint8Array(8));
  expect(Array.from(data)).toEqual([1, 2, 3, 0, 253, 254, 255, 0]);
});
