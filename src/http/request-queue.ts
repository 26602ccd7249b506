import type { Clock } from '../base/clock.ts';
import { TimeAccount, type AddressTime, type Turns, type WaitingClient } from '../fences/turns.ts';

/** Something that a request asks for. */
export interface RequestJob {
  /** Its client has gone. */
  readonly isOver: boolean;
  /** Begins with it; what it does at once is charged, what it waits for is not. */
  readonly run: () => void;
}

interface RequestQueueParts {
  readonly clock: Clock;
  readonly turns: Turns;
}

/** Requests of one kind, by the address that they come from: whoever floods the server delays its own. */
export class RequestQueues {
  readonly #parts: RequestQueueParts;
  readonly #queues = new WeakMap<AddressTime, RequestQueue>();
  readonly #count = { waiting: 0 };

  constructor({ clock, turns }: RequestQueueParts) {
    this.#parts = { clock, turns };
  }

  /** Requests that wait. */
  get size(): number {
    return this.#count.waiting;
  }

  /** Runs it now, or when requests of its address have their turn. */
  submit(remoteAddress: string | undefined, job: RequestJob): void {
    const address = this.#parts.turns.addressTime(remoteAddress);
    let queue = this.#queues.get(address);
    if (queue === undefined) {
      queue = new RequestQueue(this.#parts, address, this.#count);
      this.#queues.set(address, queue);
    }
    queue.submit(job);
  }
}

/**
 * In the order in which they came. All together are one client of the main thread's time: however many come, those who have a session
 * keep their turns, and so do requests of other kinds.
 */
export class RequestQueue implements WaitingClient {
  readonly time: TimeAccount;
  readonly #clock: Clock;
  readonly #turns: Turns;
  readonly #waiting = new Set<RequestJob>();
  readonly #count: { waiting: number };
  #isBusy = false;

  /** `count`: of all queues of the kind. */
  constructor({ clock, turns }: RequestQueueParts, address?: AddressTime, count = { waiting: 0 }) {
    this.#count = count;
    this.time = new TimeAccount(address);
    this.#clock = clock;
    this.#turns = turns;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Not before the last one has done what it does at once. */
  get isReady(): boolean {
    return !this.#isBusy;
  }

  /** Runs it now, or when requests have their turn. */
  submit(job: RequestJob): void {
    if (this.size === 0 && this.isReady && this.#turns.admits(this.time, this.#clock.now())) return this.#run(job);
    this.#waiting.add(job);
    this.#count.waiting++;
    this.#turns.wait(this);
  }

  work(): boolean {
    for (const job of this.#waiting) {
      this.#waiting.delete(job);
      this.#count.waiting--;
      if (job.isOver) continue;
      this.#run(job);
      break;
    }
    return this.size > 0;
  }

  #run(job: RequestJob): void {
    const startMs = this.#clock.now();
    this.#isBusy = true;
    job.run();
    // Handlers are asynchronous functions: most do all their work in microtasks, after which this runs.
    queueMicrotask(() => process.nextTick(() => this.#done(startMs)));
  }

  #done(startMs: number): void {
    const endMs = this.#clock.now();
    this.#isBusy = false;
    this.#turns.spent(this.time, endMs - startMs, endMs);
    if (this.size > 0) this.#turns.wait(this);
  }
}
