import type { ChannelForm, NamedOutcome, RawFragment, RawInit } from '../../base/camera-frame.ts';
import { wallAheadMs } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Sample } from '../../base/sample.ts';
import { parameterSetsOfTrack } from '../../media/fmp4.ts';
import { readSps } from '../../media/sps.ts';
import { namedOutcomeMessage } from '../../protocol/outcome-message.ts';
import type { WebRtcFrameMessage, WebRtcResultMessage } from '../../protocol/webrtc.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { RawCursor } from '../../sources/camera/raw-cursor.ts';
import { ResultCursor } from '../../sources/camera/result-cursor.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import type { Channel } from './channels.ts';
import type { PeerEvent } from './messages.ts';
import { PeerSession, type SessionParts } from './peer-session.ts';
import { distanceOf, profileOfCodec, type Profile } from './profiles.ts';
import { catchUpTimeS, RtpClock, type Place } from './rtp-clock.ts';

export interface ViewerParts extends SessionParts {
  readonly channelName: string;
  readonly channel: Channel;
  /** Of H.264, as it was agreed on. */
  readonly profile: Profile;
}

/** What waits for a viewer for longer is left out, up to the newest key frame. */
const BUDGET_MS = 1_000;
/** Frames that are with the thread, and their bytes; one always goes. */
const FLIGHT_FRAMES_MAX = 64;
const FLIGHT_BYTES_MAX = 1_048_576;

/** One viewer of one camera. Its frames wait in the camera's stream; it has a place in that, and gives the thread no more than it takes. */
export class ViewerSession extends PeerSession {
  readonly #parts: ViewerParts;
  readonly #stamps = new RtpClock();
  #channel: Channel;
  #cursor: RawCursor | undefined;
  #results: ResultCursor | undefined;
  /** Of cursors that were closed. */
  #left: ReaderCounts = NO_COUNTS;
  /** Those that were there when it began. */
  #catchUp: { readonly head: number; readonly place: Place } | undefined;
  #init: RawInit | undefined;
  #sets: readonly Uint8Array[] = [];
  #lastShown: { readonly epoch: number; readonly mediaTimeS: number } | undefined;
  #flightFrames = 0;
  #flightBytes = 0;

  /** Errors: TRANSCODE_LIMIT_REACHED. */
  constructor(parts: ViewerParts) {
    super(parts);
    this.#parts = parts;
    this.#channel = parts.channel;
    parts.channel.begin(parts.feed);
    this.begin();
  }

  get channelName(): string {
    return this.#parts.channelName;
  }

  /** Of frames: published = delivered + dropped (by cause) + queued. */
  counts(): ReaderCounts {
    return this.#cursor ? addCounts(this.#left, this.#cursor.counts()) : this.#left;
  }

  /** Once a second. */
  override sweep(nowMs: number, connectTimeoutMs: number): void {
    super.sweep(nowMs, connectTimeoutMs);
    this.#cursor?.catchUp(nowMs);
    this.#results?.catchUp(nowMs);
  }

