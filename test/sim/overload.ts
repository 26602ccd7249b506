import type { Clock } from '../../src/base/clock.ts';
import type { FrameOutcome } from '../../src/base/frame.ts';
import type { Picture } from '../../src/base/picture.ts';
import { seededRandom, type Random } from '../../src/base/random.ts';
import type { Priority } from '../../src/base/sample.ts';
import { CostlyGate } from '../../src/flow/costly.ts';
import { FrameLimiter } from '../../src/flow/limiter.ts';
import { SessionControl, type SessionControlSettings } from '../../src/flow/session-control.ts';
import { Admission } from '../../src/pipelines/admission.ts';
import { Dispatcher } from '../../src/pipelines/dispatcher.ts';
import type { FrameLane } from '../../src/pipelines/frame-lane.ts';
import type { OutputCounts } from '../../src/pipelines/lane-output.ts';
import { SourceRate } from '../../src/pipelines/source-rate.ts';
import { Hub } from '../../src/stream/hub.ts';
import type { Stream } from '../../src/stream/stream.ts';
import { CONTROL_SETTINGS } from './controllers.ts';
import { Events } from './events.ts';
import { SimEngine, type SimEngineOptions } from './sim-engine.ts';

/** Sources, sessions, the real dispatcher and the real controllers on a simulated engine; the way to the server is ideal. */

export interface SourceOptions {
  readonly fps: number;
  readonly priority: Priority;
  /** False: sends every frame, whatever it is granted. */
  readonly honours: boolean;
  /** What is done with its frames, by the name that the engine's `costsMs` has; default: what takes `serviceMs`. */
  readonly program?: string;
  /** What decoding one of its pictures costs beside that, ms; default: nothing. */
  readonly decodeMs?: number;
  /** No client: it is told its rate and keeps to it. */
  readonly socketless?: boolean;
  /** From when until when it sends. */
  readonly fromMs?: number;
  readonly untilMs?: number;
}

export interface OverloadOptions {
  readonly seed: number;
  readonly engine: SimEngineOptions;
  readonly sources: readonly SourceOptions[];
  readonly settings?: Partial<SessionControlSettings>;
  readonly frameQueue?: number;
}

const WAY_MS = 2;
const FRAME_BYTES = 20_000;
const REGULATION_INTERVAL_MS = 100;
const EPOCH_MS = 1_700_000_000_000;

export interface SimResult {
  readonly captureMs: number;
  readonly resultMs: number;
}

/** One source of frames, and its lane. */
export abstract class SimSource {
  readonly options: SourceOptions;
  readonly lane: FrameLane;
  readonly results: SimResult[] = [];
  /** Moments in which a frame was refused for what its picture costs. */
  readonly refused: number[] = [];
  /** Moments in which frames were sent. */
  readonly sent: number[] = [];
  readonly dropped: Record<string, number> = {};
  protected readonly sim: Overload;
  readonly #frames: Stream<Picture>;
  #seq = 0;

  constructor(sim: Overload, options: SourceOptions, name: string, isWithinGrant: () => boolean) {
    this.sim = sim;
    this.options = options;
    this.#frames = sim.hub.create<Picture>(`${name}/frames`, { capacity: sim.options.frameQueue ?? 25 });
    const outcomes = sim.hub.create<FrameOutcome>(`${name}/objects`, { capacity: 256 });
    const { program = 'objects' } = options;
    this.lane = sim.dispatcher.attach({
      frames: this.#frames,
      pipelines: [{ name: 'objects', program, models: { model: program }, settings: undefined, outcomes }],
      isWithinGrant,
    });
    const reader = outcomes.subscribe({
      contract: { kind: 'all' },
      onReady: () => {
        for (let sample = reader.next(); sample; sample = reader.next()) {
          const { seq, captureTimeMs, data } = sample;
          if (data.kind === 'dropped') this.dropped[data.cause] = (this.dropped[data.cause] ?? 0) + 1;
          this.answered(seq, captureTimeMs - EPOCH_MS, data);
        }
      },
    });
    const { fps, fromMs = 0, untilMs = Infinity } = options;
    const show = () => {
      if (sim.events.nowMs >= untilMs) return;
      this.show();
      sim.events.in(1000 / fps, show);
    };
    sim.events.in(fromMs + (1000 / fps) * sim.random(), show);
  }

  counts(): OutputCounts {
    return this.lane.outputs[0]!.counts();
  }

  protected get picture(): Picture {
    return { kind: 'jpeg', bytes: Uint8Array.of(0), width: 8, height: 8, decodeMs: this.options.decodeMs ?? 0 };
  }

  /** The camera shows a picture: it is sent, or left out. */
  protected abstract show(): void;

  protected abstract answered(seq: number, captureMs: number, outcome: FrameOutcome): void;

  /** The number of the frame that is sent now. */
  protected take(): number {
    this.sent.push(this.sim.events.nowMs);
    return ++this.#seq;
  }

  protected publish(seq: number, captureTimeMs: number, deadlineMs: number): void {
    this.#frames.publish({ seq, captureTimeMs, priority: this.options.priority, deadlineMs, data: this.picture });
  }

  protected arrived(captureMs: number): void {
    this.results.push({ captureMs, resultMs: this.sim.events.nowMs });
  }
}

/** A client with its session. */
class SimClient extends SimSource {
  readonly #control: SessionControl;
  readonly #gate = new CostlyGate();
  readonly #limiter: FrameLimiter;

