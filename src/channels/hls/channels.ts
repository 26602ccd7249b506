import { createHash } from 'node:crypto';
import type { InitName } from '../../base/camera-frame.ts';
import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import type { Principal } from '../../auth/principal.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { isSameList } from '../../sources/camera/camera-settings.ts';
import { requireUnmasked } from '../../sources/camera/masked.ts';
import { watchForm } from '../../sources/camera/raw-watches.ts';
import type { FragmentCache } from '../cache/fragment-cache.ts';
import { channelNamed, CHANNEL_NAMES, type ChannelName } from '../channel-names.ts';
import type { Segment } from '../segmenter.ts';
import { LiveChannel, type ChannelSettings, type Wanted } from './live-channel.ts';
import { refusalOf } from './playable.ts';
import { initUri, type RenditionReport, type WriteOptions } from './playlist.ts';
import { WaitPlaces, type Asker } from './waits.ts';
import type { EvictionBound } from './window.ts';

export interface HlsSettings extends ChannelSettings {
  readonly idleS: number;
  /** Of all channels. */
  readonly totalBytesMax: number;
  readonly waitingMax: number;
}

interface OpenChannel {
  readonly camera: CameraFeed;
  readonly name: ChannelName;
  /** With which it was opened. */
  readonly masks: readonly string[];
  readonly live: LiveChannel;
  readonly unwatchState: () => void;
}

/** Names a channel: `camera` and the channel of it. */
export interface ChannelKey {
  readonly camera: string;
  readonly channel: string;
}

/** `channels/cache/` has it. */
type HlsCache = Pick<FragmentCache, 'get' | 'count' | 'offer'>;

const LOOK_MS = 500;
/** Parts for each second that passes, at most: numbers are never used again, so that what is cached somewhere is never something else. */
const PARTS_PER_S_MAX = 1_000;

/** The channels of cameras that somebody plays by HLS. One is opened by the first request for its playlists, and closed when nobody has asked for a while. */
export class HlsChannels {
  readonly #clock: Clock;
  readonly #feeds: CameraFeeds;
  readonly #cache: HlsCache;
  readonly #settings: () => HlsSettings;
  readonly #places: WaitPlaces;
  readonly #open = new Map<string, OpenChannel>();
  readonly #evicted: Record<EvictionBound, number> = { age: 0, bytes: 0, total_bytes: 0 };
  /** Of channels that were closed. */
  readonly #past = { parts: 0, segments: 0, gaps: 0, discontinuities: 0, taken: 0, leftOut: 0 };
  /** Above all that were used. */
  #next = { msn: 0, part: 0 };
  #opened = 0;
  readonly #forgetFeeds: () => void;
  #look: NodeJS.Timeout | undefined;
  #stopped: SightlineError | undefined;

  /** `cache`: keeps segments that have left the memory of their channel. */
  constructor(parts: {
    readonly clock: Clock;
    readonly feeds: CameraFeeds;
    readonly cache: HlsCache;
    readonly settings: () => HlsSettings;
  }) {
    this.#clock = parts.clock;
    this.#cache = parts.cache;
    this.#feeds = parts.feeds;
    this.#settings = parts.settings;
    this.#places = new WaitPlaces(() => this.#settings().waitingMax);
    this.#forgetFeeds = parts.feeds.watchAll((id) => this.#cameraChanged(id));
  }

  /** To be asked before an answer is sought, and again when it is there: masks may have come meanwhile. Errors: CAMERA_UNKNOWN, NOT_FOUND, CAMERA_MASKED. */
  requireShown({ camera, channel }: ChannelKey, caller: Principal): void {
    const feed = this.#feeds.get(camera);
    if (channelNamed(channel) === 'raw') requireUnmasked(feed, caller);
  }

  /**
   * Errors: CAMERA_UNKNOWN, NOT_FOUND, CHANNEL_UNAVAILABLE, SHUTTING_DOWN, those of a camera that cannot be watched, CAMERA_NO_PICTURE, WAIT_LIMIT_REACHED,
   * ANNOTATE_LIMIT_REACHED, ANNOTATE_FAILED.
   */
  multivariant(key: ChannelKey, asker: Asker, options: WriteOptions): Promise<string> {
    return this.#playlists(key).live.multivariant(asker, options);
  }

