import { AV_FRAME_DATA_DISPLAYMATRIX } from 'node-av/constants';
import type { Frame } from 'node-av/lib';
import { TICKS_PER_S, type ChannelForm, type DrawnBoxes } from '../../base/camera-frame.ts';
import { mp4Fragment } from '../../media/fmp4.ts';
import { orientationOf, type Orientation } from '../../media/orient.ts';
import { Pace } from './decode-plan.ts';
import { MaskFault, type MaskPainter } from './mask-painter.ts';
import type { Outlet } from './outlet.ts';
import { PictureEncoder } from './picture-encoder.ts';
import { DURATION_SHARE, type NamedFrame } from './raw-track.ts';

/**
 * Another form of a camera's raw channel: decoded pictures, encoded as H.264, as they are for viewers that cannot play the camera's own codec, or with what was found drawn on them. A picture keeps the name
 * and the times of its frame. Pictures come in the order of presentation, so that their numbers are not in order where the camera has B-frames; some never come.
 */

const KEY_INTERVAL_TICKS = TICKS_PER_S;
/** Media Source Extensions drop what comes so many durations later than the one before up to the next key frame. */
const LATE_DURATIONS = 2;
/** Frames that have come, and of which it is not known yet what becomes of them. */
const EXPECTED_MAX = 1_000;
/** A picture waits no longer for what is to be drawn on it: who watches sees what happens. */
export const DRAWN_WAIT_MS = 200;
/** Pictures that wait for that, or for the encoder. */
const WAITING_MAX = 8;

export interface EncodedWish {
  /** Neither side of the pictures is longer. */
  readonly sideMax: number;
  /** Pictures a second, at most; others are left out. */
  readonly fpsMax: number;
}

/** Draws on pictures. */
export interface Annotator {
  /** What there is to be drawn is there, or will not come. */
  isDone(frame: NamedFrame): boolean;
  /** On a picture as it is encoded, which is stored so. */
  draw(picture: Frame, frame: NamedFrame, orientation: Orientation): DrawnBoxes;
}

export interface EncodedTrackOptions {
  readonly form: Exclude<ChannelForm, 'raw'>;
  readonly outlet: Outlet;
  readonly masks: MaskPainter;
  /** Nothing more comes until another epoch, or a viewer, begins. */
  readonly onFailed: (reason: string) => void;
  /** Left out: pictures go on as they are, at once. */
  readonly annotator?: Annotator;
}

export interface EncodedCounts {
  readonly encoded: number;
  readonly dropped: number;
  readonly encodeMs: number;
}

interface Waiting {
  /** Of its own. */
  readonly picture: Frame;
  readonly frame: NamedFrame;
  readonly orientation: Orientation;
  untilMs: number;
}

export class EncodedTrack {
  readonly #options: EncodedTrackOptions;
  #wish: EncodedWish | undefined;
  #isTaking = false;
  #encoder: PictureEncoder | undefined;
  /** Of the encoder, or of the one that could not be opened. */
  #epoch: number | undefined;
  #isBroken = false;
  #hasHeader = false;
  #needsKey = true;
  #lastKeyTicks = 0;
  #lastTicks = -1;
  #lastDuration = 0;
  /** Of the last picture that was taken. */
  #takenTicks = -1;
  readonly #pace = new Pace();
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #encoding: Promise<void> | undefined;
  /** Viewers have had none yet: what comes before the first one is not missing. */
  #isBeginning = true;
  readonly #expected: { readonly epoch: number; readonly ticks: number }[] = [];
  /** Pictures for which there was no time since the last one that was taken. */
  #passed = 0;
  /** Frames that are known to be missing before the next one. */
  #missed = 0;
  /** Of the last one, see `ReaderData`. */
  #order = -1;
  #sequence = 0;
  #encoded = 0;
  #dropped = 0;
  #encodeMs = 0;

  constructor(options: EncodedTrackOptions) {
    this.#options = options;
  }

  get isWanted(): boolean {
    return this.#wish !== undefined;
  }

