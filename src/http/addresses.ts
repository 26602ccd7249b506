import { BlockList, isIPv6 } from 'node:net';
import type { Clock } from '../base/clock.ts';

/** What one address may do: so many connections at once, and so many new ones a second. */

export interface AddressSettings {
  readonly connectionsMax: number;
  /** New connections a second; twice as many may come at once. */
  readonly ratePerS: number;
  /** Networks without bounds, as `10.0.0.0/8`. */
  readonly unbounded: readonly string[];
}

/** The bound that a new connection is over. */
export type AddressBound = 'connections' | 'rate';

/** The holder of an address; for IPv6 the holder of its /64 network, of which one machine may use all addresses. */
export interface AddressEntry {
  readonly key: string;
  /** Open connections. */
  open: number;
  /** New connections that may come at once, at `atMs`. */
  tokens: number;
  atMs: number;
}

/** Addresses without a connection that are remembered for their rate; the longest known go first. */
const REMEMBERED_MAX = 10_000;
/** Entries that each new one looks at, to forget those that no longer matter. */
const LOOK = 4;
const BURST_S = 2;

export class AddressBook {
  readonly #clock: Clock;
  readonly #settings: AddressSettings;
  readonly #unbounded: BlockList;
  readonly #entries = new Map<string, AddressEntry>();
  #present = 0;

  constructor(clock: Clock, settings: AddressSettings) {
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
    const entry = this.#entryOf(keyOf(address), nowMs);
    if (entry.open++ === 0) this.#present++;
    const { connectionsMax, ratePerS } = this.#settings;
    if (this.#isUnbounded(address)) return { entry, over: undefined };
    const tokens = refilled(entry, nowMs, ratePerS);
    entry.atMs = nowMs;
    // A client that is refused pays nothing, so that it is served again as soon as it comes slowly enough.
    entry.tokens = tokens >= 1 ? tokens - 1 : tokens;
    if (tokens < 1) return { entry, over: 'rate' };
    return { entry, over: entry.open > connectionsMax ? 'connections' : undefined };
  }

  leave(entry: AddressEntry): void {
    if (--entry.open === 0) this.#present--;
  }

  #entryOf(key: string, nowMs: number): AddressEntry {
    const known = this.#entries.get(key);
    if (known) return known;
    this.#forgetSome(nowMs);
    const entry = { key, open: 0, tokens: BURST_S * this.#settings.ratePerS, atMs: nowMs };
    this.#entries.set(key, entry);
    return entry;
  }

  #forgetSome(nowMs: number): void {
    let looked = 0;
    for (const [key, entry] of this.#entries) {
      if (looked++ === LOOK) return;
      // Those that stay go to the end, so that all have their turn.
      this.#entries.delete(key);
      const isFresh = refilled(entry, nowMs, this.#settings.ratePerS) >= BURST_S * this.#settings.ratePerS;
      const isTooMany = this.#entries.size - this.#present >= REMEMBERED_MAX;
      if (entry.open > 0 || !(isFresh || isTooMany)) this.#entries.set(key, entry);
    }
  }

  #isUnbounded(address: string): boolean {
    return this.#unbounded.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

function refilled({ tokens, atMs }: AddressEntry, nowMs: number, ratePerS: number): number {
  return Math.min(BURST_S * ratePerS, tokens + (Math.max(0, nowMs - atMs) / 1000) * ratePerS);
}

/** By which name an address is held to bounds, and can be banned; undefined: it is without them, since others come from there, too. */
export function nameOfAddress(unbounded: readonly string[]): (address: string) => string | undefined {
  const list = blockListOf(unbounded);
  return (address) => (list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4') ? undefined : keyOf(address));
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    list.addSubnet(address, Number(prefix), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** IPv4 as it is, also where it is mapped into IPv6; of IPv6 the first 64 bits. */
export function keyOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const [before, after] = [groups(head), groups(tail ?? '')];
  // An address that ends in an IPv4 address has its last two groups in one.
  const last = (tail === undefined ? before : after).at(-1) ?? '';
  const missing = tail === undefined ? 0 : 8 - before.length - after.length - (last.includes('.') ? 1 : 0);
  const all = [...before, ...Array.from({ length: missing }, () => '0'), ...after];
  const network = all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(':')}::/64`;
}

function groups(part: string): string[] {
  return part === '' ? [] : part.split(':');
}
