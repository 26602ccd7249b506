import { connectVideo, type ConnectVideoOptions } from '../../src/client/video.ts';

/** A session that sends pictures made before, at a camera's pace, and reads the answers. Runs in Node and in a page alike. */

/** The SDK; and a socket with nothing around it. */
export const PEERS = ['sdk', 'ws'] as const;
export type PeerName = (typeof PEERS)[number];

export interface Job {
  readonly frames: number;
  readonly fps: number;
}

export interface Ran {
  readonly sent: number;
  readonly results: number;
  /** Sent to result in hand, of every result. */
  readonly latenciesMs: readonly number[];
}

/** Time for the answers to what was sent last. */
const DRAIN_TIMEOUT_MS = 2_000;

interface Listener {
  onResult(seq: number): void;
  onLost(seqs: readonly number[]): void;
}

interface Wire {
  /** The frame's number; undefined when it may not go. */
  send(jpeg: Uint8Array<ArrayBuffer>): number | undefined;
  close(): Promise<void> | void;
}

export class PacedSession {
  readonly #pictures: readonly Uint8Array<ArrayBuffer>[];
  readonly #sentMs = new Map<number, number>();
  #wire: Wire | undefined;
  #latenciesMs: number[] = [];
  #whenAnswered: (() => void) | undefined;

  private constructor(pictures: readonly Uint8Array<ArrayBuffer>[]) {
    this.#pictures = pictures;
  }

  static async open(
    pictures: readonly Uint8Array<ArrayBuffer>[],
    connect: (listener: Listener) => Promise<Wire>,
  ): Promise<PacedSession> {
    const made = new PacedSession(pictures);
    made.#wire = await connect({
      onResult: (seq) => made.#onResult(seq),
      onLost: (seqs) => made.#onLost(seqs),
    });
    return made;
  }

  /** Resolves when every frame has its answer, or no longer waits for it. */
  async run({ frames, fps }: Job): Promise<Ran> {
    this.#latenciesMs = [];
    let sent = 0;
    const startMs = performance.now();
    for (let i = 0; i < frames; i += 1) {
      await until(startMs + (i * 1_000) / fps);
      const nowMs = performance.now();
      const seq = this.#wire!.send(this.#pictures[i % this.#pictures.length]!);
      if (seq === undefined) continue;
      this.#sentMs.set(seq, nowMs);
      sent += 1;
    }
    await this.#answered();
    this.#sentMs.clear();
    return { sent, results: this.#latenciesMs.length, latenciesMs: this.#latenciesMs };
  }

  async close(): Promise<void> {
    await this.#wire!.close();
  }

  #onResult(seq: number): void {
    const sentMs = this.#sentMs.get(seq);
    if (sentMs === undefined) return;
    this.#latenciesMs.push(performance.now() - sentMs);
    this.#onLost([seq]);
  }

  #onLost(seqs: readonly number[]): void {
    for (const seq of seqs) this.#sentMs.delete(seq);
    if (this.#sentMs.size === 0) this.#whenAnswered?.();
  }

  async #answered(): Promise<void> {
    if (this.#sentMs.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, DRAIN_TIMEOUT_MS);
      this.#whenAnswered = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#whenAnswered = undefined;
  }
}

async function until(timeMs: number): Promise<void> {
  const waitMs = timeMs - performance.now();
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
}

/** The SDK as a user has it: `send`, and a listener for results. */
export async function connectSdk(options: ConnectVideoOptions, listener: Listener): Promise<Wire> {
  const session = await connectVideo({ ...options, reconnect: false });
  session.on('result', ({ result }) => listener.onResult(result.seq));
  session.on('dropped', ({ seqs }) => listener.onLost(seqs));
  session.on('error', ({ seq }) => seq !== undefined && listener.onLost([seq]));
  return { send: (jpeg) => session.send({ jpeg }), close: () => session.close() };
}

/** A socket of the platform, as bare as it comes. */
export interface BareSocket {
  send(jpeg: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** Calls back with the text of every message. */
export type ConnectBare = (onText: (text: string) => void) => BareSocket;

const WELCOME_TIMEOUT_MS = 10_000;

/** The limit: the JPEG alone goes out, the server numbers it, and what comes in is parsed; no grant, no clock, no accounts. */
export async function connectWs(connect: ConnectBare, listener: Listener): Promise<Wire> {
  const welcomed = Promise.withResolvers<void>();
  let lastSeq = 0;
  const socket = connect((text) => {
    const message = JSON.parse(text) as { type: string; seq?: number; seqs?: readonly number[] };
    if (message.type === 'result') listener.onResult(message.seq!);
    else if (message.type === 'dropped') listener.onLost(message.seqs!);
    else if (message.type === 'error') listener.onLost(message.seq === undefined ? [] : [message.seq]);
    else if (message.type === 'welcome') welcomed.resolve();
  });
  const timer = setTimeout(() => {
    welcomed.reject(new Error(`no welcome within ${WELCOME_TIMEOUT_MS} ms`));
    socket.close();
  }, WELCOME_TIMEOUT_MS);
  await welcomed.promise;
  clearTimeout(timer);
  return {
    send: (jpeg) => {
      socket.send(jpeg);
      return (lastSeq += 1);
    },
    close: () => socket.close(),
  };
}
