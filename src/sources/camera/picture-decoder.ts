import { AV_FRAME_FLAG_CORRUPT, AVERROR_EAGAIN, AVERROR_EOF, AVERROR_INVALIDDATA } from 'node-av/constants';
import { Codec, CodecContext, Dictionary, Frame, Packet } from 'node-av/lib';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { NO_TIMESTAMP, reasonOf } from '../ffmpeg.ts';
import type { TrackFacts } from './source.ts';

/** A frame as it is coded. `id` names it among those that are decoded: it comes back with the picture, in whatever order pictures come. */
export interface CodedFrame {
  readonly id: number;
  readonly bytes: Uint8Array;
  /** Decoding can begin at it. */
  readonly isKey: boolean;
}

export interface DecoderCounts {
  readonly decoded: number;
  readonly damaged: number;
  readonly decodeMs: number;
}

/** Called for each picture, which is the decoder's again when it has returned. */
export type OnPicture = (picture: Frame, id: number) => Promise<void>;

export interface DecoderLimits {
  readonly pixelsMax: number;
  /** Parameters of coding; undefined: they are in the frames. */
  readonly extradata: Uint8Array | undefined;
}

/** The part of FFmpeg's decoder that is used. */
export type OpenedCodec = Pick<CodecContext, 'sendPacket' | 'receiveFrame' | 'flushBuffers'>;

/** A decoder that was opened for a stream. */
export interface OpenedDecoder {
  /** `software`, or the kind of device. */
  readonly by: string;
  readonly codec: OpenedCodec;
  /** The picture in the process's memory, until the next one. Errors: DecoderFault. */
  toMemory(frame: Frame): Promise<Frame>;
  free(): void;
}

/** Errors: CAMERA_FORMAT. */
export type OpenDecoder = (track: TrackFacts, limits: DecoderLimits) => Promise<OpenedDecoder>;

/** It is the device that has failed, and not the frame. */
export class DecoderFault extends Error {}

/** Damaged frames in a row of which a device may make nothing; then the software takes over, to see whether it is the device. */
const FAULTS_MAX = 3;
/** So many frames later a picture comes at the latest: decoders keep 16 of H.265 back at most, and some devices as many again. */
const DELAY_MAX = 64;

export const softwareDecoder: OpenDecoder = async (track, limits) => {
  const found = Codec.findDecoder(track.codecId);
  if (!found) throw new SightlineError('CAMERA_FORMAT', `FFmpeg has no decoder for ${track.codec}`);
  const codec = await openCodec(track, found, limits);
  return { by: 'software', codec, toMemory: async (frame) => frame, free: () => codec.freeContext() };
};

/** Opens one of FFmpeg's decoders with one thread. Errors: CAMERA_FORMAT. */
export async function openCodec(
  track: TrackFacts,
  found: Codec,
  { pixelsMax, extradata }: DecoderLimits,
  prepare?: (codec: CodecContext) => void,
): Promise<CodecContext> {
  const codec = new CodecContext();
  codec.allocContext3(found);
  if (track.parameters) codec.parametersToContext(track.parameters);
  if (extradata) codec.extraData = Buffer.from(extradata);
  codec.threadCount = 1;
  prepare?.(codec);
  using options = Dictionary.fromObject({ max_pixels: String(pixelsMax) });
  const opened = await codec.open2(found, options);
  if (opened >= 0) return codec;
  codec.freeContext();
  throw new SightlineError('CAMERA_FORMAT', `FFmpeg's decoder for ${track.codec} does not take it`);
}

/**
 * Decodes the frames of one camera: by a device where it is told to, and by the software where that fails, from the next key frame on. One call at a time.
 */
export class PictureDecoder {
  readonly #onPicture: OnPicture;
  /** Another one decodes from now on. `fault`: why the device does not. */
  readonly #onDecoder: (by: string, fault: string | null) => void;
  readonly #packet = new Packet();
  readonly #frame = new Frame();
  #track: TrackFacts | undefined;
  #limits: DecoderLimits = { pixelsMax: 0, extradata: undefined };
  /** undefined: the software. */
  #device: OpenDecoder | undefined;
  #open: OpenedDecoder | undefined;
  /** Told as the one that decodes. */
  #by: string | undefined;
  /** The device has failed: nothing more is made of what it has. */
  #fault: string | undefined;
  /** In a row, since the last picture: frames that the device made nothing of, and those that were given to it. */
  #faults = 0;
  #unanswered = 0;
  /** Something was decoded since it was flushed. */
  #isDirty = false;
  #decoded = 0;
  #damaged = 0;
  #decodeMs = 0;

  constructor(onPicture: OnPicture, onDecoder: (by: string, fault: string | null) => void = () => undefined) {
    this.#onPicture = onPicture;
    this.#onDecoder = onDecoder;
    this.#packet.alloc();
    this.#frame.alloc();
  }

