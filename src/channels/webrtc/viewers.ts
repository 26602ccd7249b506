import type { Principal } from '../../auth/principal.ts';
import { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import { RawWatches } from '../../sources/camera/raw-watches.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import { channelNamed, type ChannelName } from '../channel-names.ts';
import { channelsOf, type Channel } from './channels.ts';
import { formatFor, type H264Format, type Offer } from './offer.ts';
import { profileOfCodec } from './profiles.ts';
import { SessionBook, type Offerer, type OpenedSession, type SharedOptions } from './session-book.ts';
import { stateFault } from './state-fault.ts';
import { ViewerSession } from './viewer-session.ts';

export interface Viewer extends Offerer {
  readonly channel: string;
}

type Place = Pick<Viewer, 'camera' | 'channel'>;

/** WHEP: viewers that watch cameras by WebRTC. */
export class Viewers {
  /** `connecting` and `connected` ones. */
  readonly sessions: SessionBook<ViewerSession>;
  readonly #watches: RawWatches;
  readonly #channels: Readonly<Record<ChannelName, Channel>>;
  /** Of sessions that have ended. */
  #frames = NO_COUNTS;

  constructor(options: SharedOptions) {
    const { clock, settings } = options;
    this.#watches = new RawWatches((feed, form, error) => {
      for (const session of this.sessions) session.endEncoded(feed, form, error);
    });
    this.#channels = channelsOf(this.#watches, clock);
    this.sessions = new SessionBook<ViewerSession>({
      ...options,
      direction: 'sendonly',
      sessionsMax: settings.sessionsMax,
      onEnded: (session) => {
        this.#frames = addCounts(this.#frames, session.counts());
      },
    });
  }

  facts() {
    const frames = [...this.sessions].reduce((sum, session) => addCounts(sum, session.counts()), this.#frames);
    return { ...this.sessions.facts(), frames };
  }

  /** Errors: those of `SessionBook.open` and of a camera without a connection, NOT_FOUND, TRANSCODE_LIMIT_REACHED, ANNOTATE_LIMIT_REACHED. */
  open(viewer: Viewer, sdp: string): Promise<OpenedSession> {
    const { principal } = viewer;
    return this.sessions.open(viewer, sdp, (feed, offer) => {
      const channelName = channelNamed(viewer.channel);
      const { channel, format } = choose(this.#channels[channelName], { feed, principal }, offer);
      const { profile } = format;
      return {
        format,
        parts: { kind: 'viewer', playoutDelayId: offer.playoutDelayId },
        make: (parts) => new ViewerSession({ ...parts, channelName, channel, profile }),
      };
    });
  }

  /** The viewer ends it. Errors: SESSION_UNKNOWN. */
  delete(place: Place, secret: string): void {
    this.#find(place, secret).session.close('deleted');
  }

  /** Errors: SESSION_UNKNOWN, and those of `SessionBook.patch`. */
  patch(place: Place, secret: string, fragment: string, ifMatch: string | undefined): void {
    this.sessions.patch(this.#find(place, secret), fragment, ifMatch);
  }

  /** Once a second. */
  sweep(nowMs: number): void {
    this.sessions.sweep(nowMs);
    this.#watches.sweep(nowMs);
  }

  /** When there is no session any more. */
  close(): void {
    this.#watches.close();
  }

  #find({ camera, channel }: Place, secret: string) {
    return this.sessions.find(secret, (session) => session.camera === camera && session.channelName === channel);
  }
}

/** Its own frames where the viewer can play them and may see them, else those that are encoded anew. Errors: SDP_UNFIT; those of a camera that has nothing to play. */
function choose(
  channel: Channel,
  { feed, principal }: { readonly feed: CameraFeed; readonly principal: Principal },
  { formats }: Offer,
): { readonly channel: Channel; readonly format: H264Format } {
  // What it sends has to be known.
  if (feed.standing().stream === null) throw stateFault(feed);
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
