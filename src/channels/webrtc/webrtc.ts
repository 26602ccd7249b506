import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Principal } from '../../auth/principal.ts';
import type { Clock } from '../../base/clock.ts';
import { isErrorCode } from '../../base/error-catalogue.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Refusals } from '../../fences/refusals.ts';
import type { Log } from '../../log/log.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { RawWatches } from '../../sources/camera/raw-watches.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import { channelNamed, type ChannelName } from '../channel-names.ts';
import { addressesFor, type Addresses } from './addresses.ts';
import { channelsOf, type Channel } from './channels.ts';
import { addPeerCounts, NO_PEER_COUNTS } from './messages.ts';
import { answerTo, formatFor, readFragment, readOffer, trimmedOffer, type H264Format, type Offer } from './offer.ts';
import { profileOfCodec } from './profiles.ts';
import { ViewerSession, type EndCause } from './session.ts';
import { PeerThread } from './thread.ts';

export interface WebRtcSettings {
  readonly isEnabled: boolean;
  /** Address on which the server listens, and those that it is to say instead. */
  readonly host: string;
  readonly hostCandidates: readonly string[];
  readonly ports: readonly [first: number, last: number] | undefined;
  readonly connectTimeoutMs: number;
  readonly sessionsMax: number;
  readonly sessionsPerAddressMax: number;
}

export interface WebRtcOptions {
  readonly feeds: CameraFeeds;
  readonly clock: Clock;
  readonly log: Log;
  readonly refusals: Pick<Refusals, 'count'>;
  /** By which name an address is held to its bound; undefined: others come from there, too. */
  readonly nameOfAddress: (address: string) => string | undefined;
  readonly settings: WebRtcSettings;
}

export interface Viewer {
  readonly camera: string;
  readonly channel: string;
  readonly principal: Principal;
  /** undefined: it is gone. */
  readonly address: string | undefined;
}

export interface OpenedSession {
  readonly secret: string;
  /** Of its connection, as HTTP's `ETag`. */
  readonly tag: string;
  readonly answer: string;
}

const SWEEP_INTERVAL_MS = 1_000;
/** For viewers to be told of the end. */
const LAST_WORDS_MS = 200;

/** WHEP: viewers that watch cameras by WebRTC. */
export class WebRtc {
  readonly #options: WebRtcOptions;
  readonly #sessions = new Map<number, ViewerSession>();
  readonly #bySecret = new Map<
    string,
    { readonly session: ViewerSession; readonly tag: string; readonly ufrag: string }
  >();
  readonly #ofAddress = new Map<string, number>();
  readonly #watches: RawWatches;
  readonly #channels: Readonly<Record<ChannelName, Channel>>;
  readonly #thread: PeerThread;
  readonly #forgetFeeds: () => void;
  readonly #sweep: NodeJS.Timeout;
  #lastId = 0;
  #opened = 0;
  readonly #ended = new Map<EndCause, number>();
  /** Of sessions that have ended. */
  #frames = NO_COUNTS;
  #peers = NO_PEER_COUNTS;
  #isDraining = false;
  #closing: Promise<void> | undefined;

