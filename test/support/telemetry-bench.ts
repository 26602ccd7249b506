import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect } from 'vitest';
import { WebSocketServer } from 'ws';
import { ANYONE } from './access.ts';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import { openFences, type Fences } from '../../src/fences/fences.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../../src/protocol/telemetry.ts';
import type { Penalties } from '../../src/fences/penalties.ts';
import { TelemetryLane, type TelemetryLaneOptions } from '../../src/sessions/telemetry/lane.ts';
import { Hub } from '../../src/stream/hub.ts';
import type { ReaderCounts } from '../../src/stream/reader.ts';
import type { Identity } from '../../src/tls/identity.ts';
import { Topics, type TopicInput } from '../../src/stream/topics.ts';

type Settings = TelemetryLaneOptions['settings'];

const SETTINGS: Settings = {
  targetLatencyMs: 50,
  batchDelayMs: 5,
  batchMessagesMax: 50,
  batchBytesMax: 262_144,
  socketBytesMax: 65_536,
  queueBytesMax: 1_000_000,
  criticalMessagesMax: 20,
  slowConsumerMs: 30_000,
  compression: 'lz4',
  compressionThresholdBytes: 512,
  nsPerByte: 80,
  rate: { messagesPerS: 100_000, bytesPerS: 100_000_000, muteMs: 5_000 },
  elementsMax: 65_536,
  messageBytesMax: 1_000_000,
  subscriptionsMax: 10,
  topicsMax: 20,
  historyMessages: 2_000,
  idleTimeoutMs: 300_000,
  resumeWindowMs: 30_000,
  sessionsMax: 100,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 10_000,
};

export interface BenchParts {
  readonly clock?: Clock;
  readonly fences?: Fences;
  /** Of the server. */
  readonly topicsMax?: number;
  readonly readersMax?: number;
  /** The lane speaks TLS. */
  readonly identity?: Identity | undefined;
}

/** The lane behind a real WebSocket server. */
export class TelemetryBench {
  readonly topics: Topics;
  readonly penalties: Penalties;
  readonly lane: TelemetryLane;
  readonly server: Server;
  readonly #isSecure: boolean;
  readonly sockets: WebSocketServer;

  constructor(settings: Partial<Settings> = {}, parts: BenchParts = {}) {
    const { clock = systemClock, fences = openFences({ clock }), topicsMax = 100, readersMax = 1_000 } = parts;
    const { identity } = parts;
    this.#isSecure = identity !== undefined;
    this.server = identity ? createSecureServer({ cert: identity.certificate, key: identity.key }) : createServer();
    const hub = new Hub({ clock, random: seededRandom(1), streamsMax: 10 * topicsMax });
    this.topics = new Topics({
      hub,
      clock,
      random: seededRandom(2),
      memory: fences.memory,
      settings: {
        topicsMax,
        historyMessages: settings.historyMessages ?? SETTINGS.historyMessages,
        historyBytesMax: 64_000_000,
        historyDepartedBytesMax: 256_000_000,
        topicIdleMs: 60_000,
        readersMax,
      },
    });
    this.penalties = fences.penalties;
    this.lane = new TelemetryLane({
      topics: this.topics,
      clock,
      fences,
      settings: { ...SETTINGS, ...settings },
    });
    this.sockets = new WebSocketServer({
      server: this.server,
      handleProtocols: (offered) => TELEMETRY_SUBPROTOCOLS.find((known) => offered.has(known)) ?? false,
    });
    this.sockets.on('connection', (socket, request) => {
      const query = new URL(request.url!, 'http://x').searchParams;
      void this.lane.open(socket, { query, address: request.socket.remoteAddress, principal: ANYONE });
    });
  }

  async start(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  url(query = ''): string {
    return `${this.#isSecure ? 'wss' : 'ws'}://127.0.0.1:${(this.server.address() as AddressInfo).port}/${query}`;
  }

  publish(topic: string, value: unknown, more: Partial<TopicInput> = {}): number {
    return this.topics.publish(topic, { payload: Payload.of(value), ...more }).seq;
  }

  session(clientId: string) {
    return this.lane.report().sessions.find((session) => session.client_id === clientId)!;
  }

  expectBalanced(): void {
    const { sessions, topics } = this.lane.report();
    for (const { accounts } of [...sessions, ...topics]) expectBalance(accounts);
  }

  async stop(): Promise<void> {
    this.expectBalanced();
    expectBalance(this.lane.accounts());
    const { published } = this.lane.accounts();
    this.lane.close();
    // Of sessions that have ended nothing is forgotten, and nothing waits.
    const ended = this.lane.accounts();
    expectBalance(ended);
    expect(ended).toMatchObject({ published, queued: 0 });
    for (const socket of this.sockets.clients) socket.terminate();
    this.server.close();
  }
}

export function expectBalance({ published, delivered, conflated, dropped, expired, queued }: ReaderCounts): void {
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(delivered + conflated + lost + expired + queued).toBe(published);
}
