import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { SightlineError } from '../../base/errors.ts';
import type { ReadyModel } from '../manifest.ts';
import type {
  Loaded,
  ModelRun,
  PictureShape,
  WorkDone,
  WorkerOutcome,
  WorkerReply,
  WorkerRequest,
  WorkerSettings,
} from './messages.ts';
import { Ahead } from './ahead.ts';
import { NativeGuard } from './native-guard.ts';
import { slotsFor } from './plan.ts';
import { RunningIds } from './running.ts';

/** The worker's script lies beside this one and has its ending: `.ts` in the clone, `.js` in the package. */
export const WORKER_URL = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);

/** A program of a job, as the engine keeps it. */
export interface ThreadCall {
  readonly program: string;
  readonly models: Readonly<Record<string, string>>;
  readonly settings: unknown;
  readonly state?: unknown;
}

/** A job as the engine keeps it. `bytes` are those of the picture, wherever it lies at the moment. */
export interface ThreadJob<C extends ThreadCall = ThreadCall> {
  readonly picture: PictureShape;
  readonly calls: readonly C[];
  /** Unix ms. */
  readonly captureTimeMs: number;
  readonly deadlineMs: number | undefined;
  /** May take the slot that is kept for such jobs, and goes before the others in the worker. */
  readonly urgent: boolean;
  /** Time that it takes, ms, where that is far longer than others take. */
  readonly expectedMs: number | undefined;
  /** The picture: borrowed from the caller or the engine's own copy; the thread copies it into its slot. */
  bytes: Uint8Array;
}

export interface ThreadLimits {
  /** Jobs that the worker may hold behind the running one, but for an urgent one; more where they share runs. */
  readonly prefetch: number;
  /** A running job that takes longer counts as hung, and the worker with it. */
  readonly jobTimeoutMs: number;
  readonly loadTimeoutMs: number;
}

/** A job that had begun, or may have, in a worker that was lost. */
export interface BegunJob<J, C> {
  readonly job: J;
  /** In the worker's hands when it was lost. */
  readonly running: readonly C[];
  /** Behind them. */
  readonly left: readonly C[];
}

/** Reports to the owner; calls come from the worker's messages, never from within `send`. */
export interface ThreadOwner<J extends ThreadJob<C>, C extends ThreadCall> {
  started(): void;
  /** The worker's activity since the last call; before `done` and `failed`. */
  worked(work: WorkDone): void;
  done(call: C, outcome: WorkerOutcome): void;
  failed(call: C, error: SightlineError): void;
  /** The running job is about to end, or has ended: the next one may be handed in. */
  opened(): void;
  /** The thread is gone or given up. `waiting` never began. The jobs' `bytes` are copies again. Called once. */
  lost(reason: string, begun: BegunJob<J, C>[], waiting: J[]): void;
}

interface InFlight<J, C> {
  /** Not replied to yet, by id. */
  readonly calls: Map<number, C>;
  readonly slot: number;
  readonly job: J;
  /** Has the slot of an urgent one, and takes none of the others'. */
  readonly isExtra: boolean;
}

interface Loading {
  readonly timer: NodeJS.Timeout;
  readonly modelId: string;
  readonly resolve: (loaded: Loaded) => void;
  readonly reject: (error: SightlineError) => void;
}

/** Bytes of a fresh slot: most camera JPEGs fit. */
const SLOT_BYTES_MIN = 256 * 1024;
/** Limit of one worker's JavaScript heap; pictures and tensors lie outside it. */
const WORKER_HEAP_MB_MAX = 256;
/** Slots for urgent jobs alone. */
const URGENT_SLOTS = 1;
/** A run with less time left may be over when a message comes to the worker. */
const HEARD_SHARE = 0.15;
/** Shares of a worker are fractions that may not quite add up to 1. */
const ROUNDING = 1e-9;
/** Time that a running job gets when the engine closes, if its own timeout is not shorter. */
const CLOSE_TIMEOUT_MS = 2_000;
/** A thread that was given up may notice by itself for so long; from then on it is terminated where it can be. */
const STRAY_PATIENCE_MS = 1_000;
/** Between two looks at a thread that is to be terminated. */
const TERMINATE_POLL_MS = 50;
/** How long closing waits for a thread that may be terminated. */
const TERMINATE_WAIT_MS = 500;

