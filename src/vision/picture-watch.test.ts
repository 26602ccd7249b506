import { beforeAll, describe, expect, test } from 'vitest';
import {
  blurred,
  type Clip,
  crop,
  each,
  gaussian,
  loadClip,
  look,
  type Luma,
  paintWorld,
  PIXELS,
  type Rhythm,
  RHYTHMS,
  STRAIGHT,
  withNoise,
  WORLD,
} from '../../test/support/watch-scenes.ts';
import { withRepetitions } from '../../test/support/forms.ts';
import { sharedFile } from '../../test/support/pictures.ts';
import { type Random, seededRandom } from '../base/random.ts';
import { type PictureCondition, PictureWatch } from './picture-watch.ts';

const SEED = 20_260_301;
/** Many thousand pictures beside a busy neighbour. */
const PATIENT = { timeout: 120_000 };

/** What happens in front of the camera, and to it, from a time on; its picture then. */
type Cause = (random: Random) => (world: ArrayLike<number>, sinceS: number) => Luma;

const HAND = 'covered by a hand';
const CAUSES: Readonly<Record<string, readonly [PictureCondition, Cause]>> = {
  black: ['black', (random) => () => each(new Uint8Array(PIXELS), () => 16 + 1.5 * gaussian(random))],
  'black, with a caption': [
    'black',
    (random) => (_, sinceS) =>
      each(new Uint8Array(PIXELS), (_value, x, y) =>
        y === 1 && x > 2 && x < 18 ? 120 + 100 * ((x * 7 + (x === 17 ? Math.floor(sinceS) : 0)) % 2) : 16 + random(),
      ),
  ],
  'frozen, as coded again and again': [
    'frozen',
    (random) => {
      let last: Luma | undefined;
      return (world) => {
        last ??= crop(world);
        return each(last, (value) => value + (random() < 0.02 ? Math.sign(random() - 0.5) : 0));
      };
    },
  ],
  'frozen, with a clock that goes on': [
    'frozen',
    () => {
      let last: Luma | undefined;
      return (world, sinceS) => {
        last ??= crop(world);
        return each(last, (value, x, y) =>
          y === 1 && x > 50 && x < 56 ? 90 + ((Math.floor(sinceS) * 37 + x) % 90) : value,
        );
      };
    },
  ],
  [HAND]: [
    'covered',
    (random) => {
      const [across, down] = [6 * random(), 6 * random()];
      return () =>
        each(
          new Uint8Array(PIXELS),
          (_, x, y) =>
            70 + 45 * Math.sin(x / 18 + across) + 25 * Math.cos(y / 12 + x / 30 + down) + 0.6 * gaussian(random),
        );
    },
  ],
  'covered, white': ['covered', (random) => () => each(new Uint8Array(PIXELS), () => 235 + 0.7 * gaussian(random))],
  'covered, grey and noisy': [
    'covered',
    (random) => () => each(new Uint8Array(PIXELS), () => 110 + 3 * gaussian(random)),
  ],
  'covered by grease': ['covered', (random) => (world) => withNoise(blurred(crop(world), 2.5), 0.5, random)],
  'covered by spray': [
    'covered',
    (random) => (world) => each(blurred(crop(world), 4), (value) => 0.25 * value + 120 + 0.6 * gaussian(random)),
  ],
  'moved to the right': ['moved', () => (world) => crop(world, { x: STRAIGHT.x + 7, y: STRAIGHT.y })],
  'moved to the left': ['moved', () => (world) => crop(world, { x: STRAIGHT.x - 7, y: STRAIGHT.y })],
  'moved down': ['moved', () => (world) => crop(world, { x: STRAIGHT.x, y: STRAIGHT.y + 5 })],
  'moved aslant': ['moved', () => (world) => crop(world, { x: STRAIGHT.x + 6, y: STRAIGHT.y + 4 })],
};

interface Trial {
  /** In ms, from the beginning and from the end of the cause. */
  readonly foundAfterMs: number;
  readonly goneAfterMs: number;
  /** All that was said beside `ok`, `unknown` and what was wanted; and anything after it was over. */
  readonly wrong: readonly string[];
}

