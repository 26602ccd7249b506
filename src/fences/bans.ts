/** Disconnections for what it did, within the ban's time, after which a client is banned for that time. */
const DISCONNECTS_MAX = 3;
const NAMES_MAX = 10_000;

/** Temporary bans, by any name that the owner uses (an address, a client id). Bounded: the least recently seen goes first. */
export class Bans {
  readonly #banMs: number;
  readonly #offences = new Map<string, { count: number; lastMs: number; untilMs: number }>();

  constructor(banMs: number) {
    this.#banMs = banMs;
  }

  get size(): number {
    return this.#offences.size;
  }

  /** This name was disconnected for what it did. */
  disconnected(name: string, nowMs: number): void {
    const before = this.#offences.get(name);
    const count = before !== undefined && nowMs - before.lastMs < this.#banMs ? before.count + 1 : 1;
    this.#offences.delete(name);
    this.#offences.set(name, {
      count,
      lastMs: nowMs,
      untilMs: count >= DISCONNECTS_MAX ? nowMs + this.#banMs : -Infinity,
    });
    if (this.#offences.size > NAMES_MAX) this.#offences.delete(this.#offences.keys().next().value!);
  }

  /** Until when (Unix ms) the name may not connect; undefined: it may. */
  bannedUntil(name: string, nowMs: number): number | undefined {
    const offence = this.#offences.get(name);
    return offence !== undefined && nowMs < offence.untilMs ? offence.untilMs : undefined;
  }
}
