import { SightlineError, type ErrorCode } from '../base/errors.ts';
import { isSameInit, type DrawnBoxes } from '../base/camera-frame.ts';
import type { CaptureClock, FrameName } from '../base/frame-name.ts';
import type { PipelineName } from '../base/result.ts';
import {
  decodeCamerasMessage,
  VIEW_ID_MAX,
  type CameraChannel,
  type CameraResultMessage,
  type CamerasServerMessage,
  type CameraStateFields,
  type CamerasWelcome,
  type FragmentMessage,
  type GapCause,
  type GapMessage,
  type InitMessage,
  type WireFrame,
} from '../protocol/cameras.ts';
import type { ClockEstimate } from './clock-sync.ts';
import { Emitter, type Unsubscribe } from './emitter.ts';
import { Link, type Identity, type LinkSettings, type SessionState, type StateChange } from './link.ts';
import { sessionUrl } from './socket.ts';

const LANE_PATH = '/ws/cameras';
const NO_TRANSCODE: ReadonlySet<ErrorCode> = new Set(['TRANSCODE_LIMIT_REACHED', 'TRANSCODE_FAILED']);

export interface ConnectCamerasOptions extends Omit<LinkSettings, 'clientId' | 'token' | 'tokenStore'> {
  /** `ws:`, `wss:`, `http:` or `https:`; in a browser also relative to the page. Without a path: `/ws/cameras`. */
  readonly url: string;
}

/** What a view is to have; all by default. */
export interface ViewOptions {
  /** The camera's frames as fragmented MP4. */
  readonly raw?: boolean;
  /**
   * In which channel these come: `raw`, the camera's own; `annotated`, with what was found drawn on them by the server, as many of them as it has time for. Where the server refuses that
   * (ANNOTATE_LIMIT_REACHED), the view ends.
   */
  readonly channel?: 'raw' | 'annotated';
  /** What the pipelines find. */
  readonly results?: boolean;
  readonly state?: boolean;
  /**
   * The camera's frames encoded anew as H.264, for whoever cannot play its own codec. A player asks for that by itself. Where the server refuses it, the view ends.
   * Of a camera with masks, whoever may not see it without gets them in any case.
   */
  readonly transcode?: boolean;
  /** How far behind its camera the server lets the view fall before it skips, ms; default 1,000. */
  readonly budgetMs?: number;
}

/** An MP4 initialisation segment: the fragments of its epoch need it first. */
export interface CameraInit {
  /** The server has encoded the fragments anew. */
  readonly isTranscoded: boolean;
  readonly epoch: number;
  /** RFC 6381. */
  readonly codecString: string;
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
}

/** One frame as an MP4 fragment. */
export interface CameraFragment {
  readonly frame: FrameName;
  readonly init: CameraInit;
  /** What follows can be decoded without anything before it. */
  readonly isKey: boolean;
  /** On the client's clock, Unix ms. */
  readonly captureTimeMs: number;
  /** The same by the server's time of day: the offset between both becomes better known with time. */
  readonly serverCaptureTimeMs: number;
  readonly clock: CaptureClock;
  /** Presentation, from the beginning of the epoch. */
  readonly mediaTimeS: number;
  readonly durationS: number;
  /** What the server has drawn on it: what was found in this very frame (`own`), or where boxes of earlier frames will have gone by then (`predicted`). */
  readonly boxes: DrawnBoxes;
  readonly bytes: Uint8Array;
}

/** The outcome of one frame in one pipeline. */
export interface CameraResult<P extends PipelineName = PipelineName> {
  readonly frame: FrameName;
  /** On the client's clock, Unix ms. */
  readonly captureTimeMs: number;
  readonly clock: CaptureClock;
  readonly pipeline: P;
  /** As it came: `outcome` says whether it is a result. */
  readonly result: CameraResultMessage<P>;
}

/** Why something is left out: what the server says, or `connection` where that was lost meanwhile. */
export type ViewGapCause = GapCause | 'connection';

export interface CameraGap {
  readonly channel: GapMessage['channel'];
  /** The first that is left out, and the one that comes next. */
  readonly from: FrameName;
  readonly to: FrameName;
  /** Undefined: not known. */
  readonly count: number | undefined;
  readonly cause: ViewGapCause;
}

