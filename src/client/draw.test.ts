import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DrawingContext } from './draw.ts';
import { boxToPixels, colourOf, drawDetections, placeLabel } from './draw.ts';

/** A context that writes down what is drawn: text is 7 pixels a character wide. */
function recorder() {
  const calls: string[] = [];
  const context = {
    fillStyle: '',
    strokeStyle: '',
    lineWidth: 0,
    font: '',
    textBaseline: 'alphabetic',
    save: () => calls.push('save'),
    restore: () => calls.push('restore'),
    measureText: (text: string) => ({ width: text.length * 7 }),
    strokeRect: (...rect: number[]) => calls.push(`stroke ${context.strokeStyle} ${rect}`),
    fillRect: (...rect: number[]) => calls.push(`fill ${context.fillStyle} ${rect}`),
    fillText: (text: string, x: number, y: number) => calls.push(`text ${text} ${x},${y}`),
  };
  return { calls, context: context as unknown as DrawingContext };
}

describe('drawDetections', () => {
  const car = { label: 'Car', class_id: 1, score: 0.614, box: { x: 0.25, y: 0.5, width: 0.5, height: 0.25 } };
  const dog = { label: 'Dog', class_id: 2, score: 0.4, box: { x: 0, y: 0, width: 0.1, height: 0.1 } };

  test('a box, its label on top of it, in the colour of its class', () => {
    const { calls, context } = recorder();
    drawDetections(context, [car], { width: 400, height: 200 });
    expect(calls).toEqual([
      'save',
      'stroke rgb(0 0 0 / 45%) 101,101,198,48',
      `stroke ${colourOf(1)} 101,101,198,48`,
      `fill ${colourOf(1)} 100,82,66,18`,
      'text Car 61 % 105,92',
      'restore',
    ]);
  });

  test('the best detection comes last, on top of the others', () => {
    const { calls, context } = recorder();
    drawDetections(context, [car, dog], { width: 400, height: 200 });
    expect(calls.filter((call) => call.startsWith('text')).map((call) => call.split(' ')[1])).toEqual(['Dog', 'Car']);
  });
});

test('neighbouring classes differ in colour, and a class keeps its own', () => {
  expect(new Set([0, 1, 2, 3, 4, 5, 6].map(colourOf)).size).toBe(7);
  expect(colourOf(79)).toBe(colourOf(79));
});

test('property: boxes and labels stay inside the picture, in whole pixels', () => {
  const fraction = fc.double({ min: 0, max: 1, noNaN: true });
  const side = fc.integer({ min: 1, max: 2000 });
  fc.assert(
    fc.property(fraction, fraction, fraction, fraction, side, side, (x, y, width, height, areaWidth, areaHeight) => {
      const rect = boxToPixels({ x, y, width, height }, areaWidth, areaHeight);
      for (const value of Object.values(rect)) expect(Number.isInteger(value)).toBe(true);
      expect(rect.x >= 0 && rect.y >= 0 && rect.width >= 1 && rect.height >= 1).toBe(true);
      expect(rect.x + rect.width <= areaWidth && rect.y + rect.height <= areaHeight).toBe(true);
      const label = { width: Math.min(60, areaWidth), height: Math.min(18, areaHeight) };
      const place = placeLabel(rect, label, { width: areaWidth, height: areaHeight });
      expect(place.x >= 0 && place.x + label.width <= areaWidth).toBe(true);
      expect(place.y >= 0 && place.y + label.height <= areaHeight).toBe(true);
    }),
  );
});
