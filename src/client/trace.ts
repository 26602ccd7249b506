import type { PipelineName } from '../base/result.ts';
import type { VideoResult } from './video.ts';

/** The stages of a frame in their order, from the camera to the display of its result. */
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
   * `encode`: capture to socket, `transmit`: the path to the server, `return`: the rest of the total after the server's stages: the writing
   * of the result and the path back. They add up to the total.
   */
  readonly stagesMs: Readonly<Record<Stage, number>>;
  /** `transmit` may be longer and `return` shorter by as much, or the other way round: the uncertainty of the server's clock. */
  readonly uncertaintyMs: number;
}

/** The trace of a frame on one clock, the client's. */
export function traceOf(received: VideoResult<PipelineName>): FrameTrace {
  const { result, captureTimeMs, sentTimeMs, receivedTimeMs, clockUncertaintyMs } = received;
  const { capture, queue, decode, preprocess, inference, postprocess } = result.stages_ms;
  const totalMs = receivedTimeMs - captureTimeMs;
  const encode = Math.max(0, sentTimeMs - captureTimeMs);
  // A clock that is a little off must not make the path negative.
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
