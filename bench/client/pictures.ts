import { seededRandom, type Random } from '../../src/base/random.ts';
import { toJpeg } from '../support/pictures.ts';

const WIDTH = 640;
const HEIGHT = 480;
const QUALITY = 75;
/** Pixels between two points of a layer, and how far they are from each other, of 255: soft shapes, with the grain of a sensor. */
const LAYERS = [
  { step: 80, height: 120 },
  { step: 16, height: 60 },
  { step: 1, height: 26 },
];

/** Pictures as large as a camera's: their content is no matter to a client, and so nothing has to be fetched. */
export function grainyPictures(count: number, seed: number): Uint8Array<ArrayBuffer>[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const data = new Uint8Array(WIDTH * HEIGHT * 3);
    const layers = LAYERS.map(({ step, height }) => layer(step, height, random));
    for (let y = 0, at = 0; y < HEIGHT; y += 1) {
      for (let x = 0; x < WIDTH; x += 1) {
        const value = layers.reduce((sum, valueAt) => sum + valueAt(x, y), 128);
        for (let colour = 0; colour < 3; colour += 1, at += 1) {
          data[at] = Math.max(0, Math.min(255, value + (colour - 1) * (x / 16)));
        }
      }
    }
    return toJpeg({ data, width: WIDTH, height: HEIGHT }, QUALITY);
  });
}

/** Random points on a grid, and a straight line between two of them. */
function layer(step: number, height: number, random: Random): (x: number, y: number) => number {
  const columns = Math.ceil(WIDTH / step) + 1;
  const points = Float32Array.from(
    { length: columns * (Math.ceil(HEIGHT / step) + 1) },
    () => (random() - 0.5) * height,
  );
  return (x, y) => {
    const [column, row] = [Math.floor(x / step), Math.floor(y / step)];
    const [right, down] = [(x % step) / step, (y % step) / step];
    const at = row * columns + column;
    const upper = points[at]! * (1 - right) + points[at + 1]! * right;
    const lower = points[at + columns]! * (1 - right) + points[at + columns + 1]! * right;
    return upper * (1 - down) + lower * down;
  };
}
