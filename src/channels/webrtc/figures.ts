import { part, type Figure, type Labelled, type Part } from '../../observe/figures.ts';
import type { WebRtc } from './webrtc.ts';

type WebRtcFacts = ReturnType<WebRtc['facts']>;

/** Of frames: published = delivered + skipped (by cause) + queued, at every moment. */
const FIGURES: readonly Figure<WebRtcFacts>[] = [
  {
    name: 'sightline_webrtc_sessions',
    kind: 'gauge',
    help: 'Viewers by WebRTC, by the state of their connection',
    labels: ['state'],
    read: ({ connecting, connected }) => [
      [['connecting'], connecting],
      [['connected'], connected],
    ],
  },
  {
    name: 'sightline_webrtc_sessions_opened_total',
    kind: 'counter',
    help: 'Sessions of viewers by WebRTC that were opened',
    read: ({ opened }) => opened,
  },
  {
    name: 'sightline_webrtc_sessions_ended_total',
    kind: 'counter',
    help: 'Of these, those that have ended, by cause',
    labels: ['cause'],
    read: ({ ended }) => Array.from(ended, ([cause, count]): Labelled => [[cause], count]),
  },
  {
    name: 'sightline_webrtc_frames_published_total',
    kind: 'counter',
    help: 'Frames that were there for viewers by WebRTC, counted for each viewer',
    read: ({ frames }) => frames.published,
  },
  {
    name: 'sightline_webrtc_frames_delivered_total',
    kind: 'counter',
    help: 'Of these, those that were handed to its connection',
    read: ({ frames }) => frames.delivered,
  },
  {
    name: 'sightline_webrtc_frames_skipped_total',
    kind: 'counter',
    help: 'Of these, those that a viewer was not sent, by cause',
    labels: ['cause'],
    read: ({ frames: { dropped, expired } }) =>
      Object.entries({ ...dropped, expired }).map(([cause, count]): Labelled => [[cause], count]),
  },
  {
    name: 'sightline_webrtc_frames_queued',
    kind: 'gauge',
    help: 'Of these, those that a viewer was not sent yet',
    read: ({ frames }) => frames.queued,
  },
  {
    name: 'sightline_webrtc_packets_total',
    kind: 'counter',
    help: 'Packets of pictures that were sent to viewers by WebRTC',
    read: ({ peers }) => peers.packets,
  },
  {
    name: 'sightline_webrtc_sent_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes in these packets, without headers',
    read: ({ peers }) => peers.bytes,
  },
  {
    name: 'sightline_webrtc_packets_asked_total',
    kind: 'counter',
    help: 'Packets that viewers have asked for again',
    read: ({ peers }) => peers.asked,
  },
  {
    name: 'sightline_webrtc_picture_losses_total',
    kind: 'counter',
    help: 'Times that a viewer could not go on without a key frame',
    read: ({ peers }) => peers.pictureLosses,
  },
  {
    name: 'sightline_webrtc_strange_datagrams_total',
    kind: 'counter',
    help: 'Datagrams at ports of sessions that were not of their viewers; nobody read them',
    read: ({ peers }) => peers.strangers,
  },
  {
    name: 'sightline_webrtc_messages_dropped_total',
    kind: 'counter',
    help: 'Names of frames, and results, for channels of data that were full',
    read: ({ peers }) => peers.messagesDropped,
  },
  {
    name: 'sightline_webrtc_faults_total',
    kind: 'counter',
    help: 'Faults in the thread for WebRTC: `lost`, all sessions have ended with it; `survived`, none has',
    labels: ['outcome'],
    read: ({ thread: { losses, faults } }) => [
      [['lost'], losses],
      [['survived'], faults],
    ],
  },
];

/** What viewers by WebRTC are given. It has no place in the document. */
export function webRtcPart(webRtc: WebRtc): Part<WebRtcFacts> {
  return part(() => webRtc.facts(), FIGURES);
}
