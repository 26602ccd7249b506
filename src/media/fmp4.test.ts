import { Demuxer } from 'node-av/api';
import { AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { annexbOf, mp4Of, numberedClip } from '../../test/support/coded-clip.ts';
import type { CodedClip, NumberedClipOptions } from '../../test/support/coded-clip.ts';
import { decodePictures } from '../../test/support/decoded.ts';
import { SightlineError } from '../base/errors.ts';
import {
  annexBOf,
  eventData,
  eventMessage,
  fragmentsIn,
  fragmentTimes,
  isKeyFragment,
  mp4Fragment,
  mp4Track,
  parameterSetsOfTrack,
  setFragmentDuration,
} from './fmp4.ts';
import { framingOf, nalUnits, parameterSetsOf, type ParameterSets } from './nal.ts';

/** What FFmpeg makes of a file of init segment and fragments, beside the raw stream itself. */
async function expectSamePictures(clip: CodedClip): Promise<void> {
  const { track, fragments } = mp4Of(clip);
  const written = await decodePictures(Buffer.concat([track.init, ...fragments]));
  const direct = await decodePictures(annexbOf(clip));
  expect(written.map(({ hash }) => hash)).toEqual(direct.map(({ hash }) => hash));
  expect(written.map(({ number }) => number)).toEqual(clip.frames.map((_, index) => index));
  const first = written[0]!.ptsS;
  for (const [index, { ptsS, width, height }] of written.entries()) {
    expect(ptsS - first).toBeCloseTo(index / clip.rateFps, 5);
    expect({ width, height }).toEqual({ width: track.width, height: track.height });
  }
  const keys = clip.frames.filter(({ isKey }) => isKey).map(({ order }) => order);
  expect(written.flatMap(({ isKey, number }) => (isKey ? [number] : []))).toEqual(keys);
}

const plain = (units: readonly Uint8Array[]) => units.map((unit) => Buffer.from(unit).toString('hex'));
const plainSets = ({ vps, sps, pps }: ParameterSets) => [vps, sps, pps].map(plain);

describe('FFmpeg reads what was written: each picture as in the stream itself, in its time', () => {
  test.each<[what: string, options: NumberedClipOptions, codecString: RegExp]>([
    ['H.264, baseline', { options: { profile: 'baseline' } }, /^avc1\.42c0..$/],
    ['H.264, B-frames', { bFrames: 3, options: { preset: 'fast' } }, /^avc1\.6400..$/],
    ['H.264, slices', { options: { 'x264-params': 'slices=4' } }, /^avc1\.......$/],
    ['H.264, cropped', { width: 322, height: 182 }, /^avc1\.......$/],
    ['H.264, interlaced', { width: 320, height: 176, interlaced: true, options: { preset: 'fast' } }, /^avc1\.......$/],
    ['H.265', { codec: 'hevc' }, /^hvc1\.1\.6\.[LH]\d+\.90$/],
    ['H.265, B-frames', { codec: 'hevc', bFrames: 3 }, /^hvc1\.1\.6\.[LH]\d+\.90$/],
    ['H.265, cropped', { codec: 'hevc', width: 322, height: 182 }, /^hvc1\.1\.6\.[LH]\d+\.90$/],
  ])('%s', async (_, options, codecString) => {
    const clip = await numberedClip(options);
    const { width = 320, height = 180 } = options;
    const { track } = mp4Of(clip);
    expect(track).toMatchObject({ width, height, codecString: expect.stringMatching(codecString) });
    await expectSamePictures(clip);
  });

  test('with several SPS and PPS', async () => {
    const [one, other] = await Promise.all(
      [0, 1].map((id) => numberedClip({ frames: 25, options: { 'x264-params': `sps-id=${id}:cabac=${id}` } })),
    );
    const sets = {
      ...one!.sets,
      sps: [one!, other!].flatMap(({ sets }) => sets.sps),
      pps: [one!, other!].flatMap(({ sets }) => sets.pps),
    };
    const frames = [
      ...one!.frames,
      ...other!.frames.map(({ units, isKey, order }) => ({ units, isKey, order: 25 + order })),
    ];
    const { track, fragments } = mp4Of({ ...one!, sets, frames });
    const written = await decodePictures(Buffer.concat([track.init, ...fragments]));
    const parts = await Promise.all([one!, other!].map((clip) => decodePictures(annexbOf(clip))));
    expect(written.map(({ hash }) => hash)).toEqual(parts.flat().map(({ hash }) => hash));
  });

  test('size, profile, level and shape of a pixel', async () => {
    for (const codec of ['h264', 'hevc'] as const) {
      const options = codec === 'h264' ? { 'x264-params': 'sar=16/11' } : { 'x265-params': 'log-level=none:sar=4' };
      const clip = await numberedClip({ codec, width: 352, height: 288, frames: 2, options });
      const { track, fragments } = mp4Of(clip);
      await using demuxer = await Demuxer.open(Buffer.concat([track.init, ...fragments]));
      const { codecpar, avgFrameRate } = demuxer.video()!;
      expect(codecpar).toMatchObject({ width: 352, height: 288, format: AV_PIX_FMT_YUV420P });
      expect(codecpar.sampleAspectRatio).toMatchObject({ num: 16, den: 11 });
      expect(avgFrameRate).toMatchObject({ num: 25, den: 1 });
      const parts = track.codecString.split('.');
      const told = codec === 'h264' ? Number.parseInt(parts[1]!.slice(4), 16) : Number(parts[3]!.slice(1));
      expect(told).toBe(codecpar.level);
      // The configuration gives back what it was made of.
      const extradata = codecpar.extradata!;
      expect(framingOf(codec, extradata)).toEqual({ kind: 'prefixed', lengthBytes: 4 });
      expect(plainSets(parameterSetsOf(codec, extradata)!)).toEqual(plainSets(clip.sets));
    }
  });
});

describe('a fragment', () => {
  const unit = Uint8Array.of(0x65, 1, 2, 3);
  const frame = { decodeTime: 0, duration: 7200, compositionOffset: 0, isKey: true, units: [unit] };

  test('has memory of its own, and nothing but its boxes', () => {
    const fragment = mp4Fragment(1, frame);
    expect(fragment.buffer.byteLength).toBe(fragment.length);
    const bytes = Buffer.from(fragment);
    const moofBytes = bytes.readUInt32BE(0);
    expect(bytes.toString('latin1', 4, 8)).toBe('moof');
    expect(moofBytes + bytes.readUInt32BE(moofBytes)).toBe(fragment.length);
    expect(nalUnits(fragment.subarray(moofBytes + 8), { kind: 'prefixed', lengthBytes: 4 })).toEqual([
      Buffer.from(unit),
    ]);
  });

  test('has its number, times and flags', () => {
    const decodeTime = 3 * 2 ** 32 + 5;
    const bytes = Buffer.from(mp4Fragment(77, { ...frame, decodeTime, compositionOffset: -3600, isKey: false }));
    const at = (box: string) => bytes.indexOf(box) + 8;
    expect(bytes.readUInt32BE(at('mfhd'))).toBe(77);
    expect(Number(bytes.readBigUInt64BE(at('tfdt')))).toBe(decodeTime);
    const trun = at('trun');
    const [count, offset, duration, size, flags] = Array.from({ length: 5 }, (_, i) =>
      bytes.readUInt32BE(trun + 4 * i),
    );
    expect({ count, duration, size, flags }).toEqual({ count: 1, duration: 7200, size: 8, flags: 0x01010000 });
    expect(offset).toBe(bytes.indexOf('mdat') + 4);
    expect(bytes.readInt32BE(trun + 20)).toBe(-3600);
    expect(Buffer.from(mp4Fragment(77, frame)).readUInt32BE(trun + 16)).toBe(0x02000000);
  });

  test.each([-1, 0.5, NaN, Infinity, 2 ** 60])('none is decoded at %d', (decodeTime) => {
    expect(() => mp4Fragment(1, { ...frame, decodeTime })).toThrow(SightlineError);
  });

  test('without units is an empty sample', () => expect(mp4Fragment(1, { ...frame, units: [] }).length).toBe(112));
});

describe('back to Annex B', () => {
  test.each<[what: string, options: NumberedClipOptions]>([
    ['H.264, slices', { frames: 6, keyEvery: 3, options: { 'x264-params': 'slices=4' } }],
    ['H.264, B-frames', { frames: 9, keyEvery: 5, bFrames: 2, options: { preset: 'fast' } }],
    ['H.265', { codec: 'hevc', frames: 6, keyEvery: 3 }],
  ])('%s: the units that the fragments were made of, and the parameter sets of the track', async (_, options) => {
    const clip = await numberedClip(options);
    const { track, fragments } = mp4Of(clip);
    const sets = parameterSetsOfTrack(track.init);
    expect(plainSets(sets)).toEqual(plainSets(clip.sets));
    const stream = fragments.map((bytes, i) => annexBOf(bytes, clip.frames[i]!.isKey ? sets : undefined));
    for (const [i, { units, isKey }] of clip.frames.entries()) {
      const all = isKey ? [...sets.vps, ...sets.sps, ...sets.pps, ...units] : units;
      expect(plain(nalUnits(stream[i]!, { kind: 'annexb' }))).toEqual(plain(all));
    }
    // All that a decoder needs is in it.
    const direct = await decodePictures(annexbOf(clip));
    expect((await decodePictures(Buffer.concat(stream))).map(({ hash }) => hash)).toEqual(
      direct.map(({ hash }) => hash),
    );
  });

  test('whatever a frame has: its units, each between start codes', () => {
    // What an encoder leaves in a unit: no three bytes that look like a start code, and no zero at the end.
    const unit = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => bytes.map((byte) => byte || 3));
    const numbers = fc.record({
      decodeTime: fc.nat(),
      duration: fc.nat(),
      compositionOffset: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      isKey: fc.boolean(),
    });
    fc.assert(
      fc.property(numbers, fc.array(unit, { maxLength: 20 }), (frame, units) => {
        expect(plain(nalUnits(annexBOf(mp4Fragment(1, { ...frame, units })), { kind: 'annexb' }))).toEqual(
          plain(units),
        );
      }),
      { numRuns: 200 },
    );
  });

  test('what is no fragment, or no initialisation segment', () => {
    for (const bytes of [new Uint8Array(0), new Uint8Array(20).fill(0xff), Buffer.from('\0\0\0\u0008moof', 'latin1')]) {
      expect(annexBOf(bytes)).toHaveLength(0);
      expect(() => parameterSetsOfTrack(bytes)).toThrow(expect.objectContaining({ code: 'SOURCE_UNREADABLE' }));
    }
  });
});

