import type { ErrorCode } from '../../base/errors.ts';
import type { BatchLimits } from '../../flow/batching.ts';
import type { ImageLimits } from '../../media/jpeg.ts';
import type { ReadyModel } from '../manifest.ts';
import type { InferenceOutcome, ProviderReport } from './types.ts';

/** What goes between the engine and its worker threads. Pictures go through shared memory: no frame allocates on its way. */

export interface SessionSettings {
  /** In order of preference: `cpu`, `cuda`, `tensorrt`, `webgpu`, `coreml`, `directml`. */
  readonly providers: readonly string[];
  /** Threads of one session. */
  readonly intraOpThreads: number;
  /** Waiting threads of a session look for work in a loop: quicker, but takes the processor from the other workers. */
  readonly spinning: boolean;
  /** ONNX Runtime's `session.intra_op_thread_affinities`. */
  readonly threadBinding?: string;
  /** For a provider that has such a limit, bytes. */
  readonly deviceMemoryBytesMax?: number;
  /**
   * Runs before a model counts as loaded: the first one allocates and, on a device, compiles. Also with 0 a model runs once when
   * its output shapes are not known before, or when its nodes are counted.
   */
  readonly warmUpRuns: number;
}

export interface BatchSettings extends BatchLimits {
  /** Most pictures in one run, 1 to `BATCH_MAX`. What pays is found out for each model. */
  readonly max: number;
}

/** `workerData` of a worker thread. */
export interface WorkerSettings {
  readonly session: SessionSettings;
  readonly batch: BatchSettings;
  readonly imageLimits: ImageLimits;
  /** `RunningIds`: the runs that the worker is at. Absent: nobody wants to know. */
  readonly running?: SharedArrayBuffer;
  /** `Turns` of the workers at a device, and who this one is among them. Absent: it is alone. */
  readonly turns?: { readonly memory: SharedArrayBuffer; readonly me: number };
}

export interface LoadRequest {
  readonly kind: 'load';
  readonly id: number;
  readonly model: ReadyModel;
  /** Count nodes by provider, which costs a profile of one run. */
  readonly profile: boolean;
}

export interface RunRequest {
  readonly kind: 'run';
  readonly id: number;
  readonly modelId: string;
  readonly slot: number;
  /** The slot's memory, when it is a new one. */
  readonly memory?: SharedArrayBuffer;
  /** Of the picture, from the start of the slot. */
  readonly bytes: number;
  /** Packed RGB of this size, pixels; absent for a JPEG. */
  readonly rgb?: { readonly width: number; readonly height: number };
  readonly confidence?: number;
  readonly iou?: number;
  /** Unix ms on the system clock: batches are made so that the picture is done by then. */
  readonly deadlineMs?: number;
  /** Goes before every run that is not and has not begun. */
  readonly urgent?: boolean;
}

export type WorkerRequest = LoadRequest | RunRequest | { readonly kind: 'close' };

export interface WorkerOutcome extends InferenceOutcome {
  /** Candidates that were left out because the frame had its limit of detections. */
  readonly capped: number;
  /** With the first picture of a run. */
  readonly shared?: SharedRun;
}

export interface SharedRun {
  /** That were in it. */
  readonly pictures: number;
  /** As `BatchCosts.bestShare`. */
  readonly bestShare: number;
  /** As `BatchCosts.inferenceMs`, after it. */
  readonly costsMs: Readonly<Record<string, number>>;
}

export interface Loaded {
  readonly report: ProviderReport;
  readonly warmUpMs: number;
  /** Largest number of pictures for which sharing a run pays. */
  readonly batchMax: number;
  readonly costsMs: Readonly<Record<string, number>>;
}

export type WorkerReply =
  | { readonly kind: 'ready' }
  | ({ readonly kind: 'loaded'; readonly id: number } & Loaded)
  | { readonly kind: 'done'; readonly id: number; readonly outcome: WorkerOutcome }
  | { readonly kind: 'failed'; readonly id: number; readonly code: ErrorCode; readonly message: string };
