import {
  attachPlayer,
  type CameraPlayer,
  type CameraResult,
  type CamerasSession,
  type CameraView,
  type CaptureClock,
  type FrameName,
  type PlayerStateChange,
  type ShownFrame,
} from 'sightline/client/cameras';
import { BoxMemory, isSame, type Drawn } from './boxes.ts';
import { paint } from './draw.ts';
import { WhepPlayer, type WhepFault } from './whep-player.ts';

/** Of so many fragments it is remembered when they came. */
const ARRIVALS_MAX = 300;
/** A picture of the element is this frame's where their times differ by less, seconds: both are whole microseconds, and by WebRTC the first frames a millisecond apart. */
const SAME_TIME_S = 0.00001;

/** A frame on the screen. */
export interface Seen {
  readonly frame: FrameName;
  readonly captureTimeMs: number;
  readonly latencyMs: number;
  /** Whose clock its capture time is from; undefined: not known. */
  readonly clock: CaptureClock | undefined;
  /** From its arrival in this page until it can be seen; undefined: not known. */
  readonly inPageMs: number | undefined;
  readonly width: number;
  readonly height: number;
  readonly drawn: Drawn<CameraResult>;
  /** What the server has drawn on it. */
  readonly boxes: ShownFrame['boxes'];
  /** Its picture, as long as the call lasts; undefined: the element has gone on already. */
  readonly picture: CanvasImageSource | undefined;
}

export interface LivePictureOptions {
  readonly session: CamerasSession;
  readonly camera: string;
  /** Default: the camera's own frames; `annotated`: the server has drawn on them. */
  readonly channel?: 'raw' | 'annotated';
  /** By which its frames come. Default: the session's own connection, into Media Source Extensions. */
  readonly way?: 'socket' | 'webrtc';
  /** Nothing is found in it. Default: false. */
  readonly isBare?: boolean;
  /** Gets the `<video>`, and above it a canvas. */
  readonly stage: HTMLElement;
  readonly onSeen?: (seen: Seen) => void;
  readonly onState?: (change: PlayerStateChange) => void;
  /** There is no picture by WebRTC, and none will come. */
  readonly onFault?: (fault: WhepFault) => void;
  /** Also called before the first frame. */
  readonly onView?: (view: CameraView) => void;
}

/**
 * The raw channel of a camera, with boxes. A frame that has results is drawn on the canvas together with them, as one picture, so that no box can be seen on
 * another frame than its own; all other frames are those of the `<video>`, with the last boxes dashed.
 */
export class LivePicture {
  readonly video = document.createElement('video');
  readonly canvas = document.createElement('canvas');
  readonly view: CameraView;
  readonly #player: CameraPlayer | WhepPlayer;
  readonly #options: LivePictureOptions;
  readonly #memory = new BoxMemory<CameraResult>();
  readonly #arrivals = new Map<string, { readonly atMs: number; readonly clock: CaptureClock }>();
  #shown: ShownFrame | undefined;
  showsOlder = true;

