import { randomBytes } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import type { Principal } from '../../auth/principal.ts';
import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Refusals } from '../../fences/refusals.ts';
import type { Log } from '../../log/log.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { addressesFor } from './addresses.ts';
import { addPeerCounts, NO_PEER_COUNTS, type PeerEvent, type PeerParts } from './messages.ts';
import {
  answerTo,
  readFragment,
  readOffer,
  trimmedOffer,
  type Direction,
  type H264Format,
  type Offer,
} from './offer.ts';
import type { EndCause, PeerSession, SessionParts } from './peer-session.ts';
import type { PeerThread } from './thread.ts';

export interface WebRtcSettings {
  readonly isEnabled: boolean;
  /** Address on which the server listens, and those that it is to say instead. */
  readonly host: string;
  readonly hostCandidates: readonly string[];
  readonly ports: readonly [first: number, last: number] | undefined;
  readonly connectTimeoutMs: number;
  /** Of viewers, of publishers, and of one address of either. */
  readonly sessionsMax: number;
  readonly publishersMax: number;
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

/** Who offers a connection, and for which camera. */
export interface Offerer {
  readonly camera: string;
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

/** What is made of an offer. */
export interface Chosen<S> {
  readonly format: H264Format;
  readonly parts: PeerParts;
  readonly make: (parts: SessionParts) => S;
}

/** Chooses what may be had of a camera for an offer. Throws why that is nothing. */
export type Choose<S> = (feed: CameraFeed, offer: Offer) => Chosen<S>;

/** What both books share. */
export interface SharedOptions extends WebRtcOptions {
  readonly thread: PeerThread;
  /** By which the thread knows a session. */
  readonly nextId: () => number;
}

interface BookOptions<S> extends SharedOptions {
  readonly direction: Direction;
  readonly sessionsMax: number;
  readonly onEnded?: (session: S) => void;
}

interface Answered<S> {
  readonly session: S;
  readonly tag: string;
  readonly ufrag: string;
}

/** Sessions of one kind, all viewers or all publishers: their places, their secrets, their counts. */
export class SessionBook<S extends PeerSession> {
  readonly #options: BookOptions<S>;
  readonly #sessions = new Map<number, S>();
  readonly #bySecret = new Map<string, Answered<S>>();
  readonly #ofAddress = new Map<string, number>();
  /** Those that have ended, and whose last counts come yet. */
  readonly #leaving = new Set<number>();
  readonly #ended = new Map<EndCause, number>();
  #opened = 0;
  /** Of sessions that have ended. */
  #peers = NO_PEER_COUNTS;
  #isDraining = false;

  constructor(options: BookOptions<S>) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  [Symbol.iterator](): Iterator<S> {
    return this.#sessions.values();
  }

