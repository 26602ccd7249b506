import { join } from 'node:path';
import {
  AV_FRAME_DATA_DISPLAYMATRIX,
  AV_PIX_FMT_GRAY8,
  AV_PIX_FMT_NV12,
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_RGBA,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV420P10LE,
  AV_PIX_FMT_YUV422P,
  AV_PIX_FMT_YUV444P,
  AV_PIX_FMT_YUVJ420P,
  FF_ENCODER_MJPEG,
  type AVPixelFormat,
} from 'node-av/constants';
import { Frame } from 'node-av/lib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rgbSamples, samplesOf, shareBlack, yuv420Samples, type Share } from '../../../test/support/black.ts';
import { ReaderWorld } from '../../../test/support/camera-reader.ts';
import { writeClip } from '../../../test/support/clips.ts';
import { readPolygon } from '../../base/polygon.ts';
import { decodeJpeg } from '../../media/jpeg.ts';
import { MaskFault, MaskPainter } from './mask-painter.ts';
import { PictureScaler } from './picture-scaler.ts';

/** One in the middle, one that reaches out of the picture, and one with slanted edges; none crosses itself. */
const MASKS = [
  '0.31,0.27 0.58,0.27 0.58,0.66 0.31,0.66',
  '0.8,-1 2,-1 2,0.4 0.8,0.4',
  '0.05,0.95 0.2,0.5 0.28,0.93',
].map((text) => readPolygon(text).polygon!);
const FORMS = ['transcoded', 'annotated'] as const;
/** What coding leaves of a hard edge. */
const JPEG_SLACK = 40;
const VIDEO_SLACK = 12;

function expectMasked({ under, beside, pixels }: Share, what: string): void {
  expect(pixels, what).toBeGreaterThan(0);
  expect(under, what).toBeGreaterThanOrEqual(0.999);
  // The rest can be seen, but for pixels that a mask touches: the fewer there are, the more of them.
  expect(beside, what).toBeLessThan(0.35);
}

/** Bright and colourful. `Frame.fromVideoBuffer` would only borrow the memory of a buffer. */
function brightFrame(format: AVPixelFormat): Frame {
  const frame = new Frame();
  frame.alloc();
  [frame.width, frame.height, frame.format] = [SIZE.width, SIZE.height, format];
  expect(frame.getBuffer()).toBeGreaterThanOrEqual(0);
  for (const plane of frame.data!) {
    // Of 10 bits in two bytes: 800.
    for (let i = 0; i < plane.length; i++)
      plane[i] = format !== AV_PIX_FMT_YUV420P10LE ? 200 : i % 2 === 0 ? 0x20 : 0x03;
  }
  return frame;
}

const SIZE = { width: 101, height: 67 };

describe('the painter', () => {
  test.each<[string, AVPixelFormat]>([
    ['4:2:0', AV_PIX_FMT_YUV420P],
    ['4:2:0 with all of the range', AV_PIX_FMT_YUVJ420P],
    ['4:2:2', AV_PIX_FMT_YUV422P],
    ['4:4:4', AV_PIX_FMT_YUV444P],
    ['of two planes', AV_PIX_FMT_NV12],
    ['grey', AV_PIX_FMT_GRAY8],
    ['RGB', AV_PIX_FMT_RGB24],
    // These are converted.
    ['RGB and more', AV_PIX_FMT_RGBA],
    ['10 bits', AV_PIX_FMT_YUV420P10LE],
  ])('blacks out pictures of odd sizes: %s', async (name, format) => {
    const painter = new MaskPainter(MASKS);
    const scaler = new PictureScaler('rgb', painter);
    using frame = brightFrame(format);
    const masked = await painter.mask(frame);
    const { bytes: data } = await scaler.scale(masked, null);
    expectMasked(shareBlack(rgbSamples(data, SIZE.width, SIZE.height), MASKS), name);
    scaler.close();
    painter.close();
  });

  test('makes whole samples black, and leaves a picture alone that others still have', async () => {
    const painter = new MaskPainter(MASKS);
    using frame = brightFrame(AV_PIX_FMT_YUV420P);
    using other = frame.clone()!;
    await painter.mask(frame);
    const share = shareBlack(yuv420Samples(frame.toBuffer(), SIZE.width, SIZE.height), MASKS);
    expect(share.under).toBe(1);
    expectMasked(share, 'planes');
    expect(new Set(other.toBuffer())).toEqual(new Set([200]));
  });

  test('knows which side of the picture is up', async () => {
    const painter = new MaskPainter(MASKS);
    const scaler = new PictureScaler('rgb', painter);
    using frame = brightFrame(AV_PIX_FMT_YUV420P);
    // A quarter of a turn: ISO/IEC 14496-12 §6.2.2.
    const matrix = Buffer.alloc(36);
    for (const [i, value] of [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000].entries())
      matrix.writeInt32LE(value, 4 * i);
    matrix.copy(frame.newSideData(AV_FRAME_DATA_DISPLAYMATRIX, matrix.length));
    for (const scale of [null, { width: 30, height: 40, fit: 'stretch' as const }]) {
      const { bytes, width, height } = await scaler.scale(await painter.mask(frame), scale);
      if (!scale) expect([width, height]).toEqual([SIZE.height, SIZE.width]);
      expectMasked(shareBlack(rgbSamples(bytes, width, height), MASKS), 'turned');
    }
    scaler.close();
  });

  test('gives nothing before it knows its masks', async () => {
    const painter = new MaskPainter(undefined);
    using frame = brightFrame(AV_PIX_FMT_GRAY8);
    await expect(painter.mask(frame)).rejects.toThrow(MaskFault);
    expect(() => painter.paint(frame)).toThrow(MaskFault);
  });
});