export interface CameraViewEvents {
  /** When the view is open, and after each change. */
  state: CameraStateFields;
  init: CameraInit;
  fragment: CameraFragment;
  result: CameraResult;
  gap: CameraGap;
  /** The server does not do what `setTranscode(true)` has asked for, or no more: the view goes on with the camera's own frames, or without any, where it is `isMasked`. */
  refused: { readonly error: SightlineError };
  /** The view is over, once and last; with `error` the server has ended it, or refused it. */
  closed: { readonly error?: SightlineError };
}

export interface CameraViewMetrics {
  readonly fragments: number;
  readonly results: number;
  readonly bytes: number;
  /** Fragments that had come before, over an earlier connection. */
  readonly repeated: number;
  readonly gaps: Readonly<Record<ViewGapCause, number>>;
}

export interface CamerasEvents {
  state: StateChange;
  /** An error that belongs to no view, and does not end the session. */
  error: { readonly error: SightlineError };
}

/** A session from its first `welcome` on. Rejects with SightlineError: the server's code, or CONNECTION_FAILED. */
export async function connectCameras(options: ConnectCamerasOptions): Promise<CamerasSession> {
  return CamerasSession.connect(options);
}

/** Any number of cameras over one connection, or as many as it takes. Made by `connectCameras`; its caller closes it. */
export class CamerasSession {
  readonly #link: Link<CamerasWelcome, CamerasServerMessage>;
  readonly #emitter = new Emitter<CamerasEvents>();
  /** By their numbers. */
  readonly #views = new Map<number, CameraView>();
  /** Numbers of views that were closed, and of which messages may still come. */
  readonly #closing = new Set<number>();
  #lastId = -1;

