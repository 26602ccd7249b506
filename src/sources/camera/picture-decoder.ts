import { AV_FRAME_FLAG_CORRUPT, AVERROR_EAGAIN, AVERROR_EOF } from 'node-av/constants';
import { Codec, CodecContext, Dictionary, Frame, Packet } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import { NO_TIMESTAMP } from '../ffmpeg.ts';
import type { TrackFacts } from './source.ts';

/** A frame as it is coded. `id` names it among those that are decoded: it comes back with the picture, in whatever order pictures come. */
export interface CodedFrame {
  readonly id: number;
  readonly bytes: Uint8Array;
}

export interface DecoderCounts {
  readonly decoded: number;
  readonly damaged: number;
  readonly decodeMs: number;
}

/** Called for each picture, which is the decoder's again when it has returned. */
export type OnPicture = (picture: Frame, id: number) => Promise<void>;

/** One decoder of one thread. One call at a time. */
export class PictureDecoder {
  readonly #onPicture: OnPicture;
  readonly #packet = new Packet();
  readonly #frame = new Frame();
  #codec: CodecContext | undefined;
  /** Something was decoded since it was flushed. */
  #isDirty = false;
  #decoded = 0;
  #damaged = 0;
  #decodeMs = 0;

  constructor(onPicture: OnPicture) {
    this.#onPicture = onPicture;
    this.#packet.alloc();
    this.#frame.alloc();
  }

  get counts(): DecoderCounts {
    return { decoded: this.#decoded, damaged: this.#damaged, decodeMs: this.#decodeMs };
  }

  /** Also in place of one that is open. `extradata`: where they are not those of the track any more. Errors: CAMERA_FORMAT. */
  async open(track: TrackFacts, pixelsMax: number, extradata: Uint8Array | undefined): Promise<void> {
    this.#codec?.freeContext();
    this.#codec = undefined;
    this.#isDirty = false;
    const found = Codec.findDecoder(track.codecId);
    if (!found) throw new SightlineError('CAMERA_FORMAT', `FFmpeg has no decoder for ${track.codec}`);
    const codec = new CodecContext();
    codec.allocContext3(found);
    if (track.parameters) codec.parametersToContext(track.parameters);
    if (extradata) codec.extraData = Buffer.from(extradata);
    codec.threadCount = 1;
    using options = Dictionary.fromObject({ max_pixels: String(pixelsMax) });
    const opened = await codec.open2(found, options);
    if (opened < 0) {
      codec.freeContext();
      throw new SightlineError('CAMERA_FORMAT', `FFmpeg's decoder for ${track.codec} does not take it`);
    }
    this.#codec = codec;
  }

  /** A frame in its turn. Pictures of this one or of earlier ones come of it, or none. */
  async next({ id, bytes }: CodedFrame): Promise<void> {
    const codec = this.#codec;
    if (!codec) return;
    this.#isDirty = true;
    const packet = this.#packet;
    packet.data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    packet.pts = BigInt(id);
    packet.dts = NO_TIMESTAMP;
    const beganMs = performance.now();
    const sent = await codec.sendPacket(packet);
    packet.unref();
    this.#decodeMs += performance.now() - beganMs;
    if (sent < 0) this.#damaged += 1;
    await this.#receive(codec);
  }

  /** A key frame alone: its picture comes at once. What comes behind it cannot be decoded. Returns whether there was one. */
  async single(frame: CodedFrame): Promise<boolean> {
    const codec = this.#codec;
    if (!codec) return false;
    this.#flush();
    const before = this.#decoded;
    await this.next(frame);
    await this.drain();
    return this.#decoded > before;
  }

  /** Pictures that it still has. */
  async drain(): Promise<void> {
    const codec = this.#codec;
    if (!codec) return;
    await codec.sendPacket(null);
    await this.#receive(codec);
    this.#flush();
  }

  /** No call is under way. */
  close(): void {
    this.#codec?.freeContext();
    this.#codec = undefined;
    this.#packet.free();
    this.#frame.free();
  }

  #flush(): void {
    if (this.#isDirty) this.#codec?.flushBuffers();
    this.#isDirty = false;
  }

  async #receive(codec: CodecContext): Promise<void> {
    const frame = this.#frame;
    for (;;) {
      const beganMs = performance.now();
      const received = await codec.receiveFrame(frame);
      this.#decodeMs += performance.now() - beganMs;
      if (received === AVERROR_EAGAIN || received === AVERROR_EOF) return;
      if (received < 0) {
        this.#damaged += 1;
        return;
      }
      try {
        if (frame.pts === NO_TIMESTAMP || frame.hasFlags(AV_FRAME_FLAG_CORRUPT)) this.#damaged += 1;
        else {
          this.#decoded += 1;
          await this.#onPicture(frame, Number(frame.pts));
        }
      } finally {
        frame.unref();
      }
    }
  }
}
