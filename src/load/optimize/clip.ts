import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { encodeJpeg, type RgbPicture } from '../../media/jpeg.ts';
import { openVideo, type VideoInfo } from '../../sources/file.ts';
import type { PictureLimit } from './judge.ts';
import { shrink } from './shrink.ts';

/** The user's clip as cameras would show it: a bounded number of its frames, kept as pixels and as JPEGs. */

const FRAMES_MAX = 24;
/** Of these, so that one still frame at the beginning does not stand for a whole film. */
const SPREAD_FRAMES = 480;
const PIXEL_BYTES_MAX = 256 * 2 ** 20;
const JPEG_BYTES_MAX = 64 * 2 ** 20;
/** A long film, or one that is hard to decode, must not take the time of the measurements. */
const READ_TIME_MAX_MS = 6_000;
/** A limit between two steps is taken for the lower one: a grant that moves a little must not cost new JPEGs each time. */
const STEPS = 32;
const QUALITY_STEP = 5;

export interface Clip {
  readonly frames: readonly RgbPicture[];
  readonly info: VideoInfo;
}

/**
 * Some frames of a clip, spread over its first minute or so. `sideMax`: larger pictures are scaled down to it, pixels. Errors:
 * those of `openVideo`; SOURCE_UNREADABLE for a clip of one frame; the signal's reason.
 */
export async function readClip(input: string, options: { sideMax: number; signal: AbortSignal }): Promise<Clip> {
  const beganMs = performance.now();
  await using video = await openVideo(input, options);
  const { info } = video;
  const bytes = info.width * info.height * 3;
  const wanted = Math.max(2, Math.min(FRAMES_MAX, Math.floor(PIXEL_BYTES_MAX / bytes)));
  const every = Math.max(1, Math.floor(Math.min(info.frames ?? SPREAD_FRAMES, SPREAD_FRAMES) / wanted));
  const frames: RgbPicture[] = [];
  try {
    for await (const { data, width, height, index } of video) {
      const isLate = performance.now() - beganMs > READ_TIME_MAX_MS;
      // A film that is too slow to decode is taken as it comes.
      if (index % every === 0 || isLate) frames.push({ data: data.slice(), width, height });
      if (frames.length >= wanted || (isLate && frames.length >= 2)) break;
    }
  } catch (thrown) {
    // The frames before the break are enough.
    if (frames.length < 2 || toSightlineError(thrown).code !== 'SOURCE_UNREADABLE') throw thrown;
  }
  if (frames.length < 2) {
    throw new SightlineError('SOURCE_UNREADABLE', `cannot use ${input}: it has one frame; a clip needs several`);
  }
  return { frames, info };
}

/** The size of a picture of `from` within a limit, its shape kept; never larger than it is. */
export function sizeWithin(
  from: { readonly width: number; readonly height: number },
  limit: { readonly width: number; readonly height: number },
): { readonly width: number; readonly height: number } {
  const scale = Math.min(1, limit.width / from.width, limit.height / from.height);
  return { width: Math.max(1, Math.round(from.width * scale)), height: Math.max(1, Math.round(from.height * scale)) };
}

/** The clip's frames as JPEGs within any limit: encoded on first use, then kept. */
export class PictureBook {
  readonly frames: number;
  /** Size of the clip's pictures, pixels. */
  readonly size: { readonly width: number; readonly height: number };
  readonly #pictures: readonly RgbPicture[];
  readonly #sets = new Map<string, (Uint8Array | undefined)[]>();
  #bytes = 0;

  constructor({ frames }: Pick<Clip, 'frames'>) {
    const { width, height } = frames[0]!;
    this.frames = frames.length;
    this.size = { width, height };
    this.#pictures = frames;
  }

  /** Encodes all frames for a limit, so that none is while something is measured. */
  prepare(limit: PictureLimit): void {
    const set = this.#open(keyOf(this.#exact(limit)));
    for (let i = 0; i < this.frames; i += 1) this.#frame(set, i, this.#exact(limit));
  }

  jpeg(index: number, limit: PictureLimit): Uint8Array {
    const exact = this.#exact(limit);
    const prepared = this.#sets.get(keyOf(exact));
    const wanted = prepared ? exact : this.#stepped(limit);
    return this.#frame(prepared ?? this.#open(keyOf(wanted)), index % this.frames, wanted);
  }

  #exact(limit: PictureLimit): PictureLimit {
    return { ...sizeWithin(this.size, limit), quality: limit.quality };
  }

  #stepped({ width, height, quality }: PictureLimit): PictureLimit {
    const scale = Math.min(1, width / this.size.width, height / this.size.height);
    const step = Math.max(1, Math.floor(scale * STEPS)) / STEPS;
    const limit = { width: this.size.width * step, height: this.size.height * step };
    return { ...sizeWithin(this.size, limit), quality: Math.max(1, quality - (quality % QUALITY_STEP)) };
  }

  #open(key: string): (Uint8Array | undefined)[] {
    const set = this.#sets.get(key) ?? [];
    this.#sets.set(key, set);
    return set;
  }

  #frame(set: (Uint8Array | undefined)[], index: number, wanted: PictureLimit): Uint8Array {
    const kept = set[index];
    if (kept) return kept;
    const picture = this.#pictures[index]!;
    // A clip may change its size in the middle; each picture keeps its shape.
    const isUsual = picture.width === this.size.width && picture.height === this.size.height;
    const { width, height } = isUsual ? wanted : sizeWithin(picture, wanted);
    const jpeg = encodeJpeg(shrink(picture, width, height), wanted.quality).slice();
    set[index] = jpeg;
    this.#bytes += jpeg.length;
    this.#forgetOldest(set);
    return jpeg;
  }

  /** Those made first go first, but for the set in use. */
  #forgetOldest(inUse: (Uint8Array | undefined)[]): void {
    for (const [key, set] of this.#sets) {
      if (this.#bytes <= JPEG_BYTES_MAX) return;
      if (set === inUse) continue;
      for (const jpeg of set) this.#bytes -= jpeg?.length ?? 0;
      this.#sets.delete(key);
    }
  }
}

function keyOf({ width, height, quality }: PictureLimit): string {
  return `${width}×${height} ${quality}`;
}