/** One worker thread, its slots of shared memory and the jobs in it. Lives as long as the thread; is not reused. */
export class WorkerThread<J extends ThreadJob<C>, C extends ThreadCall> {
  readonly #worker: Worker;
  readonly #limits: ThreadLimits;
  readonly #owner: ThreadOwner<J, C>;
  /** Made when they are first needed. */
  readonly #slots: Uint8Array<SharedArrayBuffer>[] = [];
  readonly #freeSlots: number[] = [];
  /** Pictures that may share a run, by the id of their model. */
  readonly #batchMax = new Map<string, number>();
  readonly #ahead: Ahead;
  /** Programs that the worker has imported. There are as many as pipelines. */
  readonly #programs = new Set<string>();
  /** In order of handing in. */
  readonly #inFlight: InFlight<J, C>[] = [];
  readonly #loading = new Map<number, Loading>();
  /** Written by the worker. */
  readonly #running = new RunningIds(new SharedArrayBuffer(RunningIds.BYTES));
  readonly #native = new NativeGuard(new SharedArrayBuffer(NativeGuard.BYTES));
  #watch: NodeJS.Timeout | undefined;
  /** Times that the job that runs has changed. */
  #turns = 0;
  #nextId = 1;
  #busyMs = 0;
  #neededMs = 0;
  /** The part of `busyMs` that `#neededMs` covers; and the needed share of the last run. */
  #countedMs = 0;
  #bestShare = 1;
  #busySinceMs: number | undefined;
  /** The thread is closed or given up. */
  #isGone = false;
  /** Resolves when the thread has ended, which may be long after it was given up. */
  readonly exited: Promise<void>;

