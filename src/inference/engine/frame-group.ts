import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Detected, Thresholds } from '../../vision/detector.ts';
import type { Placement, Region } from '../../vision/placement.ts';
import type { RgbxPicture } from '../../vision/preprocess.ts';
import type { Inferred, ModelHandle, Program, ProgramCallContext } from '../programs/program.ts';
import type { CallRequest, ModelRun, RunRequest, WorkerReply } from './messages.ts';
import type { NativeGuard } from './native-guard.ts';
import type { ModelRunner } from './runner.ts';
import type { RunningIds } from './running.ts';

/** The part of a worker that a group needs. */
export interface GroupParts {
  readonly clock: Clock;
  /** By id. */
  readonly runners: ReadonlyMap<string, ModelRunner>;
  readonly running: RunningIds | undefined;
  readonly native: NativeGuard;
  readonly reply: (reply: WorkerReply) => void;
  /** Throws an error of the program's module, or INFERENCE_FAILED where it exports no program. */
  readonly program: (url: string) => Promise<Program>;
  /** Decodes a frame, upright. The caller must `release` the buffers. Throws FRAME_*. */
  readonly decode: (request: RunRequest, borrowed: Uint8Array[]) => RgbxPicture;
  readonly release: (borrowed: readonly Uint8Array[]) => void;
}

/** A program that waits for a run of a model. */
interface Ask {
  readonly runner: ModelRunner;
  readonly picture: RgbxPicture;
  readonly region: Region | undefined;
  readonly call: Call;
  readonly askedMs: number;
  readonly answer: PromiseWithResolvers<Inferred>;
}

/** A program on its frame. */
interface Call {
  readonly request: CallRequest;
  preprocessMs: number;
  inferenceMs: number;
  workerMs: number;
}

/** A frame under way: its programs run one after the other. */
class Frame {
  readonly request: RunRequest;
  readonly asks: Ask[] = [];
  /** The program that is running now. */
  call: Call | undefined;
  /** Decoding time of the picture, until the first run with it has been charged for it. */
  decodeMs = 0;
  isDone = false;
  #paused: PromiseWithResolvers<void> | undefined;

  constructor(request: RunRequest) {
    this.request = request;
  }

  /** Resolves when the frame's program waits for a run, or the frame is done. To be taken before the frame goes on. */
  nextPause(): Promise<void> {
    this.#paused = Promise.withResolvers<void>();
    return this.#paused.promise;
  }

  pause(): void {
    this.#paused?.resolve();
  }
}

/**
 * The frames that a worker processes together. One of them goes on at a time, until its program waits for a run of a model or the
 * frame is done; when all of them wait, a model runs once for those that wait for it. So several frames share runs, each has its own
 * times, and when the worker dies the running program is known.
 */
export class FrameGroup {
  readonly #parts: GroupParts;
  readonly #frames: readonly Frame[];
  /** Since the last reply. */
  #decodes = 0;
  #runs: ModelRun[] = [];
  #failedMs = 0;
  /** When time was last charged to a program. */
  #countedMs: number;

  constructor(requests: readonly RunRequest[], parts: GroupParts) {
    this.#parts = parts;
    this.#frames = requests.map((request) => new Frame(request));
    this.#countedMs = parts.clock.now();
  }

  /** Replies to every call of every frame. */
  async run(): Promise<void> {
    for (const frame of this.#frames) await this.#advance(frame, () => void this.#runFrame(frame));
    for (let open = this.#open(); open; open = this.#open()) {
      const asks = this.#nextRun();
      // It requested a run and did not wait for it.
      if (asks.length === 0) await this.#advance(open, () => undefined);
      if (asks.length === 0) continue;
      const answers = await this.#runModel(asks);
      for (const frame of this.#frames) {
        const own = asks.flatMap((ask, i) => (ask.call === frame.call ? [answers[i]!] : []));
        if (own.length > 0) await this.#advance(frame, () => own.forEach((answer) => answer()));
      }
    }
  }

  #open(): Frame | undefined {
    return this.#frames.find(({ isDone }) => !isDone);
  }

