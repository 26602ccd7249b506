import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { AV_PIX_FMT_RGB24, SWS_AREA } from 'node-av/constants';
import { SoftwareScaleContext } from 'node-av/lib';
import { seededRandom } from '../../src/base/random.ts';
import { fetchNpmFile, type NpmFile } from '../../src/inference/npm-file.ts';
import { sha256Of } from '../../src/inference/model-store.ts';
import { decodeJpeg, encodeJpeg, jpegBytesMax, readJpegHeader, type RgbPicture } from '../../src/media/jpeg.ts';
import { CACHE } from './cache.ts';

/** The pictures of a camera: views of two photographs that every machine with the npm registry can have. */

const PHOTOGRAPHS: readonly NpmFile[] = [
  {
    package: 'opencv',
    version: '7.0.0',
    file: 'examples/files/car1.jpg',
    sha256: '799857fdd4927e8bae3b0ae3307f62ffdc96e5548c62d03e26df00abc21020d6',
  },
  {
    package: 'opencv',
    version: '7.0.0',
    file: 'examples/files/car2.jpg',
    sha256: '115235372cafcdcc2a7cb69e87f0ad1715b5450eb55c55976b03de5592c1e98f',
  },
];

export interface PictureSize {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
}

const VGA: PictureSize = { width: 640, height: 480 };
const QUALITY: QualityRange = { min: 50, max: 75 };
/** Of the largest view of the shape that fits into the photograph. */
const ZOOM_MIN = 0.55;

/** JPEG quality, 1 to 100, both ends included. */
export interface QualityRange {
  readonly min: number;
  readonly max: number;
}

/** `count` JPEGs of one size, each another view; the same ones for the same seed. Quality 50 to 75 unless told otherwise. */
export async function cameraPictures(
  count: number,
  seed: number,
  size = VGA,
  { min, max } = QUALITY,
): Promise<Uint8Array[]> {
  const photographs = await Promise.all(PHOTOGRAPHS.map(async (file) => decoded(await cached(file))));
  const random = seededRandom(seed);
  const pixels = Buffer.alloc(size.width * size.height * 3);
  const pictures: Uint8Array[] = [];
  for (let i = 0; i < count; i += 1) {
    const photograph = photographs[i % photographs.length]!;
    const zoom = ZOOM_MIN + random() * (1 - ZOOM_MIN);
    const width = Math.floor(Math.min(photograph.width, (photograph.height * size.width) / size.height) * zoom);
    const height = Math.floor((width * size.height) / size.width);
    const left = Math.floor(random() * (photograph.width - width));
    const top = Math.floor(random() * (photograph.height - height));
    await scale(photograph, { left, top, width, height }, size, pixels);
    const quality = min + Math.floor(random() * (max - min + 1));
    pictures.push(toJpeg({ data: pixels, ...size }, quality));
  }
  return pictures;
}

export function toJpeg(picture: RgbPicture, quality: number): Uint8Array<ArrayBuffer> {
  const work = Buffer.alloc(jpegBytesMax(picture.width, picture.height));
  return new Uint8Array(encodeJpeg(picture, quality, work));
}

/** For people. */
export function meanKb(pictures: readonly Uint8Array[]): string {
  const bytes = pictures.reduce((sum, { length }) => sum + length, 0);
  return (bytes / pictures.length / 1_000).toFixed(0);
}

interface Photograph {
  /** Packed RGB. */
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
}

interface View {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

async function scale(from: Photograph, view: View, to: PictureSize, into: Buffer): Promise<void> {
  const pitch = from.width * 3;
  const scaler = new SoftwareScaleContext();
  scaler.getContext(view.width, view.height, AV_PIX_FMT_RGB24, to.width, to.height, AV_PIX_FMT_RGB24, SWS_AREA);
  try {
    const start = from.data.subarray(view.top * pitch + view.left * 3);
    const rows = await scaler.scale([start], [pitch], 0, view.height, [into], [to.width * 3]);
    if (rows < 0) throw new Error(`a view of ${view.width}×${view.height} pixels cannot be scaled: ${rows}`);
  } finally {
    scaler.freeContext();
  }
}

function decoded(jpeg: Uint8Array): Photograph {
  const { width, height } = readJpegHeader(jpeg);
  const data = Buffer.alloc(width * height * 3);
  decodeJpeg(jpeg, data);
  return { data, width, height };
}

async function cached(wanted: NpmFile): Promise<Uint8Array> {
  const path = new URL(`${wanted.sha256.slice(0, 16)}-${basename(wanted.file)}`, CACHE);
  const kept = await readFile(path).catch(() => undefined);
  if (kept && sha256Of(kept) === wanted.sha256) return kept;
  const bytes = await fetchNpmFile(wanted);
  await mkdir(CACHE, { recursive: true });
  await writeFile(path, bytes);
  return bytes;
}
