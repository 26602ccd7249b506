import type { WebSocket } from 'ws';
import type { Principal } from '../../auth/principal.ts';
import { wallAheadMs, wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Sample } from '../../base/sample.ts';
import type { Fences } from '../../fences/fences.ts';
import {
  BUDGET_MS,
  CAMERAS_PROTOCOL_VERSION,
  decodeCamerasRequest,
  encodeFragment,
  encodeInit,
  type CameraResultMessage,
  type CamerasTextMessage,
  type GapCause,
  type GapMessage,
  type OpenViewMessage,
} from '../../protocol/cameras.ts';
import { aboutMessage } from '../../protocol/message-about.ts';
import { namedOutcomeMessage } from '../../protocol/outcome-message.ts';
import type { VideoClockRequest } from '../../protocol/video.ts';
import type { ChannelForm, NamedOutcome, RawFragment } from '../../base/camera-frame.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { requireUnmasked } from '../../sources/camera/masked.ts';
import type { RegisteredSession } from '../registry.ts';
import { CAMERA_VIEW_BYTES } from '../session-bytes.ts';
import { endMessage, endSocket, SessionSocket, type KeepAliveSettings, type SocketOwner } from '../session-socket.ts';
import { PauseReason, SocketReading } from '../socket-reading.ts';
import { addViewCounts, NO_CAMERAS_COUNTS, type CamerasCounts } from './accounts.ts';
import { Flight } from './flight.ts';
import type { Gap } from '../../sources/camera/raw-cursor.ts';
import type { RawWatches } from '../../sources/camera/raw-watches.ts';
import { View, type ViewListener, type ViewNews } from './view.ts';

export interface CamerasSettings extends KeepAliveSettings {
  readonly messageBytesMax: number;
  readonly viewsMax: number;
  /** Unsent bytes of a socket up to which it is given outcomes, and up to half of that fragments. */
  readonly sendBufferBytesMax: number;
  /** Fragments may be on their way for so much longer than the path needs, ms; then the rest waits, and may be left out. */
  readonly flightMsMax: number;
  readonly idleTimeoutMs: number;
}

/** Where the times go that results take on their way to whoever watches. */
export interface ResultObserver {
  encoded(ms: number): void;
  /** Handed to the socket to taken by the system. */
  transmitted(ms: number): void;
}

export interface CamerasSessionParts {
  readonly clientId: string;
  readonly clock: Clock;
  readonly fences: Fences;
  readonly settings: CamerasSettings;
  readonly feeds: CameraFeeds;
  readonly watches: RawWatches;
  readonly observer: ResultObserver | undefined;
  readonly onLost: () => void;
}

/** Messages that are written in one go before other work of the main thread has its turn: about a millisecond. */
const SLICE_MESSAGES = 64;

