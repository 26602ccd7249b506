import { availableParallelism } from 'node:os';
import { systemClock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Picture } from '../../base/picture.ts';
import { BATCH_MAX } from '../../flow/batching.ts';
import type { Log } from '../../log/log.ts';
import type { ImageLimits } from '../../media/jpeg.ts';
import type { ReadyModel } from '../manifest.ts';
import { keepRuntimeQuiet } from '../quiet-runtime.ts';
import {
  type BegunJob,
  WorkerThread,
  type ThreadCall,
  type ThreadJob,
  type ThreadLimits,
  type ThreadOwner,
} from './worker-thread.ts';
import type { ModelRun, WorkDone, WorkerOutcome, WorkerSettings } from './messages.ts';
import { DEATHS_IN_A_ROW_MAX, planEngine, restartDelayMs, usesDevice } from './plan.ts';
import { DeviceMutex } from './device-mutex.ts';
import type { Engine, EngineStats, InferenceJob, ProgramOutcome, ProviderReport } from './types.ts';
import { WorkLedger } from './work-ledger.ts';

/** Everything may be left out. */
export interface OnnxEngineOptions {
  /** Worker threads, each with a session of its own for every model; default by the hint. */
  readonly workers?: number;
  /** Threads of one session; default by the hint. */
  readonly intraOpThreads?: number;
  /** `throughput` (default): a worker of one thread per core; `latency`: several threads for one frame, which spin while they wait. */
  readonly hint?: 'latency' | 'throughput';
  /**
   * Jobs handed to a busy worker ahead, so that it need not wait for a message between two frames; default 1. For a model whose
   * pictures share runs at least as many as share one, unless it is 0.
   */
  readonly prefetch?: number;
  /** Most pictures in one run, 1 to `BATCH_MAX`; default 1. Loading a model measures how many pay up to there. */
  readonly batchMax?: number;
  /** Longest time that a run waits for more pictures; default 2 ms. At most a part of `jobTimeoutMs`. */
  readonly batchDelayMs?: number;
  /** Processors to which a session's threads are bound, in the form of ONNX Runtime's `session.intra_op_thread_affinities`. */
  readonly threadBinding?: string;
  /** Execution providers in order of preference; default `cpu` alone. */
  readonly providers?: readonly string[];
  /** Memory of a GPU, bytes; the report of a model says when its provider takes no such limit. */
  readonly deviceMemoryBytesMax?: number;
  /** A job that runs longer is given up, and its worker replaced; default 10 s. */
  readonly jobTimeoutMs?: number;
  /** For one model in one worker; default 60 s. */
  readonly loadTimeoutMs?: number;
  /** Runs in every worker before a model counts as loaded; default 1. */
  readonly warmUpRuns?: number;
  /** Jobs that may wait when no slot is free; default 32. Callers that heed `freeSlots` never fill it. */
  readonly backlogMax?: number;
  /** Of pictures, checked before decoding; default 16,384 a side and 64 megapixels. */
  readonly imageLimits?: ImageLimits;
  /** Gets an entry for each worker that is lost or replaced. */
  readonly log?: Log;
  /** The worker's script, for tests that need one that fails. */
  readonly workerUrl?: URL;
}

export interface OnnxEngineStats extends EngineStats {
  /** Worker slots; `workers` of them have a worker that is ready. */
  readonly workerSlots: number;
  readonly neededMs: number;
  /** Jobs that wait for a slot. */
  readonly backlog: number;
  /** Jobs that were handed to another worker after theirs died, whole or their remaining programs. */
  readonly redispatched: number;
  /** Jobs that were refused because the backlog was full. */
  readonly refused: number;
  /** Candidates that were left out because a frame had reached its limit of detections. */
  readonly detectionsCapped: number;
  /** Threads that were given up (a job took too long) and have not ended yet. */
  readonly strays: number;
  /** Why the last worker died. */
  readonly lastLoss: string | undefined;
  /** No worker is left: jobs are refused until a replacement has started. */
  readonly isBroken: boolean;
}

interface Call extends ThreadCall {
  readonly answer: PromiseWithResolvers<ProgramOutcome>;
}

interface Job extends ThreadJob<Call> {
  /** The rest of a job whose worker was lost over another program of the frame. */
  readonly isRerun?: boolean;
}

/** Holds one worker at a time; a worker that dies or hangs is replaced in its slot. */
interface WorkerSlot {
  thread: WorkerThread<Job, Call> | undefined;
  /** The thread has started and loaded every model. */
  isReady: boolean;
  /** Ids of models in the thread. */
  readonly loaded: Set<string>;
  /** Deaths since the last finished job. */
  deaths: number;
  restart: NodeJS.Timeout | undefined;
}

