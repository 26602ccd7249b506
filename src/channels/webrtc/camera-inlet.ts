import { connect, type Socket } from 'node:net';

/** What waits for the camera's process; more is left out, which it sees by the numbers of the packets. */
const WAITING_BYTES_MAX = 1_048_576;
/** A process that has ended is back soon. */
const RETRY_MS = 100;

/** The thread's end of a camera's inlet. Until it is closed it is connected, or is to be again. */
export class CameraInlet {
  readonly #path: string;
  readonly #onKeyWanted: () => void;
  #socket: Socket | undefined;
  /** Packets of RTP that wait for the connection; undefined: it is there. */
  #early: number | undefined;
  #dropped = 0;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(path: string, onKeyWanted: () => void) {
    this.#path = path;
    this.#onKeyWanted = onKeyWanted;
  }

  /** Packets of RTP for which there was no room, or no process. */
  get dropped(): number {
    return this.#dropped;
  }

  open(): void {
    if (this.#isClosed) return;
    const socket = connect(this.#path);
    this.#socket = socket;
    this.#early = 0;
    socket.on('connect', () => (this.#early = undefined));
    socket.on('data', () => this.#onKeyWanted());
    // It closes then.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#socket = undefined;
      this.#dropped += this.#early ?? 0;
      if (!this.#isClosed) this.#retry = setTimeout(() => this.open(), RETRY_MS);
    });
  }

  /** A packet of RTP with its length in front. */
  send(bytes: Buffer): void {
    if (!this.#write(bytes)) this.#dropped++;
    else if (this.#early !== undefined) this.#early++;
  }

  /** A packet of RTCP, likewise; there is another one soon. */
  report(bytes: Buffer): void {
    this.#write(bytes);
  }

  #write(bytes: Buffer): boolean {
    const socket = this.#socket;
    if (!socket?.writable || socket.writableLength + bytes.length > WAITING_BYTES_MAX) return false;
    socket.write(bytes);
    return true;
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
  }
}
