import type { Principal } from '../../auth/principal.ts';
import type { ChannelForm, RawFragment } from '../../base/camera-frame.ts';
import type { Clock } from '../../base/clock.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import { maySeeUnmasked } from '../../sources/camera/masked.ts';
import type { RawWatches } from '../../sources/camera/raw-watches.ts';
import type { Stream } from '../../stream/stream.ts';
import type { ChannelName } from '../channel-names.ts';

/** What can be watched of a camera: a stream of frames that come while somebody has asked for them. */
export interface Channel {
  readonly form: ChannelForm;
  /** Of what comes, as far as it is known before (RFC 6381); null: it is not known, or no form of H.264. */
  codecString(feed: CameraFeed): string | null;
  streamOf(feed: CameraFeed): Stream<RawFragment>;
  /** False: its frames have not the masks of the camera, and this viewer may not see it without. */
  mayShow(feed: CameraFeed, viewer: Principal): boolean;
  /** Errors: TRANSCODE_LIMIT_REACHED, ANNOTATE_LIMIT_REACHED. */
  begin(feed: CameraFeed): void;
  end(feed: CameraFeed): void;
  /** In whose place it comes to a viewer that cannot play it; undefined: there is none. */
  readonly fallback: Channel | undefined;
}

/** Of what the server encodes itself. */
const ENCODED = 'avc1.42c01f';

/** By the names in addresses. */
export function channelsOf(watches: RawWatches, clock: Clock): Readonly<Record<ChannelName, Channel>> {
  const common = (form: ChannelForm) => ({
    form,
    streamOf: (feed: CameraFeed) => feed[form],
    begin: (feed: CameraFeed) => watches.begin(feed, form),
    end: (feed: CameraFeed) => watches.end(feed, form, clock.now()),
  });
  const encoded = (form: ChannelForm): Channel => ({
    ...common(form),
    codecString: () => ENCODED,
    mayShow: () => true,
    fallback: undefined,
  });
  const raw: Channel = {
    ...common('raw'),
    codecString: (feed) => feed.standing().stream?.codec_string ?? null,
    mayShow: maySeeUnmasked,
    fallback: encoded('transcoded'),
  };
  return { raw, annotated: encoded('annotated') };
}
