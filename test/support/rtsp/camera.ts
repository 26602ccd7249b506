import { systemClock } from '../../../src/base/clock.ts';
import type { Random } from '../../../src/base/random.ts';
import type { CodedClip } from '../coded-clip.ts';
import { clipPackets, packetsOf, sessionDescription } from './packets.ts';
import type { RtspPlayer } from './player.ts';
import type { RtspCredentials } from './requests.ts';

export interface RtspCameraOptions {
  /** Looped. */
  readonly clip: CodedClip;
  /** Default: the clip's own rate. */
  readonly rateFps?: number;
  readonly credentials?: RtspCredentials;
}

/**
 * `stall`: answers, and sends no frame. `hang`: takes requests and answers none. `not_found`: 404. `unauthorized`: 401, whatever the credentials.
 * `garbage`: bytes that are no RTSP. `close`: ends the connection at its first request. `end`: ends it behind one frame.
 */
export type RtspMode = 'play' | 'stall' | 'hang' | 'not_found' | 'unauthorized' | 'garbage' | 'close' | 'end';

export interface RtspSent {
  /** Place in the clip in the order of presentation: what a numbered clip's picture carries. */
  readonly number: number;
  readonly isKey: boolean;
  readonly timestamp: number;
  /** By the camera's own clock, Unix ms: what its sender reports say of this frame; null: it sends none. */
  readonly captureTimeMs: number | null;
  /** When it was sent, by `systemClock`. */
  readonly timeMs: number;
}

const TICKS_PER_S = 90_000;
const SILENCE_TICKS_PER_S = 8000;
const PICTURE_TYPE = 96;
const SILENCE_TYPE = 0;
/** Of G.711: 20 ms. */
const SILENCE = packetsOf([Buffer.alloc(160, 0xff)]);

/** A timer that is later than this gives frames up instead of sending them all at once. */
const LATE_MS_MAX = 5000;

