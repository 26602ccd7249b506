import { once } from 'node:events';
import { io, type Socket } from 'socket.io-client';
import type { RoverMessage } from '../../src/load/rover-messages.ts';
import { open, shut } from './plain-ws.ts';
import type { Meter } from './meter.ts';
import type { Peer, SubscriberLink } from './peer.ts';

/** Socket.IO 4 over WebSocket alone: the publisher emits, the server emits into the topic's room. */

export const PUBLISH_EVENT = 'publish';
export const SUBSCRIBE_EVENT = 'subscribe';
export const DATA_EVENT = 'data';

export const socketIo: Peer = {
  connectPublisher: async (url, topics) => {
    const socket = await connect(url);
    return {
      publish: (topic, data, time) => void socket.emit(PUBLISH_EVENT, topics[topic]!, time, data),
      flush: () => undefined,
      backlogBytes: () => waitingBytes(socket),
      close: async () => void socket.disconnect(),
    };
  },

  connectSubscriber: async ({ url, topics, decode, firstPair, meter }) => {
    if (decode === 'read') return await connectReader(url, topics, meter);
    let received = 0;
    const pairs = new Map(topics.map((topic, i) => [topic, firstPair + i]));
    const socket = await connect(url);
    socket.io.engine.on('packet', ({ data }) => {
      // ASCII, and the packet's type in front.
      received += 1 + ((data as string | undefined)?.length ?? 0);
    });
    socket.on(DATA_EVENT, (topic: string, time: number, data: RoverMessage) =>
      meter.object(pairs.get(topic)!, time, data),
    );
    await socket.emitWithAck(SUBSCRIBE_EVENT, topics);
    return { bytes: () => received, close: async () => void socket.disconnect() };
  },
};

async function connect(url: string): Promise<Socket> {
  const socket = io(url.replace('ws:', 'http:'), { transports: ['websocket'], forceNew: true, reconnection: false });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
}

/** What waits in the client, and in the WebSocket below it. */
function waitingBytes(socket: Socket): number {
  const { writeBuffer, transport } = socket.io.engine as unknown as {
    readonly writeBuffer: readonly { readonly data?: string }[];
    readonly transport: { readonly ws?: { readonly bufferedAmount: number } };
  };
  return writeBuffer.length * 1_200 + (transport.ws?.bufferedAmount ?? 0);
}

/**
 * A subscriber that speaks Engine.IO 4 just enough to stay connected (`0` open, `2` ping, `3` pong, `40` connect, `42` event,
 * `43` acknowledgement) and parses nothing.
 */
async function connectReader(url: string, topics: readonly string[], meter: Meter): Promise<SubscriberLink> {
  const socket = await open(`${url}/socket.io/?EIO=4&transport=websocket`);
  let received = 0;
  const ready = new Promise<void>((resolve) => {
    socket.on('message', (bytes: Buffer) => {
      if (bytes[0] === 0x32) socket.send('3');
      else if (bytes[0] === 0x34 && bytes[1] === 0x32) {
        meter.read += 1;
        received += bytes.length;
      } else if (bytes[0] === 0x34 && bytes[1] === 0x33) resolve();
      else if (bytes[0] === 0x34 && bytes[1] === 0x30) socket.send(`420${JSON.stringify([SUBSCRIBE_EVENT, topics])}`);
    });
  });
  socket.send('40');
  await Promise.race([ready, once(socket, 'close').then(() => Promise.reject(new Error('Socket.IO closed a reader')))]);
  return { bytes: () => received, close: () => shut(socket) };
}
