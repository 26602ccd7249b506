import type { Clock } from '../base/clock.ts';

/**
 * The main thread's time, shared by clients. Each message is timed. What a client has used fills two leaky buckets of its own: `burst` decides
 * when it has to let others have a turn, `use` whether it counts as heavy. All clients together fill a third one, so that time is left for all
 * else that the main thread does; heavy clients may fill less of it. Messages that have to wait are worked on in the order of virtual
 * time (start-time fair queuing: Goyal, Vin and Cheng 1996): clients that want more than there is get alike, and one that wants little goes first.
 */

/** Work of one client in one go, ms: so long all others wait. */
const BURST_MS = 2;
/** Share of the time that one client may take for long. */
const CLIENT_SHARE = 0.5;
/** Share of the time that all clients may take for long, and what heavy ones, and all, may take in one go, ms. */
const ALL_SHARE = 0.7;
const HEAVY_BURST_MS = 4;
const ALL_BURST_MS = 8;
/** After a message that took longer others are not held up for as long again, ms. */
const ALL_MAX_MS = 16;
/** A client that takes less than this share of the time is not heavy; nor is one that has taken only a little more than that so far, ms. */
const LIGHT_SHARE = 0.05;
const LIGHT_MS = 20;
/** What counts against a client at most, ms: it drains at the share of light clients, so that it is light again within seconds. */
const USE_MAX_MS = 200;

/** Drains at `share` milliseconds each millisecond. */
class LeakyBucket {
  readonly #share: number;
  #levelMs = 0;
  #atMs = -Infinity;

  constructor(share: number) {
    this.#share = share;
  }

  level(nowMs: number): number {
    if (nowMs > this.#atMs) {
      this.#levelMs = Math.max(0, this.#levelMs - (nowMs - this.#atMs) * this.#share);
      this.#atMs = nowMs;
    }
    return this.#levelMs;
  }

  add(ms: number, nowMs: number, maxMs: number): void {
    this.#levelMs = Math.min(maxMs, this.level(nowMs) + ms);
  }

  /** Until the level has fallen below that, ms. */
  waitMs(belowMs: number, nowMs: number): number {
    return Math.max(0, (this.level(nowMs) - belowMs) / this.#share);
  }
}

/** What one client has used of the main thread's time. */
export class TimeAccount {
  /** Since it came, ms. */
  usedMs = 0;
  /** Times that its messages had to wait for others. */
  waits = 0;
  /** Messages of it wait. */
  isWaiting = false;
  /** Virtual time up to which it has used its part, ms. */
  virtualMs = 0;
  readonly burst = new LeakyBucket(CLIENT_SHARE);
  readonly use = new LeakyBucket(LIGHT_SHARE);
}

/** A client with messages that wait. */
export interface WaitingClient {
  readonly time: TimeAccount;
  /** It can work on: what waits does not wait for anything else, such as its own answers. */
  readonly isReady: boolean;
  /** Works on the next of its messages. False: none is left. */
  work(): boolean;
}

export interface TurnsOptions {
  readonly clock: Clock;
  /** Runs it in the next turn of the event loop, or after `waitMs`. */
  readonly schedule: (waitMs: number, run: () => void) => void;
}

/** What one turn of the event loop does of what waits, ms: between two of them everything else has its turn. */
const PUMP_MS = 4;
/** Where every client that waits has used up its share. */
const WAIT_MIN_MS = 1;
const WAIT_MAX_MS = 20;

/** Decides whose messages are worked on, and when. */
export class Turns {
  readonly #clock: Clock;
  readonly #schedule: TurnsOptions['schedule'];
  /** What all clients have used since the start, ms, and how often messages of one had to wait. */
  usedMs = 0;
  waits = 0;
  readonly #all = new LeakyBucket(ALL_SHARE);
  #virtualMs = 0;
  readonly #waiting = new Set<WaitingClient>();
  /** When it works on what waits; `Infinity`: nothing is scheduled. */
  #dueMs = Infinity;

  constructor({ clock, schedule }: TurnsOptions) {
    this.#clock = clock;
    this.#schedule = schedule;
  }