  constructor(settings: WorkerSettings, limits: ThreadLimits, owner: ThreadOwner<J, C>, workerUrl: URL = WORKER_URL) {
    this.#limits = limits;
    this.#owner = owner;
    this.#ahead = new Ahead(() => this.#owner.opened());
    this.#worker = new Worker(workerUrl, {
      workerData: {
        ...settings,
        running: this.#running.memory,
        native: this.#native.memory,
      } satisfies WorkerSettings,
      name: 'sightline-inference',
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB_MAX },
    });
    this.#worker.on('message', (reply: WorkerReply) => this.#receive(reply));
    this.#worker.on('error', (error) => this.#lose(error instanceof Error ? error.message : String(error)));
    this.exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#lose(`left with exit code ${code}`);
        resolve();
      });
    });
  }

  /**
   * Slots for any job, whatever its model: each job takes its share of the worker, and one of a model whose pictures run alone
   * takes the largest.
   */
  get free(): number {
    const ordinary = this.#inFlight.filter(({ isExtra }) => !isExtra);
    const taken = ordinary.reduce((sum, { job }) => sum + 1 / this.#capacityFor(job), 0);
    const batchMax = this.#batchMax.size > 0 ? Math.min(...this.#batchMax.values()) : 1;
    return Math.max(0, Math.floor((1 - taken + ROUNDING) * this.#capacity(batchMax)));
  }

  /** Slots for an urgent job. */
  get freeForUrgent(): number {
    return this.free + URGENT_SLOTS - this.#extras;
  }

  /** Time until a job that is handed in now is expected to begin, ms; an urgent one goes before those that are not. */
  waitMs(isUrgent: boolean): number {
    if (this.#inFlight.length === 0) return 0;
    const { leftMs, runMs } = this.#ahead;
    // The next one may have begun when the message reaches the worker.
    const passes = isUrgent && leftMs > HEARD_SHARE * runMs;
    const before = passes ? this.#inFlight.filter(({ isExtra }) => isExtra) : this.#inFlight.slice(1);
    // Before anything is known of its runs, the number of jobs counts.
    return before.reduce((sum, { job }) => sum + (job.expectedMs ?? Math.max(1, runMs)), leftMs);
  }

  get #extras(): number {
    return this.#inFlight.filter(({ isExtra }) => isExtra).length;
  }

  /** Frames share runs whose job is one program. */
  #capacityFor({ calls: [call, another] }: J): number {
    const models = another ? [] : Object.values(call!.models);
    return this.#capacity(Math.max(1, ...models.map((id) => this.#batchMax.get(id) ?? 1)));
  }

  #capacity(batchMax: number): number {
    return slotsFor(batchMax, batchMax > 1 || this.#ahead.isOpen ? this.#limits.prefetch : 0);
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  /** Busy time of the thread. */
  get busyMs(): number {
    return this.#busyMs + (this.#busySinceMs === undefined ? 0 : performance.now() - this.#busySinceMs);
  }

  /** Of `busyMs`, the time that the same pictures would have needed had every run been full. */
  get neededMs(): number {
    return this.#neededMs + (this.busyMs - this.#countedMs) * this.#bestShare;
  }

  /**
   * Hands a job in; there must be a slot for it. The picture is copied before this returns. Throws DataCloneError for settings or a state
   * that no message takes.
   */
  send(job: J): void {
    if ((job.urgent ? this.freeForUrgent : this.free) === 0) {
      throw new SightlineError('INTERNAL', 'a job for a worker without a free slot');
    }
    const slot = this.#freeSlots.pop() ?? this.#slots.length;
    const { bytes, picture, captureTimeMs, deadlineMs, urgent, expectedMs } = job;
    const memory = this.#fill(slot, bytes);
    const calls = new Map(job.calls.map((call) => [this.#nextId++, call]));
    try {
      this.#post({
        kind: 'run',
        calls: Array.from(calls, ([id, { program, models, settings, state }]) => ({
          id,
          program,
          models,
          settings,
          ...(state !== undefined && { state }),
        })),
        picture,
        slot,
        bytes: bytes.length,
        captureTimeMs,
        ...(memory && { memory }),
        ...(deadlineMs !== undefined && { deadlineMs }),
        ...(urgent && { urgent }),
        ...(expectedMs !== undefined && { isLong: true }),
      });
    } catch (thrown) {
      // The worker does not know the slot's memory: it is made anew.
      if (memory) this.#slots[slot] = new Uint8Array(new SharedArrayBuffer(0));
      this.#freeSlots.push(slot);
      throw thrown;
    }
    const isExtra = urgent && this.#extras < URGENT_SLOTS;
    this.#inFlight.push({ calls, slot, job, isExtra });
    this.#busySinceMs ??= performance.now();
    if (this.#inFlight.length === 1) this.#nextJob();
  }

  /** Errors: those of the worker, MODEL_CRASHED when it dies or hangs over it. */
  load(model: ReadyModel, profile: boolean): Promise<Loaded> {
    if (this.#isGone)
      return Promise.reject(new SightlineError('MODEL_CRASHED', `${model.manifest.id}: its worker is gone`));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const crashed = (error: SightlineError) =>
        reject(
          error.code === 'WORKER_LOST'
            ? new SightlineError('MODEL_CRASHED', `${model.manifest.id}: ${error.message}`)
            : error,
        );
      const { loadTimeoutMs } = this.#limits;
      const timer = setTimeout(() => this.#lose(`did not load a model within ${loadTimeoutMs} ms`), loadTimeoutMs);
      this.#loading.set(id, { timer, modelId: model.manifest.id, resolve, reject: crashed });
      this.#post({ kind: 'load', id, model, profile });
    });
  }

  /** Jobs behind the running ones, which the owner takes back before it closes the thread. */
  takeWaiting(): J[] {
    const running = this.#takeRunning();
    const waiting = this.#inFlight.splice(0);
    this.#inFlight.push(...running);
    return waiting.map(({ job }) => job);
  }

  /** Gives the thread up. */
  abandon(reason: string): void {
    this.#lose(reason);
  }

  /**
   * Lets the running job end, and the thread with it; a thread that takes too long is terminated where it can be. Returns false when it
   * goes on, inside a native library: it ends when it comes back.
   */
  async close(): Promise<boolean> {
    this.#post({ kind: 'close' });
    const patienceMs = Math.min(CLOSE_TIMEOUT_MS, this.#limits.jobTimeoutMs);
    this.#terminateAfter(patienceMs);
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => late.resolve(false), patienceMs + TERMINATE_WAIT_MS);
    const hasEnded = await Promise.race([this.exited.then(() => true), late.promise]);
    clearTimeout(timer);
    return hasEnded;
  }

  /** From then on the thread is terminated as soon as it is outside of native libraries. */
  #terminateAfter(patienceMs: number): void {
    let timer: NodeJS.Timeout;
    const attempt = () => {
      if (this.#native.claim()) void this.#worker.terminate();
      else timer = setTimeout(attempt, TERMINATE_POLL_MS);
    };
    timer = setTimeout(attempt, patienceMs);
    void this.exited.then(() => clearTimeout(timer));
  }

  #post(request: WorkerRequest): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(request);
  }

  /** Copies a picture into a slot. Returns the slot's memory when it had to be made, so that the worker can be told. */
  #fill(slot: number, bytes: Uint8Array): SharedArrayBuffer | undefined {
    let memory = this.#slots[slot];
    const isNew = !memory || memory.length < bytes.length;
    if (!memory || isNew) {
      // Powers of two, so that slowly growing pictures do not need a new one each.
      const size = Math.max(SLOT_BYTES_MIN, 2 ** Math.ceil(Math.log2(Math.max(1, bytes.length))));
      memory = new Uint8Array(new SharedArrayBuffer(size));
      this.#slots[slot] = memory;
    }
    memory.set(bytes);
    return isNew ? memory.buffer : undefined;
  }

  #receive(reply: WorkerReply): void {
    if (this.#isGone) return;
    if (reply.kind === 'ready') return this.#owner.started();
    const loading = this.#loading.get(reply.id);
    if (loading) {
      this.#loading.delete(reply.id);
      clearTimeout(loading.timer);
      if (reply.kind === 'loaded') {
        this.#batchMax.set(loading.modelId, reply.batchMax);
        loading.resolve(reply);
      } else if (reply.kind === 'failed') loading.reject(new SightlineError(reply.code, reply.message));
      return;
    }
    const at = this.#inFlight.find(({ calls }) => calls.has(reply.id));
    if (!at || reply.kind === 'loaded') return;
    const call = at.calls.get(reply.id)!;
    at.calls.delete(reply.id);
    const isLast = at.calls.size === 0;
    if (isLast) {
      this.#inFlight.splice(this.#inFlight.indexOf(at), 1);
      this.#freeSlots.push(at.slot);
    }
    if (reply.work) {
      this.#noteShare(reply.work.runs);
      this.#owner.worked(reply.work);
    }
    if (isLast) this.#nextJob(this.#knowsPrograms(at.job) && at.job.expectedMs === undefined);
    else this.#watch?.refresh();
    if (reply.kind === 'failed') this.#owner.failed(call, new SightlineError(reply.code, reply.message));
    else this.#owner.done(call, reply.outcome);
    if (isLast) this.#owner.opened();
  }

  /** Takes out the jobs that the worker is running, all that share the run; between two runs it is the oldest. */
  #takeRunning(): InFlight<J, C>[] {
    const ids = this.#running.get();
    const all = this.#inFlight.splice(0);
    const running = all.filter(({ calls }) => ids.some((id) => calls.has(id)));
    if (running.length === 0) running.push(...all.slice(0, 1));
    this.#inFlight.push(...all.filter((one) => !running.includes(one)));
    return running;
  }

  /** False the first time, when the worker has yet to import one of them. */
  #knowsPrograms({ calls }: J): boolean {
    const fresh = calls.filter(({ program }) => !this.#programs.has(program));
    for (const { program } of fresh) this.#programs.add(program);
    return fresh.length === 0;
  }

  /** Starts the clock of the running job, or stops it when there is none. `isUsual`: as in `Ahead.turn`. */
  #nextJob(isUsual = true): void {
    this.#turns++;
    // The worker runs urgent ones first.
    const next = this.#inFlight.find(({ job }) => job.urgent) ?? this.#inFlight[0];
    this.#ahead.turn(next !== undefined, isUsual, next?.job.expectedMs);
    if (this.#inFlight.length === 0) {
      this.#rest();
      clearTimeout(this.#watch);
      this.#watch = undefined;
    } else if (this.#watch) {
      this.#watch.refresh();
    } else {
      const { jobTimeoutMs } = this.#limits;
      this.#watch = setTimeout(() => this.#onTimeout(), jobTimeoutMs);
    }
  }

  /**
   * The time of a job is over. Where the process itself stood still as long, such as while the machine slept, the worker may long be done: what it
   * has said is read first, which the event loop does between its timers and this.
   */
  #onTimeout(): void {
    const turns = this.#turns;
    setImmediate(() => {
      if (turns !== this.#turns || this.#inFlight.length === 0) return;
      this.#lose(`did not end a job within ${this.#limits.jobTimeoutMs} ms`);
    });
  }

  /** A full run would have taken this share of the time since the last one. */
  #noteShare(runs: readonly ModelRun[]): void {
    const ms = runs.reduce((sum, run) => sum + run.ms, 0);
    if (runs.length === 0) return;
    const { busyMs } = this;
    this.#bestShare = ms > 0 ? runs.reduce((sum, run) => sum + run.bestShare * run.ms, 0) / ms : runs[0]!.bestShare;
    this.#neededMs += (busyMs - this.#countedMs) * this.#bestShare;
    this.#countedMs = busyMs;
  }

  #rest(): void {
    this.#busyMs = this.busyMs;
    this.#busySinceMs = undefined;
  }

  /**
   * The thread died or is given up. One that is given up ends by itself when its job returns, whose reply is ignored; it is terminated
   * only outside of native libraries.
   */
  #lose(reason: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#ahead.turn(false);
    this.#rest();
    clearTimeout(this.#watch);
    this.#post({ kind: 'close', isGivenUp: true });
    this.#terminateAfter(STRAY_PATIENCE_MS);
    const error = new SightlineError('WORKER_LOST', `an inference worker ${reason}`);
    for (const { timer, reject } of this.#loading.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#loading.clear();
    const begun = this.#takeRunning();
    const waiting = this.#inFlight.splice(0);
    for (const { slot, job } of [...begun, ...waiting]) job.bytes = this.#slots[slot]!.slice(0, job.bytes.length);
    const ids = this.#running.get();
    this.#owner.lost(
      reason,
      begun.map(({ job, calls }) => {
        const all = [...calls.keys()];
        const running = all.filter((id) => ids.includes(id));
        if (running.length === 0) running.push(...all.slice(0, 1));
        const callsOf = (some: readonly number[]) => some.map((id) => calls.get(id)!);
        return { job, running: callsOf(running), left: callsOf(all.filter((id) => !running.includes(id))) };
      }),
      waiting.map(({ job }) => job),
    );
  }
}
