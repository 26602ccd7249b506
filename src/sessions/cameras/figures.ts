import type { ChannelForm } from '../../base/camera-frame.ts';
import { part, type Figure, type Labelled, type Part } from '../../observe/figures.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import type { CamerasCounts } from './accounts.ts';
import type { CamerasLane } from './lane.ts';

interface CamerasFacts {
  readonly counts: CamerasCounts;
  readonly sessions: number;
  readonly views: number;
  readonly channels: Readonly<Record<ChannelForm, number>>;
}

function byChannel(of: (counts: ReaderCounts) => number): Figure<CamerasFacts>['read'] {
  return ({ counts: { raw, annotated, results } }) => [
    [['raw'], of(raw)],
    [['annotated'], of(annotated)],
    [['results'], of(results)],
  ];
}

/** published = delivered + skipped (by cause) + queued, at every moment and for each channel. */
const FIGURES: readonly Figure<CamerasFacts>[] = [
  {
    name: 'sightline_camera_views_published_total',
    kind: 'counter',
    help: 'Fragments, and outcomes of frames, that were there for views of cameras, counted for each view',
    labels: ['channel'],
    read: byChannel(({ published }) => published),
  },
  {
    name: 'sightline_camera_views_delivered_total',
    kind: 'counter',
    help: 'Of these, those that were handed to the socket of the view',
    labels: ['channel'],
    read: byChannel(({ delivered }) => delivered),
  },
  {
    name: 'sightline_camera_views_skipped_total',
    kind: 'counter',
    help: 'Of these, those that a view was not sent, by cause',
    labels: ['channel', 'cause'],
    read: ({ counts }) =>
      (['raw', 'annotated', 'results'] as const).flatMap((channel) =>
        Object.entries({ ...counts[channel].dropped, expired: counts[channel].expired }).map(
          ([cause, count]): Labelled => [[channel, cause], count],
        ),
      ),
  },
  {
    name: 'sightline_camera_views_queued',
    kind: 'gauge',
    help: 'Of these, those that a view was not sent yet',
    labels: ['channel'],
    read: byChannel(({ queued }) => queued),
  },
  {
    name: 'sightline_camera_view_gaps_total',
    kind: 'counter',
    help: 'Gaps that views were told, by cause',
    labels: ['cause'],
    read: ({ counts }) => Object.entries(counts.gaps).map(([cause, count]): Labelled => [[cause], count]),
  },
  {
    name: 'sightline_camera_views_opened_total',
    kind: 'counter',
    help: 'Views of cameras that were opened',
    read: ({ counts }) => counts.opened,
  },
  {
    name: 'sightline_camera_views_sent_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes of messages that were handed to the sockets of views',
    read: ({ counts }) => counts.sentBytes,
  },
  {
    name: 'sightline_camera_views',
    kind: 'gauge',
    help: 'Views of cameras that are open',
    read: ({ views }) => views,
  },
  {
    name: 'sightline_camera_view_connections',
    kind: 'gauge',
    help: 'Connections of clients that watch cameras',
    read: ({ sessions }) => sessions,
  },
  {
    name: 'sightline_camera_raw_channels',
    kind: 'gauge',
    help: 'Cameras whose frames somebody watches: in their own codec (own), encoded anew (transcoded), or with results drawn on them (annotated)',
    labels: ['form'],
    read: ({ channels: { raw, transcoded, annotated } }) => [
      [['own'], raw],
      [['transcoded'], transcoded],
      [['annotated'], annotated],
    ],
  },
];

/** What the cameras' lane measures. It has no place in the document. */
export function camerasLanePart(lane: CamerasLane): Part<CamerasFacts> {
  return part(
    () => ({
      counts: lane.counts(),
      sessions: lane.connected,
      views: lane.views,
      channels: lane.channels(),
    }),
    FIGURES,
  );
}