interface TrialOptions {
  readonly world: (timeS: number) => ArrayLike<number>;
  readonly cause: Cause;
  readonly wanted: PictureCondition;
  readonly rhythm: Rhythm;
  readonly random: Random;
  readonly fromMs: number;
  readonly plain?: (world: ArrayLike<number>) => Luma;
}

const LASTS_MS = 30_000;

function tryCause({ world, cause, wanted, rhythm, random, fromMs, plain = crop }: TrialOptions): Trial {
  const watch = new PictureWatch();
  const disturbed = cause(random);
  const wrong: string[] = [];
  let found = Infinity;
  let gone = Infinity;
  for (let timeMs = 0; timeMs < fromMs + 2 * LASTS_MS; timeMs += rhythm(random)) {
    const scene = world(timeMs / 1_000);
    const isOn = timeMs >= fromMs && timeMs < fromMs + LASTS_MS;
    const condition = watch.see(isOn ? disturbed(scene, (timeMs - fromMs) / 1_000) : plain(scene), timeMs);
    if (isOn && condition === wanted) found = Math.min(found, timeMs - fromMs);
    else if (timeMs >= fromMs + LASTS_MS && condition === 'ok') gone = Math.min(gone, timeMs - fromMs - LASTS_MS);
    else if (condition !== 'ok' && condition !== 'unknown' && (condition !== wanted || gone < Infinity)) {
      wrong.push(`${condition} at ${((timeMs - fromMs) / 1_000).toFixed(1)} s`);
    }
  }
  return { foundAfterMs: found, goneAfterMs: gone, wrong };
}

/** All that is said, once each, with its time. */
function conditionsOf(
  picture: (timeS: number) => Luma,
  { rhythm, random, forS }: { readonly rhythm: Rhythm; readonly random: Random; readonly forS: number },
): string[] {
  const watch = new PictureWatch();
  const said: string[] = [];
  let last: PictureCondition | undefined;
  for (let timeMs = 0; timeMs < forS * 1_000; timeMs += rhythm(random)) {
    const condition = watch.see(picture(timeMs / 1_000), timeMs);
    if (condition !== last) said.push(condition);
    last = condition;
  }
  return said;
}

const [irregular, ...others] = Object.entries(RHYTHMS).toReversed();
const rhythms = withRepetitions([irregular!], others);
const places = withRepetitions([0], [1, 2]);