  constructor(options: WebRtcOptions) {
    this.#options = options;
    const { clock, log, feeds } = options;
    this.#watches = new RawWatches((feed, form, error) => {
      for (const session of this.#sessions.values()) session.endEncoded(feed, form, error);
    });
    this.#channels = channelsOf(this.#watches, clock);
    this.#thread = new PeerThread({
      clock,
      log,
      onEvent: (event) => {
        const session = this.#sessions.get(event.id);
        if (session) session.onEvent(event);
        // Its last ones come when it has ended.
        else if (event.type === 'counts') this.#peers = addPeerCounts(this.#peers, event.counts);
      },
      onLost: () => this.#endAll('thread'),
    });
    this.#forgetFeeds = feeds.watchAll((id) => this.#onCameraChanged(id));
    this.#sweep = setInterval(() => this.#onSweep(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  /** `connecting` and `connected` ones. */
  get sessions(): Iterable<ViewerSession> {
    return this.#sessions.values();
  }

  facts() {
    const sessions = [...this.#sessions.values()];
    return {
      opened: this.#opened,
      ended: this.#ended,
      connected: sessions.filter(({ isConnected }) => isConnected).length,
      connecting: sessions.filter(({ isConnected }) => !isConnected).length,
      frames: sessions.reduce((sum, session) => addCounts(sum, session.counts()), this.#frames),
      peers: sessions.reduce((sum, { peerCounts }) => addPeerCounts(sum, peerCounts), this.#peers),
      thread: this.#thread.counts,
    };
  }

  /**
   * Errors: WEBRTC_OFF, SHUTTING_DOWN, CAMERA_UNKNOWN and those of a camera without a connection, NOT_FOUND, SDP_BAD, SDP_UNFIT, WEBRTC_LIMIT_REACHED, ADDRESS_LIMIT_REACHED,
   * TRANSCODE_LIMIT_REACHED, ANNOTATE_LIMIT_REACHED, WEBRTC_UNAVAILABLE.
   */
  async open(viewer: Viewer, sdp: string): Promise<OpenedSession> {
    try {
      return await this.#open(viewer, sdp);
    } catch (thrown) {
      this.#options.refusals.count('webrtc', toSightlineError(thrown).code);
      throw thrown;
    }
  }

  async #open({ camera, channel: channelName, principal, address }: Viewer, sdp: string): Promise<OpenedSession> {
    const { clock, feeds, settings, nameOfAddress } = this.#options;
    if (!settings.isEnabled) throw new SightlineError('WEBRTC_OFF', 'WebRTC is turned off: webrtc.enabled');
    if (this.#isDraining) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
    const feed = feeds.get(camera);
    const name = channelNamed(channelName);
    const offer = readOffer(sdp);
    const addressName = address === undefined ? undefined : nameOfAddress(address);
    this.#requirePlace(addressName);
    const { channel, format } = choose(this.#channels[name], { feed, principal }, offer);
    const addresses = addressesFor(settings.host, settings.hostCandidates, networkInterfaces());
    const id = ++this.#lastId;
    const session = new ViewerSession({
      id,
      clock,
      feed,
      channelName: name,
      channel,
      profile: format.profile,
      principal,
      addressName,
      send: (request) => this.#thread.send(request),
      onEnded: (ended, cause) => this.#onEnded(ended, cause),
    });
    // Its credential may have ended meanwhile.
    if (session.isOver) throw new SightlineError('CREDENTIALS_EXPIRED', 'the credential counts no more');
    this.#opened++;
    this.#sessions.set(id, session);
    if (addressName !== undefined) this.#ofAddress.set(addressName, (this.#ofAddress.get(addressName) ?? 0) + 1);
    return await this.#connect(session, { offer, format, addresses });
  }

  async #connect(
    session: ViewerSession,
    { offer, format, addresses }: { readonly offer: Offer; readonly format: H264Format; readonly addresses: Addresses },
  ): Promise<OpenedSession> {
    const { id, secret } = session;
    // Whoever has not decided leaves it to the server, which then begins.
    const role = offer.transport.setup === 'active' ? 'passive' : 'active';
    try {
      const local = await this.#thread.open({
        type: 'open',
        id,
        offer: trimmedOffer(offer, format),
        remoteUfrag: offer.transport.ufrag,
        role,
        payloadType: format.payloadType,
        playoutDelayId: offer.playoutDelayId,
        ...addresses,
        ports: this.#options.settings.ports,
      });
      if (session.isOver) throw new SightlineError('WEBRTC_UNAVAILABLE', 'the session has ended while it was made');
      session.answered();
      const tag = `"${randomBytes(9).toString('base64url')}"`;
      this.#bySecret.set(secret, { session, tag, ufrag: offer.transport.ufrag });
      return { secret, tag, answer: answerTo(offer, format, local) };
    } catch (thrown) {
      session.close('thread');
      throw thrown;
    }
  }

  /** The viewer ends it. Errors: SESSION_UNKNOWN. */
  delete(place: Pick<Viewer, 'camera' | 'channel'>, secret: string): void {
    this.#find(place, secret).session.close('deleted');
  }

  /**
   * The viewer tells further addresses of its own (RFC 8840). None of them is of use: the server sends to nobody who has not sent to it before. Errors: SESSION_UNKNOWN, IF_MATCH_MISSING, IF_MATCH_FAILED,
   * SDP_BAD; SDP_UNFIT for a restart of ICE.
   */
  patch(
    place: Pick<Viewer, 'camera' | 'channel'>,
    secret: string,
    fragment: string,
    ifMatch: string | undefined,
  ): void {
    const { tag, ufrag } = this.#find(place, secret);
    if (ifMatch === undefined) {
      throw new SightlineError('IF_MATCH_MISSING', 'the request has no If-Match: it takes the ETag of the session');
    }
    const told = readFragment(fragment);
    if (ifMatch === '*' || (told.ufrag !== undefined && told.ufrag !== ufrag)) {
      throw new SightlineError('SDP_UNFIT', 'ICE is not begun anew here: open another session');
    }
    if (ifMatch !== tag) throw new SightlineError('IF_MATCH_FAILED', `If-Match is not the ETag of the session, ${tag}`);
  }

  /** From now on there are no new sessions. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Ends all sessions. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isDraining = true;
    clearInterval(this.#sweep);
    const hadViewers = this.#sessions.size > 0;
    this.#forgetFeeds();
    this.#endAll('shutdown', new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
    this.#watches.close();
    if (hadViewers) await sleep(LAST_WORDS_MS);
    await this.#thread.close();
  }

  #requirePlace(addressName: string | undefined): void {
    const { sessionsMax, sessionsPerAddressMax } = this.#options.settings;
    if (this.#sessions.size >= sessionsMax) {
      throw new SightlineError('WEBRTC_LIMIT_REACHED', `all ${sessionsMax} sessions of WebRTC are taken`);
    }
    if (addressName !== undefined && (this.#ofAddress.get(addressName) ?? 0) >= sessionsPerAddressMax) {
      const message = `all ${sessionsPerAddressMax} sessions of WebRTC of this address are taken`;
      throw new SightlineError('ADDRESS_LIMIT_REACHED', message);
    }
  }

  #find({ camera, channel }: Pick<Viewer, 'camera' | 'channel'>, secret: string) {
    const found = this.#bySecret.get(secret);
    if (!found || found.session.camera !== camera || found.session.channelName !== channel) {
      throw new SightlineError('SESSION_UNKNOWN', 'there is no such session of WebRTC; it may have ended');
    }
    return found;
  }

  #onEnded(session: ViewerSession, cause: EndCause): void {
    const { id, secret, addressName } = session;
    this.#bySecret.delete(secret);
    if (!this.#sessions.delete(id)) return;
    this.#ended.set(cause, (this.#ended.get(cause) ?? 0) + 1);
    this.#frames = addCounts(this.#frames, session.counts());
    if (cause === 'thread') this.#peers = addPeerCounts(this.#peers, session.peerCounts);
    if (addressName === undefined) return;
    const left = this.#ofAddress.get(addressName)! - 1;
    if (left > 0) this.#ofAddress.set(addressName, left);
    else this.#ofAddress.delete(addressName);
  }

  #endAll(cause: EndCause, reason?: SightlineError): void {
    for (const session of this.#sessions.values()) session.close(cause, reason);
  }

  #onCameraChanged(id: string): void {
    for (const session of this.#sessions.values()) {
      if (session.camera === id) session.cameraChanged(this.#options.feeds);
    }
  }

  #onSweep(): void {
    const { clock, settings } = this.#options;
    const nowMs = clock.now();
    for (const session of this.#sessions.values()) session.sweep(nowMs, settings.connectTimeoutMs);
    this.#watches.sweep(nowMs);
    if (this.#sessions.size === 0) this.#thread.rest(nowMs);
  }
}

/** What it sends is known. Throws the reason of a camera without a connection, or CAMERA_NO_PICTURE. */
function requireFrames(feed: CameraFeed): void {
  const { stream, state, reason } = feed.report();
  if (stream !== null) return;
  if (state === 'off') throw new SightlineError('CAMERA_OFF', `camera ${feed.id} is turned off`);
  if (reason && isErrorCode(reason.code)) throw new SightlineError(reason.code, `camera ${feed.id}: ${reason.message}`);
  throw new SightlineError('CAMERA_NO_PICTURE', `camera ${feed.id} is ${state}: it has shown no picture yet`);
}

/** Its own frames where the viewer can play them and may see them, else those that are encoded anew. Errors: SDP_UNFIT; those of a camera that has nothing to play. */
function choose(
  channel: Channel,
  { feed, principal }: { readonly feed: CameraFeed; readonly principal: Principal },
  { formats }: Offer,
): { readonly channel: Channel; readonly format: H264Format } {
  requireFrames(feed);
  for (let one: Channel | undefined = channel; one; one = one.fallback) {
    if (!one.mayShow(feed, principal)) continue;
    const profile = profileOfCodec(one.codecString(feed));
    const format = profile && formatFor(formats, profile);
    if (format) return { channel: one, format };
  }
  const offered = [...new Set(formats.map(({ profile }) => profile))].join(', ');
  throw new SightlineError(
    'SDP_UNFIT',
    `the offer has no profile of H.264 that camera ${feed.id} can be sent by, only ${offered}`,
  );
}
