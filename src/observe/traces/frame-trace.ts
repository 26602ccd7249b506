import type { WorkerStagesMs } from '../../base/detection.ts';
import type { TraceParent } from '../../protocol/trace-context.ts';

/** To which trace a frame belongs; made when it comes. */
export interface FrameTrace {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** The span of the caller. undefined: the trace begins here. */
  readonly parent: TraceParent | undefined;
  readonly isSampled: boolean;
}

/**
 * A frame that has been answered, in the numbers that its session has anyway: spans are made of them when they are sent, and only
 * for frames that are kept. Times are of the process's clock, ms.
 */
export interface TracedFrame {
  readonly trace: FrameTrace;
  /** Of its session, or `camera:` and the id of its camera. */
  readonly clientId: string;
  readonly pipeline: string;
  readonly model: string;
  /** Of a camera's frame; with `seq` that is its name. */
  readonly epoch?: number;
  readonly seq: number;
  readonly captureTimeMs: number;
  /** When its answer was handed to the encoder; of a camera's frame, when it was there. */
  readonly answeredTimeMs: number;
  /** What it may take until then, from its capture, or from when `budgetFromMs` says. */
  readonly budgetMs: number;
  readonly budgetFromMs?: number;
  readonly outcome: TracedOutcome;
}

export type TracedOutcome =
  | {
      readonly kind: 'result';
      readonly width: number;
      readonly height: number;
      readonly receivedTimeMs: number;
      readonly startedTimeMs: number;
      readonly stagesMs: WorkerStagesMs;
      /** Decoding that was over when it was received. */
      readonly decodedBeforeMs?: number;
      /** Left out: its result is not for one client. */
      readonly sent?: {
        readonly encodeMs: number;
        /** Handed to the socket to taken by the system. */
        readonly transmitMs: number;
      };
    }
  /** `reason`: the cause of the loss, or the error's code. */
  | { readonly kind: 'dropped' | 'error'; readonly reason: string };

/** It took longer than it may: such frames are always kept. */
export function isSlow({ outcome, captureTimeMs, answeredTimeMs, budgetMs, budgetFromMs }: TracedFrame): boolean {
  return outcome.kind === 'result' && answeredTimeMs - (budgetFromMs ?? captureTimeMs) > budgetMs;
}

const ID_FRACTION_DIGITS = 14;

/**
 * Whether a trace is kept at a rate from 0 to 1, decided by its id alone, so that all programs that it passes decide alike: by
 * the last 56 bits, as random by W3C Trace Context 2 §2.2.6, of which those from `1 - rate` up are kept, as in the specification of
 * OpenTelemetry ("TraceState: Probability Sampling").
 */
export function isSampledAt(traceId: string, rate: number): boolean {
  if (rate <= 0) return false;
  const random = Number.parseInt(traceId.slice(-ID_FRACTION_DIGITS), 16) / 2 ** (4 * ID_FRACTION_DIGITS);
  return random >= 1 - rate;
}