describe.each(rhythms)(`painted scenes, %s, seed ${SEED}`, PATIENT, (_, rhythm) => {
  const worlds = [0, 1, 2].map((place) => paintWorld({ random: seededRandom(SEED + place) }));
  const scenes = places.map((place) => worlds[place]!);

  /** The picture of a scene: light that falls on it, and the noise of a sensor. */
  const shoot = (
    world: ArrayLike<number>,
    random: Random,
    { gain = 220, offset = 10, sigma = 0.6, at = STRAIGHT } = {},
  ) => each(look(world, at), (albedo) => albedo * gain + offset + sigma * gaussian(random));

  test.each(Object.entries(CAUSES))('%s', (_name, [wanted, cause]) => {
    for (const [place, world] of scenes.entries()) {
      const random = seededRandom(SEED + 100 + place);
      // As the sensor has it: with its noise.
      const seen = () => {
        const lit = new Uint8ClampedArray(world.length);
        for (let at = 0; at < lit.length; at += 1) lit[at] = world[at]! * 220 + 10 + 0.6 * gaussian(random);
        return lit;
      };
      const trial = tryCause({ world: seen, cause, wanted, rhythm, random, fromMs: 40_000 + 4_000 * random() });
      expect(trial.foundAfterMs, `scene ${place}`).toBeLessThanOrEqual(15_000);
      expect(trial.goneAfterMs, `scene ${place}`).toBeLessThanOrEqual(15_000);
      expect(trial.wrong, `scene ${place}`).toEqual([]);
    }
  });

  type Life = (world: ArrayLike<number>, random: Random) => (timeS: number) => Luma;

  /** A thing of its own brightness and texture, in the picture. */
  const put = (picture: Luma, left: number, top: number, width: number, height: number, luma: number) =>
    each(picture, (value, x, y) =>
      x >= left && x < left + width && y >= top && y < top + height
        ? luma + (Math.floor((x - left) / 3) % 2 === 0 && Math.floor((y - top) / 4) % 2 === 0 ? 25 : 0)
        : value,
    );

  const LIVES: Readonly<Record<string, Life>> = {
    'nothing but noise of the sensor': (world, random) => () => shoot(world, random),
    'little noise, as a good camera has it': (world, random) => () => shoot(world, random, { sigma: 0.25 }),
    'dawn and dusk': (world, random) => (timeS) => {
      const light = 0.55 - 0.45 * Math.cos((2 * Math.PI * timeS) / 900);
      return shoot(world, random, { gain: 220 * light, offset: 12 + 20 * light });
    },
    clouds: (world, random) => (timeS) =>
      shoot(world, random, { gain: 150 + 60 * Math.sin(timeS / 17) + 20 * Math.sin(timeS / 5), offset: 15 }),
    'lamps on and off': (world, random) => (timeS) => {
      const isOn = Math.floor(timeS / 47) % 2 === 0;
      // One of two lamps, at one side.
      return each(shoot(world, random, { gain: isOn ? 200 : 70, offset: 10 }), (value, x) =>
        isOn ? value * (1.2 - x / 160) : value,
      );
    },
    'automatic exposure': (world, random) => (timeS) => {
      // Every 40 s a bright thing comes, all else gets dark, and comes back within two seconds.
      const sinceS = timeS % 40;
      const dark = sinceS < 20 ? 1 - Math.exp(-sinceS) : Math.exp(20 - sinceS);
      const lit = shoot(world, random, { gain: 220 * (1 - 0.7 * dark), offset: 8 });
      return sinceS < 20 ? put(lit, 24, 12, 14, 14, 230) : lit;
    },
    'the noise of a night': (world, random) => () => shoot(world, random, { gain: 90, offset: 18, sigma: 6 }),
    rain: (world, random) => () =>
      each(shoot(world, random, { gain: 140, offset: 30 }), (value) => value + (random() < 0.08 ? 40 * random() : 0)),
    'people who walk': (world, random) => (timeS) => {
      let picture = shoot(world, random);
      for (let person = 0; person < 4; person += 1) {
        const x = ((timeS * (2 + person) + 20 * person) % 84) - 10;
        picture = put(picture, Math.round(x), 8 + 4 * person, 6, 15, 40 + 50 * person);
      }
      return picture;
    },
    'a truck that passes': (world, random) => (timeS) =>
      put(shoot(world, random), Math.round(((timeS % 40) - 10) * 12), 2, 60, 32, 90),
    'a truck that stands there for 10 s': (world, random) => (timeS) => {
      const isThere = timeS % 60 > 50;
      return isThere ? put(shoot(world, random), 5, 0, 55, 34, 140) : shoot(world, random);
    },
    'a truck that stays': (world, random) => (timeS) =>
      timeS > 60 ? put(shoot(world, random), 4, 4, 36, 28, 140) : shoot(world, random),
    wind: (world, random) => () =>
      shoot(world, random, {
        at: { x: STRAIGHT.x + Math.round(2 * random() - 1), y: STRAIGHT.y + Math.round(random()) },
      }),
  };

  test.each(Object.entries(LIVES))('nothing is wrong: %s', (_name, life) => {
    for (const [place, world] of scenes.entries()) {
      const random = seededRandom(SEED + 200 + place);
      expect(conditionsOf(life(world, random), { rhythm, random, forS: 400 }), `scene ${place}`).toEqual([
        'unknown',
        'ok',
      ]);
    }
  });

  test('a camera that goes to and fro is moved for a minute, and no more', () => {
    for (const [place, world] of scenes.entries()) {
      const random = seededRandom(SEED + 300 + place);
      const turning = (timeS: number) =>
        shoot(world, random, {
          at: Math.floor(timeS / 90) % 2 === 0 ? STRAIGHT : { x: STRAIGHT.x - 8, y: STRAIGHT.y + 3 },
        });
      expect(conditionsOf(turning, { rhythm, random, forS: 1_200 }), `scene ${place}`).toEqual([
        'unknown',
        'ok',
        'moved',
        'ok',
      ]);
    }
  });

  test('a camera that stays for less than a minute is moved until it was there for a minute in all', () => {
    for (const [place, world] of scenes.entries()) {
      const random = seededRandom(SEED + 400 + place);
      const turning = (timeS: number) =>
        shoot(world, random, {
          at: Math.floor(timeS / 30) % 2 === 0 ? STRAIGHT : { x: STRAIGHT.x + 8, y: STRAIGHT.y },
        });
      const said = conditionsOf(turning, { rhythm, random, forS: 1_200 });
      expect(said.filter((condition) => condition === 'moved').length, `scene ${place}`).toBeLessThanOrEqual(3);
      expect(new Set(said)).toEqual(new Set(['unknown', 'ok', 'moved']));
      expect(said.at(-1)).toBe('ok');
    }
  });

  test('a camera that is turned to another place altogether, and back', () => {
    const random = seededRandom(SEED + 500);
    const turned = (timeS: number) => shoot(timeS > 60 && timeS < 110 ? worlds[1]! : worlds[0]!, random);
    expect(conditionsOf(turned, { rhythm, random, forS: 200 })).toEqual(['unknown', 'ok', 'moved', 'ok']);
  });

  test('a camera that never comes to rest is one that pans', () => {
    const random = seededRandom(SEED + 600);
    const wide = paintWorld({ random, things: 300, width: 600 });
    const panning = (timeS: number) => {
      // Still for a minute; then it sweeps.
      const x = timeS < 60 ? 0 : Math.round(250 - 250 * Math.cos((timeS - 60) / 20));
      return shoot(cut(wide, 600, x), random);
    };
    const said = conditionsOf(panning, { rhythm, random, forS: 1_800 });
    // Whenever it leaves the place where it was still, until that were five minutes in all.
    expect(said.filter((condition) => condition === 'moved').length).toBeLessThanOrEqual(6);
    expect(new Set(said)).toEqual(new Set(['unknown', 'ok', ...said.filter((condition) => condition === 'moved')]));
    expect(said.at(-1)).toBe('ok');
  });
});

