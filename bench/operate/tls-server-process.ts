import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { openServer } from '../../src/app.ts';
import { seededRandom } from '../../src/base/random.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { offer } from '../support/children.ts';

/** A server in a process of its own that publishes to whoever has connected, and tells what that took of its main thread. */

export interface ServerChoice {
  readonly kind: 'sightline' | 'ws';
  /** A certificate with its key, in files; not given: no TLS. */
  readonly files?: { readonly certificate: string; readonly key: string } | undefined;
  readonly folder: string;
}

export interface Sending {
  /** In one go, every so often. */
  readonly messages: number;
  readonly everyMs: number;
  readonly spanMs: number;
  /** Of a WebSocket message of bare `ws`, as large as Sightline's. */
  readonly bytes: number;
}

export interface Sent {
  /** Of the main thread. */
  readonly cpuUs: number;
  /** Goes. */
  readonly rounds: number;
  /** Connections of Sightline that are written to together. */
  readonly grouped: number;
}

interface Target {
  readonly port: number;
  send(messages: number, bytes: number): void;
  grouped(): number;
}

let target: Target;

async function openSightline({ files, folder }: ServerChoice): Promise<Target> {
  const config = loadConfig({
    env: {},
    flags: {
      'server.port': 0,
      'models.cache_dir': folder,
      'auth.loopback': 'open',
      'server.tls.cert_file': files?.certificate,
      'server.tls.key_file': files?.key,
    },
  });
  const app = await openServer({ config });
  const random = seededRandom(1);
  return {
    port: Number(new URL(app.url).port),
    send: (messages) => {
      for (let i = 0; i < messages; i++) {
        const value = { x: random(), y: random(), heading: random(), speed: random(), battery: random() };
        app.topics.publish('bench/pose', { payload: Payload.of(value) });
      }
    },
    grouped: () => app.metrics().telemetry.fanout_members,
  };
}

async function openWs({ files }: ServerChoice): Promise<Target> {
  const http = files
    ? createSecureServer({ cert: readFileSync(files.certificate), key: readFileSync(files.key) })
    : createServer();
  const sockets = new WebSocketServer({ server: http, perMessageDeflate: false });
  await once(http.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (http.address() as AddressInfo).port,
    send: (_messages, bytes) => {
      const message = Buffer.alloc(bytes, 'x');
      for (const socket of sockets.clients) socket.send(message);
    },
    grouped: () => 0,
  };
}

const api = {
  open: async (choice: ServerChoice): Promise<number> => {
    target = await (choice.kind === 'ws' ? openWs(choice) : openSightline(choice));
    return target.port;
  },

  send: async ({ messages, everyMs, spanMs, bytes }: Sending): Promise<Sent> => {
    const before = process.threadCpuUsage();
    const startMs = performance.now();
    let rounds = 0;
    await new Promise<void>((done) => {
      const go = (): void => {
        const nowMs = performance.now() - startMs;
        if (nowMs >= spanMs) return done();
        target.send(messages, bytes);
        rounds++;
        // One that was late is not made up for: two goes at once would be one batch.
        setTimeout(go, everyMs);
      };
      go();
    });
    const { user, system } = process.threadCpuUsage(before);
    return { cpuUs: user + system, rounds, grouped: target.grouped() };
  },
};

export type TlsServerApi = typeof api;

offer(api);
