import type { ChannelForm, RawInit } from '../../base/camera-frame.ts';
import type { OpenViewMessage } from '../../protocol/cameras.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import { NO_COUNTS } from '../../stream/reader-counts.ts';
import { RawCursor } from '../../sources/camera/raw-cursor.ts';
import { ResultCursor } from '../../sources/camera/result-cursor.ts';

/** By channel. At every moment: published = delivered + dropped (by cause) + queued. */
export interface ViewCounts {
  readonly raw: ReaderCounts;
  readonly annotated: ReaderCounts;
  readonly results: ReaderCounts;
}

/** What a view may have to tell; `frames`: in whichever form it has them. */
export type ViewNews = 'frames' | 'results' | 'state';

export interface ViewListener {
  /** There is something to tell. */
  onReady(view: View, news: ViewNews): void;
  /** Its camera is no more. */
  onCameraGone(view: View): void;
}

/** A client's view of one camera. */
export class View {
  readonly id: number;
  readonly feed: CameraFeed;
  /** In which it has the camera's frames, if it has them. */
  readonly form: ChannelForm;
  readonly frames: RawCursor | undefined;
  readonly results: ResultCursor | undefined;
  /** The initialisation segment that the client has. */
  init: RawInit | undefined;
  readonly #endState: (() => void) | undefined;

  /** Errors: STREAM_LIMIT_REACHED, STREAM_CLOSED. */
  constructor(feed: CameraFeed, wanted: OpenViewMessage, openedMs: number, listener: ViewListener) {
    const { id, channels, budget_ms: budgetMs, transcode } = wanted;
    this.id = id;
    this.feed = feed;
    this.form = channels.includes('annotated') ? 'annotated' : transcode ? 'transcoded' : 'raw';
    const onEnding = () => listener.onCameraGone(this);
    const cursor = (news: ViewNews) => ({
      budgetMs,
      openedMs,
      onReady: () => listener.onReady(this, news),
      onEnding,
    });
    try {
      const hasFrames = channels.includes('raw') || channels.includes('annotated');
      if (hasFrames) this.frames = new RawCursor(feed[this.form], cursor('frames'));
      if (channels.includes('results')) this.results = new ResultCursor(feed.results, cursor('results'));
    } catch (thrown) {
      this.close();
      throw thrown;
    }
    if (channels.includes('state')) this.#endState = feed.watchState(() => listener.onReady(this, 'state'));
  }

  counts(): ViewCounts {
    const frames = this.frames?.counts() ?? NO_COUNTS;
    const isAnnotated = this.form === 'annotated';
    return {
      raw: isAnnotated ? NO_COUNTS : frames,
      annotated: isAnnotated ? frames : NO_COUNTS,
      results: this.results?.counts() ?? NO_COUNTS,
    };
  }

  /** Leaves out what has waited for too long, also while nothing can be sent. */
  catchUp(nowMs: number): void {
    this.frames?.catchUp(nowMs);
    this.results?.catchUp(nowMs);
  }

  close(): void {
    this.#endState?.();
    this.frames?.close();
    this.results?.close();
  }
}
