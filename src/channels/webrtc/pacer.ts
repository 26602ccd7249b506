/**
 * Spreads the packets of large frames, and of frames that come all at once, over time: whole key frames in one go overflow the buffers on the way, and what is lost then is sent again.
 */

/** About 100 Mbit/s, and what goes at once. */
const BYTES_PER_MS = 12_500;
const BURST_BYTES = 40_000;

interface SizedPacket {
  readonly payload: { readonly length: number };
}

interface Waiting<P> {
  readonly packets: readonly P[];
  next: number;
  readonly onSent: () => void;
}

export class Pacer<P extends SizedPacket> {
  readonly #send: (packet: P) => void;
  readonly #now: () => number;
  readonly #frames: Waiting<P>[] = [];
  #allowance = BURST_BYTES;
  #atMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (packet: P) => void, now = () => performance.now()) {
    this.#send = send;
    this.#now = now;
    this.#atMs = now();
  }

  /** How many frames wait is the giver's affair: each says when it was sent. */
  push(packets: readonly P[], onSent: () => void): void {
    this.#frames.push({ packets, next: 0, onSent });
    if (this.#timer === undefined) this.#work();
  }

  /** What waits is sent no more, as nobody can make use of it. */
  clear(): void {
    for (const { onSent } of this.#frames.splice(0)) onSent();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#frames.length = 0;
  }

  #work(): void {
    this.#timer = undefined;
    const nowMs = this.#now();
    this.#allowance = Math.min(BURST_BYTES, this.#allowance + (nowMs - this.#atMs) * BYTES_PER_MS);
    this.#atMs = nowMs;
    for (let frame = this.#frames[0]; frame; frame = this.#frames[0]) {
      while (frame.next < frame.packets.length) {
        if (this.#allowance <= 0) {
          this.#timer = setTimeout(() => this.#work(), 1);
          return;
        }
        const packet = frame.packets[frame.next++]!;
        this.#allowance -= packet.payload.length;
        this.#send(packet);
      }
      this.#frames.shift();
      frame.onSent();
    }
  }
}