interface LoadedModel {
  readonly model: ReadyModel;
  readonly report: ProviderReport;
  readonly warmUpMs: number;
  /** Of the worker with the largest: each measures for itself. */
  readonly batchMax: number;
  /** Of the last worker that ran. */
  costsMs: Readonly<Record<string, number>>;
  /** Runs by the number of pictures in them. */
  readonly runs: Map<number, number>;
}

const STRAY_POLL_MS = 100;
/** Share of the time after which a job counts as hung: bounds a shared run, and the wait for it. */
const SHARED_RUN_SHARE = 0.5;
const DELAY_SHARE = 0.25;

const DEFAULTS = {
  hint: 'throughput',
  prefetch: 1,
  batchMax: 1,
  batchDelayMs: 2,
  providers: ['cpu'],
  jobTimeoutMs: 10_000,
  loadTimeoutMs: 60_000,
  warmUpRuns: 1,
  backlogMax: 32,
  imageLimits: { sideMax: 16_384, pixelsMax: 64 * 1024 * 1024 },
} as const satisfies OnnxEngineOptions;

/**
 * Runs ONNX models in worker threads: `run()` of ONNX Runtime blocks the thread that calls it, whatever its promise says. A
 * frame goes to the worker with the fewest jobs and is finished there: decoded, scaled, inferred, decoded into detections.
 *
 * A worker that dies or hangs takes its running jobs with it (WORKER_LOST); jobs that waited in it go to another worker, first
 * in line. The engine replaces it, ever later if that does not help; when every worker has died several times in a row the engine refuses jobs
 * (INFERENCE_FAILED) until a replacement is ready.
 */
