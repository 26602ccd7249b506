import type { WebSocket } from 'ws';
import type { Principal } from '../auth/principal.ts';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { ChargedMap } from '../fences/charged-map.ts';
import type { Fences } from '../fences/fences.ts';
import { toNs } from '../delivery/recording-format.ts';
import { freshRate, judgeRate, type RateSettings, type RateState } from '../flow/rate-limit.ts';
import type { Log } from '../log/log.ts';
import type { FoxgloveSessionReport } from '../observe/metrics.ts';
import { inOwnMemory } from '../protocol/batch.ts';
import { limitElements } from '../protocol/elements.ts';
import { Payload } from '../protocol/payload.ts';
import { checkTopic, isServerTopic } from '../protocol/topic.ts';
import type { Reader, ReaderCounts } from '../stream/reader.ts';
import { TopicPublisher } from '../stream/topic-publisher.ts';
import type { TelemetryMessage, Topics } from '../stream/topics.ts';
import type { AdvertisedTopic, CatalogueCursor, ChannelCatalogue } from './foxglove-channels.ts';
import {
  CAPABILITIES,
  decodeFoxgloveBinary,
  decodeFoxgloveText,
  encodeMessageData,
  encodeTime,
  StatusLevel,
  type FoxgloveChannel,
  type FoxgloveClientMessage,
  type FoxgloveParameter,
  type FoxgloveServerMessage,
  type ParameterValue,
} from './foxglove-wire.ts';
import type { RegisteredSession } from './registry.ts';
import { aliasBytes, FOXGLOVE_SUBSCRIPTION_BYTES } from './session-bytes.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';
import { endSocket, SessionSocket, type KeepAliveSettings, type SocketOwner } from './session-socket.ts';
import { addCounts, NO_COUNTS } from '../stream/reader-counts.ts';

export interface FoxgloveSettings extends KeepAliveSettings {
  readonly messageBytesMax: number;
  /** Of one message's data. */
  readonly elementsMax: number;
  /** Messages of one channel that may wait for one client; of more the oldest are dropped. */
  readonly queueMax: number;
  /** Unsent bytes of a socket up to which more is written to it. */
  readonly socketBytesMax: number;
  /** Subscriptions, and client channels, of a connection. */
  readonly subscriptionsMax: number;
  readonly rate: RateSettings;
}

export interface FoxgloveSessionParts {
  readonly clientId: string;
  readonly principal: Principal;
  readonly clock: Clock;
  readonly fences: Fences;
  readonly log: Log;
  readonly settings: FoxgloveSettings;
  readonly topics: Topics;
  readonly channels: ChannelCatalogue;
  /** Version of the server. */
  readonly version: string;
  /** Figures and settings of the server by name, as they are now. */
  readonly parameters: () => Readonly<Record<string, ParameterValue>>;
  readonly onLost: () => void;
}

interface Subscription {
  readonly id: number;
  readonly channel: FoxgloveChannel;
  readonly toJson: AdvertisedTopic['toJson'];
  readonly reader: Reader<TelemetryMessage>;
  toldLost: number;
}

/** Items of one message that are refused, each with a status of its own. */
const REFUSALS_MAX = 16;

/** Messages that are written in one go before other work of the main thread has its turn: about a millisecond. */
const SLICE_MESSAGES = 64;
/** Time for telling one client of channels before other work has its turn. */
const NEWS_MS = 1;

/** One Foxglove client. It ends with its socket: the protocol knows no resuming. */
export class FoxgloveSession implements RegisteredSession, SocketOwner {
  readonly link: SessionSocket;
  /** A viewer has nothing to say; the ping finds out whether it lives. */
  readonly lastActivityMs = Infinity;
  readonly #parts: FoxgloveSessionParts;
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #byChannel = new Map<number, Subscription>();
  readonly #ready = new Set<Subscription>();
  /** Topics that the client publishes to, by its own number. */
  readonly #clientChannels: ChargedMap<number, string>;
  readonly #watchedParameters = new Map<string, ParameterValue | undefined>();
  /** Since the first publication. */
  #publisher: TopicPublisher | undefined;
  #endedCounts = NO_COUNTS;
  #rate: RateState;
  #received = 0;
  #refused = 0;
  /** What it was told of the channels, and whether there may be more. */
  #cursor: CatalogueCursor;
  #hasNews = false;
  #mayReadParameters = false;
  #isFlushing = false;
  #resumeTimer: NodeJS.Timeout | undefined;

