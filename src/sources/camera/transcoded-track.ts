import type { Frame } from 'node-av/lib';
import { mp4Fragment } from '../../media/fmp4.ts';
import { MaskFault, type MaskPainter } from './mask-painter.ts';
import type { Outlet } from './outlet.ts';
import { PictureEncoder } from './picture-encoder.ts';
import { DURATION_SHARE, type NamedFrame } from './raw-track.ts';
import { TICKS_PER_S } from './timeline.ts';

/**
 * The raw channel's other form: decoded pictures of a camera, encoded anew as H.264, for viewers that cannot play the camera's own codec. A picture keeps the name
 * and the times of its frame. Pictures come in the order of presentation, so that their numbers are not in order where the camera has B-frames; some never come.
 */

const KEY_INTERVAL_TICKS = TICKS_PER_S;
/** Media Source Extensions drop what comes so many durations later than the one before up to the next key frame. */
const LATE_DURATIONS = 2;
/** Frames that have come, and of which it is not known yet what becomes of them. */
const EXPECTED_MAX = 1_000;

export interface TranscodedCounts {
  readonly transcoded: number;
  readonly transcodedDropped: number;
  readonly encodeMs: number;
}

export class TranscodedTrack {
  readonly #outlet: Outlet;
  readonly #onFailed: (reason: string) => void;
  readonly #masks: MaskPainter;
  #isWanted = false;
  #isBusy = false;
  #encoder: PictureEncoder | undefined;
  /** Of the encoder, or of the one that could not be opened. */
  #epoch: number | undefined;
  #isBroken = false;
  #hasHeader = false;
  #needsKey = true;
  #lastKeyTicks = 0;
  #lastTicks = -1;
  #lastDuration = 0;
  /** Viewers have had none yet: what comes before the first one is not missing. */
  #isBeginning = true;
  readonly #expected: { readonly epoch: number; readonly ticks: number }[] = [];
  /** Frames that are known to be missing before the next one. */
  #missed = 0;
  /** Of the last one, see `ReaderData`. */
  #order = -1;
  #sequence = 0;
  #transcoded = 0;
  #dropped = 0;
  #encodeMs = 0;

  /** `onFailed`: nothing more comes until another epoch, or a viewer, begins. */
  constructor(outlet: Outlet, masks: MaskPainter, onFailed: (reason: string) => void) {
    this.#outlet = outlet;
    this.#masks = masks;
    this.#onFailed = onFailed;
  }

  get counts(): TranscodedCounts {
    return { transcoded: this.#transcoded, transcodedDropped: this.#dropped, encodeMs: this.#encodeMs };
  }

  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    this.#begin(undefined);
    this.#isBeginning = true;
    this.#expected.length = 0;
    if (!this.#isBusy) this.#closeEncoder();
  }

  /** A frame has come from the camera: it is missing unless its picture comes before one that is presented later. */
  expect({ epoch, times }: NamedFrame): void {
    if (this.#isBroken) this.#dropped += 1;
    if (!this.#isWanted || this.#isBeginning || this.#isBroken) return;
    this.#expected.push({ epoch, ticks: times.presentation });
    if (this.#expected.length <= EXPECTED_MAX) return;
    this.#expected.shift();
    this.#miss(1);
  }

  /** A picture, which is only read, of this frame. One call at a time. Errors: MaskFault. */
  async take(picture: Frame, frame: NamedFrame): Promise<void> {
    if (!this.#isWanted) return;
    this.#isBusy = true;
    try {
      await this.#take(picture, frame);
    } catch (thrown) {
      // It is this picture alone.
      if (thrown instanceof MaskFault) throw thrown;
      this.#isBroken = true;
      this.#onFailed((thrown as Error).message);
    } finally {
      this.#isBusy = false;
      if (!this.#isWanted || this.#isBroken) this.#closeEncoder();
    }
  }

  /** No call is under way. */
  close(): void {
    this.#isWanted = false;
    this.#closeEncoder();
  }

  async #take(picture: Frame, frame: NamedFrame): Promise<void> {
    const { epoch, times } = frame;
    const ticks = times.presentation;
    if (epoch !== this.#epoch) {
      this.#closeEncoder();
      this.#begin(epoch);
    }
    // It is missing already: time only rises.
    if (this.#isBroken || ticks <= this.#lastTicks) return;
    if (!this.#outlet.hasRoom('fragment')) return;
    const beganMs = performance.now();
    this.#encoder ??= await PictureEncoder.open(picture, this.#masks);
    const { source } = this.#encoder;
    if (picture.width !== source.width || picture.height !== source.height) return;
    const isLate = ticks - this.#lastTicks > LATE_DURATIONS * this.#lastDuration;
    const isKeyDue = ticks - this.#lastKeyTicks >= KEY_INTERVAL_TICKS;
    const { units, isKey } = await this.#encoder.encode(picture, ticks, this.#needsKey || isLate || isKeyDue);
    this.#encodeMs += performance.now() - beganMs;
    // Nobody watches any more, or somebody else.
    if (epoch !== this.#epoch) return;
    this.#lastTicks = ticks;
    if (isKey) this.#lastKeyTicks = ticks;
    if (!this.#send(frame, units, isKey)) {
      this.#needsKey = true;
      return;
    }
    this.#needsKey = false;
    this.#isBeginning = false;
    this.#transcoded += 1;
  }

  #send(frame: NamedFrame, units: readonly Uint8Array[], isKey: boolean): boolean {
    const { camera, epoch, times, bytes: _, ...named } = frame;
    if (this.#needsKey && !isKey) return false;
    if (!this.#hasHeader) {
      const { codecString, width, height, init: bytes } = this.#encoder!.track;
      const header = { kind: 'init', isTranscoded: true, camera, epoch, codecString, width, height, bytes } as const;
      if (!this.#outlet.send(header)) return false;
      this.#hasHeader = true;
    }
    this.#settle(epoch, times.presentation);
    const duration = Math.ceil(times.duration * DURATION_SHARE);
    const order = this.#order + this.#missed + 1;
    const isSent = this.#outlet.send({
      ...named,
      camera,
      epoch,
      kind: 'fragment',
      isTranscoded: true,
      order,
      isKey,
      mediaTimeS: times.presentation / TICKS_PER_S,
      durationS: times.duration / TICKS_PER_S,
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
    if (missed > 0) this.#miss(missed);
  }

  #miss(count: number): void {
    this.#missed += count;
    this.#dropped += count;
  }

  #begin(epoch: number | undefined): void {
    this.#epoch = epoch;
    this.#isBroken = false;
    this.#hasHeader = false;
    this.#needsKey = true;
    this.#missed = 0;
    this.#order = -1;
    this.#lastTicks = -1;
    this.#lastDuration = 0;
  }

  #closeEncoder(): void {
    this.#encoder?.close();
    this.#encoder = undefined;
  }
}
