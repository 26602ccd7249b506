import { holderOf } from '../base/addresses.ts';
import type { Clock } from '../base/clock.ts';

/**
 * The main thread's time, shared by addresses, and among the clients of an address. Each message is timed. What a client has used fills two leaky
 * buckets of its own: `burst` decides when it has to let others have a turn, `use` whether it counts as heavy. All clients together fill a third
 * one, so that time is left for all else that the main thread does; heavy clients may fill less of it. Messages that have to wait are worked on
 * in the order of virtual time (start-time fair queuing in two levels: Goyal, Vin and Cheng 1996): those that want more than there is get alike,
 * one that wants little goes first, and a thousand connections of one address get what one connection of another gets.
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
/** Who takes less than this share of the time is not heavy; nor is one that has taken only a little more than that so far, ms. */
const LIGHT_SHARE = 0.1;
const LIGHT_ADDRESS_SHARE = 0.25;
const LIGHT_MS = 20;
/** Share of the time that one address may take for long while clients of others are there, and what it may take in one go, ms. */
const ADDRESS_SHARE = 0.25;
const ADDRESS_BURST_MS = 4;
/** What one that waits may be behind those that are served, ms. */
const CLAIM_MS = 50;
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

/** What all clients of one address have used of the main thread's time. */
export class AddressTime {
  /** Virtual time up to which they have used their part, ms, and that among them. */
  virtualMs = 0;
  clientsVirtualMs = 0;
  /** Its clients that are connected, and those with messages that wait. */
  connected = 0;
  waiting = 0;
  readonly use = new LeakyBucket(LIGHT_ADDRESS_SHARE);
  readonly burst = new LeakyBucket(ADDRESS_SHARE);
  /** Others come from there, too, such as through a proxy: it may take what is there. */
  readonly isShared: boolean;

