import type { CameraView, PlayerStateChange, ShownFrame } from 'sightline/client/cameras';
import { unixNow } from './lane.ts';
import { RecentTimes, StampedNames, type StampedName } from './stamped-names.ts';

/** From the answer to the connection, and from that to the first picture. */
const PATIENCE_MS = 10_000;
/** A line that is silent for so long is lost: the browser itself waits for half a minute. */
const LOST_MS = 6_000;
/** Who comes late gets the frames since the last key frame at once: their delays say nothing of the line. */
const CATCH_UP_MS = 1_000;
/** A browser that tells no timestamp of so many pictures tells none. */
const STAMPLESS_MAX = 3;

/** Why there is no picture by WebRTC; `code` is the server's, where it has said so. */
export interface WhepFault {
  readonly code: string | undefined;
  readonly message: string;
}

export interface WhepEvents {
  /** `isLate`: its name came when it was on the screen already. */
  readonly onFrame: (shown: ShownFrame, isLate: boolean) => void;
  readonly onState: (change: PlayerStateChange) => void;
  /** Before its first frame, too. The player is closed then. */
  readonly onFault: (fault: WhepFault) => void;
  /** A frame that is about to be told: when it came into the page, by `performance.now`. */
  readonly onArrival: (name: StampedName, atMs: number) => void;
}

/** Plays a camera in a `<video>` by WebRTC (WHEP), each frame with its name. The view, which need not have its frames, stays its caller's. */
export class WhepPlayer {
  readonly #view: CameraView;
  readonly #video: HTMLVideoElement;
  readonly #events: WhepEvents;
  readonly #names = new StampedNames();
  readonly #latencies = new RecentTimes();
  readonly #unwatch: () => void;
  readonly #onLeave = (): void => this.close();
  #connection: RTCPeerConnection | undefined;
  /** Of the session. */
  #address: string | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #frames = 0;
  #stampless = 0;
  #callback = 0;
  /** The picture on the screen, and since when, by `performance.now`. */
  #shown: Shown | undefined;
  #firstMs = Infinity;
  #isTranscoded = false;
  #isClosed = false;

