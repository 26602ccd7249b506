import type { Detection, WorkerStagesMs } from '../../base/detection.ts';
import type { ReadyModel } from '../manifest.ts';

/** A picture on its way into a worker. The engine copies the bytes: the caller may go on using them. */
export type Picture =
  | { readonly kind: 'jpeg'; readonly bytes: Uint8Array }
  /** Packed RGB, 3 bytes a pixel, rows without padding: `data.length = width × height × 3`. */
  | { readonly kind: 'rgb'; readonly data: Uint8Array; readonly width: number; readonly height: number };

export interface InferenceJob {
  readonly modelId: string;
  readonly picture: Picture;
  /** Overrides of the model's own thresholds, 0..1. */
  readonly confidence?: number;
  readonly iou?: number;
  /** Unix ms on the system clock: pictures share a run only as far as this one is done by then. */
  readonly deadlineMs?: number;
  /** May take a slot that is kept for such jobs, and goes before those that wait in the worker. */
  readonly urgent?: boolean;
}

export interface InferenceOutcome {
  /** Boxes are fractions of the upright picture. */
  readonly detections: Detection[];
  /** Of the decoded picture when it stands upright (a JPEG's EXIF is heeded), pixels. */
  readonly width: number;
  readonly height: number;
  /** One after the other from `startedTimeMs` on; of pictures that share a run, `inference` takes in the wait for the others. */
  readonly stagesMs: WorkerStagesMs;
  /** When a worker took the job, on the system clock (Unix ms). */
  readonly startedTimeMs: number;
}

/** Which execution provider really runs a model, told per provider that was asked for. */
export interface ProviderReport {
  readonly requested: readonly string[];
  /** The first one that could make a session. */
  readonly effective: string;
  readonly refused: readonly { readonly provider: string; readonly reason: string }[];
  /** Nodes of the optimised graph by the provider that ran them. */
  readonly nodes: Readonly<Record<string, number>>;
  /** Settings that could not be followed, in words. */
  readonly notes?: readonly string[];
}

/** How a model's pictures share runs. */
export interface BatchStats {
  /** Most pictures for which it pays. */
  readonly max: number;
  /** Learned time of a run by its size, without decoding and scaling; also of sizes that were tried and did not pay. */
  readonly costsMs: Readonly<Record<string, number>>;
  /** Runs by the number of pictures in them. */
  readonly runs: Readonly<Record<string, number>>;
}

export interface EngineStats {
  readonly workers: number;
  readonly busy: number;
  readonly restarts: number;
  readonly completed: number;
  readonly failed: number;
  /** Time for which workers had something to do since the start, all of them together. */
  readonly busyMs: number;
  readonly models: readonly {
    readonly id: string;
    readonly providers: ProviderReport;
    readonly warmUpMs: number;
    readonly batch: BatchStats;
  }[];
}

/** What the pipelines need of an engine; `OnnxEngine` (workers here) and a remote one both fit. */
export interface Engine {
  /** Makes a model ready in every worker, warmed up. Errors: MODEL_UNAVAILABLE, MODEL_CRASHED, MODEL_UNSUPPORTED. */
  load(model: ReadyModel): Promise<ProviderReport>;
  /** Jobs that can be handed in now without waiting behind more than `inference.prefetch` others in a worker. */
  readonly freeSlots: number;
  /** The same for an urgent job: each worker keeps one slot for those. */
  readonly urgentSlots: number;
  /** Called whenever a slot became free. One listener: the scheduler. */
  onFree: (() => void) | undefined;
  /**
   * Runs one job to completion in one worker. Errors: FRAME_UNDECODABLE, FRAME_TRUNCATED, INFERENCE_FAILED, WORKER_LOST (the worker died
   * or hung; a fresh one takes its place), MODEL_UNKNOWN, SHUTTING_DOWN.
   */
  run(job: InferenceJob): Promise<InferenceOutcome>;
  stats(): EngineStats;
  close(): Promise<void>;
}