  private constructor(options: ConnectCamerasOptions) {
    this.#link = new Link<CamerasWelcome, CamerasServerMessage>(
      {
        settings: options,
        lane: LANE_PATH,
        address: ({ access_token }: Identity) => sessionUrl(options.url, LANE_PATH, { access_token }),
        decode: decodeCamerasMessage,
        encodeClock: (request) => JSON.stringify(request),
      },
      {
        onOpen: () => this.#onOpen(),
        onMessage: (message) => this.#onMessage(message),
        onLost: () => this.#closing.clear(),
        onState: (change) => this.#onState(change),
        onFault: (error) => this.#emitter.emit('error', { error }),
      },
    );
  }

  /** @internal Use `connectCameras`. */
  static async connect(options: ConnectCamerasOptions): Promise<CamerasSession> {
    const session = new CamerasSession(options);
    await session.#link.open();
    return session;
  }

  /** Welcome of the present connection, or of the last one. */
  get welcome(): CamerasWelcome {
    return this.#link.welcome as CamerasWelcome;
  }

  get state(): SessionState {
    return this.#link.state;
  }

  get reconnects(): number {
    return this.#link.reconnects;
  }

  get clock(): ClockEstimate {
    return this.#link.clockEstimate();
  }

  /** Views that are open, or to be opened again. */
  get views(): readonly CameraView[] {
    return [...this.#views.values()];
  }

  /**
   * Opens a view of a camera; what the server says of it comes as events. It lasts until it is closed, across reconnections. Throws
   * CONNECTION_LOST where the session is closed, SUBSCRIPTION_LIMIT_REACHED where all numbers are taken.
   */
  open(camera: string, options: ViewOptions = {}): CameraView {
    if (this.state === 'closed') throw new SightlineError('CONNECTION_LOST', 'the session is closed');
    const view: CameraView = new CameraView(this.#nextId(), camera, options, {
      toWallMs: (serverMs) => this.#link.toWallMs(serverMs - this.#link.offsetMs(this.#link.clock.now())),
      toServerMs: (wallMs) => this.#link.toServerMs(wallMs),
      close: () => this.#close(view),
      reopen: () => this.#reopen(view),
    });
    this.#views.set(view.id, view);
    this.#link.send(view.request());
    return view;
  }

  on<Name extends keyof CamerasEvents>(event: Name, listener: (value: CamerasEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** The server's time for a moment on the client's clock, both Unix ms; good to ± `clock.uncertaintyMs`. */
  toServerTimeMs(clientTimeMs: number): number {
    return this.#link.toServerMs(clientTimeMs);
  }

  /** Ends the session and its views for good; may be called again. Resolves when the socket is closed, after a second at the latest. */
  close(): Promise<void> {
    return this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #nextId(): number {
    for (let tries = 0; tries <= VIEW_ID_MAX; tries++) {
      this.#lastId = this.#lastId === VIEW_ID_MAX ? 0 : this.#lastId + 1;
      if (!this.#views.has(this.#lastId) && !this.#closing.has(this.#lastId)) return this.#lastId;
    }
    throw new SightlineError('SUBSCRIPTION_LIMIT_REACHED', `all ${VIEW_ID_MAX + 1} numbers of views are taken`);
  }

  #onOpen(): void {
    for (const view of this.#views.values()) {
      view.reopened();
      this.#link.send(view.request());
    }
  }

  #onState(change: StateChange): void {
    if (change.state === 'closed') {
      const views = this.views;
      this.#views.clear();
      for (const view of views) view.end(change.error);
    }
    this.#emitter.emit('state', change);
    if (change.state === 'closed') this.#emitter.clear();
  }

  #onMessage(message: CamerasServerMessage): void {
    if (message.type === 'error') return this.#onError(message.code, message.message, message.id);
    if (message.type === 'closed') this.#closing.delete(message.id);
    const { id } = message as { id?: number };
    const view = id === undefined ? undefined : this.#views.get(id);
    if (view === undefined) return;
    if (message.type === 'opened' && message.transcode === undefined && view.isTranscoded) {
      const error = new SightlineError('TRANSCODE_LIMIT_REACHED', 'this server encodes no camera anew');
      if (!view.refuse(error)) return this.#close(view, error);
    }
    if (message.type !== 'closed') return view.receive(message);
    const { code, message: why = '' } = message;
    const error = code && new SightlineError(code, why);
    if (!this.#revert(view, error)) this.#end(view, error);
  }

  #onError(code: ErrorCode, message: string, id: number | undefined): void {
    const error = new SightlineError(code, message);
    const view = id === undefined ? undefined : this.#views.get(id);
    if (!view) this.#emitter.emit('error', { error });
    else if (!this.#revert(view, error)) this.#end(view, error);
  }

  /** Where the server does not encode it anew it goes on with the camera's own frames; where those are not for this client, the other way round. False: it does not. */
  #revert(view: CameraView, error: SightlineError | undefined): boolean {
    if (!error) return false;
    const goesOn = error.code === 'CAMERA_MASKED' ? view.mask() : NO_TRANSCODE.has(error.code) && view.refuse(error);
    if (!goesOn) return false;
    // Its listeners may have closed it.
    if (!view.closed) this.#link.send(view.request());
    return true;
  }

  #close(view: CameraView, error?: SightlineError): void {
    if (this.#views.get(view.id) !== view) return;
    this.#sendClose(view.id);
    this.#end(view, error);
  }

  #sendClose(id: number): void {
    if (this.#link.send(JSON.stringify({ type: 'close', id }))) this.#closing.add(id);
  }

  /** It begins anew by another number: what is on its way under the former one is not for it any more. */
  #reopen(view: CameraView): void {
    if (this.#views.get(view.id) !== view) return;
    this.#sendClose(view.id);
    this.#views.delete(view.id);
    view.renumber(this.#nextId());
    this.#views.set(view.id, view);
    this.#link.send(view.request());
  }

  #end(view: CameraView, error: SightlineError | undefined): void {
    this.#views.delete(view.id);
    view.end(error);
  }
}

/** The part of its session that a view needs. */
interface ViewHost {
  toWallMs(serverMs: number): number;
  toServerMs(wallMs: number): number;
  close(): void;
  reopen(): void;
}