  facts() {
    const sessions = [...this];
    return {
      opened: this.#opened,
      ended: this.#ended,
      connected: sessions.filter(({ isConnected }) => isConnected).length,
      connecting: sessions.filter(({ isConnected }) => !isConnected).length,
      peers: sessions.reduce((sum, { peerCounts }) => addPeerCounts(sum, peerCounts), this.#peers),
    };
  }

  /**
   * Errors: WEBRTC_OFF, SHUTTING_DOWN, CAMERA_UNKNOWN, SDP_BAD, SDP_UNFIT, WEBRTC_LIMIT_REACHED, ADDRESS_LIMIT_REACHED, WEBRTC_UNAVAILABLE, and those of `choose`.
   */
  async open(offerer: Offerer, sdp: string, choose: Choose<S>): Promise<OpenedSession> {
    try {
      return await this.#open(offerer, sdp, choose);
    } catch (thrown) {
      this.#options.refusals.count('webrtc', toSightlineError(thrown).code);
      throw thrown;
    }
  }

  /** The one with this secret that is `ours`. Errors: SESSION_UNKNOWN. */
  find(secret: string, isOurs: (session: S) => boolean): Answered<S> {
    const found = this.#bySecret.get(secret);
    if (found && isOurs(found.session)) return found;
    throw new SightlineError('SESSION_UNKNOWN', 'there is no such session of WebRTC; it may have ended');
  }

  /**
   * The other end tells further addresses of its own (RFC 8840). None of them is of use: the server sends to nobody who has not sent to it before. Errors: IF_MATCH_MISSING, IF_MATCH_FAILED, SDP_BAD;
   * SDP_UNFIT for a restart of ICE.
   */
  patch({ tag, ufrag }: Answered<S>, fragment: string, ifMatch: string | undefined): void {
    if (ifMatch === undefined) {
      throw new SightlineError('IF_MATCH_MISSING', 'the request has no If-Match: it takes the ETag of the session');
    }
    const told = readFragment(fragment);
    if (ifMatch === '*' || (told.ufrag !== undefined && told.ufrag !== ufrag)) {
      throw new SightlineError('SDP_UNFIT', 'ICE is not begun anew here: open another session');
    }
    if (ifMatch !== tag) throw new SightlineError('IF_MATCH_FAILED', `If-Match is not the ETag of the session, ${tag}`);
  }

  /** Of the thread. False: it is of no session of these. */
  onEvent(event: PeerEvent): boolean {
    const session = this.#sessions.get(event.id);
    if (session) session.onEvent(event);
    else if (event.type === 'counts' && this.#leaving.delete(event.id)) {
      this.#peers = addPeerCounts(this.#peers, event.counts);
    } else return false;
    return true;
  }

  cameraChanged(id: string): void {
    for (const session of this) if (session.camera === id) session.cameraChanged(this.#options.feeds);
  }

  /** Once a second. */
  sweep(nowMs: number): void {
    for (const session of this) session.sweep(nowMs, this.#options.settings.connectTimeoutMs);
  }

  /** From now on there are no new sessions. */
  drain(): void {
    this.#isDraining = true;
  }

  endAll(cause: EndCause, reason?: SightlineError): void {
    for (const session of this) session.close(cause, reason);
    // Nothing comes of a thread that is gone.
    if (cause === 'thread') this.#leaving.clear();
  }

  async #open({ camera, principal, address }: Offerer, sdp: string, choose: Choose<S>): Promise<OpenedSession> {
    const { clock, feeds, settings, nameOfAddress, direction, nextId, thread } = this.#options;
    if (!settings.isEnabled) throw new SightlineError('WEBRTC_OFF', 'WebRTC is turned off: webrtc.enabled');
    if (this.#isDraining) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
    const feed = feeds.get(camera);
    const offer = readOffer(sdp, direction);
    const addressName = address === undefined ? undefined : nameOfAddress(address);
    this.#requirePlace(addressName);
    const { format, parts, make } = choose(feed, offer);
    const id = nextId();
    const session = make({
      id,
      clock,
      feed,
      principal,
      addressName,
      send: (request) => thread.send(request),
      onEnded: (ended, cause) => this.#onEnded(ended, cause),
    });
    // Its credential may have ended meanwhile.
    if (session.isOver) throw new SightlineError('CREDENTIALS_EXPIRED', 'the credential counts no more');
    this.#opened++;
    this.#sessions.set(id, session);
    if (addressName !== undefined) this.#ofAddress.set(addressName, (this.#ofAddress.get(addressName) ?? 0) + 1);
    return await this.#connect(session, offer, { format, parts });
  }

  async #connect(
    session: S,
    offer: Offer,
    { format, parts }: Pick<Chosen<S>, 'format' | 'parts'>,
  ): Promise<OpenedSession> {
    const { thread, settings } = this.#options;
    const { id, secret } = session;
    const { ufrag, setup } = offer.transport;
    try {
      const local = await thread.open({
        type: 'open',
        id,
        offer: trimmedOffer(offer, format),
        remoteUfrag: ufrag,
        // Whoever has not decided leaves it to the server, which then begins.
        role: setup === 'active' ? 'passive' : 'active',
        ...addressesFor(settings.host, settings.hostCandidates, networkInterfaces()),
        ports: settings.ports,
        ...parts,
      });
      if (session.isOver) throw new SightlineError('WEBRTC_UNAVAILABLE', 'the session has ended while it was made');
      session.answered();
      const tag = `"${randomBytes(9).toString('base64url')}"`;
      this.#bySecret.set(secret, { session, tag, ufrag });
      return { secret, tag, answer: answerTo(offer, format, local) };
    } catch (thrown) {
      session.close('thread');
      throw thrown;
    }
  }

  #requirePlace(addressName: string | undefined): void {
    const { sessionsMax, settings, direction } = this.#options;
    const { sessionsPerAddressMax } = settings;
    const whose = `${direction === 'sendonly' ? 'viewers' : 'publishers'} by WebRTC`;
    if (this.#sessions.size >= sessionsMax) {
      throw new SightlineError('WEBRTC_LIMIT_REACHED', `all ${sessionsMax} places for ${whose} are taken`);
    }
    if (addressName !== undefined && (this.#ofAddress.get(addressName) ?? 0) >= sessionsPerAddressMax) {
      const message = `all ${sessionsPerAddressMax} places for ${whose} of this address are taken`;
      throw new SightlineError('ADDRESS_LIMIT_REACHED', message);
    }
  }

  #onEnded(id: number, cause: EndCause): void {
    const session = this.#sessions.get(id);
    if (!session) return;
    const { secret, addressName, peerCounts } = session;
    this.#sessions.delete(id);
    this.#bySecret.delete(secret);
    this.#ended.set(cause, (this.#ended.get(cause) ?? 0) + 1);
    if (cause === 'thread') this.#peers = addPeerCounts(this.#peers, peerCounts);
    else this.#leaving.add(id);
    this.#options.onEnded?.(session);
    if (addressName === undefined) return;
    const left = this.#ofAddress.get(addressName)! - 1;
    if (left > 0) this.#ofAddress.set(addressName, left);
    else this.#ofAddress.delete(addressName);
  }
}
