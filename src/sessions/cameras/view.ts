import type { CameraChannel, OpenViewMessage } from '../../protocol/cameras.ts';
import type { RawInit } from '../../base/camera-frame.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import { NO_COUNTS } from '../../stream/reader-counts.ts';
import { RawCursor } from '../../sources/camera/raw-cursor.ts';
import { ResultCursor } from '../../sources/camera/result-cursor.ts';

/** By channel. At every moment: published = delivered + dropped (by cause) + queued. */
export interface ViewCounts {
  readonly raw: ReaderCounts;
  readonly results: ReaderCounts;
}

export interface ViewListener {
  /** There is something to tell. */
  onReady(view: View, channel: CameraChannel): void;
  /** Its camera is no more. */
  onCameraGone(view: View): void;
}

/** A client's view of one camera. */
export class View {
  readonly id: number;
  readonly feed: CameraFeed;
  /** Its raw channel is encoded anew. */
  readonly isTranscoded: boolean;
  readonly raw: RawCursor | undefined;
  readonly results: ResultCursor | undefined;
  /** The initialisation segment that the client has. */
  init: RawInit | undefined;
  readonly #endState: (() => void) | undefined;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(feed: CameraFeed, wanted: OpenViewMessage, openedMs: number, listener: ViewListener) {
    const { id, channels, budget_ms: budgetMs, transcode } = wanted;
    this.id = id;
    this.feed = feed;
    this.isTranscoded = transcode;
    const onEnding = () => listener.onCameraGone(this);
    const cursor = (channel: CameraChannel) => ({
      budgetMs,
      openedMs,
      onReady: () => listener.onReady(this, channel),
      onEnding,
    });
    try {
      if (channels.includes('raw')) this.raw = new RawCursor(transcode ? feed.transcoded : feed.raw, cursor('raw'));
      if (channels.includes('results')) this.results = new ResultCursor(feed.results, cursor('results'));
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    if (channels.includes('state')) this.#endState = feed.watchState(() => listener.onReady(this, 'state'));
  }

  counts(): ViewCounts {
    return { raw: this.raw?.counts() ?? NO_COUNTS, results: this.results?.counts() ?? NO_COUNTS };
  }

  /** Leaves out what has waited for too long, also while nothing can be sent. */
  catchUp(nowMs: number): void {
    this.raw?.catchUp(nowMs);
    this.results?.catchUp(nowMs);
  }

  close(): void {
    this.#endState?.();
    this.raw?.close();
    this.results?.close();
  }
}