/** One client that watches cameras. It ends with its socket: whoever comes back opens its views again. */
export class CamerasSession implements RegisteredSession, SocketOwner, ViewListener {
  readonly link: SessionSocket;
  readonly #parts: CamerasSessionParts;
  readonly #views = new Map<number, View>();
  /** Views with something to tell; whoever was served goes to the end. */
  readonly #ready: Readonly<Record<ViewNews, Set<View>>> = {
    frames: new Set(),
    results: new Set(),
    state: new Set(),
  };
  readonly #flight = new Flight();
  /** How far the time of day was ahead of our own clock when the client last asked for it: it reads our times by that. */
  #toldAheadMs: number | undefined;
  /** Of views that have ended. */
  #ended: CamerasCounts = NO_CAMERAS_COUNTS;
  #opened = 0;
  readonly #gaps: Record<GapCause, number> = { behind: 0, overflow: 0, source: 0 };
  #sentBytes = 0;
  #isFlushing = false;

  constructor(parts: CamerasSessionParts) {
    this.#parts = parts;
    this.link = new SessionSocket({ lane: 'cameras', clientId: parts.clientId, host: parts, owner: this });
  }

  get views(): number {
    return this.#views.size;
  }

  /** Who watches has nothing to say; the ping finds out whether it is there. */
  get lastActivityMs(): number {
    return this.#views.size > 0 ? Infinity : this.link.lastActivityMs;
  }

  /** How much longer than the path needs its fragments are on their way, ms. */
  get flightDelayMs(): number {
    return this.#flight.delayMs(this.#parts.clock.now());
  }

  /** Of all its views, those that have ended included. */
  counts(): CamerasCounts {
    const counts = [...this.#views.values()].map((view) => view.counts()).reduce(addViewCounts, this.#ended);
    return { ...counts, opened: this.#opened, gaps: { ...this.#gaps }, sentBytes: this.#sentBytes };
  }

  /** `address`: the other end of the socket. */
  connect(socket: WebSocket, principal: Principal, address: string | undefined): void {
    const { clientId, clock, settings } = this.#parts;
    this.link.connect(socket, principal, address);
    socket.on('pong', (data) => this.#onPong(data));
    this.#tell({
      type: 'welcome',
      protocol: CAMERAS_PROTOCOL_VERSION,
      client_id: clientId,
      server_time: wallTimeMs(clock),
      limits: {
        views_max: settings.viewsMax,
        message_bytes_max: settings.messageBytesMax,
        budget_ms_min: BUDGET_MS.min,
        budget_ms_max: BUDGET_MS.max,
        idle_timeout_s: settings.idleTimeoutMs / 1000,
      },
    });
  }

  endSocket(socket: WebSocket, reason: SightlineError): void {
    this.#parts.fences.refusals.count('cameras', reason.code);
    endSocket(socket, JSON.stringify(endMessage(reason)), reason);
  }

  onLost(): void {
    this.#parts.onLost();
  }

  close(reason: SightlineError): void {
    for (const view of this.#views.values()) this.#drop(view);
    this.link.end(reason);
  }

  /** Once a second: what waits for too long is left out, whether the socket takes anything or not. */
  sweep(nowMs: number): void {
    for (const view of this.#views.values()) view.catchUp(nowMs);
  }

  /** The camera was removed, or another one has its name, or has got masks: views of what is no more, or not for this client any more, end. */
  cameraChanged(camera: string, present: CameraFeed | undefined): void {
    for (const view of this.#views.values()) {
      if (view.feed.id !== camera) continue;
      if (view.feed !== present) this.onCameraGone(view);
      else this.#endUnmasked(view);
    }
  }

  #endUnmasked(view: View): void {
    if (!view.frames || view.form !== 'raw') return;
    try {
      requireUnmasked(view.feed, this.link.principal!);
    } catch (thrown) {
      this.#endView(view, toSightlineError(thrown));
    }
  }

  /** The camera's frames do not come in this form any more: views that have it end. */
  endForm(feed: CameraFeed, form: ChannelForm, error: SightlineError): void {
    for (const view of this.#views.values()) {
      if (view.feed === feed && view.frames && view.form === form) this.#endView(view, error);
    }
  }

  onReady(view: View, news: ViewNews): void {
    this.#ready[news].add(view);
    this.#scheduleFlush();
  }

  onCameraGone(view: View): void {
    this.#endView(view, new SightlineError('CAMERA_UNKNOWN', `camera "${view.feed.id}" was removed`));
  }

  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void {
    const { messageBytesMax } = this.#parts.settings;
    let id: number | undefined;
    try {
      if (isBinary) throw new SightlineError('MESSAGE_NOT_JSON', 'binary messages are the server’s: speak JSON text');
      if (data.length > messageBytesMax) {
        const message = `a message of ${data.length} bytes is over the limit of ${messageBytesMax}`;
        throw new SightlineError('MESSAGE_TOO_LARGE', message);
      }
      const message = decodeCamerasRequest(data.toString('utf8'));
      if (message.type === 'clock') return this.#onClock(message, nowMs);
      ({ id } = message);
      if (message.type === 'open') this.#open(message, nowMs);
      else this.#closeView(message.id);
    } catch (thrown) {
      this.#refuse(toSightlineError(thrown), id ?? (isBinary ? undefined : aboutMessage(data).id));
    }
  }

  #onClock({ t0 }: VideoClockRequest, nowMs: number): void {
    const { clock } = this.#parts;
    this.#toldAheadMs = wallAheadMs(clock);
    this.#tell({ type: 'clock', t0, t1: nowMs + this.#toldAheadMs, t2: clock.now() + this.#toldAheadMs });
  }

  #open(wanted: OpenViewMessage, nowMs: number): void {
    const { feeds, watches, settings } = this.#parts;
    const { id, camera, channels, budget_ms, transcode } = wanted;
    if (this.#views.has(id)) throw new SightlineError('MESSAGE_FIELD_BAD', `id ${id} is in use by another view`);
    if (this.#views.size >= settings.viewsMax) {
      throw new SightlineError('SUBSCRIPTION_LIMIT_REACHED', `all ${settings.viewsMax} views are taken`);
    }
    requirePermission(this.link.principal!, camera);
    const feed = feeds.get(camera);
    if (channels.includes('raw') && !transcode) requireUnmasked(feed, this.link.principal!);
    this.link.memory.charge('session', CAMERA_VIEW_BYTES);
    let view: View | undefined;
    try {
      view = new View(feed, wanted, nowMs, this);
      if (view.frames) watches.begin(feed, view.form);
    } catch (thrown) {
      view?.close();
      this.link.memory.release('session', CAMERA_VIEW_BYTES);
      throw thrown;
    }
    this.#views.set(id, view);
    this.#opened++;
    this.#tell({ type: 'opened', id, camera, channels, budget_ms, transcode, ...feed.standing() });
    if (view.frames?.isReady) this.onReady(view, 'frames');
    if (view.results?.isReady) this.onReady(view, 'results');
  }

  #closeView(id: number): void {
    const view = this.#views.get(id);
    if (view === undefined) throw new SightlineError('SUBSCRIPTION_UNKNOWN', `there is no view ${id}`);
    this.#drop(view);
    this.#tell({ type: 'closed', id });
  }

  #endView(view: View, { code, message }: SightlineError): void {
    if (this.#drop(view)) this.#tell({ type: 'closed', id: view.id, code, message });
  }

  /** False: it had ended already. */
  #drop(view: View): boolean {
    if (this.#views.get(view.id) !== view) return false;
    this.#views.delete(view.id);
    for (const views of Object.values(this.#ready)) views.delete(view);
    view.close();
    this.link.memory.release('session', CAMERA_VIEW_BYTES);
    this.#ended = { ...this.#ended, ...addViewCounts(this.#ended, view.counts()) };
    const { watches, clock } = this.#parts;
    if (view.frames) watches.end(view.feed, view.form, clock.now());
    return true;
  }

  #refuse(error: SightlineError, id: number | undefined): void {
    const { code, message } = error;
    this.#parts.fences.refusals.count('cameras', code);
    this.#tell({ type: 'error', code, message, ...(id !== undefined && { id }) });
  }

  #onPong(data: Buffer): void {
    if (data.length !== MARK_BYTES) return;
    this.#flight.answered(data.readUInt32LE(), this.#parts.clock.now());
    if (this.#ready.frames.size > 0) this.#scheduleFlush();
  }

  /** Gathers what one turn of the event loop brings, so that all that has news is served in turns. */
  #scheduleFlush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    this.#isFlushing = false;
    const { clock, fences } = this.#parts;
    const beginMs = clock.now();
    const left = this.#serveAll();
    const endMs = clock.now();
    // Who is delivered to has not asked for a turn: if that used up its turns, its answers to our marks would wait for as long, and so would fragments.
    fences.turns.charge(this.link.time, endMs - beginMs, endMs);
    if (left > 0) return;
    this.#isFlushing = true;
    setImmediate(() => this.#flush());
  }

  /** Returns what is left of the slice. */
  #serveAll(): number {
    let left = SLICE_MESSAGES;
    const { state, results, frames } = this.#ready;
    // What is small and says most goes first; a fragment goes only while the client keeps up.
    left = this.#serve(state, left, (view) => this.#tellState(view));
    left = this.#serve(results, left, (view, nowMs) => this.#sendResult(view, nowMs));
    return this.#serve(frames, left, (view, nowMs) => this.#hasRoomForFrames(nowMs) && this.#sendFragment(view, nowMs));
  }

  /** Views take turns. `give` says 'empty' for a view that has nothing more, false where the socket takes no more. Returns what is left of the slice. */
  #serve(ready: Set<View>, slice: number, give: (view: View, nowMs: number) => boolean | 'empty'): number {
    let left = slice;
    while (left > 0 && ready.size > 0) {
      const [view] = ready as Set<View> & Iterable<View>;
      if (!this.#hasRoom) return left;
      const given = give(view!, this.#parts.clock.now());
      if (given === false) return left;
      ready.delete(view!);
      if (given === true) {
        left--;
        if (this.#views.get(view!.id) === view) ready.add(view!);
      }
    }
    return left;
  }

  get #hasRoom(): boolean {
    const { socket } = this.link;
    return socket !== undefined && socket.bufferedAmount <= this.#parts.settings.sendBufferBytesMax;
  }

  #hasRoomForFrames(nowMs: number): boolean {
    const { sendBufferBytesMax, flightMsMax } = this.#parts.settings;
    return this.link.socket!.bufferedAmount <= sendBufferBytesMax / 2 && this.#flight.delayMs(nowMs) <= flightMsMax;
  }

  #tellState({ id, feed }: View): 'empty' {
    this.#tell({ type: 'state', id, ...feed.standing() });
    return 'empty';
  }

  #sendResult(view: View, nowMs: number): true | 'empty' {
    const taken = view.results!.take(nowMs);
    if (taken === undefined) return 'empty';
    if (taken.gap) this.#tellGap(view, 'results', taken.gap);
    const { clock, observer } = this.#parts;
    const message = resultMessage(view.id, taken.sample, nowMs, this.#aheadMs);
    // What became of a frame without a result takes no time worth telling.
    if (!observer || message.outcome !== 'result') this.#tell(message);
    else this.#tell(message, { clock, observer });
    return true;
  }

  #sendFragment(view: View, nowMs: number): true | 'empty' {
    const taken = view.frames!.take(nowMs);
    if (taken === undefined) return 'empty';
    const { init } = taken.sample.data;
    if (taken.gap) this.#tellGap(view, view.form === 'annotated' ? 'annotated' : 'raw', taken.gap);
    if (init !== view.init) {
      this.#sendBytes(encodeInit({ id: view.id, ...init }));
      view.init = init;
    }
    const message = fragmentMessage(view.id, taken.sample, this.#aheadMs);
    this.#sendBytes(message);
    const mark = this.#flight.sent(message.length, nowMs);
    if (mark !== undefined) this.#sendMark(mark);
    return true;
  }

  #sendMark(number: number): void {
    const data = Buffer.alloc(MARK_BYTES);
    data.writeUInt32LE(number);
    this.link.socket?.ping(data);
  }

  #tellGap({ id }: View, channel: GapMessage['channel'], gap: Gap): void {
    this.#gaps[gap.cause]++;
    this.#tell({ type: 'gap', id, channel, ...gap });
  }

  get #aheadMs(): number {
    return this.#toldAheadMs ?? wallAheadMs(this.#parts.clock);
  }

  #sendBytes(message: Uint8Array): void {
    this.#sentBytes += message.length;
    this.link.socket?.send(message, this.#onSent);
  }

  /** `timed`: it is a result, whose times are of interest. */
  #tell(message: CamerasTextMessage, timed?: { readonly clock: Clock; readonly observer: ResultObserver }): void {
    const { socket } = this.link;
    if (!socket) return;
    const beganMs = timed?.clock.now() ?? 0;
    const text = JSON.stringify(message);
    this.#sentBytes += text.length;
    socket.send(text, timed ? this.#onSentTimed(timed, beganMs) : this.#onSent);
    // Who asks and reads nothing is not read either; see #onSent.
    if (socket.bufferedAmount > 2 * this.#parts.settings.sendBufferBytesMax) {
      SocketReading.of(socket).pause(PauseReason.deaf);
    }
  }

  #onSentTimed({ clock, observer }: { readonly clock: Clock; readonly observer: ResultObserver }, beganMs: number) {
    const sentMs = clock.now();
    observer.encoded(sentMs - beganMs);
    return (error?: Error | null): void => {
      if (!error) observer.transmitted(clock.now() - sentMs);
      this.#onSent();
    };
  }

  readonly #onSent = (): void => {
    const { socket } = this.link;
    if (!socket) return;
    if (this.#hasRoom) SocketReading.of(socket).resume(PauseReason.deaf);
    const { state, results, frames } = this.#ready;
    if (state.size + results.size + frames.size > 0) this.#scheduleFlush();
  };
}

/** A mark's number. */
const MARK_BYTES = 4;

/** Who may read a camera sees its stills and results already. Throws PERMISSION_DENIED. */
function requirePermission(principal: Principal, camera: string): void {
  const resource = `cameras/${camera}`;
  if (!principal.allows('subscribe', resource)) principal.require('read', resource);
}

function resultMessage(id: number, sample: Sample<NamedOutcome>, nowMs: number, aheadMs: number): CameraResultMessage {
  const { camera: _, ...said } = namedOutcomeMessage(sample, nowMs, aheadMs);
  return { type: 'result', id, ...said };
}

function fragmentMessage(id: number, { captureTimeMs, data }: Sample<RawFragment>, aheadMs: number): Uint8Array {
  const { frame, clock, isKey, mediaTimeS, durationS, boxes = 'none', bytes } = data;
  const { epoch, seq } = frame;
  const times = { captureTimeMs: captureTimeMs + aheadMs, mediaTimeS, durationS };
  return encodeFragment({ id, epoch, seq, isKey, clock, ...times, boxes, bytes });
}
