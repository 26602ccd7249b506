import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FloatTensor } from '../types.ts';
import { CATALOGUE } from '../../inference/models/catalogue.ts';
import { placeRegion } from '../placement.ts';
import { readRegion } from './landmarks.ts';
import { cropOf, type HandRegion, turned } from './region.ts';

const PICTURE = { width: 640, height: 480 };
const { input } = CATALOGUE.find((m) => m.id === 'hand-lite')!;
const INPUT = input.width;

function read(said: Record<string, FloatTensor>, region: HandRegion) {
  const placement = placeRegion(input, cropOf(region, PICTURE), PICTURE.width, PICTURE.height);
  return readRegion(said, placement, region, PICTURE);
}

function outputs(
  points: readonly (readonly [number, number, number])[],
  { presence = 0.9, mirroredLeft = 0.8, world = points } = {},
): Record<string, FloatTensor> {
  const tensor = (values: readonly number[]) => ({ data: Float32Array.from(values), dims: [1, values.length] });
  return {
    Identity: tensor(points.flat()),
    Identity_1: tensor([presence]),
    Identity_2: tensor([mirroredLeft]),
    Identity_3: tensor(world.flat()),
  };
}

const all = (point: readonly [number, number, number]) => Array.from({ length: 21 }, () => point);

describe('landmarks of a region', () => {
  test('the middle of the input is the middle of the region; its corner is the corner', () => {
    const region = { x: 320, y: 240, size: 128, rotation: 0 };
    const points = [[112, 112, 0], [0, 0, 0], [224, 224, 0], ...all([112, 112, 0]).slice(3)] as const;
    const { hand } = read(outputs(points), region);
    expect(hand.landmarks).toHaveLength(21);
    expect(hand.landmarks[0]).toEqual({ x: 0.5, y: 0.5, z: 0 });
    expect(hand.landmarks[1]!.x).toBeCloseTo(256 / 640, 10);
    expect(hand.landmarks[1]!.y).toBeCloseTo(176 / 480, 10);
    expect(hand.landmarks[2]!.x).toBeCloseTo(384 / 640, 10);
  });

  test('a region turned by a quarter has its top at the right', () => {
    const region = { x: 320, y: 240, size: 100, rotation: Math.PI / 2 };
    const { hand } = read(outputs(all([112, 0, 0])), region);
    expect(hand.landmarks[0]!.x).toBeCloseTo(370 / 640, 10);
    expect(hand.landmarks[0]!.y).toBeCloseTo(240 / 480, 10);
  });

  test('depths are in the scale of x: pixels of the input through 0.4, then as the region is to the picture', () => {
    const region = { x: 0, y: 0, size: 64, rotation: 1 };
    const { hand } = read(outputs(all([0, 0, -22.4])), region);
    expect(hand.landmarks[0]!.z).toBeCloseTo((-0.1 / 0.4) * 0.1, 6);
  });

  test("the world's points are turned with the region and keep their lengths", () => {
    const world = all([0, -0.05, 0.02]);
    const region = { x: 320, y: 240, size: 100, rotation: Math.PI / 2 };
    const { hand } = read(outputs(all([0, 0, 0]), { world }), region);
    expect(hand.world[7]!.x).toBeCloseTo(0.05, 6);
    expect(hand.world[7]!.y).toBeCloseTo(0, 6);
    expect(hand.world[7]!.z).toBeCloseTo(0.02, 6);
  });

  test("a left hand of the mirrored picture that the model was made for is the person's right one", () => {
    const region = { x: 320, y: 240, size: 100, rotation: 0 };
    const say = (mirroredLeft: number) => read(outputs(all([0, 0, 0]), { mirroredLeft, presence: 0.25 }), region);
    expect(say(0.75)).toMatchObject({ presence: 0.25, hand: { handedness: 'right', score: 0.75 } });
    expect(say(0.25)).toMatchObject({ hand: { handedness: 'left', score: 0.75 } });
  });

  test('property: points go into the picture as the region lies, whatever it is', () => {
    const coordinate = fc.double({ min: -50, max: 274, noNaN: true });
    const region = fc.record({
      x: fc.double({ min: -200, max: 900, noNaN: true }),
      y: fc.double({ min: -200, max: 900, noNaN: true }),
      size: fc.double({ min: 1, max: 1000, noNaN: true }),
      rotation: fc.double({ min: -3.14, max: 3.14, noNaN: true }),
    });
    fc.assert(
      fc.property(coordinate, coordinate, region, (u, v, where) => {
        const { hand } = read(outputs(all([u, v, 0])), where);
        const { x, y } = hand.landmarks[3]!;
        // Back again: from the picture into the region's own axes.
        const back = turned({ x: x * PICTURE.width - where.x, y: y * PICTURE.height - where.y }, -where.rotation);
        expect((back.x / where.size + 0.5) * INPUT).toBeCloseTo(u, 2);
        expect((back.y / where.size + 0.5) * INPUT).toBeCloseTo(v, 2);
      }),
    );
  });

  test('tensors of another model are refused by name', () => {
    const region = { x: 320, y: 240, size: 100, rotation: 0 };
    const { Identity_3: _, ...without } = outputs(all([0, 0, 0]));
    expect(() => read(without, region)).toThrow('Identity_3 has no numbers where it has 63');
    const short = { ...outputs(all([0, 0, 0])), Identity: { data: new Float32Array(42), dims: [1, 42] } };
    expect(() => read(short, region)).toThrow('Identity has 42 numbers where it has 63');
  });
});
