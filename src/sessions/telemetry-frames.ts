import type { Sample } from '../base/sample.ts';
import { encodeBatch, type BatchMessage, type Compressors } from '../protocol/batch.ts';
import { PAYLOAD_CODECS } from '../protocol/telemetry.ts';
import type { Compression, PayloadCodec, TelemetryServerMessage, TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { Span } from '../stream/range-reader.ts';
import { encodeData, encodeTelemetryServerMessage } from '../protocol/telemetry-codec.ts';
import type { TelemetryMessage, Topic } from '../stream/topics.ts';
import { SchemaBook, type TopicSchema } from './telemetry-schema.ts';

type Message = Sample<TelemetryMessage>;

/** Place of the compression in a batch's envelope; 0 is none. */
const COMPRESSION_AT = 2;
/** After so many batches in a row that compression did not make smaller it rests for so many. */
const MISSES_MAX = 4;
const REST_BATCHES = 64;
const TEXT = 0x81;
const BINARY = 0x82;

/** What a subscription's data is written in. Make it with `writingOf`. */
export interface Writing {
  readonly protocol: TelemetrySubprotocol;
  /** For the binary subprotocol: what the reader can read, best first. */
  readonly codecs: readonly PayloadCodec[];
  /** The same for all that get the same bytes. */
  readonly key: string;
}

export function writingOf(protocol: TelemetrySubprotocol, codecs: readonly PayloadCodec[] = PAYLOAD_CODECS): Writing {
  const isBinary = protocol === 'sightline.v1.binary';
  return { protocol, codecs, key: isBinary ? `${protocol} ${codecs.join()}` : protocol };
}

/** Messages of one topic as they go over the wire: one or more WebSocket frames in one piece. Nobody writes into it. */
export interface EncodedRange {
  readonly bytes: Buffer;
  /** The layouts that the reader must know first. */
  readonly schemas: readonly TopicSchema[];
}

export interface EncoderOptions {
  readonly compression: Compression;
  readonly compressionThresholdBytes: number;
  readonly compressors: Compressors;
  /** Bytes of encoded ranges that are kept for further readers. */
  readonly cacheBytesMax: number;
}

/** Encodes and frames each range once, however many readers want it: the last ones are kept, oldest out first. */
export class RangeEncoder {
  readonly #options: EncoderOptions;
  readonly #cache = new Map<string, EncodedRange>();
  readonly #schemas = new SchemaBook();
  /** Topics whose batches compression did not make smaller of late. Weak: it goes with the topic. */
  readonly #futile = new WeakMap<Topic, { misses: number; restBatches: number }>();
  #cacheBytes = 0;
  encoded = 0;
  reused = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  /**
   * The samples of a span under the number that the reader knows the topic by. `at` gives them; it is not asked when
   * somebody wanted the same range before.
   */
  encode(
    topic: Topic,
    topicId: number,
    { from, to }: Span,
    writing: Writing,
    at: (position: number) => Message = (position) => topic.stream.at(position)!,
  ): EncodedRange {
    const key = `${topicId}:${from}:${to}:${writing.key}`;
    const known = this.#cache.get(key);
    if (known !== undefined) {
      this.reused++;
      return known;
    }
    const samples = Array.from({ length: to - from }, (_, i) => at(from + i));
    const range = this.#encode(topic, topicId, samples, writing);
    this.encoded++;
    this.#cache.set(key, range);
    this.#cacheBytes += range.bytes.length;
    for (const [oldest, { bytes }] of this.#cache) {
      if (this.#cacheBytes <= this.#options.cacheBytesMax) break;
      this.#cache.delete(oldest);
      this.#cacheBytes -= bytes.length;
    }
    return range;
  }

  #encode(topic: Topic, topicId: number, samples: readonly Message[], writing: Writing): EncodedRange {
    if (writing.protocol !== 'sightline.v1.binary') {
      const form = writing.protocol === 'sightline.v1.json' ? 'json' : 'msgpack';
      const data = encodeData(topicId, samples[0]!.seq, samples.map(batchMessage), form);
      return { bytes: framed(data, form === 'json'), schemas: [] };
    }
    const schemas = new Set<TopicSchema>();
    const frames: Buffer[] = [];
    const messages = samples.map(batchMessage);
    for (let from = 0; from < messages.length;) {
      const run = this.#schemas.nextRun(topic, messages, from, writing.codecs);
      if (run.schema !== undefined) schemas.add(run.schema);
      const part = messages.slice(from, run.to);
      frames.push(framed(this.#batch(topic, topicId, samples[from]!.seq, part, run), false));
      from = run.to;
    }
    return { bytes: frames.length === 1 ? frames[0]! : Buffer.concat(frames), schemas: [...schemas] };
  }

  #batch(
    topic: Topic,
    topicId: number,
    firstSeq: number,
    messages: readonly BatchMessage[],
    { codec, schema }: { readonly codec: PayloadCodec; readonly schema: TopicSchema | undefined },
  ): Uint8Array {
    const bytes = messages.reduce((sum, { payload }) => sum + payload.byteLength, 0);
    const compression = this.#compressionFor(topic, bytes);
    const head = {
      topicId,
      epoch: topic.epoch,
      firstSeq,
      codec,
      compression,
      ...(schema && { schemaId: schema.id, schema: schema.fields }),
    } as const;
    const batch = encodeBatch(head, messages, this.#options.compressors);
    if (compression !== 'none') this.#learn(topic, batch[COMPRESSION_AT] !== 0);
    return batch;
  }

  #compressionFor(topic: Topic, bytes: number): Compression {
    const { compression, compressionThresholdBytes } = this.#options;
    if (bytes <= compressionThresholdBytes) return 'none';
    const futile = this.#futile.get(topic);
    if (futile === undefined || futile.restBatches === 0) return compression;
    futile.restBatches--;
    return 'none';
  }

  /** Compression that gains nothing is paused, and tried again now and then. */
  #learn(topic: Topic, hasGained: boolean): void {
    if (hasGained) {
      this.#futile.delete(topic);
      return;
    }
    const misses = (this.#futile.get(topic)?.misses ?? 0) + 1;
    this.#futile.set(topic, { misses, restBatches: misses >= MISSES_MAX ? REST_BATCHES : 0 });
  }
}

/** A control message as a WebSocket frame. */
export function controlFrame(control: TelemetryServerMessage, protocol: TelemetrySubprotocol): Buffer {
  const message = encodeTelemetryServerMessage(control, protocol);
  return typeof message === 'string' ? framed(Buffer.from(message), true) : framed(message, false);
}

/** One unmasked, final WebSocket frame (RFC 6455 §5.2). */
export function framed(data: Uint8Array, isText: boolean): Buffer {
  const { length } = data;
  const headBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafeSlow(headBytes + length);
  frame[0] = isText ? TEXT : BINARY;
  if (headBytes === 2) frame[1] = length;
  else if (headBytes === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.set(data, headBytes);
  return frame;
}

function batchMessage({ data, priority }: Message): BatchMessage {
  return { timeMs: data.timeMs, priority, payload: data.payload };
}