  constructor(options: LivePictureOptions) {
    this.#options = options;
    const { session, camera, channel = 'raw', way = 'socket', isBare = false, stage, onView } = options;
    this.video.tabIndex = -1;
    this.canvas.setAttribute('aria-hidden', 'true');
    stage.append(this.video, this.canvas);
    this.view = session.open(camera, { channel, raw: way === 'socket', results: !isBare });
    this.#player = way === 'socket' ? this.#playFragments() : this.#playWebRtc();
    this.view.on('result', (result) => this.#onResult(result));
    onView?.(this.view);
  }

  /** The server encodes it anew for this browser. */
  get isConverted(): boolean {
    const { view } = this;
    const player = this.#player;
    const isTranscoded = player instanceof WhepPlayer ? player.isTranscoded : view.init?.isTranscoded === true;
    return view.channel === 'raw' && isTranscoded;
  }

  get isByWebRtc(): boolean {
    return this.#player instanceof WhepPlayer;
  }

  get player(): CameraPlayer | WhepPlayer {
    return this.#player;
  }

  close(): void {
    this.#player.close();
    this.view.close();
    this.video.remove();
    this.canvas.remove();
  }

  #playFragments(): CameraPlayer {
    this.view.on('fragment', ({ frame, clock }) => this.#onArrival(frame, clock, performance.now()));
    const player = attachPlayer(this.view, this.video);
    player.on('frame', (shown) => this.#onShown(shown));
    player.on('state', (change) => this.#options.onState?.(change));
    // It may have known that from the beginning, and said so to nobody.
    if (player.state === 'unsupported') setTimeout(() => this.#options.onState?.({ state: 'unsupported' }));
    return player;
  }

  #playWebRtc(): WhepPlayer {
    return new WhepPlayer(this.view, this.video, {
      onFrame: (shown, isLate) => this.#onShown(shown, isLate),
      onArrival: (name, atMs) => this.#onArrival(name, name.clock, atMs),
      onState: (change) => this.#options.onState?.(change),
      onFault: (fault) => this.#options.onFault?.(fault),
    });
  }

  #onArrival(frame: FrameName, clock: CaptureClock, atMs: number): void {
    this.#arrivals.set(keyOf(frame), { atMs, clock });
    if (this.#arrivals.size > ARRIVALS_MAX) this.#arrivals.delete(this.#arrivals.keys().next().value!);
  }

  #onResult(result: CameraResult): void {
    if (result.result.outcome === 'result') this.#memory.add(result);
    // The frame may be on the screen still: its boxes come onto it.
    if (this.#shown && isSame(this.#shown.frame, result.frame)) this.#onShown(this.#shown);
  }

  /** `isLate`: it is on the screen for a while; the element may show another one by now. */
  #onShown(shown: ShownFrame, isLate = false): void {
    const isNew = shown !== this.#shown;
    this.#shown = shown;
    const { frame, captureTimeMs, latencyMs, width, height } = shown;
    const { boxes } = shown;
    // They are in the picture already.
    const drawn = this.view.channel === 'annotated' ? { own: [], older: [] } : this.#memory.at(frame, captureTimeMs);
    const picture = pictureOf(this.video, shown.mediaTimeS, isLate);
    const { canvas, showsOlder } = this;
    const hasOwn = paint(canvas, { width, height, drawn, picture, isWhole: false, showsOlder });
    // What can be held against the picture.
    canvas.dataset['frame'] = hasOwn ? `${frame.epoch}/${frame.seq}` : '';
    const arrival = this.#arrivals.get(keyOf(frame));
    const clock = arrival?.clock;
    const inPageMs = arrival === undefined || !isNew ? undefined : performance.now() - arrival.atMs;
    this.#options.onSeen?.({ frame, captureTimeMs, latencyMs, clock, inPageMs, width, height, drawn, boxes, picture });
    if (picture !== this.video) (picture as VideoFrame | undefined)?.close();
  }
}

/**
 * The frame that the element shows, if it is that of this time: it may have gone on. Browsers have `VideoFrame` only on pages from this machine or over HTTPS;
 * elsewhere the element itself has to do, right after its callback for the frame.
 */
function pictureOf(
  video: HTMLVideoElement,
  mediaTimeS: number,
  isLate: boolean,
): VideoFrame | HTMLVideoElement | undefined {
  if (typeof VideoFrame === 'undefined') return isLate ? undefined : video;
  let picture: VideoFrame;
  try {
    picture = new VideoFrame(video);
  } catch {
    return undefined;
  }
  if (Math.abs(picture.timestamp / 1e6 - mediaTimeS) < SAME_TIME_S) return picture;
  picture.close();
  return undefined;
}

function keyOf({ epoch, seq }: FrameName): string {
  return `${epoch} ${seq}`;
}
