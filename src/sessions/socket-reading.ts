import type { WebSocket } from 'ws';

/** Why a socket is not read for a while; one bit each. */
export const PauseReason = {
  /** The client asks for answers and takes none. */
  deaf: 1,
  /** The client publishes faster than it may. */
  throttled: 2,
  /** The client has published as much as one round carries: the rest waits in its socket until the round is over. */
  ahead: 4,
  /** Its messages wait for their turn. */
  turn: 8,
  /** Its session is being opened, or a message of it is being worked on elsewhere. */
  busy: 16,
  /** The client sends pings and does not take the answers. */
  pings: 32,
} as const;
export type PauseReason = (typeof PauseReason)[keyof typeof PauseReason];

/** What does not depend on the client's own doing: its messages wait only for these. */
const SERVER_SIDE = PauseReason.turn;

const READING = Symbol('reading');
type ReadSocket = WebSocket & { [READING]?: SocketReading };

/** Works on what a socket brings. */
export interface SocketReader {
  /** Messages that have come already may be worked on again. */
  onReady(): void;
}

/** Decides whether a socket is read: not as long as one of several reasons speaks against it. */
export class SocketReading {
  reader: SocketReader | undefined;
  readonly #socket: WebSocket;
  #reasons = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** The one of a socket. */
  static of(socket: ReadSocket): SocketReading {
    return (socket[READING] ??= new SocketReading(socket));
  }

  /** Messages that have come already are not to be worked on either. */
  get isHeld(): boolean {
    return (this.#reasons & ~SERVER_SIDE) !== 0;
  }

  waitsFor(reason: PauseReason): boolean {
    return (this.#reasons & reason) !== 0;
  }

  /** The socket is not read until no reason is left. */
  pause(reason: PauseReason): void {
    this.#reasons |= reason;
    if (!this.#socket.isPaused) this.#socket.pause();
  }

  resume(reason: PauseReason): void {
    if ((this.#reasons & reason) === 0) return;
    this.#reasons &= ~reason;
    if (this.#reasons === 0) this.#socket.resume();
    if (!this.isHeld) this.reader?.onReady();
  }
}
