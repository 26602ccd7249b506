import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { jpegGrowth, JpegSizes } from './jpeg-size.ts';

const PIXELS = 640 * 480;
const QUALITIES = Array.from({ length: 100 }, (_, i) => i + 1);

describe('growth', () => {
  test('is that of the quantisation step to the power of -0.6, relative to quality 50', () => {
    expect(jpegGrowth(50)).toBe(1);
    expect(jpegGrowth(25)).toBeCloseTo(0.5 ** 0.6);
    expect(jpegGrowth(10)).toBeCloseTo(0.2 ** 0.6);
    expect(jpegGrowth(75)).toBeCloseTo(2 ** 0.6);
    expect(jpegGrowth(90)).toBeCloseTo(5 ** 0.6);
  });

  test('rises with every step of quality, without a jump in the middle, and ends', () => {
    const growths = QUALITIES.map(jpegGrowth);
    for (let i = 1; i < 99; i++) expect(growths[i]).toBeGreaterThan(growths[i - 1]!);
    expect(jpegGrowth(49.999)).toBeCloseTo(jpegGrowth(50), 4);
    expect(jpegGrowth(100)).toBeCloseTo(jpegGrowth(99));
    expect(jpegGrowth(1)).toBeGreaterThan(0);
  });
});

describe('learned sizes', () => {
  test('before any frame: a street, 35 kB at 640×480 and quality 50', () => {
    const bytes = new JpegSizes().bytes(PIXELS, 50);
    expect(bytes).toBeGreaterThan(30_000);
    expect(bytes).toBeLessThan(40_000);
  });

  test('the first frame is believed, later ones by a quarter', () => {
    const sizes = new JpegSizes();
    sizes.learn({ bytes: 8_000, pixels: PIXELS, quality: 60 });
    expect(sizes.bytes(PIXELS, 60)).toBeCloseTo(8_000);
    sizes.learn({ bytes: 16_000, pixels: PIXELS, quality: 60 });
    expect(sizes.bytes(PIXELS, 60)).toBeCloseTo(10_000);
  });

  test('size goes with the pixels and grows with the quality', () => {
    const sizes = new JpegSizes();
    sizes.learn({ bytes: 10_000, pixels: PIXELS, quality: 50 });
    expect(sizes.bytes(PIXELS / 4, 50)).toBeCloseTo(2_500);
    expect(sizes.bytes(PIXELS, 75)).toBeCloseTo(10_000 * jpegGrowth(75));
  });

  test.each([
    { bytes: 0, pixels: PIXELS, quality: 50 },
    { bytes: NaN, pixels: PIXELS, quality: 50 },
    { bytes: -1, pixels: PIXELS, quality: 50 },
    { bytes: Infinity, pixels: PIXELS, quality: 50 },
    { bytes: 1_000, pixels: 0, quality: 50 },
    { bytes: 1_000, pixels: PIXELS, quality: 0 },
    { bytes: 1_000, pixels: PIXELS, quality: -5 },
    { bytes: 1_000, pixels: PIXELS, quality: NaN },
    { bytes: 1e308, pixels: 1e-10, quality: 50 },
  ])('nothing is learned from $bytes bytes of $pixels pixels at quality $quality', (frame) => {
    const sizes = new JpegSizes();
    sizes.learn(frame);
    expect(sizes.bytes(PIXELS, 50)).toBe(new JpegSizes().bytes(PIXELS, 50));
    sizes.learn({ bytes: 8_000, pixels: PIXELS, quality: 50 });
    expect(sizes.bytes(PIXELS, 50)).toBeCloseTo(8_000);
  });

  test('property: a scene that stays is known after twenty frames, whatever came before and at whichever qualities', () => {
    const frames = fc.record({
      bytes: fc.integer({ min: 1, max: 2_000_000 }),
      quality: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(
        fc.array(frames, { maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 20, maxLength: 20 }),
        fc.double({ min: 0.01, max: 2, noNaN: true }),
        (before, qualities, density) => {
          const sizes = new JpegSizes();
          for (const frame of before) sizes.learn({ ...frame, pixels: PIXELS });
          const wrongBefore = Math.abs(sizes.bytes(1, 50) - density);
          for (const quality of qualities) {
            sizes.learn({ bytes: density * PIXELS * jpegGrowth(quality), pixels: PIXELS, quality });
          }
          expect(Math.abs(sizes.bytes(1, 50) - density)).toBeLessThanOrEqual(0.01 * wrongBefore + 1e-12);
        },
      ),
    );
  });
});