describe('a camera with masks', { timeout: 60_000 }, () => {
  let world: ReaderWorld;
  let odd: string;

  beforeAll(async () => {
    world = await ReaderWorld.open({});
    odd = join(world.folder, 'odd.mkv');
    await writeClip(odd, {
      codec: FF_ENCODER_MJPEG,
      format: 'matroska',
      width: 213,
      height: 121,
      frames: 30,
      chroma: 90,
      luma: (frame, x, y) => 150 + ((x + y + frame) % 80),
      options: { strict: 'unofficial' },
      pixelFormat: AV_PIX_FMT_YUVJ420P,
    });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
  });

  test('has them in every picture that leaves its process, at any size', async () => {
    const camera = world.reader.open(odd, { loop: true, masks: MASKS });
    camera.transcoded(true);
    camera.annotated({});
    await camera.live();
    const scales = [
      null,
      { width: 100, height: 100, fit: 'stretch' as const },
      { width: 47, height: 300, fit: 'contain' as const },
      { width: 500, height: 300, fit: 'stretch' as const },
    ];
    for (const [i, scale] of scales.entries()) {
      camera.pictures(25, scale);
      camera.still(16 + 75 * i);
      await camera.until('still', i + 1);
      await camera.until('picture', camera.of('picture').length + 3);
    }
    await camera.waitFor(() =>
      FORMS.every((form) => camera.of('fragment').filter((one) => one.form === form).length >= 10),
    );
    camera.close();
    await camera.ended();
    const sizes = new Set<string>();
    for (const { bytes, width, height } of camera.of('picture')) {
      sizes.add(`${width}x${height}`);
      const share = shareBlack(rgbSamples(bytes, width, height), MASKS);
      expect(share.under).toBe(1);
      expectMasked(share, `picture ${width}×${height}`);
    }
    expect(sizes.size).toBe(scales.length);
    for (const { bytes, width, height } of camera.of('still')) {
      const { data } = decodeJpeg(bytes, new Uint8Array(width * height * 3));
      expectMasked(shareBlack(rgbSamples(data, width, height, JPEG_SLACK), MASKS), `still ${width}×${height}`);
    }
    for (const form of FORMS) {
      const isOf = (one: { readonly form: string }) => one.form === form;
      const fragments = camera.of('fragment').filter(isOf);
      const file = Buffer.concat([...camera.of('init').filter(isOf), ...fragments].map(({ bytes }) => bytes));
      const pictures = await samplesOf(file, VIDEO_SLACK);
      expect(pictures).toHaveLength(fragments.length);
      for (const picture of pictures) expectMasked(shareBlack(picture, MASKS), form);
    }
  });

  test('gives no picture at all where its masks were not told', async () => {
    const camera = world.reader.open(odd, { loop: true, masks: undefined as never });
    camera.transcoded(true);
    camera.annotated({});
    camera.pictures(25);
    await camera.live();
    camera.still();
    await camera.waitFor(() => (camera.counts?.unmasked ?? 0) > 20);
    camera.close();
    await camera.ended();
    for (const kind of ['picture', 'still', 'fragment'] as const) expect(camera.of(kind)).toEqual([]);
    expect(camera.counts).toMatchObject({ pictures: 0, transcoded: 0, annotated: 0 });
  });
});
