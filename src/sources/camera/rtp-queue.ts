import type { NalCodec } from '../../media/nal.ts';
import { readRtcp, RtpFrames, wallMsOf, type RtpFrame, type SenderReport } from './rtp.ts';
import type { SourcePacket } from './source.ts';

/** After so many of them the oldest are lost. */
const WAITING_MAX = 128;

/** Frames out of packets, from their arrival until they are read. */
export class RtpQueue {
  readonly #frames: RtpFrames;
  readonly #waiting: RtpFrame[] = [];
  /** Frames that nobody had read. */
  #unread = 0;
  #report: SenderReport | undefined;
  #wake: (() => void) | undefined;
  #fault: Error | undefined;
  #isClosed = false;

  constructor(codec: NalCodec, payloadType: number) {
    this.#frames = new RtpFrames(codec, payloadType);
  }

  /** Whoever sends and can wait, should. */
  get isCrowded(): boolean {
    return this.#waiting.length >= WAITING_MAX / 2;
  }

  /** Packets come in their order. Returns the frames that have become whole. */
  takeRtp(bytes: Buffer, arrivedMs: number): readonly RtpFrame[] {
    const frames = this.#frames.push(bytes, arrivedMs);
    for (const frame of frames) {
      if (this.#waiting.length >= WAITING_MAX) this.#unread += this.#waiting.shift()!.lost + 1;
      this.#waiting.push(frame);
    }
    if (frames.length > 0) this.#wake?.();
    return frames;
  }

  /** True: the sender says that it ends. */
  takeRtcp(bytes: Buffer): boolean {
    const { report, isBye } = readRtcp(bytes);
    // The first one may come before the first frame.
    this.#report = report ?? this.#report;
    return isBye;
  }

  /** The next frame; undefined: it was closed. Throws what `fail` was told, once all is read that had come before. */
  async next(): Promise<SourcePacket | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#isClosed) return undefined;
      if (this.#fault) throw this.#fault;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const frame = this.#waiting.shift()!;
    const lost = frame.lost + this.#unread;
    this.#unread = 0;
    return {
      bytes: frame.bytes,
      isKey: frame.isKey,
      pts: frame.time,
      dts: undefined,
      duration: undefined,
      arrivedMs: frame.arrivedMs,
      cameraMs: this.#report && wallMsOf(frame, this.#report),
      lost,
      isRestart: false,
      extradata: undefined,
    };
  }

  /** No more frames come. The first reason counts. */
  fail(fault: Error): void {
    this.#fault ??= fault;
    this.#wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }
}
