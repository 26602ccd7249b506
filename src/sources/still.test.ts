import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clap, heifFile, type HeifTile, heifTile, imir, irot } from '../../test/support/heif.ts';
import { exifOf, JPEGS, turnedJpeg, withBytesBefore, withSegment } from '../../test/support/jpegs.ts';
import { sharedFile } from '../../test/support/pictures.ts';
import { decodeJpeg } from '../media/jpeg.ts';
import { orientationOfExif, turnUpright } from '../media/orient.ts';
import { openVideo } from './file.ts';

let folder = '';
/** Four tiles of 64 × 64 of their own brightness; the first has a white corner. */
const tiles: HeifTile[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-still-'));
  const lumas = [60, 100, 140, 180];
  for (const luma of lumas) {
    const shade = (x: number, y: number) => (luma === 60 && x < 16 && y < 16 ? 235 : luma);
    tiles.push(await heifTile(join(folder, 'tile.mp4'), { width: 64, height: 64 }, shade));
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function pathOf(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

/** The one picture of a file. */
async function pictureOf(path: string, sideMax?: number) {
  await using video = await openVideo(path, sideMax === undefined ? {} : { sideMax });
  expect(video.info).toMatchObject({ still: true, frames: 1 });
  const pictures = [];
  for await (const { data, width, height } of video) pictures.push({ data: Uint8Array.from(data), width, height });
  expect(pictures).toHaveLength(1);
  const [picture] = pictures as [(typeof pictures)[0]];
  expect(video.info).toMatchObject({ width: picture.width, height: picture.height });
  return picture;
}

/** What brightness a pixel had before it was encoded in video range (BT.601 and 709 agree on grey): −1 for none of those used. */
function shadeAt({ data, width }: { data: Uint8Array; width: number }, x: number, y: number): number {
  const grey = data[(y * width + x) * 3]!;
  return [60, 100, 140, 180, 235].find((luma) => Math.abs(((luma - 16) * 255) / 219 - grey) < 6) ?? -1;
}

describe('a HEIF picture', () => {
  const grid = { columns: 2, rows: 2, width: 120, height: 100 };

  test.each([false, true])(
    'of four tiles is put together and cut at its edges (description in the file: %s)',
    async (gridInFile) => {
      const picture = await pictureOf(await pathOf('grid.heic', heifFile({ tiles, grid, gridInFile })));
      expect(picture).toMatchObject({ width: 120, height: 100 });
      const at = (x: number, y: number) => shadeAt(picture, x, y);
      expect([at(4, 4), at(40, 40), at(80, 40), at(40, 80), at(118, 98)]).toEqual([235, 60, 100, 140, 180]);
    },
  );

  // Where the white corner is then, in a picture of 128 × 64 whose halves are 60 and 100.
  test.each([
    ['turned by a quarter', [irot(1)], 64, 128, [4, 124], [60, 20]],
    ['turned by two', [irot(2)], 128, 64, [124, 60], [4, 4]],
    ['turned by three', [irot(3)], 64, 128, [60, 4], [4, 124]],
    ['mirrored top to bottom', [imir(0)], 128, 64, [4, 60], [124, 4]],
    ['mirrored left to right', [imir(1)], 128, 64, [124, 4], [4, 60]],
    ['cropped', [clap(80, 40, -48, -24)], 80, 40, [4, 4], [76, 36]],
    ['cropped, then turned', [clap(80, 40, -48, -24), irot(1)], 40, 80, [4, 76], [36, 4]],
  ] as const)('%s', async (_, properties, width, height, white, other) => {
    const plan = { tiles: tiles.slice(0, 2), grid: { columns: 2, rows: 1, width: 128, height: 64 }, properties };
    const picture = await pictureOf(await pathOf('turned.heic', heifFile(plan)));
    expect(picture).toMatchObject({ width, height });
    expect(shadeAt(picture, white[0], white[1])).toBe(235);
    expect(shadeAt(picture, other[0], other[1])).toBe(100);
  });

  test('of one item, turned, and scaled down', async () => {
    const path = await pathOf('single.heic', heifFile({ tiles: tiles.slice(0, 1), properties: [irot(1)] }));
    const picture = await pictureOf(path);
    expect([shadeAt(picture, 4, 60), shadeAt(picture, 60, 4)]).toEqual([235, 60]);
    expect(await pictureOf(path, 32)).toMatchObject({ width: 32, height: 32 });
  });

  test.each([
    ['a tile that is not there', () => heifFile({ tiles: tiles.slice(0, 3), grid }), '2×2 tiles has 3'],
    [
      'tiles that do not cover it',
      () => heifFile({ tiles, grid: { ...grid, width: 400 } }),
      'cover 128×128 of 400×100',
    ],
    ['an overlay', () => heifFile({ tiles: tiles.slice(0, 1), type: 'iovl' }), 'of the type iovl'],
    ['its description cut off', () => heifFile({ tiles, grid }).subarray(0, 200), 'it breaks off'],
    ['its grid cut off', () => heifFile({ tiles, grid, gridInFile: true }).subarray(0, -4), 'it breaks off'],
    ['its end cut off', () => heifFile({ tiles, grid }).subarray(0, -20), 'it breaks off'],
    ['an enormous size', () => heifFile({ tiles, grid: { ...grid, width: 65_000, height: 65_000 } }), 'more than'],
  ])('with %s is refused by name', async (_, make, reason) => {
    const path = await pathOf('odd.heic', make());
    const refusal = openVideo(path);
    await expect(refusal).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    await expect(refusal).rejects.toThrow(reason);
  });

  test('any damage to its description is a refusal or a picture', async () => {
    const whole = heifFile({ tiles: tiles.slice(0, 2), grid: { columns: 2, rows: 1, width: 128, height: 64 } });
    const metaAt = Buffer.from(whole).indexOf('meta');
    for (let at = metaAt + 8; at < metaAt + 300; at += 13) {
      const path = await pathOf('bent.heic', whole.with(at, whole[at]! ^ 0xff));
      await openVideo(path).then(
        (video) => video.close(),
        (error: unknown) => expect(error).toMatchObject({ code: 'SOURCE_UNREADABLE' }),
      );
    }
  });

  const ofTelephone = sharedFile('cases/pictures/iphone_like_grid.heic');
  test.skipIf(!ofTelephone)('as a telephone writes it is 512 × 512 (needs ../shared)', async () => {
    expect(await pictureOf(ofTelephone!)).toMatchObject({ width: 512, height: 512 });
  });
});

describe('a JPEG file', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('with EXIF orientation %i is what the live lane sees', async (value) => {
    const jpeg = turnedJpeg(value, value % 2 === 0 ? 'II' : 'MM');
    const stored = decodeJpeg(jpeg, new Uint8Array(16 * 8 * 3));
    const turned = new Uint8Array(stored.data.length);
    turnUpright(stored.data, 16, 8, orientationOfExif(value), turned);
    const { data, ...size } = await pictureOf(await pathOf('turned.jpg', jpeg));
    expect(data).toEqual(turned);
    expect(size).toEqual(value < 5 ? { width: 16, height: 8 } : { width: 8, height: 16 });
  });

  test('that libjpeg only warns of is read, whatever its name', async () => {
    const noisy = withBytesBefore(withBytesBefore(turnedJpeg(6), 0xd9, [1, 2, 3]), 0xc4, [0, 0]);
    for (const name of ['noisy.jpg', 'noisy.jpeg', 'noisy']) {
      expect(await pictureOf(await pathOf(name, noisy))).toMatchObject({ width: 8, height: 16 });
    }
  });

  test('with a thumbnail in its EXIF is one picture; two JPEGs without a name of pictures are two', async () => {
    const thumbnail = [...exifOf(6), ...JPEGS.grey];
    const path = await pathOf('thumbnail', withSegment(JPEGS.sampling411, 0xe1, thumbnail));
    expect(await pictureOf(path)).toMatchObject({ width: 24, height: 40 });
    await using video = await openVideo(await pathOf('two', Buffer.concat([turnedJpeg(6), JPEGS.grey])));
    const sizes = [];
    for await (const { width, height, index } of video) sizes.push(`${index}: ${width}×${height}`);
    expect(sizes).toEqual(['0: 8×16', '1: 40×24']);
  });

  test('larger than the limit is scaled down', async () => {
    expect(await pictureOf(await pathOf('grey.jpg', JPEGS.grey), 20)).toMatchObject({ width: 20, height: 12 });
  });

  test.each([
    ['cut off', () => JPEGS.grey.subarray(0, -40), 'it breaks off: 165 bytes of a 40×24 JPEG'],
    ['cut off in its header', () => JPEGS.grey.subarray(0, 150), 'it breaks off'],
    ['of an odd sampling', () => JPEGS.sampling311, 'sampling 3×1, 1×1, 1×1'],
    ['damaged', () => Buffer.concat([JPEGS.grey.subarray(0, 190), Buffer.of(0xff, 0xd9)]), 'damaged'],
  ])('%s is refused with the reason', async (_, make, reason) => {
    const refusal = openVideo(await pathOf('odd.jpg', make()));
    await expect(refusal).rejects.toMatchObject({ code: 'SOURCE_UNREADABLE' });
    await expect(refusal).rejects.toThrow(reason);
  });

  const cases = ['cmyk', 'lossless', 'arithmetic', 'sos_params', 'extraneous_before_rst'] as const;
  test.skipIf(!sharedFile('cases/pictures'))('of every kind is read or named (needs ../shared)', async () => {
    const said = [];
    for (const name of cases) {
      const path = sharedFile(`cases/pictures/${name}.jpg`)!;
      said.push(
        await pictureOf(path).then(
          ({ width }) => width,
          (error: Error) => /(YCCK|lossless)/.exec(error.message)?.[0],
        ),
      );
    }
    expect(said).toEqual(['YCCK', 'lossless', 640, 640, 640]);
  });
});
