import type { ErrorCode } from '../base/errors.ts';
import { systemClock, wallTimeMs } from '../base/clock.ts';
import type { FrameName } from '../base/frame-name.ts';
import type { CameraFragment, CameraInit, CameraResult, CameraView } from './camera-session.ts';
import type { VideoElement } from './dom.ts';
import { Emitter, type Unsubscribe } from './emitter.ts';
import { FrameTimeline } from './frame-timeline.ts';
import { DurationHistogram } from './histogram.ts';
import { LiveEdge } from './live-edge.ts';
import { decodeTimeOf, timescaleOf } from './mp4-times.ts';

/** What waits for the browser to take it; of more everything goes, up to the next key frame. */
const PENDING_BYTES_MAX = 16 * 2 ** 20;
/** Fragments that are handed over in one go. */
const BATCH_MAX = 64;
/** Played seconds that are kept, from a key frame on, and how often the rest goes. */
const KEPT_S = 2;
const REMOVE_INTERVAL_S = 4;
/** A frame that comes later than that has not been late: the camera has stood still. */
const LATE_MS_MAX = 1_000;
/** A paused player is not moved before it is so far behind. */
const PAUSED_BEHIND_S_MAX = 10;
/** After so many failures in a row, with no frame shown between them, the player gives up. */
const FAILURES_MAX = 5;
/** Frames whose results are remembered. */
const RESULTS_MAX = 500;
/** What the server makes of other codecs: H.264, Constrained Baseline, up to 1280×1280. */
const TRANSCODED_CODEC = 'avc1.42c020';

/**
 * `waiting`: for frames. `unsupported`: this browser cannot play the camera's codec, and the server does not convert it; show stills. `blocked`: it does not let a page play without a click:
 * call `video.play()` after one. `failed`: it could not decode, again and again.
 */
export type PlayerState = 'waiting' | 'playing' | 'unsupported' | 'blocked' | 'failed' | 'closed';

export interface PlayerStateChange {
  readonly state: PlayerState;
  /** With `unsupported`; `code` of the server, where that has refused to encode the camera's frames anew. */
  readonly codecString?: string;
  readonly code?: ErrorCode;
  readonly reason?: string;
}

/** A frame that is on the screen now. */
export interface ShownFrame {
  readonly frame: FrameName;
  /** On the client's clock, Unix ms. */
  readonly captureTimeMs: number;
  /** From its capture until it can be seen, as far as the clocks are known. */
  readonly latencyMs: number;
  /** On the timeline of the player. */
  readonly mediaTimeS: number;
  /** Of the picture, pixels. */
  readonly width: number;
  readonly height: number;
  /** What the server has drawn on it, as of its fragment. */
  readonly boxes: CameraFragment['boxes'];
  /** Those that were known when it came to the screen. */
  readonly results: readonly CameraResult[];
}

export interface PlayerEvents {
  state: PlayerStateChange;
  frame: ShownFrame;
  /** Of the frame that is on the screen, which came later than that. */
  result: CameraResult;
}

export interface PlayerOptions {
  /** The server encodes the camera's frames anew where this browser cannot play their codec. Default: true. */
  readonly transcode?: boolean;
  /** Unix ms; default: the platform's clock. */
  readonly now?: () => number;
}

export interface PlayerMetrics {
  readonly state: PlayerState;
  /** Frames that were shown, and those of them whose name could not be told. */
  readonly shown: number;
  readonly unnamed: number;
  /** From capture to screen. */
  readonly latencyMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly count: number };
  /** From what is shown to the newest frame that is there, and where that is to be, ms. */
  readonly distanceMs: number;
  readonly targetMs: number;
  readonly rate: number;
  /** Times that it jumped to the newest frames, had to wait for some, and had to begin anew because the browser failed. */
  readonly jumps: number;
  readonly waits: number;
  readonly failures: number;
  /** Fragments that were not played: before the first key frame, or too many at once. */
  readonly skipped: number;
}

type Piece =
  | { readonly kind: 'init'; readonly init: CameraInit }
  | { readonly kind: 'fragment'; readonly fragment: CameraFragment };

/** The camera's own in an epoch, null where there is no raw channel of it. An initialisation segment is sure of it. */
interface ToldCodec {
  readonly epoch: number;
  readonly codec: string | null;
  readonly isSure: boolean;
}

/** Safari on telephones has it in place of the other. */
function sourceClass(): typeof MediaSource | undefined {
  const { ManagedMediaSource, MediaSource } = globalThis as {
    ManagedMediaSource?: typeof globalThis.MediaSource;
    MediaSource?: typeof globalThis.MediaSource;
  };
  return ManagedMediaSource ?? MediaSource;
}

