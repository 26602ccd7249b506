import type { BlockList } from 'node:net';
import { holderOf } from '../base/addresses.ts';
import type { Clock } from '../base/clock.ts';
import { blockListOf, listHas } from '../net/networks.ts';

/** What one address may do: so many connections at once, and so many new ones a second. */

export interface AddressSettings {
  readonly connectionsMax: number;
  /** New connections a second; twice as many may come at once. */
  readonly ratePerS: number;
  /** Networks without bounds, as `10.0.0.0/8`. */
  readonly unbounded: readonly string[];
}

/** The bound that a new connection is over; `handshakes`: too many of the address have failed. */
export type AddressBound = 'connections' | 'rate' | 'handshakes';

/** The holder of an address; for IPv6 the holder of its /64 network, of which one machine may use all addresses. */
export interface AddressEntry {
  readonly key: string;
  /** Open connections. */
  open: number;
  /** New connections that may come at once, at `atMs`. */
  tokens: number;
  atMs: number;
  /** Connections that may be told why they are refused, at `toldMs`. */
  tellings: number;
  toldMs: number;
  /** TLS handshakes that may yet fail, at `failedMs`. */
  failures: number;
  failedMs: number;
}

/** Addresses without a connection that are remembered for their rate; the longest known go first. */
const REMEMBERED_MAX = 10_000;
/** Entries that each new one looks at, to forget those that no longer matter. */
const LOOK = 4;
const BURST_S = 2;
const BANNED_RATE_PER_S = 2;
/** Refusals of one address that are explained, at once and a second; others are dropped. */
const TELLINGS_MAX = 64;
const TELLINGS_PER_S = 16;
/** TLS handshakes of one address that may fail, at once and a second; beyond it its connections are dropped. A browser that trusts no certificate makes some for each page. */
const HANDSHAKES_FAILED_MAX = 64;
const HANDSHAKES_FAILED_PER_S = 2;

export class AddressBook {
  readonly #clock: Clock;
  readonly #settings: AddressSettings;
  readonly #isBanned: (address: string) => boolean;
  readonly #unbounded: BlockList;
  readonly #entries = new Map<string, AddressEntry>();
  #present = 0;

  /** `isBanned`: clients of an address are refused for what they did; it has a few connections a second to hear so. */
  constructor(clock: Clock, settings: AddressSettings, isBanned: (address: string) => boolean = () => false) {
    this.#isBanned = isBanned;
    this.#clock = clock;
    this.#settings = settings;
    this.#unbounded = blockListOf(settings.unbounded);
  }

  /** Addresses with an open connection. */
  get present(): number {
    return this.#present;
  }

  /** Addresses that it knows, with a connection or without. */
  get size(): number {
    return this.#entries.size;
  }

  /** Counts a new connection. Each needs a `leave`. */
  enter(address: string): { readonly entry: AddressEntry; readonly over: AddressBound | undefined } {
    const nowMs = this.#clock.now();
    const entry = this.#entryOf(holderOf(address), nowMs);
    if (entry.open++ === 0) this.#present++;
    const { connectionsMax } = this.#settings;
    if (this.#isUnbounded(address)) return { entry, over: undefined };
    const tokens = refilled(entry, nowMs, this.#ratePerS(address));
    entry.atMs = nowMs;
    // A client that is refused pays nothing, so that it is served again as soon as it comes slowly enough.
    entry.tokens = tokens >= 1 ? tokens - 1 : tokens;
    if (tokens < 1) return { entry, over: 'rate' };
    return { entry, over: entry.open > connectionsMax ? 'connections' : undefined };
  }

  /** The bound that a new connection of the address would be over, where it cannot be told so, or not any more. */
  untold(address: string): AddressBound | undefined {
    const entry = this.#entries.get(holderOf(address));
    if (entry === undefined || this.#isUnbounded(address)) return undefined;
    if (this.#failures(entry) < 1) return 'handshakes';
    if (this.canTell(entry)) return undefined;
    if (refilled(entry, this.#clock.now(), this.#ratePerS(address)) < 1) return 'rate';
    return entry.open >= this.#settings.connectionsMax ? 'connections' : undefined;
  }

  /** Whether one more refusal of the address can be explained. */
  canTell(entry: AddressEntry): boolean {
    return this.#tellings(entry) >= 1;
  }

  /** A refusal is explained. */
  told(entry: AddressEntry): void {
    entry.tellings = this.#tellings(entry) - 1;
    entry.toldMs = this.#clock.now();
  }

  /** A TLS handshake of the address has failed: each costs the server about a millisecond. */
  handshakeFailed(entry: AddressEntry): void {
    entry.failures = Math.max(0, this.#failures(entry) - 1);
    entry.failedMs = this.#clock.now();
  }

  #failures({ failures, failedMs }: AddressEntry): number {
    const sinceS = Math.max(0, this.#clock.now() - failedMs) / 1000;
    return Math.min(HANDSHAKES_FAILED_MAX, failures + sinceS * HANDSHAKES_FAILED_PER_S);
  }

  #tellings({ tellings, toldMs }: AddressEntry): number {
    const sinceS = Math.max(0, this.#clock.now() - toldMs) / 1000;
    return Math.min(TELLINGS_MAX, tellings + sinceS * TELLINGS_PER_S);
  }

  #ratePerS(address: string): number {
    return this.#isBanned(address) ? BANNED_RATE_PER_S : this.#settings.ratePerS;
  }

  leave(entry: AddressEntry): void {
    if (--entry.open === 0) this.#present--;
  }

  #entryOf(key: string, nowMs: number): AddressEntry {
    const known = this.#entries.get(key);
    if (known) return known;
    this.#forgetSome(nowMs);
    const tokens = BURST_S * this.#settings.ratePerS;
    const told = { tellings: TELLINGS_MAX, toldMs: nowMs };
    const failed = { failures: HANDSHAKES_FAILED_MAX, failedMs: nowMs };
    const entry = { key, open: 0, tokens, atMs: nowMs, ...told, ...failed };
    this.#entries.set(key, entry);
    return entry;
  }

  #forgetSome(nowMs: number): void {
    let looked = 0;
    for (const [key, entry] of this.#entries) {
      if (looked++ === LOOK) return;
      // Those that stay go to the end, so that all have their turn.
      this.#entries.delete(key);
      const isFresh =
        refilled(entry, nowMs, this.#settings.ratePerS) >= BURST_S * this.#settings.ratePerS &&
        this.#failures(entry) >= HANDSHAKES_FAILED_MAX;
      const isTooMany = this.#entries.size - this.#present >= REMEMBERED_MAX;
      if (entry.open > 0 || !(isFresh || isTooMany)) this.#entries.set(key, entry);
    }
  }

  #isUnbounded(address: string): boolean {
    return listHas(this.#unbounded, address);
  }
}

function refilled({ tokens, atMs }: AddressEntry, nowMs: number, ratePerS: number): number {
  return Math.min(BURST_S * ratePerS, tokens + (Math.max(0, nowMs - atMs) / 1000) * ratePerS);
}

/** By which name an address is held to bounds, and can be banned; undefined: it is without them, since others come from there, too. */
export function nameOfAddress(unbounded: readonly string[]): (address: string) => string | undefined {
  const list = blockListOf(unbounded);
  return (address) => (listHas(list, address) ? undefined : holderOf(address));
}