  constructor(isShared = false) {
    this.isShared = isShared;
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
  #burst: LeakyBucket | undefined;
  #use: LeakyBucket | undefined;
  #address: AddressTime;

  constructor(address = new AddressTime()) {
    this.#address = address;
  }

  get burst(): LeakyBucket {
    return (this.#burst ??= new LeakyBucket(CLIENT_SHARE));
  }

  get use(): LeakyBucket {
    return (this.#use ??= new LeakyBucket(LIGHT_SHARE));
  }

  /** Keeps no bucket that has drained. To be called now and then. */
  rest(nowMs: number): void {
    if (this.#burst?.level(nowMs) === 0) this.#burst = undefined;
    if (this.#use?.level(nowMs) === 0) this.#use = undefined;
  }

  get address(): AddressTime {
    return this.#address;
  }

  /** The client comes from there now. Nothing of it waits. */
  set address(address: AddressTime) {
    if (address === this.#address) return;
    this.#address = address;
    this.virtualMs = 0;
  }
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
  /** Runs it when what the last piece of work has set off at once is done; default: that is nothing. */
  readonly settle?: (run: () => void) => void;
  /** Whether clients of a remote address have only the address in common, such as that of a proxy; default: none. */
  readonly isShared?: (remoteAddress: string) => boolean;
}

/** What one turn of the event loop does of what waits, ms: between two of them everything else has its turn, such as one new connection. */
const PUMP_MS = 1;
/** Messages of one client in a row take so long, ms. */
const QUANTUM_MS = 0.5;
/** Where every client that waits has used up its share. */
const WAIT_MIN_MS = 1;
const WAIT_MAX_MS = 20;

/** Addresses whose use is remembered; those that were asked for longest ago go first. */
const ADDRESSES_MAX = 10_000;

/** Decides whose messages are worked on, and when. */
export class Turns {
  readonly #clock: Clock;
  readonly #schedule: TurnsOptions['schedule'];
  readonly #settle: (run: () => void) => void;
  readonly #isShared: (remoteAddress: string) => boolean;
  /** What all clients have used since the start, ms, and how often messages of one had to wait. */
  usedMs = 0;
  waits = 0;
  readonly #all = new LeakyBucket(ALL_SHARE);
  #virtualMs = 0;
  readonly #addresses = new Map<string, AddressTime>();
  /** Addresses with connected clients. */
  #present = 0;
  readonly #waiting = new Set<WaitingClient>();
  /** Whose turn it is next. */
  #first: WaitingClient | undefined;
  /** When it works on what waits; `Infinity`: nothing is scheduled. */
  #dueMs = Infinity;
  #isPumping = false;

  constructor({ clock, schedule, settle = (run) => run(), isShared = () => false }: TurnsOptions) {
    this.#clock = clock;
    this.#schedule = schedule;
    this.#settle = settle;
    this.#isShared = isShared;
  }

  /** Clients whose messages wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** What the clients of a remote address share; undefined: of nobody else. */
  addressTime(remoteAddress: string | undefined): AddressTime {
    if (remoteAddress === undefined) return new AddressTime();
    const holder = holderOf(remoteAddress);
    const time = this.#addresses.get(holder) ?? new AddressTime(this.#isShared(remoteAddress));
    this.#addresses.delete(holder);
    this.#addresses.set(holder, time);
    if (this.#addresses.size > ADDRESSES_MAX) {
      const [oldest] = this.#addresses.keys();
      this.#addresses.delete(oldest!);
    }
    return time;
  }

  /** A client has connected; `disconnected` is to be called once. */
  connected({ address }: TimeAccount): void {
    if (address.connected++ === 0) this.#present++;
  }

  disconnected({ address }: TimeAccount): void {
    if (--address.connected === 0) this.#present--;
  }

  /** Whether a message that has come may be worked on now. */
  admits(time: TimeAccount, nowMs: number): boolean {
    this.#begin(time);
    const first = this.#first;
    return (first?.isReady !== true || isBefore(time, first.time)) && this.#hasTurn(time, nowMs);
  }

  /** Who takes little of the time is not kept waiting by those that take much. */
  isLight(time: TimeAccount, nowMs: number): boolean {
    return isLight(time, nowMs);
  }

  /** A client's messages have taken so much. */
  spent(time: TimeAccount, ms: number, nowMs: number): void {
    time.burst.add(ms, nowMs, Infinity);
    time.address.burst.add(ms, nowMs, Infinity);
    this.#all.add(ms, nowMs, ALL_MAX_MS);
    this.#begin(time);
    if (this.#waiting.size === 0) this.#serve(time);
    this.charge(time, ms, nowMs);
  }

  /** Work that did not wait for a turn, such as delivering to a client, has taken so much: it counts in the order of clients. */
  charge(time: TimeAccount, ms: number, nowMs: number): void {
    this.usedMs += ms;
    time.usedMs += ms;
    time.virtualMs += ms;
    time.use.add(ms, nowMs, USE_MAX_MS);
    const { address } = time;
    address.virtualMs += ms;
    address.use.add(ms, nowMs, USE_MAX_MS);
  }

  /** The client has messages that wait, or can work on. Idempotent. */
  wait(client: WaitingClient): void {
    const { time } = client;
    this.#begin(time);
    if (!time.isWaiting) {
      time.isWaiting = true;
      time.waits++;
      this.waits++;
    }
    if (!this.#waiting.has(client)) {
      this.#waiting.add(client);
      time.address.waiting++;
    }
    if (client.isReady && (this.#first?.isReady !== true || isBefore(time, this.#first.time))) this.#first = client;
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
    if (!this.#waiting.delete(client)) return;
    client.time.isWaiting = false;
    client.time.address.waiting--;
    if (this.#first === client) this.#first = undefined;
  }

  #pumpLater(waitMs: number): void {
    const dueMs = this.#clock.now() + waitMs;
    if (this.#isPumping || this.#dueMs <= dueMs) return;
    this.#dueMs = dueMs;
    this.#schedule(waitMs, () => {
      // Another one was scheduled before it.
      if (this.#dueMs !== dueMs) return;
      this.#dueMs = Infinity;
      this.#pump();
    });
  }

  #hasTurn(time: TimeAccount, nowMs: number): boolean {
    return (
      time.burst.level(nowMs) < BURST_MS &&
      this.#all.level(nowMs) < burstOfAll(time, nowMs) &&
      (!this.#isBounded(time.address) || time.address.burst.level(nowMs) < ADDRESS_BURST_MS)
    );
  }

  /** Clients of other addresses are there. */
  #isBounded({ isShared, connected }: AddressTime): boolean {
    return !isShared && this.#present > (connected > 0 ? 1 : 0);
  }

  /** Who comes anew has no claim to what it left unused. Who waits has its place already, but not a claim that grows for as long as it cannot work on. */
  #begin(time: TimeAccount): void {
    const { address } = time;
    const addressClaimMs = address.waiting > 0 ? CLAIM_MS : 0;
    address.virtualMs = Math.max(address.virtualMs, this.#virtualMs - addressClaimMs);
    time.virtualMs = Math.max(time.virtualMs, address.clientsVirtualMs - (time.isWaiting ? CLAIM_MS : 0));
  }

  /** Virtual time is that of whoever is being served. */
  #serve({ address, virtualMs }: TimeAccount): void {
    this.#virtualMs = Math.max(this.#virtualMs, address.virtualMs);
    address.clientsVirtualMs = Math.max(address.clientsVirtualMs, virtualMs);
  }

  #pump(startMs = this.#clock.now()): void {
    this.#isPumping = true;
    let nowMs = this.#clock.now();
    while (nowMs - startMs < PUMP_MS) {
      const client = this.#next(nowMs);
      if (client === undefined) break;
      this.#serve(client.time);
      let hasMore = true;
      const untilMs = nowMs + QUANTUM_MS;
      while (hasMore && nowMs < untilMs && client.isReady && this.#hasTurn(client.time, nowMs)) {
        hasMore = this.#work(client);
        nowMs = this.#clock.now();
      }
      if (hasMore) continue;
      this.leave(client);
      // Its socket is read again, which may bring its next messages at once: they count in this turn.
      return this.#settle(() => this.#pump(startMs));
    }
    this.#isPumping = false;
    this.#first = this.#next();
    if (this.#first !== undefined) this.#pumpLater(this.#waitMs(nowMs));
  }

  /** A fault of the program, which somebody may have caught further out, is no reason to serve nobody any more. */
  #work(client: WaitingClient): boolean {
    try {
      return client.work();
    } catch (thrown) {
      this.#isPumping = false;
      this.#pumpLater(0);
      throw thrown;
    }
  }

  /** Whose turn it is among those that can work on; at a moment: among those that may. */
  #next(nowMs?: number): WaitingClient | undefined {
    let next: WaitingClient | undefined;
    for (const client of this.#waiting) {
      if (!client.isReady || (next !== undefined && !isBefore(client.time, next.time))) continue;
      if (nowMs === undefined || this.#hasTurn(client.time, nowMs)) next = client;
    }
    return next;
  }

  /** Until the first of those that can work on may. */
  #waitMs(nowMs: number): number {
    let waitMs = WAIT_MAX_MS;
    for (const { time, isReady } of this.#waiting) {
      if (!isReady) continue;
      if (this.#hasTurn(time, nowMs)) return 0;
      const own = time.burst.waitMs(BURST_MS, nowMs);
      const all = this.#all.waitMs(burstOfAll(time, nowMs), nowMs);
      const address = this.#isBounded(time.address) ? time.address.burst.waitMs(ADDRESS_BURST_MS, nowMs) : 0;
      waitMs = Math.min(waitMs, Math.max(own, all, address));
    }
    return Math.max(WAIT_MIN_MS, waitMs);
  }
}

function isLight({ use, address }: TimeAccount, nowMs: number): boolean {
  return use.level(nowMs) <= LIGHT_MS && (address.isShared || address.use.level(nowMs) <= LIGHT_MS);
}

/** Up to where all clients may have filled their bucket before a message of this one. */
function burstOfAll(time: TimeAccount, nowMs: number): number {
  return isLight(time, nowMs) ? ALL_BURST_MS : HEAVY_BURST_MS;
}

/** Clients of one address by their own virtual time, others by that of their addresses. */
function isBefore(one: TimeAccount, other: TimeAccount): boolean {
  if (one.address === other.address) return one.virtualMs < other.virtualMs;
  return one.address.virtualMs < other.address.virtualMs;
}

/** For `TurnsOptions`: on this process's event loop. */
export function scheduleTurn(waitMs: number, run: () => void): void {
  if (waitMs <= 0) setImmediate(run);
  else setTimeout(run, waitMs).unref();
}

/** For `TurnsOptions`: after what Node has put off to the end of the present operation, such as reading a socket that was resumed. */
export function afterTicks(run: () => void): void {
  process.nextTick(run);
}
