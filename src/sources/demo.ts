import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AV_PIX_FMT_RGB24,
  AV_PIX_FMT_YUV420P,
  AV_PIX_FMT_YUV444P,
  AVCOL_RANGE_MPEG,
  AVCOL_SPC_BT709,
  SWS_BILINEAR,
} from 'node-av/constants';
import { Frame, SoftwareScaleContext } from 'node-av/lib';
import { SightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { decodeJpeg, readJpegHeader } from '../media/jpeg.ts';
import { reasonOf, yuv420Planes } from './ffmpeg.ts';
import { openVideo } from './file.ts';
import { createVideo } from './writer.ts';

/** A photograph inside a package of the npm registry. The package is never installed: only these files are taken. */
export interface DemoPhotograph {
  readonly package: string;
  readonly version: string;
  readonly file: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

export interface DemoCameraOptions {
  /** The clip is kept in its subfolder `cameras`; made when it is not there. */
  readonly cacheDir: string;
  /** A clip of the user's own that is the camera instead. */
  readonly clip?: string | undefined;
  /** Gets a photograph's bytes, whose checksum it has verified. */
  readonly fetchPhotograph: (photograph: DemoPhotograph) => Promise<Uint8Array>;
  /** Text for the log: the source, and its licence. */
  readonly log?: Log | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where a camera looks in a photograph; everything in fractions of the photograph's sides. */
interface Scene {
  readonly photograph: DemoPhotograph;
  /** The point that the camera circles around: the middle of the car. */
  readonly centreX: number;
  readonly centreY: number;
  /** Width of the widest and of the closest view. */
  readonly widest: number;
  readonly closest: number;
  /** How far the camera sways to each side. */
  readonly swayX: number;
  readonly swayY: number;
}

const PACKAGE = { package: 'opencv', version: '7.0.0' };
const LICENCE = 'photographs of opencv@7.0.0 on the npm registry, licence MIT';

const SCENES: readonly Scene[] = [
  {
    photograph: {
      ...PACKAGE,
      file: 'examples/files/car1.jpg',
      sha256: '799857fdd4927e8bae3b0ae3307f62ffdc96e5548c62d03e26df00abc21020d6',
    },
    centreX: 0.49,
    centreY: 0.5,
    widest: 1,
    closest: 0.78,
    swayX: 0.07,
    swayY: 0.05,
  },
  {
    photograph: {
      ...PACKAGE,
      file: 'examples/files/car2.jpg',
      sha256: '115235372cafcdcc2a7cb69e87f0ad1715b5450eb55c55976b03de5592c1e98f',
    },
    centreX: 0.51,
    centreY: 0.57,
    widest: 1,
    closest: 0.8,
    swayX: -0.07,
    swayY: 0.04,
  },
];

const CLIP = { width: 960, height: 540, rateFps: 20, sceneS: 6, fadeS: 1, crf: 23, preset: 'veryfast' } as const;

/** Photographs are enlarged to this before views are cut out at whole pixels: the camera moves in steps of half a pixel. */
const CANVAS_WIDTH = 2 * CLIP.width;

/** Formats that a browser plays as they are; the longest side of a clip that has to be converted. */
const PLAYABLE = { codec: 'h264', pixelFormats: ['yuv420p', 'yuvj420p'], container: /(^|,)mp4(,|$)/ };
const TRANSCODED_SIDE_MAX = 1280;

/** Clips in the cache; with one more the oldest goes. */
const CAMERAS_KEPT_MAX = 4;
const CAMERA_NAME = /^camera-[0-9a-f]{16}\.mp4$/;

/**
 * The demo camera: the path of an H.264 MP4 that a page plays in a loop. Without a clip of the user's own it is made once,
 * by moving smoothly over two photographs of cars, and kept in the cache. A clip of the user's own is taken as it is where
 * browsers play it, else converted once and kept. Errors: those of `openVideo` and `fetchPhotograph`, OUTPUT_FAILED; the
 * signal's reason when aborted.
 */
export async function makeDemoCamera(options: DemoCameraOptions): Promise<string> {
  const folder = join(options.cacheDir, 'cameras');
  await mkdir(folder, { recursive: true }).catch((cause: Error) => {
    throw new SightlineError('OUTPUT_FAILED', `cannot make the folder ${folder}: ${cause.message}`, { cause });
  });
  const { clip } = options;
  const path =
    clip === undefined ? await cameraOfPhotographs(folder, options) : await cameraOfClip(folder, clip, options);
  await removeOldest(folder, path);
  return path;
}

/** Most clips in the cache: the latest, and the one in use. */
async function removeOldest(folder: string, inUse: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => CAMERA_NAME.test(name));
  const clips = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      return { path, mtimeMs: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0 };
    }),
  );
  const others = clips.filter(({ path }) => path !== inUse).toSorted((one, other) => other.mtimeMs - one.mtimeMs);
  for (const { path } of others.slice(CAMERAS_KEPT_MAX - 1)) await rm(path, { force: true });
}

