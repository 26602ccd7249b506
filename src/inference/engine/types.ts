import type { WorkerStagesMs } from '../../base/detection.ts';
import type { Picture } from '../../base/picture.ts';
import type { ReadyModel } from '../manifest.ts';

/** One program on a frame. */
export interface ProgramCall {
  /** URL of a module that exports its `Program` as `program`. */
  readonly program: URL | string;
  /** Ids of loaded models by the role that they have in the program. */
  readonly models: Readonly<Record<string, string>>;
  /** The program's own; any value that `structuredClone` takes. */
  readonly settings: unknown;
  /** State that the program returned with an earlier frame of this source; likewise. */
  readonly state?: unknown;
}

/** A frame and its programs, for one worker. The engine copies the picture's bytes: the caller may go on using them. */
export interface InferenceJob {
  readonly picture: Picture;
  /** They run one after the other on the picture, which is decoded once. */
  readonly programs: readonly ProgramCall[];
  /** Unix ms; default: now. */
  readonly captureTimeMs?: number;
  /** Unix ms on the system clock: frames share a run of a model only as long as this one is done by then. */
  readonly deadlineMs?: number;
  /** May take a slot that is reserved for such jobs, and goes before those that wait in the worker. */
  readonly urgent?: boolean;
  /** Time that it will take in a worker, ms, where that is far longer than others take; other jobs go to other workers. */
  readonly expectedMs?: number;
}

/** The outcome of one program on a frame. */
export interface ProgramOutcome {
  /** As the program returned it. */
  readonly result: unknown;
  /** For the next frame of this source, where the program has one. */
  readonly state?: unknown;
  /** Size of the source's picture when upright (by a JPEG's EXIF), pixels. */
  readonly width: number;
  readonly height: number;
  /**
   * Sums over the steps of the program, one after the other from `startedTimeMs` on; `decode` is the frame's, the same for all its
   * programs. For frames that share a run, `inference` includes the wait for the others.
   */
  readonly stagesMs: WorkerStagesMs;
  /** When a worker took the frame, on the system clock (Unix ms); behind other programs of the frame later by their time. */
  readonly startedTimeMs: number;
  /** Worker time spent on it: its share of shared runs; the decoding counts with the frame's first program. */
  readonly workerMs: number;
}

/** Which execution provider really runs a model, listed per requested provider. */
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
  /** Most pictures that pay. */
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
  /** Programs that ran to their end, and that failed. */
  readonly completed: number;
  readonly failed: number;
  /** Pictures that were decoded: one for each frame, whatever the number of its programs. */
  readonly decodes: number;
  /** Total worker time, since the start, of the programs that ran to their end, or failed. */
  readonly workerMs: number;
  /** Busy time of all workers together since the start. */
  readonly busyMs: number;
  /**
   * Of `busyMs`, the time that the same pictures would have needed in full runs: while runs are not full the engine's capacity is more
   * than `workerMs` in `busyMs`. Left out: all of it.
   */
  readonly neededMs?: number;
  readonly models: readonly {
    readonly id: string;
    readonly providers: ProviderReport;
    readonly warmUpMs: number;
    readonly batch: BatchStats;
  }[];
  /** By program and models, the latest `WORK_KINDS_MAX`. */
  readonly work: readonly WorkStats[];
}

/** Cost of one kind of work: a program with certain models. */
export interface WorkStats {
  readonly program: string;
  /** By the role that they have in the program. */
  readonly models: Readonly<Record<string, string>>;
  readonly completed: number;
  /** Worker time of all completed ones, and of a recent one. */
  readonly workerMs: number;
  readonly costMs: number;
}

/** The part of an engine that the pipelines need; `OnnxEngine` (workers here) and a remote one both fit. */
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
   * Runs the programs of one frame in one worker and returns a promise for each, in their order, which settles as soon as that one is ready.
   * Errors, of all of them: FRAME_UNDECODABLE, FRAME_TRUNCATED, FRAME_PIXELS_BAD, INFERENCE_FAILED, SHUTTING_DOWN; of each: those of the program,
   * MODEL_UNKNOWN, WORKER_LOST (the worker died or hung over it; the programs behind it run once more in another worker).
   */
  run(job: InferenceJob): Promise<ProgramOutcome>[];
  stats(): EngineStats;
  close(): Promise<void>;
}
