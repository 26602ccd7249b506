import { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import { notPublished, PublisherSession } from './publisher-session.ts';
import { SessionBook, type Offerer, type OpenedSession, type SharedOptions } from './session-book.ts';
import { stateFault } from './state-fault.ts';

type Place = Pick<Offerer, 'camera'>;

/** WHIP (RFC 9725): publishers that are cameras, by WebRTC. */
export class Publishers {
  /** `connecting` and `connected` ones. */
  readonly sessions: SessionBook<PublisherSession>;
  readonly #log: SharedOptions['log'];

  constructor(options: SharedOptions) {
    const { log, settings } = options;
    this.#log = log;
    this.sessions = new SessionBook<PublisherSession>({
      ...options,
      direction: 'recvonly',
      sessionsMax: settings.publishersMax,
    });
  }

  /** Errors: those of `SessionBook.open`, CAMERA_NOT_PUBLISHED, CAMERA_TAKEN, and those of a camera that is not read. */
  open(publisher: Offerer, sdp: string): Promise<OpenedSession> {
    return this.sessions.open(publisher, sdp, (feed, offer) => ({
      // The other end's own choice: whatever it sends can be decoded here.
      format: offer.formats[0]!,
      parts: { kind: 'publisher', inlet: this.#inletOf(feed) },
      make: (parts) => new PublisherSession(parts, this.#log),
    }));
  }

  /** The publisher ends it. Errors: SESSION_UNKNOWN. */
  delete(place: Place, secret: string): void {
    this.#find(place, secret).session.close('deleted');
  }

  /** Errors: SESSION_UNKNOWN, and those of `SessionBook.patch`. */
  patch(place: Place, secret: string, fragment: string, ifMatch: string | undefined): void {
    this.sessions.patch(this.#find(place, secret), fragment, ifMatch);
  }

  #find({ camera }: Place, secret: string) {
    return this.sessions.find(secret, (session) => session.camera === camera);
  }

  /** Where the packets of its publisher go. Throws why there can be none now. */
  #inletOf(feed: CameraFeed): string {
    const { id, inlet } = feed;
    if (inlet === undefined) throw notPublished(id);
    const { state } = feed.standing();
    if (state === 'off' || state === 'failed' || state === 'backing_off') throw stateFault(feed);
    for (const { camera } of this.sessions) {
      if (camera === id) throw new SightlineError('CAMERA_TAKEN', `somebody else publishes to camera ${id} already`);
    }
    return inlet;
  }
}