test('a track of an SPS that cannot be read is refused', () => {
  const sets = { codec: 'h264', vps: [], sps: [Uint8Array.of(0x67, 66)], pps: [Uint8Array.of(0x68, 1)] } as const;
  expect(() => mp4Track(sets, 90_000)).toThrow(expect.objectContaining({ code: 'SOURCE_UNREADABLE' }));
});

test('times of a fragment are what it was made of, and its duration can be set', () => {
  for (const decodeTime of [0, 2 ** 32 + 7, 2 ** 40]) {
    const times = { decodeTime, duration: 3_600, compositionOffset: -1_800 };
    const fragment = mp4Fragment(1, { ...times, isKey: true, units: [new Uint8Array([1, 2, 3])] });
    // Also where it is a part of something.
    const bytes = Buffer.concat([Buffer.alloc(5), fragment, Buffer.alloc(5)]).subarray(5, 5 + fragment.length);
    expect(fragmentTimes(bytes)).toEqual(times);
    setFragmentDuration(bytes, 5_400);
    expect(fragmentTimes(bytes)).toEqual({ ...times, duration: 5_400 });
    expect(bytes.filter((byte, i) => byte !== fragment[i])).toHaveLength(2);
  }
});

test('an event message box', () => {
  const box = Buffer.from(
    eventMessage({
      schemeIdUri: 'urn:x',
      id: 2 ** 32 - 1,
      timescale: 90_000,
      presentationTime: 2 ** 33 + 5,
      duration: 3_600,
      data: Buffer.from('data'),
    }),
  );
  const numbers = [0, 8, 12, 16, 20, 24, 28].map((at) => box.readUInt32BE(at));
  expect(numbers).toEqual([box.length, 0x01000000, 90_000, 2, 5, 3_600, 2 ** 32 - 1]);
  expect([box.toString('latin1', 4, 8), box.toString('latin1', 32)]).toEqual(['emsg', 'urn:x\0\0data']);
});

test('fragments are found again, each with the message in front of it', () => {
  const frame = (isKey: boolean) =>
    mp4Fragment(1, { decodeTime: 9, duration: 3, compositionOffset: 0, isKey, units: [Buffer.from('unit')] });
  const event = eventMessage({
    schemeIdUri: 'https://example.org/scheme',
    id: 1,
    timescale: 90_000,
    presentationTime: 9,
    duration: 3,
    data: Buffer.from([1, 0, 2]),
  });
  const bytes = Buffer.concat([event, frame(true), frame(false), Buffer.from('rest of a damaged file')]);
  const found = [...fragmentsIn(bytes)];
  expect(found.map(({ fragment }) => isKeyFragment(fragment))).toEqual([true, false]);
  expect(Buffer.compare(found[0]!.fragment, frame(true))).toBe(0);
  expect([...eventData(found[0]!.event!)]).toEqual([1, 0, 2]);
  expect(found[1]!.event).toBeUndefined();
});
