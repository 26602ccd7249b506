import type { Clock } from '../../base/clock.ts';
import type { SightlineError } from '../../base/errors.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import type { FrameStreams } from '../../stream/frame-streams.ts';
import type { Stream } from '../../stream/stream.ts';
import type { ChannelForm, RawFragment, RawInit } from '../../base/camera-frame.ts';
import type { ReaderData } from './messages.ts';
import { ownBytes } from './own-bytes.ts';

export interface RawChannelOptions {
  readonly camera: string;
  readonly form: ChannelForm;
  readonly clock: Clock;
  readonly streams: FrameStreams;
  readonly account: () => MemoryAccount;
  /** Of the fragments that are kept. */
  readonly bytesMax: () => number;
  /** The capture time of a frame, by the server's clock. */
  readonly captureTimeMs: (data: Fragment) => number;
  /** Somebody watches, or nobody any more. */
  readonly onWanted: (isWanted: boolean) => void;
  /** So many fragments have gone because this bound was met. */
  readonly onEvicted: (bound: RawBound, fragments: number) => void;
}

/** What bounds the fragments that are kept. */
export type RawBound = 'bytes' | 'fragments' | 'age';

interface Watcher {
  readonly onFailed: (error: SightlineError) => void;
}

type Init = Extract<ReaderData, { kind: 'init' }>;
type Fragment = Extract<ReaderData, { kind: 'fragment' }>;

/** A minute at 30 frames a second. */
const FRAGMENTS_MAX = 1_800;
/** No view may lag by more. */
export const AGE_MS_MAX = 60_000;
/** What all readers have is kept no longer than that: whoever comes begins with the newest group. */
export const READ_AGE_MS_MAX = 5_000;
/** What V8 takes for a fragment beside its bytes: the sample, its objects and its buffer. */
const FRAGMENT_BYTES = 600;

/**
 * The raw channel of a camera, in one of its forms. It keeps whole groups of pictures, so that a viewer who comes later finds a key frame to begin with; only a group that is larger than the bound
 * by itself loses its beginning, and later viewers wait for the next one.
 */
export class RawChannel {
  readonly stream: Stream<RawFragment>;
  readonly #options: RawChannelOptions;
  /** Positions of the key frames that the stream still holds; when there is to be room, of those behind its oldest fragment. */
  readonly #keys: number[] = [];
  readonly #watchers = new Set<Watcher>();
  #init: RawInit | undefined;
  #bytes = 0;
  #published = 0;
  #strays = 0;

  constructor(options: RawChannelOptions) {
    this.#options = options;
    this.stream = options.streams.create<RawFragment>(
      `camera:${options.camera}/${options.form}`,
      FRAGMENTS_MAX,
      options.account,
      (fragment) => fragment.bytes.length + FRAGMENT_BYTES,
      ({ data }) => {
        this.#bytes -= data.bytes.length;
      },
    );
  }

  get viewers(): number {
    return this.#watchers.size;
  }

  get isWanted(): boolean {
    return this.viewers > 0;
  }

  /** `strays`: fragments without their initialisation segment, or that nobody has asked for any more. */
  accounts(): { readonly published: number; readonly strays: number; readonly bytes: number } {
    return { published: this.#published, strays: this.#strays, bytes: this.#bytes };
  }

  watch(onFailed: Watcher['onFailed'] = () => {}): () => void {
    const watcher = { onFailed };
    this.#watchers.add(watcher);
    if (this.viewers === 1) this.#options.onWanted(true);
    return () => {
      if (!this.#watchers.delete(watcher) || this.isWanted) return;
      this.#options.onWanted(false);
      // Whoever comes next begins at what is live then.
      this.forget();
    };
  }

  /** What it has kept is for nobody any more. */
  forget(): void {
    this.stream.trim(this.stream.head);
    this.#keys.length = 0;
  }

  /** Nothing more comes. */
  fail(error: SightlineError): void {
    for (const { onFailed } of this.#watchers) onFailed(error);
  }

  init({ form, epoch, codecString, width, height, bytes }: Init): void {
    this.#init = { isTranscoded: form !== 'raw', epoch, codecString, width, height, bytes: new Uint8Array(bytes) };
  }

  fragment(data: Fragment): void {
    const init = this.#init;
    if (!this.isWanted || init?.epoch !== data.epoch) {
      this.#strays++;
      return;
    }
    const { epoch, seq, order, clock, isKey, mediaTimeS, durationS, form, boxes } = data;
    const bytes = ownBytes(data.bytes);
    const frame = { camera: this.#options.camera, epoch, seq };
    this.#makeRoom(bytes.length);
    if (isKey) this.#keys.push(this.stream.head);
    this.#bytes += bytes.length;
    this.#published++;
    this.stream.publish({
      data: { init, frame, order, clock, isKey, mediaTimeS, durationS, bytes, ...(form === 'annotated' && { boxes }) },
      captureTimeMs: this.#options.captureTimeMs(data),
    });
  }

  /** Idempotent. */
  close(): void {
    this.stream.close();
  }

  /** The oldest groups go, whole, until one more fragment fits; of a group that does not fit by itself, all that came before. */
  #makeRoom(bytes: number): void {
    const { stream } = this;
    const keys = this.#keys;
    for (;;) {
      while (keys.length > 0 && keys[0]! <= stream.oldest) keys.shift();
      const bound = this.#boundMet(bytes);
      if (bound === undefined) return;
      const before = stream.oldest;
      stream.trim(keys[0] ?? stream.head);
      this.#options.onEvicted(bound, stream.oldest - before);
    }
  }

  /** Somebody has not read all that is before this position. */
  #isAwaited(position: number): boolean {
    const { stream } = this;
    for (const { queued } of stream.readers) if (queued > stream.head - position) return true;
    return false;
  }

  /** The newest group stays, however old its beginning is: whoever comes begins with it. */
  #boundMet(bytes: number): RawBound | undefined {
    const { stream } = this;
    const { clock, bytesMax } = this.#options;
    if (stream.oldest === stream.head) return undefined;
    if (this.#bytes + bytes > bytesMax()) return 'bytes';
    if (stream.head - stream.oldest >= FRAGMENTS_MAX) return 'fragments';
    const next = this.#keys[0] === undefined ? undefined : stream.at(this.#keys[0]);
    if (!next) return undefined;
    const ageMs = clock.now() - next.publishedTimeMs;
    if (ageMs <= READ_AGE_MS_MAX || (ageMs <= AGE_MS_MAX && this.#isAwaited(next.position))) return undefined;
    return 'age';
  }
}
