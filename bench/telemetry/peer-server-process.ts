import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { WebSocketServer, type WebSocket } from 'ws';
import { offer } from '../support/children.ts';
import { DATA_EVENT, PUBLISH_EVENT, SUBSCRIBE_EVENT } from './socket-io.ts';

/** The servers that Sightline is measured beside; each runs in a process of its own. */

const http = createServer();

const SERVERS = {
  socketio: () => {
    const server = new Server(http, { transports: ['websocket'], serveClient: false });
    server.on('connection', (socket) => {
      socket.on(SUBSCRIBE_EVENT, async (topics: string[], done: () => void) => {
        await socket.join(topics);
        done();
      });
      socket.on(PUBLISH_EVENT, (topic: string, time: number, data: unknown) =>
        server.to(topic).emit(DATA_EVENT, topic, time, data),
      );
    });
  },

  ws: () => {
    const server = new WebSocketServer({ server: http, perMessageDeflate: false });
    const subscribers = new Set<WebSocket>();
    server.on('connection', (socket, request) => {
      socket.on('error', () => undefined);
      if (request.url === '/publish') {
        socket.on('message', (bytes, isBinary) => {
          for (const subscriber of subscribers) subscriber.send(bytes, { binary: isBinary });
        });
      } else {
        subscribers.add(socket);
        socket.on('close', () => subscribers.delete(socket));
      }
    });
  },
};

const api = {
  /** Gives its port. */
  listen: async (kind: keyof typeof SERVERS): Promise<number> => {
    SERVERS[kind]();
    http.listen(0, '127.0.0.1');
    await once(http, 'listening');
    return (http.address() as AddressInfo).port;
  },
};

export type PeerServerApi = typeof api;

offer(api);