  /** Clients whose messages wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether a message that has come may be worked on now. */
  admits(time: TimeAccount, nowMs: number): boolean {
    return (this.#waiting.size === 0 || !isHeavy(time, nowMs)) && this.#hasTurn(time, nowMs);
  }

  /** A client has used so much. */
  spent(time: TimeAccount, ms: number, nowMs: number): void {
    this.usedMs += ms;
    time.usedMs += ms;
    time.burst.add(ms, nowMs, Infinity);
    time.use.add(ms, nowMs, USE_MAX_MS);
    this.#all.add(ms, nowMs, ALL_MAX_MS);
    this.#begin(time);
    if (this.#waiting.size === 0) this.#virtualMs = Math.max(this.#virtualMs, time.virtualMs);
    time.virtualMs += ms;
  }

  /** The client has messages that wait, or can work on. Idempotent. */
  wait(client: WaitingClient): void {
    const { time } = client;
    if (!time.isWaiting) {
      this.#begin(time);
      time.isWaiting = true;
      time.waits++;
      this.waits++;
    }
    this.#waiting.add(client);
    this.#pumpLater(0);
  }

  /** For work that goes on: fulfilled when the client has its next turn. */
  next(time: TimeAccount): Promise<void> {
    return new Promise((resolve) => {
      const work = (): boolean => {
        resolve();
        return false;
      };
      this.wait({ time, isReady: true, work });
    });
  }

  /** Nothing of it waits any more. */
  leave(client: WaitingClient): void {
    if (this.#waiting.delete(client)) client.time.isWaiting = false;
  }

  #pumpLater(waitMs: number): void {
    const dueMs = this.#clock.now() + waitMs;
    if (this.#dueMs <= dueMs) return;
    this.#dueMs = dueMs;
    this.#schedule(waitMs, () => {
      // Another one was scheduled before it.
      if (this.#dueMs !== dueMs) return;
      this.#dueMs = Infinity;
      this.#pump();
    });
  }

  #hasTurn(time: TimeAccount, nowMs: number): boolean {
    const burstMs = isHeavy(time, nowMs) ? HEAVY_BURST_MS : ALL_BURST_MS;
    return time.burst.level(nowMs) < BURST_MS && this.#all.level(nowMs) < burstMs;
  }

  /** Who comes anew has no claim to what it left unused. Who waits has its place already. */
  #begin(time: TimeAccount): void {
    if (!time.isWaiting) time.virtualMs = Math.max(time.virtualMs, this.#virtualMs);
  }

  #pump(): void {
    const startMs = this.#clock.now();
    const ready = [...this.#waiting].filter(({ isReady }) => isReady);
    ready.sort((a, b) => a.time.virtualMs - b.time.virtualMs || a.time.use.level(startMs) - b.time.use.level(startMs));
    let nowMs = startMs;
    for (const client of ready) {
      if (!this.#hasTurn(client.time, nowMs)) continue;
      this.#virtualMs = Math.max(this.#virtualMs, client.time.virtualMs);
      while (nowMs - startMs < PUMP_MS && client.isReady && this.#hasTurn(client.time, nowMs)) {
        const hasMore = client.work();
        nowMs = this.#clock.now();
        if (hasMore) continue;
        this.leave(client);
        break;
      }
      if (nowMs - startMs >= PUMP_MS) break;
    }
    const left = [...this.#waiting].filter(({ isReady }) => isReady);
    if (left.length > 0) this.#pumpLater(this.#waitMs(left, nowMs));
  }

  /** Until the first of them may go on. */
  #waitMs(clients: readonly WaitingClient[], nowMs: number): number {
    let waitMs = WAIT_MAX_MS;
    for (const { time } of clients) {
      if (this.#hasTurn(time, nowMs)) return 0;
      const own = time.burst.waitMs(BURST_MS, nowMs);
      const all = this.#all.waitMs(isHeavy(time, nowMs) ? HEAVY_BURST_MS : ALL_BURST_MS, nowMs);
      waitMs = Math.min(waitMs, Math.max(own, all));
    }
    return Math.max(WAIT_MIN_MS, waitMs);
  }
}

function isHeavy(time: TimeAccount, nowMs: number): boolean {
  return time.use.level(nowMs) > LIGHT_MS;
}

/** For `TurnsOptions`: on this process's event loop. */
export function scheduleTurn(waitMs: number, run: () => void): void {
  if (waitMs <= 0) setImmediate(run);
  else setTimeout(run, waitMs).unref();
}
