import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { RoverMessage } from '../../src/load/rover-messages.ts';
import type { Peer } from './peer.ts';

/** Plain `ws` with JSON: the server hands every message of the publisher on as it is, and looks into none. */

interface WireMessage {
  readonly topic: string;
  readonly time: number;
  readonly data: RoverMessage;
}

export const plainWs: Peer = {
  connectPublisher: async (url, topics) => {
    const socket = await open(`${url}/publish`);
    return {
      publish: (topic, data, time) =>
        socket.send(JSON.stringify({ topic: topics[topic]!, time, data } satisfies WireMessage)),
      flush: () => undefined,
      backlogBytes: () => socket.bufferedAmount,
      close: () => shut(socket),
    };
  },

  connectSubscriber: async ({ url, topics, decode, firstPair, meter }) => {
    const pairs = new Map(topics.map((topic, i) => [topic, firstPair + i]));
    const socket = await open(`${url}/subscribe`);
    let received = 0;
    socket.on('message', (bytes: Buffer) => {
      received += bytes.length;
      if (decode === 'read') {
        meter.read += 1;
        return;
      }
      const { topic, time, data } = JSON.parse(bytes.toString()) as WireMessage;
      meter.object(pairs.get(topic)!, time, data);
    });
    return { bytes: () => received, close: () => shut(socket) };
  },
};

export async function open(url: string, protocol?: string): Promise<WebSocket> {
  const socket = new WebSocket(url, protocol === undefined ? [] : [protocol], { perMessageDeflate: false });
  await once(socket, 'open');
  // A lost connection shows in what is missing.
  socket.on('error', () => undefined);
  return socket;
}

export async function shut(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return;
  const closed = once(socket, 'close');
  socket.close();
  await closed;
}
