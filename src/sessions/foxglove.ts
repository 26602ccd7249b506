import type { WebSocket } from 'ws';
import type { Principal } from '../auth/principal.ts';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { openFences, type Fences } from '../fences/fences.ts';
import { noLog, type Log } from '../log/log.ts';
import type { FoxgloveSessionReport } from '../observe/metrics.ts';
import type { ReaderCounts } from '../stream/reader.ts';
import type { Topics } from '../stream/topics.ts';
import { ChannelCatalogue } from './foxglove-channels.ts';
import { FoxgloveSession, statusOf, type FoxgloveSettings } from './foxglove-session.ts';
import { FOXGLOVE_SUBPROTOCOLS, type ParameterValue } from './foxglove-wire.ts';
import { SessionRegistry } from './registry.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';
import { endSocket, type OpeningRequest, type SessionSocket } from './session-socket.ts';
import { addCounts, NO_COUNTS } from '../stream/reader-counts.ts';

const TIME_INTERVAL_MS = 100;

export interface FoxgloveLaneOptions {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly log?: Log;
  /** Default: no bounds. */
  readonly fences?: Fences;
  /** Of the server, for `serverInfo`. */
  readonly version: string;
  readonly settings: FoxgloveSettings & { readonly sessionsMax: number };
  /** What clients can read as parameters, by name, as it is now. */
  readonly parameters: () => Readonly<Record<string, ParameterValue>>;
}

/** `WS /ws/foxglove`: the topics as channels of the Foxglove WebSocket protocol. */
export class FoxgloveLane {
  /** One of these has to be asked for by the client, and is to be chosen at the upgrade. */
  static readonly subprotocols: readonly string[] = FOXGLOVE_SUBPROTOCOLS;
  readonly #options: FoxgloveLaneOptions;
  readonly #registry: SessionRegistry<FoxgloveSession>;
  readonly #fences: Fences;
  readonly #channels: ChannelCatalogue;
  readonly #clockTimer: NodeJS.Timeout;
  /** Of sessions that have ended. */
  #endedCounts = NO_COUNTS;

  constructor(options: FoxgloveLaneOptions) {
    const { topics, clock, settings, log } = options;
    this.#options = options;
    this.#fences = options.fences ?? openFences({ clock });
    this.#registry = new SessionRegistry<FoxgloveSession>({
      kind: 'foxglove',
      clock,
      log,
      settings: { idleTimeoutMs: Infinity, resumeWindowMs: 0, sessionsMax: settings.sessionsMax },
      onSweep: (session) => session.sweep(),
      onEnded: (session) => {
        this.#endedCounts = addCounts(this.#endedCounts, session.accounts());
      },
    });
    this.#channels = new ChannelCatalogue(topics, this.#fences.memory, () => clock.now(), {
      onNews: () => this.#forEach((session) => session.onNews()),
      onRemoved: (channelIds) => this.#forEach((session) => session.endChannels(channelIds)),
    });
    let turns = 0;
    this.#clockTimer = setInterval(() => {
      if (++turns % 10 === 0) this.#tidy();
      this.#forEach((session) => session.sendTime(wallTimeMs(clock)));
    }, TIME_INTERVAL_MS);
    this.#clockTimer.unref();
  }

  /** Channels that viewers are told of. */
  get channels(): number {
    return this.#channels.size;
  }

  get links(): readonly SessionSocket[] {
    return this.#registry.links;
  }

  get connected(): number {
    return this.#registry.connected;
  }

  /** Takes over an accepted socket. What cannot be is told on the socket, which is then closed. */
  async open(socket: WebSocket, { address, principal }: Pick<OpeningRequest, 'address' | 'principal'>): Promise<void> {
    // Nothing is read before there is somebody to take it.
    const reading = SocketReading.of(socket);
    reading.pause(PauseReason.busy);
    socket.on('error', () => {
      // ws closes the socket itself (1009, 1002, …); the session sees the close.
    });
    try {
      if (!FoxgloveLane.subprotocols.includes(socket.protocol)) {
        const wanted = FoxgloveLane.subprotocols.join(' or ');
        throw new SightlineError('QUERY_BAD', `the subprotocol "${socket.protocol}" is not ${wanted}`);
      }
      this.#fences.penalties.require('foxglove', { address, token: undefined });
      const { session } = await this.#registry.claim(
        { clientId: undefined, token: undefined, principal },
        (clientId) => {
          return this.#makeSession(clientId, principal);
        },
      );
      this.#channels.open();
      session.connect(socket, address);
    } catch (thrown) {
      const error = toSightlineError(thrown);
      this.#fences.refusals.count('foxglove', error.code);
      endSocket(socket, statusOf(error), error);
    } finally {
      reading.resume(PauseReason.busy);
    }
  }

  /** Of the readers of all sessions, those that have ended included. */
  accounts(): ReaderCounts {
    return [...this.#registry.sessions].reduce((sum, session) => addCounts(sum, session.accounts()), this.#endedCounts);
  }

  report(): FoxgloveSessionReport[] {
    return [...this.#registry.sessions].map((session) => session.report());
  }

  /** From now on there are no new sessions. */
  drain(): void {
    this.#registry.drain();
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    clearInterval(this.#clockTimer);
    this.#channels.close();
    this.#registry.close();
  }

  #tidy(): void {
    if (this.#registry.size === 0) this.#channels.close();
    else this.#channels.sweep();
  }

  #makeSession(clientId: string, principal: Principal): FoxgloveSession {
    const { topics, clock, settings, parameters, version, log = noLog(clock) } = this.#options;
    const session: FoxgloveSession = new FoxgloveSession({
      clientId,
      principal,
      clock,
      fences: this.#fences,
      log,
      settings,
      topics,
      channels: this.#channels,
      version,
      parameters,
      onLost: () => this.#registry.end(session, new SightlineError('SESSION_IDLE', 'the connection was lost')),
    });
    return session;
  }

  #forEach(action: (session: FoxgloveSession) => void): void {
    for (const session of this.#registry.sessions) action(session);
  }
}
