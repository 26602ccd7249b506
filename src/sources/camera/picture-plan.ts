import type { Size } from '../../base/picture.ts';
import { Priority } from '../../base/sample.ts';
import type { PictureScale } from './messages.ts';

/** How many pictures of a camera are asked for, and how large. Pure. */

/**
 * However busy the engine is, a camera has so many pictures: where key frames come every second or more often, and one in so many is taken (`decode-plan.ts`), it is looked at
 * every four seconds at least.
 */
const FLOOR_FPS = 0.35;
/** From this rate on a camera's pictures come so often that it does not matter when the first one does. */
const SPREAD_FPS_MAX = 2;
/** A camera's share changes a little all the time: an order costs a message, and the camera its place among the others. */
const RATE_NEWS = 0.2;
/** Pipelines that look at parts of a picture get it no larger than this, pixels a side. */
const SIDE_MAX = 1_280;

/**
 * Before a camera shows what its pictures cost, its share is no bound at all, and a hundred cameras that come together would bury the engine: all together
 * begin with so many pictures a second, each with no more than one; it gets at most twice as many with each order, which come a second apart.
 */
const START_ALL_FPS = 10;
const START_FPS = 1;
const GROWTH = 2;
/** No camera sends more than that by far. */
const UNBOUNDED_FPS = 100;

/** A camera that somebody watches with boxes drawn on it has so many at least: boxes of a frame are drawn on those behind it for somewhat longer (`BOXES_MS_MAX`). */
const DRAWN_FPS = 1;

/**
 * The class in which pictures of a camera wait for the engine. `isDrawn`: somebody watches it with boxes drawn on it; among many cameras that share the engine evenly it would have
 * fewer than `DRAWN_FPS`, so they go first. They are few: how many are asked for follows the share of the camera's own class. Critical is for who may claim that.
 */
export function waitingClass(priority: Priority, isDrawn: boolean): Priority {
  return isDrawn && priority < Priority.high ? ((priority + 1) as Priority) : priority;
}

export interface PictureUse {
  /** Part of their shares of the engine that cameras use, and how many there are. */
  readonly used: number;
  readonly cameras: number;
  /** Somebody watches what is drawn on it. */
  readonly isDrawn: boolean;
}

/** Pictures a second to ask of a camera whose share of the engine this is: one that is alone is in nobody's way. */
export function pictureRate(shareFps: number, { used, cameras, isDrawn }: PictureUse): number {
  return Math.max(isDrawn ? DRAWN_FPS : FLOOR_FPS, shareFps * (used + (1 - used) / Math.max(1, cameras)));
}

/** Weight of a second's share in what a slow camera follows. */
const STEADY_LEARNING = 0.12;
/** A fall by this factor is no swing. */
const STEADY_FALL = 4;

/**
 * What to follow of a share that is looked at once a second. The shares of many cameras swing together with each burst of their pictures, and an order for each swing would make the
 * next one.
 */
export function steadyShare(before: number | undefined, shareFps: number): number {
  if (before === undefined || before >= SPREAD_FPS_MAX || shareFps >= SPREAD_FPS_MAX) return shareFps;
  if (shareFps < before / STEADY_FALL) return shareFps;
  return before + STEADY_LEARNING * (shareFps - before);
}

/** The next order on the way to a rate; `orderedFps` undefined: there was none since the connection began. */
export function nextRate(orderedFps: number | undefined, fps: number, cameras: number): number {
  if (orderedFps === undefined || orderedFps === 0) {
    const startFps = Math.min(START_FPS, START_ALL_FPS / Math.max(1, cameras));
    return Math.min(fps, Math.max(FLOOR_FPS, startFps));
  }
  const most = orderedFps * GROWTH;
  return most >= UNBOUNDED_FPS ? fps : Math.min(fps, most);
}

/** Is the difference to what was ordered worth an order? */
export function isRateNews(orderedFps: number, fps: number): boolean {
  if (orderedFps === fps) return false;
  if (orderedFps === 0 || fps === 0 || orderedFps === Infinity || fps === Infinity) return true;
  return Math.abs(fps / orderedFps - 1) >= RATE_NEWS;
}

/** So few are in nobody's way. */
const SPREAD_CAMERAS = 4;
/** Without a picture for so long a camera gets its turn at once. */
const PAUSE_MS_MAX = 3_000;

/**
 * How long to wait with an order, which a process answers by a picture at once: cameras that get one at the same moment would come at the same moment from then on, time and
 * again. `sinceLastMs`: since its last picture; undefined: it is the first order of this connection, as it may be of many others at the same time. `random`: 0 to 1.
 */
export function orderDelayMs(
  rateFps: number,
  cameras: number,
  sinceLastMs: number | undefined,
  random: number,
): number {
  if (rateFps <= 0 || !isSpread(rateFps, cameras)) return 0;
  if (sinceLastMs === undefined) return Math.min(random / rateFps, PAUSE_MS_MAX / 1000) * 1000;
  return Math.min((random * 1000) / rateFps, Math.max(0, PAUSE_MS_MAX - sinceLastMs));
}

function isSpread(rateFps: number, cameras: number): boolean {
  return rateFps < SPREAD_FPS_MAX && cameras >= SPREAD_CAMERAS;
}

/** A picture that no worker has taken by then says nothing of the present; by then there is another one. */
const PATIENCE_MS = 4_000;
/** A camera is to be looked at so often at least; its key frames are taken to come every second. */
const LOOKED_AT_MS = 4_000;
const KEY_MS = 1_000;
/** Runs of the model that a picture may wait for a worker, by how often the camera's next key frame can still take its place in time: not at all, once, twice. */
const WAIT_RUNS = [16, 2.5, 1.5] as const;

/**
 * How long a picture may wait for a worker. Where many cameras have few pictures each, one that would be late is left out, and the camera's next key frame takes its place.
 * `sinceResultMs`: how long ago the camera's last picture with a result came. `serviceMs`: a run of the model; 0: not known.
 */
export function patienceMs(
  rateFps: number,
  { cameras, isDrawn }: Omit<PictureUse, 'used'>,
  sinceResultMs: number,
  serviceMs: number,
): number {
  if (serviceMs === 0 || !isSpread(rateFps, cameras)) return PATIENCE_MS;
  // By then there is another one.
  if (isDrawn) return 1_000 / DRAWN_FPS;
  const chances = Math.floor((LOOKED_AT_MS - sinceResultMs) / KEY_MS);
  return Math.min(PATIENCE_MS, serviceMs * WAIT_RUNS[Math.max(0, Math.min(chances, 2)) as 0 | 1 | 2]);
}

/** What a model takes, where pictures are for that one alone. */
export type ModelSize = Size & { readonly fit: 'contain' | 'stretch' };

/** `source`: of the camera's pictures, as far as it is known. A picture is never made larger: the model's own preprocessing does that. */
export function pictureScale(model: ModelSize | undefined, source: Size | undefined): PictureScale {
  const scale: ModelSize = model ?? { width: SIDE_MAX, height: SIDE_MAX, fit: 'contain' };
  const isSmall = source !== undefined && source.width <= scale.width && source.height <= scale.height;
  return isSmall ? null : scale;
}

export function isSameScale(one: PictureScale | undefined, other: PictureScale): boolean {
  if (!one || !other) return one === other;
  return one.width === other.width && one.height === other.height && one.fit === other.fit;
}
