import { columnsWs } from './columns-ws.ts';
import type { Peer } from './peer.ts';
import { plainWs } from './plain-ws.ts';
import { sightline } from './sightline.ts';
import { socketIo } from './socket-io.ts';

export const PEERS = { socketio: socketIo, ws: plainWs, columns_ws: columnsWs, sightline } as const satisfies Record<
  string,
  Peer
>;
export type PeerName = keyof typeof PEERS;