  constructor(sim: Overload, options: SourceOptions, name: string, settings: SessionControlSettings) {
    const control = new SessionControl({ ...settings, priority: options.priority }, sim.clock.now());
    super(sim, options, name, () => control.isWithinGrant);
    this.#control = control;
    control.roundTrip(2 * WAY_MS);
    const grant = control.tell(sim.clock.now());
    this.#limiter = new FrameLimiter({ rateFps: grant.rate_fps, window: grant.window }, 0);
    sim.admission.join({
      demand: (nowMs) => control.demand(nowMs),
      costMs: () => this.lane.work.costMs,
      isCostly: () => this.lane.isCostly,
      onShare: (fps) => {
        control.share(fps);
        this.#tellNews();
      },
    });
  }

  protected show(): void {
    const { events, clock } = this.sim;
    if (this.options.honours && this.#limiter.check(events.nowMs) !== 'go') return;
    const seq = this.take();
    if (this.options.honours) this.#limiter.sent(seq, events.nowMs);
    const captureTimeMs = clock.now();
    events.in(WAY_MS, () => this.#arrive(seq, captureTimeMs));
  }

  protected answered(seq: number, captureMs: number, outcome: FrameOutcome): void {
    const { clock, events, random } = this.sim;
    if (outcome.kind === 'result') {
      this.#control.answered(clock.now(), clock.now() - outcome.receivedTimeMs);
      events.in(WAY_MS, () => this.arrived(captureMs));
    }
    const isCrowded = outcome.kind === 'dropped' && outcome.cause !== 'stale' && outcome.cause !== 'disconnected';
    events.in(WAY_MS, () => {
      this.#limiter.answered(seq);
      if (isCrowded) this.#limiter.putOff(random(), events.nowMs);
    });
  }

  #arrive(seq: number, captureTimeMs: number): void {
    const nowMs = this.sim.clock.now();
    if (this.lane.isDear(this.picture) && !this.#gate.admits(nowMs, this.#control.grant().rate_fps)) {
      this.refused.push(this.sim.events.nowMs);
      this.sim.events.in(WAY_MS, () => this.#limiter.answered(seq));
      return;
    }
    const arrival = { bytes: FRAME_BYTES, sentTimeMs: captureTimeMs, arrivedTimeMs: nowMs };
    this.#control.frame(arrival, this.options.priority);
    this.publish(seq, captureTimeMs, this.#control.deadlineMs(captureTimeMs, nowMs, this.lane.work.serviceMs));
    this.#tellNews();
  }

  #tellNews(): void {
    const grant = this.#control.news(this.sim.clock.now());
    if (!grant) return;
    const { events, random } = this.sim;
    events.in(WAY_MS, () =>
      this.#limiter.setGrant({ rateFps: grant.rate_fps, window: grant.window }, events.nowMs, random()),
    );
  }
}

/** A camera or a program at the server itself, which keeps to the rate that it was told. */
class SimFeed extends SimSource {
  readonly #rate: SourceRate;
  readonly #budgetMs: number;
  readonly #limiter = new FrameLimiter({ rateFps: Infinity, window: Infinity }, 0);

  constructor(sim: Overload, options: SourceOptions, name: string, { budgetMs }: SessionControlSettings) {
    super(sim, options, name, () => this.#rate.isWithin);
    this.#budgetMs = budgetMs;
    this.#rate = new SourceRate({
      clock: sim.clock,
      priority: () => options.priority,
      costMs: () => this.lane.work.costMs,
      guard: (callback) => sim.hub.guard(callback),
    });
    this.#rate.watch((rateFps) =>
      this.#limiter.setGrant({ rateFps, window: Infinity }, sim.events.nowMs, sim.random()),
    );
    sim.admission.join(this.#rate);
  }

  protected show(): void {
    const { events, clock } = this.sim;
    if (this.options.honours && this.#limiter.check(events.nowMs) !== 'go') return;
    this.#rate.frame();
    const seq = this.take();
    this.#limiter.sent(seq, events.nowMs);
    this.publish(seq, clock.now(), clock.now() + this.#budgetMs - this.lane.work.serviceMs);
  }

  protected answered(seq: number, captureMs: number, outcome: FrameOutcome): void {
    this.#limiter.answered(seq);
    if (outcome.kind === 'result') this.arrived(captureMs);
  }
}

export class Overload {
  readonly options: OverloadOptions;
  readonly events = new Events();
  readonly clock: Clock = { now: () => EPOCH_MS + this.events.nowMs };
  readonly random: Random;
  readonly hub: Hub;
  readonly engine: SimEngine;
  readonly dispatcher: Dispatcher;
  readonly admission: Admission;
  readonly sources: SimSource[];

  constructor(options: OverloadOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.hub = new Hub({ clock: this.clock, random: this.random, streamsMax: 10_000 });
    this.engine = new SimEngine(this.events, options.engine, this.random);
    this.dispatcher = new Dispatcher({
      engine: this.engine,
      clock: this.clock,
      laneInFlightMax: 3,
      stallTimeoutMs: 1_000,
    });
    this.admission = new Admission(() => this.dispatcher.facts());
    const settings = { ...CONTROL_SETTINGS, ...options.settings };
    this.sources = options.sources.map((source, i) =>
      source.socketless ? new SimFeed(this, source, `s${i}`, settings) : new SimClient(this, source, `s${i}`, settings),
    );
    this.events.every(REGULATION_INTERVAL_MS, () => this.#regulate(), REGULATION_INTERVAL_MS);
  }

  /** Frames a second that the engine can do. */
  get capacityFps(): number {
    const { workers, serviceMs } = this.options.engine;
    return (workers * 1000) / serviceMs;
  }

  async run(untilMs: number): Promise<this> {
    while (this.events.step(untilMs)) {
      // The dispatcher waits for promises of the engine: their continuations belong to the same instant.
      for (let i = 0; i < 6; i++) await undefined;
    }
    return this;
  }

  #regulate(): void {
    const nowMs = this.clock.now();
    this.admission.measure(nowMs);
    this.admission.shareOut(nowMs);
  }
}
