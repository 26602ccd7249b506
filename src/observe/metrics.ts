import type { EventLoopDelay } from './event-loop.ts';
import type { FrameLatencyFigures } from './histogram.ts';
import type { ProcessFigures } from './process-figures.ts';

/**
 * The answer of `GET /api/performance/metrics`. Units stand in the names. What a session and the engine tell of themselves
 * is theirs to say.
 */
export interface MetricsDocument<Session, Adaptation, Engine, Telemetry> {
  /** Unix ms. */
  readonly time: number;
  readonly latency: {
    readonly since_start: FrameLatencyFigures;
    /** The last one to two windows. */
    readonly recent: FrameLatencyFigures;
    readonly window_s: number;
  };
  readonly event_loop_delay: EventLoopDelay;
  readonly process: ProcessFigures;
  readonly connections: { readonly open: number; readonly max: number };
  readonly streams: number;
  /** Callbacks of readers that threw: faults of the program. */
  readonly callback_faults: number;
  readonly sessions: readonly Session[];
  /** The engine's capacity and what is granted of it. */
  readonly adaptation: Adaptation;
  readonly engine: Engine;
  /** The telemetry lane: its sessions and topics with their accounts. */
  readonly telemetry: Telemetry;
}
