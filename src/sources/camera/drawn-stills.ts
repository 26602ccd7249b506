import type { Size } from '../../base/picture.ts';
import { encodeJpeg } from '../../media/jpeg.ts';
import { drawAll } from './drawings.ts';
import type { ScaledPicture } from './picture-scaler.ts';
import type { NamedFrame } from './raw-track.ts';
import type { Drawing } from './result-board.ts';

/** Stills with what was found drawn on them: pictures that went to the engine wait here, small, for their results, while somebody asks for such stills. */

/** Whoever asks again within that time finds what came meanwhile: a page that asks for hundreds, some at a time, comes round by then. */
export const DRAWN_STILLS_MS = 60_000;
/** One that was looked at is preferred to a newer one that was not. */
export const OWN_STILL_MS_MAX = 2_000;
/** Boxes of another frame are drawn, as such, for as long as a camera may be without a result. */
export const STILL_BOXES_MS_MAX = 4_000;
/** Where there is no result yet, the first one is waited for. */
export const FIRST_RESULT_WAIT_MS = 3_500;
/** Widths in which pictures are kept; stills that are wider than the last of these are made of the newest picture. */
const WIDTHS_MAX = 4;
const WIDTH_KEPT_MAX = 1_280;
/** Pictures that wait for results, and their bytes in all widths together. */
const PICTURES_MAX = 4;
const BYTES_MAX = 16 * 1024 * 1024;
/** Of JPEG; where there are masks, coding is to leave their margins black. */
const QUALITY = { plain: 80, masked: 92 } as const;

export interface DrawnStill extends Size {
  readonly frame: NamedFrame;
  readonly jpeg: Uint8Array;
}

interface Kept {
  readonly frame: NamedFrame;
  /** Of the pictures. */
  readonly bytes: number;
  /** By width that is asked for: the picture, and once it was given, the still. */
  readonly byWidth: Map<number, { readonly picture: ScaledPicture; still?: DrawnStill }>;
}

interface Board {
  isDone(frame: NamedFrame): boolean;
  drawingFor(frame: NamedFrame): Drawing;
}

export class DrawnStills {
  /** Until then somebody may ask for another one. */
  #untilMs = -Infinity;
  /** The one that was asked for last at the end; until when it is kept. */
  readonly #widths = new Map<number, number>();
  /** The newest at the end. */
  #kept: Kept[] = [];
  #givenMs = -Infinity;
  readonly #isMasked: boolean;

  constructor(isMasked: boolean) {
    this.#isMasked = isMasked;
  }

  /** Somebody asks for stills of this width. */
  want(width: number, nowMs: number): void {
    this.#untilMs = nowMs + DRAWN_STILLS_MS;
    if (width > WIDTH_KEPT_MAX) return;
    this.#widths.delete(width);
    this.#widths.set(width, nowMs + DRAWN_STILLS_MS);
    if (this.#widths.size > WIDTHS_MAX) this.#widths.delete(this.#widths.keys().next().value!);
  }

  /** Somebody asks for such stills, of any width. */
  isWanted(nowMs: number): boolean {
    return nowMs <= this.#untilMs;
  }

  /** In which pictures are to be kept; forgets what nobody asks for any more. */
  widths(nowMs: number): readonly number[] {
    for (const [width, untilMs] of this.#widths) if (nowMs > untilMs) this.#widths.delete(width);
    if (this.#widths.size === 0) this.#kept = [];
    return [...this.#widths.keys()];
  }

  /** A picture that went to the engine, in each of the widths. */
  keep(frame: NamedFrame, pictures: ReadonlyMap<number, ScaledPicture>): void {
    const byWidth = new Map(Array.from(pictures, ([width, picture]) => [width, { picture }] as const));
    const bytes = [...pictures.values()].reduce((sum, picture) => sum + picture.bytes.length, 0);
    this.#kept = [...this.#kept, { frame, bytes, byWidth }].slice(-PICTURES_MAX);
    let sum = this.#kept.reduce((all, one) => all + one.bytes, 0);
    while (sum > BYTES_MAX) sum -= this.#kept.shift()!.bytes;
  }

  /** Of this frame one was given: none of an earlier one is given any more. */
  given(frame: NamedFrame): void {
    this.#givenMs = Math.max(this.#givenMs, frame.arrivedMs);
  }

  /** The newest one whose results are there, if it is new enough. */
  newest(width: number, nowMs: number, board: Board): DrawnStill | undefined {
    const at = this.#kept.findLastIndex(({ frame }) => board.isDone(frame) && board.drawingFor(frame).boxes === 'own');
    if (at < 0) return undefined;
    // Those before it are of no use any more.
    this.#kept = this.#kept.slice(at);
    const [{ frame, byWidth }] = this.#kept as [Kept];
    const entry = byWidth.get(width);
    if (!entry || nowMs - frame.arrivedMs > OWN_STILL_MS_MAX || frame.arrivedMs < this.#givenMs) return undefined;
    entry.still ??= { frame, ...drawnStill(entry.picture, board.drawingFor(frame), this.#isMasked) };
    return entry.still;
  }
}

/** A JPEG of the picture, which is drawn on for that. `isMasked`: it has masks. */
export function drawnStill(
  { width, height, bytes: data }: Omit<ScaledPicture, 'source'>,
  { results }: Pick<Drawing, 'results'>,
  isMasked: boolean,
): Size & { readonly jpeg: Uint8Array } {
  const picture = { data, width, height };
  drawAll(picture, results);
  return { width, height, jpeg: encodeJpeg(picture, isMasked ? QUALITY.masked : QUALITY.plain) };
}
