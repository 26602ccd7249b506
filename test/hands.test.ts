import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Hand } from '../src/base/hand.ts';
import type { ResultContents } from '../src/base/result.ts';
import { OnnxEngine } from '../src/inference/engine/engine.ts';
import type { ProgramOutcome } from '../src/inference/engine/types.ts';
import { ModelRegistry } from '../src/inference/registry.ts';
import type { RgbPicture } from '../src/media/jpeg.ts';
import { HAND_MODELS, HANDS_PROGRAM } from '../src/pipelines/hands/call.ts';
import type { HandsSettings } from '../src/pipelines/hands/program.ts';
import { openVideo } from '../src/sources/file.ts';
import { rgbPicture } from './support/objects.ts';
import { photographFile, sharedFile } from './support/pictures.ts';

/** The hands program in real workers, on a painting and on people who sign. */

const cacheDir = fileURLToPath(new URL('../node_modules/.cache/sightline-test/models', import.meta.url));
const SETTINGS: HandsSettings = { detectionConfidence: 0.5, trackingConfidence: 0.5, maxHands: 2, smoothing: true };
const FRAME_MS = 33;

let engine: OnnxEngine;
let painting: RgbPicture;

beforeAll(async () => {
  const registry = new ModelRegistry({ cacheDir });
  // Two workers: the state of a hand goes from one to the other.
  engine = new OnnxEngine({ workers: 2, jobTimeoutMs: 60_000 });
  for (const { palm, landmarks } of HAND_MODELS) {
    await engine.load(await registry.resolve(palm));
    await engine.load(await registry.resolve(landmarks));
  }
  await using file = await openVideo(await photographFile('mona.png'));
  for await (const { data, width, height } of file) painting = { data: data.slice(), width, height };
}, 120_000);
afterAll(() => engine.close());

/** One source: its pictures follow each other, and the state of each goes in with the next. */
class Source {
  readonly #models: (typeof HAND_MODELS)[number];
  readonly #settings: HandsSettings;
  #state: unknown;
  #timeMs = 1_700_000_000_000;

  constructor(change: Partial<HandsSettings> = {}, complexity: 0 | 1 = 0) {
    this.#models = HAND_MODELS[complexity];
    this.#settings = { ...SETTINGS, ...change };
  }

  async look({ data, width, height }: RgbPicture, afterMs = FRAME_MS): Promise<readonly Hand[]> {
    this.#timeMs += afterMs;
    const [outcome] = engine.run({
      picture: rgbPicture(data, width, height),
      captureTimeMs: this.#timeMs,
      programs: [{ program: HANDS_PROGRAM, models: this.#models, settings: this.#settings, state: this.#state }],
    });
    const { result, state } = (await outcome!) as ProgramOutcome & { readonly result: ResultContents['hands'] };
    this.#state = state;
    return result.hands;
  }
}

/** Runs of a model since the engine started, in all workers. */
function runsOf(modelId: string): number {
  const { batch } = engine.stats().models.find(({ id }) => id === modelId)!;
  return Object.values(batch.runs).reduce((sum, runs) => sum + runs, 0);
}

const mapped = ({ width, height }: RgbPicture, from: (x: number, y: number) => number, of: RgbPicture): RgbPicture => {
  const data = new Uint8Array(width * height * 3).fill(128);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = from(x, y) * 3;
      if (at >= 0) data.set(of.data.subarray(at, at + 3), (y * width + x) * 3);
    }
  }
  return { data, width, height };
};
const upsideDown = (of: RgbPicture) => mapped(of, (x, y) => of.width * of.height - 1 - (y * of.width + x), of);
const mirrored = (of: RgbPicture) => mapped(of, (x, y) => y * of.width + of.width - 1 - x, of);
const cut = (of: RgbPicture, left: number, top: number, width: number, height: number) =>
  mapped({ data: of.data, width, height }, (x, y) => (y + top) * of.width + x + left, of);
const tiled = (of: RgbPicture, columns: number, rows: number) =>
  mapped(
    { data: of.data, width: of.width * columns, height: of.height * rows },
    (x, y) => (y % of.height) * of.width + (x % of.width),
    of,
  );
const grey = (width: number, height: number): RgbPicture => ({
  data: new Uint8Array(width * height * 3).fill(128),
  width,
  height,
});

/** Wrist, knuckle and tip of the middle finger in the painting, by eye. */
const PLACES = [
  [0, 0.33, 0.78],
  [9, 0.42, 0.815],
  [12, 0.55, 0.88],
] as const;

describe.each([0, 1] as const)('a hand on a poster, model complexity %i', (complexity) => {
  test('is found where it is, and is the one that it is', async () => {
    const [hand, ...others] = await new Source({}, complexity).look(painting);
    expect(others).toEqual([]);
    expect(hand).toMatchObject({ handedness: 'right', landmarks: { length: 21 }, world: { length: 21 } });
    expect(hand!.score).toBeGreaterThan(0.9);
    for (const [i, x, y] of PLACES) expectNear(hand!.landmarks[i]!, x, y);
    // From the wrist to the knuckle of a grown-up's middle finger it is 8 to 11 cm.
    const [wrist, knuckle] = [hand!.world[0]!, hand!.world[9]!];
    const palm = Math.hypot(wrist.x - knuckle.x, wrist.y - knuckle.y, wrist.z - knuckle.z);
    expect(palm).toBeGreaterThan(0.06);
    expect(palm).toBeLessThan(0.12);
    // The hand lies to the right and downward, in the world as in the picture.
    expect(knuckle.x).toBeGreaterThan(wrist.x);
    expect(knuckle.y).toBeGreaterThan(wrist.y);
  });

  test('upside down it is the same hand, in a mirror the other one', async () => {
    const [turned] = await new Source({}, complexity).look(upsideDown(painting));
    expect(turned!.handedness).toBe('right');
    for (const [i, x, y] of PLACES) expectNear(turned!.landmarks[i]!, 1 - x, 1 - y);
    const [left] = await new Source({}, complexity).look(mirrored(painting));
    expect(left!.handedness).toBe('left');
    for (const [i, x, y] of PLACES) expectNear(left!.landmarks[i]!, 1 - x, y);
  });

  test('at the border it is completed beyond it', async () => {
    // The picture begins between the wrist and the knuckles.
    const [hand] = await new Source({ detectionConfidence: 0.2 }, complexity).look(cut(painting, 190, 500, 300, 256));
    expect(hand!.handedness).toBe('right');
    expect(hand!.landmarks[0]!.x).toBeLessThan(0);
    expectNear(hand!.landmarks[12]!, (0.55 * 500 - 190) / 300, (0.88 * 756 - 500) / 256);
  });
});

