/** What the load generator tells of a run. */

/** Fates of frames that were not sent: by the session's own decision, and by the bound of the generator's processor time. */
export const HELD = 'held';
export const OVER_CPU = 'over_cpu';
/** Of a frame that has no answer in time. */
export const UNANSWERED = 'unanswered';
export const RESULT = 'result';

/** One frame that a source showed. Times are ms since the start of the run. */
export interface ShownFrame {
  /** Index of its source. */
  readonly source: number;
  /** When it was captured. */
  readonly shownMs: number;
  /** How far this process was behind the source's beat. */
  readonly lateMs: number;
  /** `result`, a cause of a loss, an error's code, or one of the fates above. */
  fate: string;
  /** When its answer was received. */
  answeredMs?: number;
  /** What a worker spent on it, as its result tells. */
  workMs?: number;
  /** Things, or hands, in its result. */
  found?: number;
}

export interface RunLog {
  readonly frames: readonly ShownFrame[];
  /** Beats that this process came too late for. */
  readonly missed: number;
  /** Why frames were held. */
  readonly heldBy: Readonly<Record<string, number>>;
  readonly connectionsLost: number;
}
