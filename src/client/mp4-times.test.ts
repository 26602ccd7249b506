import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { fragmentOf, numberedVideo, type NumberedVideo } from '../../test/support/numbered-video.ts';
import { decodeTimeOf, timescaleOf } from './mp4-times.ts';

let video: NumberedVideo;
beforeAll(async () => {
  video = await numberedVideo({ frames: 2, height: 80 });
});

test('times of real segments, in memory of their own or of others', () => {
  expect(timescaleOf(video.track.init)).toBe(90_000);
  // 32 bits are over after 13 hours.
  for (const atS of [0, 1.5, 60_000]) {
    const bytes = fragmentOf(video, 1, atS, 0.04);
    expect(decodeTimeOf(bytes)).toBe(atS * 90_000);
    const within = new Uint8Array(bytes.length + 7);
    within.set(bytes, 7);
    expect(decodeTimeOf(within.subarray(7))).toBe(atS * 90_000);
  }
  expect(decodeTimeOf(video.track.init)).toBeUndefined();
  expect(timescaleOf(fragmentOf(video, 0, 0, 0.04))).toBeUndefined();
});

test('segments that are cut, damaged or none have no times, or any; nothing is thrown', () => {
  const real = fc.constantFrom(video.track.init, fragmentOf(video, 0, 2, 0.04).slice(0, 200));
  fc.assert(
    fc.property(fc.oneof(real, fc.uint8Array()), fc.nat(), fc.nat(255), fc.nat(), (bytes, place, byte, length) => {
      const damaged = bytes.slice(0, length % (bytes.length + 1));
      if (damaged.length > 0) damaged[place % damaged.length] = byte;
      for (const read of [timescaleOf, decodeTimeOf]) expect(['number', 'undefined']).toContain(typeof read(damaged));
    }),
  );
});
