import { connectCameras, type CamerasSession } from 'sightline/client/cameras';

const RETRY_MS = 4_000;

/**
 * The page's one connection to the cameras' lane. Where the first connection fails, or the server ends the session for good, another one is tried; `onOpen` is called
 * with each. The page's other ways (lists, stills) go on without it.
 */
export class CamerasLine {
  readonly #onOpen: (session: CamerasSession) => void;
  readonly #onLost: () => void;
  #session: CamerasSession | undefined;

  constructor(onOpen: (session: CamerasSession) => void, onLost: () => void = () => {}) {
    this.#onOpen = onOpen;
    this.#onLost = onLost;
    void this.#connect();
  }

  get session(): CamerasSession | undefined {
    return this.#session;
  }

  /** The server's time, as well as it is known. */
  serverTimeMs(nowMs: number): number | undefined {
    return this.#session?.toServerTimeMs(nowMs);
  }

  async #connect(): Promise<void> {
    try {
      const session = await connectCameras({ url: 'ws/cameras' });
      this.#session = session;
      session.on('state', ({ state }) => {
        if (state === 'reconnecting') this.#onLost();
        if (state === 'closed') this.#again();
      });
      this.#onOpen(session);
    } catch {
      this.#again();
    }
  }

  #again(): void {
    this.#session = undefined;
    this.#onLost();
    setTimeout(() => void this.#connect(), RETRY_MS);
  }
}

/** Unix ms. */
export function unixNow(): number {
  return performance.timeOrigin + performance.now();
}