function typeOf(codecString: string): string {
  return `video/mp4; codecs="${codecString}"`;
}

/** Whether this browser can play a camera's codec (`stream.codec_string` of its state) as it is. */
export function canPlay(codecString: string): boolean {
  return sourceClass()?.isTypeSupported(typeOf(codecString)) ?? false;
}

/** Plays a view in a `<video>`, muted, close to live. Attach it as soon as the view is there. The view stays its caller's. */
export function attachPlayer(view: CameraView, video: VideoElement, options: PlayerOptions = {}): CameraPlayer {
  return new CameraPlayer(view, video, options);
}

/** Made by `attachPlayer`; its caller closes it. */
export class CameraPlayer {
  readonly #view: CameraView;
  readonly #video: HTMLVideoElement;
  readonly #now: () => number;
  readonly #mayTranscode: boolean;
  readonly #emitter = new Emitter<PlayerEvents>();
  readonly #latencies = new DurationHistogram();
  readonly #ends: (() => void)[] = [];
  #state: PlayerState = 'waiting';
  #counts = { shown: 0, unnamed: 0, jumps: 0, waits: 0, failures: 0, skipped: 0 };
  #edge = new LiveEdge();
  /** By frame, the oldest first. */
  readonly #results = new Map<string, CameraResult[]>();
  #shown: FrameName | undefined;

  // Of the present media source.
  #source: MediaSource | undefined;
  #address: string | undefined;
  #buffer: SourceBuffer | undefined;
  #timeline = new FrameTimeline();
  #pending: Piece[] = [];
  #pendingBytes = 0;
  /** The initialisation segment that the browser has, and its timescale. */
  #init: { readonly of: CameraInit; readonly timescale: number | undefined } | undefined;
  #needsKey = true;
  /** What the last fragment that waits, or was handed over, belongs to. */
  #pushed: CameraInit | undefined;
  /** Of the newest epoch. */
  #codec: ToldCodec | undefined;
  /** A codec that this browser does not play, and the server does not convert; null: one without a raw channel. */
  #refused: string | null | undefined;
  /** The view has its present form by the player's doing. */
  #hasConverted = false;
  /** It waits since then. */
  #waitingMs: number | undefined;
  /** The next frames are shown at once. */
  #isFresh = true;
  #removedS = 0;
  #failuresInARow = 0;
  #isClosed = false;

