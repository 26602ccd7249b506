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
import { decodeJpeg, readJpegHeader } from '../media/jpeg.ts';
import { reasonOf, yuv420Planes } from './ffmpeg.ts';
import type { VideoWriterOptions } from './writer.ts';

/** What the demo shows: films that are made of photographs by moving smoothly over them, and end where they began. */

/** A photograph inside a package of the npm registry. The package is never installed: only these files are taken. */
export interface DemoPhotograph {
  readonly package: string;
  readonly version: string;
  readonly file: string;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** Where a camera looks in a photograph; everything in fractions of the photograph's sides. */
export interface Scene {
  readonly photograph: DemoPhotograph;
  /** The point that the camera circles around. */
  readonly centreX: number;
  readonly centreY: number;
  /** Width of the widest and of the closest view. */
  readonly widest: number;
  readonly closest: number;
  /** How far the camera sways to each side. */
  readonly swayX: number;
  readonly swayY: number;
}

export interface Film extends VideoWriterOptions {
  readonly scenes: readonly Scene[];
  /** Of each scene. */
  readonly sceneS: number;
  /** How long a scene takes to turn into the next one. */
  readonly fadeS: number;
}

const PACKAGE = { package: 'opencv', version: '7.0.0' };
export const LICENCE = 'photographs of opencv@7.0.0 on the npm registry, licence MIT';

const HILLSIDE: DemoPhotograph = {
  ...PACKAGE,
  file: 'examples/files/car1.jpg',
  sha256: '799857fdd4927e8bae3b0ae3307f62ffdc96e5548c62d03e26df00abc21020d6',
};
const FACTORY: DemoPhotograph = {
  ...PACKAGE,
  file: 'examples/files/car2.jpg',
  sha256: '115235372cafcdcc2a7cb69e87f0ad1715b5450eb55c55976b03de5592c1e98f',
};

/** The clip that the first page plays as its camera: it swings around one car, then around the other. */
export const PAGE_FILM: Film = {
  width: 960,
  height: 540,
  rateFps: 20,
  sceneS: 6,
  fadeS: 1,
  crf: 23,
  preset: 'veryfast',
  scenes: [
    {
      photograph: HILLSIDE,
      centreX: 0.49,
      centreY: 0.5,
      widest: 1,
      closest: 0.78,
      swayX: 0.07,
      swayY: 0.05,
    },
    {
      photograph: FACTORY,
      centreX: 0.51,
      centreY: 0.57,
      widest: 1,
      closest: 0.8,
      swayX: -0.07,
      swayY: 0.04,
    },
  ],
};

/** As a camera on a pole in the wind: by less than would count as moved. */
function watching(photograph: DemoPhotograph, centreX: number, centreY: number, widest: number): Film {
  const sway = 0.03 * widest;
  const scene = { photograph, centreX, centreY, widest, closest: widest * 0.93, swayX: sway, swayY: sway / 2 };
  return {
    width: 640,
    height: 360,
    rateFps: 12,
    sceneS: 12,
    fadeS: 0,
    crf: 25,
    preset: 'veryfast',
    keyFrameS: 1,
    bFrames: 0,
    scenes: [scene],
  };
}

/**
 * What the cameras of the demo's wall see, by their ids. So many cameras share one process.
 */
export const WALL_FILMS: Readonly<Record<string, Film>> = {
  'demo-factory': watching(FACTORY, 0.5, 0.6, 0.94),
  'demo-factory-right': watching(FACTORY, 0.75, 0.62, 0.5),
  'demo-hillside': watching(HILLSIDE, 0.5, 0.5, 0.94),
  'demo-hillside-left': watching(HILLSIDE, 0.29, 0.52, 0.54),
};

/** Photographs are enlarged to this before views are cut out at whole pixels: the camera moves in steps of half a pixel. */
export const CANVAS_WIDTH = 2 * PAGE_FILM.width;

/** Pictures of a film, until it begins anew. */
export function framesOf({ scenes, sceneS, rateFps }: Film): number {
  return Math.round(scenes.length * sceneS * rateFps);
}

/** The share of each scene in the picture at a time, and the progress (0..1) of the scene. Shares add up to 1. */
export function scenesAt(
  { scenes, sceneS, fadeS }: Film,
  timeS: number,
): readonly { scene: number; share: number; progress: number }[] {
  const loopS = scenes.length * sceneS;
  if (scenes.length === 1) return [{ scene: 0, share: 1, progress: (timeS % loopS) / loopS }];
  return scenes.flatMap((_, scene) => {
    // Since the scene began to show, a fade before its own time; the loop's end runs on into its beginning.
    const sinceS = (((timeS - scene * sceneS + fadeS) % loopS) + loopS) % loopS;
    const share = Math.min(1, sinceS / fadeS, (sceneS + fadeS - sinceS) / fadeS);
    return share > 0 ? [{ scene, share, progress: sinceS / (sceneS + fadeS) }] : [];
  });
}

/** The part of a photograph of `width` × `height` that the camera sees, in whole pixels, of the film's shape and inside. */
export function viewOf(
  scene: Omit<Scene, 'photograph'>,
  progress: number,
  { width, height }: { readonly width: number; readonly height: number },
  aspect: number,
): { left: number; top: number; width: number; height: number } {
  const turn = 2 * Math.PI * progress;
  const middle = (scene.widest + scene.closest) / 2;
  const zoom = middle + (scene.widest - middle) * Math.cos(turn);
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
export interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly planes: readonly Buffer[];
  /** Bytes from row to row. */
  readonly pitch: number;
}

/** The JPEG's picture, enlarged. */
export async function canvasOf(jpeg: Uint8Array): Promise<Canvas> {
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

/** Paints a film's pictures as packed yuv420p, into two buffers of its own. */
export class ScenePainter implements Disposable {
  readonly #film: Film;
  readonly #canvases: readonly Canvas[];
  readonly #pictures: readonly [Buffer, Buffer];
  readonly #scaler = new SoftwareScaleContext();

  /** `canvases`: one for each scene. */
  constructor(film: Film, canvases: readonly Canvas[]) {
    this.#film = film;
    this.#canvases = canvases;
    const picture = (): Buffer => Buffer.alloc((film.width * film.height * 3) / 2);
    this.#pictures = [picture(), picture()];
  }

  /** Good until the next call. */
  async paint(timeS: number): Promise<Buffer> {
    const [first, second] = this.#pictures;
    const [one, other] = scenesAt(this.#film, timeS);
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
    const film = this.#film;
    const canvas = this.#canvases[scene]!;
    const { left, top, width, height } = viewOf(film.scenes[scene]!, progress, canvas, film.width / film.height);
    const begin = top * canvas.pitch + left;
    const { pitch } = canvas;
    const targets = yuv420Planes(into, film.width, film.height);
    const scaler = this.#scaler;
    scaler.freeContext();
    // The zoom makes each view another size, and with it each scaling.
    scaler.getContext(width, height, AV_PIX_FMT_YUV444P, film.width, film.height, AV_PIX_FMT_YUV420P, SWS_BILINEAR);
    const code = await scaler.scale(
      canvas.planes.map((plane) => plane.subarray(begin)),
      [pitch, pitch, pitch],
      0,
      height,
      targets,
      [film.width, film.width / 2, film.width / 2],
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
