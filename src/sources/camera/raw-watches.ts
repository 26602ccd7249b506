import { CHANNEL_FORMS, type ChannelForm, type RawFragment } from '../../base/camera-frame.ts';
import type { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from './feed.ts';
import type { Stream } from '../../stream/stream.ts';

/** A channel goes on for so long after its last view has closed: who goes from page to page, or opens and closes views by the thousand, does not turn it on and off. */
const LINGER_MS = 2_000;

interface Watch {
  readonly form: ChannelForm;
  views: number;
  /** When the last one closed. */
  emptyMs: number;
  readonly end: () => void;
}

/** Which channels of cameras are wanted, and in which form: each is asked for once, however many views it has. */
export class RawWatches {
  readonly #onFailed: (feed: CameraFeed, form: ChannelForm, error: SightlineError) => void;
  readonly #watches = new Map<Stream<RawFragment>, Watch>();

  /** `onFailed`: it does not come in that form any more; its views have nothing to wait for. */
  constructor(onFailed: (feed: CameraFeed, form: ChannelForm, error: SightlineError) => void) {
    this.#onFailed = onFailed;
  }

  /** Channels that are asked for, by form. */
  counts(): Record<ChannelForm, number> {
    const all = [...this.#watches.values()];
    const of = (form: ChannelForm) => [form, all.filter((watch) => watch.form === form).length];
    return Object.fromEntries(CHANNEL_FORMS.map(of)) as Record<ChannelForm, number>;
  }

  /** Errors: TRANSCODE_LIMIT_REACHED, ANNOTATE_LIMIT_REACHED. */
  begin(feed: CameraFeed, form: ChannelForm): void {
    let watch = this.#watches.get(feed[form]);
    if (watch === undefined) {
      // What is encoded for nobody any more takes no place from others.
      if (form !== 'raw') this.#endWhere((other) => other.form === form && other.views === 0);
      const end = watchForm(feed, form, (error) => this.#failed(feed, form, error));
      this.#watches.set(feed[form], (watch = { form, views: 0, emptyMs: 0, end }));
    }
    watch.views++;
  }

  end(feed: CameraFeed, form: ChannelForm, nowMs: number): void {
    const watch = this.#watches.get(feed[form]);
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
  #failed(feed: CameraFeed, form: ChannelForm, error: SightlineError): void {
    const failed = this.#watches.get(feed[form]);
    this.#endWhere((watch) => watch === failed);
    this.#onFailed(feed, form, error);
  }

  #endWhere(isOver: (watch: Watch) => boolean): void {
    for (const [stream, watch] of this.#watches) {
      if (!isOver(watch)) continue;
      watch.end();
      this.#watches.delete(stream);
    }
  }
}

/** Asks a camera for one of its forms. Returns a function that ends that. Errors: as the camera's own `watch…`; `onFailed` is never called for its own frames. */
export function watchForm(feed: CameraFeed, form: ChannelForm, onFailed: (error: SightlineError) => void): () => void {
  if (form === 'raw') return feed.watchRaw();
  return form === 'transcoded' ? feed.watchTranscoded(onFailed) : feed.watchAnnotated(onFailed);
}