/** A part of a wide world. */
function cut(wide: Float64Array, width: number, left: number): Float64Array {
  return Float64Array.from({ length: WORLD.width * WORLD.height }, (_, at) => {
    return wide[Math.floor(at / WORLD.width) * width + left + (at % WORLD.width)]!;
  });
}

describe('one picture after the other', () => {
  const random = seededRandom(SEED);
  const world = paintWorld({ random });
  const nothing = () => new Uint8Array(PIXELS);
  const picture = () => each(look(world), (albedo) => albedo * 220 + gaussian(random));

  test('a picture without noise stands still, and that is all that can be seen of it', () => {
    const still = picture();
    expect(conditionsOf(() => still, { rhythm: () => 2_000, random, forS: 60 })).toEqual(['unknown', 'ok', 'frozen']);
  });

  test('a slide show stands still between its pictures', () => {
    const slides = [0, 1, 2].map(() => picture());
    const said = conditionsOf((timeS) => slides[Math.floor(timeS / 12) % 3]!, {
      rhythm: () => 1_000,
      random,
      forS: 60,
    });
    expect(said).toEqual(['unknown', 'ok', 'frozen']);
  });

  test('what is grey from the beginning is covered; what is black, black', () => {
    const grey = () => each(nothing(), () => 120 + gaussian(random));
    expect(conditionsOf(grey, { rhythm: () => 2_000, random, forS: 60 })).toEqual(['unknown', 'ok', 'covered']);
    expect(conditionsOf(nothing, { rhythm: () => 2_000, random, forS: 60 })).toEqual(['unknown', 'ok', 'black']);
  });

  test('black for 5 s is seen in pictures every 2 s', () => {
    for (const fromS of [60, 60.5, 61, 61.5]) {
      const blink = (timeS: number) => (timeS >= fromS && timeS < fromS + 5 ? nothing() : picture());
      const said = conditionsOf(blink, { rhythm: () => 2_000, random, forS: 100 });
      expect(said).toEqual(['unknown', 'ok', 'black', 'ok']);
    }
  });

  test('black beats covered, covered beats frozen, frozen beats moved', () => {
    const watch = new PictureWatch();
    let timeMs = 0;
    const show = (luma: () => Luma, forMs: number) => {
      let condition: PictureCondition = 'unknown';
      for (const endMs = timeMs + forMs; timeMs < endMs; timeMs += 1_000) condition = watch.see(luma(), timeMs);
      return condition;
    };
    expect(show(picture, 60_000)).toBe('ok');
    const away = each(look(world, { x: STRAIGHT.x + 8, y: STRAIGHT.y }), (albedo) => albedo * 220);
    expect(show(() => withNoise(away, 1, random), 20_000)).toBe('moved');
    expect(show(() => away, 20_000)).toBe('frozen');
    const grey = each(nothing(), () => 120);
    expect(show(() => grey, 20_000)).toBe('covered');
    expect(show(nothing, 20_000)).toBe('black');
    expect(show(picture, 15_000)).toBe('ok');
  });

  test('a silence proves nothing', () => {
    const watch = new PictureWatch();
    const still = picture();
    watch.see(still, 0);
    // As after a reconnection.
    expect(watch.see(still, 3_600_000)).toBe('ok');
  });

  test.each([0, 100, PIXELS - 1, PIXELS + 1])('a picture of %i pixels is refused', (pixels) => {
    expect(() => new PictureWatch().see(new Uint8Array(pixels), 0)).toThrow(/2304/);
  });

  test('times that stand, go back or are none', () => {
    const watch = new PictureWatch();
    for (const timeMs of [1_000, 1_000, 500, NaN, -Infinity, Infinity, 2_000]) {
      expect(['unknown', 'ok']).toContain(watch.see(picture(), timeMs));
    }
  });
});