  /** @internal Use `attachPlayer`. */
  constructor(view: CameraView, video: VideoElement, options: PlayerOptions) {
    const { now = () => wallTimeMs(systemClock), transcode = true } = options;
    this.#view = view;
    this.#video = video as HTMLVideoElement;
    this.#now = now;
    this.#mayTranscode = transcode && canPlay(TRANSCODED_CODEC);
    this.#video.muted = true;
    this.#video.playsInline = true;
    // A managed media source is not opened otherwise.
    this.#video.disableRemotePlayback = true;
    this.#ends.push(
      view.on('state', () => this.#onState()),
      view.on('refused', ({ error: { code, message } }) => this.#refuse({ code, reason: message })),
      view.on('fragment', (fragment) => this.#onFragment(fragment)),
      view.on('result', (result) => this.#onResult(result)),
      view.on('closed', () => this.close()),
    );
    this.#listen(this.#video, 'waiting', () => this.#onWaiting());
    this.#listen(this.#video, 'playing', () => this.#become({ state: 'playing' }));
    this.#listen(this.#video, 'play', () => this.#catchUp());
    this.#listen(this.#video, 'error', () => this.#onFailure(this.#video.error?.message ?? 'the browser failed'));
    this.#listen(document, 'visibilitychange', () => !document.hidden && this.#catchUp());
    this.#watchFrames();
    this.#openSource();
    this.#onState();
  }

  get state(): PlayerState {
    return this.#state;
  }

  /** The frame on the screen; undefined: none yet, or its name is not known. */
  get frame(): FrameName | undefined {
    return this.#shown;
  }

  on<Name extends keyof PlayerEvents>(event: Name, listener: (value: PlayerEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** What is known of a frame by now. */
  resultsOf(frame: FrameName): readonly CameraResult[] {
    return this.#results.get(keyOf(frame)) ?? [];
  }

  metrics(): PlayerMetrics {
    return {
      ...this.#counts,
      state: this.#state,
      latencyMs: {
        p50: this.#latencies.percentileMs(0.5),
        p95: this.#latencies.percentileMs(0.95),
        p99: this.#latencies.percentileMs(0.99),
        count: this.#latencies.count,
      },
      distanceMs: this.#distanceS * 1000,
      targetMs: this.#edge.targetS(this.#frameS) * 1000,
      rate: this.#video.playbackRate,
    };
  }

  /** Leaves the element empty. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const end of this.#ends.splice(0)) end();
    this.#closeSource();
    this.#become({ state: 'closed' });
    this.#emitter.clear();
  }

  // ── What comes from the view ───────────────────────────────────────────────────────────────────────────────────────

  #onState(): void {
    // What comes is the server's, whatever the camera sends.
    if (this.#view.channel === 'annotated') return;
    const stream = this.#view.state?.stream;
    if (stream) this.#note({ epoch: stream.epoch, codec: stream.codec_string, isSure: false });
  }

  /**
   * The codec of the newest epoch decides. What comes may be older than what is said of the camera, and the other way round: by whatever came last, the player
   * would go to and fro between both forms.
   */
  #note(told: ToldCodec): void {
    const known = this.#codec;
    if (known && (told.epoch < known.epoch || (told.epoch === known.epoch && known.isSure))) return;
    this.#codec = told;
    const { codec } = told;
    if (codec === this.#refused) return;
    if (codec !== null && canPlay(codec)) this.#convert(false);
    else if (this.#mayTranscode) this.#convert(true);
    else this.#refuse();
  }

  /** What its caller has asked for stays. */
  #convert(isWanted: boolean): void {
    if (!isWanted && !this.#hasConverted) return;
    this.#hasConverted = isWanted;
    this.#view.setTranscode(isWanted);
  }

  /** There is nothing that this browser can play, up to another codec. It is said once. */
  #refuse(why: Pick<PlayerStateChange, 'code' | 'reason'> = {}): void {
    const codec = this.#codec?.codec ?? null;
    if (codec === this.#refused) return;
    this.#refused = codec;
    this.#pushed = undefined;
    const reason = codec === null ? 'the camera has no raw channel' : `this browser does not play ${typeOf(codec)}`;
    this.#become({ state: 'unsupported', ...(codec !== null && { codecString: codec }), reason, ...why });
  }

  #onFragment(fragment: CameraFragment): void {
    const { init, isKey, bytes } = fragment;
    if (this.#source === undefined || !this.#isPlayable(init)) return;
    this.#noteWait();
    if (this.#pendingBytes + bytes.length > PENDING_BYTES_MAX) this.#drop();
    const isOther = this.#needsKey || init !== this.#pushed;
    if (isOther && !isKey) {
      this.#counts.skipped++;
      return;
    }
    if (isOther) this.#push({ kind: 'init', init });
    this.#push({ kind: 'fragment', fragment });
    this.#needsKey = false;
    this.#pushed = init;
    this.#pump();
  }

  #isPlayable({ epoch, codecString, isTranscoded }: CameraInit): boolean {
    if (codecString === this.#pushed?.codecString) return true;
    if (!isTranscoded) this.#note({ epoch, codec: codecString, isSure: true });
    if (canPlay(codecString)) {
      if (this.#refused !== undefined) this.#become({ state: 'waiting' });
      this.#refused = undefined;
      return true;
    }
    // It is the last that could be done.
    if (isTranscoded) {
      this.#refuse();
      this.#convert(false);
    }
    return false;
  }

  #onResult(result: CameraResult): void {
    const key = keyOf(result.frame);
    const results = this.#results.get(key);
    if (results) results.push(result);
    else this.#results.set(key, [result]);
    if (this.#results.size > RESULTS_MAX) this.#results.delete(this.#results.keys().next().value!);
    if (this.#shown && keyOf(this.#shown) === key) this.#emitter.emit('result', result);
  }

  // ── What goes to the browser ───────────────────────────────────────────────────────────────────────────────────────

  #openSource(): void {
    const Source = sourceClass();
    if (Source === undefined) return this.#become({ state: 'unsupported', reason: 'there are no media sources here' });
    const source = new Source();
    this.#source = source;
    this.#address = URL.createObjectURL(source);
    source.addEventListener('sourceopen', () => this.#pump(), { once: true });
    this.#video.src = this.#address;
    this.#play();
  }

  #closeSource(): void {
    this.#source = undefined;
    this.#buffer = undefined;
    this.#init = undefined;
    this.#drop();
    if (this.#address !== undefined) URL.revokeObjectURL(this.#address);
    this.#address = undefined;
    this.#timeline = new FrameTimeline();
    this.#removedS = 0;
    this.#isFresh = true;
    this.#shown = undefined;
    this.#video.removeAttribute('src');
    this.#video.load();
  }

  /** What waits is not played: the next fragment is a key frame. */
  #drop(): void {
    this.#counts.skipped += this.#pending.filter(({ kind }) => kind === 'fragment').length;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#needsKey = true;
  }

  #push(piece: Piece): void {
    this.#pending.push(piece);
    this.#pendingBytes += bytesOf(piece);
  }

  /** Hands over what comes next, one piece of work at a time: the browser tells when it is done. */
  #pump(): void {
    if (this.#source?.readyState !== 'open' || this.#buffer?.updating === true) return;
    try {
      this.#work();
    } catch (thrown) {
      const { name, message } = thrown as Error;
      if (name === 'QuotaExceededError' && this.#removeOld(0)) return;
      this.#onFailure(message);
    }
  }

  #work(): void {
    while (this.#pending.length > 0) {
      const [piece] = this.#pending as [Piece];
      if (piece.kind === 'fragment') return this.#append();
      this.#take(1);
      if (this.#begin(piece.init)) return;
    }
    this.#removeOld(REMOVE_INTERVAL_S);
  }

  /** An initialisation segment. False: the browser has it. */
  #begin(init: CameraInit): boolean {
    const before = this.#init?.of;
    if (init === before) return false;
    const { codecString, bytes } = init;
    const type = typeOf(codecString);
    if (this.#buffer === undefined) this.#buffer = this.#addBuffer(type);
    else if (before?.codecString !== codecString) this.#buffer.changeType(type);
    this.#init = { of: init, timescale: timescaleOf(bytes) };
    this.#buffer.appendBuffer(bytes as Uint8Array<ArrayBuffer>);
    return true;
  }

  #addBuffer(type: string): SourceBuffer {
    const buffer = this.#source!.addSourceBuffer(type);
    buffer.addEventListener('updateend', () => {
      if (buffer !== this.#buffer) return;
      this.#keepUp();
      this.#pump();
    });
    buffer.addEventListener(
      'error',
      () => buffer === this.#buffer && this.#onFailure('the browser refused a fragment'),
    );
    return buffer;
  }

  /** The fragments that wait, as far as they lie at the same offset. */
  #append(): void {
    const buffer = this.#buffer!;
    const parts: Uint8Array[] = [];
    for (const piece of this.#pending.slice(0, BATCH_MAX)) {
      if (piece.kind !== 'fragment') break;
      const { fragment } = piece;
      const ticks = decodeTimeOf(fragment.bytes);
      const { timescale } = this.#init!;
      const decodeS = ticks === undefined || timescale === undefined ? fragment.mediaTimeS : ticks / timescale;
      const offsetS = this.#timeline.offsetFor(fragment, decodeS);
      if (parts.length > 0 && offsetS !== buffer.timestampOffset) break;
      // Only between two fragments, which it always is.
      if (offsetS !== buffer.timestampOffset) buffer.timestampOffset = offsetS;
      this.#timeline.place(fragment, decodeS);
      parts.push(fragment.bytes);
    }
    this.#take(parts.length);
    buffer.appendBuffer(parts.length === 1 ? (parts[0] as Uint8Array<ArrayBuffer>) : joined(parts));
  }

  #take(count: number): void {
    for (const piece of this.#pending.splice(0, count)) this.#pendingBytes -= bytesOf(piece);
  }

  /** Removes what was played, where there is so much of it. False: there is nothing to remove. */
  #removeOld(atLeastS: number): boolean {
    const buffer = this.#buffer;
    if (buffer === undefined || buffer.updating) return false;
    const keepFromS = this.#timeline.keyBefore(this.#video.currentTime - KEPT_S);
    if (keepFromS === undefined || keepFromS - this.#removedS <= atLeastS) return false;
    this.#removedS = keepFromS;
    this.#timeline.forgetBefore(keepFromS);
    buffer.remove(0, keepFromS);
    return true;
  }

  /** The browser could not go on: everything begins anew with the next key frame. */
  #onFailure(reason: string): void {
    if (this.#isClosed || this.#source === undefined) return;
    this.#counts.failures++;
    this.#closeSource();
    if (++this.#failuresInARow > FAILURES_MAX) return this.#become({ state: 'failed', reason });
    this.#become({ state: 'waiting', reason });
    this.#openSource();
  }

  // ── The live edge ──────────────────────────────────────────────────────────────────────────────────────────────────

  get #distanceS(): number {
    return this.#timeline.endS - this.#video.currentTime;
  }

  get #frameS(): number {
    return this.#timeline.lastDurationS;
  }

  /** The next frame that comes is shown at once. A page that has paused stays so: a browser that paused a tab in the background goes on by itself. */
  #catchUp(): void {
    this.#isFresh = true;
  }

  /** Whenever frames have come, also in a tab that nobody sees: its timers hardly run. */
  #keepUp(): void {
    const video = this.#video;
    const { buffered } = video;
    if (this.#timeline.size === 0 || buffered.length === 0 || video.seeking) return;
    const [distanceS, frameS] = [this.#distanceS, this.#frameS];
    if (video.paused && distanceS < PAUSED_BEHIND_S_MAX) return;
    const move = this.#edge.move({ distanceS, frameS, nowMs: this.#now() });
    const targetS = this.#edge.targetS(frameS);
    // Nothing can be shown from here: what was there is removed, or is yet to come.
    const isLost = video.currentTime < buffered.start(0) || distanceS < 0;
    const isBehind = this.#isFresh && distanceS > targetS + frameS;
    if (this.#pending.length === 0) this.#isFresh = false;
    if (isLost || isBehind || move.kind === 'jump') return this.#jump(targetS);
    if (video.playbackRate !== move.rate) video.playbackRate = move.rate;
  }

  #jump(backS: number): void {
    const video = this.#video;
    const toS = Math.max(video.buffered.start(0), this.#timeline.endS - backS);
    this.#counts.jumps++;
    video.playbackRate = 1;
    video.currentTime = toS;
  }

  #onWaiting(): void {
    if (this.#state === 'playing' && !this.#video.seeking) {
      this.#counts.waits++;
      this.#waitingMs = this.#now();
    }
    this.#become({ state: 'waiting' });
  }

  /** The player is too close to live for a stream whose frames come late; not for a camera that has stood still. */
  #noteWait(): void {
    if (this.#waitingMs === undefined) return;
    if (this.#now() - this.#waitingMs < LATE_MS_MAX) this.#edge.waited();
    this.#waitingMs = undefined;
  }

  #play(): void {
    this.#video.play().catch((thrown: Error) => {
      // Another source has taken its place, or it was paused meanwhile.
      if (thrown.name === 'NotAllowedError') this.#become({ state: 'blocked', reason: thrown.message });
    });
  }

  // ── Frames on the screen ───────────────────────────────────────────────────────────────────────────────────────────

  #watchFrames(): void {
    if (typeof this.#video.requestVideoFrameCallback !== 'function') return;
    let handle = 0;
    const onFrame = (
      _: number,
      { mediaTime, expectedDisplayTime, width, height }: VideoFrameCallbackMetadata,
    ): void => {
      handle = this.#video.requestVideoFrameCallback(onFrame);
      this.#onShown(mediaTime, expectedDisplayTime, { width, height });
    };
    handle = this.#video.requestVideoFrameCallback(onFrame);
    this.#ends.push(() => this.#video.cancelVideoFrameCallback(handle));
  }

  #onShown(mediaTimeS: number, displayMs: number, size: { readonly width: number; readonly height: number }): void {
    this.#counts.shown++;
    this.#failuresInARow = 0;
    const placed = this.#timeline.at(mediaTimeS);
    this.#shown = placed?.fragment.frame;
    if (placed === undefined) {
      this.#counts.unnamed++;
      return;
    }
    const { frame, captureTimeMs, serverCaptureTimeMs, boxes } = placed.fragment;
    const seenMs = this.#now() + displayMs - performance.now();
    const latencyMs = this.#view.toServerTimeMs(seenMs) - serverCaptureTimeMs;
    this.#latencies.record(latencyMs);
    const results = this.resultsOf(frame);
    this.#emitter.emit('frame', { frame, captureTimeMs, latencyMs, mediaTimeS, ...size, boxes, results });
  }

  // ── ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #become(change: PlayerStateChange): void {
    if (this.#state === change.state || this.#state === 'closed') return;
    // A browser also tells of what it has left behind.
    if (change.state === 'playing' && this.#state === 'failed') return;
    this.#state = change.state;
    this.#emitter.emit('state', change);
  }

  #listen(target: EventTarget, event: string, listener: () => void): void {
    target.addEventListener(event, listener);
    this.#ends.push(() => target.removeEventListener(event, listener));
  }
}

function bytesOf(piece: Piece): number {
  return (piece.kind === 'init' ? piece.init : piece.fragment).bytes.length;
}

function keyOf({ epoch, seq }: FrameName): string {
  return `${epoch} ${seq}`;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