  /** Errors: as above, and QUERY_BAD. */
  media(
    key: ChannelKey,
    wanted: Wanted | undefined,
    asker: Asker,
    options: WriteOptions,
  ): Promise<{ readonly text: string; readonly targetS: number }> {
    return this.#playlists(key).live.media(wanted, asker, { ...options, reports: () => this.#reports(key) });
  }

  /** undefined: it is not kept. */
  init(key: ChannelKey, name: InitName): Promise<Uint8Array | undefined> {
    return this.#kept(this.#touched(key)?.init(name), this.#keptName(key, initUri(name)));
  }

  segment(key: ChannelKey, epoch: number, msn: number): Promise<Uint8Array | undefined> {
    return this.#kept(this.#touched(key)?.segment(epoch, msn), this.#keptName(key, `${epoch}/${msn}`));
  }

  /** Waits for the next one. undefined: it is not kept, or will not come. Errors: CAMERA_NO_PICTURE, WAIT_LIMIT_REACHED; that of the channel's end. */
  async part(key: ChannelKey, epoch: number, number: number, asker: Asker): Promise<Uint8Array | undefined> {
    const live = this.#touched(key);
    if (!live) return undefined;
    this.#cache.count(live.hasPart(epoch, number) ? 'memory' : 'joined');
    return await live.part(epoch, number, asker);
  }

