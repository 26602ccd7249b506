import { labelled, part, type Part } from '../../observe/figures.ts';
import type { HlsChannels } from './channels.ts';

type Accounts = ReturnType<HlsChannels['accounts']>;

/** What players of HLS make the server do. At every moment: frames received = in parts + left out + in hand. */
export function hlsPart(hls: HlsChannels): Part<Accounts> {
  return part(
    () => hls.accounts(),
    [
      {
        name: 'sightline_hls_channels',
        kind: 'gauge',
        help: 'Channels of cameras that somebody plays by HLS',
        read: ({ open }) => open,
      },
      {
        name: 'sightline_hls_channels_opened_total',
        kind: 'counter',
        help: 'Times that such a channel was opened',
        read: ({ opened }) => opened,
      },
      {
        name: 'sightline_hls_frames_total',
        kind: 'counter',
        help: 'Frames that came for these channels: in a part, or left out, since frames were missing before them',
        labels: ['what'],
        read: ({ taken, leftOut }) => labelled({ taken, left_out: leftOut }),
      },
      {
        name: 'sightline_hls_frames_in_hand',
        kind: 'gauge',
        help: 'Frames of parts that are not whole yet',
        read: ({ inHand }) => inHand,
      },
      {
        name: 'sightline_hls_made_total',
        kind: 'counter',
        help: 'What was made: parts, segments, gaps (segments that were lost), discontinuities (of the time of the frames)',
        labels: ['what'],
        read: ({ parts, segments, gaps, discontinuities }) => labelled({ parts, segments, gaps, discontinuities }),
      },
      {
        name: 'sightline_hls_kept_bytes',
        kind: 'gauge',
        unit: 'bytes',
        help: 'Segments that are kept, of all channels',
        read: ({ bytes }) => bytes,
      },
      {
        name: 'sightline_hls_segments_evicted_total',
        kind: 'counter',
        help: 'Segments that are not kept any more, by the bound that was met: their age, the bytes of their channel, those of all',
        labels: ['bound'],
        read: ({ evicted }) => labelled(evicted),
      },
      {
        name: 'sightline_hls_requests_waiting',
        kind: 'gauge',
        help: 'Requests that wait for what is to come',
        read: ({ waits }) => waits.waiting,
      },
      {
        name: 'sightline_hls_waits_failed_total',
        kind: 'counter',
        help: 'Requests that waited in vain (timeout), or for which there was no place (refused)',
        labels: ['cause'],
        read: ({ waits }) => labelled({ timeout: waits.timedOut, refused: waits.refused }),
      },
    ],
  );
}
