import { EXIT_CAUSES, type Child, type ChildExit, type ExitCause } from './child.ts';
import { RESTART_DEFAULTS, restartDelayMs, type RestartPolicy } from './restart.ts';

export interface SupervisorOptions<To, From> {
  /** Starts one life of the child. */
  readonly start: () => Child<To, From>;
  readonly policy?: RestartPolicy;
  /** 0 to 1, for the spread of restarts. */
  readonly random: () => number;
  /** A life has ended; `restartInMs` is undefined when no other one follows. */
  readonly onExit?: (exit: ChildExit, restartInMs: number | undefined) => void;
}

/** `given_up`: it failed too often in a row. */
export type SupervisorState = 'running' | 'waiting' | 'given_up' | 'stopped';

export interface SupervisorAccounts {
  readonly state: SupervisorState;
  readonly starts: number;
  readonly exits: Readonly<Record<ExitCause, number>>;
  /** Sum over all lives, as in `ChildCounts`; messages sent while no child was there count as refused. */
  readonly sent: number;
  readonly refused: number;
  readonly received: number;
}

/** Keeps a child going: one that ends for whatever reason is started again, after a pause that grows while that does not help. */
export class Supervisor<To, From> implements AsyncDisposable {
  readonly #options: SupervisorOptions<To, From>;
  readonly #exits = Object.fromEntries(EXIT_CAUSES.map((cause) => [cause, 0])) as Record<ExitCause, number>;
  #child: Child<To, From>;
  #state: SupervisorState = 'running';
  #starts = 0;
  #restarts = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;
  /** Of the lives that are over, and of messages sent while no child was there. */
  #past = { sent: 0, refused: 0, received: 0 };
  #lastExit: ChildExit | undefined;

  constructor(options: SupervisorOptions<To, From>) {
    this.#options = options;
    this.#child = this.#start();
  }

  get lastExit(): ChildExit | undefined {
    return this.#lastExit;
  }

  /** Of the current life. */
  get pid(): number | undefined {
    return this.#state === 'running' ? this.#child.pid : undefined;
  }

  /** False: it was not sent, because too many wait or no child is there; that is counted. */
  send(message: To): boolean {
    if (this.#state === 'running') return this.#child.send(message);
    this.#past.refused++;
    return false;
  }

  accounts(): SupervisorAccounts {
    const now = this.#state === 'running' ? this.#child.counts : { sent: 0, refused: 0, received: 0 };
    return {
      state: this.#state,
      starts: this.#starts,
      exits: { ...this.#exits },
      sent: this.#past.sent + now.sent,
      refused: this.#past.refused + now.refused,
      received: this.#past.received + now.received,
    };
  }

  /** Ends the child, and does not start another. Idempotent. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    if (this.#state === 'waiting') this.#state = 'stopped';
    await this.#child.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #start(): Child<To, From> {
    this.#starts++;
    const child = this.#options.start();
    void child.exited.then((exit) => this.#ended(child, exit));
    return child;
  }

  #ended(child: Child<To, From>, exit: ChildExit): void {
    const { sent, refused, received } = child.counts;
    this.#past = {
      sent: this.#past.sent + sent,
      refused: this.#past.refused + refused,
      received: this.#past.received + received,
    };
    this.#exits[exit.cause]++;
    this.#lastExit = exit;
    const { policy = RESTART_DEFAULTS, random, onExit } = this.#options;
    if (exit.lifeMs >= policy.healthyMs) this.#restarts = 0;
    this.#restarts++;
    if (this.#isStopping) this.#state = 'stopped';
    else this.#state = this.#restarts > (policy.restartsMax ?? Infinity) ? 'given_up' : 'waiting';
    const delayMs = this.#state === 'waiting' ? restartDelayMs(policy, this.#restarts, random()) : undefined;
    if (delayMs !== undefined) {
      this.#timer = setTimeout(() => {
        this.#state = 'running';
        this.#child = this.#start();
      }, delayMs);
    }
    onExit?.(exit, delayMs);
  }
}
