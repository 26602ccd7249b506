import type { DataPipe } from '../../supervise/parent.ts';
import { encodeData } from './data-codec.ts';
import type { ReaderData } from './messages.ts';

/** Unsent bytes, of all cameras of the process, above which no more of a kind is taken: pictures give way first, the newest one is better anyway. */
const UNSENT_BYTES_MAX = {
  picture: 8 * 2 ** 20,
  still: 16 * 2 ** 20,
  fragment: 24 * 2 ** 20,
  init: 32 * 2 ** 20,
} as const;

const LOOK_INTERVAL_MS = 20;

/** What goes out over the pipe, within bounds. */
export class Outlet {
  readonly #pipe: DataPipe;
  /** That were taken. */
  bytes = 0;

  constructor(pipe: DataPipe) {
    this.#pipe = pipe;
  }

  hasRoom(kind: ReaderData['kind']): boolean {
    return this.#pipe.socket.writableLength <= UNSENT_BYTES_MAX[kind];
  }

  /** False: there is no room for it, and it is gone. */
  send(data: ReaderData): boolean {
    if (!this.hasRoom(data.kind)) return false;
    const parts = encodeData(data);
    for (const { length } of parts) this.bytes += length;
    this.#pipe.write(...parts);
    return true;
  }

  /** Resolves when pictures have room, for a source that can wait. */
  async room(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom('picture') && !signal.aborted && !this.#pipe.socket.destroyed) await this.#drained(signal);
  }

  #drained(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const { socket } = this.#pipe;
      const done = () => {
        socket.off('drain', done);
        socket.off('close', done);
        signal.removeEventListener('abort', done);
        clearTimeout(timer);
        resolve();
      };
      // What was never too much for the socket drains without telling.
      const timer = setTimeout(done, LOOK_INTERVAL_MS);
      socket.on('drain', done);
      socket.on('close', done);
      signal.addEventListener('abort', done);
    });
  }
}
