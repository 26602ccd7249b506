import { once } from 'node:events';
import { WebSocket } from 'ws';
import { offer } from '../support/children.ts';

/** Readers that look into nothing: all that they get is counted. */

let sockets: WebSocket[] = [];
let messages = 0;
let bytes = 0;

const api = {
  /** Resolves once they are all there, and subscribed where it is Sightline. */
  connect: async ({ url, ca, count }: { url: string; ca?: string | undefined; count: number }): Promise<void> => {
    sockets = await Promise.all(
      Array.from({ length: count }, async () => {
        const socket = new WebSocket(url, url.endsWith('/ws/telemetry') ? ['sightline.v1.binary'] : [], {
          perMessageDeflate: false,
          ...(ca !== undefined && { ca }),
        });
        socket.on('message', (data: Buffer, isBinary) => {
          // What Sightline says beside data is text, or comes once.
          if (!isBinary && url.endsWith('/ws/telemetry')) return;
          messages++;
          bytes += data.length;
        });
        await once(socket, 'open');
        return socket;
      }),
    );
    if (!url.endsWith('/ws/telemetry')) return;
    const subscribe = JSON.stringify({ type: 'subscribe', id: 1, filter: 'bench/#', contract: 'all' });
    for (const socket of sockets) socket.send(subscribe);
  },

  /** Since it was asked last. */
  count: (): { readonly messages: number; readonly bytes: number } => {
    const counted = { messages, bytes };
    [messages, bytes] = [0, 0];
    return counted;
  },

  close: async (): Promise<void> => {
    const closed = Promise.all(sockets.map((socket) => once(socket, 'close')));
    for (const socket of sockets) socket.terminate();
    await closed;
    sockets = [];
  },
};

export type TlsReadersApi = typeof api;

offer(api);
