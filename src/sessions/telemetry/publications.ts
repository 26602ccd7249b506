import type { Clock } from '../../base/clock.ts';
import { Priority } from '../../base/sample.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { ChargedMap } from '../../fences/charged-map.ts';
import {
  BATCH_LIMITS,
  checkPlainSize,
  faultOfSection,
  openPublications,
  packedBody,
  plainBody,
  readPublications,
  sectionsOfBatch,
  type BatchEnvelope,
  type BatchLimits,
  type BatchSection,
  type MessageOrFault,
} from '../../protocol/batch.ts';
import { limitElements } from '../../protocol/elements.ts';
import { Payload } from '../../protocol/payload.ts';
import type * as t from '../../protocol/telemetry.ts';
import { isServerTopic } from '../../protocol/topic.ts';
import { TopicPublisher } from '../../stream/topic-publisher.ts';
import type { TopicInput, Topics } from '../../stream/topics.ts';
import { decompressors, decompressLater } from '../compression.ts';
import type { RangeEncoder } from './encoder.ts';
import { aliasBytes, numberBytes, schemaBytes } from '../session-bytes.ts';
import { PublishRate, type PublishRateHost } from './publish-rate.ts';
import type { About, SessionClient } from './session-client.ts';
import type { SocketWriter } from './socket-writer.ts';

/**
 * Messages that a client may publish in one round. What it sends beyond waits in its socket: input that is taken faster than
 * it is passed on would only be lost on the way, for all readers.
 */
const ROUND_MESSAGES = 512;

/** Larger batches, decompressed, are worked on in several turns of the event loop: this much takes a millisecond or two. */
const AT_ONCE_BYTES_MAX = 64 * 1024;
const SLICE_BYTES = 16 * 1024;
const SLICE_MS = 1;

export interface PublicationsHost extends PublishRateHost {
  readonly clock: Clock;
  readonly topics: Topics;
  readonly encoder: RangeEncoder;
  readonly settings: PublishRateHost['settings'] & {
    readonly subscriptionsMax: number;
    readonly topicsMax: number;
    readonly elementsMax: number;
  };
  readonly rounds: {
    /** Rounds that have ended. */
    readonly count: number;
    /** The socket is not read until the round is over. */
    holdBack(writer: SocketWriter): void;
  };
}

/**
 * What one client publishes. Aliases and layouts end with the connection; the numbers of reliable publications and the accounts
 * are those of the session.
 */
export class Publications {
  published = 0;
  /** Messages that came again. */
  duplicates = 0;
  readonly #host: PublicationsHost;
  readonly #client: SessionClient;
  readonly #rate: PublishRate;
  readonly #limits: BatchLimits;
  #isClosed = false;
  /** Topics by alias. */
  #advertised: ChargedMap<number, string> | undefined;
  /** Layouts by the client's number. */
  #schemas: ChargedMap<number, readonly t.SchemaField[]> | undefined;
  /** By topic: the client's own number of its last reliable publication. */
  #lastSeqs: ChargedMap<string, number> | undefined;
  /** The round in which the client published last, and its messages in it. */
  #round = 0;
  #roundMessages = 0;
  readonly #publisher: TopicPublisher;

  constructor(host: PublicationsHost, client: SessionClient) {
    this.#host = host;
    this.#client = client;
    this.#rate = new PublishRate(host, client);
    const { elementsMax } = host.settings;
    this.#limits = { ...BATCH_LIMITS, check: (data, codec) => limitElements(data, codec, elementsMax) };
    this.#publisher = new TopicPublisher(client.memory);
  }

  /** Messages that came faster than the client may publish. */
  get refused(): number {
    return this.#rate.refused;
  }

  advertise({ alias, topic }: t.AdvertiseMessage): void {
    const { subscriptionsMax } = this.#host.settings;
    this.#advertised ??= new ChargedMap(this.#client.memory, aliasBytes);
    if (!this.#advertised.has(alias) && this.#advertised.size >= subscriptionsMax) {
      throw new SightlineError('TOPIC_LIMIT_REACHED', `the connection has ${subscriptionsMax} aliases already`);
    }
    // Also where it may not be published on: what comes under the alias is refused by the topic's name then.
    this.#advertised.set(alias, topic);
    this.#requireOpenTopic(topic);
  }