async function cameraOfPhotographs(folder: string, options: DemoCameraOptions): Promise<string> {
  const path = cachePath(folder, { SCENES, CLIP, CANVAS_WIDTH });
  if (await isWhole(path)) return path;
  options.log?.write('camera_making', { from: LICENCE });
  const canvases: Canvas[] = [];
  for (const { photograph } of SCENES) canvases.push(await canvasOf(await options.fetchPhotograph(photograph)));
  await using writer = await createVideo(path, CLIP);
  using painter = new ScenePainter(canvases);
  const frames = Math.round(SCENES.length * CLIP.sceneS * CLIP.rateFps);
  for (let index = 0; index < frames; index += 1) {
    options.signal?.throwIfAborted();
    const timeS = index / CLIP.rateFps;
    await writer.writeYuv420(await painter.paint(timeS), timeS);
  }
  await writer.finish();
  return path;
}

async function cameraOfClip(folder: string, clip: string, { log, signal }: DemoCameraOptions): Promise<string> {
  await using video = await openVideo(clip, { sideMax: TRANSCODED_SIDE_MAX, ...(signal && { signal }) });
  const { codec, pixelFormat, format } = video.info;
  if (codec === PLAYABLE.codec && PLAYABLE.pixelFormats.includes(pixelFormat) && PLAYABLE.container.test(format)) {
    return clip;
  }
  const { size, mtimeMs } = await stat(clip);
  const path = cachePath(folder, { clip: await realpath(clip), size, mtimeMs, TRANSCODED_SIDE_MAX });
  if (await isWhole(path)) return path;
  log?.write('camera_converting', { clip, codec });
  await using writer = await createVideo(path, video.info);
  for await (const picture of video) await writer.write(picture.data, picture.ptsS, picture);
  await writer.finish();
  return path;
}

function cachePath(folder: string, recipe: unknown): string {
  const name = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
  return join(folder, `camera-${name}.mp4`);
}

/** A file takes its name only when it is finished; later damage shows when it is opened. */
async function isWhole(path: string): Promise<boolean> {
  try {
    await (await openVideo(path)).close();
    return true;
  } catch {
    return false;
  }
}

/** The share of each scene in the picture at a time, and the progress (0..1) of the scene. Shares add up to 1. */
export function scenesAt(timeS: number): readonly { scene: number; share: number; progress: number }[] {
  const { sceneS, fadeS } = CLIP;
  const loopS = SCENES.length * sceneS;
  return SCENES.flatMap((_, scene) => {
    // Since the scene began to show, a fade before its own time; the loop's end runs on into its beginning.
    const sinceS = (((timeS - scene * sceneS + fadeS) % loopS) + loopS) % loopS;
    const share = Math.min(1, sinceS / fadeS, (sceneS + fadeS - sinceS) / fadeS);
    return share > 0 ? [{ scene, share, progress: sinceS / (sceneS + fadeS) }] : [];
  });
}

/** The part of a photograph of `width` × `height` that the camera sees, in whole pixels, of the clip's shape and inside. */
export function viewOf(
  scene: Omit<Scene, 'photograph'>,
  progress: number,
  { width, height }: { readonly width: number; readonly height: number },
): { left: number; top: number; width: number; height: number } {
  const turn = 2 * Math.PI * progress;
  const middle = (scene.widest + scene.closest) / 2;
  const zoom = middle + (scene.widest - middle) * Math.cos(turn);
  const aspect = CLIP.width / CLIP.height;
  const viewWidth = Math.round(Math.min(zoom * width, height * aspect));
  const viewHeight = Math.round(viewWidth / aspect);
  return {
    left: startOf((scene.centreX + scene.swayX * Math.sin(turn)) * width, width, viewWidth),
    top: startOf((scene.centreY + scene.swayY * Math.sin(2 * turn)) * height, height, viewHeight),
    width: viewWidth,
    height: viewHeight,
  };
}

