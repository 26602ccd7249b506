import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HAND_CONNECTIONS, type Hand } from '../base/hand.ts';
import type { DrawingContext } from './draw.ts';
import { boxToPixels, colourOf, drawDetections, drawHands, placeLabel } from './draw.ts';

/** A context that writes down what is drawn: text is 7 pixels a character wide. */
function recorder() {
  const calls: string[] = [];
  const context = {
    fillStyle: '',
    strokeStyle: '',
    lineWidth: 0,
    font: '',
    textBaseline: 'alphabetic',
    lineCap: 'butt',
    save: () => calls.push('save'),
    restore: () => calls.push('restore'),
    measureText: (text: string) => ({ width: text.length * 7 }),
    strokeRect: (...rect: number[]) => calls.push(`stroke ${context.strokeStyle} ${rect}`),
    fillRect: (...rect: number[]) => calls.push(`fill ${context.fillStyle} ${rect}`),
    beginPath: () => calls.push('begin'),
    moveTo: (x: number, y: number) => calls.push(`move ${x},${y}`),
    lineTo: (x: number, y: number) => calls.push(`line ${x},${y}`),
    arc: (x: number, y: number) => calls.push(`arc ${x},${y}`),
    stroke: () => calls.push(`stroke ${context.strokeStyle} ${context.lineWidth}`),
    fill: () => calls.push(`fill ${context.fillStyle}`),
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

describe('drawHands', () => {
  const hand = (handedness: Hand['handedness']): Hand => ({
    handedness,
    score: 0.9,
    landmarks: Array.from({ length: 21 }, (_, i) => ({ x: i / 32, y: 0.5, z: 0 })),
    world: [],
  });

  test('each connection once, in one path; then a dot for each landmark', () => {
    const { calls, context } = recorder();
    drawHands(context, [hand('left')], { width: 320, height: 100, scale: 2 });
    const moves = calls.filter((call) => call.startsWith('move'));
    expect(moves).toEqual(HAND_CONNECTIONS.map(([from]) => `move ${from * 10},50`));
    expect(calls.filter((call) => call.startsWith('line'))).toEqual(
      HAND_CONNECTIONS.map(([, to]) => `line ${to * 10},50`),
    );
    expect(calls.filter((call) => call.startsWith('stroke'))).toEqual([
      'stroke rgb(0 0 0 / 45%) 10',
      'stroke rgb(230 159 0) 6',
    ]);
    expect(calls.filter((call) => call.startsWith('arc'))).toHaveLength(21);
    expect([calls[0], calls.at(-1)]).toEqual(['save', 'restore']);
  });

  test('left and right have colours of their own; without hands nothing is drawn', () => {
    const { calls, context } = recorder();
    drawHands(context, [hand('left'), hand('right')], { width: 200, height: 100 });
    expect(new Set(calls.filter((call) => call.startsWith('stroke'))).size).toBe(3);
    const none = recorder();
    drawHands(none.context, [], { width: 200, height: 100 });
    expect(none.calls).toEqual(['save', 'restore']);
  });
});

test('the skeleton joins all landmarks, each pair once', () => {
  expect(new Set(HAND_CONNECTIONS.map(([from, to]) => [from, to].toSorted((a, b) => a - b).join('-'))).size).toBe(21);
  const reached = new Set([0]);
  for (let i = 0; i < 21; i++) {
    for (const [from, to] of HAND_CONNECTIONS) if (reached.has(from) || reached.has(to)) reached.add(from).add(to);
  }
  expect(reached.size).toBe(21);
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
