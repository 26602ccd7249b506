import type { CaptureClock, FrameName } from 'sightline/client/cameras';

/** Stills of many cameras, each renewed now and then while it is wanted. */

export interface Still {
  readonly picture: Blob;
  /** undefined: the server did not say. */
  readonly frame: FrameName | undefined;
  readonly captureTimeMs: number;
  readonly clock: CaptureClock;
}

export interface StillOptions {
  readonly parallelMax: number;
  readonly intervalMs: number;
  /** Resolves where there is none, or no newer one. Rejects: it is tried later. */
  readonly load: (id: string) => Promise<void>;
  readonly now: () => number;
}

const BACKOFF_MS_MAX = 60_000;

interface Entry {
  dueMs: number;
  failures: number;
  isLoading: boolean;
}

/** Asks for no more than some at once, and for each when it is due: a slow server is asked less often. */
export class StillLoader {
  readonly #options: StillOptions;
  readonly #entries = new Map<string, Entry>();
  #running = 0;
  #isPaused = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: StillOptions) {
    this.#options = options;
  }

  /** At once, and then again and again. */
  want(id: string): void {
    if (this.#entries.has(id)) return;
    this.#entries.set(id, { dueMs: this.#options.now(), failures: 0, isLoading: false });
    this.#pump();
  }

  drop(id: string): void {
    this.#entries.delete(id);
  }

  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#isPaused) return;
    const nowMs = this.#options.now();
    while (this.#running < this.#options.parallelMax) {
      const next = this.#next();
      if (!next) return;
      const [id, entry] = next;
      if (entry.dueMs > nowMs) {
        this.#timer = setTimeout(() => this.#pump(), entry.dueMs - nowMs);
        return;
      }
      void this.#run(id, entry);
    }
  }

  /** The one that is due first. */
  #next(): readonly [string, Entry] | undefined {
    let first: readonly [string, Entry] | undefined;
    for (const one of this.#entries) {
      if (!one[1].isLoading && (first === undefined || one[1].dueMs < first[1].dueMs)) first = one;
    }
    return first;
  }

  async #run(id: string, entry: Entry): Promise<void> {
    const { load, now, intervalMs } = this.#options;
    entry.isLoading = true;
    this.#running++;
    try {
      await load(id);
      entry.failures = 0;
    } catch {
      entry.failures++;
    }
    this.#running--;
    entry.isLoading = false;
    entry.dueMs = now() + Math.min(BACKOFF_MS_MAX, intervalMs * 2 ** entry.failures);
    this.#pump();
  }
}

const TIMEOUT_MS = 15_000;
/** Widths in such steps, so that viewers of different sizes share what the server has made. */
const WIDTH_STEP = 160;
const WIDTH_MAX = 1_920;

export function stillWidth(cssPixels: number, ratio: number): number {
  const pixels = Math.ceil((cssPixels * ratio) / WIDTH_STEP) * WIDTH_STEP;
  return Math.min(WIDTH_MAX, Math.max(WIDTH_STEP, pixels));
}

/** `isDrawn`: with what was found drawn on it. Resolves to the newest still and its tag; undefined: `tag` is of the newest one, or there is none. */
export async function fetchStill(
  id: string,
  {
    width,
    tag,
    isDrawn = false,
  }: { readonly width: number; readonly tag: string | undefined; readonly isDrawn?: boolean },
): Promise<{ readonly still: Still; readonly tag: string | undefined } | undefined> {
  const response = await fetch(
    `cameras/${encodeURIComponent(id)}/still.jpg?width=${width}${isDrawn ? '&channel=annotated' : ''}`,
    {
      headers: tag === undefined ? {} : { 'If-None-Match': tag },
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    },
  );
  if (response.status === 304) return undefined;
  if (!response.ok) throw new Error(`status ${response.status}`);
  const { headers } = response;
  const still = {
    picture: await response.blob(),
    frame: frameOf(headers.get('sightline-frame')),
    captureTimeMs: Number(headers.get('sightline-capture-time')),
    clock: headers.get('sightline-capture-clock') === 'camera' ? ('camera' as const) : ('arrival' as const),
  };
  return { still, tag: headers.get('etag') ?? undefined };
}

function frameOf(text: string | null): FrameName | undefined {
  const [, camera, epoch, seq] = /^(.+)\/(\d+)\/(\d+)$/.exec(text ?? '') ?? [];
  return camera === undefined ? undefined : { camera, epoch: Number(epoch), seq: Number(seq) };
}
