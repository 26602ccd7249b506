import { NO_WISH, type Wish } from './input.ts';

/** The server's message on `…/lease`. */
export interface LeaseStatus {
  readonly driver: string | null;
  readonly name: string | null;
  readonly lease: number;
}

/** `asking`: acquired, not answered yet. */
export type DriverState = 'free' | 'asking' | 'driving' | 'other';

export interface DriverOptions {
  /** Sends at once, or not at all: an old command is worse than none. */
  readonly send: (topic: 'command' | 'lease/request', data: object) => void;
  /** Sends until it has arrived: a stop is never too old. */
  readonly insist: (topic: 'command', data: object) => void;
  readonly onChange: (state: DriverState) => void;
  /** This page's own name for itself. */
  readonly id: string;
}

const COMMAND_INTERVAL_MS = 50;
const RENEW_INTERVAL_MS = 500;
/** Life of one command. Longer than a few intervals, so that one late message is no stop; shorter than the vehicle's own limit. */
export const COMMAND_EXPIRES_MS = 250;
const ANSWER_TIMEOUT_MS = 2_000;

/** This page as a driver: asks for the lease, keeps it, and sends the hands' input while it has it. */
export class Driver {
  readonly #options: DriverOptions;
  #state: DriverState = 'free';
  #lease = 0;
  #wish = NO_WISH;
  #timers: ReturnType<typeof setInterval>[] = [];
  #answerTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  get state(): DriverState {
    return this.#state;
  }

  /** Takes the wheel, if it is free. */
  take(): void {
    if (this.#state === 'driving') return;
    this.#enter('asking');
    this.#request('acquire');
    this.#answerTimer = setTimeout(() => this.#enter('free'), ANSWER_TIMEOUT_MS);
  }

  giveBack(): void {
    this.#request('release');
    this.#enter('free');
  }

  /** Anybody may. */
  stop(): void {
    this.#options.insist('command', { action: 'stop' });
  }

  resume(): void {
    this.#options.send('command', { action: 'resume', ...this.#grant });
  }

  steer(wish: Wish): void {
    const before = this.#wish;
    this.#wish = wish;
    // A change goes at once, and the next interval repeats it.
    if (before.throttle !== wish.throttle || before.steer !== wish.steer) this.#command();
  }

  /** Handles the server's message about the lease. */
  seeLease({ driver, lease }: LeaseStatus): void {
    this.#lease = lease;
    if (driver === this.#options.id) {
      // The lease was given back a moment ago: the release is in transit.
      if (this.#state !== 'free') this.#enter('driving');
    } else if (driver !== null) this.#enter('other');
    else if (this.#state !== 'asking') this.#enter('free');
  }

  /** The link is gone, and with it whatever was known of the lease. */
  lose(): void {
    this.#enter('free');
  }

  get #grant(): { driver: string; lease: number } {
    return { driver: this.#options.id, lease: this.#lease };
  }

  #command(): void {
    if (this.#state !== 'driving') return;
    this.#options.send('command', { action: 'drive', ...this.#grant, ...this.#wish, expires_ms: COMMAND_EXPIRES_MS });
  }

  #request(action: string): void {
    this.#options.send('lease/request', {
      action,
      driver: this.#options.id,
      name: `page ${this.#options.id.slice(0, 4)}`,
    });
  }

  #enter(state: DriverState): void {
    if (state === this.#state) return;
    this.#state = state;
    clearTimeout(this.#answerTimer);
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    if (state === 'driving') {
      this.#timers = [
        setInterval(() => this.#command(), COMMAND_INTERVAL_MS),
        setInterval(() => this.#request('renew'), RENEW_INTERVAL_MS),
      ];
    }
    this.#options.onChange(state);
  }
}