  /** It was removed, or another one has its name, or it has got masks that the viewer is to see. */
  override cameraChanged(feeds: Pick<CameraFeeds, 'all'>): void {
    const { feed, principal } = this.#parts;
    if (!feeds.all().includes(feed)) this.#onCameraGone();
    else if (!this.#channel.mayShow(feed, principal)) this.#fallBack();
  }

  /** The camera is encoded in that form no more. */
  endEncoded(feed: CameraFeed, form: ChannelForm, error: SightlineError): void {
    if (feed === this.#parts.feed && this.#channel.form === form) this.close('codec', error);
  }

  /** From the newest key frame on. */
  protected override onConnected(): void {
    this.#follow();
  }

  protected override onNews(event: Exclude<PeerEvent, { readonly type: 'over' | 'counts' | 'connected' }>): void {
    switch (event.type) {
      case 'channel':
        return event.label === 'results' ? this.#openResults() : undefined;
      case 'sent':
        this.#flightFrames--;
        this.#flightBytes -= event.bytes;
        return this.#pump();
      case 'lost_picture':
        // The camera cannot be asked for one.
        return this.#cursor?.needKey();
    }
  }

  protected override onClosed(): void {
    this.#leaveChannel();
    this.#results?.close();
    this.#channel.end(this.#parts.feed);
  }

  #follow(): void {
    const stream = this.#channel.streamOf(this.#parts.feed);
    const newest = stream.at(stream.head - 1)?.data;
    const { head } = stream;
    this.#catchUp = newest && {
      head,
      place: { newest: { epoch: newest.frame.epoch, mediaTimeS: newest.mediaTimeS }, behind: 0 },
    };
    this.#init = undefined;
    this.#lastShown = undefined;
    try {
      this.#cursor = new RawCursor(stream, {
        budgetMs: BUDGET_MS,
        openedMs: this.#parts.clock.now(),
        onReady: () => this.#pump(),
        onEnding: () => this.#onCameraGone(),
      });
    } catch (thrown) {
      return this.close('camera', toSightlineError(thrown));
    }
    this.#pump();
  }

  #leaveChannel(): void {
    this.#cursor?.close();
    this.#left = this.counts();
    this.#cursor = undefined;
  }

  #pump(): void {
    const { clock } = this.#parts;
    while (this.#cursor && this.#hasRoom) {
      const taken = this.#cursor.take(clock.now());
      if (taken === undefined) return;
      if (!this.#isPlayable(taken.sample.data)) return this.#fallBack();
      this.#sendFrame(taken.sample);
    }
  }

  get #hasRoom(): boolean {
    return this.#flightFrames === 0 || (this.#flightFrames < FLIGHT_FRAMES_MAX && this.#flightBytes < FLIGHT_BYTES_MAX);
  }

  /** False: it is of another profile than was agreed on, or its frames are not shown in the order in which they are decoded, which RTP has no way to say to a browser. */
  #isPlayable({ init, frame: { epoch }, mediaTimeS }: RawFragment): boolean {
    if (init !== this.#init) {
      const profile = profileOfCodec(init.codecString);
      if (profile === undefined || distanceOf(profile, this.#parts.profile) === undefined) return false;
      const { sps, pps } = parameterSetsOfTrack(init.bytes);
      if ((readSps('h264', sps[0]!).reorderedFrames ?? 0) > 0) return false;
      this.#init = init;
      this.#sets = [...sps, ...pps];
    }
    const last = this.#lastShown;
    if (last?.epoch === epoch && mediaTimeS <= last.mediaTimeS) return false;
    this.#lastShown = { epoch, mediaTimeS };
    return true;
  }

  /** It is encoded anew, if it is not yet, and if there is a place for that. */
  #fallBack(): void {
    const { feed } = this.#parts;
    const { fallback } = this.#channel;
    this.#leaveChannel();
    if (!fallback) {
      const message = `camera ${feed.id} has changed to a form of H.264 that was not agreed on: begin a new session`;
      return this.close('codec', new SightlineError('SDP_UNFIT', message));
    }
    try {
      fallback.begin(feed);
    } catch (thrown) {
      return this.close('codec', toSightlineError(thrown));
    }
    this.#channel.end(feed);
    this.#channel = fallback;
    if (this.isConnected) this.#follow();
  }

  #sendFrame(sample: Sample<RawFragment>): void {
    const { clock, id, send } = this.#parts;
    const { frame, clock: captureClock, isKey, mediaTimeS, bytes, init, boxes = 'none' } = sample.data;
    const { camera, epoch, seq } = frame;
    const stamp = this.#stamps.stampOf({ epoch, mediaTimeS: this.#timeOf(sample) }, sample.publishedTimeMs);
    const name: WebRtcFrameMessage = {
      type: 'frame',
      camera,
      epoch,
      seq,
      capture_time: sample.captureTimeMs + wallAheadMs(clock),
      clock: captureClock,
      media_time_s: mediaTimeS,
      transcoded: init.isTranscoded,
      boxes,
      rtp_timestamp: stamp,
    };
    this.#flightFrames++;
    this.#flightBytes += bytes.length;
    send({ type: 'frame', id, stamp, bytes, sets: isKey ? this.#sets : [], name: JSON.stringify(name) });
  }

  #timeOf({ position, data }: Sample<RawFragment>): number {
    const { frame, mediaTimeS } = data;
    const catchUp = this.#catchUp;
    if (!catchUp || position >= catchUp.head) return mediaTimeS;
    const place = { ...catchUp.place, behind: catchUp.head - 1 - position };
    return catchUpTimeS({ epoch: frame.epoch, mediaTimeS }, place);
  }

  /** The viewer has asked for them. */
  #openResults(): void {
    if (!this.isConnected || this.#results) return;
    const { feed, clock } = this.#parts;
    try {
      this.#results = new ResultCursor(feed.results, {
        budgetMs: BUDGET_MS,
        openedMs: clock.now(),
        onReady: () => this.#sendResults(),
        onEnding: () => this.#onCameraGone(),
      });
    } catch (thrown) {
      return this.close('camera', toSightlineError(thrown));
    }
    this.#sendResults();
  }

  #sendResults(): void {
    const { id, clock, send } = this.#parts;
    for (;;) {
      const sample: Sample<NamedOutcome> | undefined = this.#results?.take(clock.now())?.sample;
      if (sample === undefined) return;
      const message: WebRtcResultMessage = {
        type: 'result',
        ...namedOutcomeMessage(sample, clock.now(), wallAheadMs(clock)),
      };
      send({ type: 'text', id, label: 'results', text: JSON.stringify(message) });
    }
  }

  #onCameraGone(): void {
    this.close('camera', new SightlineError('CAMERA_UNKNOWN', `camera "${this.camera}" was removed`));
  }
}
