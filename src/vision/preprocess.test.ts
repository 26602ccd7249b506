import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { placePicture, placeRegion, type Region, toInput, toPicture } from './placement.ts';
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

function write(input: PictureInput, from: RgbxPicture, region?: Region): Float32Array {
  const out = new Float32Array(inputDims(input, 1).reduce((a, b) => a * b, 1)).fill(NaN);
  new Preprocessor(input).write(from, out, region);
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

describe('regions', () => {
  const WHOLE = { centreX: 0.5, centreY: 0.5, width: 1, height: 1 };
  const noise = (width: number, height: number) =>
    picture(width, height, (x, y, c) => (x * 97 + y * 57 + c * 31 + x * y * 13) % 256);
  const side = fc.integer({ min: 1, max: 24 });
  const fit = fc.constantFrom('stretch' as const, 'letterbox' as const, 'letterbox-corner' as const);
  const place = fc.double({ min: -0.5, max: 1.5, noNaN: true });
  const extent = fc.double({ min: 0.05, max: 2, noNaN: true });
  const region = fc.record({
    centreX: place,
    centreY: place,
    width: extent,
    height: extent,
    rotation: fc.double({ min: -4, max: 4, noNaN: true }),
  });

  test('points go to the input and come back, with a region and without', () => {
    fc.assert(
      fc.property(
        side,
        side,
        side,
        side,
        fit,
        fc.option(region),
        place,
        place,
        (width, height, w, h, fits, of, x, y) => {
          const input: PictureInput = { ...PLAIN, width, height, fit: fits };
          const placement = of ? placeRegion(input, of, w, h) : placePicture(input, w, h);
          const there = toInput(placement, { x, y });
          const back = toPicture(placement, there);
          expect(back.x).toBeCloseTo(x, 6);
          expect(back.y).toBeCloseTo(y, 6);
          if (!of) return;
          // The centre of the region is that of the input, and what is below in the region is there turned with it.
          const centre = toPicture(placement, { x: width / 2, y: height / 2 });
          expect(centre).toEqual({ x: expect.closeTo(of.centreX, 6), y: expect.closeTo(of.centreY, 6) });
          const below = toPicture(placement, { x: width / 2, y: height });
          const angle = Math.atan2(-(below.x - centre.x) * w, (below.y - centre.y) * h);
          expect(Math.cos(angle - of.rotation)).toBeCloseTo(1, 6);
        },
      ),
    );
  });

  test('the whole picture as a region is the picture', () => {
    fc.assert(
      fc.property(side, side, side, side, (width, height, w, h) => {
        fc.pre(w * h < 4 * width * height);
        const input = { ...PLAIN, width, height };
        const from = noise(w, h);
        expectNear(write(input, from, { ...WHOLE, outside: 'replicate' }), write(input, from));
      }),
    );
  });

  test('without a turn it is the plain crop; at its border the pixels around it show', () => {
    const columns = fc.integer({ min: 0, max: 10 });
    fc.assert(
      fc.property(columns, columns, side, side, side, side, (left, top, w, h, width, height) => {
        fc.pre(w * h < 4 * width * height);
        const input = { ...PLAIN, width, height };
        const from = noise(left + w + 3, top + h + 2);
        const crop = picture(w, h, (x, y, c) => from.data[((y + top) * from.width + x + left) * 4 + c]!);
        const of: Region = {
          centreX: (left + w / 2) / from.width,
          centreY: (top + h / 2) / from.height,
          width: w / from.width,
          height: h / from.height,
        };
        const isInside = (i: number, to: number, all: number) => {
          const at = ((i + 0.5) * all) / to - 0.5;
          return at >= 0 && at <= all - 1;
        };
        const inside = (_: number, i: number) =>
          isInside(Math.floor(i / 3) % width, width, w) && isInside(Math.floor(i / 3 / width), height, h);
        expectNear(write(input, from, of).filter(inside), write(input, crop).filter(inside));
      }),
    );
  });

  test('a quarter turn is exact', () => {
    const from = noise(4, 4);
    const out = write(PLAIN, from, { ...WHOLE, rotation: Math.PI / 2 });
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 4; x++) {
        for (let c = 0; c < 3; c++) expect(out[(y * 4 + x) * 3 + c]).toBe(from.data[(x * 4 + 3 - y) * 4 + c]);
      }
    }
  });

  test('each value is that of the place that the placement tells', () => {
    const [w, h] = [30, 20];
    const slope = picture(w, h, (x, y, c) => [8 * x, 12 * y, 4 * x + 6 * y][c]!);
    fc.assert(
      fc.property(
        side,
        side,
        fit,
        region,
        fc.constantFrom('nchw' as const, 'nhwc' as const),
        (width, height, fits, of, layout) => {
          const input: PictureInput = { ...PLAIN, width, height, layout, fit: fits };
          const out = write(input, slope, of);
          const placement = placeRegion(input, of, w, h);
          for (let j = 0; j < height; j++) {
            for (let i = 0; i < width; i++) {
              const at = toPicture(placement, { x: i + 0.5, y: j + 0.5 });
              const [x, y] = [at.x * w - 0.5, at.y * h - 0.5];
              const value = (c: number) =>
                out[layout === 'nchw' ? (c * height + j) * width + i : (j * width + i) * 3 + c]!;
              if (x <= -1 || y <= -1 || x >= w || y >= h) expect([0, 1, 2].map(value)).toEqual([0, 0, 0]);
              if (x < 0 || y < 0 || x > w - 1 || y > h - 1) continue;
              const wanted = [8 * x, 12 * y, 4 * x + 6 * y];
              wanted.forEach((v, c) => expect(Math.abs(value(c) - v)).toBeLessThan(1));
            }
          }
        },
      ),
    );
  });

  test('outside lies the padding, or the nearest pixel; grey and letterboxed inputs as well', () => {
    const from = picture(4, 4, (x) => (x < 2 ? 100 : 200));
    const left: Region = { ...WHOLE, centreX: -1 };
    const input: PictureInput = { ...PLAIN, mean: [100, 100, 100], std: [2, 2, 2], padValue: 114 };
    expect(new Set(write(input, from, left))).toEqual(new Set([7]));
    expect(new Set(write(input, from, { ...left, outside: 'replicate' }))).toEqual(new Set([0]));
    const grey: PictureInput = { ...input, colour: 'grey' };
    for (const value of write(grey, from, { ...left, centreX: 2 })) expect(value).toBeCloseTo(7, 5);
    for (const value of write(grey, from, { ...left, centreX: 2, outside: 'replicate' }))
      expect(value).toBeCloseTo(50, 5);
  });

  test('where an input keeps the shape the region grows to it; afterwards padding is in its place again', () => {
    const input: PictureInput = { ...PLAIN, width: 8, fit: 'letterbox', padValue: 9 };
    const from = noise(12, 12);
    const narrow = { ...WHOLE, width: 0.25, height: 0.5 };
    expect(placeRegion(input, narrow, 12, 12)).toMatchObject({
      x: 0,
      y: 0,
      width: 8,
      height: 4,
      region: { xu: 1, yv: 0.5 },
    });
    expect(placeRegion(input, { ...narrow, width: 1, height: 0.1 }, 12, 12)).toMatchObject({
      region: { xu: 1, yv: 0.5 },
    });
    const preprocessor = new Preprocessor(input);
    const out = new Float32Array(8 * 4 * 3);
    preprocessor.write(from, out);
    preprocessor.write(from, out, narrow);
    preprocessor.write(from, out);
    expect(out).toEqual(write(input, from));
  });

  test.each([
    { ...WHOLE, width: 0 },
    { ...WHOLE, height: -1 },
    { ...WHOLE, centreX: Number.NaN },
    { ...WHOLE, width: Infinity },
    { ...WHOLE, rotation: Number.NaN },
  ])('that is none is refused: %o', (none) => {
    expect(() => write(PLAIN, noise(4, 4), none)).toThrow(expect.objectContaining({ code: 'INFERENCE_FAILED' }));
  });
});

/** Weights have 8 bits, and are rounded here and there. */
function expectNear(values: Float32Array, wanted: Float32Array): void {
  expect(values.length).toBe(wanted.length);
  values.forEach((value, i) => expect(Math.abs(value - wanted[i]!)).toBeLessThan(2.1));
}
