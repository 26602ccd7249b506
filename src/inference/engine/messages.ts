import type { ErrorCode } from '../../base/errors.ts';
import type { Picture } from '../../base/picture.ts';
import type { BatchLimits } from '../../flow/batching.ts';
import type { ImageLimits } from '../../media/jpeg.ts';
import type { ReadyModel } from '../manifest.ts';
import type { ProgramOutcome, ProviderReport } from './types.ts';

/** Messages between the engine and its worker threads. Pictures go through shared memory: no frame allocates in transit. */

export interface SessionSettings {
  /** In order of preference: `cpu`, `cuda`, `tensorrt`, `webgpu`, `coreml`, `directml`. */
  readonly providers: readonly string[];
  /** Threads of one session. */
  readonly intraOpThreads: number;
  /** Waiting threads of a session look for work in a loop: quicker, but takes the processor from the other workers. */
  readonly spinning: boolean;
  /** ONNX Runtime's `session.intra_op_thread_affinities`. */
  readonly threadBinding?: string;
  /** Memory limit for a provider that has one, bytes. */
  readonly deviceMemoryBytesMax?: number;
  /**
   * Runs before a model counts as loaded: the first one allocates and, on a device, compiles. Also with 0 a model runs once when
   * its output shapes are not known before, or when its nodes are counted.
   */
  readonly warmUpRuns: number;
}

export interface BatchSettings extends BatchLimits {
  /** Most pictures in one run, 1 to `BATCH_MAX`. Each model's trial finds out how many pay. */
  readonly max: number;
}

/** `workerData` of a worker thread. */
export interface WorkerSettings {
  readonly session: SessionSettings;
  readonly batch: BatchSettings;
  readonly imageLimits: ImageLimits;
  /** URLs of programs that are known to be needed. Absent: none yet. */
  readonly programs?: readonly string[];
  /** `RunningIds`: the program calls that the worker is running. Absent: not wanted. */
  readonly running?: SharedArrayBuffer;
  /** `NativeGuard`: whether the worker is inside a native library. Absent: not wanted. */
  readonly native?: SharedArrayBuffer;
  /** Memory of the `DeviceMutex` of the workers at a device, and this worker's number in it. Absent: it is alone. */
  readonly deviceMutex?: { readonly memory: SharedArrayBuffer; readonly me: number };
}

export interface LoadRequest {
  readonly kind: 'load';
  readonly id: number;
  readonly model: ReadyModel;
  /** Count nodes by provider, which costs a profile of one run. */
  readonly profile: boolean;
}

/** One program of a frame. */
export interface CallRequest {
  readonly id: number;
  /** URL of its module. */
  readonly program: string;
  /** Ids by role. */
  readonly models: Readonly<Record<string, string>>;
  readonly settings: unknown;
  readonly state?: unknown;
}

type WithoutBytes<T> = T extends unknown ? Omit<T, 'bytes'> : never;
/** A picture whose bytes lie elsewhere. */
export type PictureShape = WithoutBytes<Picture>;

export interface RunRequest {
  readonly kind: 'run';
  /** At least one. Each gets its own reply. */
  readonly calls: readonly CallRequest[];
  readonly picture: PictureShape;
  readonly slot: number;
  /** The slot's memory, when it is a new one. */
  readonly memory?: SharedArrayBuffer;
  /** Of the picture, from the start of the slot. */
  readonly bytes: number;
  /** Unix ms. */
  readonly captureTimeMs: number;
  /** Unix ms on the system clock: batches are made so that the frame is done by then. */
  readonly deadlineMs?: number;
  /** Goes before every ordinary run that has not begun. */
  readonly urgent?: boolean;
  /** Takes far longer than others: it shares no run, whose other frames would wait for it. */
  readonly isLong?: boolean;
}

export interface CloseRequest {
  readonly kind: 'close';
  /** Nothing waits for the worker's current work: a program that waits for something that never comes is left behind. */
  readonly isGivenUp?: boolean;
}

export type WorkerRequest = LoadRequest | RunRequest | CloseRequest;

export interface WorkerOutcome extends ProgramOutcome {
  /** The name that the program has. */
  readonly program: string;
  /** Things that the program left out because the frame had reached its limit. */
  readonly capped: number;
}

/** The worker's activity since its last reply. */
export interface WorkDone {
  readonly decodes: number;
  /** Worker time of programs, and pictures, that failed. */
  readonly failedMs: number;
  readonly runs: readonly ModelRun[];
}

export interface ModelRun {
  readonly modelId: string;
  /** Pictures in it. */
  readonly pictures: number;
  readonly ms: number;
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
  | { readonly kind: 'done'; readonly id: number; readonly work: WorkDone; readonly outcome: WorkerOutcome }
  /** `work` is present for a call, and absent for a model. */
  | {
      readonly kind: 'failed';
      readonly id: number;
      readonly work?: WorkDone;
      readonly code: ErrorCode;
      readonly message: string;
    };
