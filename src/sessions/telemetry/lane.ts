import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { toSightlineError } from '../../base/errors.ts';
import { RETRY_AFTER_MS } from '../../base/retry-after.ts';
import { openFences, type Fences } from '../../fences/fences.ts';
import { noLog, type Log } from '../../log/log.ts';
import type { TelemetryReport } from '../../observe/metrics.ts';
import { encodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import { TELEMETRY_SUBPROTOCOLS, type TelemetrySubprotocol } from '../../protocol/telemetry.ts';
import { addCounts, NO_COUNTS } from '../../stream/reader-counts.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import type { Topics } from '../../stream/topics.ts';
import { compressors, decompressors } from '../compression.ts';
import { parseTelemetryQuery } from '../query.ts';
import { SessionRegistry } from '../registry.ts';
import { PauseReason, SocketReading } from '../socket-reading.ts';
import { endMessage, endSocket, type OpeningRequest, type SessionSocket } from '../session-socket.ts';
import type { CompressionSettings } from './compression.ts';
import { RangeEncoder } from './encoder.ts';
import type { OutboxSettings } from './outbox.ts';
import { Peers } from './peers.ts';
import { QueueGroups } from './queue-groups.ts';
import { Rounds } from './rounds.ts';
import { TelemetrySession, type TelemetrySessionHost, type TelemetrySessionSettings } from './session.ts';

/** Encoded ranges that are kept for readers that come for them a little later. */
export const ENCODED_BYTES_MAX = 16 * 1024 * 1024;
/** Of about a second: they are kept for so many, or twice as many. */
const AGE_TICKS = 5;

export interface TelemetryLaneOptions {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log?: Log;
  /** Default: no bounds. */
  readonly fences?: Fences;
  readonly settings: OutboxSettings &
    CompressionSettings &
    TelemetrySessionSettings & {
      readonly idleTimeoutMs: number;
      readonly resumeWindowMs: number;
      readonly sessionsMax: number;
    };
}

/** `WS /ws/telemetry`: opens sessions, and has what is published carried to all that have subscribed. */
export class TelemetryLane {
  readonly #options: TelemetryLaneOptions;
  readonly #registry: SessionRegistry<TelemetrySession>;
  readonly #encoder: RangeEncoder;
  readonly #rounds: Rounds;
  readonly #host: TelemetrySessionHost;
  readonly #unlisten: () => void;
  /** Of readers of sessions that have ended. */
  #endedCounts = NO_COUNTS;
  #published = 0;

  constructor(options: TelemetryLaneOptions) {
    const { topics, clock, settings, log = noLog(clock), fences = openFences({ clock }) } = options;
    this.#options = options;
    const encoder = new RangeEncoder({
      compression: settings.compression,
      compressionThresholdBytes: settings.compressionThresholdBytes,
      nsPerByte: settings.nsPerByte,
      compressors,
      decompressors,
      now: () => clock.now(),
      cacheBytesMax: ENCODED_BYTES_MAX,
    });
    const queueGroups = new QueueGroups({ clock, encoder, settings });
    const rounds = new Rounds({ clock, turns: fences.turns, encoder, settings, queueGroups });
    this.#encoder = encoder;
    this.#rounds = rounds;
    this.#host = {
      clock,
      log,
      fences,
      topics,
      settings,
      encoder,
      rounds,
      fanout: rounds.fanout,
      queueGroups,
      peers: new Peers(),
    };
    let ticks = 0;
    this.#registry = new SessionRegistry({
      kind: 'telemetry',
      clock,
      log,
      settings,
      onSweep: (session, nowMs) => session.check(nowMs),
      onTick: () => {
        topics.sweep();
        if (++ticks % AGE_TICKS === 0) encoder.age();
      },
      onEnded: (session) => {
        this.#endedCounts = addCounts(this.#endedCounts, session.accounts());
      },
    });
    this.#unlisten = topics.listen((topic, sample) => {
      this.#published++;
      rounds.onPublished(topic, sample);
    });
  }

  get links(): readonly SessionSocket[] {
    return this.#registry.links;
  }

  get connected(): number {
    return this.#registry.connected;
  }

  get sessions(): number {
    return this.#registry.size;
  }

  /** Messages published since the start, by whoever. */
  get published(): number {
    return this.#published;
  }

  /** Of the readers of all sessions, those that have ended included. */
  accounts(): ReaderCounts {
    return [...this.#registry.sessions].reduce((sum, session) => addCounts(sum, session.accounts()), this.#endedCounts);
  }

  /** Takes over an accepted socket. What cannot be is told on the socket, which is then closed. */
  async open(socket: WebSocket, { query, address, principal }: OpeningRequest): Promise<void> {
    const protocol = protocolOf(socket);
    const reading = SocketReading.of(socket);
    reading.pause(PauseReason.busy);
    socket.on('error', ignore);
    try {
      const identity = parseTelemetryQuery(query);
      this.#host.fences.penalties.require('telemetry', { address, token: identity.token });
      const { session, resumed } = await this.#registry.claim(
        { ...identity, principal },
        (clientId) => new TelemetrySession(clientId, this.#host),
      );
      if (socket.readyState !== socket.OPEN) return;
      session.connect(socket, { protocol, resumed, principal, address });
      reading.resume(PauseReason.busy);
    } catch (thrown) {
      reading.resume(PauseReason.busy);
      const reason = toSightlineError(thrown);
      this.#host.fences.refusals.count('telemetry', reason.code);
      const message = endMessage(reason);
      endSocket(socket, encodeTelemetryServerMessage(message, protocol), reason);
    }
  }

  report(): TelemetryReport {
    const { topics } = this.#options;
    const groups = this.#rounds.fanout.all;
    return {
      sessions: [...this.#registry.sessions].map((session) => session.report()),
      topics: topics.list().map((topic) => ({
        stats: topic.stats(),
        accounts: [...topic.stream.rangeReaders].reduce((sum, reader) => addCounts(sum, reader.counts()), NO_COUNTS),
      })),
      history_bytes: topics.historyBytes,
      topics_forgotten: topics.forgotten,
      batches_encoded: this.#encoder.encoded,
      batches_reused: this.#encoder.reused,
      fanout_groups: groups.size,
      fanout_members: [...groups].reduce((sum, { size }) => sum + size, 0),
    };
  }

  /** From now on there are no new sessions; those that are open go on. */
  drain(): void {
    this.#registry.drain();
  }

  /** No critical message waits for a client that is there. */
  get isDrained(): boolean {
    return [...this.#registry.sessions].every((session) => session.criticalQueue === 0);
  }

  /** Sends what waits, tells every client to go elsewhere, and ends every session. Idempotent. */
  close(): void {
    if (this.#registry.closed) return;
    this.#unlisten();
    this.#rounds.flushAll();
    for (const session of this.#registry.sessions) session.drain(RETRY_AFTER_MS);
    this.#registry.close();
    this.#rounds.close();
  }
}

/** `ws` closes the socket itself (1009 for a message over the hard limit, 1002 for a broken one); the session sees the close. */
function ignore(): void {}

function protocolOf({ protocol }: WebSocket): TelemetrySubprotocol {
  return TELEMETRY_SUBPROTOCOLS.find((known) => known === protocol) ?? 'sightline.v1.json';
}
