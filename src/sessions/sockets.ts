import type { WebSocket } from 'ws';
import { TELEMETRY_SUBPROTOCOLS } from '../protocol/telemetry.ts';
import type { CamerasLane } from './cameras/lane.ts';
import { FoxgloveLane } from './foxglove.ts';
import type { OpeningRequest } from './session-socket.ts';
import type { TelemetryLane } from './telemetry/lane.ts';
import type { VideoLane } from './video.ts';

/** Where a lane takes over sockets, as the server mounts it. */
export interface LaneSocket {
  readonly path: string;
  /** One line for people. */
  readonly summary: string;
  /** Permissions, one of which the caller needs to open the socket. */
  readonly permissions: readonly { readonly action: 'publish' | 'subscribe' | 'read'; readonly resource: string }[];
  /** The server agrees on the first of these that a client offers; not given: the client's first one. */
  readonly protocols?: readonly string[];
  readonly open: (socket: WebSocket, request: OpeningRequest) => void;
}

interface Lanes {
  readonly video: VideoLane;
  readonly telemetry: TelemetryLane;
  readonly foxglove: FoxgloveLane;
  readonly cameras: CamerasLane;
}

const TOPICS: LaneSocket['permissions'] = [
  { action: 'subscribe', resource: 'topics/:topic' },
  { action: 'publish', resource: 'topics/:topic' },
];

export function laneSockets({ video, telemetry, foxglove, cameras }: Lanes): LaneSocket[] {
  return [
    ...['/ws/video', '/stream/detection'].map((path): LaneSocket => ({
      path,
      summary: 'a video session: JPEG frames in, results out',
      permissions: [{ action: 'publish', resource: 'sessions/:client_id' }],
      open: (socket, request) => void video.open(socket, request),
    })),
    {
      path: '/ws/telemetry',
      summary: 'topics, to publish and to subscribe to',
      permissions: TOPICS,
      protocols: TELEMETRY_SUBPROTOCOLS,
      open: (socket, request) => void telemetry.open(socket, request),
    },
    {
      path: '/ws/foxglove',
      summary: 'the same topics by Foxglove’s protocol',
      permissions: TOPICS,
      protocols: FoxgloveLane.subprotocols,
      open: (socket, request) => void foxglove.open(socket, request),
    },
    camerasSocket(cameras),
  ];
}

function camerasSocket(lane: CamerasLane): LaneSocket {
  return {
    path: '/ws/cameras',
    summary: 'any number of cameras: their own packets as fragmented MP4, results and states',
    permissions: [
      { action: 'subscribe', resource: 'cameras/:camera' },
      { action: 'read', resource: 'cameras/:camera' },
    ],
    open: (socket, request) => void lane.open(socket, request),
  };
}
