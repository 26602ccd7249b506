import { labelled, part, seconds, type Labelled, type Part } from '../../observe/figures.ts';
import type { CameraFleet } from './fleet.ts';

/** A camera's name is a label of one figure only, and of no more than this many: the fleet may be larger. */
const CAMERAS_TOLD = 200;

type Accounts = ReturnType<CameraFleet['accounts']>;
type Told = Accounts & { readonly live: ReturnType<CameraFleet['live']> };

/** Figures of the fleet. Counters go on when a camera is removed. */
export function camerasPart(fleet: CameraFleet): Part<Told> {
  return part(
    () => ({ ...fleet.accounts(), live: fleet.live() }),
    [
      {
        name: 'sightline_cameras',
        kind: 'gauge',
        help: 'Cameras by state',
        labels: ['state'],
        read: ({ states }) => labelled(states),
      },
      {
        name: 'sightline_camera_live',
        kind: 'gauge',
        help: 'Frames come of this camera (1) or do not (0); of at most two hundred cameras',
        labels: ['camera'],
        setsMax: CAMERAS_TOLD,
        read: ({ live }) => live.map(([id, isLive]): Labelled => [[id], isLive ? 1 : 0]),
      },
      {
        name: 'sightline_camera_viewers',
        kind: 'gauge',
        help: 'Viewers of raw channels',
        read: ({ viewers }) => viewers,
      },
      {
        name: 'sightline_camera_connections_total',
        kind: 'counter',
        help: 'Times that a camera became live',
        read: ({ connections }) => connections,
      },
      {
        name: 'sightline_camera_retries_total',
        kind: 'counter',
        help: 'Further tries after a failure, by its error code',
        labels: ['code'],
        read: ({ retries }) => [...retries].map(([code, count]): Labelled => [[code], count]),
      },
      {
        name: 'sightline_camera_frames_total',
        kind: 'counter',
        help: 'Frames of cameras: received, decoded, and damaged or lost on the way',
        labels: ['what'],
        read: ({ totals: { received, decoded, damaged } }) => labelled({ received, decoded, damaged }),
      },
      {
        name: 'sightline_camera_unmasked_total',
        kind: 'counter',
        help: 'Decoded pictures that went nowhere, since the masks of their camera could not be drawn into them',
        read: ({ totals }) => totals.unmasked,
      },
      {
        name: 'sightline_camera_received_bytes_total',
        kind: 'counter',
        unit: 'bytes',
        help: 'Encoded frames that cameras have sent',
        read: ({ totals }) => totals.receivedBytes,
      },
      {
        name: 'sightline_camera_decode_seconds_total',
        kind: 'counter',
        unit: 'seconds',
        help: 'Time that processes took to decode frames',
        read: ({ totals }) => seconds(totals.decodeMs),
      },
      {
        name: 'sightline_camera_decoders',
        kind: 'gauge',
        help: 'Cameras by what decodes them: `software`, or the kind of device',
        labels: ['by'],
        read: ({ decoders }) => [...decoders].map(([by, count]): Labelled => [[by], count]),
      },
      {
        name: 'sightline_camera_decoder_faults_total',
        kind: 'counter',
        help: 'Times that a device has failed with a camera, which the software took over',
        read: ({ decoderFaults }) => decoderFaults,
      },
      {
        name: 'sightline_camera_scale_seconds_total',
        kind: 'counter',
        unit: 'seconds',
        help: 'Time that processes took to scale pictures',
        read: ({ totals }) => seconds(totals.scaleMs),
      },
      {
        name: 'sightline_camera_fragments_total',
        kind: 'counter',
        help: 'Fragments of raw channels: received from the processes, and dropped there since the pipe was full',
        labels: ['what'],
        read: ({ totals }) => labelled({ received: totals.fragments, dropped: totals.fragmentsDropped }),
      },
      {
        name: 'sightline_camera_raw_evicted_total',
        kind: 'counter',
        help: 'Fragments of raw channels that are not kept any more, by the bound that was met',
        labels: ['bound'],
        read: ({ evicted }) => labelled(evicted),
      },
      {
        name: 'sightline_camera_transcodes',
        kind: 'gauge',
        help: 'Cameras that are encoded anew as H.264, since somebody watches them who cannot play their own codec',
        read: ({ encoding }) => encoding.transcoded,
      },
      {
        name: 'sightline_camera_transcoded_total',
        kind: 'counter',
        help: 'Frames of these: encoded anew, and dropped, since there was no time or no room for them, or they could not be decoded',
        labels: ['what'],
        read: ({ totals }) => labelled({ encoded: totals.transcoded, dropped: totals.transcodedDropped }),
      },
      {
        name: 'sightline_camera_transcode_failures_total',
        kind: 'counter',
        help: 'Times that encoding a camera anew has failed, which ends the views of it that need that',
        read: ({ encodingFailures }) => encodingFailures.transcoded,
      },
      {
        name: 'sightline_camera_annotations',
        kind: 'gauge',
        help: 'Cameras on whose frames results are drawn, since somebody watches that',
        read: ({ encoding }) => encoding.annotated,
      },
      {
        name: 'sightline_camera_annotated_total',
        kind: 'counter',
        help: 'Frames of these: drawn on and encoded, and dropped, since there was no time or no room for them; those that are left out for `fleet.annotated_fps` are neither',
        labels: ['what'],
        read: ({ totals }) => labelled({ encoded: totals.annotated, dropped: totals.annotatedDropped }),
      },
      {
        name: 'sightline_camera_annotate_failures_total',
        kind: 'counter',
        help: 'Times that drawing on a camera has failed, which ends the views of its annotated channel',
        read: ({ encodingFailures }) => encodingFailures.annotated,
      },
      {
        name: 'sightline_camera_encode_seconds_total',
        kind: 'counter',
        unit: 'seconds',
        help: 'Time that processes took to encode frames anew',
        read: ({ totals }) => seconds(totals.encodeMs),
      },
      {
        name: 'sightline_camera_pictures_total',
        kind: 'counter',
        help: 'Pictures of cameras: received from the processes, dropped there since the pipe was full, and of those received the ones that no pipeline was there for',
        labels: ['what'],
        read: ({ totals, unused }) => labelled({ received: totals.pictures, dropped: totals.picturesDropped, unused }),
      },
      {
        name: 'sightline_camera_processes',
        kind: 'gauge',
        help: 'Processes that read cameras: `pool` for several, `own` for one that brought down others with it, `test` for addresses that are tried',
        labels: ['kind'],
        read: ({ processes }) => labelled(processes.processes),
      },
      {
        name: 'sightline_camera_process_starts_total',
        kind: 'counter',
        help: 'Starts of such processes',
        read: ({ processes }) => processes.starts,
      },
      {
        name: 'sightline_camera_process_ends_total',
        kind: 'counter',
        help: 'Ends of such processes, by cause; `stopped`: the server ended it',
        labels: ['cause'],
        read: ({ processes }) => labelled(processes.exits),
      },
      {
        name: 'sightline_camera_isolations_total',
        kind: 'counter',
        help: 'Cameras that brought down their process twice: whether they got one of their own',
        labels: ['outcome'],
        read: ({ processes }) => labelled(processes.isolations),
      },
      {
        name: 'sightline_camera_data_bytes_total',
        kind: 'counter',
        unit: 'bytes',
        help: 'Pictures and fragments that came from such processes',
        read: ({ processes }) => processes.dataBytes,
      },
      {
        name: 'sightline_camera_messages_stray_total',
        kind: 'counter',
        help: 'Messages and orders between the server and such processes that were of no use any more: of connections that were closed, or for a process that was gone',
        labels: ['what'],
        read: ({ processes }) => labelled({ received: processes.strays, orders: processes.ordersRefused }),
      },
    ],
  );
}