/** Where a view around `wanted` starts so that it stays inside. */
function startOf(wanted: number, size: number, view: number): number {
  return Math.round(Math.max(0, Math.min(size - view, wanted - view / 2)));
}

/** A photograph as three planes of full size (yuv444p, BT.709), from which views are cut out at any pixel. */
interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly planes: readonly Buffer[];
  /** Bytes from row to row. */
  readonly pitch: number;
}

/** The JPEG's picture, enlarged. */
async function canvasOf(jpeg: Uint8Array): Promise<Canvas> {
  const header = readJpegHeader(jpeg);
  const size = { width: CANVAS_WIDTH, height: Math.round((CANVAS_WIDTH * header.height) / header.width) };
  const rgb = Buffer.allocUnsafeSlow(header.width * header.height * 3);
  decodeJpeg(jpeg, rgb);
  using source = Frame.fromVideoBuffer(rgb, { width: header.width, height: header.height, format: AV_PIX_FMT_RGB24 });
  using target = new Frame();
  using scaler = new SoftwareScaleContext();
  target.alloc();
  target.width = size.width;
  target.height = size.height;
  target.format = AV_PIX_FMT_YUV444P;
  target.colorSpace = AVCOL_SPC_BT709;
  target.colorRange = AVCOL_RANGE_MPEG;
  scaler.allocContext();
  checkScaled(target.getBuffer());
  checkScaled(await scaler.scaleFrame(target, source));
  const planes = (target.data ?? []).slice(0, 3).map((plane) => Buffer.from(plane));
  return { ...size, planes, pitch: target.linesize[0]! };
}

/** Paints the clip's pictures as packed yuv420p, into two buffers of its own. */
class ScenePainter implements Disposable {
  readonly #canvases: readonly Canvas[];
  readonly #pictures = [0, 1].map(() => Buffer.alloc((CLIP.width * CLIP.height * 3) / 2));
  readonly #scaler = new SoftwareScaleContext();

  constructor(canvases: readonly Canvas[]) {
    this.#canvases = canvases;
  }

  /** Good until the next call. */
  async paint(timeS: number): Promise<Buffer> {
    const [first, second] = this.#pictures as [Buffer, Buffer];
    const [one, other] = scenesAt(timeS);
    await this.#view(one!, first);
    if (other) {
      await this.#view(other, second);
      blend(first, second, other.share);
    }
    return first;
  }

  [Symbol.dispose](): void {
    this.#scaler.freeContext();
  }

  async #view({ scene, progress }: { scene: number; progress: number }, into: Buffer): Promise<void> {
    const canvas = this.#canvases[scene]!;
    const { left, top, width, height } = viewOf(SCENES[scene]!, progress, canvas);
    const begin = top * canvas.pitch + left;
    const { pitch } = canvas;
    const targets = yuv420Planes(into, CLIP.width, CLIP.height);
    const scaler = this.#scaler;
    scaler.freeContext();
    // The zoom makes each view another size, and with it each scaling.
    scaler.getContext(width, height, AV_PIX_FMT_YUV444P, CLIP.width, CLIP.height, AV_PIX_FMT_YUV420P, SWS_BILINEAR);
    const code = await scaler.scale(
      canvas.planes.map((plane) => plane.subarray(begin)),
      [pitch, pitch, pitch],
      0,
      height,
      targets,
      [CLIP.width, CLIP.width / 2, CLIP.width / 2],
    );
    checkScaled(code);
  }
}

/** Mixes `other` into `picture`: `share` 1 leaves nothing of `picture`. */
function blend(picture: Uint8Array, other: Uint8Array, share: number): void {
  const weight = Math.round(share * 256);
  for (let i = 0; i < picture.length; i += 1) {
    const value = picture[i]!;
    picture[i] = value + (((other[i]! - value) * weight) >> 8);
  }
}

function checkScaled(code: number): void {
  if (code < 0) throw new SightlineError('INTERNAL', `the demo camera cannot be painted: ${reasonOf(code)}`);
}