  constructor(parts: FoxgloveSessionParts) {
    this.#parts = parts;
    this.#rate = freshRate(parts.settings.rate, parts.clock.now());
    this.link = new SessionSocket({ lane: 'foxglove', clientId: parts.clientId, host: parts, owner: this });
    this.#cursor = parts.channels.begin();
    this.#clientChannels = new ChargedMap(this.link.memory, aliasBytes);
  }

  endSocket(socket: WebSocket, reason: SightlineError): void {
    this.#parts.fences.refusals.count('foxglove', reason.code);
    endSocket(socket, statusOf(reason), reason);
  }

  onLost(): void {
    this.#parts.onLost();
  }

  /** `address`: the other end of the socket. */
  connect(socket: WebSocket, address: string | undefined): void {
    const { clientId, version, channels, principal } = this.#parts;
    const maySeeAll = principal.allows('subscribe', 'topics/#');
    this.#cursor = channels.begin(maySeeAll ? undefined : (topic) => principal.allows('subscribe', `topics/${topic}`));
    this.#mayReadParameters = principal.allows('read', 'config') && principal.allows('read', 'metrics');
    this.link.connect(socket, principal, address);
    this.#send({
      op: 'serverInfo',
      name: 'sightline',
      capabilities: CAPABILITIES,
      supportedEncodings: ['json'],
      metadata: { version },
      sessionId: clientId,
    });
    // Also where there is none: a viewer may wait for it.
    if (channels.size === 0) this.#send({ op: 'advertise', channels: [] });
    this.onNews();
  }

  /** There are channels that the client was not told of, or some are no more. */
  onNews(): void {
    this.#hasNews = true;
    this.#scheduleFlush();
  }

  /** Their topics are no more. */
  endChannels(channelIds: readonly number[]): void {
    for (const id of channelIds) {
      const subscription = this.#byChannel.get(id);
      if (subscription) this.#drop(subscription);
    }
  }

  /** The server's clock; Foxglove's own clock follows it. */
  sendTime(nowMs: number): void {
    const { socket } = this.link;
    if (socket && socket.bufferedAmount <= this.#parts.settings.socketBytesMax) socket.send(encodeTime(toNs(nowMs)));
  }

  /** Once a second: tells what was lost and which parameters have changed. */
  sweep(): void {
    const { socket } = this.link;
    if (!socket || socket.bufferedAmount > this.#parts.settings.socketBytesMax) return;
    for (const subscription of this.#subscriptions.values()) this.#tellLoss(subscription);
    this.#tellParameters();
  }

  /** Of all subscriptions, ended ones included. */
  accounts(): ReaderCounts {
    return [...this.#subscriptions.values()].reduce(
      (sum, { reader }) => addCounts(sum, reader.counts()),
      this.#endedCounts,
    );
  }

  report(): FoxgloveSessionReport {
    const { published, delivered, dropped, expired, queued } = this.accounts();
    return {
      client_id: this.#parts.clientId,
      subscriptions: this.#subscriptions.size,
      published,
      delivered,
      lost: lossOf(dropped),
      expired,
      queued,
      received: this.#received,
      refused: this.#refused,
    };
  }

  close(reason: SightlineError): void {
    clearTimeout(this.#resumeTimer);
    for (const subscription of this.#subscriptions.values()) this.#drop(subscription);
    this.link.end(reason);
    if (this.#publisher) this.#parts.topics.depart(this.#publisher);
  }

  onMessage(data: Buffer, isBinary: boolean, nowMs: number): void {
    const { messageBytesMax } = this.#parts.settings;
    try {
      if (data.length > messageBytesMax) {
        throw new SightlineError(
          'MESSAGE_TOO_LARGE',
          `a message of ${data.length} bytes is over the limit of ${messageBytesMax}`,
        );
      }
      if (isBinary) this.#publish(data, nowMs);
      else {
        limitElements(data, 'json', this.#parts.settings.elementsMax);
        this.#obey(decodeFoxgloveText(data));
      }
    } catch (thrown) {
      this.#refuse(toSightlineError(thrown));
    }
  }

  #obey(message: FoxgloveClientMessage): void {
    switch (message.op) {
      case 'subscribe':
        return this.#each(message.subscriptions, ({ id, channelId }) => this.#subscribe(id, channelId));
      case 'unsubscribe':
        return this.#each(message.subscriptionIds, (id) => this.#drop(this.#subscription(id)));
      case 'advertise':
        return this.#each(message.channels, (channel) => this.#openClientChannel(channel));
      case 'unadvertise':
        return this.#each(message.channelIds, (id) => {
          if (!this.#clientChannels.delete(id)) throw unknownClientChannel(id);
        });
      case 'getParameters':
        return this.#sendParameters(message.parameterNames, message.id);
      case 'setParameters':
        // The values in force are the answer, so that a client shows what is true.
        this.#each(message.parameters, ({ name }) => {
          throw new SightlineError('MESSAGE_FIELD_BAD', `parameter "${name.slice(0, 80)}" can be read only`);
        });
        return this.#sendParameters(
          message.parameters.map(({ name }) => name),
          message.id,
        );
      case 'subscribeParameterUpdates':
        return this.#watchParameters(message.parameterNames);
      case 'unsubscribeParameterUpdates':
        if (message.parameterNames.length === 0) this.#watchedParameters.clear();
        for (const name of message.parameterNames) this.#watchedParameters.delete(name);
    }
  }

  /** One refused item leaves the others of its message alone; a message of which many are refused is not looked at any further. */
  #each<T>(items: readonly T[], action: (item: T) => void): void {
    let refused = 0;
    for (const [place, item] of items.entries()) {
      try {
        action(item);
      } catch (thrown) {
        this.#refuse(toSightlineError(thrown));
        const left = items.length - place - 1;
        if (++refused < REFUSALS_MAX || left === 0) continue;
        this.#refused += left;
        const message = `${refused} items of the message were refused: the other ${left} are left out`;
        return this.#tell(new SightlineError('MESSAGE_FIELD_BAD', message), StatusLevel.error);
      }
    }
  }

  #subscribe(id: number, channelId: number): void {
    const { settings, channels } = this.#parts;
    const advertised = channels.get(channelId);
    // In the same words: nobody learns of a topic that it may not know.
    if (!advertised || !this.#parts.principal.allows('subscribe', `topics/${advertised.topic.name}`))
      throw new SightlineError('SUBSCRIPTION_UNKNOWN', `there is no channel ${channelId}`);
    if (this.#subscriptions.has(id)) throw new SightlineError('MESSAGE_FIELD_BAD', `subscription ${id} is in use`);
    if (this.#byChannel.has(channelId)) {
      throw new SightlineError('MESSAGE_FIELD_BAD', `channel ${channelId} is subscribed to already`);
    }
    if (this.#subscriptions.size >= settings.subscriptionsMax) {
      throw new SightlineError(
        'SUBSCRIPTION_LIMIT_REACHED',
        `all ${settings.subscriptionsMax} subscriptions are taken`,
      );
    }
    this.link.memory.charge('session', FOXGLOVE_SUBSCRIPTION_BYTES);
    const { channel, topic, toJson } = advertised;
    const { stream } = topic;
    const onReady = (): void => {
      this.#ready.add(subscription);
      this.#scheduleFlush();
    };
    const reader = stream.subscribe({
      name: 'foxglove',
      contract: { kind: 'all', queueMax: Math.min(settings.queueMax, stream.capacity) },
      // The newest message first, so that a topic of few messages shows something at once.
      from: Math.max(stream.oldest, stream.head - 1),
      onReady,
    });
    const subscription: Subscription = { id, channel, toJson, reader, toldLost: 0 };
    this.#subscriptions.set(id, subscription);
    this.#byChannel.set(channelId, subscription);
    if (reader.ready) onReady();
  }

  #subscription(id: number): Subscription {
    const subscription = this.#subscriptions.get(id);
    if (!subscription) throw new SightlineError('SUBSCRIPTION_UNKNOWN', `there is no subscription ${id}`);
    return subscription;
  }

  #drop(subscription: Subscription): void {
    const { id, channel, reader } = subscription;
    reader.close();
    this.link.memory.release('session', FOXGLOVE_SUBSCRIPTION_BYTES);
    this.#endedCounts = addCounts(this.#endedCounts, reader.counts());
    this.#subscriptions.delete(id);
    this.#byChannel.delete(channel.id);
    this.#ready.delete(subscription);
  }

  #openClientChannel({ id, topic, encoding }: { id: number; topic: string; encoding: string }): void {
    const { subscriptionsMax } = this.#parts.settings;
    // Names that begin with a slash are the custom of ROS; here that would be an empty level.
    const name = topic.replace(/^\//, '');
    checkTopic(name);
    if (isServerTopic(name)) throw new SightlineError('TOPIC_FORBIDDEN', `topic "${name}" is the server's own`);
    this.#parts.principal.require('publish', `topics/${name}`);
    if (encoding !== 'json') {
      throw new SightlineError('MESSAGE_FIELD_BAD', `channel ${id}: encoding "${encoding.slice(0, 40)}" is not json`);
    }
    if (this.#clientChannels.has(id)) throw new SightlineError('MESSAGE_FIELD_BAD', `channel ${id} is in use`);
    if (this.#clientChannels.size >= subscriptionsMax) {
      throw new SightlineError('SUBSCRIPTION_LIMIT_REACHED', `all ${subscriptionsMax} channels of a client are taken`);
    }
    this.#clientChannels.set(id, name);
  }

  #publish(frame: Buffer, nowMs: number): void {
    const { topics, settings } = this.#parts;
    const { elementsMax } = settings;
    const { channelId, data } = decodeFoxgloveBinary(frame);
    const topic = this.#clientChannels.get(channelId);
    if (topic === undefined) throw unknownClientChannel(channelId);
    this.#parts.principal.require('publish', `topics/${topic}`);
    if (!this.#mayPublish(data.length, nowMs)) return;
    this.#publisher ??= new TopicPublisher(this.link.memory);
    limitElements(data, 'json', elementsMax);
    topics.publish(topic, { payload: Payload.json(inOwnMemory(data)) }, this.#publisher);
    this.#received++;
  }

  #mayPublish(bytes: number, nowMs: number): boolean {
    const { rate } = this.#parts.settings;
    const { state, allowed, penalty, pauseMs } = judgeRate(this.#rate, 1, bytes, nowMs, rate);
    this.#rate = state;
    if (!allowed) this.#refused++;
    if (penalty === 'disconnect' || penalty === 'mute') {
      this.#parts.log.write('rate_limited', { lane: 'foxglove', client_id: this.link.clientId, penalty });
    }
    if (penalty !== 'none') {
      const error = new SightlineError(
        'RATE_EXCEEDED',
        `more than ${rate.messagesPerS} messages a second (${penalty})`,
      );
      if (penalty === 'disconnect') this.link.expel(error);
      else this.#tell(error, StatusLevel.warning, 'rate');
    }
    if (pauseMs > 0) this.#pauseFor(pauseMs);
    return allowed;
  }

  #pauseFor(pauseMs: number): void {
    const { socket } = this.link;
    if (!socket) return;
    const reading = SocketReading.of(socket);
    reading.pause(PauseReason.throttled);
    clearTimeout(this.#resumeTimer);
    this.#resumeTimer = setTimeout(() => reading.resume(PauseReason.throttled), pauseMs);
  }

  #sendParameters(names: readonly string[], id: string | undefined): void {
    const parameters = select(this.#parameters(), names);
    this.#send({ op: 'parameterValues', parameters, ...(id !== undefined && { id }) });
  }

  #parameters(): Readonly<Record<string, ParameterValue>> {
    return this.#mayReadParameters ? this.#parts.parameters() : {};
  }

  #watchParameters(names: readonly string[]): void {
    // Names that there are not would only fill the list.
    for (const { name } of select(this.#parameters(), names)) {
      if (!this.#watchedParameters.has(name)) this.#watchedParameters.set(name, undefined);
    }
    this.#tellParameters();
  }

  #tellParameters(): void {
    if (this.#watchedParameters.size === 0) return;
    const changed = select(this.#parameters(), [...this.#watchedParameters.keys()]).filter(
      ({ name, value }) => this.#watchedParameters.get(name) !== value,
    );
    for (const { name, value } of changed) this.#watchedParameters.set(name, value);
    if (changed.length > 0) this.#send({ op: 'parameterValues', parameters: changed });
  }

  #tellLoss(subscription: Subscription): void {
    const { reader, channel, toldLost } = subscription;
    const lost = lossOf(reader.counts().dropped);
    if (lost === toldLost) return;
    subscription.toldLost = lost;
    this.#send({
      op: 'status',
      level: StatusLevel.warning,
      id: `loss-${channel.id}`,
      message: `${lost} messages of ${channel.topic} were dropped, because this connection reads too slowly`,
    });
  }

  #refuse(error: SightlineError): void {
    this.#refused++;
    this.#parts.fences.refusals.count('foxglove', error.code);
    this.#tell(error, StatusLevel.error);
  }

  #tell(error: SightlineError, level: StatusLevel, id?: string): void {
    const message = `${error.message} (${error.code})`;
    this.#send({ op: 'status', level, message, ...(id !== undefined && { id }) });
  }

  #send(message: FoxgloveServerMessage): void {
    const { socket } = this.link;
    if (!socket) return;
    socket.send(JSON.stringify(message), this.#onSent);
    // Who asks and reads nothing is not read either; see #onSent.
    if (socket.bufferedAmount > 2 * this.#parts.settings.socketBytesMax) {
      SocketReading.of(socket).pause(PauseReason.deaf);
    }
  }

  /** Gathers what one turn of the event loop brings, so that channels take turns. */
  #scheduleFlush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    setImmediate(() => {
      this.#isFlushing = false;
      this.#flush();
    });
  }

  /** Channels take turns, so that a busy one cannot keep a quiet one waiting. */
  #flush(): void {
    const { socketBytesMax } = this.#parts.settings;
    const { socket } = this.link;
    if (!socket) return;
    if (!this.#tellNews(socket)) return;
    let taken = 0;
    while (this.#ready.size > 0) {
      for (const subscription of this.#ready) {
        // Goes on when the socket has sent something.
        if (socket.bufferedAmount > socketBytesMax) return;
        const sample = subscription.reader.next();
        if (!sample) {
          this.#ready.delete(subscription);
          continue;
        }
        const json = subscription.toJson(sample.data);
        const timeNs = toNs(wallTimeMs(this.#parts.clock, sample.publishedTimeMs));
        if (json) socket.send(encodeMessageData(subscription.id, timeNs, json), this.#onSent);
        if (++taken >= SLICE_MESSAGES) return this.#scheduleFlush();
      }
    }
  }

  /** Tells what is new of the channels, as far as the socket takes it. False: there is more. */
  #tellNews(socket: WebSocket): boolean {
    const { channels, settings, clock } = this.#parts;
    const untilMs = clock.now() + NEWS_MS;
    while (this.#hasNews) {
      // Goes on when the socket has sent something.
      if (socket.bufferedAmount > settings.socketBytesMax) return false;
      const message = channels.next(this.#cursor);
      if (message === 'lost') {
        this.link.end(new SightlineError('SLOW_CONSUMER', 'too many channels have come and gone unread'));
        return false;
      }
      if (message === undefined) this.#hasNews = false;
      else socket.send(message, { binary: false }, this.#onSent);
      if (clock.now() < untilMs) continue;
      this.#scheduleFlush();
      return false;
    }
    return true;
  }

  readonly #onSent = (): void => {
    const { socket } = this.link;
    if (!socket || socket.bufferedAmount > this.#parts.settings.socketBytesMax) return;
    SocketReading.of(socket).resume(PauseReason.deaf);
    if (this.#ready.size > 0 || this.#hasNews) this.#scheduleFlush();
  };
}

/** All of them for an empty list of names, as the protocol has it; each once, however often it was named. */
function select(
  parameters: Readonly<Record<string, ParameterValue>>,
  names: readonly string[],
): readonly FoxgloveParameter[] {
  const wanted = names.length === 0 ? Object.keys(parameters) : [...new Set(names)];
  return wanted.filter((name) => Object.hasOwn(parameters, name)).map((name) => ({ name, value: parameters[name]! }));
}

function lossOf(dropped: ReaderCounts['dropped']): number {
  return Object.values(dropped).reduce((total, count) => total + count, 0);
}

function unknownClientChannel(id: number): SightlineError {
  return new SightlineError('ALIAS_UNKNOWN', `channel ${id} was not advertised by this client`);
}

/** Why a connection ends, as its last message. */
export function statusOf({ message, code }: SightlineError): string {
  const level = code === 'SHUTTING_DOWN' ? StatusLevel.info : StatusLevel.error;
  return JSON.stringify({ op: 'status', level, message: `${message} (${code})` } satisfies FoxgloveServerMessage);
}