/** One camera. Made by `CamerasSession.open`. */
export class CameraView {
  readonly camera: string;
  /** In which it has the camera's frames. */
  readonly channel: 'raw' | 'annotated';
  #id: number;
  readonly #host: ViewHost;
  readonly #channels: readonly CameraChannel[];
  readonly #budgetMs: number | undefined;
  readonly #emitter = new Emitter<CameraViewEvents>();
  readonly #gaps: Record<ViewGapCause, number> = { behind: 0, overflow: 0, source: 0, connection: 0 };
  #counts = { fragments: 0, results: 0, bytes: 0, repeated: 0 };
  #state: CameraStateFields | undefined;
  #init: CameraInit | undefined;
  #last: (WireFrame & { readonly mediaTimeS: number }) | undefined;
  /** The connection was another one when the last fragment came. */
  #hasMoved = false;
  #isClosed = false;
  #isTranscoded: boolean;
  #isMasked = false;
  /** By `setTranscode`: else its opener can do nothing with another form. */
  #canRevert = false;

  /** @internal */
  constructor(id: number, camera: string, options: ViewOptions, host: ViewHost) {
    const { raw = true, channel = 'raw', results = true, state = true, transcode = false, budgetMs } = options;
    this.#id = id;
    this.camera = camera;
    this.#host = host;
    this.#budgetMs = budgetMs;
    this.#isTranscoded = transcode;
    this.channel = channel;
    const wanted = { raw: raw && channel === 'raw', annotated: raw && channel === 'annotated', results, state };
    this.#channels = (Object.keys(wanted) as CameraChannel[]).filter((name) => wanted[name]);
  }

  /** The session's number of it, which is another one after `setTranscode`. */
  get id(): number {
    return this.#id;
  }

  /** The camera's, as last told; undefined: not yet. */
  get state(): CameraStateFields | undefined {
    return this.#state;
  }

  /** Of the present epoch. */
  get init(): CameraInit | undefined {
    return this.#init;
  }

  /** It asks for the camera's frames encoded anew. */
  get isTranscoded(): boolean {
    return this.#isTranscoded;
  }