/** One path of the server: a camera that runs whether somebody watches or not. All that is not readonly may be set at any time. */
export class RtspCamera {
  readonly name: string;
  mode: RtspMode = 'play';
  /** Where everybody is sent by 302; null: nowhere. */
  redirectTo: string | null = null;
  credentials: RtspCredentials | null;
  /** Where parameter sets are told: in the description, before each key frame, or both. */
  sets: 'both' | 'described' | 'in_band' = 'both';
  /** False: it has sound alone. */
  hasPicture = true;
  hasMarkers = true;
  /** Share of packets that are lost on their way, 0 to 1; over UDP alone. */
  lossShare = 0;
  /** Share of packets whose data are overwritten, 0 to 1. */
  damageShare = 0;
  /** How far the clock of its sender reports is ahead of this machine's, ms; null: it sends none. */
  ntpOffsetMs: number | null = 0;
  reportEveryMs = 1000;
  onFrame: ((sent: RtspSent) => void) | undefined;
  /** Requests, times that somebody began to play, frames sent, and left out: for a slow client, or by a late timer. */
  readonly counts = { requests: 0, plays: 0, frames: 0, framesDropped: 0, packetsLost: 0 };
  readonly #players = new Map<RtspPlayer, () => void>();
  readonly #random: Random;
  #clip: CodedClip;
  #rateFps: number;
  /** The next frame. Times, timestamps and places in the clip are counted from `#origin`. */
  #index = 0;
  #origin: { readonly index: number; readonly timeMs: number; readonly timestamp: number };
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, { clip, rateFps = clip.rateFps, credentials }: RtspCameraOptions, random: Random) {
    this.name = name;
    this.credentials = credentials ?? null;
    this.#random = random;
    this.#clip = clip;
    this.#rateFps = rateFps;
    const timestamp = Math.floor(random() * 2 ** 32);
    // As if it had run before, for some part of the clip: cameras do not begin together.
    this.#origin = {
      index: 0,
      timeMs: systemClock.now() - (random() * clip.frames.length * 1000) / rateFps,
      timestamp,
    };
  }

  get clients(): number {
    return this.#players.size;
  }

  get clip(): CodedClip {
    return this.#clip;
  }

  /** From the next frame on, from the clip's first one. The connections stay. */
  change(clip: CodedClip, rateFps = this.#rateFps): void {
    this.#catchUp();
    this.#origin = {
      index: this.#index,
      timeMs: this.#timeMsOf(this.#index),
      timestamp: this.#timestampOf(this.#index),
    };
    this.#clip = clip;
    this.#rateFps = rateFps;
  }

  /** The next frame, in the order of presentation, gets this timestamp, and those behind it go on from there. */
  setTimestamp(timestamp: number): void {
    this.#catchUp();
    const { index, timeMs } = this.#origin;
    this.#origin = { index, timeMs, timestamp: timestamp - (this.#timestampOf(this.#index) - this.#origin.timestamp) };
  }

  /** Ends their connections. */
  closeClients(): void {
    for (const close of this.#players.values()) close();
  }

  /** For the server. */
  description(): string {
    return sessionDescription(this.hasPicture ? this.#clip : undefined, this.#rateFps, this.sets !== 'in_band');
  }

  /** For the server: of the next frame. */
  get timestamp(): number {
    this.#catchUp();
    return this.#timestampOf(this.#index) >>> 0;
  }

  /** For the server. `close` ends the client's connection. */
  play(player: RtspPlayer, close: () => void): void {
    this.#catchUp();
    this.counts.plays += 1;
    this.#players.set(player, close);
    this.#arm();
  }

  /** For the server. */
  stop(player: RtspPlayer): void {
    this.#players.delete(player);
    if (this.#players.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** For the server. */
  loses(): boolean {
    const isLost = this.lossShare > 0 && this.#random() < this.lossShare;
    if (isLost) this.counts.packetsLost += 1;
    return isLost;
  }

  #arm(): void {
    this.#timer ??= setTimeout(() => this.#tick(), Math.max(0, this.#timeMsOf(this.#index) - systemClock.now()));
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = systemClock.now();
    // Timers are up to a millisecond early.
    while (this.#timeMsOf(this.#index) <= nowMs + 1) {
      const index = this.#index;
      this.#index += 1;
      if (nowMs - this.#timeMsOf(index) > LATE_MS_MAX) this.counts.framesDropped += this.#players.size;
      else if (this.mode === 'play' || this.mode === 'end') this.#send(index, nowMs);
    }
    if (this.#players.size > 0) this.#arm();
  }

  /** While nobody watches there is no timer. */
  #catchUp(): void {
    if (this.#timer) return;
    const passed = Math.ceil(((systemClock.now() - this.#origin.timeMs) * this.#rateFps) / 1000);
    this.#index = Math.max(this.#index, this.#origin.index + passed);
  }

  #send(index: number, nowMs: number): void {
    const place = index - this.#origin.index;
    const { frames } = this.#clip;
    const { order, isKey } = frames[place % frames.length]!;
    const shown = this.#origin.index + place - (place % frames.length) + order;
    const timestamp = this.#timestampOf(shown);
    const ntpMs =
      this.ntpOffsetMs === null ? null : systemClock.wallAheadMs() + this.#timeMsOf(shown) + this.ntpOffsetMs;
    const frame = {
      packets: this.hasPicture ? clipPackets(this.#clip, place % frames.length, this.sets !== 'described') : SILENCE,
      isKey: isKey || !this.hasPicture,
      timestamp,
      payloadType: this.hasPicture ? PICTURE_TYPE : SILENCE_TYPE,
      hasMarker: this.hasMarkers,
      ntpMs,
      damageShare: this.damageShare,
    };
    for (const [player, close] of this.#players) {
      if (player.send(frame, nowMs, this.reportEveryMs)) this.counts.frames += 1;
      else this.counts.framesDropped += 1;
      if (this.mode === 'end') close();
    }
    this.onFrame?.({ number: order, isKey, timestamp: timestamp >>> 0, captureTimeMs: ntpMs, timeMs: nowMs });
  }

  #timeMsOf(index: number): number {
    return this.#origin.timeMs + ((index - this.#origin.index) * 1000) / this.#rateFps;
  }

  #timestampOf(index: number): number {
    const ticksPerS = this.hasPicture ? TICKS_PER_S : SILENCE_TICKS_PER_S;
    return this.#origin.timestamp + Math.round(((index - this.#origin.index) * ticksPerS) / this.#rateFps);
  }
}
