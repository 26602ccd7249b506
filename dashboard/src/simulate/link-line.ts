/** Properties of a link, the same in both directions. */
export interface LinkProfile {
  /** One after the other, then from the first again; a rate of 0 is a stall. At least one of them carries something. */
  readonly phases: readonly { readonly forMs: number; readonly bitsPerS: number }[];
  /** One-way propagation. */
  readonly delayMs: number;
  /** Most random delay that is added to it. */
  readonly jitterMs: number;
}

interface Carried<T> {
  readonly item: T;
  readonly bytes: number;
  readonly departsMs: number;
  readonly arrivesMs: number;
}

/**
 * One direction of a simulated link: a queue of bounded length before a sender of changing rate, then propagation. Everything
 * arrives in order, as on a TCP connection, whose losses are stalls. Pure: times in ms on the caller's clock.
 */
export class LinkLine<T> {
  readonly #profile: LinkProfile;
  /** When the first phase began. */
  readonly #beginMs: number;
  readonly #bytesMax: number;
  readonly #random: () => number;
  readonly #carried: Carried<T>[] = [];
  #departsMs = -Infinity;
  #arrivesMs = -Infinity;

  constructor(profile: LinkProfile, beginMs: number, bytesMax: number, random: () => number) {
    this.#profile = profile;
    this.#beginMs = beginMs;
    this.#bytesMax = bytesMax;
    this.#random = random;
  }

  /** False, and nothing is taken, when the queue would grow over its limit. */
  push(item: T, bytes: number, nowMs: number): boolean {
    if (this.queuedBytes(nowMs) + bytes > this.#bytesMax) return false;
    const { delayMs, jitterMs } = this.#profile;
    this.#departsMs = this.#sentAt(Math.max(nowMs, this.#departsMs), bytes * 8);
    this.#arrivesMs = Math.max(this.#arrivesMs, this.#departsMs + delayMs + this.#random() * jitterMs);
    this.#carried.push({ item, bytes, departsMs: this.#departsMs, arrivesMs: this.#arrivesMs });
    return true;
  }

  /** Everything that has arrived by now, oldest first. */
  take(nowMs: number): T[] {
    const until = this.#carried.findIndex(({ arrivesMs }) => arrivesMs > nowMs);
    return this.#carried.splice(0, until < 0 ? this.#carried.length : until).map(({ item }) => item);
  }

  /** When the next thing arrives; Infinity while nothing is in transit. */
  get nextMs(): number {
    return this.#carried[0]?.arrivesMs ?? Infinity;
  }

  /** Bytes that have not left the sender yet. */
  queuedBytes(nowMs: number): number {
    return this.#carried.reduce((sum, { bytes, departsMs }) => sum + (departsMs > nowMs ? bytes : 0), 0);
  }

  /** When the last of these bits has left, if they begin to leave at `fromMs`. */
  #sentAt(fromMs: number, bits: number): number {
    let atMs = fromMs;
    let left = bits;
    const { phases } = this.#profile;
    let { index, leftMs } = phaseAt(this.#profile, fromMs - this.#beginMs);
    for (;;) {
      const { bitsPerS } = phases[index]!;
      const sendable = (bitsPerS * leftMs) / 1000;
      if (bitsPerS > 0 && left <= sendable) return atMs + (left / bitsPerS) * 1000;
      left -= sendable;
      atMs += leftMs;
      index = (index + 1) % phases.length;
      leftMs = phases[index]!.forMs;
    }
  }
}

/** The phase at this time since the first one began, and how much of it is left. */
export function phaseAt({ phases }: LinkProfile, sinceBeginMs: number): { index: number; leftMs: number } {
  const cycleMs = phases.reduce((sum, { forMs }) => sum + forMs, 0);
  let restMs = cycleMs < Infinity ? sinceBeginMs % cycleMs : sinceBeginMs;
  for (const [index, { forMs }] of phases.entries()) {
    if (restMs < forMs) return { index, leftMs: forMs - restMs };
    restMs -= forMs;
  }
  return { index: 0, leftMs: phases[0]!.forMs };
}
