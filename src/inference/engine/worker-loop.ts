import { type Clock, systemClock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { Arrivals, planRun, type RunCosts, sumOfCosts } from '../../flow/batching.ts';
import { checkJpeg, decodeJpegRgbx, type RgbxPicture } from '../../media/jpeg.ts';
import { isUpright, turnUpright, uprightSize } from '../../media/orient.ts';
import { BufferPool } from '../../media/pool.ts';
import { expandRgb } from '../../vision/preprocess.ts';
import type { Program } from '../programs/program.ts';
import { FREE_PIXEL_BYTES_MAX } from '../settings.ts';
import { FrameGroup, type GroupParts } from './frame-group.ts';
import type { LoadRequest, RunRequest, WorkerReply, WorkerRequest, WorkerSettings } from './messages.ts';
import { NativeGuard } from './native-guard.ts';
import { ModelRunner } from './runner.ts';
import { RunningIds } from './running.ts';
import { DeviceMutex } from './device-mutex.ts';

/** Times that an ordinary frame may be overtaken: endless urgent ones must not hold it forever. */
const PASSED_MAX = 3;
/** Memory of the decoded pictures of frames that are processed together, at least one of them. */
const PIXELS_TOGETHER_MAX = 64 * 1024 * 1024;
/** Kinds of work whose arrivals are known; the least recent one makes room. */
const KINDS_MAX = 64;

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

function isUrgent(request: WorkerRequest): boolean {
  return request.kind === 'run' && request.urgent === true;
}

/** Frames with the same key share runs: their program and its models. Only for those that do, since it costs microseconds. */
function kindOf({ calls }: RunRequest): string {
  return JSON.stringify([calls[0]!.program, calls[0]!.models]);
}

/**
 * The loop of a worker thread: takes one request after the other, urgent ones first, and runs each frame to completion; several of
 * one kind together where that pays. Knows nothing of threads, so that it can be driven from anywhere.
 */
export class WorkerLoop {
  readonly #settings: WorkerSettings;
  readonly #reply: (message: WorkerReply) => void;
  readonly #onClosed: () => void;
  readonly #clock: Clock;
  readonly #runners = new Map<string, ModelRunner>();
  /** By the URL of its module. As many as the callers have; Node never forgets a module either. */
  readonly #programs = new Map<string, Program>();
  readonly #arrivals = new Map<string, Arrivals>();
  /** The shared memory of each slot. */
  readonly #slots: Uint8Array[] = [];
  readonly #pool: BufferPool;
  /** Bounded by the engine: it has one run per slot and one load per model outstanding. */
  readonly #waiting: WorkerRequest[] = [];
  /** How often each waiting run was overtaken. */
  readonly #passed = new Map<WorkerRequest, number>();
  readonly #running: RunningIds | undefined;
  readonly #native: NativeGuard;
  readonly #deviceMutex: DeviceMutex | undefined;
  readonly #parts: GroupParts;
  #isWorking = false;
  /** Ends the wait for one more picture. */
  #wake: (() => void) | undefined;
  readonly #givenUp = Promise.withResolvers<void>();

  constructor(
    settings: WorkerSettings,
    reply: (message: WorkerReply) => void,
    onClosed: () => void,
    clock: Clock = systemClock,
  ) {
    this.#settings = settings;
    this.#running = settings.running && new RunningIds(settings.running);
    this.#native = new NativeGuard(settings.native ?? new SharedArrayBuffer(NativeGuard.BYTES));
    this.#deviceMutex = settings.deviceMutex && new DeviceMutex(settings.deviceMutex.memory, settings.deviceMutex.me);
    this.#reply = reply;
    this.#onClosed = onClosed;
    this.#clock = clock;
    // Frames of a group are decoded one by one, and each may need a second buffer to be turned; cameras of several sizes take turns.
    this.#pool = new BufferPool({
      buffersPerShape: 1 + settings.batch.max,
      shapesMax: 4,
      freeBytesMax: FREE_PIXEL_BYTES_MAX,
    });
    this.#parts = {
      clock,
      reply,
      runners: this.#runners,
      running: this.#running,
      native: this.#native,
      program: (url) => this.#program(url),
      decode: (request, borrowed) => this.#decode(request, borrowed),
      release: (borrowed) => borrowed.forEach((buffer) => this.#pool.release(buffer)),
    };
    // A program that cannot be imported fails for its caller.
    for (const url of settings.programs ?? []) this.#program(url).catch(() => undefined);
  }

  /** Takes a request in; `close` goes before everything that has not begun. */
  take(request: WorkerRequest): void {
    if (request.kind === 'close') {
      this.#waiting.length = 0;
      this.#passed.clear();
      if (request.isGivenUp === true) this.#givenUp.resolve();
    }
    if (request.kind === 'run') {
      if (request.memory) this.#slots[request.slot] = new Uint8Array(request.memory);
      if (this.#mayShare(request)) this.#arrivalsOf(kindOf(request)).note(this.#clock.now());
    }
    if (isUrgent(request)) this.#overtake(request);
    else this.#waiting.push(request);
    this.#wake?.();
    if (!this.#isWorking) void this.#work();
  }

  #arrivalsOf(kind: string): Arrivals {
    const arrivals = this.#arrivals.get(kind) ?? new Arrivals();
    this.#arrivals.delete(kind);
    this.#arrivals.set(kind, arrivals);
    if (this.#arrivals.size > KINDS_MAX) this.#arrivals.delete(this.#arrivals.keys().next().value!);
    return arrivals;
  }

  /** Puts an urgent run before the ordinary ones that have not been passed too often. */
  #overtake(request: WorkerRequest): void {
    const passed = (one: WorkerRequest) => this.#passed.get(one) ?? 0;
    const isPassable = (one: WorkerRequest) => one.kind === 'run' && !isUrgent(one) && passed(one) < PASSED_MAX;
    const at = this.#waiting.findLastIndex((one) => !isPassable(one)) + 1;
    for (const one of this.#waiting.slice(at)) if (one.kind === 'run') this.#passed.set(one, passed(one) + 1);
    this.#waiting.splice(at, 0, request);
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    for (let [request] = this.#waiting; request; [request] = this.#waiting) {
      if (request.kind === 'run') await Promise.race([this.#runNext(request), this.#givenUp.promise]);
      else this.#waiting.shift();
      if (request.kind === 'close') {
        const runners = [...this.#runners.values()];
        this.#runners.clear();
        for (const runner of runners) await this.#native.within(() => runner.release());
        this.#onClosed();
        return;
      }
      if (request.kind === 'load') await this.#load(request);
      // The thread was blocked: an urgent request may have come in meanwhile, and is only now received.
      if (this.#waiting.length > 0) await nextTurn();
    }
    this.#isWorking = false;
  }

  async #program(url: string): Promise<Program> {
    const known = this.#programs.get(url);
    if (known) return known;
    const { program } = (await import(url)) as { program?: Program };
    if (typeof program?.run !== 'function') {
      throw new SightlineError('INFERENCE_FAILED', `the module ${url} exports no program`);
    }
    this.#programs.set(url, program);
    return program;
  }

  async #load({ id, model, profile }: LoadRequest): Promise<void> {
    const { manifest } = model;
    try {
      const { session, batch } = this.#settings;
      const { runner, report, warmUpMs } = await this.#native.within(async () => {
        const opened = await ModelRunner.open(model, session, profile, batch, this.#clock, this.#deviceMutex);
        await this.#runners.get(manifest.id)?.release();
        return opened;
      });
      this.#runners.set(manifest.id, runner);
      const { max: batchMax } = runner.costs;
      this.#reply({ kind: 'loaded', id, report, warmUpMs, batchMax, costsMs: runner.costs.inferenceMs() });
    } catch (thrown) {
      this.#fail(id, thrown);
    }
  }

  /** Runs the first waiting frame, alone or together with others. */
  async #runNext(first: RunRequest): Promise<void> {
    const requests = this.#mayShare(first)
      ? await this.#gather(kindOf(first), this.#costsOf(first))
      : this.#takeOut([first]);
    if (requests.length > 0) await new FrameGroup(requests, this.#parts).run();
  }

  /** A frame of one program, for one of whose models sharing a run pays. */
  #mayShare({ calls: [call, another], isLong }: RunRequest): boolean {
    if (another || isLong === true) return false;
    for (const id of Object.values(call!.models)) if ((this.#runners.get(id)?.costs.max ?? 1) > 1) return true;
    return false;
  }

  /** Costs of runs of the frame's models, as far as they are loaded. */
  #costsOf({ calls }: RunRequest): RunCosts {
    const runners = Object.values(calls[0]!.models).map((id) => this.#runners.get(id));
    return sumOfCosts(runners.flatMap((runner) => (runner ? [runner.costs] : [])));
  }

  #takeOut(runs: readonly RunRequest[]): readonly RunRequest[] {
    for (const request of runs) {
      this.#waiting.splice(this.#waiting.indexOf(request), 1);
      this.#passed.delete(request);
    }
    return runs;
  }

  /** Takes out the runs of a kind that go together now; may wait for more. None: something else is next in line meanwhile. */
  async #gather(kind: string, costs: RunCosts): Promise<readonly RunRequest[]> {
    // Messages that are in the port already cost no waiting.
    await nextTurn();
    const sinceMs = this.#clock.now();
    for (;;) {
      const runs = this.#runsOf(kind);
      if (runs.length === 0) return runs;
      const nowMs = this.#clock.now();
      const arrivals = this.#arrivalsOf(kind);
      const forming = {
        leftMs: runs.map(({ deadlineMs = Infinity }) => deadlineMs - nowMs),
        gapMs: arrivals.gapMs,
        sinceArrivalMs: arrivals.sinceMs(nowMs),
        waitedMs: nowMs - sinceMs,
      };
      const { pictures, waitMs } = planRun(costs, forming, this.#settings.batch);
      // No other kind waits, and nothing urgent.
      const mayWait = runs.length === this.#waiting.length && !runs.some(isUrgent);
      if (waitMs === 0 || !mayWait) return this.#takeOut(runs.slice(0, pictures));
      await this.#nextRequest(waitMs);
    }
  }

  /**
   * Waiting runs of a kind, if the next one is of that kind, as many as memory allows together. It passes over those of other kinds, but
   * over nothing else.
   */
  #runsOf(kind: string): RunRequest[] {
    const runs: RunRequest[] = [];
    let pixels = 0;
    for (const request of this.#waiting) {
      if (request.kind !== 'run') break;
      if (request.isLong !== true && request.calls.length === 1 && kindOf(request) === kind) {
        pixels += request.picture.width * request.picture.height;
        if (runs.length > 0 && pixels > PIXELS_TOGETHER_MAX) break;
        runs.push(request);
      } else if (runs.length === 0) break;
    }
    return runs;
  }

  #nextRequest(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        this.#wake = undefined;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Decodes a frame, upright. */
  #decode(request: RunRequest, borrowed: Uint8Array[]): RgbxPicture {
    const bytes = this.#slots[request.slot]!.subarray(0, request.bytes);
    const { picture } = request;
    const header = picture.kind === 'jpeg' ? checkJpeg(bytes, this.#settings.imageLimits) : undefined;
    const { width, height } = header ?? picture;
    const buffer = this.#borrow(width, height, borrowed);
    if (!header) return expandRgb(bytes, width, height, buffer);
    const decoded = this.#decodeJpeg(bytes, buffer);
    const { orientation } = header;
    if (isUpright(orientation)) return decoded;
    const turned = this.#borrow(width, height, borrowed);
    turnUpright(decoded.data, width, height, orientation, turned, 4);
    return { data: turned, ...uprightSize(header, orientation) };
  }

  #decodeJpeg(bytes: Uint8Array, into: Uint8Array): RgbxPicture {
    this.#native.enter();
    try {
      return decodeJpegRgbx(bytes, into, this.#settings.imageLimits);
    } finally {
      this.#native.leave();
    }
  }

  /** A buffer of 4 bytes a pixel, which returns to the pool when the frame is done. */
  #borrow(width: number, height: number, borrowed: Uint8Array[]): Uint8Array {
    const pooled = this.#pool.acquire(width, height, 4);
    if (pooled) borrowed.push(pooled);
    return pooled ?? Buffer.allocUnsafeSlow(width * height * 4);
  }

  #fail(id: number, thrown: unknown): void {
    const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
    this.#reply({ kind: 'failed', id, code, message });
  }
}
