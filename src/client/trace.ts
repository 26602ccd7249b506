import type { PipelineName } from '../base/result.ts';
import type { VideoResult } from './video.ts';

/** The stages of a frame in the order of its way, from the camera to whoever shows its result. */
export const STAGES = [
  'encode',
  'transmit',
  'queue',
  'decode',
  'preprocess',
  'inference',
  'postprocess',
  'return',
] as const;
export type Stage = (typeof STAGES)[number];

/** Where the time of one frame went, ms. */
export interface FrameTrace {
  /** Capture to result received, both on the client's clock. */
  readonly totalMs: number;
  /**
   * `encode`: capture to socket, `transmit`: the way to the server, `return`: what the server's stages leave of the total, its writing
   * of the result and the way back. They add up to the total.
   */
  readonly stagesMs: Readonly<Record<Stage, number>>;
  /** `transmit` may be longer and `return` shorter by as much, or the other way round: how well the server's clock is known. */
  readonly uncertaintyMs: number;
}

/** The trace of a frame on one clock, the client's. */
export function traceOf(received: VideoResult<PipelineName>): FrameTrace {
  const { result, captureTimeMs, sentTimeMs, receivedTimeMs, clockUncertaintyMs } = received;
  const { capture, queue, decode, preprocess, inference, postprocess } = result.stages_ms;
  const totalMs = receivedTimeMs - captureTimeMs;
  const encode = Math.max(0, sentTimeMs - captureTimeMs);
  // A clock that is a little off must not make a way that takes less than no time.
  const transmit = Math.max(0, capture - encode);
  const known = encode + transmit + queue + decode + preprocess + inference + postprocess;
  const stagesMs = {
    encode,
    transmit,
    queue,
    decode,
    preprocess,
    inference,
    postprocess,
    return: Math.max(0, totalMs - known),
  };
  return { totalMs, stagesMs, uncertaintyMs: clockUncertaintyMs };
}
