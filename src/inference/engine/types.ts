import type { WorkerStagesMs } from '../../base/detection.ts';
import type { Picture } from '../../base/picture.ts';
import type { ReadyModel } from '../manifest.ts';

/** One program on a frame. */
export interface ProgramCall {
  /** Of a module that exports its `Program` as `program`. */
  readonly program: URL | string;
  /** Ids of loaded models by the role that they have in the program. */
  readonly models: Readonly<Record<string, string>>;
  /** The program's own; what `structuredClone` takes. */
  readonly settings: unknown;
  /** What the program gave back with an earlier frame of this source; likewise. */
  readonly state?: unknown;
}

/** A frame and what is to be done with it, in one worker. The engine copies the picture's bytes: the caller may go on using them. */
export interface InferenceJob {
  readonly picture: Picture;
  /** One after the other on the picture, which is decoded once. */
  readonly programs: readonly ProgramCall[];
  /** Unix ms; default: now. */
  readonly captureTimeMs?: number;
  /** Unix ms on the system clock: frames share a run of a model only as far as this one is done by then. */
  readonly deadlineMs?: number;
  /** May take a slot that is kept for such jobs, and goes before those that wait in the worker. */
  readonly urgent?: boolean;
}

/** What came of one program on a frame. */
export interface ProgramOutcome {
  /** As the program tells it. */
  readonly result: unknown;
  /** For the next frame of this source, where the program has one. */
  readonly state?: unknown;
  /** Of the source's picture when it stands upright (a JPEG's EXIF is heeded), pixels. */
  readonly width: number;
  readonly height: number;
  /**
   * Sums over the steps of the program, one after the other from `startedTimeMs` on; `decode` is the frame's, the same for all its
   * programs. Of frames that share a run, `inference` takes in the wait for the others.
   */
  readonly stagesMs: WorkerStagesMs;
  /** When a worker took the frame, on the system clock (Unix ms); behind other programs of the frame by so much later as they took. */
  readonly startedTimeMs: number;
  /** What the worker spent on it: its share of runs that it shared; the decoding counts with the frame's first program. */
  readonly workerMs: number;
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
  /** Programs that ran to their end, and that failed. */
  readonly completed: number;
  readonly failed: number;
  /** Pictures that were decoded: one for each frame, whatever the number of its programs. */
  readonly decodes: number;
  /** Time for which workers had something to do since the start, all of them together. */
  readonly busyMs: number;
  readonly models: readonly {
    readonly id: string;
    readonly providers: ProviderReport;
    readonly warmUpMs: number;
    readonly batch: BatchStats;
  }[];
  /** By program and models, the latest `WORK_KINDS_MAX`. */
  readonly work: readonly WorkStats[];
}

/** What one kind of work costs: a program with certain models. */
export interface WorkStats {
  readonly program: string;
  /** By the role that they have in the program. */
  readonly models: Readonly<Record<string, string>>;
  readonly completed: number;
  /** Worker time of all that are completed, and of one of late. */
  readonly workerMs: number;
  readonly costMs: number;
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
   * Runs the programs of one frame in one worker and gives a promise for each, in their order, which settles as soon as that one is ready.
   * Errors, of all of them: FRAME_UNDECODABLE, FRAME_TRUNCATED, FRAME_PIXELS_BAD, INFERENCE_FAILED, SHUTTING_DOWN; of each: what the program throws,
   * MODEL_UNKNOWN, WORKER_LOST (the worker died or hung over it; those behind it are run once more in another one).
   */
  run(job: InferenceJob): Promise<ProgramOutcome>[];
  stats(): EngineStats;
  close(): Promise<void>;
}