export class OnnxEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly #workerSlots: WorkerSlot[];
  readonly #settings: WorkerSettings;
  /** Shared by the workers at a device. */
  readonly #deviceMutex: SharedArrayBuffer | undefined;
  #threads = 0;
  readonly #limits: ThreadLimits;
  readonly #backlogMax: number;
  readonly #workerUrl: URL | undefined;
  readonly #log: Log | undefined;
  readonly #models = new Map<string, LoadedModel>();
  readonly #backlog: Job[] = [];
  /** Threads that were given up and have not ended yet. */
  readonly #strays = new Set<WorkerThread<Job, Call>>();
  #closing: Promise<void> | undefined;
  #restarts = 0;
  #completed = 0;
  /** Sum over the workers that are gone. */
  #pastBusyMs = 0;
  #pastNeededMs = 0;
  #failed = 0;
  #decodes = 0;
  #workerMs = 0;
  readonly #work = new WorkLedger();
  #redispatched = 0;
  #refused = 0;
  #capped = 0;
  #lastLoss: string | undefined;

  constructor(options: OnnxEngineOptions = {}) {
    keepRuntimeQuiet();
    const { hint, prefetch, providers, jobTimeoutMs, loadTimeoutMs, warmUpRuns, backlogMax, imageLimits, ...batch } = {
      ...DEFAULTS,
      ...options,
    };
    const { workers, intraOpThreads } = planEngine(hint, availableParallelism(), options);
    const { threadBinding, deviceMemoryBytesMax } = options;
    if (usesDevice(providers)) this.#deviceMutex = new SharedArrayBuffer(DeviceMutex.BYTES);
    this.#settings = {
      session: {
        providers,
        intraOpThreads,
        warmUpRuns,
        spinning: hint === 'latency',
        ...(threadBinding !== undefined && { threadBinding }),
        ...(deviceMemoryBytesMax !== undefined && { deviceMemoryBytesMax }),
      },
      batch: {
        max: Math.min(BATCH_MAX, batch.batchMax),
        delayMs: Math.min(batch.batchDelayMs, DELAY_SHARE * jobTimeoutMs),
        runMsMax: SHARED_RUN_SHARE * jobTimeoutMs,
      },
      imageLimits,
    };
    this.#limits = { prefetch, jobTimeoutMs, loadTimeoutMs };
    this.#backlogMax = backlogMax;
    this.#workerUrl = options.workerUrl;
    this.#log = options.log;
    this.#workerSlots = Array.from({ length: workers }, () => {
      const slot: WorkerSlot = {
        thread: undefined,
        isReady: false,
        loaded: new Set(),
        deaths: 0,
        restart: undefined,
      };
      this.#occupy(slot);
      return slot;
    });
  }

  async load(model: ReadyModel): Promise<ProviderReport> {
    this.#refuseWhenClosing();
    const { id } = model.manifest;
    const known = this.#models.get(id);
    if (known?.model.onnxPath === model.onnxPath) return known.report;
    // Every worker loads at once; only the first one counts the nodes, which takes longer.
    const threads = this.#workerSlots.filter((slot) => slot.thread);
    if (threads.length === 0) throw this.#brokenError();
    const loads = await Promise.allSettled(threads.map((slot, i) => slot.thread!.load(model, i === 0)));
    // Only now: a model that kills its worker has done so in all of them.
    const loaded = loads.map((load) => {
      if (load.status === 'rejected') throw load.reason;
      return load.value;
    });
    const { report, warmUpMs, costsMs } = loaded[0]!;
    for (const slot of threads) slot.loaded.add(id);
    const batchMax = Math.max(...loaded.map((one) => one.batchMax));
    this.#models.set(id, { model, report, warmUpMs, batchMax, costsMs, runs: new Map() });
    // A worker that was replaced meanwhile does not have it yet.
    for (const slot of this.#workerSlots) if (slot.isReady && !slot.loaded.has(id)) void this.#prepare(slot);
    return report;
  }

  get freeSlots(): number {
    if (this.#closing || this.#backlog.length > 0) return 0;
    return this.#workerSlots.reduce((sum, slot) => sum + (slot.isReady ? slot.thread!.free : 0), 0);
  }

  get urgentSlots(): number {
    if (this.#closing || this.#backlog.length > 0) return 0;
    return this.#workerSlots.reduce((sum, slot) => sum + (slot.isReady ? slot.thread!.freeForUrgent : 0), 0);
  }

  run(job: InferenceJob): Promise<ProgramOutcome>[] {
    const calls = job.programs.map(({ program, ...call }): Call => {
      return { ...call, program: String(program), answer: Promise.withResolvers<ProgramOutcome>() };
    });
    try {
      this.#refuseWhenClosing();
      const known = calls.filter((call) => this.#hasModels(call));
      if (known.length > 0) this.#take(job, known);
    } catch (thrown) {
      for (const { answer } of calls) answer.reject(thrown);
    }
    return calls.map(({ answer }) => answer.promise);
  }

  #hasModels({ models, answer }: Call): boolean {
    const missing = Object.values(models).find((id) => !this.#models.has(id));
    if (missing === undefined) return true;
    answer.reject(new SightlineError('MODEL_UNKNOWN', `the model ${missing} is not loaded`));
    return false;
  }

  #take(
    { picture, captureTimeMs = systemClock.now(), deadlineMs, urgent = false, expectedMs }: InferenceJob,
    calls: Call[],
  ): void {
    if (this.#isBroken()) throw this.#brokenError();
    for (const { program } of calls) this.#work.asked(program);
    checkPicture(picture);
    const { bytes, ...shape } = picture;
    const job: Job = { picture: shape, calls, captureTimeMs, deadlineMs, urgent, expectedMs, bytes };
    const slot = this.#backlog.length === 0 ? this.#freest(urgent) : undefined;
    if (slot) return this.#send(slot, job);
    if (this.#backlog.length >= this.#backlogMax) {
      this.#refused += 1;
      throw new SightlineError('INFERENCE_FAILED', `${this.#backlogMax} jobs are already waiting`);
    }
    job.bytes = new Uint8Array(bytes);
    this.#backlog.push(job);
  }

  #send(slot: WorkerSlot, job: Job): void {
    try {
      slot.thread!.send(job);
    } catch (thrown) {
      this.#reject(job.calls, toSightlineError(thrown, 'INFERENCE_FAILED'));
    }
  }

  stats(): OnnxEngineStats {
    return {
      workerSlots: this.#workerSlots.length,
      workers: this.#workerSlots.filter((slot) => slot.isReady).length,
      busy: this.#workerSlots.filter((slot) => slot.thread && slot.thread.inFlight > 0).length,
      restarts: this.#restarts,
      completed: this.#completed,
      failed: this.#failed,
      decodes: this.#decodes,
      workerMs: this.#workerMs,
      busyMs: this.#workerSlots.reduce((sum, { thread }) => sum + (thread?.busyMs ?? 0), this.#pastBusyMs),
      models: Array.from(this.#models, ([id, { report, warmUpMs, batchMax, costsMs, runs }]) => {
        return { id, providers: report, warmUpMs, batch: { max: batchMax, costsMs, runs: Object.fromEntries(runs) } };
      }),
      work: this.#work.stats(),
      neededMs: this.#workerSlots.reduce((sum, { thread }) => sum + (thread?.neededMs ?? 0), this.#pastNeededMs),
      backlog: this.#backlog.length,
      redispatched: this.#redispatched,
      refused: this.#refused,
      detectionsCapped: this.#capped,
      strays: this.#strays.size,
      lastLoss: this.#lastLoss,
      isBroken: this.#isBroken(),
    };
  }

  /**
   * Ends the jobs that are running, refuses those that wait (SHUTTING_DOWN), ends the workers. A worker that stays inside a native library is
   * left: its thread ends when it comes back, and a process that ends by itself waits for it.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const shuttingDown = new SightlineError('SHUTTING_DOWN', 'the inference engine is closing');
    for (const { calls } of this.#backlog.splice(0)) this.#reject(calls, shuttingDown);
    const threads = [...this.#strays];
    for (const { thread, restart } of this.#workerSlots) {
      clearTimeout(restart);
      for (const { calls } of thread?.takeWaiting() ?? []) this.#reject(calls, shuttingDown);
      if (thread) threads.push(thread);
    }
    const closings = await Promise.all(threads.map((thread) => thread.close()));
    const workers = closings.filter((hasEnded) => !hasEnded).length;
    if (workers > 0) this.#log?.write('workers_left', { workers });
  }

  /** Starts a new worker in the slot. */
  #occupy(slot: WorkerSlot): void {
    const owner: ThreadOwner<Job, Call> = {
      started: () => void this.#prepare(slot),
      worked: (work) => this.#noteWork(work),
      done: (call, outcome) => {
        slot.deaths = 0;
        this.#done(call, outcome);
      },
      failed: ({ answer }, error) => {
        slot.deaths = 0;
        this.#failed += 1;
        answer.reject(error);
      },
      opened: () => this.#handOn(),
      lost: (reason, begun, waiting) => this.#vacate(slot, reason, begun, waiting),
    };
    this.#threads += 1;
    const deviceMutex = this.#deviceMutex && { memory: this.#deviceMutex, me: this.#threads };
    const settings = { ...this.#settings, programs: this.#work.programs, ...(deviceMutex && { deviceMutex }) };
    const thread = new WorkerThread<Job, Call>(settings, this.#limits, owner, this.#workerUrl);
    slot.thread = thread;
    // Not when it is given up: while its thread is at the device no other may be.
    if (deviceMutex) void thread.exited.then(() => new DeviceMutex(deviceMutex.memory, deviceMutex.me).unlock());
  }

  #done({ models, answer }: Call, { program, capped, ...outcome }: WorkerOutcome): void {
    this.#completed += 1;
    this.#capped += capped;
    this.#workerMs += outcome.workerMs;
    this.#work.note(program, models, outcome.workerMs);
    answer.resolve(outcome);
  }

  #noteWork({ decodes, failedMs, runs }: WorkDone): void {
    this.#decodes += decodes;
    this.#workerMs += failedMs;
    for (const run of runs) this.#noteRun(run);
  }

  #noteRun({ modelId, pictures, costsMs }: ModelRun): void {
    const model = this.#models.get(modelId);
    if (!model) return;
    model.costsMs = costsMs;
    model.runs.set(pictures, (model.runs.get(pictures) ?? 0) + 1);
  }

  /** Loads the models that the worker lacks; only then it gets jobs. */
  async #prepare(slot: WorkerSlot): Promise<void> {
    const { thread, loaded } = slot;
    if (!thread) return;
    slot.isReady = false;
    try {
      // Another model may come in while one is loading.
      for (let missing = this.#missing(loaded); missing.length > 0; missing = this.#missing(loaded)) {
        await Promise.all(missing.map(({ model }) => thread.load(model, false)));
        for (const { model } of missing) loaded.add(model.manifest.id);
      }
    } catch (thrown) {
      // The other workers could load the model, so the worker is at fault. When it is dead already this does nothing.
      thread.abandon(`could not load a model again: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      return;
    }
    if (slot.thread !== thread) return;
    slot.isReady = true;
    this.#handOn();
  }

  #missing(loaded: ReadonlySet<string>): LoadedModel[] {
    return Array.from(this.#models.values()).filter(({ model }) => !loaded.has(model.manifest.id));
  }

  /**
   * A worker is gone, and with it the programs that it was running, since one of them may be at fault. Jobs that waited go first in line;
   * before them the remaining programs of the running frames, once.
   */
  #vacate(slot: WorkerSlot, reason: string, begun: BegunJob<Job, Call>[], waiting: Job[]): void {
    if (slot.thread) {
      this.#pastBusyMs += slot.thread.busyMs;
      this.#pastNeededMs += slot.thread.neededMs;
      this.#follow(slot.thread);
    }
    slot.thread = undefined;
    slot.isReady = false;
    slot.loaded.clear();
    slot.deaths += 1;
    this.#lastLoss = reason;
    if (this.#closing) {
      const shuttingDown = new SightlineError('SHUTTING_DOWN', 'the inference engine is closing');
      for (const { calls } of waiting) this.#reject(calls, shuttingDown);
      for (const { running, left } of begun) this.#reject([...running, ...left], shuttingDown);
      return;
    }
    this.#log?.write('worker_lost', { code: 'WORKER_LOST', reason });
    const again: Job[] = [];
    for (const { job, running, left } of begun) {
      this.#reject(running, new SightlineError('WORKER_LOST', `the worker of this frame ${reason}`));
      if (left.length === 0) continue;
      if (job.isRerun) this.#reject(left, new SightlineError('WORKER_LOST', `a second worker of this frame ${reason}`));
      else again.push({ ...job, calls: left, isRerun: true });
    }
    again.push(...waiting);
    this.#backlog.unshift(...again);
    this.#redispatched += again.length;
    this.#planRestart(slot, restartDelayMs(slot.deaths));
    if (this.#isBroken()) for (const { calls } of this.#backlog.splice(0)) this.#reject(calls, this.#brokenError());
    this.#handOn();
  }

  /** A thread that was given up still takes a processor: it is counted until it ends. */
  #follow(thread: WorkerThread<Job, Call>): void {
    this.#strays.add(thread);
    void thread.exited.then(() => this.#strays.delete(thread));
  }

  /** With more stray threads than worker slots, new ones would only add to the load: the slot stays empty until one ends. */
  #planRestart(slot: WorkerSlot, delayMs: number): void {
    slot.restart = setTimeout(() => {
      if (this.#strays.size > this.#workerSlots.length) return this.#planRestart(slot, STRAY_POLL_MS);
      this.#restarts += 1;
      this.#log?.write('worker_replaced', { restarts: this.#restarts });
      this.#occupy(slot);
    }, delayMs);
  }

  /** Hands waiting jobs to free slots; tells the scheduler when slots are left. */
  #handOn(): void {
    for (let slot = this.#freest(false); slot && this.#backlog.length > 0; slot = this.#freest(false)) {
      this.#send(slot, this.#backlog.shift()!);
    }
    if (this.urgentSlots > 0) this.onFree?.();
  }

  /** The worker that takes such a job now and where it waits the least. */
  #freest(isUrgent: boolean): WorkerSlot | undefined {
    let best: WorkerSlot | undefined;
    let bestMs = Infinity;
    for (const slot of this.#workerSlots) {
      if (!slot.isReady || (isUrgent ? slot.thread!.freeForUrgent : slot.thread!.free) === 0) continue;
      const waitMs = slot.thread!.waitMs(isUrgent);
      if (waitMs >= bestMs) continue;
      best = slot;
      bestMs = waitMs;
    }
    return best;
  }

  #reject(calls: readonly Call[], error: SightlineError): void {
    this.#failed += calls.length;
    for (const { answer } of calls) answer.reject(error);
  }

  #isBroken(): boolean {
    return this.#workerSlots.every((slot) => !slot.isReady && slot.deaths >= DEATHS_IN_A_ROW_MAX);
  }

  #brokenError(): SightlineError {
    return new SightlineError(
      'INFERENCE_FAILED',
      `every inference worker died again and again; the last one ${this.#lastLoss}`,
    );
  }

  #refuseWhenClosing(): void {
    if (this.#closing) throw new SightlineError('SHUTTING_DOWN', 'the inference engine is closing');
  }
}

function checkPicture(picture: Picture): void {
  if (picture.kind === 'jpeg') {
    if (picture.bytes.length === 0) throw new SightlineError('FRAME_EMPTY', 'a frame of 0 bytes');
    return;
  }
  const { bytes, width, height } = picture;
  if (bytes.length !== width * height * 3 || bytes.length === 0) {
    throw new SightlineError(
      'FRAME_PIXELS_BAD',
      `${bytes.length} bytes for an RGB picture of ${width}×${height} pixels`,
    );
  }
}
