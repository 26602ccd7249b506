import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  framingOf,
  isKeyUnit,
  isParameterSet,
  isReference,
  isSampleUnit,
  nalUnits,
  parameterSetsIn,
  parameterSetsOf,
} from './nal.ts';
import type { NalCodec, NalFraming } from './nal.ts';

const ANNEXB = { kind: 'annexb' } as const;
const prefixed = (lengthBytes: number) => ({ kind: 'prefixed', lengthBytes }) as const;
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const shown = (units: readonly Uint8Array[]) => units.map((unit) => Buffer.from(unit).toString('hex'));

const SPS = '67 42c01e d9';
const PPS = '68 cb83cb20';
const AVCC = hex(`01 42c01e ff e1 0005 ${SPS} 01 0005 ${PPS}`);
const HEVC_SETS = ['4001 0c01', '4201 0101', '4401 c172'];
/** Three arrays, and one of a kind that players do not need. */
const HVCC = hex(`01 ${'00'.repeat(20)} 0f 04 a7 0001 0002 4e01 ${HEVC_SETS.map(asArray).join('')}`);

function asArray(set: string, index: number): string {
  return `${['a0', 'a1', 'a2'][index]} 0001 0004 ${set}`;
}

describe('units of a packet', () => {
  test.each<[what: string, bytes: string, framing: NalFraming, units: string[]]>([
    ['start codes of 3 bytes', '000001 6501 000001 4102', ANNEXB, ['6501', '4102']],
    ['and of 4', '00000001 6501 00000001 4102', ANNEXB, ['6501', '4102']],
    ['zeros before, between and behind', '0000000000000001 6501 000000000001 41020000', ANNEXB, ['6501', '4102']],
    ['something before the first one', 'ffee 000001 6501', ANNEXB, ['6501']],
    ['empty ones', '000001 000001 00000001 6501 000001', ANNEXB, ['6501']],
    ['no start code', '6501020304', ANNEXB, []],
    ['an emulation prevented', '000001 65 000003 01', ANNEXB, ['6500000301']],
    ['lengths of 4 bytes', '00000002 6501 00000001 41', prefixed(4), ['6501', '41']],
    ['of 2', '0002 6501 0001 41', prefixed(2), ['6501', '41']],
    ['of 1', '02 6501 01 41', prefixed(1), ['6501', '41']],
    ['an empty one', '0000 0001 41', prefixed(2), ['41']],
    ['a cut one', '0002 6501 0003 41', prefixed(2), ['6501']],
    ['a length over 2 GiB', 'ffffffff 41', prefixed(4), []],
    ['a cut length', '00000001 41 0000', prefixed(4), ['41']],
    ['nothing', '', ANNEXB, []],
  ])('%s', (_, bytes, framing, units) => expect(shown(nalUnits(hex(bytes), framing))).toEqual(units));

  test('are views', () => {
    const bytes = hex('00000001 6501 000001 41');
    for (const unit of nalUnits(bytes, ANNEXB)) expect(unit.buffer).toBe(bytes.buffer);
  });

  test('as many as a frame has slices, and no more', () => {
    const packet = (count: number) => hex('000001 41'.repeat(count));
    expect(nalUnits(packet(4096), ANNEXB)).toHaveLength(4096);
    expect(nalUnits(packet(4097), ANNEXB)).toEqual([]);
    expect(nalUnits(hex('01 41'.repeat(4097)), prefixed(1))).toEqual([]);
  });

  test('whatever they are, come back from either framing', () => {
    const unit = fc
      .uint8Array({ minLength: 1, maxLength: 40 })
      .map((bytes) => bytes.map((byte, i) => (byte === 0 ? (i % 2 === 0 ? 0 : 9) : byte)))
      .filter((bytes) => bytes.at(-1) !== 0);
    fc.assert(
      fc.property(fc.array(unit), fc.boolean(), (units, isLong) => {
        const code = isLong ? [0, 0, 0, 1] : [0, 0, 1];
        const between = Buffer.concat(units.flatMap((unit) => [Buffer.from(code), unit]));
        const behind = Buffer.concat(units.flatMap((unit) => [Buffer.of(0, unit.length), unit]));
        expect(shown(nalUnits(between, ANNEXB))).toEqual(shown(units));
        expect(shown(nalUnits(behind, prefixed(2)))).toEqual(shown(units));
      }),
    );
  });
});

describe('extradata', () => {
  test.each<[what: string, codec: NalCodec, bytes: Uint8Array | undefined, framing: NalFraming, sets: string[] | null]>(
    [
      ['avcC', 'h264', AVCC, prefixed(4), [SPS, PPS]],
      ['hvcC', 'hevc', HVCC, prefixed(4), HEVC_SETS],
      ['an old hvcC', 'hevc', Uint8Array.from([0, 1, ...HVCC.subarray(2)]), prefixed(4), HEVC_SETS],
      ['Annex B, H.264', 'h264', hex(`00000001 ${SPS} 000001 ${PPS}`), ANNEXB, [SPS, PPS]],
      ['Annex B, H.265', 'hevc', hex(HEVC_SETS.map((s) => `00000001 ${s}`).join('')), ANNEXB, HEVC_SETS],
      ['none', 'h264', undefined, ANNEXB, null],
      ['empty', 'hevc', new Uint8Array(), ANNEXB, null],
      ['without a PPS', 'h264', hex(`00000001 ${SPS}`), ANNEXB, null],
      ['without a VPS', 'hevc', hex(`00000001 ${HEVC_SETS[1]} 00000001 ${HEVC_SETS[2]}`), ANNEXB, null],
      ['avcC, cut in the PPS', 'h264', AVCC.subarray(0, -1), prefixed(4), null],
      ['avcC, cut before them', 'h264', AVCC.subarray(0, 14), prefixed(4), null],
      ['hvcC, cut in the PPS', 'hevc', HVCC.subarray(0, -1), prefixed(4), null],
    ],
  )('%s', (_, codec, bytes, framing, sets) => {
    expect(framingOf(codec, bytes)).toEqual(framing);
    const found = parameterSetsOf(codec, bytes);
    expect(found ? shown([...found.vps, ...found.sps, ...found.pps]) : null).toEqual(
      sets?.map((set) => set.replaceAll(' ', '')) ?? null,
    );
  });

  test('with lengths of 2 bytes', () => {
    const short = AVCC.slice();
    short[4] = 0xfd;
    expect(framingOf('h264', short)).toEqual(prefixed(2));
  });
});

