import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Detection } from '../base/detection.ts';
import { HAND_COLOURS, HAND_CONNECTIONS, type Hand } from '../base/hand.ts';
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphRow } from './font.ts';
import type { RgbPicture } from './jpeg.ts';
import {
  classColour,
  drawDetections,
  drawHands,
  drawResult,
  drawText,
  overlayScale,
  type Colour,
  type Rectangle,
} from './overlay.ts';

function black(width: number, height: number): RgbPicture {
  return { data: new Uint8Array(width * height * 3), width, height };
}

function pixel({ data, width }: RgbPicture, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

/** The picture as text: `#` where it is not black. */
function lit(picture: RgbPicture): string[] {
  return Array.from({ length: picture.height }, (_, y) =>
    Array.from({ length: picture.width }, (__, x) => (pixel(picture, x, y).some((v) => v > 0) ? '#' : '.')).join(''),
  );
}

function detection(over: Partial<Detection> = {}): Detection {
  return { label: 'Car', classId: 2, score: 0.63, box: { x: 0.25, y: 0.5, width: 0.5, height: 0.25 }, ...over };
}

function glyph(code: number): string {
  return Array.from({ length: GLYPH_HEIGHT }, (_, y) => glyphRow(code, y)).join();
}

describe('text', () => {
  test('is drawn dot by dot', () => {
    const picture = black(11, 7);
    drawText(picture, 'L7', 0, 0, 1, [1, 2, 3]);
    expect(lit(picture)).toEqual([
      '#.....#####',
      '#.........#',
      '#........#.',
      '#.......#..',
      '#......#...',
      '#......#...',
      '#####..#...',
    ]);
    expect(pixel(picture, 0, 0)).toEqual([1, 2, 3]);
  });

  test('grows by whole dots', () => {
    const picture = black(10, 14);
    drawText(picture, '-', 0, 0, 2, [9, 9, 9]);
    const rows = lit(picture);
    expect(rows.filter((row) => row === '##########')).toHaveLength(2);
    expect(rows.filter((row) => row === '..........')).toHaveLength(12);
  });

  test('every printable character of ASCII has a picture of its own; the others become a question mark', () => {
    const all = Array.from({ length: 0x7f - 0x20 }, (_, i) => glyph(0x20 + i));
    expect(new Set(all).size).toBe(all.length);
    for (const row of all.join().split(',')) expect(Number(row)).toBeLessThan(1 << GLYPH_WIDTH);
    for (const code of [0, 0x1f, 0x7f, 0xe9, 0x4e2d]) expect(glyph(code)).toBe(glyph('?'.charCodeAt(0)));
  });
});

describe('detections', () => {
  test('a box is a frame along its inner edge, in the colour of its class', () => {
    const picture = black(200, 200);
    drawDetections(picture, [detection()]);
    const colour = [...classColour(2)];
    for (const [x, y] of [
      [50, 100],
      [149, 100],
      [50, 149],
      [149, 149],
      [100, 149],
      [149, 120],
    ] as const) {
      expect(pixel(picture, x, y)).toEqual(colour);
    }
    for (const [x, y] of [
      [49, 120],
      [150, 120],
      [100, 150],
      [51, 120],
      [148, 120],
      [100, 148],
    ] as const) {
      expect(pixel(picture, x, y)).toEqual([0, 0, 0]);
    }
  });

  test('the label stands on the box, on a plate with its text and score', () => {
    const picture = black(200, 200);
    drawDetections(picture, [detection()]);
    const expected = black(7 * 6 + 1, 9);
    expected.data.fill(255);
    drawText(expected, 'Car 63%', 1, 1, 1, [0, 0, 0]);
    const plate = classColour(2);
    for (let y = 0; y < expected.height; y += 1) {
      for (let x = 0; x < expected.width; x += 1) {
        const isText = pixel(expected, x, y)[0] === 0;
        expect(pixel(picture, 50 + x, 91 + y)).toEqual(isText ? [0, 0, 0] : [...plate]);
      }
    }
    expect(pixel(picture, 50, 90)).toEqual([0, 0, 0]);
    expect(pixel(picture, 50 + expected.width, 95)).toEqual([0, 0, 0]);
  });

  test('a label without room above goes inside, one at the right edge is moved in', () => {
    const picture = black(100, 100);
    drawDetections(picture, [detection({ box: { x: 0.8, y: 0, width: 0.2, height: 1 } })]);
    const colour = [...classColour(2)];
    expect(pixel(picture, 100 - 43, 0)).toEqual(colour);
    expect(pixel(picture, 100 - 44, 0)).toEqual([0, 0, 0]);
    expect(pixel(picture, 60, 8)).toEqual(colour);
    expect(pixel(picture, 60, 9)).toEqual([0, 0, 0]);
  });

  test('the best one lies on top', () => {
    const picture = black(100, 100);
    const box = { x: 0, y: 0.5, width: 1, height: 0.5 };
    drawDetections(picture, [detection({ classId: 1, score: 0.9, box }), detection({ classId: 2, score: 0.4, box })]);
    expect(pixel(picture, 99, 99)).toEqual([...classColour(1)]);
  });

  test('nothing is written outside of the picture, whatever the boxes', () => {
    const side = fc.double({ min: -3, max: 3, noNaN: true });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.record({ x: side, y: side, width: side, height: side }),
        fc.string({ maxLength: 12 }),
        (width, height, box, label) => {
          const guard = 64;
          const all = new Uint8Array(guard * 2 + width * height * 3).fill(7);
          const data = all.subarray(guard, guard + width * height * 3);
          drawDetections({ data, width, height }, [detection({ box, label })]);
          return (
            all.subarray(0, guard).every((v) => v === 7) && all.subarray(guard + data.length).every((v) => v === 7)
          );
        },
      ),
    );
  });

  test('rows do not run over into the next: a box to the right edge leaves the left edge alone', () => {
    const picture = black(60, 60);
    drawDetections(picture, [detection({ box: { x: 0.5, y: 0.5, width: 2, height: 0.2 } })]);
    for (let y = 0; y < 60; y += 1) expect(pixel(picture, 0, y)).toEqual([0, 0, 0]);
  });
});

