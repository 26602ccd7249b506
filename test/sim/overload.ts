import type { Clock } from '../../src/base/clock.ts';
import type { FrameOutcome } from '../../src/base/frame.ts';
import type { Picture } from '../../src/base/picture.ts';
import { seededRandom, type Random } from '../../src/base/random.ts';
import type { Priority } from '../../src/base/sample.ts';
import { EngineControl } from '../../src/flow/engine-control.ts';
import { FrameLimiter } from '../../src/flow/limiter.ts';
import { SessionControl, type SessionControlSettings } from '../../src/flow/session-control.ts';
import { DetectPipeline, type DetectLane } from '../../src/pipelines/detect.ts';
import type { GrantFields } from '../../src/protocol/video.ts';
import { Hub } from '../../src/stream/hub.ts';
import type { Stream } from '../../src/stream/stream.ts';
import { CONTROL_SETTINGS } from './controllers.ts';
import { Events } from './events.ts';
import { SimEngine, type SimEngineOptions } from './sim-engine.ts';

/** Sources, sessions, the real pipeline and the real controllers on a simulated engine; the way to the server is ideal. */

export interface SourceOptions {
  readonly fps: number;
  readonly priority: Priority;
  /** False: sends every frame, whatever it is granted. */
  readonly honours: boolean;
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

/** One source with its session. */
export class SimSource {
  readonly options: SourceOptions;
  readonly control: SessionControl;
  readonly lane: DetectLane;
  readonly results: SimResult[] = [];
  /** Moments in which frames were sent. */
  readonly sent: number[] = [];
  readonly dropped: Record<string, number> = {};
  readonly #limiter: FrameLimiter;
  readonly #sim: Overload;
  readonly #frames: Stream<Picture>;
  #seq = 0;

  constructor(sim: Overload, options: SourceOptions, name: string, settings: SessionControlSettings) {
    this.#sim = sim;
    this.options = options;
    this.control = new SessionControl({ ...settings, priority: options.priority }, sim.clock.now());
    this.control.roundTrip(2 * WAY_MS);
    const grant = this.control.tell(sim.clock.now());
    this.#limiter = new FrameLimiter({ rateFps: grant.rate_fps, window: grant.window }, 0);
    this.#frames = sim.hub.create<Picture>(`${name}/frames`, { capacity: sim.options.frameQueue ?? 25 });
    const outcomes = sim.hub.create<FrameOutcome>(`${name}/objects`, { capacity: 256 });
    this.lane = sim.pipeline.attach({
      frames: this.#frames,
      outcomes,
      modelId: 'any',
      isWithinGrant: () => this.control.isWithinGrant,
    });
    const reader = outcomes.subscribe({
      contract: { kind: 'all' },
      onReady: () => {
        for (let sample = reader.next(); sample; sample = reader.next()) {
          const { seq, captureTimeMs, data } = sample;
          if (data.kind === 'result') {
            this.control.answered(sim.clock.now(), sim.clock.now() - data.receivedTimeMs);
            sim.events.in(WAY_MS, () => {
              this.results.push({ captureMs: captureTimeMs - EPOCH_MS, resultMs: sim.events.nowMs });
            });
          } else if (data.kind === 'dropped') this.dropped[data.cause] = (this.dropped[data.cause] ?? 0) + 1;
          const isCrowded = data.kind === 'dropped' && data.cause !== 'stale' && data.cause !== 'disconnected';
          sim.events.in(WAY_MS, () => {
            this.#limiter.answered(seq);
            if (isCrowded) this.#limiter.putOff(sim.random(), sim.events.nowMs);
          });
        }
      },
    });
    const { fps, fromMs = 0, untilMs = Infinity } = options;
    const show = () => {
      if (sim.events.nowMs >= untilMs) return;
      this.#show();
      sim.events.in(1000 / fps, show);
    };
    sim.events.in(fromMs + (1000 / fps) * sim.random(), show);
  }

  tell(grant: GrantFields): void {
    this.#sim.events.in(WAY_MS, () =>
      this.#limiter.setGrant(
        { rateFps: grant.rate_fps, window: grant.window },
        this.#sim.events.nowMs,
        this.#sim.random(),
      ),
    );
  }

  #show(): void {
    const { events } = this.#sim;
    if (this.options.honours && this.#limiter.check(events.nowMs) !== 'go') return;
    const seq = ++this.#seq;
    if (this.options.honours) this.#limiter.sent(seq, events.nowMs);
    this.sent.push(events.nowMs);
    const captureTimeMs = this.#sim.clock.now();
    events.in(WAY_MS, () => this.#arrive(seq, captureTimeMs));
  }

  #arrive(seq: number, captureTimeMs: number): void {
    const { clock, pipeline } = this.#sim;
    const nowMs = clock.now();
    const { priority } = this.options;
    this.control.frame({ bytes: FRAME_BYTES, sentTimeMs: captureTimeMs, arrivedTimeMs: nowMs }, priority);
    this.#frames.publish({
      seq,
      captureTimeMs,
      priority,
      deadlineMs: this.control.deadlineMs(captureTimeMs, nowMs, pipeline.serviceMs),
      data: { kind: 'jpeg', bytes: Uint8Array.of(0), width: 8, height: 8 },
    });
    this.#sim.tellNews(this);
  }
}

export class Overload {
  readonly options: OverloadOptions;
  readonly events = new Events();
  readonly clock: Clock = { now: () => EPOCH_MS + this.events.nowMs };
  readonly random: Random;
  readonly hub: Hub;
  readonly engine: SimEngine;
  readonly pipeline: DetectPipeline;
  readonly control = new EngineControl();
  readonly sources: SimSource[];

  constructor(options: OverloadOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.hub = new Hub({ clock: this.clock, random: this.random, streamsMax: 10_000 });
    this.engine = new SimEngine(this.events, options.engine, this.random);
    this.pipeline = new DetectPipeline({
      engine: this.engine,
      clock: this.clock,
      laneInFlightMax: 3,
      stallTimeoutMs: 1_000,
    });
    const settings = { ...CONTROL_SETTINGS, ...options.settings };
    this.sources = options.sources.map((source, i) => new SimSource(this, source, `s${i}`, settings));
    this.events.every(REGULATION_INTERVAL_MS, () => this.#regulate(), REGULATION_INTERVAL_MS);
  }

  /** Frames a second that the engine can do. */
  get capacityFps(): number {
    const { workers, serviceMs } = this.options.engine;
    return (workers * 1000) / serviceMs;
  }

  async run(untilMs: number): Promise<this> {
    while (this.events.step(untilMs)) {
      // The pipeline waits for promises of the engine: their continuations belong to the same instant.
      for (let i = 0; i < 4; i++) await undefined;
    }
    return this;
  }

  tellNews(source: SimSource): void {
    const grant = source.control.news(this.clock.now());
    if (grant) source.tell(grant);
  }

  #regulate(): void {
    const { workers, completed, busyMs } = this.engine.stats();
    const nowMs = this.clock.now();
    this.control.update({ nowMs, workers, completed, busyMs, waitMs: this.pipeline.takeWaitMs() });
    const shares = this.control.shares(this.sources.map(({ control }) => control.demand(nowMs)));
    for (const [i, source] of this.sources.entries()) {
      source.control.share(shares[i]!);
      this.tellNews(source);
    }
  }
}