  accounts() {
    const totals = { ...this.#past };
    let [inHand, bytes] = [0, 0];
    for (const { live } of this.#open.values()) {
      const counts = live.counts();
      for (const name of ['parts', 'segments', 'gaps', 'discontinuities', 'taken', 'leftOut'] as const)
        totals[name] += counts[name];
      inHand += counts.inHand;
      bytes += live.bytes;
    }
    return {
      ...totals,
      inHand,
      bytes,
      open: this.#open.size,
      opened: this.#opened,
      evicted: this.#evicted,
      waits: this.#places.report(),
    };
  }

  /** From now on nobody waits, and nothing is opened. What there is can be asked for. Idempotent. */
  drain(): void {
    this.#stopped ??= new SightlineError('SHUTTING_DOWN', 'the server shuts down');
    for (const { live } of this.#open.values()) live.stopWaiting(this.#stopped);
  }

  /** Idempotent. */
  close(): void {
    this.drain();
    this.#forgetFeeds();
    for (const key of this.#open.keys()) this.#close(key, this.#stopped!);
  }

  #touched(key: ChannelKey): LiveChannel | undefined {
    const live = this.#open.get(keyOf(key))?.live;
    live?.touch();
    return live;
  }

  #playlists(key: ChannelKey): OpenChannel {
    const camera = this.#feeds.get(key.camera);
    const name = channelNamed(key.channel);
    const text = keyOf(key);
    let open = this.#open.get(text);
    const { state } = camera.standing();
    // It has begun anew, or is another camera of that name.
    if (open && ((open.live.isEnded && state !== 'ended') || open.camera !== camera)) {
      this.#close(text, new SightlineError('CAMERA_ENDED', `camera ${camera.id} has ended, and begun anew`));
      open = undefined;
    }
    const refusal = this.#stopped ?? refusalOf(camera, name, open !== undefined);
    if (refusal) throw refusal;
    if (!open) {
      const seconds = Math.floor(wallTimeMs(this.#clock) / 1000);
      const live = new LiveChannel({
        clock: this.#clock,
        stream: camera[name],
        watch: () => watchForm(camera, name, (error) => this.#close(text, error)),
        settings: this.#settings(),
        firstMsn: Math.max(seconds, this.#next.msn),
        firstPart: Math.max(seconds * PARTS_PER_S_MAX, this.#next.part),
        places: this.#places,
        onEvicted: (bound, segments) => {
          this.#evicted[bound] += segments;
        },
        onSegment: (segment) => {
          this.#offer(camera, name, segment);
          this.#makeRoom();
        },
        onEnding: () => this.#close(text, unknownCamera(camera)),
      });
      const unwatchState = camera.watchState(() => this.#stateChanged(text));
      open = { camera, name, masks: camera.masks, live, unwatchState };
      this.#open.set(text, open);
      this.#opened++;
      this.#look ??= setInterval(() => this.#closeIdle(), LOOK_MS).unref();
    }
    open.live.touch();
    return open;
  }

  async #kept(near: Uint8Array | undefined, name: string): Promise<Uint8Array | undefined> {
    if (!near) return await this.#cache.get({ key: name, fill: () => Promise.resolve(undefined) });
    this.#cache.count('memory');
    return near;
  }

  #offer(camera: CameraFeed, channel: ChannelName, { init, msn, bytes }: Segment): void {
    if (!bytes) return;
    this.#cache.offer(keptName({ camera, channel, what: initUri(init) }), init.bytes);
    this.#cache.offer(keptName({ camera, channel, what: `${init.epoch}/${msn}` }), bytes);
  }

  #keptName({ camera, channel }: ChannelKey, what: string): string {
    return keptName({ camera: this.#feeds.get(camera), channel: channelNamed(channel), what });
  }

  #stateChanged(key: string): void {
    const open = this.#open.get(key);
    if (!open) return;
    const refusal = refusalOf(open.camera, open.name, true);
    if (refusal) this.#close(key, refusal);
    else if (open.camera.standing().state === 'ended') open.live.end();
  }

  /** What was encoded with other masks, or none, is nobody's any more. The camera's own frames never have any, and are asked for one by one. */
  #cameraChanged(id: string): void {
    for (const [key, { camera, name, masks }] of this.#open) {
      if (camera.id !== id || name === 'raw' || isSameList(camera.masks, masks)) continue;
      this.#close(key, new SightlineError('CAMERA_NO_PICTURE', `camera ${id} has other masks now`));
    }
  }

  #closeIdle(): void {
    const nowMs = this.#clock.now();
    const { idleS } = this.#settings();
    for (const [key, { live, camera }] of this.#open) {
      const isIdle = nowMs - live.askedMs > Math.max(idleS, live.reloadS) * 1000;
      if (isIdle) this.#close(key, new SightlineError('CAMERA_NO_PICTURE', `nobody watches camera ${camera.id}`));
    }
  }

  #close(key: string, reason: SightlineError): void {
    const open = this.#open.get(key);
    if (!open) return;
    this.#open.delete(key);
    open.unwatchState();
    open.live.close(reason);
    const counts = open.live.counts();
    for (const name of ['parts', 'segments', 'gaps', 'discontinuities', 'taken', 'leftOut'] as const)
      this.#past[name] += counts[name];
    const { msn, part } = open.live.next;
    this.#next = { msn: Math.max(this.#next.msn, msn), part: Math.max(this.#next.part, part) };
    if (this.#open.size > 0) return;
    clearInterval(this.#look);
    this.#look = undefined;
  }

  /** The channel that has most gives way. */
  #makeRoom(): void {
    const { totalBytesMax } = this.#settings();
    const channels = [...this.#open.values()].map(({ live }) => live);
    let bytes = channels.reduce((total, live) => total + live.bytes, 0);
    while (bytes > totalBytesMax) {
      const [largest] = channels.filter(({ canEvict }) => canEvict).toSorted((a, b) => b.bytes - a.bytes);
      if (!largest) return;
      const before = largest.bytes;
      largest.evict();
      bytes -= before - largest.bytes;
    }
  }

  /** Of the camera's other channels that are played. */
  #reports({ camera, channel }: ChannelKey): RenditionReport[] {
    return CHANNEL_NAMES.flatMap((name) => {
      const other = name === channel ? undefined : this.#open.get(keyOf({ camera, channel: name }));
      return other?.live.report(`../${name}/media.m3u8`) ?? [];
    });
  }
}

function keyOf({ camera, channel }: ChannelKey): string {
  return `${camera}/${channel}`;
}

/** Of a segment for the cache. What was encoded with other masks has another name. */
function keptName({
  camera,
  channel,
  what,
}: {
  readonly camera: CameraFeed;
  readonly channel: ChannelName;
  readonly what: string;
}): string {
  const masks = channel === 'raw' ? '' : createHash('sha256').update(camera.masks.join(';')).digest('base64url');
  return `live/${camera.id}/${channel}/${masks}/${what}`;
}

function unknownCamera({ id }: CameraFeed): SightlineError {
  return new SightlineError('CAMERA_UNKNOWN', `camera ${id} was removed`);
}
