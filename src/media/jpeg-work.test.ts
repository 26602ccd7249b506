import { describe, expect, test } from 'vitest';
import {
  ARITHMETIC,
  ARITHMETIC_PROGRESSIVE,
  bombJpeg,
  BASELINE,
  costlyJpeg,
  DEAREST,
  FULL_COLOUR,
  LARGEST,
  type CostlyJpeg,
  type CostlyScan,
} from '../../test/support/costly-jpegs.ts';
import { JPEGS } from '../../test/support/jpegs.ts';
import { SightlineError } from '../base/errors.ts';
import { checkJpeg, decodeJpegRgbx, encodeJpeg, type ImageLimits, uprightJpegSize } from './jpeg.ts';
import { SCANS_MAX } from './jpeg-work.ts';

/** Those of a server by default: pictures of these tests are far smaller, and cost as much by their scans. */
const LIMITS: ImageLimits = { sideMax: 8192, pixelsMax: 33_554_432 };

const DC: CostlyScan = { of: [0], band: [0, 0] };
const AC: CostlyScan = { of: [0], band: [1, 63] };
const REFINING: CostlyScan = { of: [0], band: [1, 63], bits: [1, 0] };
const times = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

/** The code of the refusal, or the nominal cost of decoding. */
function verdict(jpeg: Uint8Array, limits = LIMITS): string | number {
  try {
    return checkJpeg(jpeg, limits).decodeMs;
  } catch (error) {
    return error instanceof SightlineError ? error.code : String(error);
  }
}

const verdictOf = (options: CostlyJpeg) => verdict(costlyJpeg(options));

describe('a picture that costs more than it weighs', () => {
  test('is refused before it is decoded: 100 kB in 630 scans', () => {
    const jpeg = bombJpeg(630);
    expect(jpeg.length).toBeLessThan(110_000);
    expect(() => checkJpeg(jpeg, LIMITS)).toThrow(`a 8192×4096 JPEG of more than ${SCANS_MAX} scans`);
    expect(verdict(jpeg)).toBe('FRAME_COSTLY');
  });

  test.each<[string, CostlyJpeg]>([
    ['scans over the limit of a small one', { width: 64, height: 64, scans: [DC, ...times(SCANS_MAX, AC)] }],
    ['scans of nothing, in one component', { ...LARGEST, scans: [DC, ...times(SCANS_MAX - 1, AC)] }],
    ['scans that refine', { ...LARGEST, scans: [DC, ...times(30, REFINING)] }],
    [
      'scans that refine in full colour',
      { ...LARGEST, sampling: FULL_COLOUR, scans: [0, 1, 2].flatMap((i) => times(6, { ...REFINING, of: [i] })) },
    ],
    [
      'DC of all components again and again',
      { ...LARGEST, sampling: FULL_COLOUR, scans: times(20, { of: [0, 1, 2], band: [0, 0], data: new Uint8Array(0) }) },
    ],
    [
      'one component again and again, sequential',
      { ...LARGEST, coding: BASELINE, sampling: FULL_COLOUR, scans: times(9, DC) },
    ],
    ['restarts after each block', { ...LARGEST, restartInterval: 1, scans: [DC, ...times(20, AC)] }],
    ['arithmetic codes', { ...LARGEST, coding: ARITHMETIC_PROGRESSIVE, scans: [DC, ...times(5, AC)] }],
    [
      'arithmetic codes that are dense',
      { ...LARGEST, coding: ARITHMETIC, scans: [{ of: [0], band: [0, 63], data: new Uint8Array(1_000_000) }] },
    ],
    ['a component that does not exist', { ...LARGEST, scans: [DC, ...times(90, { ...AC, of: [7] })] }],
  ])('is refused: %s', (_, options) => {
    expect(verdictOf(options)).toBe('FRAME_COSTLY');
  });

  test('just within the limit is let in', () => {
    expect(verdictOf(DEAREST)).toBeGreaterThan(590);
    expect(verdictOf({ ...DEAREST, scans: [...DEAREST.scans, REFINING] })).toBe('FRAME_COSTLY');
  });

  test('cannot hide its scans from the check', () => {
    const jpeg = costlyJpeg({ ...LARGEST, restartInterval: 1, scans: [DC, ...times(SCANS_MAX, AC)] });
    const second = jpeg.indexOf(Buffer.of(0xff, 0xda), jpeg.indexOf(Buffer.of(0xff, 0xda)) + 2);
    const hidden = (...bytes: number[]) =>
      verdict(Buffer.concat([jpeg.subarray(0, second), Buffer.from(bytes), jpeg.subarray(second)]));
    // A reserved marker with what looks like a length: a decoder that looks for a restart passes the marker alone.
    expect(hidden(0xff, 0x10, 0x7f, 0x00)).toBe('FRAME_COSTLY');
    // A restart marker, fill bytes, a length of nothing.
    expect(hidden(0xff, 0xd3)).toBe('FRAME_COSTLY');
    expect(hidden(0xff, 0xff, 0xff)).toBe('FRAME_COSTLY');
    expect(hidden(0xff, 0xe1, 0, 0)).toBe('FRAME_COSTLY');
    // Behind more notes than anybody reads.
    expect(hidden(...times(2_001, [0xff, 0xfe, 0, 2]).flat())).toBe('FRAME_COSTLY');
  });

  test('is measured by the limits on pixels: what a small limit refuses a large one allows', () => {
    const jpeg = costlyJpeg({ width: 1024, height: 1024, scans: [DC, ...times(60, REFINING)] });
    expect(verdict(jpeg)).toBeLessThan(100);
    expect(verdict(jpeg, { sideMax: 1024, pixelsMax: 1024 * 1024 })).toBe('FRAME_COSTLY');
  });

  test('of which libjpeg complains is not looked into where that takes too long', () => {
    // Refines what no scan before it has brought.
    const limits = { sideMax: 1024, pixelsMax: 1024 * 1024 };
    const decoding = (refinements: number) => {
      const scans = [DC, ...times(refinements, REFINING)];
      const jpeg = costlyJpeg({ width: 512, height: 512, scans });
      expect(verdict(jpeg, limits)).toBeLessThan(10);
      return () => decodeJpegRgbx(jpeg, new Uint8Array(512 * 512 * 4), limits);
    };
    expect(decoding(30)).toThrow('too costly to look into');
    expect(decoding(10)()).toMatchObject({ width: 512, height: 512 });
  });
});

