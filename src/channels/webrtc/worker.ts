import { parentPort } from 'node:worker_threads';
import type { OpenPeer, PeerNews, PeerRequest } from './messages.ts';
import { Peer } from './peer.ts';

/**
 * The thread for WebRTC: connections, encryption and packets of all viewers. What they send is read here and nowhere else, so that whatever it does to the libraries ends their sessions, and not the server.
 */

const COUNTS_INTERVAL_MS = 1_000;

const peers = new Map<number, Peer>();
/** Ports are looked for by one at a time, so that no two take the same. */
let opening: Promise<void> = Promise.resolve();

parentPort!.on('message', (request: PeerRequest) => {
  const peer = peers.get(request.id);
  switch (request.type) {
    case 'open': {
      const begun = new Peer(request, tell);
      peers.set(request.id, begun);
      opening = opening.then(() => open(begun, request));
      return;
    }
    case 'frame':
      return peer?.frame(request);
    case 'text':
      return peer?.text(request.label, request.text);
    case 'close':
      if (peer) void end(peer, request.last);
  }
});

// Of the libraries' timers and sockets; of whose session is not known.
process.on('uncaughtException', (error) => tell({ type: 'fault', reason: error.message }));
process.on('unhandledRejection', (reason) => tell({ type: 'fault', reason: String(reason) }));

setInterval(() => {
  for (const { id, counts } of peers.values()) tell({ type: 'counts', id, counts });
}, COUNTS_INTERVAL_MS);

async function open(peer: Peer, request: OpenPeer): Promise<void> {
  const { id } = request;
  // It was closed before its turn came.
  if (peers.get(id) !== peer) return;
  try {
    tell({ type: 'opened', id, local: await peer.open(request) });
  } catch (thrown) {
    tell({ type: 'refused', id, reason: (thrown as Error).message });
    await end(peer);
  }
}

async function end(peer: Peer, last?: string): Promise<void> {
  peers.delete(peer.id);
  tell({ type: 'counts', id: peer.id, counts: peer.counts });
  await peer.close(last);
}

function tell(news: PeerNews): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window
  parentPort!.postMessage(news);
}
