import { parentPort } from 'node:worker_threads';
import type { OpenPeer, PeerNews, PeerRequest } from './messages.ts';
import { PublisherPeer } from './publisher-peer.ts';
import { ViewerPeer } from './viewer-peer.ts';

/**
 * The thread for WebRTC: connections, encryption and packets of all viewers and publishers. What they send is read here and nowhere else but in the process of a camera, so that whatever it does to the
 * libraries ends their sessions, and not the server.
 */

type Peer = ViewerPeer | PublisherPeer;

const COUNTS_INTERVAL_MS = 1_000;

const peers = new Map<number, Peer>();
/** Ports are looked for by one at a time, so that no two take the same. */
let opening: Promise<void> = Promise.resolve();

parentPort!.on('message', (request: PeerRequest) => {
  const peer = peers.get(request.id);
  switch (request.type) {
    case 'open': {
      const begun = peerOf(request);
      peers.set(request.id, begun);
      opening = opening.then(() => open(begun));
      return;
    }
    case 'frame':
      return peer instanceof ViewerPeer ? peer.frame(request) : undefined;
    case 'text':
      return peer instanceof ViewerPeer ? peer.text(request.label, request.text) : undefined;
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

function peerOf(request: OpenPeer): Peer {
  return request.kind === 'viewer' ? new ViewerPeer(request, tell) : new PublisherPeer(request, tell);
}

async function open(peer: Peer): Promise<void> {
  const { id } = peer;
  // It was closed before its turn came.
  if (peers.get(id) !== peer) return;
  try {
    tell({ type: 'opened', id, local: await peer.open() });
  } catch (thrown) {
    tell({ type: 'refused', id, reason: (thrown as Error).message });
    await end(peer);
  }
}

async function end(peer: Peer, last?: string): Promise<void> {
  peers.delete(peer.id);
  tell({ type: 'counts', id: peer.id, counts: peer.counts });
  try {
    await peer.close(last);
  } finally {
    tell({ type: 'ended', id: peer.id });
  }
}

function tell(news: PeerNews): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window
  parentPort!.postMessage(news);
}
