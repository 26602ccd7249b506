import type { RawFragment } from '../../base/camera-frame.ts';
import type { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from './feed.ts';
import type { Stream } from '../../stream/stream.ts';

/** A raw channel goes on for so long after its last view has closed: who goes from page to page, or opens and closes views by the thousand, does not turn it on and off. */
const LINGER_MS = 2_000;

interface Watch {
  readonly isTranscoded: boolean;
  views: number;
  /** When the last one closed. */
  emptyMs: number;
  readonly end: () => void;
}

/** Which raw channels are wanted, and in which form: each is asked for once, however many views it has. */
export class RawWatches {
  readonly #onFailed: (feed: CameraFeed, error: SightlineError) => void;
  readonly #watches = new Map<Stream<RawFragment>, Watch>();

  /** `onFailed`: it is encoded anew no more; its views of that form have nothing to wait for. */
  constructor(onFailed: (feed: CameraFeed, error: SightlineError) => void) {
    this.#onFailed = onFailed;
  }

  /** Raw channels that are asked for, in their own codec or encoded anew. */
  count(isTranscoded: boolean): number {
    return [...this.#watches.values()].filter((watch) => watch.isTranscoded === isTranscoded).length;
  }

  /** Errors: TRANSCODE_LIMIT_REACHED. */
  begin(feed: CameraFeed, isTranscoded: boolean): void {
    const stream = streamOf(feed, isTranscoded);
    let watch = this.#watches.get(stream);
    if (watch === undefined) {
      // What is encoded for nobody any more takes no place from others.
      if (isTranscoded) this.#endWhere((other) => other.isTranscoded && other.views === 0);
      const end = isTranscoded ? feed.watchTranscoded((error) => this.#failed(feed, error)) : feed.watchRaw();
      this.#watches.set(stream, (watch = { isTranscoded, views: 0, emptyMs: 0, end }));
    }
    watch.views++;
  }

  end(feed: CameraFeed, isTranscoded: boolean, nowMs: number): void {
    const watch = this.#watches.get(streamOf(feed, isTranscoded));
    if (watch === undefined) return;
    watch.views--;
    watch.emptyMs = nowMs;
  }

  /** Once a second. */
  sweep(nowMs: number): void {
    this.#endWhere(({ views, emptyMs }) => views === 0 && nowMs - emptyMs >= LINGER_MS);
  }

  close(): void {
    this.#endWhere(() => true);
  }

  /** The next view of it begins anew. */
  #failed(feed: CameraFeed, error: SightlineError): void {
    const failed = this.#watches.get(feed.transcoded);
    this.#endWhere((watch) => watch === failed);
    this.#onFailed(feed, error);
  }

  #endWhere(isOver: (watch: Watch) => boolean): void {
    for (const [stream, watch] of this.#watches) {
      if (!isOver(watch)) continue;
      watch.end();
      this.#watches.delete(stream);
    }
  }
}

function streamOf({ raw, transcoded }: CameraFeed, isTranscoded: boolean): Stream<RawFragment> {
  return isTranscoded ? transcoded : raw;
}
