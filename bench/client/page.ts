import { connectSdk, connectWs, PacedSession, type ConnectBare, type Job, type PeerName, type Ran } from './peers.ts';

/** One session in a page; the benchmark calls these functions from outside. */

let session: PacedSession | undefined;
let pictures: readonly Uint8Array<ArrayBuffer>[] = [];

const api = {
  prepare: async (count: number): Promise<void> => {
    const fetched = Array.from({ length: count }, async (_, i) => (await fetch(`picture-${i}.jpg`)).arrayBuffer());
    pictures = (await Promise.all(fetched)).map((bytes) => new Uint8Array(bytes));
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
    socket.addEventListener('message', ({ data }) => onText(data as string));
    return socket;
  };
}

export type PageApi = typeof api;

Object.assign(globalThis, api);
