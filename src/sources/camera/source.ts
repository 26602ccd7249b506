import type { AVCodecID } from 'node-av/constants';
import type { CodecParameters } from 'node-av/lib';

/** Where the packets of a camera come from. */

export interface SourcePacket {
  /** One frame as it is coded; nobody writes into it any more. */
  readonly bytes: Uint8Array;
  readonly isKey: boolean;
  /** In ticks of `timeline.ts`; cameras leave out any of them. */
  readonly pts: number | undefined;
  readonly dts: number | undefined;
  readonly duration: number | undefined;
  /** CLOCK_MONOTONIC, ms. */
  readonly arrivedMs: number;
  /** When it was captured by the camera's own clock, Unix ms, where that is told. */
  readonly cameraMs: number | undefined;
  /** Frames before it, or parts of them, were lost on the way: so many at least. */
  readonly lost: number;
  /** It begins a file anew: its times have nothing to do with those before. */
  readonly isRestart: boolean;
  /** The parameters of coding from here on, where they have changed outside the packets. */
  readonly extradata: Uint8Array | undefined;
}

export interface TrackFacts {
  /** FFmpeg's names. */
  readonly format: string;
  readonly codec: string;
  readonly codecId: AVCodecID;
  readonly extradata: Uint8Array | undefined;
  /** 0: not known before the first frame. */
  readonly width: number;
  readonly height: number;
  /** All that is known for a decoder, where FFmpeg has read it; valid until the source is closed. */
  readonly parameters: CodecParameters | undefined;
  /** Packets come when they are asked for, not when they were captured: someone has to pace them by their timestamps. */
  readonly isStored: boolean;
}

export interface PacketSource {
  /** Before all else: until somebody has come who sends, however long that takes. Left out: it is the server that goes to the camera. Errors: those of a camera. */
  arrive?(): Promise<void>;
  /** Until it is known what comes. Errors: those of a camera (`CAMERA_…`). */
  open(): Promise<TrackFacts>;
  /** The next packet; undefined: it has ended, or was closed. Errors: those of a camera. */
  read(): Promise<SourcePacket | undefined>;
  /** Ends what waits, and frees everything. Idempotent. */
  close(): Promise<void>;
}

/** CLOCK_MONOTONIC, ms: the same in all processes. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const READINGS_MAX = 4;
const READ_WITHIN_MS = 0.05;

/**
 * How far another clock is ahead of `monotonicMs`. On a busy machine a thread may have to wait for many milliseconds between two readings: that one counts which took
 * the least.
 */
export function aheadOfMonotonicMs(readMs: () => number, monotonic = monotonicMs): number {
  let [ahead, withinMs] = [0, Infinity];
  for (let reading = 0; reading < READINGS_MAX && withinMs > READ_WITHIN_MS; reading += 1) {
    const beforeMs = monotonic();
    const ms = readMs();
    const tookMs = monotonic() - beforeMs;
    if (tookMs < withinMs) [ahead, withinMs] = [ms - beforeMs - tookMs / 2, tookMs];
  }
  return ahead;
}
