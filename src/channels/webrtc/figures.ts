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
    read: ({ viewers }) => byState(viewers),
  },
  {
    name: 'sightline_webrtc_sessions_opened_total',
    kind: 'counter',
    help: 'Sessions of viewers by WebRTC that were opened',
    read: ({ viewers }) => viewers.opened,
  },
  {
    name: 'sightline_webrtc_sessions_ended_total',
    kind: 'counter',
    help: 'Of these, those that have ended, by cause',
    labels: ['cause'],
    read: ({ viewers }) => byCause(viewers),
  },
  {
    name: 'sightline_webrtc_frames_published_total',
    kind: 'counter',
    help: 'Frames that were there for viewers by WebRTC, counted for each viewer',
    read: ({ viewers: { frames } }) => frames.published,
  },
  {
    name: 'sightline_webrtc_frames_delivered_total',
    kind: 'counter',
    help: 'Of these, those that were handed to its connection',
    read: ({ viewers: { frames } }) => frames.delivered,
  },
  {
    name: 'sightline_webrtc_frames_skipped_total',
    kind: 'counter',
    help: 'Of these, those that a viewer was not sent, by cause',
    labels: ['cause'],
    read: ({
      viewers: {
        frames: { dropped, expired },
      },
    }) => Object.entries({ ...dropped, expired }).map(([cause, count]): Labelled => [[cause], count]),
  },
  {
    name: 'sightline_webrtc_frames_queued',
    kind: 'gauge',
    help: 'Of these, those that a viewer was not sent yet',
    read: ({ viewers: { frames } }) => frames.queued,
  },
  {
    name: 'sightline_webrtc_packets_total',
    kind: 'counter',
    help: 'Packets of pictures that were sent to viewers by WebRTC',
    read: ({ viewers: { peers } }) => peers.packets,
  },
  {
    name: 'sightline_webrtc_sent_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes in these packets, without headers',
    read: ({ viewers: { peers } }) => peers.bytes,
  },
  {
    name: 'sightline_webrtc_packets_asked_total',
    kind: 'counter',
    help: 'Packets that viewers have asked for again',
    read: ({ viewers: { peers } }) => peers.asked,
  },
  {
    name: 'sightline_webrtc_picture_losses_total',
    kind: 'counter',
    help: 'Times that a viewer could not go on without a key frame',
    read: ({ viewers: { peers } }) => peers.keysAsked,
  },
  {
    name: 'sightline_webrtc_publishers',
    kind: 'gauge',
    help: 'Publishers of cameras by WebRTC (WHIP), by the state of their connection',
    labels: ['state'],
    read: ({ publishers }) => byState(publishers),
  },
  {
    name: 'sightline_webrtc_publishers_opened_total',
    kind: 'counter',
    help: 'Sessions of publishers that were opened',
    read: ({ publishers }) => publishers.opened,
  },
  {
    name: 'sightline_webrtc_publishers_ended_total',
    kind: 'counter',
    help: 'Of these, those that have ended, by cause',
    labels: ['cause'],
    read: ({ publishers }) => byCause(publishers),
  },
  {
    name: 'sightline_webrtc_received_packets_total',
    kind: 'counter',
    help: 'Packets of pictures that have come of publishers',
    read: ({ publishers: { peers } }) => peers.packets,
  },
  {
    name: 'sightline_webrtc_received_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Bytes in these packets, without headers',
    read: ({ publishers: { peers } }) => peers.bytes,
  },
  {
    name: 'sightline_webrtc_received_packets_dropped_total',
    kind: 'counter',
    help: 'Of these packets, those for which the process of the camera had no room, or that came while there was none',
    read: ({ publishers: { peers } }) => peers.dropped,
  },
  {
    name: 'sightline_webrtc_received_packets_asked_total',
    kind: 'counter',
    help: 'Packets that publishers were asked for again',
    read: ({ publishers: { peers } }) => peers.asked,
  },
  {
    name: 'sightline_webrtc_keys_asked_total',
    kind: 'counter',
    help: 'Times that a publisher was asked for a key frame',
    read: ({ publishers: { peers } }) => peers.keysAsked,
  },
  {
    name: 'sightline_webrtc_strange_datagrams_total',
    kind: 'counter',
    help: 'Datagrams at ports of sessions that were not of their viewers or publishers; nobody read them',
    read: ({ viewers, publishers }) => viewers.peers.strangers + publishers.peers.strangers,
  },
  {
    name: 'sightline_webrtc_messages_dropped_total',
    kind: 'counter',
    help: 'Names of frames, results, and reasons of ends, for channels of data that were full',
    read: ({ viewers, publishers }) => viewers.peers.messagesDropped + publishers.peers.messagesDropped,
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

/** What viewers by WebRTC are given, and publishers give. It has no place in the document. */
export function webRtcPart(webRtc: WebRtc): Part<WebRtcFacts> {
  return part(() => webRtc.facts(), FIGURES);
}

type Sessions = WebRtcFacts['publishers'];

function byState({ connecting, connected }: Pick<Sessions, 'connecting' | 'connected'>): Labelled[] {
  return [
    [['connecting'], connecting],
    [['connected'], connected],
  ];
}

function byCause({ ended }: Pick<Sessions, 'ended'>): Labelled[] {
  return Array.from(ended, ([cause, count]): Labelled => [[cause], count]);
}
