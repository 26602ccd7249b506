import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { checkJpeg, decodeJpeg, decodeJpegRgbx, encodeJpeg, hasJpegEnd, jpegBytesMax, readJpegHeader } from './jpeg.ts';

const LIMITS = { sideMax: 4096, pixelsMax: 4096 * 2160 };

/** A smooth picture, so that JPEG keeps its colours. */
function gradient(width: number, height: number) {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data.set([(x * 255) / width, (y * 255) / height, 128], (y * width + x) * 3);
    }
  }
  return { data, width, height };
}

/** A JPEG without pixels: SOI and a frame header of the given kind and size. */
function bareHeader(width: number, height: number, marker = 0xc0): Uint8Array {
  return Uint8Array.of(
    0xff,
    0xd8,
    0xff,
    marker,
    0,
    11,
    8,
    height >> 8,
    height & 255,
    width >> 8,
    width & 255,
    1,
    1,
    0x11,
    0,
  );
}

const codeOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    return error instanceof SightlineError ? error.code : String(error);
  }
  return 'none';
};

const jpeg = encodeJpeg(gradient(64, 48), 80).slice();

describe('header', () => {
  test('tells size, components and kind', () => {
    expect(readJpegHeader(jpeg)).toEqual({
      width: 64,
      height: 48,
      components: 3,
      progressive: false,
    });
    expect(readJpegHeader(bareHeader(640, 480, 0xc2))).toEqual({
      width: 640,
      height: 480,
      components: 1,
      progressive: true,
    });
  });

  test('skips fill bytes, lone markers and other segments, a thumbnail among them', () => {
    const app1 = [0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xc0, 0xff, 0xd9];
    const bytes = Uint8Array.from([0xff, 0xd8, 0xff, 0x01, ...app1, 0xff, 0xff, ...bareHeader(7, 5).subarray(2)]);
    expect(readJpegHeader(bytes)).toMatchObject({ width: 7, height: 5 });
  });

  test.each([
    ['FRAME_EMPTY', new Uint8Array(0)],
    ['FRAME_NOT_JPEG', Buffer.from('\x89PNG\r\n\x1a\n')],
    ['FRAME_NOT_JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xd9, 0, 0)],
    ['FRAME_NOT_JPEG', bareHeader(0, 480)],
    ['FRAME_NOT_JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xda, 0, 4, 0, 0)],
    ['FRAME_NOT_JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 1, 0, 0)],
    ['FRAME_NOT_JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xc0, 0, 4, 8, 1, 1, 1)],
    ['FRAME_TRUNCATED', Uint8Array.of(0xff)],
    ['FRAME_TRUNCATED', Uint8Array.of(0xff, 0xd8)],
    ['FRAME_TRUNCATED', bareHeader(640, 480).subarray(0, 12)],
  ])('%s: %j', (code, bytes) => {
    expect(codeOf(() => readJpegHeader(bytes))).toBe(code);
  });
});

describe('check before decoding', () => {
  test('a whole JPEG passes, also with padding behind its end', () => {
    expect(checkJpeg(jpeg, LIMITS)).toMatchObject({ width: 64, height: 48 });
    expect(checkJpeg(Buffer.concat([jpeg, Buffer.alloc(100)]), LIMITS)).toMatchObject({
      width: 64,
      height: 48,
    });
  });

  test('too large by a side or in all is refused with the size', () => {
    expect(() => checkJpeg(bareHeader(50_000, 50_000), LIMITS)).toThrow('50000×50000');
    expect(codeOf(() => checkJpeg(bareHeader(4097, 1), LIMITS))).toBe('FRAME_TOO_LARGE');
    expect(codeOf(() => checkJpeg(bareHeader(4096, 4096), LIMITS))).toBe('FRAME_TOO_LARGE');
  });

  test('every cut is told as truncated, never anything else', () => {
    for (let cut = 1; cut < jpeg.length; cut++) {
      expect(
        codeOf(() => checkJpeg(jpeg.subarray(0, cut), LIMITS)),
        `cut at ${cut}`,
      ).toBe('FRAME_TRUNCATED');
    }
  });

  test("a thumbnail's end is not taken for the picture's", () => {
    const thumbnail = Uint8Array.of(0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9);
    const withThumbnail = Buffer.concat([jpeg.subarray(0, 2), thumbnail, jpeg.subarray(2)]);
    expect(hasJpegEnd(withThumbnail)).toBe(true);
    expect(hasJpegEnd(withThumbnail.subarray(0, -2))).toBe(false);
  });
});

describe('codec', () => {
  test('what was encoded comes back, within the loss of quality 95, in the caller’s buffer', () => {
    const picture = gradient(64, 48);
    const into = new Uint8Array(64 * 48 * 3 + 10);
    const decoded = decodeJpeg(encodeJpeg(picture, 95), into);
    expect(decoded).toMatchObject({ width: 64, height: 48 });
    expect(decoded.data.buffer).toBe(into.buffer);
    expect(decoded.data.length).toBe(64 * 48 * 3);
    const worst = picture.data.reduce((max, value, i) => Math.max(max, Math.abs(value - decoded.data[i]!)), 0);
    expect(worst).toBeLessThan(16);
  });

  test('four bytes a pixel hold the same colours as three', () => {
    const three = decodeJpeg(jpeg, new Uint8Array(64 * 48 * 3)).data;
    const four = decodeJpegRgbx(jpeg, new Uint8Array(64 * 48 * 4)).data;
    expect(four.length).toBe(64 * 48 * 4);
    expect(three.every((value, i) => value === four[Math.floor(i / 3) * 4 + (i % 3)])).toBe(true);
  });

  test('quality changes the size, and a given buffer is used', () => {
    const picture = gradient(320, 240);
    const into = new Uint8Array(jpegBytesMax(320, 240));
    const small = encodeJpeg(picture, 20, into);
    expect(small.buffer).toBe(into.buffer);
    expect(small.length).toBeLessThan(encodeJpeg(picture, 95).length);
  });

  test('a cut picture, a damaged one and a small buffer are told apart', () => {
    const into = new Uint8Array(64 * 48 * 3);
    expect(codeOf(() => decodeJpeg(jpeg.subarray(0, jpeg.length >> 1), into))).toBe('FRAME_TRUNCATED');
    const halfWithEnd = Buffer.concat([jpeg.subarray(0, jpeg.length - 200), Uint8Array.of(0xff, 0xd9)]);
    expect(codeOf(() => decodeJpeg(halfWithEnd, into))).toBe('FRAME_UNDECODABLE');
    expect(codeOf(() => decodeJpeg(jpeg, into.subarray(1)))).toBe('INTERNAL');
    expect(codeOf(() => decodeJpeg(new Uint8Array(0), into))).toBe('FRAME_EMPTY');
  });

  test('no damage crashes it: every outcome is a picture or one of the FRAME codes', () => {
    const into = new Uint8Array(1 << 20);
    const damage = fc.record({
      length: fc.nat(jpeg.length),
      flips: fc.array(fc.tuple(fc.nat(jpeg.length - 1), fc.integer({ min: 1, max: 255 })), {
        maxLength: 8,
      }),
    });
    fc.assert(
      fc.property(damage, ({ length, flips }) => {
        const bytes = jpeg.slice(0, length);
        for (const [at, bits] of flips) if (at < length) bytes[at]! ^= bits;
        const limits = { sideMax: 1024, pixelsMax: Math.floor(into.length / 3) };
        expect(codeOf(() => checkJpeg(bytes, limits))).toMatch(/^(none|FRAME_[A-Z_]+)$/);
        if (codeOf(() => checkJpeg(bytes, limits)) === 'none') {
          expect(codeOf(() => decodeJpeg(bytes, into))).toMatch(/^(none|FRAME_UNDECODABLE)$/);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('random bytes are never taken for a JPEG by accident of a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
        const bytes = Uint8Array.from([0xff, 0xd8, ...tail]);
        expect(codeOf(() => checkJpeg(bytes, LIMITS))).toMatch(/^(none|FRAME_[A-Z_]+)$/);
      }),
      { numRuns: 500 },
    );
  });
});
