import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { Wire, type WireOptions } from './wire.ts';

/** What an attack came to, whether it hurt or not. */
export interface Tally {
  /** Connections that were made. */
  connections: number;
  /** Tried, and not taken: no connection, or no handshake. */
  refused: number;
  /** Ended by the other side. */
  cut: number;
  bytes: number;
}

export interface TargetAddress {
  readonly port: number;
  /** Address that the attacker comes from, so that what sticks to an address does not stick to the innocents'. */
  readonly from: string | undefined;
}

/** Who was cut off or refused comes back after so long. */
const RETURN_MS = 100;
/** How long a loop that has nothing to do sleeps. */
const IDLE_MS = 50;

/** What an attack is given: a port, an end, and connections that are counted and go with it. */
export class Target {
  /** On `performance.now()`. */
  readonly untilMs: number;
  readonly port: number;
  readonly #from: string | undefined;
  readonly #wires = new Set<Wire>();
  #connections = 0;
  #refused = 0;
  #cut = 0;
  #goneBytes = 0;
  #isClosed = false;

  constructor({ port, from }: TargetAddress, untilMs: number) {
    this.port = port;
    this.#from = from;
    this.untilMs = untilMs;
  }

  get isOver(): boolean {
    return performance.now() >= this.untilMs;
  }

  get tally(): Tally {
    let bytes = this.#goneBytes;
    for (const wire of this.#wires) bytes += wire.sentBytes;
    return { connections: this.#connections, refused: this.#refused, cut: this.#cut, bytes };
  }

  /** A bare TCP connection; undefined: nobody takes it. */
  async connect(options: Pick<WireOptions, 'reads' | 'isHalfOpen'> = {}): Promise<Wire | undefined> {
    try {
      const wire = await Wire.open({ port: this.port, from: this.#from, ...options });
      this.#connections += 1;
      this.#wires.add(wire);
      if (this.#isClosed) this.drop(wire);
      return wire;
    } catch {
      this.#refused += 1;
      return undefined;
    }
  }

  /** A WebSocket; undefined: refused. */
  async webSocket({ path, protocol }: Lane, options: Pick<WireOptions, 'reads'> = {}): Promise<Wire | undefined> {
    const wire = await this.connect(options);
    if (wire === undefined) return undefined;
    if (await wire.upgrade(path, protocol)) return wire;
    this.#refused += 1;
    this.drop(wire);
    return undefined;
  }

  /** Closes a connection; one that the other side has closed counts as cut. */
  drop(wire: Wire, how: 'destroy' | 'reset' = 'destroy'): void {
    if (!this.#wires.delete(wire)) return;
    if (!wire.isOpen && !this.isOver) this.#cut += 1;
    this.#goneBytes += wire.sentBytes;
    wire[how]();
  }

  /** Sleeps, but no longer than the attack lasts. */
  async pause(ms: number): Promise<void> {
    await sleep(Math.max(0, Math.min(ms, this.untilMs - performance.now())));
  }

  /** A connection is kept until it or the attack ends. */
  async hold(wire: Wire): Promise<void> {
    while (wire.isOpen && !this.isOver) await this.pause(IDLE_MS);
  }

  /** A connection over and over: who is cut off comes back, as an attacker would. */
  async insist(open: () => Promise<Wire | undefined>, use: (wire: Wire) => Promise<void>): Promise<void> {
    while (!this.isOver) {
      const wire = await open();
      if (wire !== undefined) {
        await use(wire);
        await this.hold(wire);
        this.drop(wire);
      }
      await this.pause(RETURN_MS);
    }
  }

  /** `what` several times at once. */
  async side(count: number, what: (i: number) => Promise<void>): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, i) => what(i)));
  }

  /** What is still being opened goes as well. */
  close(): void {
    this.#isClosed = true;
    for (const wire of this.#wires) this.drop(wire);
  }
}

/** Where a WebSocket goes. */
export interface Lane {
  readonly path: string;
  readonly protocol?: string;
}

export interface Attack {
  /** Of figures, so `snake_case`. */
  readonly name: string;
  /** One sentence: what is sent, and what that is to hurt. */
  readonly what: string;
  /** Shorter it does not come to what it is about, ms; only the full form of the benchmark gives it this time. */
  readonly needsMs?: number;
  run(target: Target): Promise<void>;
  /** What somebody innocent finds after it and should not, in words. */
  readonly afterwards?: (url: string) => Promise<string[]>;
}

/** Holds a sender to a rate, so that it is not the attacker's use of the processor that hurts. */
export class Pace {
  readonly #perMs: number;
  #dueMs = performance.now();

  constructor(perSecond: number) {
    this.#perMs = perSecond / 1_000;
  }

  /** `amount` was sent; waits until more is due. Never more than a tenth of a second is made up for. */
  async after(amount: number): Promise<void> {
    const nowMs = performance.now();
    this.#dueMs = Math.max(this.#dueMs, nowMs - 100) + amount / this.#perMs;
    const aheadMs = this.#dueMs - nowMs;
    if (aheadMs >= 1) await sleep(aheadMs);
    else await setImmediate();
  }
}

/** The same bytes over and over, up to the end, `count` times at most. */
export async function flood(
  target: Target,
  wire: Wire,
  bytes: Uint8Array,
  { bytesPerS, count = Infinity }: { readonly bytesPerS: number; readonly count?: number },
): Promise<void> {
  const pace = new Pace(bytesPerS);
  for (let i = 0; i < count && (await wire.hasRoom(target.untilMs)); i += 1) {
    wire.write(bytes);
    await pace.after(bytes.length);
  }
}

/** A message as often as fits into some 32 kB: one write for all of them. */
export function many(message: Uint8Array, bytes = 32_768): Buffer {
  return Buffer.concat(Array<Uint8Array>(Math.max(1, Math.floor(bytes / message.length))).fill(message));
}