  constructor(view: CameraView, video: HTMLVideoElement, events: WhepEvents) {
    this.#view = view;
    this.#video = video;
    this.#events = events;
    video.muted = true;
    video.playsInline = true;
    this.#unwatch = view.on('state', () => this.#begin());
    globalThis.addEventListener('pagehide', this.#onLeave);
    // Whoever has made it hears of what is wrong.
    setTimeout(() => this.#begin());
  }

  /** The server encodes the camera's frames anew. */
  get isTranscoded(): boolean {
    return this.#isTranscoded;
  }

  metrics() {
    const { count } = this.#latencies;
    const [p50, p95] = [this.#latencies.percentile(0.5), this.#latencies.percentile(0.95)];
    return { shown: this.#frames, unnamed: this.#names.unnamed, latencyMs: { p50, p95, count } };
  }

  /** Leaves the element empty. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unwatch();
    globalThis.removeEventListener('pagehide', this.#onLeave);
    clearTimeout(this.#deadline);
    this.#video.cancelVideoFrameCallback?.(this.#callback);
    this.#video.srcObject = null;
    void this.#leave();
  }

  /** A camera that is away has nothing to offer yet. */
  #begin(): void {
    if (this.#isClosed || this.#connection || this.#view.state?.state !== 'live') return;
    if (typeof RTCPeerConnection === 'undefined') return this.#fail('this browser has no WebRTC');
    if (!this.#video.requestVideoFrameCallback) return this.#fail('this browser does not tell which frame it shows');
    const connection = new RTCPeerConnection();
    this.#connection = connection;
    void this.#connect(connection).catch((thrown: unknown) => this.#fail((thrown as Error).message));
  }

  async #connect(connection: RTCPeerConnection): Promise<void> {
    connection.addTransceiver('video', { direction: 'recvonly' });
    const names = connection.createDataChannel('frames');
    names.addEventListener('message', ({ data }) =>
      this.#onMessage(JSON.parse(data as string) as StampedName | EndMessage),
    );
    names.addEventListener('close', () => this.#ended('the server has ended it'));
    connection.addEventListener('track', ({ track }) => this.#show(new MediaStream([track])));
    connection.addEventListener('connectionstatechange', () => this.#onConnection(connection.connectionState));
    await connection.setLocalDescription(await connection.createOffer());
    const { sdp } = connection.localDescription!;
    if (!/^a=rtpmap:\d+ H264\//m.test(sdp)) return this.#fail('this browser takes no H.264 by WebRTC');
    const { camera, channel } = this.#view;
    const response = await fetch(`whep/${encodeURIComponent(camera)}/${channel}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/sdp' },
      body: sdp,
    });
    const answer = await response.text();
    if (response.status !== 201) return this.#refused(response.status, answer);
    const location = response.headers.get('Location');
    if (location !== null) this.#address = new URL(location, response.url).href;
    if (this.#isClosed) return this.#leave();
    this.#expect(`no connection came about within ${PATIENCE_MS / 1000} s: does UDP get through to the server?`);
    await connection.setRemoteDescription({ type: 'answer', sdp: answer });
  }

  #show(stream: MediaStream): void {
    const video = this.#video;
    video.srcObject = stream;
    const onFrame = (nowMs: number, metadata: VideoFrameCallbackMetadata): void => {
      this.#callback = video.requestVideoFrameCallback(onFrame);
      this.#onShown({ metadata, atMs: Math.max(nowMs, metadata.expectedDisplayTime) });
    };
    this.#callback = video.requestVideoFrameCallback(onFrame);
    video.play().catch((thrown: Error) => {
      if (thrown.name === 'NotAllowedError') this.#events.onState({ state: 'blocked', reason: thrown.message });
    });
  }

  #onConnection(state: RTCPeerConnectionState): void {
    if (this.#isClosed) return;
    if (state === 'failed') this.#fail('the connection is lost: does UDP get through to the server?');
    if (state === 'disconnected') this.#expect('the connection is lost', LOST_MS);
    if (state !== 'connected') return;
    if (this.#frames > 0) clearTimeout(this.#deadline);
    else this.#expect(`it is connected, and no picture came within ${PATIENCE_MS / 1000} s`);
  }

  #onMessage(message: StampedName | EndMessage): void {
    if (this.#isClosed) return;
    if (message.type === 'end') return this.#ended(message.message, message.code);
    if (message.type !== 'frame') return;
    if (this.#names.note(message)) this.#tell(message, this.#shown!, true);
  }

  #onShown(shown: Shown): void {
    if (this.#frames++ === 0) {
      this.#firstMs = shown.atMs;
      clearTimeout(this.#deadline);
      this.#events.onState({ state: 'playing' });
    }
    this.#shown = shown;
    const { rtpTimestamp } = shown.metadata;
    if (rtpTimestamp === undefined) {
      if (++this.#stampless >= STAMPLESS_MAX) this.#fail('this browser does not tell which frame it shows');
      return;
    }
    const name = this.#names.shown(rtpTimestamp);
    if (name) this.#tell(name, shown, false);
  }

  #tell(name: StampedName, { metadata, atMs }: Shown, isLate: boolean): void {
    const { mediaTime: mediaTimeS, receiveTime, width, height } = metadata;
    const { camera, epoch, seq, capture_time: serverMs, transcoded, boxes } = name;
    this.#isTranscoded = transcoded;
    if (receiveTime !== undefined) this.#events.onArrival(name, receiveTime);
    const nowMs = unixNow();
    const aheadMs = this.#view.toServerTimeMs(nowMs) - nowMs;
    const latencyMs = performance.timeOrigin + atMs + aheadMs - serverMs;
    if (atMs - this.#firstMs > CATCH_UP_MS) this.#latencies.note(latencyMs);
    const shown = { frame: { camera, epoch, seq }, captureTimeMs: serverMs - aheadMs, latencyMs, mediaTimeS };
    this.#events.onFrame({ ...shown, width, height, boxes, results: [] }, isLate);
  }

  #expect(otherwise: string, withinMs = PATIENCE_MS): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#fail(otherwise), withinMs);
  }

  #refused(status: number, answer: string): void {
    const { code, message = `the server answers with status ${status}` } = errorOf(answer);
    this.#fail(message, code);
  }

  #fail(message: string, code?: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#events.onFault({ code, message });
  }

  /** The session first: with the connection it ends by itself, and is not there any more. */
  async #leave(): Promise<void> {
    const address = this.#address;
    this.#address = undefined;
    // It may be the last thing that this page does.
    if (address !== undefined) await fetch(address, { method: 'DELETE', keepalive: true }).catch(() => undefined);
    this.#connection?.close();
  }

  /** The server has ended the session. */
  #ended(message: string, code?: string): void {
    this.#address = undefined;
    this.#fail(message, code);
  }
}

interface Shown {
  readonly metadata: VideoFrameCallbackMetadata;
  readonly atMs: number;
}

interface EndMessage {
  readonly type: 'end';
  readonly code: string;
  readonly message: string;
}

function errorOf(text: string): { readonly code?: string; readonly message?: string } {
  try {
    return (JSON.parse(text) as { error?: { code: string; message: string } }).error ?? {};
  } catch {
    return {};
  }
}