  addSchema({ schema_id: schemaId, fields }: t.SchemaMessage): void {
    this.#schemas ??= new ChargedMap(this.#client.memory, schemaBytes);
    this.#schemas.set(schemaId, fields);
    this.#schemas.set(schemaId, this.#host.encoder.internFields(fields));
  }

  /** `bytes`: of the message as it came. */
  publish(message: t.PublishMessage, bytes: number, nowMs: number): void {
    const { topic, seq } = message;
    if (!this.#rate.admits(1, bytes, nowMs, aboutPublication(message))) return;
    this.#requireOpenTopic(topic);
    const payload = Payload.of(message.data);
    // MessagePack has numbers that JSON has not.
    if (this.#client.protocol !== 'sightline.v1.json' && payload.form === 'value') payload.msgpack();
    const { time: timeMs, priority, ttl_ms: ttlMs } = message;
    this.#publish(topic, seq, [{ payload, timeMs, priority, ttlMs }]);
  }

  /**
   * Sections are judged before anything is made of the batch: what may not be published costs no more than its envelope. A large batch
   * takes several turns.
   */
  publishBatch(data: Buffer, nowMs: number): void | Promise<void> {
    const schemaOf = (schemaId: number) => this.#schemas?.get(schemaId);
    const { envelope, plainBytes } = openPublications(data, schemaOf, this.#limits);
    const { sections, count } = envelope;
    const topics = sections.map((section) => this.#admitSection(section, (plainBytes * section.count) / count, nowMs));
    if (topics.every((topic) => topic === undefined)) return undefined;
    if (plainBytes > AT_ONCE_BYTES_MAX) return this.#publishInTurns(data, envelope, topics);
    const messages = readPublications(plainBody(data, envelope, decompressors), envelope, schemaOf, this.#limits);
    for (const span of spansOf(envelope, messages, Infinity)) if (span !== undefined) this.#publishSpan(span, topics);
    return undefined;
  }

  async #publishInTurns(data: Buffer, envelope: BatchEnvelope, topics: readonly (string | undefined)[]): Promise<void> {
    const { clock } = this.#host;
    // The layouts that the client has now: it may name others before this batch is done.
    const schema = this.#schemas?.get(envelope.schemaId);
    try {
      const body = await largeBody(data, envelope);
      await this.#client.nextTurn(0);
      let startMs = clock.now();
      const messages = readPublications(body, envelope, () => schema, this.#limits);
      for (const span of spansOf(envelope, messages, SLICE_BYTES)) {
        if (this.#isClosed) return;
        if (span !== undefined) this.#publishSpan(span, topics);
        const spentMs = clock.now() - startMs;
        if (spentMs < SLICE_MS) continue;
        await this.#client.nextTurn(spentMs);
        startMs = clock.now();
      }
    } catch (thrown) {
      this.refuseBatch(toSightlineError(thrown), data);
    }
  }

  /** A batch that cannot be taken apart: each of its sections is refused by name, as far as they can be told. */
  refuseBatch(error: SightlineError, data: Buffer): void {
    const sections = sectionsOfBatch(data);
    if (sections.length === 0) this.#client.refuse(error, {});
    for (const section of sections) this.#client.refuse(error, this.#aboutSection(section));
  }

  /** The client gives up a number that was refused. Also how it asks for the last one: the answer is the same. */
  skip({ topic, seq }: t.SkipMessage): void {
    this.#requireOpenTopic(topic);
    const last = this.#lastSeqs?.get(topic) ?? 0;
    if (seq > last + 1) return this.#refuseGap({ topic, seq, count: 1 }, last + 1);
    if (seq === last + 1) this.#remember(topic, seq);
    this.#client.outbox?.confirm(topic, Math.max(last, seq));
  }

  /**
   * What is left to refuse of what is to be refused: messages that are in the history stay there, however their repetition
   * looks, and are confirmed. Undefined: nothing.
   */
  withoutConfirmed(about: About): About | undefined {
    const { topic, seq = 0, count = 1 } = about;
    const last = (topic !== undefined && this.#lastSeqs?.get(topic)) || 0;
    if (seq <= 0 || seq > last) return about;
    this.#client.outbox?.confirm(topic!, last);
    const left = seq + count - 1 - last;
    return left <= 0 ? undefined : { ...about, seq: last + 1, count: left };
  }

  /** To be called about once a second. */
  check(nowMs: number): void {
    this.#rate.check(nowMs);
  }

  /** The session has ended. */
  close(): void {
    this.#isClosed = true;
    this.#host.topics.depart(this.#publisher);
  }

  /** The session has lost its socket. */
  onLost(): void {
    this.#rate.onLost();
    this.#advertised?.clear();
    this.#schemas?.clear();
  }

  #aboutSection({ topicId: alias, firstSeq, count }: BatchSection): About {
    const topic = this.#advertised?.get(alias);
    const isNumbered = Number.isSafeInteger(firstSeq) && firstSeq > 0;
    return { ...(topic === undefined ? { alias } : { topic }), ...(isNumbered && { seq: firstSeq }), count };
  }

  /** The topic of a section that may be published; undefined: it is refused, which is no reason to refuse the others. */
  #admitSection(section: BatchSection, bytes: number, nowMs: number): string | undefined {
    const about = this.#aboutSection(section);
    try {
      // Also what is refused for other reasons counts.
      if (!this.#rate.admits(section.count, bytes, nowMs, about)) return undefined;
      const fault = faultOfSection(section);
      if (fault !== undefined) throw fault;
      const { topic } = about;
      if (topic === undefined) {
        throw new SightlineError('ALIAS_UNKNOWN', `alias ${section.topicId} was not advertised`);
      }
      this.#requireOpenTopic(topic);
      return topic;
    } catch (thrown) {
      this.#client.refuse(toSightlineError(thrown), about);
      return undefined;
    }
  }

  #publishSpan({ place, section, messages }: Span, topics: readonly (string | undefined)[]): void {
    const topic = topics[place];
    if (topic === undefined) return;
    const about = this.#aboutSection(section);
    try {
      this.#publish(topic, about.seq, messages);
    } catch (thrown) {
      this.#client.refuse(toSightlineError(thrown), about);
    }
  }

  /** Each message by itself: one that is none is refused alone, but for those whose numbers come after it. */
  #publish(topic: string, firstSeq: number | undefined, inputs: readonly (TopicInput | SightlineError)[]): void {
    this.#countInRound(inputs.length);
    if (firstSeq !== undefined) return this.#publishReliably(topic, firstSeq, inputs);
    let fault: SightlineError | undefined;
    let count = 0;
    for (const input of inputs) {
      if (input instanceof SightlineError) {
        fault ??= input;
        count++;
      } else this.#publishOne(topic, input);
    }
    if (fault !== undefined) this.#client.refuse(fault, { topic, count });
  }

  /**
   * What was published before is left out, and the client is told up to where all is in: its numbers go from 1, without a gap,
   * so that whatever is below a number in the history is in the history too, unless the client gave it up.
   */
  #publishReliably(topic: string, firstSeq: number, inputs: readonly (TopicInput | SightlineError)[]): void {
    let last = this.#lastSeqs?.get(topic) ?? 0;
    const about = { topic, seq: firstSeq, count: inputs.length };
    if (firstSeq > last + 1) return this.#refuseGap(about, last + 1);
    // Before anything is published: a number that could not be remembered would be published again.
    if (last === 0) this.#remember(topic, 0);
    const duplicates = Math.min(inputs.length, last + 1 - firstSeq);
    this.duplicates += duplicates;
    for (const [i, input] of inputs.entries()) {
      if (i < duplicates) continue;
      if (input instanceof SightlineError) {
        const seq = firstSeq + i;
        this.#client.refuse(input, { topic, seq });
        const count = inputs.length - i - 1;
        if (count > 0) this.#refuseGap({ topic, seq: seq + 1, count }, seq);
        break;
      }
      this.#publishOne(topic, input);
      this.#remember(topic, ++last);
    }
    if (last > 0) this.#client.outbox?.confirm(topic, last);
  }

  #publishOne(topic: string, input: TopicInput): void {
    const { topics } = this.#host;
    if (input.priority === Priority.critical) this.#client.requireCritical();
    if (topics.get(topic) === undefined) this.#requireRoomForTopic(topic);
    topics.publish(topic, input, this.#publisher);
    this.published++;
  }

  #refuseGap(about: { topic: string; seq: number; count: number }, expected: number): void {
    const why = `seq ${about.seq} on "${about.topic}" leaves out ${expected}`;
    this.#client.refuse(new SightlineError('PUBLISH_SEQUENCE_BAD', why), { ...about, expected });
  }

  #remember(topic: string, seq: number): void {
    this.#lastSeqs ??= new ChargedMap(this.#client.memory, numberBytes);
    this.#lastSeqs.set(topic, seq);
    this.#lastSeqs.forgetOldest(this.#host.settings.topicsMax);
  }

  /** The name was checked when it came. Throws TOPIC_FORBIDDEN, PERMISSION_DENIED. */
  #requireOpenTopic(topic: string): void {
    if (isServerTopic(topic))
      throw new SightlineError('TOPIC_FORBIDDEN', `topic "${topic.slice(0, 80)}" is the server's own`);
    this.#client.requireTopic('publish', topic);
  }