  /** The camera has masks, and its own frames are not for this client. */
  get isMasked(): boolean {
    return this.#isMasked;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  on<Name extends keyof CameraViewEvents>(event: Name, listener: (value: CameraViewEvents[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** The server's time for a moment on the client's clock, both Unix ms. */
  toServerTimeMs(clientTimeMs: number): number {
    return this.#host.toServerMs(clientTimeMs);
  }

  /** Goes on with the camera's frames encoded anew as H.264, or with its own ones again, from a key frame on. */
  setTranscode(isTranscoded: boolean): void {
    if (isTranscoded === this.#isTranscoded || this.#isClosed || this.channel === 'annotated') return;
    // It is asked anew: the permission, or the masks, may be others.
    if (!isTranscoded) this.#isMasked = false;
    this.#canRevert = true;
    this.#change(isTranscoded);
    this.#host.reopen();
  }

  metrics(): CameraViewMetrics {
    return { ...this.#counts, gaps: { ...this.#gaps } };
  }

  /** Idempotent. */
  close(): void {
    this.#host.close();
  }

  /** @internal The message that opens it. */
  request(): string {
    const { id, camera } = this;
    const transcode = this.#isTranscoded || undefined;
    const hasNone = this.#isMasked && !this.#isTranscoded;
    const channels = hasNone ? this.#channels.filter((channel) => channel !== 'raw') : this.#channels;
    const form = { channels, budget_ms: this.#budgetMs, transcode };
    return JSON.stringify({ type: 'open', id, camera, ...form });
  }

  /** @internal It begins anew over another connection. */
  reopened(): void {
    this.#hasMoved = true;
  }

  /** @internal */
  renumber(id: number): void {
    this.#id = id;
  }

  /** @internal The camera's own frames are not for this client: it goes on with those that are encoded anew. False: it has these already. */
  mask(): boolean {
    if (this.#isTranscoded) return false;
    this.#isMasked = true;
    this.#canRevert ||= this.#channels.length > 1;
    this.#change(true);
    return true;
  }

  /** @internal The server does not encode it anew. False: then there is nothing for it. */
  refuse(error: SightlineError): boolean {
    if (!this.#isTranscoded || !this.#canRevert) return false;
    if (this.#isMasked && this.#channels.length === 1) return false;
    this.#change(false);
    this.#emitter.emit('refused', { error });
    return true;
  }

  /** @internal */
  receive(message: CamerasServerMessage): void {
    switch (message.type) {
      case 'opened':
      case 'state':
        return this.#onState(message);
      case 'init':
        return this.#onInit(message);
      case 'fragment':
        return this.#onFragment(message);
      case 'result':
        return this.#onResult(message);
      case 'gap':
        return this.#onGap(message);
      default:
      // From a newer server: ignored.
    }
  }

  /** @internal */
  end(error: SightlineError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#emitter.emit('closed', error ? { error } : {});
    this.#emitter.clear();
  }

  #onState({ state, since, reason, until, picture, stream }: CameraStateFields): void {
    this.#state = { state, since, reason, until, picture, stream };
    this.#emitter.emit('state', this.#state);
  }

  #change(isTranscoded: boolean): void {
    this.#isTranscoded = isTranscoded;
    this.#init = undefined;
    this.#last = undefined;
    this.#hasMoved = false;
  }

  #onInit({ isTranscoded, epoch, codecString, width, height, bytes }: InitMessage): void {
    this.#counts.bytes += bytes.length;
    // The same one comes again over another connection.
    if (isSameInit({ epoch, width, height }, this.#init) && isTranscoded === this.#init?.isTranscoded) return;
    this.#init = { isTranscoded, epoch, codecString, width, height, bytes };
    this.#emitter.emit('init', this.#init);
  }

  #onFragment(message: FragmentMessage): void {
    const { epoch, seq, isKey, clock, captureTimeMs, mediaTimeS, durationS, boxes, bytes } = message;
    this.#counts.bytes += bytes.length;
    const last = this.#last;
    // A view begins with the newest key frame, also where it has had what follows that.
    if (this.#init?.epoch !== epoch) return;
    const { isTranscoded } = this.#init;
    // Those that are encoded anew come in the order of presentation.
    const isOld = last?.epoch === epoch && (isTranscoded ? mediaTimeS <= last.mediaTimeS : seq <= last.seq);
    if (isOld) {
      this.#counts.repeated++;
      // What comes next follows it.
      if (seq === last.seq) this.#hasMoved = false;
      return;
    }
    this.#counts.fragments++;
    if (this.#hasMoved && last) this.#tellMove(last, { epoch, seq });
    this.#hasMoved = false;
    this.#last = { epoch, seq, mediaTimeS };
    this.#emitter.emit('fragment', {
      frame: this.#name(message),
      init: this.#init,
      isKey,
      captureTimeMs: this.#host.toWallMs(captureTimeMs),
      serverCaptureTimeMs: captureTimeMs,
      clock,
      mediaTimeS,
      durationS,
      boxes,
      bytes,
    });
  }

  /** What came while there was no connection is left out. */
  #tellMove(last: WireFrame, next: WireFrame): void {
    // Their numbers do not tell.
    const isSame = last.epoch === next.epoch && this.#init?.isTranscoded === false;
    const count = isSame ? next.seq - last.seq - 1 : undefined;
    if (count === 0) return;
    this.#tellGap({
      channel: this.channel,
      from: { epoch: last.epoch, seq: last.seq + 1 },
      to: next,
      count,
      cause: 'connection',
    });
  }

  #onResult(result: CameraResultMessage): void {
    this.#counts.results++;
    const { clock, pipeline } = result;
    const captureTimeMs = this.#host.toWallMs(result.capture_time);
    this.#emitter.emit('result', { frame: this.#name(result), captureTimeMs, clock, pipeline, result });
  }

  #onGap({ channel, from, to, count, cause }: GapMessage): void {
    this.#tellGap({ channel, from, to, count, cause });
  }

  #tellGap(gap: Omit<CameraGap, 'from' | 'to'> & { readonly from: WireFrame; readonly to: WireFrame }): void {
    this.#gaps[gap.cause]++;
    this.#emitter.emit('gap', { ...gap, from: this.#name(gap.from), to: this.#name(gap.to) });
  }

  #name({ epoch, seq }: WireFrame): FrameName {
    return { camera: this.camera, epoch, seq };
  }
}