  get counts(): EncodedCounts {
    return { encoded: this.#encoded, dropped: this.#dropped, encodeMs: this.#encodeMs };
  }

  /** undefined: nobody watches. */
  want(wish: EncodedWish | undefined): void {
    const before = this.#wish;
    this.#wish = wish;
    // At another rate or size it goes on.
    if ((before === undefined) === (wish === undefined)) return;
    this.#begin(undefined);
    this.#isBeginning = true;
    this.#expected.length = 0;
    this.#closeIdle();
  }

  /** A frame has come from the camera: it is missing unless its picture comes before one that is presented later. */
  expect({ epoch, times }: NamedFrame): void {
    if (this.#isBroken) this.#dropped += 1;
    if (this.#wish) this.#expect(epoch, times.presentation);
  }

  #expect(epoch: number, ticks: number): void {
    if (this.#isBroken) return;
    this.#expected.push({ epoch, ticks });
    if (this.#expected.length <= EXPECTED_MAX) return;
    this.#expected.shift();
    if (!this.#isBeginning) this.#miss(1);
  }

  /** There was no time for a picture. */
  pass(): void {
    if (this.#wish) this.#passed += 1;
  }

  /** A picture, which is only read, of this frame. `isPreferred`: rather than one that comes a moment later. One call at a time. Errors: MaskFault. */
  async take(picture: Frame, frame: NamedFrame, isPreferred = false): Promise<void> {
    if (!this.#wish) return;
    this.#isTaking = true;
    try {
      await this.#take(picture, frame, isPreferred);
    } catch (thrown) {
      // It is this picture alone.
      if (thrown instanceof MaskFault) throw thrown;
      this.#fail(thrown);
    } finally {
      this.#isTaking = false;
      this.#closeIdle();
    }
  }

  /** There is more to be drawn. */
  look(): void {
    if (this.#encoding) return;
    const first = this.#nextDue();
    if (first) this.#encoding = this.#encodeFrom(first);
  }

  /** No call of `take` is under way. */
  async close(): Promise<void> {
    this.#wish = undefined;
    this.#begin(undefined);
    await this.#encoding;
    this.#closeEncoder();
  }

  async #take(picture: Frame, frame: NamedFrame, isPreferred: boolean): Promise<void> {
    const { annotator, outlet, masks } = this.#options;
    const { epoch, times } = frame;
    const ticks = times.presentation;
    if (epoch !== this.#epoch) {
      this.#begin(epoch);
      await this.#encoding;
      this.#closeEncoder();
    }
    // It is missing already: time only rises.
    const wish = this.#wish;
    if (!wish || this.#isBroken || ticks <= this.#takenTicks || !this.#isDue(ticks, wish.fpsMax, isPreferred)) return;
    // Of those that are left out for the rate none is missing.
    if (annotator) this.expect(frame);
    if (!outlet.hasRoom('fragment')) return;
    const source = this.#encoder?.source;
    if (source && (picture.width !== source.width || picture.height !== source.height)) return;
    if (this.#encoder?.suits(picture, wish.sideMax) === false) await this.#endSize();
    const beganMs = performance.now();
    this.#encoder ??= await PictureEncoder.open(picture, masks, wish.sideMax);
    const scaled = await this.#encoder.scale(picture);
    this.#encodeMs += performance.now() - beganMs;
    // Nobody watches any more, or somebody else.
    if (epoch !== this.#epoch) return scaled.free();
    this.#takenTicks = ticks;
    const orientation = orientationOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX));
    this.#waiting.push({ picture: scaled, frame, orientation, untilMs: performance.now() + DRAWN_WAIT_MS });
    this.look();
    // Where the encoder is behind, decoding waits for it: no more pictures are kept than may wait for what is to be drawn on them.
    if (!annotator || this.#waiting.length >= WAITING_MAX) await this.#encoding;
  }

  /** The next picture has another size, and begins with a header of its own. */
  async #endSize(): Promise<void> {
    // What waits has this one still, and goes with what there is to be drawn on it by now.
    for (const one of this.#waiting) one.untilMs = 0;
    this.look();
    await this.#encoding;
    this.#closeEncoder();
    this.#hasHeader = false;
    this.#needsKey = true;
  }

  #isDue(ticks: number, fpsMax: number, isPreferred: boolean): boolean {
    if (fpsMax === Infinity) return true;
    const [atMs, intervalMs] = [(ticks * 1000) / TICKS_PER_S, 1000 / fpsMax];
    if (!this.#pace.isDue(atMs, isPreferred ? intervalMs / 2 : 0)) return false;
    // Of those for which there was no time, as many as it would have been the turn of.
    const missed = Math.min(this.#passed, Math.floor(this.#pace.lateMs(atMs) / intervalMs));
    for (let i = 0; i < missed; i++) this.#expect(this.#epoch!, ticks - 1);
    this.#passed = 0;
    this.#pace.take(atMs, intervalMs);
    return true;
  }

  async #encodeFrom(first: Waiting): Promise<void> {
    try {
      for (let next: Waiting | undefined = first; next; next = this.#nextDue()) {
        try {
          await this.#encode(next);
        } finally {
          next.picture.free();
        }
      }
    } catch (thrown) {
      this.#fail(thrown);
    } finally {
      this.#encoding = undefined;
      this.#closeIdle();
    }
  }

  /** Those behind one that waits wait, too. */
  #nextDue(): Waiting | undefined {
    clearTimeout(this.#timer);
    const [first] = this.#waiting;
    if (!first) return undefined;
    const { annotator } = this.#options;
    const leftMs = first.untilMs - performance.now();
    if (annotator && leftMs > 0 && this.#waiting.length <= WAITING_MAX && !annotator.isDone(first.frame)) {
      this.#timer = setTimeout(() => this.look(), leftMs);
      return undefined;
    }
    return this.#waiting.shift();
  }

  async #encode({ picture, frame, orientation }: Waiting): Promise<void> {
    const { epoch, times } = frame;
    const ticks = times.presentation;
    if (epoch !== this.#epoch || this.#isBroken || !this.#encoder) return;
    const beganMs = performance.now();
    const boxes = this.#options.annotator?.draw(picture, frame, orientation);
    const isLate = ticks - this.#lastTicks > LATE_DURATIONS * this.#lastDuration;
    const isKeyDue = ticks - this.#lastKeyTicks >= KEY_INTERVAL_TICKS;
    const { units, isKey } = await this.#encoder.encode(picture, ticks, this.#needsKey || isLate || isKeyDue);
    this.#encodeMs += performance.now() - beganMs;
    if (epoch !== this.#epoch) return;
    this.#lastTicks = ticks;
    if (isKey) this.#lastKeyTicks = ticks;
    if (!this.#send(frame, units, isKey, boxes)) {
      this.#needsKey = true;
      return;
    }
    this.#needsKey = false;
    this.#isBeginning = false;
    this.#encoded += 1;
  }

  #send(frame: NamedFrame, units: readonly Uint8Array[], isKey: boolean, boxes: DrawnBoxes | undefined): boolean {
    const { form, outlet } = this.#options;
    const { camera, epoch, times, bytes: _, ...named } = frame;
    if (this.#needsKey && !isKey) return false;
    if (!this.#hasHeader) {
      const { codecString, width, height, init: bytes } = this.#encoder!.track;
      if (!outlet.send({ kind: 'init', form, camera, epoch, codecString, width, height, bytes })) return false;
      this.#hasHeader = true;
    }
    this.#settle(epoch, times.presentation);
    // Those that are left out for the rate are shown by this one as well.
    const shown = Math.max(times.duration, TICKS_PER_S / this.#wish!.fpsMax);
    const duration = Math.ceil(shown * DURATION_SHARE);
    const order = this.#order + this.#missed + 1;
    const isSent = outlet.send({
      ...named,
      camera,
      epoch,
      kind: 'fragment',
      form,
      boxes: boxes ?? 'none',
      order,
      isKey,
      mediaTimeS: times.presentation / TICKS_PER_S,
      durationS: shown / TICKS_PER_S,
      bytes: mp4Fragment(++this.#sequence, {
        decodeTime: times.presentation,
        duration,
        compositionOffset: 0,
        isKey,
        units,
      }),
    });
    this.#lastDuration = duration;
    if (!isSent) {
      this.#miss(1);
      return false;
    }
    this.#order = order;
    this.#missed = 0;
    return true;
  }

  /** Of the frames that have come, those that were to be presented before this one are missing. */
  #settle(epoch: number, ticks: number): void {
    const later = this.#expected.filter(
      (frame) => frame.epoch > epoch || (frame.epoch === epoch && frame.ticks > ticks),
    );
    const isHere = this.#expected.some((frame) => frame.epoch === epoch && frame.ticks === ticks);
    const missed = this.#expected.length - later.length - (isHere ? 1 : 0);
    this.#expected.splice(0, Infinity, ...later);
    if (missed > 0 && !this.#isBeginning) this.#miss(missed);
  }

  #miss(count: number): void {
    this.#missed += count;
    this.#dropped += count;
  }

  #fail(thrown: unknown): void {
    this.#isBroken = true;
    this.#drop();
    this.#options.onFailed((thrown as Error).message);
  }

  #begin(epoch: number | undefined): void {
    this.#epoch = epoch;
    this.#isBroken = false;
    this.#hasHeader = false;
    this.#needsKey = true;
    this.#missed = 0;
    this.#order = -1;
    this.#lastTicks = this.#takenTicks = -1;
    this.#lastDuration = 0;
    this.#passed = 0;
    this.#pace.reset();
    this.#drop();
  }

  /** What waits is of no use any more. */
  #drop(): void {
    clearTimeout(this.#timer);
    for (const { picture } of this.#waiting.splice(0)) picture.free();
  }

  /** Nobody needs the encoder, and nothing is under way with it. */
  #closeIdle(): void {
    if (this.#isTaking || this.#encoding || (this.#wish && !this.#isBroken)) return;
    this.#closeEncoder();
  }

  #closeEncoder(): void {
    this.#encoder?.close();
    this.#encoder = undefined;
  }
}