  get counts(): DecoderCounts {
    return { decoded: this.#decoded, damaged: this.#damaged, decodeMs: this.#decodeMs };
  }

  /**
   * Also in place of one that is open. `limits.extradata`: where they are not those of the track any more. `device`: undefined: the software; where it cannot be opened the
   * software is as well. Errors: CAMERA_FORMAT.
   */
  async open(track: TrackFacts, limits: DecoderLimits, device?: OpenDecoder): Promise<void> {
    this.#track = track;
    this.#limits = limits;
    this.#device = device;
    await this.#reopen();
  }

  /** A frame in its turn. Pictures of this one or of earlier ones come of it, or none. */
  async next(frame: CodedFrame): Promise<void> {
    await this.#decode(frame);
    if (this.#fault === undefined) return;
    await this.#leaveDevice();
    // What comes behind any other frame cannot be decoded without what was before it.
    if (frame.isKey) await this.#decode(frame);
  }

  /** A key frame alone: its picture comes at once. What comes behind it cannot be decoded. Returns whether there was one. */
  async single(frame: CodedFrame): Promise<boolean> {
    if (!this.#open) return false;
    this.#flush();
    const before = this.#decoded;
    await this.next(frame);
    await this.#drain();
    if (this.#device && this.#decoded === before) this.#noteNothing();
    if (this.#fault !== undefined) {
      await this.#leaveDevice();
      if (this.#decoded === before) {
        await this.#decode(frame);
        await this.#drain();
      }
    }
    return this.#decoded > before;
  }

  /** Pictures that it still has. */
  async drain(): Promise<void> {
    await this.#drain();
    if (this.#fault !== undefined) await this.#leaveDevice();
  }

  /** No call is under way. */
  close(): void {
    this.#open?.free();
    this.#open = undefined;
    this.#packet.free();
    this.#frame.free();
  }

  async #reopen(): Promise<void> {
    this.#open?.free();
    this.#open = undefined;
    this.#isDirty = false;
    this.#fault = undefined;
    this.#faults = this.#unanswered = 0;
    const track = this.#track!;
    if (this.#device) {
      try {
        this.#open = await this.#device(track, this.#limits);
        return;
      } catch (thrown) {
        this.#device = undefined;
        this.#tell('software', toSightlineError(thrown).message);
      }
    }
    this.#open = await softwareDecoder(track, this.#limits);
  }

  /** What the device has not given yet is lost. */
  async #leaveDevice(): Promise<void> {
    const fault = this.#fault!;
    this.#device = undefined;
    await this.#reopen();
    this.#tell('software', fault);
  }

  #tell(by: string, fault: string | null): void {
    if (by === this.#by && fault === null) return;
    this.#by = by;
    this.#onDecoder(by, fault);
  }

  async #decode({ id, bytes }: CodedFrame): Promise<void> {
    const open = this.#open;
    if (!open) return;
    this.#isDirty = true;
    const packet = this.#packet;
    packet.data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    packet.pts = BigInt(id);
    packet.dts = NO_TIMESTAMP;
    const beganMs = performance.now();
    const sent = await open.codec.sendPacket(packet);
    packet.unref();
    this.#decodeMs += performance.now() - beganMs;
    if (sent < 0) this.#noteDamage(sent);
    if (this.#device && ++this.#unanswered > DELAY_MAX) this.#fault ??= `no picture came of ${DELAY_MAX} frames`;
    await this.#receive(open);
  }

  async #drain(): Promise<void> {
    const open = this.#open;
    if (!open || this.#fault !== undefined) return;
    await open.codec.sendPacket(null);
    await this.#receive(open);
    this.#flush();
  }

  #flush(): void {
    if (this.#isDirty) this.#open?.codec.flushBuffers();
    this.#isDirty = false;
  }

  /** Damaged frames are the camera's affair, as long as the device makes something of the others. */
  #noteDamage(code: number): void {
    this.#damaged += 1;
    if (!this.#device) return;
    if (code !== AVERROR_INVALIDDATA) this.#fault ??= reasonOf(code);
    else this.#noteNothing();
  }

  #noteNothing(): void {
    if (++this.#faults >= FAULTS_MAX) this.#fault ??= `it made nothing of ${FAULTS_MAX} frames in a row`;
  }

  async #receive(open: OpenedDecoder): Promise<void> {
    const frame = this.#frame;
    while (this.#fault === undefined) {
      const beganMs = performance.now();
      const received = await open.codec.receiveFrame(frame);
      this.#decodeMs += performance.now() - beganMs;
      if (received === AVERROR_EAGAIN || received === AVERROR_EOF) return;
      if (received < 0) return this.#noteDamage(received);
      try {
        if (frame.pts === NO_TIMESTAMP || frame.hasFlags(AV_FRAME_FLAG_CORRUPT)) this.#damaged += 1;
        else await this.#take(open, frame);
      } finally {
        frame.unref();
      }
    }
  }

  async #take(open: OpenedDecoder, frame: Frame): Promise<void> {
    const id = Number(frame.pts);
    let picture: Frame;
    const beganMs = performance.now();
    try {
      picture = await open.toMemory(frame);
    } catch (thrown) {
      if (!(thrown instanceof DecoderFault)) throw thrown;
      this.#fault = thrown.message;
      return;
    }
    this.#decodeMs += performance.now() - beganMs;
    this.#faults = this.#unanswered = 0;
    this.#decoded += 1;
    this.#tell(open.by, null);
    await this.#onPicture(picture, id);
  }
}
