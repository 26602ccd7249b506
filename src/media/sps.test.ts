import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { codecStringOf, readSps } from './sps.ts';
import type { SequenceFacts } from './sps.ts';

/** Writes what the standards' tables of syntax say, field by field. */
class BitWriter {
  readonly #bits: number[] = [];

  u(count: number, value: number): this {
    for (let bit = count - 1; bit >= 0; bit -= 1) this.#bits.push(Math.floor(value / 2 ** bit) % 2);
    return this;
  }

  ue(...values: readonly number[]): this {
    for (const value of values) {
      const bits = Math.floor(Math.log2(value + 1));
      this.u(bits, 0).u(bits + 1, value + 1);
    }
    return this;
  }

  se(...values: readonly number[]): this {
    return this.ue(...values.map((value) => (value > 0 ? 2 * value - 1 : -2 * value)));
  }

  /** With the header before it, and an emulation of a start code prevented. */
  unit(header: readonly number[]): Uint8Array {
    this.u(1, 1);
    while (this.#bits.length % 8 > 0) this.#bits.push(0);
    const bytes = Array.from({ length: this.#bits.length / 8 }, (_, i) =>
      this.#bits.slice(8 * i, 8 * i + 8).reduce((sum, bit) => 2 * sum + bit, 0),
    );
    const out: number[] = [...header];
    for (const byte of bytes) {
      if (byte <= 3 && out.at(-1) === 0 && out.at(-2) === 0) out.push(3);
      out.push(byte);
    }
    return Uint8Array.from(out);
  }
}

interface H264 {
  readonly profile?: number;
  readonly widthUnits?: number;
  readonly heightUnits?: number;
  readonly isInterlaced?: boolean;
  readonly crop?: readonly [left: number, right: number, top: number, bottom: number];
  /** Chroma format, bits of luma and chroma above 8; left out: the profile has none. */
  readonly chroma?: readonly [format: number, luma: number, chroma: number];
  readonly separatePlanes?: boolean;
  /** Writes the flags and lists. */
  readonly scaling?: (bits: BitWriter) => void;
  readonly order?: (bits: BitWriter) => void;
  readonly vui?: (bits: BitWriter) => void;
}

function h264(options: H264 = {}): Uint8Array {
  const { profile = 66, widthUnits = 20, heightUnits = 12, isInterlaced = false, crop, chroma, scaling, vui } = options;
  const bits = new BitWriter().u(8, profile).u(8, 0xc0).u(8, 30).ue(0);
  if (chroma) {
    bits.ue(chroma[0]);
    if (chroma[0] === 3) bits.u(1, options.separatePlanes ? 1 : 0);
    bits.ue(chroma[1], chroma[2]).u(1, 0);
    bits.u(1, scaling ? 1 : 0);
    scaling?.(bits);
  }
  bits.ue(0);
  if (options.order) options.order(bits);
  else bits.ue(0, 2);
  bits.ue(4).u(1, 0);
  bits.ue(widthUnits - 1, heightUnits - 1);
  bits.u(1, isInterlaced ? 0 : 1);
  if (isInterlaced) bits.u(1, 1);
  bits.u(1, 1);
  bits.u(1, crop ? 1 : 0);
  if (crop) bits.ue(...crop);
  bits.u(1, vui ? 1 : 0);
  vui?.(bits);
  return bits.unit([0x67]);
}

interface Hevc {
  readonly layersAbove?: number;
  readonly chromaFormat?: number;
  readonly size?: readonly [number, number];
  readonly crop?: readonly [number, number, number, number];
  readonly bits?: number;
  readonly scaling?: (bits: BitWriter) => void;
  readonly hasPcm?: boolean;
  readonly references?: (bits: BitWriter) => void;
  readonly longTerm?: number;
  readonly vui?: (bits: BitWriter) => void;
}

function hevc(options: Hevc = {}): Uint8Array {
  const { layersAbove = 0, chromaFormat = 1, size = [320, 184], crop, bits: depth = 8, longTerm = 0 } = options;
  const bits = new BitWriter().u(4, 0).u(3, layersAbove).u(1, 1);
  bits.u(8, 0x01).u(32, 0x60000000).u(8, 0x90).u(32, 0).u(8, 0).u(8, 93);
  // A profile and a level of the first layer, a level of the others.
  const told = (layer: number) => (layer >= layersAbove ? 0 : layer === 0 ? 3 : 1);
  for (let layer = 0, layers = layersAbove > 0 ? 8 : 0; layer < layers; layer += 1) bits.u(2, told(layer));
  for (let layer = 0; layer < layersAbove; layer += 1) bits.u(layer ? 8 : 96, 0x55);
  bits.ue(0, chromaFormat);
  if (chromaFormat === 3) bits.u(1, 0);
  bits.ue(...size).u(1, crop ? 1 : 0);
  if (crop) bits.ue(...crop);
  bits.ue(depth - 8, depth - 8, 4);
  bits.u(1, 1);
  for (let layer = 0; layer <= layersAbove; layer += 1) bits.ue(4, 2, 0);
  bits.ue(0, 3, 0, 3, 1, 1);
  bits.u(1, options.scaling ? 1 : 0);
  options.scaling?.(bits);
  bits.u(2, 1).u(1, options.hasPcm ? 1 : 0);
  if (options.hasPcm) bits.u(8, 0x77).ue(0, 2).u(1, 1);
  if (options.references) options.references(bits);
  else bits.ue(0);
  bits.u(1, longTerm > 0 ? 1 : 0);
  if (longTerm > 0) bits.ue(longTerm);
  for (let i = 0; i < longTerm; i += 1) bits.u(8, 3 * i).u(1, 1);
  bits.u(2, 3).u(1, options.vui ? 1 : 0);
  options.vui?.(bits);
  return bits.unit([0x42, 0x01]);
}

const extendedAspect = (across: number, down: number) => (bits: BitWriter) =>
  bits.u(1, 1).u(8, 255).u(16, across).u(16, down);

describe('H.264', () => {
  test.each<[what: string, options: H264, facts: Partial<SequenceFacts>]>([
    ['a whole number of macroblocks', {}, { width: 320, height: 192, aspect: [1, 1], chromaFormat: 1, lumaBits: 8 }],
    ['cropped below', { crop: [0, 0, 0, 6] }, { width: 320, height: 180 }],
    ['cropped at all sides', { crop: [1, 2, 3, 4] }, { width: 314, height: 178 }],
    ['1080 lines', { widthUnits: 120, heightUnits: 68, crop: [0, 0, 0, 4] }, { width: 1920, height: 1080 }],
    [
      '1080 interlaced lines',
      { widthUnits: 120, heightUnits: 34, isInterlaced: true, crop: [0, 0, 0, 2] },
      { width: 1920, height: 1080 },
    ],
    ['8K', { widthUnits: 480, heightUnits: 270 }, { width: 7680, height: 4320 }],
    ['grey', { profile: 100, chroma: [0, 0, 0], crop: [0, 1, 0, 1] }, { width: 319, height: 191, chromaFormat: 0 }],
    ['4:2:2', { profile: 122, chroma: [2, 2, 2], crop: [0, 1, 0, 1] }, { width: 318, height: 191, lumaBits: 10 }],
    ['4:4:4', { profile: 244, chroma: [3, 0, 1], crop: [0, 1, 0, 1] }, { width: 319, height: 191, chromaBits: 9 }],
    [
      '4:4:4 in planes of their own',
      { profile: 244, chroma: [3, 0, 0], separatePlanes: true, crop: [0, 1, 0, 1] },
      { width: 319, height: 191, chromaFormat: 3 },
    ],
    [
      'scaling lists: whole, ended early, none',
      {
        profile: 100,
        chroma: [1, 0, 0],
        scaling: (bits) => {
          bits.u(1, 1).se(...Array.from({ length: 16 }, (_, i) => (i % 2 ? -3 : 4)));
          bits.u(1, 1).se(5, -13);
          bits.u(4, 0);
          bits.u(1, 1).se(...Array.from({ length: 64 }, () => 1));
          bits.u(1, 0);
        },
        crop: [0, 0, 0, 6],
      },
      { width: 320, height: 180 },
    ],
    [
      'twelve scaling lists',
      {
        profile: 244,
        chroma: [3, 0, 0],
        scaling: (bits) => {
          for (let list = 0; list < 12; list += 1) bits.u(1, 1).se(-8);
        },
      },
      { width: 320, height: 192 },
    ],
    [
      'an order by a cycle',
      { order: (bits) => bits.ue(1).u(1, 1).se(-70_000, 3).ue(3).se(1, -2, 300) },
      { width: 320, height: 192 },
    ],
    ['an order without numbers', { order: (bits) => bits.ue(2) }, { width: 320, height: 192, reorderedFrames: 0 }],
    ['an order that is not told', {}, { reorderedFrames: undefined }],
    [
      'reordered frames',
      { vui: (bits) => bits.u(8, 0).u(1, 1).u(1, 1).ue(0, 0, 10, 10, 2, 4) },
      { reorderedFrames: 2 },
    ],
    [
      'reordered frames behind all else that may stand there',
      {
        vui: (bits) => {
          extendedAspect(7, 5)(bits).u(2, 3).u(1, 1).u(4, 13).u(1, 1).u(24, 0x010101).u(1, 1).ue(1, 1);
          bits.u(1, 1).u(32, 1).u(32, 50).u(1, 1);
          for (let model = 0; model < 2; model += 1) {
            bits.u(1, 1).ue(1).u(8, 0x11).ue(9, 9).u(1, 0).ue(300, 300).u(1, 1).u(20, 0x12345);
          }
          bits.u(1, 0).u(1, 1).u(1, 1).u(1, 1).ue(0, 0, 10, 10, 1, 4);
        },
      },
      { aspect: [7, 5], reorderedFrames: 1 },
    ],
    [
      'more of them than there can be',
      { vui: (bits) => bits.u(8, 0).u(1, 1).u(1, 1).ue(0, 0, 0, 0, 99, 4) },
      { reorderedFrames: undefined },
    ],
    ['one that is cut', { vui: (bits) => bits.u(2, 1).u(4, 15) }, { width: 320, reorderedFrames: undefined }],
    ['pixels of a known shape', { vui: (bits) => bits.u(1, 1).u(8, 2) }, { aspect: [12, 11] }],
    ['of another one', { vui: extendedAspect(7, 5) }, { aspect: [7, 5] }],
    ['of none', { vui: extendedAspect(0, 5) }, { aspect: [1, 1] }],
    ['of a reserved one', { vui: (bits) => bits.u(1, 1).u(8, 99) }, { aspect: [1, 1] }],
    ['of one that is not told', { vui: (bits) => bits.u(1, 0) }, { aspect: [1, 1] }],
  ])('%s', (_, options, facts) => {
    const unit = h264(options);
    expect(readSps('h264', unit)).toMatchObject({ profile: Uint8Array.of(unit[1]!, 0xc0, 30), ...facts });
  });
});

describe('H.265', () => {
  const lists = (bits: BitWriter) => {
    bits.u(1, 1);
    for (let size = 0; size < 4; size += 1) {
      for (let matrix = 0; matrix < (size === 3 ? 2 : 6); matrix += 1) {
        if (matrix === 1) bits.u(1, 0).ue(1);
        else
          bits
            .u(1, 1)
            .se(...Array.from({ length: (size === 0 ? 16 : 64) + (size > 1 ? 1 : 0) }, (_, i) => 3 - (i % 7)));
      }
    }
  };
  const sets = (bits: BitWriter) => {
    // Two before and one behind; then that one less its second and with the difference itself; one more told anew.
    bits.ue(3);
    bits.ue(2, 1).ue(0).u(1, 1).ue(1).u(1, 1).ue(0).u(1, 0);
    bits.u(1, 1).u(1, 1).ue(0).u(1, 1).u(2, 0).u(2, 1).u(1, 1);
    bits.u(1, 1).u(1, 0).ue(2).u(4, 0b1111);
  };

  test.each<[what: string, options: Hevc, facts: Partial<SequenceFacts>]>([
    ['as small as it gets', {}, { width: 320, height: 184, aspect: [1, 1], temporalLayers: 1, isTemporalNested: true }],
    ['cropped', { crop: [0, 0, 0, 2] }, { width: 320, height: 180 }],
    ['4:2:2, cropped', { chromaFormat: 2, crop: [1, 0, 0, 1] }, { width: 318, height: 183, chromaFormat: 2 }],
    ['4:4:4, cropped', { chromaFormat: 3, crop: [1, 0, 0, 1] }, { width: 319, height: 183 }],
    ['grey', { chromaFormat: 0, crop: [1, 0, 0, 1] }, { width: 319, height: 183 }],
    ['10 bits', { bits: 10 }, { lumaBits: 10, chromaBits: 10 }],
    [
      'layers of time',
      { layersAbove: 2, vui: extendedAspect(4, 3) },
      { temporalLayers: 3, aspect: [4, 3], reorderedFrames: 2 },
    ],
    [
      'scaling lists of the standard',
      { scaling: (bits) => bits.u(1, 0), vui: extendedAspect(4, 3) },
      { aspect: [4, 3] },
    ],
    ['and of its own', { scaling: lists, vui: extendedAspect(4, 3) }, { aspect: [4, 3] }],
    ['pulse code', { hasPcm: true, vui: extendedAspect(4, 3) }, { aspect: [4, 3] }],
    ['sets of references', { references: sets, vui: extendedAspect(4, 3) }, { aspect: [4, 3] }],
    ['references for long', { longTerm: 3, vui: extendedAspect(4, 3) }, { aspect: [4, 3] }],
    [
      'all of it',
      {
        layersAbove: 6,
        scaling: lists,
        hasPcm: true,
        references: sets,
        longTerm: 32,
        vui: (bits) => bits.u(1, 1).u(8, 16),
      },
      { aspect: [2, 1], width: 320, height: 184 },
    ],
  ])('%s', (_, options, facts) => expect(readSps('hevc', hevc(options))).toMatchObject(facts));

  test('profile, compatibility, constraints and level as they stand, without what keeps start codes out', () => {
    const unit = hevc();
    expect(Buffer.from(unit).includes(Buffer.of(0, 0, 3))).toBe(true);
    const { profile } = readSps('hevc', unit);
    expect(Buffer.from(profile).toString('hex')).toBe('01600000009000000000005d');
  });
});

test.each([
  ['h264', '42c01e', 'avc1.42c01e'],
  ['h264', '64001f', 'avc1.64001f'],
  ['hevc', '01600000009000000000005d', 'hvc1.1.6.L93.90'],
  ['hevc', '222000000000000000000099', 'hvc1.2.4.H153'],
  ['hevc', '4100000001b0000000000078', 'hvc1.A1.80000000.L120.B0'],
  ['hevc', '0408000000bd080000000096', 'hvc1.4.10.L150.BD.8'],
  ['hevc', '0408000000bd00080000005a', 'hvc1.4.10.L90.BD.0.8'],
] as const)('codec string: %s, profile %s', (codec, profile, codecString) => {
  expect(codecStringOf(codec, Buffer.from(profile, 'hex'))).toBe(codecString);
});

describe('refused', () => {
  const refusal = (codec: 'h264' | 'hevc', unit: Uint8Array): SightlineError | undefined => {
    try {
      readSps(codec, unit);
      return undefined;
    } catch (error) {
      return error as SightlineError;
    }
  };
  const long = (bits: BitWriter) => bits.u(32, 0).u(8, 0).u(8, 255);

  test.each<[what: string, codec: 'h264' | 'hevc', unit: Uint8Array, reason: string]>([
    ['nothing', 'h264', new Uint8Array(), 'cut'],
    ['a header alone', 'hevc', Uint8Array.of(0x42, 1), 'cut'],
    ['no pixel is left', 'h264', h264({ crop: [80, 80, 0, 0] }), '0×192'],
    ['less than none', 'h264', h264({ crop: [0, 0, 5000, 5000] }), '-19808'],
    ['a picture too wide', 'h264', h264({ widthUnits: 4097 }), '65552×192'],
    ['a picture of 4 G units', 'h264', h264({ widthUnits: 2 ** 32 - 1 }), '68719476720×192'],
    ['a number of 40 bits', 'h264', h264({ order: long }), 'more than 32 bits'],
    ['an order that is none', 'h264', h264({ order: (bits) => bits.ue(3) }), 'pic_order_cnt_type 3'],
    ['a cycle of 256', 'h264', h264({ order: (bits) => bits.ue(1).u(1, 0).se(0, 0).ue(256) }), 'cycle 256'],
    ['a chroma format', 'h264', h264({ profile: 100, chroma: [4, 0, 0] }), 'chroma_format_idc 4'],
    ['32 bits of luma', 'h264', h264({ profile: 100, chroma: [1, 24, 0] }), 'luma_minus8 24'],
    ['eight layers', 'hevc', hevc({ layersAbove: 7 }), 'sub_layers'],
    ['65 sets of references', 'hevc', hevc({ references: (bits) => bits.ue(65) }), 'ref_pic_sets 65'],
    ['17 pictures', 'hevc', hevc({ references: (bits) => bits.ue(1, 17, 0) }), 'negative_pics 17'],
    ['33 references for long', 'hevc', hevc({ longTerm: 33 }), 'long_term_ref_pics_sps 33'],
    ['no width', 'hevc', hevc({ size: [0, 184] }), '0×184'],
    ['100,000 pixels wide', 'hevc', hevc({ size: [100_000, 184] }), '100000×184'],
  ])('%s', (_, codec, unit, reason) => {
    expect(refusal(codec, unit)).toMatchObject({ code: 'SOURCE_UNREADABLE', message: expect.stringContaining(reason) });
  });

  test('whatever was cut off', () => {
    for (const [codec, unit] of [
      ['h264', h264({ vui: extendedAspect(7, 5) })],
      ['hevc', hevc({ vui: extendedAspect(7, 5) })],
    ] as const) {
      // Behind the shape of a pixel there is a bit that ends it all, at most in a byte of its own.
      for (let length = 0; length < unit.length - 2; length += 1) {
        expect(refusal(codec, unit.subarray(0, length)), `${codec}, ${length} bytes`).toBeInstanceOf(SightlineError);
      }
    }
  });

  test('arbitrary and damaged ones, or facts that can be', () => {
    const byte = fc.oneof(fc.constantFrom(0, 0, 0xff, 100, 0x80), fc.nat(255));
    const arbitrary = fc.array(byte, { maxLength: 80 }).map((values) => Uint8Array.from(values));
    const whole = fc.constantFrom(h264(), h264({ profile: 100, chroma: [1, 0, 0] }), hevc(), hevc({ layersAbove: 3 }));
    const damaged = fc
      .tuple(whole, fc.array(fc.tuple(fc.nat(30), fc.nat(255)), { maxLength: 4 }))
      .map(([unit, changes]) => {
        const bytes = unit.slice();
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      });
    fc.assert(
      fc.property(fc.constantFrom('h264' as const, 'hevc' as const), fc.oneof(arbitrary, damaged), (codec, unit) => {
        const error = refusal(codec, unit);
        if (error) return error instanceof SightlineError && error.code === 'SOURCE_UNREADABLE';
        const { width, height, lumaBits } = readSps(codec, unit);
        return width > 0 && height > 0 && width <= 65_535 && height <= 65_535 && lumaBits <= 15;
      }),
      { numRuns: 1000 },
    );
  });
});