describe('how many', () => {
  const six = () => tiled(cut(painting, 60, 500, 380, 256), 3, 2);

  test('of six hands as many as may be', async () => {
    expect(await new Source().look(six())).toHaveLength(2);
    expect(await new Source({ maxHands: 6 }).look(six())).toHaveLength(6);
    const source = new Source({ maxHands: 6 });
    for (let i = 0; i < 3; i++) expect(await source.look(six())).toHaveLength(6);
  });

  test('of none none, and palms are looked for in every picture', async () => {
    const source = new Source();
    const before = runsOf('palm-lite');
    for (let i = 0; i < 5; i++) expect(await source.look(grey(320, 240))).toEqual([]);
    expect(runsOf('palm-lite') - before).toBe(5);
  });
});

describe('from picture to picture', () => {
  let before: { palm: number; landmarks: number };
  const ran = () => ({ palm: runsOf('palm-lite') - before.palm, landmarks: runsOf('hand-lite') - before.landmarks });
  beforeEach(() => (before = { palm: runsOf('palm-lite'), landmarks: runsOf('hand-lite') }));

  test('a steady hand costs a run of the landmark model, and of the palm model in a tenth of its pictures', async () => {
    const source = new Source();
    for (let i = 0; i < 30; i++) expect(await source.look(painting)).toHaveLength(1);
    expect(ran()).toEqual({ palm: 3, landmarks: 30 });
    // Where one hand is enough, in none.
    const alone = new Source({ maxHands: 1 });
    for (let i = 0; i < 30; i++) await alone.look(painting);
    expect(ran()).toEqual({ palm: 4, landmarks: 60 });
  });

  test('a second hand that comes in is there within 15 pictures', async () => {
    const one = cut(painting, 60, 500, 380, 256);
    const beside = (second: RgbPicture) =>
      mapped(
        { data: one.data, width: 760, height: 256 },
        (x, y) => (x < 380 ? y * 380 + x : second === one ? y * 380 + x - 380 : -1),
        one,
      );
    const source = new Source();
    for (let i = 0; i < 5; i++) expect(await source.look(beside(painting))).toHaveLength(1);
    let pictures = 0;
    while ((await source.look(beside(one))).length < 2) expect(++pictures).toBeLessThan(15);
  });

  test('a hand that is gone is gone at once; one that is back is found at once', async () => {
    const source = new Source();
    await source.look(painting);
    expect(await source.look(grey(painting.width, painting.height))).toEqual([]);
    expect(await source.look(painting)).toHaveLength(1);
    expect(ran().palm).toBe(2);
  });

  test('a picture of another size goes on with the same hand', async () => {
    const source = new Source();
    const [hand] = await source.look(painting);
    const half = mapped(
      { data: painting.data, width: painting.width / 2, height: painting.height / 2 },
      (x, y) => 2 * y * painting.width + 2 * x,
      painting,
    );
    const [same] = await source.look(half);
    expectNear(same!.landmarks[9]!, hand!.landmarks[9]!.x, hand!.landmarks[9]!.y);
    expect(ran()).toEqual({ palm: 1, landmarks: 2 });
  });

  test('a state that comes back after a minute is not used', async () => {
    const source = new Source();
    await source.look(painting);
    await source.look(painting, 900);
    expect(ran().palm).toBe(1);
    expect(await source.look(painting, 60_000)).toHaveLength(1);
    expect(ran().palm).toBe(2);
  });
});

describe('people who sign', () => {
  const clip = sharedFile('media/asl/yes.mkv');
  test.skipIf(!clip)('both hands, each with its name (needs ../shared/media/asl/yes.mkv)', async () => {
    const source = new Source();
    const seen: (readonly Hand[])[] = [];
    const before = runsOf('palm-lite');
    await using video = await openVideo(clip!);
    for await (const { data, width, height } of video) seen.push(await source.look({ data, width, height }));
    // The left hand hangs down all the time; the right one comes up and nods.
    expect(seen.filter((hands) => hands.some(({ handedness }) => handedness === 'left')).length).toBe(seen.length);
    const both = seen.slice(30).filter((hands) => hands.some(({ handedness }) => handedness === 'right'));
    expect(both.length).toBeGreaterThan(20);
    // The person's right hand is on the left of the picture.
    for (const hands of both) {
      const of = (which: string) => hands.find(({ handedness }) => handedness === which)!.landmarks[0]!.x;
      expect(of('right')).toBeLessThan(of('left'));
    }
    expect(runsOf('palm-lite') - before).toBeLessThan(seen.length / 4);
  });
});

function expectNear(point: { readonly x: number; readonly y: number }, x: number, y: number): void {
  expect(Math.hypot(point.x - x, point.y - y), `(${point.x}, ${point.y}) near (${x}, ${y})`).toBeLessThan(0.06);
}
