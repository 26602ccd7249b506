import type { WebSocket } from 'ws';
import { TELEMETRY_SUBPROTOCOLS } from '../protocol/telemetry.ts';
import { FoxgloveLane } from './foxglove.ts';
import type { TelemetryLane } from './telemetry.ts';
import type { VideoLane } from './video.ts';

/** Where a lane takes over sockets, as the server mounts it. */
export interface LaneSocket {
  readonly path: string;
  /** Of those that a client offers the first that stands here is agreed on; not given: the client's first one. */
  readonly protocols?: readonly string[];
  readonly open: (socket: WebSocket, query: URLSearchParams) => void;
}

export interface Lanes {
  readonly video: VideoLane;
  readonly telemetry: TelemetryLane;
  readonly foxglove: FoxgloveLane;
}

export function laneSockets({ video, telemetry, foxglove }: Lanes): LaneSocket[] {
  return [
    ...['/ws/video', '/stream/detection'].map((path) => ({
      path,
      open: (socket: WebSocket, query: URLSearchParams) => void video.open(socket, query),
    })),
    {
      path: '/ws/telemetry',
      protocols: TELEMETRY_SUBPROTOCOLS,
      open: (socket, query) => void telemetry.open(socket, query),
    },
    {
      path: '/ws/foxglove',
      protocols: FoxgloveLane.subprotocols,
      open: (socket, query) => void foxglove.open(socket, query),
    },
  ];
}