describe('hands', () => {
  /** All landmarks in one place but these. */
  const hand = (places: Record<number, [number, number]>, over: Partial<Hand> = {}): Hand => ({
    handedness: 'left',
    score: 0.9,
    landmarks: Array.from({ length: 21 }, (_, i) => {
      const [x, y] = places[i] ?? places[0]!;
      return { x, y, z: 0 };
    }),
    world: [],
    ...over,
  });

  test('a line in the colour of the hand, white dots at its ends', () => {
    const picture = black(100, 100);
    // The tip of the thumb, which is joined to the joint before it alone.
    drawHands(picture, [hand({ 0: [0.1, 0.5], 4: [0.9, 0.5] }, { handedness: 'right' })]);
    expect(pixel(picture, 50, 50)).toEqual([...HAND_COLOURS.right]);
    expect(pixel(picture, 50, 47)).toEqual([0, 0, 0]);
    expect(pixel(picture, 90, 50)).toEqual([255, 255, 255]);
    expect(pixel(picture, 10, 50)).toEqual([255, 255, 255]);
    expect(pixel(picture, 95, 50)).toEqual([0, 0, 0]);
  });

  test('every connection is drawn, whichever way it goes', () => {
    for (const [from, to] of HAND_CONNECTIONS) {
      const picture = black(64, 64);
      // The other landmarks lie in a corner, and their lines along the edges.
      const others = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [i, [-9, -9] as [number, number]]));
      drawHands(picture, [hand({ ...others, [from]: [0.25, 0.75], [to]: [0.75, 0.5] })]);
      expect(pixel(picture, 32, 40), `${from} to ${to}`).toEqual([...HAND_COLOURS.left]);
    }
  });

  test('a hand that reaches out of the picture is cut off there', () => {
    const picture = black(60, 60);
    drawHands(picture, [hand({ 0: [0.5, 0.5], 12: [1e9, 0.5], 8: [0.5, -7] })]);
    expect(pixel(picture, 59, 30)).toEqual([...HAND_COLOURS.left]);
    expect(pixel(picture, 30, 0)).toEqual([...HAND_COLOURS.left]);
    for (let y = 0; y < 60; y += 1) expect(pixel(picture, 0, y)).toEqual([0, 0, 0]);
  });

  test('nothing is written outside of the picture, whatever the landmarks, nor for ever', () => {
    const place = fc.tuple(fc.double({ min: -1e12, max: 1e12 }), fc.double({ min: -3, max: 3 }));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.array(place, { minLength: 21, maxLength: 21 }),
        (width, height, places) => {
          const guard = 64;
          const all = new Uint8Array(guard * 2 + width * height * 3).fill(7);
          const data = all.subarray(guard, guard + width * height * 3);
          drawHands({ data, width, height }, [hand(places)]);
          return (
            all.subarray(0, guard).every((v) => v === 7) && all.subarray(guard + data.length).every((v) => v === 7)
          );
        },
      ),
    );
  });
});

test('line and letters grow with the picture', () => {
  expect(overlayScale(160, 120)).toBe(1);
  expect(overlayScale(768, 432)).toBe(2);
  expect(overlayScale(1920, 1080)).toBe(4);
});

test('classes next to each other have colours far apart', () => {
  for (let id = 0; id < 80; id += 1) {
    const [a, b] = [classColour(id), classColour(id + 1)];
    expect(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])).toBeGreaterThan(100);
  }
});

describe('boxes of other pictures', () => {
  const box = { x: 0.05, y: 0.3, width: 0.9, height: 0.6 };

  test('are dashed, from corner to corner, with the same label', () => {
    const [own, predicted] = [black(100, 60), black(100, 60)];
    drawDetections(own, [detection({ box })]);
    drawDetections(predicted, [detection({ box })], true);
    const [ownRows, rows] = [lit(own), lit(predicted)];
    const bottom = rows[53]!.slice(5, 95);
    expect(ownRows[53]!.slice(5, 95)).toBe('#'.repeat(90));
    expect(bottom).toMatch(/^#{5}(\.{2,6}#{5})+$/);
    expect(
      rows
        .map((row) => row[5])
        .join('')
        .slice(18, 54),
    ).toMatch(/^#{5}(\.{2,6}#{5})+$/);
    expect(rows.slice(0, 18)).toEqual(ownRows.slice(0, 18));
  });

  test('that are too small for that are whole', () => {
    const small = black(100, 60);
    drawDetections(small, [detection({ box: { x: 0.1, y: 0.5, width: 0.06, height: 0.1 } })], true);
    expect(lit(small)[35]!.slice(10, 16)).toBe('######');
  });

  test('a canvas of another kind gets what a picture gets', () => {
    const picture = black(80, 60);
    const other = black(80, 60);
    const canvas = {
      width: 80,
      height: 60,
      fill: ({ left, top, right, bottom }: Rectangle, colour: Colour) => {
        for (let y = Math.max(0, top); y < Math.min(60, bottom); y++)
          for (let x = Math.max(0, left); x < Math.min(80, right); x++) other.data.set(colour, (y * 80 + x) * 3);
      },
    };
    for (const surface of [picture, canvas]) drawResult(surface, { pipeline: 'objects', detections: [detection()] });
    expect(other.data).toEqual(picture.data);
  });
});
