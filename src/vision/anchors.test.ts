import { describe, expect, test } from 'vitest';
import { ssdAnchors } from './anchors.ts';
import type { SsdAnchorOptions } from './types.ts';

const SSD: SsdAnchorOptions = {
  strides: [16, 32, 64, 128, 256, 512],
  minScale: 0.2,
  maxScale: 0.95,
  anchorOffsetX: 0.5,
  anchorOffsetY: 0.5,
  aspectRatios: [1, 2, 0.5, 3, 0.3333],
  reduceBoxesInLowestLayer: true,
  interpolatedScaleAspectRatio: 1,
  fixedAnchorSize: false,
};

const at = (anchors: Float32Array, i: number) => Array.from(anchors.subarray(i * 4, i * 4 + 4));
const expectClose = (actual: number[], wanted: number[]) =>
  wanted.forEach((value, i) => expect(actual[i]).toBeCloseTo(value, 5));

describe('anchors', () => {
  test('a 300×300 SSD has 19²·3 + (10² + 5² + 3² + 2² + 1²)·6 = 1917, as its output has', () => {
    expect(ssdAnchors(SSD, 300, 300).length / 4).toBe(1917);
  });

  test('the lowest layer has three reduced shapes a cell, in the order of the original', () => {
    const anchors = ssdAnchors(SSD, 300, 300);
    const centre = 0.5 / 19;
    expectClose(at(anchors, 0), [centre, centre, 0.1, 0.1]);
    expectClose(at(anchors, 1), [centre, centre, 0.2 * Math.SQRT2, 0.2 / Math.SQRT2]);
    expectClose(at(anchors, 2), [centre, centre, 0.2 / Math.SQRT2, 0.2 * Math.SQRT2]);
    expectClose(at(anchors, 3), [1.5 / 19, centre, 0.1, 0.1]);
  });

  test('a higher layer ends each cell with the interpolated scale, the last one interpolates towards 1', () => {
    const anchors = ssdAnchors(SSD, 300, 300);
    const second = 19 * 19 * 3;
    expectClose(at(anchors, second), [0.05, 0.05, 0.35, 0.35]);
    expectClose(at(anchors, second + 5), [0.05, 0.05, Math.sqrt(0.35 * 0.5), Math.sqrt(0.35 * 0.5)]);
    expectClose(at(anchors, 1916), [0.5, 0.5, Math.sqrt(0.95), Math.sqrt(0.95)]);
  });

  test('layers of one stride share their cells: MediaPipe’s palm detector has 24²·2 + 12²·6 = 2016 of one size', () => {
    const palm: SsdAnchorOptions = {
      ...SSD,
      strides: [8, 16, 16, 16],
      minScale: 0.1484375,
      maxScale: 0.75,
      aspectRatios: [1],
      reduceBoxesInLowestLayer: false,
      fixedAnchorSize: true,
    };
    const anchors = ssdAnchors(palm, 192, 192);
    expect(anchors.length / 4).toBe(2016);
    expectClose(at(anchors, 24 * 24 * 2), [0.5 / 12, 0.5 / 12, 1, 1]);
    expectClose(at(anchors, 24 * 24 * 2 + 5), [0.5 / 12, 0.5 / 12, 1, 1]);
    expectClose(at(anchors, 24 * 24 * 2 + 6), [1.5 / 12, 0.5 / 12, 1, 1]);
  });

  test('a single layer takes the middle of the scales', () => {
    const one = {
      ...SSD,
      strides: [300],
      aspectRatios: [1],
      reduceBoxesInLowestLayer: false,
      interpolatedScaleAspectRatio: 0,
    };
    const anchors = ssdAnchors(one, 300, 300);
    expect(anchors.length).toBe(4);
    expectClose(at(anchors, 0), [0.5, 0.5, 0.575, 0.575]);
  });
});
