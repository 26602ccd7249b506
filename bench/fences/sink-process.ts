import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { offer } from '../support/children.ts';
import { openSink } from './sink.ts';

const api = {
  /** Gives the port. */
  listen: async (): Promise<number> => {
    const server = openSink().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
};

export type SinkApi = typeof api;

offer(api);
