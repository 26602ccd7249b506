import type { Principal } from '../../auth/principal.ts';
import type { RawFragment } from '../../base/camera-frame.ts';
import type { Clock } from '../../base/clock.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import { maySeeUnmasked } from '../../sources/camera/masked.ts';
import type { RawWatches } from '../../sources/camera/raw-watches.ts';
import type { Stream } from '../../stream/stream.ts';

/** What can be watched of a camera: a stream of frames that come while somebody has asked for them. */
export interface Channel {
  readonly isTranscoded: boolean;
  /** Of what comes, as far as it is known before (RFC 6381); null: it is not known, or no form of H.264. */
  codecString(feed: CameraFeed): string | null;
  streamOf(feed: CameraFeed): Stream<RawFragment>;
  /** False: its frames have not the masks of the camera, and this viewer may not see it without. */
  mayShow(feed: CameraFeed, viewer: Principal): boolean;
  /** Errors: TRANSCODE_LIMIT_REACHED. */
  begin(feed: CameraFeed): void;
  end(feed: CameraFeed): void;
  /** In whose place it comes to a viewer that cannot play it; undefined: there is none. */
  readonly fallback: Channel | undefined;
}

/** Of what the server encodes itself. */
const ENCODED = 'avc1.42c01f';

/** By the names in addresses. */
export function channelsOf(watches: RawWatches, clock: Clock): Readonly<Record<'raw', Channel>> {
  const transcoded: Channel = {
    isTranscoded: true,
    codecString: () => ENCODED,
    streamOf: (feed) => feed.transcoded,
    mayShow: () => true,
    begin: (feed) => watches.begin(feed, true),
    end: (feed) => watches.end(feed, true, clock.now()),
    fallback: undefined,
  };
  const raw: Channel = {
    isTranscoded: false,
    codecString: (feed) => feed.report().stream?.codec_string ?? null,
    streamOf: (feed) => feed.raw,
    mayShow: maySeeUnmasked,
    begin: (feed) => watches.begin(feed, false),
    end: (feed) => watches.end(feed, false, clock.now()),
    fallback: transcoded,
  };
  return { raw };
}
