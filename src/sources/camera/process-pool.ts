import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { Log } from '../../log/log.ts';
import { EXIT_CAUSES, type ExitCause } from '../../supervise/child.ts';
import { camerasPerProcess, processFor } from './placement.ts';
import { ReaderLink, type LinkKind } from './reader-link.ts';

export interface PoolSettings {
  /** Processes that serve several cameras, at most. */
  readonly processes: number;
  /** Cameras that are read at once, at most. */
  readonly streamsMax: number;
}

export interface ReaderPoolOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings: () => PoolSettings;
  /** Default: the reader. */
  readonly script?: URL | undefined;
  readonly guard: (callback: () => void) => void;
}

/** A process without a camera waits for one for so long. */
const IDLE_MS = 10_000;
/** Addresses that are tried at once, in a process for that alone. */
export const TESTS_MAX = 4;
const TAIL_CHARS = 1_500;

/** A camera's place in a process, over its connections. */
export interface Seat {
  readonly link: ReaderLink;
  /** Idempotent. */
  leave(): void;
}

/** The processes that read cameras: a bounded number for all, one each for those that bring others down with them, and one for tests. */
export class ReaderPool {
  readonly #options: ReaderPoolOptions;
  readonly #links = new Set<ReaderLink>();
  readonly #idle = new Map<ReaderLink, NodeJS.Timeout>();
  /** Of links that are closed. */
  readonly #past = { starts: 0, ordersRefused: 0, dataBytes: 0, strays: 0 };
  readonly #pastExits: Record<ExitCause, number>;
  /** Those that end now still count. */
  readonly #closing = new Map<ReaderLink, Promise<void>>();
  #isolations = 0;
  #isolationsRefused = 0;

  constructor(options: ReaderPoolOptions) {
    this.#options = options;
    this.#pastExits = Object.fromEntries(EXIT_CAUSES.map((cause) => [cause, 0])) as Record<ExitCause, number>;
  }

  accounts() {
    const processes: Record<LinkKind, number> = { pool: 0, own: 0, test: 0 };
    const exits = { ...this.#pastExits };
    const sum = { ...this.#past };
    for (const { kind } of this.#links) processes[kind]++;
    for (const link of [...this.#links, ...this.#closing.keys()]) {
      const { exits: linkExits, ...counts } = link.accounts();
      for (const cause of EXIT_CAUSES) exits[cause] += linkExits[cause];
      for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += counts[key];
    }
    const isolations = { given: this.#isolations, refused: this.#isolationsRefused };
    return { processes, exits, ...sum, isolations };
  }

  /** `isSuspect`: it gets a process of its own while there are fewer of those than of the others; else it stays among them. */
  place(isSuspect: boolean): Seat {
    const { processes } = this.#options.settings();
    if (isSuspect) {
      if (this.#of('own').length < processes) {
        this.#isolations++;
        return this.#seat(this.#start('own', 1));
      }
      this.#isolationsRefused++;
    }
    return this.#seat(this.#shared());
  }

  /** A place for a test; undefined: as many as may be are under way. */
  placeTest(): Seat | undefined {
    const link = this.#of('test')[0] ?? this.#start('test', TESTS_MAX);
    return link.cameras < link.camerasMax ? this.#seat(link) : undefined;
  }

  async close(): Promise<void> {
    for (const link of this.#links) this.#end(link);
    await Promise.all(this.#closing.values());
  }

  #of(kind: LinkKind): ReaderLink[] {
    return [...this.#links].filter((link) => link.kind === kind);
  }

  #shared(): ReaderLink {
    const { processes, streamsMax } = this.#options.settings();
    const pool = this.#of('pool');
    const at = processFor(pool, processes);
    return at === 'new' ? this.#start('pool', camerasPerProcess(streamsMax, processes)) : pool[at]!;
  }

  #start(kind: LinkKind, camerasMax: number): ReaderLink {
    const { clock, random, script, guard, log } = this.#options;
    const link = new ReaderLink({
      kind,
      camerasMax,
      clock,
      random,
      script,
      guard,
      onExit: ({ pid, cause, text, errorTail, cameras, restartInMs = 0 }) => {
        log.write('reader_process_lost', {
          cause,
          pid: pid ?? null,
          reason: text,
          cameras,
          restart_ms: Math.round(restartInMs),
          errors: errorTail.slice(-TAIL_CHARS),
        });
      },
    });
    this.#links.add(link);
    return link;
  }

  #seat(link: ReaderLink): Seat {
    clearTimeout(this.#idle.get(link));
    this.#idle.delete(link);
    link.cameras++;
    let isTaken = true;
    const leave = (): void => {
      if (!isTaken) return;
      isTaken = false;
      link.cameras--;
      if (link.cameras > 0 || !this.#links.has(link)) return;
      if (link.kind === 'own') return this.#end(link);
      const timer = setTimeout(() => this.#end(link), IDLE_MS);
      timer.unref();
      this.#idle.set(link, timer);
    };
    return { link, leave };
  }

  #end(link: ReaderLink): void {
    if (!this.#links.delete(link)) return;
    clearTimeout(this.#idle.get(link));
    this.#idle.delete(link);
    const closed = this.#close(link);
    this.#closing.set(link, closed);
  }

  async #close(link: ReaderLink): Promise<void> {
    await link.close();
    this.#closing.delete(link);
    const { exits, ...counts } = link.accounts();
    for (const cause of EXIT_CAUSES) this.#pastExits[cause] += exits[cause];
    for (const key of Object.keys(this.#past) as (keyof typeof counts)[]) this.#past[key] += counts[key];
  }
}
