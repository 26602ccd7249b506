import type { WebSocket } from 'ws';
import type { Principal } from '../../auth/principal.ts';
import { wallAheadMs, wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Fences } from '../../fences/fences.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import type { TimeAccount } from '../../fences/turns.ts';
import type { RateSettings } from '../../flow/rate-limit.ts';
import type { TelemetrySessionReport } from '../../observe/metrics.ts';
import { limitElements } from '../../protocol/elements.ts';
import { aboutMessage, isMsgpackMap } from '../../protocol/message-about.ts';
import { decodeTelemetryClientMessage, encodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import type * as t from '../../protocol/telemetry.ts';
import { PROTOCOL_VERSION } from '../../protocol/video.ts';
import { NO_COUNTS } from '../../stream/reader-counts.ts';
import type { ReaderCounts } from '../../stream/reader.ts';
import { requireCritical } from '../priority.ts';
import { endMessage, endSocket, SessionSocket, type KeepAliveSettings, type SocketOwner } from '../session-socket.ts';
import { Outbox, type OutboxHost, type OutboxOwner } from './outbox.ts';
import { aboutPublication, Publications, type PublicationsHost } from './publications.ts';
import type { About, SessionClient } from './session-client.ts';
import { SocketWriter, type WriterOwner } from './socket-writer.ts';
import type { SubscribedTopic } from './subscribed-topic.ts';
import { Subscriptions, type SubscriptionsHost } from './subscriptions.ts';

export interface TelemetrySessionSettings extends KeepAliveSettings {
  readonly rate: RateSettings;
  readonly messageBytesMax: number;
  /** Of one message's data. */
  readonly elementsMax: number;
  readonly batchMessagesMax: number;
  readonly subscriptionsMax: number;
  readonly topicsMax: number;
  readonly historyMessages: number;
}

/** What a session needs of its lane; the same for all sessions. */
export interface TelemetrySessionHost extends OutboxHost, PublicationsHost, SubscriptionsHost {
  readonly clock: Clock;
  readonly fences: Fences;
  readonly settings: OutboxHost['settings'] & TelemetrySessionSettings;
  readonly rounds: OutboxHost['rounds'] & PublicationsHost['rounds'] & SubscriptionsHost['rounds'];
}

/** One client's session: lives on for a while when its socket is lost. Subscriptions end with the socket; what was acknowledged and published stays. */
export class TelemetrySession implements SocketOwner, OutboxOwner, SessionClient, WriterOwner {
  readonly link: SessionSocket;
  readonly #host: TelemetrySessionHost;
  #protocol: t.TelemetrySubprotocol = 'sightline.v1.json';
  // Made when they are first needed: most sessions of a large server have nothing to do but be there.
  #keptWriter: SocketWriter | undefined;
  #outbox: Outbox | undefined;
  #publications: Publications | undefined;
  #subscriptions: Subscriptions | undefined;
  /** Messages of the client that were refused. */
  #refused = 0;
  #lagMs: number | null = null;

  constructor(clientId: string, host: TelemetrySessionHost) {
    this.#host = host;
    this.link = new SessionSocket({ lane: 'telemetry', clientId, host, owner: this });
  }

  get clientId(): string {
    return this.link.clientId;
  }

  requireTopic(action: 'publish' | 'subscribe', topic: string): void {
    this.link.principal!.require(action, `topics/${topic}`);
  }

  requireCritical(): void {
    requireCritical(this.link.principal!);
  }

  get memory(): MemoryAccount {
    return this.link.memory;
  }

  get time(): TimeAccount {
    return this.link.time;
  }

  get protocol(): t.TelemetrySubprotocol {
    return this.#protocol;
  }

  get outbox(): Outbox | undefined {
    if (this.#outbox !== undefined) return this.#outbox;
    const writer = this.#writer;
    if (writer === undefined) return undefined;
    this.#outbox = new Outbox({ host: this.#host, writer, owner: this });
    if (this.#lagMs !== null) this.#outbox.report(this.#lagMs);
    return this.#outbox;
  }

  /** A client that has subscribed has reason to be silent: a ping tells whether it is still there. */
  get lastActivityMs(): number {
    return this.#subscriptions !== undefined && this.#subscriptions.size > 0 ? Infinity : this.link.lastActivityMs;
  }

  /** Gives the session a socket and welcomes it; a socket that it had is closed as taken over. */
  connect(
    socket: WebSocket,
    {
      protocol,
      resumed,
      principal,
      address,
    }: {
      readonly protocol: t.TelemetrySubprotocol;
      readonly resumed: boolean;
      readonly principal: Principal;
      readonly address: string | undefined;
    },
  ): void {
    const { clock, settings } = this.#host;
    this.link.connect(socket, principal, address);
    this.#protocol = protocol;
    this.#writer?.control({
      type: 'welcome',
      protocol: PROTOCOL_VERSION,
      client_id: this.link.clientId,
      token: this.link.token,
      resumed,
      server_time: wallTimeMs(clock),
      limits: {
        message_bytes_max: settings.messageBytesMax,
        batch_messages_max: settings.batchMessagesMax,
        subscriptions_max: settings.subscriptionsMax,
        publish_rate_max: settings.rate.messagesPerS,
        history_messages: settings.historyMessages,
      },
    });
  }

  /** About once a second. */
  check(nowMs: number): void {
    // Also what `ws` writes by itself, such as pongs, may wait for a client that takes nothing.
    const writer = this.#unsentBytes > 0 ? this.#writer : this.#keptWriter;
    const reason = writer?.check(nowMs);
    if (reason !== undefined) this.fail(reason);
    else if (writer?.isAtRest === true && this.#outbox === undefined) this.#keptWriter = undefined;
    this.#publications?.check(nowMs);
  }

  /** Critical messages that wait for its socket. */
  get criticalQueue(): number {
    return this.#outbox?.criticalQueue ?? 0;
  }

  /** The client should go elsewhere; what is critical leaves first. */
  drain(reconnectAfterMs: number): void {
    this.#outbox?.flushCriticals(this.#host.clock.now());
    this.#writer?.control({
      type: 'notice',
      reason: 'drain',
      message: 'the server shuts down: connect again',
      reconnect_after_ms: reconnectAfterMs,
    });
  }

  /** Ends the session for good. Idempotent. */
  close(reason: SightlineError): void {
    this.link.end(reason);
    this.#publications?.close();
  }

  /** Of all readers that the session has had. */
  accounts(): ReaderCounts {
    return this.#subscriptions?.accounts() ?? NO_COUNTS;
  }

  report(): TelemetrySessionReport {
    const { clock } = this.#host;
    return {
      client_id: this.link.clientId,
      connected: this.link.socket !== undefined,
      protocol: this.#protocol,
      age_s: (clock.now() - this.link.openedTimeMs) / 1000,
      subscriptions: this.#subscriptions?.size ?? 0,
      topics: this.#subscriptions?.topics ?? 0,
      accounts: this.accounts(),
      published: this.#publications?.published ?? 0,
      duplicates: this.#publications?.duplicates ?? 0,
      refused_publications: this.#publications?.refused ?? 0,
      refused_messages: this.#refused,
      unsent_bytes: this.#unsentBytes,
      queued_bytes: this.#outbox?.queuedBytes ?? 0,
      critical_queue: this.criticalQueue,
      lag_ms: this.#lagMs,
    };
  }

  // For the link.

  endSocket(socket: WebSocket, reason: SightlineError): void {
    // What was paused would not see the other side's close.
    if (socket.isPaused) socket.resume();
    this.#host.fences.refusals.count('telemetry', reason.code);
    const message = endMessage(reason);
    endSocket(socket, encodeTelemetryServerMessage(message, this.#protocol), reason);
  }

  onLost(): void {
    this.#publications?.onLost();
    this.#subscriptions?.onLost();
    this.#outbox?.close();
    this.#outbox = undefined;
    this.#keptWriter?.close();
    this.#keptWriter = undefined;
  }

  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void | Promise<void> {
    const isBatch = isBinary && this.#protocol === 'sightline.v1.binary' && !isMsgpackMap(data);
    return isBatch ? this.#onBatch(data, nowMs) : this.#onControl(data, isBinary, nowMs);
  }

  // For the writer.

  onEmptied(): void {
    this.#outbox?.onEmptied();
  }

  // For the outbox.

  fail(reason: SightlineError): void {
    this.link.end(reason);
  }

  onDone(subscribed: SubscribedTopic): void {
    this.#subscriptions!.closeTopic(subscribed);
  }

  peers(): number {
    return this.#subscriptions?.peers ?? 1;
  }

  // For publications and subscriptions.

  nextTurn(spentMs: number): Promise<void> {
    return this.link.nextTurn(spentMs);
  }

  tell({ code, message }: SightlineError, about: About): void {
    this.#host.fences.refusals.count('telemetry', code);
    this.#writer?.control({ type: 'error', code, message, ...about });
  }

  refuse(error: SightlineError, about: About): void {
    const refused = this.#publications === undefined ? about : this.#publications.withoutConfirmed(about);
    if (refused === undefined) return;
    this.#refused += refused.count || 1;
    this.tell(error, refused);
  }

  expel(reason: SightlineError): void {
    this.link.expel(reason);
  }

  /** Undefined while the session has no socket. Let go by `check` while it has nothing to remember. */
  get #writer(): SocketWriter | undefined {
    const { socket } = this.link;
    if (socket === undefined) return undefined;
    return (this.#keptWriter ??= new SocketWriter({
      host: this.#host,
      socket,
      protocol: this.#protocol,
      owner: this,
    }));
  }

  get #unsentBytes(): number {
    return this.link.socket?.bufferedAmount ?? 0;
  }

  #onBatch(data: Buffer, nowMs: number): void | Promise<void> {
    const publications = this.#publishing();
    try {
      this.#requireSize(data);
      return publications.publishBatch(data, nowMs);
    } catch (thrown) {
      publications.refuseBatch(toSightlineError(thrown), data);
    }
  }

  #onControl(data: Buffer, isBinary: boolean, nowMs: number): void {
    let message: t.TelemetryClientMessage | undefined;
    try {
      this.#requireSize(data);
      const { elementsMax } = this.#host.settings;
      limitElements(data, isBinary ? 'msgpack' : 'json', elementsMax);
      message = decodeTelemetryClientMessage(isBinary ? data : data.toString('utf8'));
      this.#act(message, data.length, nowMs);
    } catch (thrown) {
      this.refuse(toSightlineError(thrown), (message && aboutOf(message)) ?? aboutMessage(data));
    }
  }

  #requireSize({ length }: Buffer): void {
    const { messageBytesMax } = this.#host.settings;
    if (length <= messageBytesMax) return;
    const message = `a message of ${length} bytes is over the limit of ${messageBytesMax}`;
    throw new SightlineError('MESSAGE_TOO_LARGE', message);
  }

  #act(message: t.TelemetryClientMessage, bytes: number, nowMs: number): void {
    switch (message.type) {
      case 'publish':
        return this.#publishing().publish(message, bytes, nowMs);
      case 'subscribe':
        return this.#subscribing().subscribe(message);
      case 'unsubscribe':
        return this.#subscribing().unsubscribe(message.id);
      case 'advertise':
        return this.#publishing().advertise(message);
      case 'skip':
        return this.#publishing().skip(message);
      case 'schema':
        return this.#publishing().addSchema(message);
      case 'ack':
        return this.#subscribing().acknowledge(message);
      case 'report':
        this.#lagMs = message.lag_ms;
        return this.#outbox?.report(message.lag_ms);
      case 'clock':
        return this.#tellTime(message.t0, nowMs);
    }
  }

  #publishing(): Publications {
    this.#publications ??= new Publications(this.#host, this);
    return this.#publications;
  }

  #subscribing(): Subscriptions {
    this.#subscriptions ??= new Subscriptions(this.#host, this);
    return this.#subscriptions;
  }

  #tellTime(t0: number, nowMs: number): void {
    const { clock } = this.#host;
    const aheadMs = wallAheadMs(clock);
    this.#writer?.control({ type: 'clock', t0, t1: nowMs + aheadMs, t2: clock.now() + aheadMs });
  }
}

/** What the refusal of a message is about. */
function aboutOf(message: t.TelemetryClientMessage): About | undefined {
  switch (message.type) {
    case 'publish':
      return aboutPublication(message);
    case 'subscribe':
    case 'unsubscribe':
    case 'ack':
      return { id: message.id };
    case 'advertise':
      return { topic: message.topic, alias: message.alias };
    case 'skip':
      return { topic: message.topic, seq: message.seq };
    default:
      return undefined;
  }
}
