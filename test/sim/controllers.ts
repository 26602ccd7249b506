import { builtInLadder, nearestRung, rungOfMode, type Rung } from '../../src/flow/ladder.ts';
import { SessionControl, type SessionControlSettings } from '../../src/flow/session-control.ts';
import type { GrantFields } from '../../src/protocol/video.ts';
import type { Ask, Controller, SimFrame } from './link-session.ts';

const WIDTH = 640;
const HEIGHT = 480;
const RUNGS = builtInLadder('levels', 30);

export const CONTROL_SETTINGS: SessionControlSettings = {
  rungs: RUNGS,
  startRung: nearestRung(RUNGS, rungOfMode('balanced', 30)),
  width: WIDTH,
  height: HEIGHT,
  firstFps: 15,
  minFps: 5,
  maxFps: 30,
  sourceFps: 30,
  stabilityMs: 5_000,
  isAdaptive: true,
  fixedQuality: 50,
  windowMin: 2,
  budgetMs: 75,
  priority: 1,
};

/** Sightline's own, as the server has it. */
export class Adaptive implements Controller {
  readonly clientQueue = 0;
  readonly control: SessionControl;

  constructor(roundTripMs: number | undefined, settings: Partial<SessionControlSettings> = {}) {
    this.control = new SessionControl({ ...CONTROL_SETTINGS, ...settings }, 0);
    if (roundTripMs !== undefined) this.control.roundTrip(roundTripMs);
  }

  /** The server knows how many sessions come from one address. */
  shareWay(): void {
    this.control.shareWay(true);
  }

  first(nowMs: number): Ask {
    return askOf(this.control.tell(nowMs));
  }

  frame({ bytes, captureMs, sentMs, arrivedMs }: SimFrame): void {
    this.#arrivedMs = arrivedMs;
    this.control.frame({ bytes, sentTimeMs: sentMs, arrivedTimeMs: arrivedMs }, 1, sentMs - captureMs);
  }

  #arrivedMs = 0;

  answered(nowMs: number): void {
    this.control.answered(nowMs, nowMs - this.#arrivedMs);
  }

  news(nowMs: number): Ask | undefined {
    const grant = this.control.news(nowMs);
    return grant && askOf(grant);
  }
}

function askOf({ rate_fps: fps, window, quality, width, height }: GrantFields): Ask {
  return { fps, window, quality, width, height };
}

function askOfRung({ quality, scale, fps }: Rung): Ask {
  return { fps, window: Infinity, quality, width: Math.round(WIDTH * scale), height: Math.round(HEIGHT * scale) };
}

/** One quality, and every frame is sent, come what may: what a camera without control does. */
export class FixedQuality implements Controller {
  readonly clientQueue: number;
  readonly #rung: Rung;

  constructor(level: number, clientQueue = 0) {
    this.#rung = RUNGS[level]!;
    this.clientQueue = clientQueue;
  }

  first(): Ask {
    return askOfRung(this.#rung);
  }

  frame(): void {}

  answered(): void {}

  news(): undefined {}
}

/** The newest 25 frames wait at the sender while one is on its way; the oldest are dropped. Fixed quality. */
export class DropOldest extends FixedQuality {
  constructor(level: number) {
    super(level, 25);
  }

  override first(): Ask {
    return { ...super.first(), window: 4 };
  }
}

/** What most programs do: once a second the mean latency; over 1.5 times the target a level down, under 0.7 times one up. */
export class Threshold implements Controller {
  readonly clientQueue = 0;
  readonly #targetMs: number;
  #level: number;
  #latencies: number[] = [];
  #nextMs = 1_000;

  constructor(level: number, targetMs: number) {
    this.#level = level;
    this.#targetMs = targetMs;
  }

  first(): Ask {
    return askOfRung(RUNGS[this.#level]!);
  }

  frame(): void {}

  answered(_nowMs: number, latencyMs: number): void {
    this.#latencies.push(latencyMs);
  }

  news(nowMs: number): Ask | undefined {
    if (nowMs < this.#nextMs || this.#latencies.length === 0) return undefined;
    this.#nextMs = nowMs + 1_000;
    const meanMs = this.#latencies.reduce((sum, ms) => sum + ms, 0) / this.#latencies.length;
    this.#latencies = [];
    const step = meanMs > 1.5 * this.#targetMs ? -1 : meanMs < 0.7 * this.#targetMs ? 1 : 0;
    const level = Math.max(0, Math.min(RUNGS.length - 1, this.#level + step));
    if (level === this.#level) return undefined;
    this.#level = level;
    return askOfRung(RUNGS[level]!);
  }
}
