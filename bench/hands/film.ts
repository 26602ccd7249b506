import type { Picture } from '../../src/base/picture.ts';
import { framesOf, type Clip, type ClipFrame } from './clips.ts';

/**
 * Pictures of one hand, and of two, as long as they are wanted: a clip in which one hand is held up, forward and backward, beside
 * what is there before the hand comes, or beside itself in the mirror.
 */

export const FILMED = 'no';
/** Indices of its frames: one hand is in each of them, and the smaller models see it, too. */
export const FILMED_FRAMES = { first: 0, last: 13 } as const;
/** Begins with a person who shows no hand: what is there before the second hand comes. */
export const EMPTY = 'eat';
const RATE_FPS = 30;

/** One hand in each of them: frames of the clip `FILMED`, forward and backward, so that the first may follow the last. */
export async function filmedFrames(clip: Clip): Promise<ClipFrame[]> {
  const all: ClipFrame[] = [];
  for await (const frame of framesOf(clip)) {
    if (all.push(frame) > FILMED_FRAMES.last) break;
  }
  const frames = all.slice(FILMED_FRAMES.first);
  return [...frames, ...frames.slice(1, -1).toReversed()];
}

/** Pixels of a frame from `left` on. */
interface Part {
  readonly frame: ClipFrame;
  readonly left: number;
  readonly isMirrored: boolean;
}

export class HandFilm {
  readonly #empty: ClipFrame;
  /** Forward and backward. */
  readonly #frames: readonly ClipFrame[];
  readonly #left: number;

  private constructor(empty: ClipFrame, frames: readonly ClipFrame[], left: number) {
    this.#empty = empty;
    this.#frames = frames;
    this.#left = left;
  }

  /** `handX`: where the middle of the hand is, as a fraction of the width. */
  static async open(clip: Clip, emptyClip: Clip, handX: number): Promise<HandFilm> {
    const frames = await filmedFrames(clip);
    const { width } = frames[0]!;
    const { value: empty } = await framesOf(emptyClip).next();
    const left = Math.round(Math.min(width / 2, Math.max(0, handX * width - width / 4)));
    return new HandFilm(empty!, frames, left);
  }

  /** Unix ms. */
  timeMs(index: number): number {
    return 1_700_000_000_000 + (index * 1_000) / RATE_FPS;
  }

  one(index: number): Picture {
    return this.#beside(index, { frame: this.#empty, left: this.#left, isMirrored: false });
  }

  two(index: number): Picture {
    return this.#beside(index, { frame: this.#at(index), left: this.#left, isMirrored: true });
  }

  #at(index: number): ClipFrame {
    return this.#frames[index % this.#frames.length]!;
  }

  #beside(index: number, right: Part): Picture {
    const { width, height } = this.#empty;
    const bytes = new Uint8Array(width * height * 3);
    copyHalf({ frame: this.#at(index), left: this.#left, isMirrored: false }, bytes, 0);
    copyHalf(right, bytes, width / 2);
    return { kind: 'rgb', bytes, width, height, source: { width, height } };
  }
}

function copyHalf({ frame, left, isMirrored }: Part, into: Uint8Array, at: number): void {
  const { width, height, bytes } = frame;
  const half = width / 2;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < half; x += 1) {
      const from = (y * width + left + (isMirrored ? half - 1 - x : x)) * 3;
      const to = (y * width + at + x) * 3;
      into[to] = bytes[from]!;
      into[to + 1] = bytes[from + 1]!;
      into[to + 2] = bytes[from + 2]!;
    }
  }
}