test('parameter sets among the units of a frame: each once, several of a kind, none of an upper layer or without an end', () => {
  const units = [`09 f0`, SPS, PPS, '68 ee3cb0', PPS, SPS, '65 8884'].map(hex);
  const sets = parameterSetsIn('h264', units)!;
  expect(shown(sets.sps)).toEqual(shown([hex(SPS)]));
  expect(shown(sets.pps)).toEqual(shown([hex(PPS), hex('68 ee3cb0')]));
  expect(parameterSetsIn('h264', [hex(SPS), hex('65 8884')])).toBeUndefined();
  const upper = hex('4209 0101');
  expect(shown(parameterSetsIn('hevc', [...HEVC_SETS.map(hex), upper])!.sps)).toEqual(shown([hex(HEVC_SETS[1]!)]));
  const huge = new Uint8Array(70_000).fill(0x68);
  expect(parameterSetsIn('h264', [hex(SPS), huge])).toBeUndefined();
  const many = Array.from({ length: 300 }, (_, i) => Uint8Array.of(0x68, 1, i >> 8, i & 255, 1));
  expect(parameterSetsIn('h264', [hex(SPS), ...many])!.pps).toHaveLength(255);
});

test.each<
  [what: string, codec: NalCodec, unit: string, set: boolean, key: boolean, reference: boolean, sample: boolean]
>([
  ['IDR', 'h264', '65 88', false, true, true, true],
  ['P', 'h264', '41 9a', false, false, true, true],
  ['P or B that nobody needs', 'h264', '01 9a', false, false, false, true],
  ['SEI', 'h264', '06 05', false, false, false, true],
  ['SPS', 'h264', SPS, true, false, false, false],
  ['PPS', 'h264', PPS, true, false, false, false],
  ['delimiter', 'h264', '09 f0', false, false, false, false],
  ['end of the sequence', 'h264', '0a', false, false, false, true],
  ['end of the stream', 'h264', '0b', false, false, false, false],
  ['filling', 'h264', '0c ff', false, false, false, false],
  ['nothing', 'h264', '', false, false, false, false],
  ['IDR_W_RADL', 'hevc', '2601 af', false, true, true, true],
  ['CRA', 'hevc', '2a01 af', false, true, true, true],
  ['BLA', 'hevc', '2001 af', false, true, true, true],
  ['TRAIL_R', 'hevc', '0201 d0', false, false, true, true],
  ['TRAIL_N', 'hevc', '0001 d0', false, false, false, true],
  ['RASL_N', 'hevc', '1001 d0', false, false, false, true],
  ['VPS', 'hevc', HEVC_SETS[0]!, true, false, false, false],
  ['SPS', 'hevc', HEVC_SETS[1]!, true, false, false, false],
  ['PPS', 'hevc', HEVC_SETS[2]!, true, false, false, false],
  ['delimiter', 'hevc', '4601 50', false, false, false, false],
  ['SEI', 'hevc', '4e01 05', false, false, false, true],
  ['half a header', 'hevc', '26', false, false, false, false],
])('%s of %s', (_, codec, text, set, key, reference, sample) => {
  const unit = hex(text);
  expect(isParameterSet(codec, unit)).toBe(set);
  expect(isKeyUnit(codec, unit)).toBe(key);
  expect(isReference(codec, unit)).toBe(reference);
  expect(isSampleUnit(codec, unit)).toBe(sample);
});

test('arbitrary bytes give views of themselves, or nothing', () => {
  const codecs = fc.constantFrom<NalCodec[]>('h264', 'hevc');
  // Start codes, versions and counts are not rare.
  const byte = fc.oneof(fc.constantFrom(0, 0, 0, 1, 1, 0x67, 0x68, 0x40, 0x42, 0x44), fc.nat(255));
  const bytes = fc.array(byte, { maxLength: 300 }).map((values) => Uint8Array.from(values));
  fc.assert(
    fc.property(codecs, bytes, bytes, (codec, extradata, packet) => {
      const framing = framingOf(codec, extradata);
      const units = nalUnits(packet, framing);
      const found = [parameterSetsOf(codec, extradata), parameterSetsIn(codec, units)];
      for (const set of found.flatMap((sets) => (sets ? [sets.vps, sets.sps, sets.pps].flat() : []))) {
        expect([extradata.buffer, packet.buffer]).toContain(set.buffer);
        expect(isParameterSet(codec, set)).toBe(true);
      }
      expect(units.every((unit) => unit.length > 0 && unit.buffer === packet.buffer)).toBe(true);
      expect(units.reduce((sum, unit) => sum + unit.length, 0)).toBeLessThanOrEqual(packet.length);
    }),
    { numRuns: 500 },
  );
});