  #countInRound(messages: number): void {
    const { rounds } = this.#host;
    if (this.#round !== rounds.count) this.#roundMessages = 0;
    this.#round = rounds.count;
    this.#roundMessages += messages;
    const { outbox } = this.#client;
    if (this.#roundMessages > ROUND_MESSAGES && outbox !== undefined) rounds.holdBack(outbox.writer);
  }

  /** One client must not use up the server's topics. Those that were forgotten count no more. */
  #requireRoomForTopic(topic: string): void {
    const { topicsMax } = this.#host.settings;
    if (this.#publisher.topicsMade < topicsMax) return;
    throw new SightlineError(
      'TOPIC_LIMIT_REACHED',
      `"${topic}" would be more than the ${topicsMax} topics that a client may have made (telemetry.subscribed_topics_max)`,
    );
  }
}

/** Neighbours of one section. */
interface Span {
  /** Of the section in its batch. */
  readonly place: number;
  readonly section: BatchSection;
  readonly messages: readonly MessageOrFault[];
}

/** The messages of a batch, section by section, in spans of about so many bytes. Undefined: a part of the work is done that gave none. */
function* spansOf(
  { sections }: BatchEnvelope,
  all: Iterable<MessageOrFault | undefined>,
  bytesMax: number,
): Generator<Span | undefined> {
  const messages = all[Symbol.iterator]();
  for (const [place, section] of sections.entries()) {
    for (let from = 0; from < section.count;) {
      const span: MessageOrFault[] = [];
      for (let bytes = 0; bytes < bytesMax && from + span.length < section.count;) {
        const { done, value: message } = messages.next();
        if (done) return;
        if (message === undefined) {
          yield undefined;
          continue;
        }
        span.push(message);
        if (!(message instanceof SightlineError)) bytes += message.payload.byteLength;
      }
      const { firstSeq } = section;
      yield {
        place,
        section: { ...section, firstSeq: firstSeq > 0 ? firstSeq + from : firstSeq, count: span.length },
        messages: span,
      };
      from += span.length;
    }
  }
}

/** Decompresses outside of the main thread. Throws COMPRESSION_BAD, BATCH_BAD. */
async function largeBody(data: Buffer, envelope: BatchEnvelope): Promise<Uint8Array> {
  const { compression, plainSize } = envelope;
  const packed = packedBody(data, envelope);
  const body = compression === 'none' ? packed : await decompressLater(packed, compression, plainSize);
  checkPlainSize(body, envelope);
  return body;
}

export function aboutPublication({ topic, seq }: t.PublishMessage): About {
  return seq === undefined ? { topic } : { topic, seq };
}
