import { wallTimeMs, type Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Priority } from '../base/sample.ts';
import { Payload } from '../protocol/payload.ts';
import { FAULTS, parkedRover, stepRover, type RoverState } from './rover-model.ts';
import { decideDrive, type DriveOrder, type StopCause } from './rover-safety.ts';
import { roverTelemetry } from './rover-telemetry.ts';

const STATE_INTERVAL_MS = 5;
const STATUS_INTERVAL_MS = 1_000;
/** A source that was held up for longer leaves the lost messages out: a flood of old states is of no use. */
const CATCH_UP_MAX_MS = 200;

/** The part of the registry of topics that the rover needs. */
export interface TopicPublisher {
  publish(topic: string, message: { payload: Payload; timeMs?: number; priority?: Priority }): unknown;
}

export interface RoverSourceOptions {
  readonly topics: TopicPublisher;
  readonly clock: Clock;
  readonly random: Random;
  /** The level above its topics. Default `rover/1`. */
  readonly name?: string;
}

/** On `<name>/status`, once a second and when something in it changes. */
export interface RoverStatus {
  readonly mode: 'driving' | 'stopped';
  readonly stop_cause: StopCause | null;
  readonly faults: string[];
  readonly uptime_s: number;
  /** Orders that were void when they came. */
  readonly orders_expired: number;
  /** States that were never sent, because this process was held up. */
  readonly states_skipped: number;
  readonly simulated: true;
}

/**
 * A simulated vehicle: publishes `<name>/state` 200 times a second and `<name>/status`, and drives as it is ordered, as
 * long as its own rules (`rover-safety.ts`) let it. States are due at whole multiples of 5 ms since the start, so that
 * lateness of timers does not add up; each carries the moment that it was due at.
 */
export class RoverSource {
  readonly #options: RoverSourceOptions;
  readonly #name: string;
  readonly #startMs: number;
  #state: RoverState;
  #order: DriveOrder | undefined;
  #emergency = false;
  #ordersExpired = 0;
  #skipped = 0;
  /** Number of the next state; it is due this many intervals after `#startMs`. */
  #next = 1;
  #statusDueMs: number;
  #lastTold = '';
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: RoverSourceOptions) {
    this.#options = options;
    this.#name = options.name ?? 'rover/1';
    this.#startMs = options.clock.now();
    this.#statusDueMs = this.#startMs;
    this.#state = parkedRover(options.random);
  }

  get state(): RoverState {
    return this.#state;
  }

  /** Messages are sent from now on, until `close`. */
  start(): void {
    if (this.#closed || this.#timer) return;
    this.#schedule();
  }

  /**
   * The newest order replaces the last one. One that is void already is counted and changes nothing; one during an
   * emergency stop is not kept, so that nothing moves at the moment of the release.
   */
  order(order: DriveOrder): void {
    if (order.expiresTimeMs <= this.#options.clock.now()) this.#ordersExpired++;
    else if (!this.#emergency) this.#order = order;
  }

  /** The driver is gone: brakes at once. */
  halt(): void {
    this.#order = undefined;
  }

  /** Brakes until `release`; whatever was ordered before is forgotten. */
  emergencyStop(): void {
    this.#emergency = true;
    this.halt();
  }

  release(): void {
    this.#emergency = false;
  }

  /** Publishes the states that are due. Called by the timer; a test with its own clock calls it itself. */
  advance(): void {
    const nowMs = this.#options.clock.now();
    this.#skipTo(nowMs - CATCH_UP_MAX_MS);
    while (this.#dueMs <= nowMs) this.#step();
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  get #dueMs(): number {
    return this.#startMs + this.#next * STATE_INTERVAL_MS;
  }

  #schedule(): void {
    this.#timer = setTimeout(
      () => {
        this.advance();
        if (!this.#closed) this.#schedule();
      },
      Math.max(0, this.#dueMs - this.#options.clock.now()),
    );
  }

  #skipTo(timeMs: number): void {
    const missed = Math.ceil((timeMs - this.#dueMs) / STATE_INTERVAL_MS);
    if (missed <= 0) return;
    this.#next += missed;
    this.#skipped += missed;
  }

  #step(): void {
    const { topics, clock, random } = this.#options;
    const timeMs = this.#dueMs;
    this.#next++;
    const { command, stopCause } = decideDrive(this.#order, this.#emergency, timeMs);
    const stepMs = timeMs - this.#startMs - this.#state.timeMs;
    const stepped = stepRover(this.#state, command, stepMs, random);
    const faults = stepped.faults | (this.#emergency ? FAULTS.emergency_stop : 0);
    // After time was left out the model must not fall behind the schedule for good.
    this.#state = { ...stepped, timeMs: timeMs - this.#startMs, faults };
    const telemetry = roverTelemetry(this.#state, command, random);
    topics.publish(`${this.#name}/state`, { payload: Payload.of(telemetry), timeMs: wallTimeMs(clock, timeMs) });
    this.#tellStatus(timeMs, stopCause);
  }

  #tellStatus(timeMs: number, stopCause: StopCause | undefined): void {
    const faults = namesOf(this.#state.faults);
    const told = `${stopCause} ${faults.join()}`;
    const changed = told !== this.#lastTold;
    if (timeMs < this.#statusDueMs && !changed) return;
    this.#lastTold = told;
    this.#statusDueMs = timeMs + STATUS_INTERVAL_MS;
    const status: RoverStatus = {
      mode: stopCause === undefined ? 'driving' : 'stopped',
      stop_cause: stopCause ?? null,
      faults,
      uptime_s: Math.round(this.#state.timeMs / 1000),
      orders_expired: this.#ordersExpired,
      states_skipped: this.#skipped,
      simulated: true,
    };
    const priority = changed ? Priority.high : Priority.normal;
    const { topics, clock } = this.#options;
    topics.publish(`${this.#name}/status`, {
      payload: Payload.of(status),
      timeMs: wallTimeMs(clock, timeMs),
      priority,
    });
  }
}

function namesOf(faults: number): string[] {
  return Object.entries(FAULTS)
    .filter(([, bit]) => (faults & bit) !== 0)
    .map(([name]) => name);
}