test('a second frame header, whose size nobody has checked, takes no memory', () => {
  const jpeg = costlyJpeg({ width: 64, height: 64, scans: [DC, REFINING] });
  const huge = costlyJpeg({ width: 65_500, height: 65_500, scans: [DC] });
  const second = huge.subarray(huge.indexOf(Buffer.of(0xff, 0xc2)), huge.indexOf(Buffer.of(0xff, 0xc4)));
  const twice = Buffer.concat([jpeg.subarray(0, -2), second, jpeg.subarray(-2)]);
  expect(verdict(twice)).toBeLessThan(1);
  expect(() => decodeJpegRgbx(twice, new Uint8Array(64 * 64 * 4), LIMITS)).toThrow('is damaged');
});

describe('an ordinary picture', () => {
  const noise = (width: number, height: number) => {
    const data = new Uint8Array(width * height * 3).map((_, i) => (i * i * 7919) >> 5);
    return Uint8Array.from(encodeJpeg({ data, width, height }, 95));
  };

  test('of every kind is allowed, of the largest size too', () => {
    for (const jpeg of Object.values(JPEGS)) expect(verdict(jpeg)).toBeLessThan(1);
    const scans = [
      // libjpeg's own progression.
      { of: [0, 1, 2], band: [0, 0], bits: [0, 1] },
      { of: [0], band: [1, 5], bits: [0, 2] },
      { of: [2], band: [1, 63], bits: [0, 1] },
      { of: [1], band: [1, 63], bits: [0, 1] },
      { of: [0], band: [6, 63], bits: [0, 2] },
      { of: [0], band: [1, 63], bits: [2, 1] },
      { of: [0, 1, 2], band: [0, 0], bits: [1, 0] },
      { of: [2], band: [1, 63], bits: [1, 0] },
      { of: [1], band: [1, 63], bits: [1, 0] },
      { of: [0], band: [1, 63], bits: [1, 0] },
    ] as const;
    const progressive = verdictOf({ ...LARGEST, sampling: FULL_COLOUR, scans });
    const baseline = verdictOf({
      ...LARGEST,
      sampling: FULL_COLOUR,
      coding: BASELINE,
      scans: [{ of: [0, 1, 2], band: [0, 63] }],
    });
    expect(progressive).toBeLessThan(500);
    expect(baseline).toBeLessThan(120);
    expect(verdictOf({ ...LARGEST, coding: ARITHMETIC, scans: [{ of: [0], band: [0, 63] }] })).toBeLessThan(200);
  });

  test('costs by its size and its bytes', () => {
    const [small, large] = [verdict(noise(160, 120)) as number, verdict(noise(640, 480)) as number];
    expect(large / small).toBeGreaterThan(10);
    expect(large / small).toBeLessThan(20);
  });

  test('that has to be turned costs that besides, and a large one the memory for it', () => {
    const scans: CostlyScan[] = [{ of: [0], band: [0, 63] }];
    const costOf = (width: number, height: number, orientation: number) => {
      const jpeg = costlyJpeg({ width, height, coding: BASELINE, orientation, scans });
      return uprightJpegSize(jpeg, LIMITS).decodeMs - checkJpeg(jpeg, LIMITS).decodeMs;
    };
    expect([1, 3, 6].map((orientation) => costOf(1000, 1000, orientation))).toEqual([
      0,
      expect.closeTo(1.5),
      expect.closeTo(4),
    ]);
    const { width, height } = LARGEST;
    expect([1, 6].map((orientation) => Math.round(costOf(width, height, orientation)))).toEqual([84, 302]);
  });

  test('of one scan is not searched for further ones: libjpeg refuses them', () => {
    const one: CostlyScan = { of: [0], band: [0, 63] };
    const jpeg = costlyJpeg({ width: 640, height: 480, coding: BASELINE, scans: times(200, one) });
    expect(verdict(jpeg)).toBeLessThan(30);
    expect(() => decodeJpegRgbx(jpeg, new Uint8Array(640 * 480 * 4), LIMITS)).toThrow('libjpeg-turbo rejects');
  });
});
