import type { CameraFeed } from '../../sources/camera/feed.ts';

/** A raw channel goes on for so long after its last view has closed: who goes from page to page, or opens and closes views by the thousand, does not turn it on and off. */
const LINGER_MS = 2_000;

interface Watch {
  views: number;
  /** When the last one closed. */
  emptyMs: number;
  readonly end: () => void;
}

/** Which raw channels are wanted: each is asked for once, however many views it has. */
export class RawWatches {
  readonly #watches = new Map<CameraFeed, Watch>();

  /** Raw channels that are asked for. */
  get size(): number {
    return this.#watches.size;
  }

  begin(feed: CameraFeed): void {
    let watch = this.#watches.get(feed);
    if (watch === undefined) this.#watches.set(feed, (watch = { views: 0, emptyMs: 0, end: feed.watchRaw() }));
    watch.views++;
  }

  end(feed: CameraFeed, nowMs: number): void {
    const watch = this.#watches.get(feed);
    if (watch === undefined) return;
    watch.views--;
    watch.emptyMs = nowMs;
  }

  /** Once a second. */
  sweep(nowMs: number): void {
    for (const [feed, { views, emptyMs }] of this.#watches) {
      if (views === 0 && nowMs - emptyMs >= LINGER_MS) this.forget(feed);
    }
  }

  /** The camera is no more. */
  forget(feed: CameraFeed): void {
    this.#watches.get(feed)?.end();
    this.#watches.delete(feed);
  }

  close(): void {
    for (const feed of this.#watches.keys()) this.forget(feed);
  }
}
