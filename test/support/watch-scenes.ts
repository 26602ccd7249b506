import { type Random, seededRandom } from '../../src/base/random.ts';
import { openVideo } from '../../src/sources/file.ts';
import { WATCH_SIZE } from '../../src/vision/picture-structure.ts';

/** Small grey pictures of scenes, painted and filmed, for tests of what a watch says of them. */

const { width: WIDTH, height: HEIGHT } = WATCH_SIZE;
export const PIXELS = WIDTH * HEIGHT;

/** What a camera could see if it turned: larger than its picture by an eighth of that on each side. */
export const WORLD = { width: 80, height: 45 };
export const STRAIGHT = { x: 8, y: 4 };

export type Luma = Uint8Array;

/** Drawn once: pictures need millions of them. */
const GAUSSIANS = Float32Array.from(
  { length: 1 << 16 },
  ((random) => () => {
    return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  })(seededRandom(1)),
);

export function gaussian(random: Random): number {
  return GAUSSIANS[Math.floor(random() * GAUSSIANS.length)]!;
}

/** The part of a world that the camera looks at. */
export function look(world: ArrayLike<number>, { x: left, y: top } = STRAIGHT): Float64Array {
  const part = new Float64Array(PIXELS);
  let at = 0;
  for (let y = top; y < top + HEIGHT; y += 1) {
    for (let x = left; x < left + WIDTH; x += 1, at += 1) part[at] = world[y * WORLD.width + x]!;
  }
  return part;
}

export const crop = (world: ArrayLike<number>, at = STRAIGHT): Luma =>
  new Uint8Array(new Uint8ClampedArray(look(world, at)).buffer);

export function each(picture: ArrayLike<number>, change: (value: number, x: number, y: number) => number): Luma {
  const changed = new Uint8ClampedArray(PIXELS);
  let at = 0;
  for (let y = 0; y < HEIGHT; y += 1) {
    for (let x = 0; x < WIDTH; x += 1, at += 1) changed[at] = change(picture[at]!, x, y);
  }
  return new Uint8Array(changed.buffer);
}

export const withNoise = (picture: Luma, sigma: number, random: Random): Luma =>
  each(picture, (value) => value + sigma * gaussian(random));

/** By a Gaussian, as of a lens that something lies on. */
export function blurred(picture: Luma, sigma: number): Luma {
  const radius = Math.ceil(3 * sigma);
  const weights = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * sigma ** 2)));
  const total = weights.reduce((sum, weight) => sum + weight);
  const across = new Float64Array(PIXELS);
  for (let at = 0; at < PIXELS; at += 1) {
    const x = at % WIDTH;
    for (let by = -radius; by <= radius; by += 1) {
      across[at]! += (weights[by + radius]! / total) * picture[at - x + inside(x + by, WIDTH)]!;
    }
  }
  return each(across, (_, x, y) => {
    let sum = 0;
    for (let by = -radius; by <= radius; by += 1) {
      sum += (weights[by + radius]! / total) * across[inside(y + by, HEIGHT) * WIDTH + x]!;
    }
    return sum;
  });
}

const inside = (value: number, size: number) => Math.max(0, Math.min(size - 1, value));

export interface SyntheticOptions {
  readonly random: Random;
  /** Things in it: each has edges. */
  readonly things?: number;
  readonly width?: number;
}

/** Surfaces of different brightness with edges, some of them textured; from 0 to 1 by how much light they throw back. */
export function paintWorld({ random, things = 30, width = WORLD.width }: SyntheticOptions): Float64Array {
  const world = new Float64Array(width * WORLD.height).fill(0.4);
  for (let thing = 0; thing < things; thing += 1) {
    const left = Math.floor(random() * width);
    const top = Math.floor(random() * WORLD.height);
    const right = Math.min(width, left + 2 + Math.floor(random() * 18));
    const bottom = Math.min(WORLD.height, top + 2 + Math.floor(random() * 14));
    const albedo = 0.1 + 0.7 * random();
    const texture = random() < 0.3 ? 0.12 : 0;
    for (let y = top; y < bottom; y += 1) {
      for (let x = left; x < right; x += 1) world[y * width + x] = albedo + texture * (random() - 0.5);
    }
  }
  return world;
}

export interface Clip {
  readonly durationS: number;
  /** The world on screen at a time; the clip begins anew at its end. */
  readonly at: (timeS: number) => ArrayLike<number>;
}

/** Decoded once, in small. */
export async function loadClip(path: string): Promise<Clip> {
  await using file = await openVideo(path, { sideMax: 320 });
  const worlds: Uint8Array[] = [];
  const startsS: number[] = [];
  for await (const { data, width, height, ptsS } of file) {
    worlds.push(shrink(data, width, height));
    startsS.push(ptsS);
  }
  const durationS = startsS.at(-1)! + 1 / file.info.rateFps;
  const at = (timeS: number) => {
    const inClipS = timeS % durationS;
    const next = startsS.findIndex((startS) => startS > inClipS);
    return worlds.at(next - 1)!;
  };
  return { durationS, at };
}

/** Where one of so many equal parts begins. */
function edge(index: number, parts: number, size: number): number {
  return Math.floor((index * size) / parts);
}

/** Each pixel is the mean of those that it covers. */
function shrink(rgb: Uint8Array, width: number, height: number): Uint8Array {
  const world = new Uint8Array(WORLD.width * WORLD.height);
  for (let y = 0; y < WORLD.height; y += 1) {
    for (let x = 0; x < WORLD.width; x += 1) {
      let sum = 0;
      let count = 0;
      for (let row = edge(y, WORLD.height, height); row < edge(y + 1, WORLD.height, height); row += 1) {
        for (let column = edge(x, WORLD.width, width); column < edge(x + 1, WORLD.width, width); column += 1) {
          const at = (row * width + column) * 3;
          sum += 0.299 * rgb[at]! + 0.587 * rgb[at + 1]! + 0.114 * rgb[at + 2]!;
          count += 1;
        }
      }
      world[y * WORLD.width + x] = Math.round(sum / count);
    }
  }
  return world;
}

export type Rhythm = (random: Random) => number;
/** Milliseconds from one picture to the next. */
export const RHYTHMS: Readonly<Record<string, Rhythm>> = {
  'every 0.5 s': () => 500,
  'every 2 s': () => 2_000,
  'every 4 s': () => 4_000,
  'every 0.5 to 4 s': (random) => 500 + 3_500 * random(),
};
