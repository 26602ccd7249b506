import { WebSocket } from 'ws';
import { offer } from '../support/children.ts';
import { connectSdk, connectWs, PacedSession, type ConnectBare, type Job, type PeerName, type Ran } from './peers.ts';

/** One session in a Node process of its own. */

let session: PacedSession | undefined;
let pictures: readonly Uint8Array<ArrayBuffer>[] = [];

const api = {
  prepare: (given: readonly Uint8Array<ArrayBuffer>[]): void => {
    pictures = given;
  },

  open: async ({ peer, url }: { peer: PeerName; url: string }): Promise<void> => {
    session = await PacedSession.open(pictures, (listener) =>
      peer === 'sdk' ? connectSdk({ url }, listener) : connectWs(bareSocket(url), listener),
    );
  },

  run: (job: Job): Promise<Ran> => session!.run(job),

  close: async (): Promise<void> => {
    await session?.close();
    session = undefined;
  },
};

function bareSocket(url: string): ConnectBare {
  return (onText) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/video`);
    socket.on('message', (data: Buffer) => onText(String(data)));
    return socket;
  };
}

export type SessionApi = typeof api;

offer(api);