  /** Lets a frame go on until it waits again. */
  async #advance(frame: Frame, goOn: () => void): Promise<void> {
    if (frame.call) this.#parts.running?.set([frame.call.request.id]);
    const paused = frame.nextPause();
    goOn();
    // A program that has requested several runs at once waits already: it reads its results before the next run comes.
    if (frame.asks.length > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    else await paused;
    this.#count(frame.call);
  }

  /** Charges the time since the last charge to this program. */
  #count(call: Call | undefined): void {
    const nowMs = this.#parts.clock.now();
    if (call) call.workerMs += nowMs - this.#countedMs;
    this.#countedMs = nowMs;
  }

  /** The programs that wait for the same model as the one that has waited longest, as many as fit into a run; none of them waits afterwards. */
  #nextRun(): Ask[] {
    const first = this.#frames.find(({ asks }) => asks.length > 0)?.asks[0];
    if (!first) return [];
    const together: Ask[] = [];
    for (const { asks } of this.#frames) {
      for (const ask of asks.filter(({ runner }) => runner === first.runner)) {
        if (together.length === first.runner.costs.max) return together;
        asks.splice(asks.indexOf(ask), 1);
        together.push(ask);
      }
    }
    return together;
  }

  /** Returns for each of them a function that lets it go on with its own result. */
  async #runModel(asks: readonly Ask[]): Promise<(() => void)[]> {
    const { clock, running, native } = this.#parts;
    const { runner } = asks[0]!;
    const failures = new Map<Ask, unknown>();
    const placed: { readonly ask: Ask; readonly placement: Placement; readonly placeMs: number }[] = [];
    for (const ask of asks) {
      running?.set([ask.call.request.id]);
      const startMs = clock.now();
      try {
        const placement = runner.place(placed.length, ask.picture, ask.region);
        placed.push({ ask, placement, placeMs: clock.now() - startMs });
      } catch (thrown) {
        failures.set(ask, thrown);
      }
      this.#count(ask.call);
    }
    if (placed.length > 0) {
      // From here on each of them may be what kills the worker.
      running?.set([...new Set(placed.map(({ ask }) => ask.call.request.id))]);
      try {
        const ms = await native.within(() => runner.run(placed.length));
        this.#observe(runner, ms, placed);
      } catch (thrown) {
        for (const { ask } of placed) failures.set(ask, thrown);
      }
    }
    const ranMs = clock.now();
    const shareMs = (ranMs - this.#countedMs) / placed.length;
    this.#countedMs = ranMs;
    for (const { ask, placeMs } of placed) {
      ask.call.preprocessMs += placeMs;
      ask.call.inferenceMs += ranMs - ask.askedMs - placeMs;
      ask.call.workerMs += shareMs;
    }
    return asks.map((ask) => () => {
      const at = placed.findIndex((one) => one.ask === ask);
      if (failures.has(ask)) ask.answer.reject(failures.get(ask));
      else ask.answer.resolve({ tensors: runner.tensors(at), placement: placed[at]!.placement });
    });
  }

  #observe(runner: ModelRunner, ms: number, placed: readonly { readonly ask: Ask; readonly placeMs: number }[]): void {
    const { costs, manifest } = runner;
    let ownMs = 0;
    for (const { ask, placeMs } of placed) {
      const frame = this.#frames.find(({ call }) => call === ask.call)!;
      ownMs += placeMs + frame.decodeMs;
      frame.decodeMs = 0;
    }
    const pictures = placed.length;
    costs.observe(pictures, ms, ownMs / pictures);
    const bestShare = costs.bestShare(pictures);
    this.#runs.push({ modelId: manifest.id, pictures, ms, bestShare, costsMs: costs.inferenceMs() });
  }

  async #runFrame(frame: Frame): Promise<void> {
    const { decode, release, running, clock } = this.#parts;
    const { request } = frame;
    const borrowed: Uint8Array[] = [];
    try {
      const calls = request.calls.filter((call) => this.#hasModels(call));
      if (calls.length === 0) return;
      // A picture that kills its worker would do so for each of them.
      running?.set(calls.map(({ id }) => id));
      const startedTimeMs = clock.now();
      let picture: RgbxPicture;
      try {
        picture = decode(request, borrowed);
      } catch (thrown) {
        this.#failedMs += clock.now() - startedTimeMs;
        for (const call of calls) this.#fail(call, thrown);
        return;
      }
      const decodeMs = clock.now() - startedTimeMs;
      frame.decodeMs = decodeMs;
      this.#decodes += 1;
      for (const call of calls) await this.#runCall(frame, call, picture, decodeMs);
    } finally {
      release(borrowed);
      frame.isDone = true;
      frame.pause();
    }
  }

  #hasModels(call: CallRequest): boolean {
    const missing = Object.values(call.models).find((id) => !this.#parts.runners.has(id));
    if (missing === undefined) return true;
    this.#fail(call, new SightlineError('MODEL_UNKNOWN', `the model ${missing} is not loaded`));
    return false;
  }

  async #runCall(frame: Frame, request: CallRequest, picture: RgbxPicture, decodeMs: number): Promise<void> {
    const { clock, running } = this.#parts;
    const call: Call = { request, preprocessMs: 0, inferenceMs: 0, workerMs: 0 };
    frame.call = call;
    running?.set([request.id]);
    const beganMs = clock.now();
    try {
      const program = await this.#parts.program(request.program);
      const { result, state, capped = 0 } = await program.run(this.#contextOf(frame, call, picture));
      this.#count(call);
      const { preprocessMs: preprocess, inferenceMs: inference } = call;
      const postprocess = this.#countedMs - beganMs - preprocess - inference;
      const size = frame.request.picture.kind === 'rgb' ? frame.request.picture.source : picture;
      this.#reply({
        kind: 'done',
        id: request.id,
        work: this.#takeWork(),
        outcome: {
          program: program.name,
          result,
          ...(state !== undefined && { state }),
          capped,
          width: size.width,
          height: size.height,
          stagesMs: { decode: decodeMs, preprocess, inference, postprocess },
          // The first one begins with the decoding.
          startedTimeMs: beganMs - decodeMs,
          workerMs: call.workerMs,
        },
      });
    } catch (thrown) {
      this.#count(call);
      this.#failedMs += call.workerMs;
      this.#fail(request, thrown);
    } finally {
      frame.call = undefined;
      // Runs that nothing waited for.
      for (const ask of frame.asks.splice(0)) ask.answer.reject(over());
    }
  }

  #contextOf(frame: Frame, call: Call, picture: RgbxPicture): ProgramCallContext {
    const { request } = frame;
    const { models, settings, state } = call.request;
    return {
      picture,
      source:
        request.picture.kind === 'rgb' ? request.picture.source : { width: picture.width, height: picture.height },
      captureTimeMs: request.captureTimeMs,
      settings,
      state,
      model: (role) => this.#handle(frame, call, models, role),
    };
  }

  #handle(frame: Frame, call: Call, models: CallRequest['models'], role: string): ModelHandle {
    const runner = Object.hasOwn(models, role) ? this.#parts.runners.get(models[role]!) : undefined;
    if (!runner) throw new SightlineError('MODEL_UNKNOWN', `the job names no model for "${role}"`);
    const infer = (picture: RgbxPicture, region?: Region): Promise<Inferred> => {
      if (frame.call !== call) return Promise.reject(over());
      const answer = Promise.withResolvers<Inferred>();
      frame.asks.push({ runner, picture, region, call, askedMs: this.#parts.clock.now(), answer });
      frame.pause();
      return answer.promise;
    };
    const detect = async (picture: RgbxPicture, thresholds: Thresholds): Promise<Detected> => {
      const { tensors, placement } = await infer(picture);
      return runner.detect(tensors, placement, thresholds);
    };
    return { manifest: runner.manifest, infer, detect };
  }

  #takeWork() {
    const work = { decodes: this.#decodes, failedMs: this.#failedMs, runs: this.#runs };
    this.#decodes = 0;
    this.#failedMs = 0;
    this.#runs = [];
    return work;
  }

  #fail({ id }: CallRequest, thrown: unknown): void {
    const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
    this.#reply({ kind: 'failed', id, work: this.#takeWork(), code, message });
  }

  #reply(reply: WorkerReply): void {
    this.#parts.reply(reply);
  }
}

function over(): SightlineError {
  return new SightlineError('INFERENCE_FAILED', 'the program requested a run of a model after it was done');
}
