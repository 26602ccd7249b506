import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { exifOf, JPEGS, stackedJpeg, turnedJpeg, withBytesBefore, withSegment } from '../../test/support/jpegs.ts';
import { checkJpeg, decodeJpeg, decodeJpegRgbx, encodeJpeg, hasJpegEnd, jpegBytesMax, readJpegHeader } from './jpeg.ts';
import { orientationOfExif, UPRIGHT } from './orient.ts';

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

const jpeg = Uint8Array.from(encodeJpeg(gradient(64, 48), 80));

describe('header', () => {
  test('tells size, components and kind', () => {
    expect(readJpegHeader(jpeg)).toEqual({
      width: 64,
      height: 48,
      components: 3,
      progressive: false,
      orientation: UPRIGHT,
    });
    expect(readJpegHeader(bareHeader(640, 480, 0xc2))).toEqual({
      width: 640,
      height: 480,
      components: 1,
      progressive: true,
      orientation: UPRIGHT,
    });
  });

  test('skips fill bytes, lone markers and other segments, a thumbnail among them', () => {
    const app1 = [0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xc0, 0xff, 0xd9];
    const bytes = Uint8Array.from([0xff, 0xd8, 0xff, 0x01, ...app1, 0xff, 0xff, ...bareHeader(7, 5).subarray(2)]);
    expect(readJpegHeader(bytes)).toMatchObject({ width: 7, height: 5 });
  });

  test('passes what cameras leave between two segments', () => {
    for (const marker of [0xdb, 0xc0, 0xc4, 0xda]) {
      const noisy = withBytesBefore(jpeg, marker, [0x00, 0x12, 0xff, 0x00, 0x34]);
      expect(noisy.length).toBeGreaterThan(jpeg.length);
      expect(readJpegHeader(noisy)).toMatchObject({ width: 64, height: 48 });
      expect(hasJpegEnd(noisy)).toBe(true);
    }
  });

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('tells EXIF orientation %i in both byte orders', (value) => {
    for (const order of ['II', 'MM'] as const) {
      expect(readJpegHeader(turnedJpeg(value, order))).toMatchObject({
        width: 16,
        height: 8,
        orientation: orientationOfExif(value),
      });
    }
  });

  test('broken EXIF is ignored, XMP is passed, and the first EXIF counts', () => {
    const sound = exifOf(6);
    const broken = [
      exifOf(0),
      exifOf(9),
      sound.slice(0, 6),
      sound.slice(0, 12),
      sound.slice(0, 20),
      sound.with(6, 0x58),
      sound.with(9, 7),
      sound.with(10, 0xff),
      sound.with(13, 0xff),
      sound.with(19, 2),
      sound.with(23, 2),
    ];
    for (const payload of broken) expect(readJpegHeader(withSegment(jpeg, 0xe1, payload)).orientation).toEqual(UPRIGHT);
    const xmp = Array.from('http://ns.adobe.com/xap/1.0/\0<x/>', (letter) => letter.charCodeAt(0));
    const two = withSegment(withSegment(withSegment(jpeg, 0xe1, exifOf(3)), 0xe1, sound), 0xe1, xmp);
    expect(readJpegHeader(two).orientation).toEqual(orientationOfExif(6));
  });

  test.each([
    ['lossless coding', 0xc3, 8, 3],
    ['lossless coding', 0xcb, 8, 3],
    ['hierarchical coding', 0xc6, 8, 3],
    ['12 bits a sample', 0xc1, 12, 3],
    ['CMYK', 0xc0, 8, 4],
    ['2 colour components', 0xc0, 8, 2],
  ])('a sound JPEG that is not decoded is refused by its kind: %s', (kind, marker, precision, components) => {
    const odd = jpeg.slice();
    const sof = Buffer.from(odd).indexOf(Buffer.of(0xff, 0xc0));
    [odd[sof + 1], odd[sof + 4], odd[sof + 9]] = [marker, precision, components];
    expect(() => checkJpeg(odd, LIMITS)).toThrow(kind);
    expect(codeOf(() => checkJpeg(odd, LIMITS))).toBe('FRAME_UNDECODABLE');
  });

  test('YCCK is told from CMYK by the Adobe segment; a height that comes later is named', () => {
    const adobe = [...Array.from('Adobe', (letter) => letter.charCodeAt(0)), 0, 100, 0, 0, 0, 0, 2];
    const odd = Buffer.from(withSegment(jpeg, 0xee, adobe));
    odd[odd.indexOf(Buffer.of(0xff, 0xc0)) + 9] = 4;
    expect(() => checkJpeg(odd, LIMITS)).toThrow('YCCK');
    expect(() => checkJpeg(bareHeader(640, 0), LIMITS)).toThrow('DNL');
  });

  test('a header without end is given up', () => {
    const endless = Uint8Array.from({ length: 100_000 }, (_, i) => [0xff, 0xe0, 0, 2][(i + 2) % 4]!);
    endless.set([0xff, 0xd8]);
    expect(() => readJpegHeader(endless)).toThrow('segments before its first scan');
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

  /** The first pixel, the last one, and the number of bytes that differ from another picture by more than 2. */
  const decodedOf = (bytes: Uint8Array) => {
    const { width, height } = readJpegHeader(bytes);
    const four = decodeJpegRgbx(bytes, new Uint8Array(width * height * 4)).data;
    const three = decodeJpeg(bytes, new Uint8Array(width * height * 3)).data;
    expect(three.every((value, i) => value === four[Math.floor(i / 3) * 4 + (i % 3)])).toBe(true);
    return three;
  };

  describe('what libjpeg only warns of is taken as it is decoded', () => {
    const rows = [0, 1, 2, 3].map((row) => ({
      data: gradient(64, 64).data.slice(row * 3072, (row + 1) * 3072),
      width: 64,
      height: 16,
    }));
    const stacked = stackedJpeg(rows, 80);
    const sosAt = (bytes: Uint8Array) => Buffer.from(bytes).indexOf(Buffer.of(0xff, 0xda));

    test.each([
      ['before the end', () => withBytesBefore(jpeg, 0xd9, [1, 2, 3]), () => jpeg],
      ['before the end, many', () => withBytesBefore(jpeg, 0xd9, Array(500).fill(0)), () => jpeg],
      [
        'before restart markers',
        () => withBytesBefore(withBytesBefore(stacked, 0xd0, [7]), 0xd2, [0x12, 0x34]),
        () => stacked,
      ],
      [
        'between all segments',
        () => [0xdb, 0xc0, 0xc4, 0xda].reduce<Uint8Array>((all, marker) => withBytesBefore(all, marker, [0, 9]), jpeg),
        () => jpeg,
      ],
      ['behind the end', () => Uint8Array.from([...jpeg, ...Array(300).fill(0xab)]), () => jpeg],
      [
        'before the end of a progressive one',
        () => withBytesBefore(JPEGS.progressive, 0xd9, [0x55, 0xaa]),
        () => JPEGS.progressive,
      ],
      [
        'between the scans of a progressive one',
        () => withBytesBefore(JPEGS.progressive, 0xda, [0x55]),
        () => JPEGS.progressive,
      ],
      [
        'before the restart markers of a progressive one',
        () => withBytesBefore(JPEGS.progressive, 0xd0, [3, 4]),
        () => JPEGS.progressive,
      ],
    ])('bytes %s', (_, make, plain) => {
      const noisy = make();
      expect(noisy.length).toBeGreaterThan(plain().length);
      expect(checkJpeg(noisy, LIMITS)).toMatchObject(readJpegHeader(plain()));
      expect(decodedOf(noisy)).toEqual(decodedOf(plain()));
    });

    test('versions and transforms that nobody knows', () => {
      const odd = Buffer.from(jpeg);
      odd[odd.indexOf('JFIF') + 5] = 9;
      expect(decodedOf(odd)).toEqual(decodedOf(jpeg));
      const adobe = [...Array.from('Adobe', (letter) => letter.charCodeAt(0)), 0, 100, 0, 0, 0, 0, 77];
      expect(decodedOf(withSegment(jpeg, 0xee, adobe))).toEqual(decodedOf(jpeg));
    });

    test('scan parameters without meaning', () => {
      const odd = jpeg.slice();
      // Length (2), components (1), two bytes for each, then the three.
      odd.set([0, 0, 0x11], sosAt(odd) + 2 + 2 + 1 + 2 * 3);
      expect(decodedOf(odd)).toEqual(decodedOf(jpeg));
    });

    test('Motion JPEG without Huffman tables', () => {
      const tables = (bytes: Buffer) => bytes.indexOf(Buffer.of(0xff, 0xc4));
      let bare = Buffer.from(jpeg);
      for (let at = tables(bare); at >= 0; at = tables(bare)) {
        bare = Buffer.concat([bare.subarray(0, at), bare.subarray(at + 2 + bare.readUInt16BE(at + 2))]);
      }
      expect(decodedOf(bare)).toEqual(decodedOf(jpeg));
      expect(decodedOf(withBytesBefore(bare, 0xd9, [5, 6]))).toEqual(decodedOf(jpeg));
    });

    test('but never what costs the picture, also beside what does not', () => {
      const damaged = (make: (bytes: Buffer) => Uint8Array) => (bytes: Uint8Array) => make(Buffer.from(bytes));
      const cutMiddle = damaged((bytes) => {
        const at = sosAt(bytes) + 80;
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 60)]);
      });
      const overwritten = damaged((bytes) => bytes.fill(0x5a, sosAt(bytes) + 40, sosAt(bytes) + 200));
      const lostRow = damaged((bytes) => {
        const at = bytes.indexOf(Buffer.of(0xff, 0xd1));
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(bytes.indexOf(Buffer.of(0xff, 0xd2)))]);
      });
      const noisy = (bytes: Uint8Array) => withBytesBefore(bytes, 0xd0, [7, 7]);
      const into = new Uint8Array(64 * 64 * 4);
      for (const bytes of [
        cutMiddle(jpeg),
        cutMiddle(noisy(stacked)),
        overwritten(noisy(stacked)),
        lostRow(noisy(stacked)),
      ]) {
        expect(codeOf(() => checkJpeg(bytes, LIMITS))).toBe('none');
        expect(codeOf(() => decodeJpegRgbx(bytes, into))).toBe('FRAME_UNDECODABLE');
        expect(() => decodeJpegRgbx(bytes, into)).toThrow('damaged');
      }
      expect(codeOf(() => decodeJpegRgbx(cutMiddle(JPEGS.progressive), into))).toBe('FRAME_UNDECODABLE');
      const noisyArithmetic = withBytesBefore(JPEGS.arithmetic, 0xd9, [1, 2, 3]);
      expect(codeOf(() => decodeJpegRgbx(noisyArithmetic, into))).toMatch(/^(none|FRAME_UNDECODABLE)$/);
    });
  });

  test.each(['progressive', 'arithmetic', 'sampling440', 'sampling411', 'grey'] as const)('decodes %s', (kind) => {
    const data = decodedOf(JPEGS[kind]);
    const at = (x: number, y: number) => [...data.subarray((y * 40 + x) * 3, (y * 40 + x) * 3 + 3)];
    const grey = (x: number, y: number) => 0.299 * ((x * 255) / 40) + 0.587 * ((y * 255) / 24) + 0.114 * 128;
    for (const [x, y] of [
      [4, 4],
      [36, 4],
      [4, 20],
      [36, 20],
    ] as const) {
      const wanted = kind === 'grey' ? [grey(x, y), grey(x, y), grey(x, y)] : [(x * 255) / 40, (y * 255) / 24, 128];
      for (const [i, value] of at(x, y).entries()) expect(Math.abs(value - wanted[i]!)).toBeLessThan(24);
    }
  });

  test('a sound JPEG with a sampling that the library does not know is told so, not called damaged', () => {
    const into = new Uint8Array(40 * 24 * 4);
    expect(codeOf(() => decodeJpegRgbx(JPEGS.sampling311, into))).toBe('FRAME_UNDECODABLE');
    expect(() => decodeJpegRgbx(JPEGS.sampling311, into)).toThrow('sampling 3×1, 1×1, 1×1');
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
