import { setTimeout as sleep } from 'node:timers/promises';
import { SightlineError } from '../../base/errors.ts';
import { HttpBody, type HttpOptions } from './http-body.ts';
import { bestVariant, parsePlaylist, type Playlist, type Segment, type SegmentPart } from './playlist.ts';

/** The segments of an HLS stream, one behind the other, as one stream of bytes. */

const PLAYLIST_BYTES_MAX = 2 * 2 ** 20;
/** A live stream begins so many segments before its end, as RFC 8216 6.3.3 wants it. */
const SEGMENTS_BEHIND = 3;
/** A playlist may lead to another one, no further. */
const DEPTH_MAX = 2;
/** Reloads, each half a segment's time after the last, that bring nothing new. */
const IDLE_RELOADS_MAX = 12;

export class HlsBody {
  readonly #options: HttpOptions;
  #url: URL;
  #playlist: Extract<Playlist, { kind: 'media' }>;
  /** Of the segment to be read next. */
  #sequence: number;
  #map = '';
  #parts: SegmentPart[] = [];
  #body: HttpBody | undefined;
  #isClosed = false;

  private constructor(url: URL, playlist: Extract<Playlist, { kind: 'media' }>, options: HttpOptions) {
    this.#url = url;
    this.#playlist = playlist;
    this.#options = options;
    const { segments, isEnded } = playlist;
    const first = isEnded ? segments[0] : segments[Math.max(0, segments.length - SEGMENTS_BEHIND)];
    this.#sequence = first?.sequence ?? 0;
  }

  /** `body`: the playlist itself, nothing of it read yet. Errors: those of a camera. */
  static async open(body: HttpBody, options: HttpOptions & { readonly pixelsMax: number }): Promise<HlsBody> {
    let current = body;
    for (let depth = 0; depth < DEPTH_MAX; depth++) {
      const playlist = parsePlaylist((await current.readAll(PLAYLIST_BYTES_MAX)).toString(), current.url);
      if (playlist.kind === 'media') return new HlsBody(current.url, playlist, options);
      current = await HttpBody.open(bestVariant(playlist.variants, options.pixelsMax).url, options);
    }
    current.close();
    throw new SightlineError('CAMERA_FORMAT', 'its playlists lead from one to the next');
  }

  /** Some bytes, at most so many; undefined: there are no more. Errors: those of a camera. */
  async read(bytesMax: number): Promise<Buffer | undefined> {
    while (!this.#isClosed) {
      const bytes = await this.#body?.read(bytesMax);
      if (bytes) return bytes;
      this.#body = undefined;
      const part = this.#parts.shift();
      if (part) this.#body = await HttpBody.open(part.url, this.#options, part.range);
      else if (!(await this.#next())) return undefined;
    }
    return undefined;
  }

  close(): void {
    this.#isClosed = true;
    this.#body?.close();
  }

  /** The parts of the next segment; waits for one of a live stream. */
  async #next(): Promise<boolean> {
    for (let idle = 0; !this.#isClosed; idle++) {
      const { segments, isEnded, targetS } = this.#playlist;
      // Those that have left the playlist meanwhile are lost.
      const segment = segments.find(({ sequence }) => sequence >= this.#sequence);
      if (segment) {
        this.#take(segment);
        return true;
      }
      if (isEnded) return false;
      if (idle === IDLE_RELOADS_MAX) throw new SightlineError('CAMERA_STALLED', 'its playlist brings nothing new');
      await sleep((targetS * 1000) / 2, undefined, { signal: this.#options.signal }).catch(() => undefined);
      await this.#reload();
    }
    return false;
  }

  #take({ sequence, map, url, range }: Segment): void {
    const key = map ? `${map.url.href} ${map.range?.join('-') ?? ''}` : '';
    if (map && key !== this.#map) this.#parts.push(map);
    this.#map = key;
    this.#parts.push({ url, range });
    this.#sequence = sequence + 1;
  }

  async #reload(): Promise<void> {
    if (this.#isClosed) return;
    const body = await HttpBody.open(this.#url, this.#options);
    const playlist = parsePlaylist((await body.readAll(PLAYLIST_BYTES_MAX)).toString(), body.url);
    if (playlist.kind === 'master') throw new SightlineError('CAMERA_FORMAT', 'its playlist has become another one');
    this.#url = body.url;
    const newest = playlist.segments.at(-1)?.sequence ?? 0;
    // It counts anew: the encoder was restarted.
    if (newest + SEGMENTS_BEHIND < this.#sequence) this.#sequence = playlist.segments[0]?.sequence ?? 0;
    this.#playlist = playlist;
  }
}