const SIGNS = ['again', 'book', 'eat', 'help', 'milk', 'no', 'please', 'thanks', 'want', 'yes'];
const FILES = withRepetitions(
  [['cars', 'media/car-detection.mp4']],
  [
    ['people', 'media/one-by-one-person-detection.mp4'],
    ...SIGNS.map((sign): [string, string] => [sign, `media/asl/${sign}.mkv`]),
  ],
);

describe.each(FILES)(`the clip %s, looped, seed ${SEED}`, PATIENT, (_name, path) => {
  const file = sharedFile(path);
  let clip: Clip;
  beforeAll(async () => {
    if (file) clip = await loadClip(file);
  }, PATIENT.timeout);

  test.skipIf(!file).each(rhythms)(`nothing is wrong in an hour, %s (needs ../shared/${path})`, (_rhythm, rhythm) => {
    const picture = (timeS: number) => crop(clip.at(timeS));
    expect(conditionsOf(picture, { rhythm, random: seededRandom(SEED), forS: 3_600 })).toEqual(['unknown', 'ok']);
  });

  // There a person fills half of the picture and steps aside by as much as the camera is turned: no picture tells which of them moves.
  const isClose = /(no|yes)\.mkv$/.test(path);
  const causes = Object.entries(CAUSES).filter(([, [wanted]]) => wanted !== 'moved' || !isClose);

  test.skipIf(!file).each(causes)(`%s (needs ../shared/${path})`, (_cause, [wanted, cause]) => {
    for (const [name, rhythm] of rhythms) {
      for (const place of places) {
        const random = seededRandom(SEED + place);
        const fromMs = 90_000 + (clip.durationS * 1_000 * place) / 3 + 4_000 * random();
        const trial = tryCause({ world: clip.at, cause, wanted, rhythm, random, fromMs });
        expect(trial.foundAfterMs, `${name}, ${place}`).toBeLessThanOrEqual(15_000);
        expect(trial.goneAfterMs, `${name}, ${place}`).toBeLessThanOrEqual(15_000);
        expect(trial.wrong, `${name}, ${place}`).toEqual([]);
      }
    }
  });
});
