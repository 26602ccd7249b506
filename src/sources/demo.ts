import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import {
  CANVAS_WIDTH,
  canvasOf,
  framesOf,
  LICENCE,
  PAGE_FILM,
  ScenePainter,
  WALL_FILMS,
  type Canvas,
  type DemoPhotograph,
  type Film,
} from './demo-film.ts';
import { openVideo } from './file.ts';
import { createVideo } from './writer.ts';

export interface DemoOptions {
  /** Clips are kept in its subfolder `cameras`, and made when they are not there. */
  readonly cacheDir: string;
  /** Gets a photograph's bytes, whose checksum it has verified. */
  readonly fetchPhotograph: (photograph: DemoPhotograph) => Promise<Uint8Array>;
  /** Text for the log: the source, and its licence. */
  readonly log?: Log | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DemoCameraOptions extends DemoOptions {
  /** A clip of the user's own that is the camera instead. */
  readonly clip?: string | undefined;
}

/** Formats that a browser plays as they are; the longest side of a clip that has to be converted. */
const PLAYABLE = { codec: 'h264', pixelFormats: ['yuv420p', 'yuvj420p'], container: /(^|,)mp4(,|$)/ };
const TRANSCODED_SIDE_MAX = 1280;

/** Clips in the cache, all that a demo shows and some that users brought; with one more that goes which was used longest ago. */
const CLIPS_KEPT_MAX = 16;
const CLIP_NAME = /^camera-[0-9a-f]{16}\.mp4$/;
/** One that is being made, or was when its process was killed: then it has not grown for long. */
const PARTIAL_NAME = /^\.camera-[0-9a-f]{16}\.mp4\..*partial$/;
const PARTIAL_KEPT_MS = 3_600_000;

/**
 * The demo camera of the first page: the path of an H.264 MP4 that it plays in a loop. Without a clip of the user's own it is made once
 * out of photographs, and kept in the cache. A clip of the user's own is taken as it is where browsers play it, else converted once and
 * kept. Errors: those of `openVideo` and `fetchPhotograph`, OUTPUT_FAILED; the signal's reason when aborted.
 */
export async function makeDemoCamera({ clip, ...options }: DemoCameraOptions): Promise<string> {
  const clips = await openClips(options);
  if (clip !== undefined) return await cameraOfClip(clips, clip, options);
  const path = clips.pathOf(recipeOf(PAGE_FILM));
  if (await clips.has(path)) return path;
  options.log?.write('camera_making', { cameras: 1, from: LICENCE });
  await shoot(PAGE_FILM, path, canvases(options), options);
  await clips.tidy(path);
  return path;
}

export interface DemoView {
  readonly id: string;
  /** Of an H.264 MP4 with a key frame each second, to be read in a loop at its own pace. */
  readonly path: string;
}

/** The cameras of the demo's wall, each as soon as its clip is there. The same holds for them as for the other clip. Errors: as there. */
export async function* makeDemoWall(options: DemoOptions): AsyncGenerator<DemoView, void, undefined> {
  const clips = await openClips(options);
  const views = Object.entries(WALL_FILMS).map(([id, film]) => ({ id, film, path: clips.pathOf(recipeOf(film)) }));
  const missing: typeof views = [];
  for (const view of views) {
    options.signal?.throwIfAborted();
    if (await clips.has(view.path)) yield view;
    else missing.push(view);
  }
  if (missing.length === 0) return;
  options.log?.write('camera_making', { cameras: missing.length, from: LICENCE });
  const canvasFor = canvases(options);
  for (const view of missing) {
    await shoot(view.film, view.path, canvasFor, options);
    await clips.tidy(view.path);
    yield view;
  }
}

/** What changes a clip changes its name. */
function recipeOf(film: Film): unknown {
  return { film, CANVAS_WIDTH };
}

type CanvasFor = (photograph: DemoPhotograph) => Promise<Canvas>;

/** Each photograph is fetched and decoded once, when it is first needed. */
function canvases({ fetchPhotograph }: DemoOptions): CanvasFor {
  const made = new Map<string, Promise<Canvas>>();
  return (photograph) => {
    const key = photograph.sha256;
    let canvas = made.get(key);
    if (!canvas) made.set(key, (canvas = fetchPhotograph(photograph).then(canvasOf)));
    return canvas;
  };
}

async function shoot(film: Film, path: string, canvasFor: CanvasFor, { signal }: DemoOptions): Promise<void> {
  const scenes: Canvas[] = [];
  for (const { photograph } of film.scenes) scenes.push(await canvasFor(photograph));
  await using writer = await createVideo(path, film);
  using painter = new ScenePainter(film, scenes);
  for (let index = 0; index < framesOf(film); index += 1) {
    signal?.throwIfAborted();
    const timeS = index / film.rateFps;
    await writer.writeYuv420(await painter.paint(timeS), timeS);
  }
  await writer.finish();
}

async function cameraOfClip(clips: Clips, clip: string, { log, signal }: DemoOptions): Promise<string> {
  await using video = await openVideo(clip, { sideMax: TRANSCODED_SIDE_MAX, ...(signal && { signal }) });
  const { codec, pixelFormat, format } = video.info;
  if (codec === PLAYABLE.codec && PLAYABLE.pixelFormats.includes(pixelFormat) && PLAYABLE.container.test(format)) {
    return clip;
  }
  const { size, mtimeMs } = await stat(clip);
  const path = clips.pathOf({ clip: await realpath(clip), size, mtimeMs, TRANSCODED_SIDE_MAX });
  if (await clips.has(path)) return path;
  log?.write('camera_converting', { clip, codec });
  await using writer = await createVideo(path, video.info);
  for await (const picture of video) await writer.write(picture.data, picture.ptsS, picture);
  await writer.finish();
  await clips.tidy(path);
  return path;
}

interface Clips {
  pathOf(recipe: unknown): string;
  /** It is there and whole; then it counts as used now. */
  has(path: string): Promise<boolean>;
  /** Makes room after another one has come. */
  tidy(inUse: string): Promise<void>;
}

/** Errors: OUTPUT_FAILED. */
async function openClips({ cacheDir }: DemoOptions): Promise<Clips> {
  const folder = join(cacheDir, 'cameras');
  await mkdir(folder, { recursive: true }).catch((cause: Error) => {
    throw new SightlineError('OUTPUT_FAILED', `cannot make the folder ${folder}: ${cause.message}`, { cause });
  });
  return {
    pathOf: (recipe) => {
      const name = createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);
      return join(folder, `camera-${name}.mp4`);
    },
    has: async (path) => {
      if (!(await isWhole(path))) return false;
      const now = new Date();
      // A cache that may only be read is as good.
      await utimes(path, now, now).catch(() => undefined);
      return true;
    },
    tidy: (inUse) => removeOldest(folder, inUse),
  };
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

async function removeOldest(folder: string, inUse: string): Promise<void> {
  const files = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const path = join(folder, name);
      return { name, path, mtimeMs: (await stat(path).catch(() => undefined))?.mtimeMs ?? 0 };
    }),
  );
  const others = files.filter(({ name, path }) => CLIP_NAME.test(name) && path !== inUse);
  others.sort((one, other) => other.mtimeMs - one.mtimeMs);
  const untilMs = Date.now() - PARTIAL_KEPT_MS;
  const left = files.filter(({ name, mtimeMs }) => PARTIAL_NAME.test(name) && mtimeMs < untilMs);
  for (const { path } of [...others.slice(CLIPS_KEPT_MAX - 1), ...left]) await rm(path, { force: true });
}
