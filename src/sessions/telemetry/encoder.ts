import type { Sample } from '../../base/sample.ts';
import { BatchDrafts, bodyOf, headOf, type BatchDraft } from '../../protocol/batch-drafts.ts';
import { encodeBatch, type BatchMessage, type Compressors, type Decompressors } from '../../protocol/batch.ts';
import { SchemaBook, type BatchSchema } from '../../protocol/schema-book.ts';
import { encodeData } from '../../protocol/telemetry-codec.ts';
import type { SchemaField } from '../../protocol/telemetry.ts';
import type { Span } from '../../stream/range-reader.ts';
import type { TelemetryMessage, Topic } from '../../stream/topics.ts';
import { CompressionChoice, type CompressionSettings } from './compression.ts';
import { framed } from './frames.ts';
import type { WireFormat } from './wire-format.ts';

type Message = Sample<TelemetryMessage>;

/** Place of the compression in a batch's envelope; 0 is none. */
const COMPRESSION_AT = 2;
/** Layouts that a server knows at once, and the memory that they take. */
const SCHEMAS_MAX = 1_024;
export const SCHEMA_BYTES_MAX = 16 * 1024 * 1024;

/** An encoded range that is kept, beside its bytes. */
const RANGE_BYTES = 500;

/** Consecutive messages of one topic, for readers that know it by the same number. */
export interface Part extends Span {
  readonly topic: Topic;
  readonly topicId: number;
}

/** Messages as they go over the wire: one or more WebSocket frames in one piece. Nobody writes into it. */
export interface EncodedRange {
  readonly bytes: Buffer;
  /** The layouts that the reader must know first. */
  readonly schemas: readonly BatchSchema[];
}

export interface EncoderOptions extends CompressionSettings {
  readonly compressors: Compressors;
  readonly decompressors: Decompressors;
  /** A clock with fractions of a millisecond, to measure with. */
  readonly now: () => number;
  /** Memory of encoded ranges that are kept for further readers. */
  readonly cacheBytesMax: number;
}

/** Encodes and frames each range once, however many readers want it: the last ones are kept, oldest out first. */
export class RangeEncoder {
  readonly #options: EncoderOptions;
  readonly #cache = new Map<string, EncodedRange>();
  readonly #schemas = new SchemaBook<Topic>(SCHEMAS_MAX, SCHEMA_BYTES_MAX);
  readonly #compression: CompressionChoice;
  #cacheBytes = 0;
  /** How many of those that are kept were made since the last call of `age`. */
  #fresh = 0;
  encoded = 0;
  reused = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
    this.#compression = new CompressionChoice(options, options.compressors, options.decompressors, options.now);
  }

  /**
   * The samples of all parts. In binary batches topics whose messages have one shape share a batch. `at` gives the samples;
   * it is not asked when somebody wanted the same before.
   */
  encode(
    parts: readonly Part[],
    format: WireFormat,
    at: (part: Part, position: number) => Message = held,
  ): EncodedRange {
    let key = format.key;
    for (const { topicId, from, to } of parts) key += ` ${topicId}:${from}:${to}`;
    const known = this.#cache.get(key);
    if (known !== undefined) {
      this.reused++;
      return known;
    }
    const range =
      format.protocol === 'sightline.v1.binary' ? this.#batches(parts, format, at) : dataOf(parts, format, at);
    this.encoded++;
    this.#cache.set(key, range);
    this.#cacheBytes += range.bytes.length + RANGE_BYTES;
    this.#fresh++;
    this.#forgetWhile(() => this.#cacheBytes > this.#options.cacheBytesMax);
    return range;
  }

  /** Forgets what was encoded before the last call: readers that keep up want what is new. */
  age(): void {
    this.#forgetWhile(() => this.#cache.size > this.#fresh);
    this.#fresh = 0;
  }

  #forgetWhile(isTooMuch: () => boolean): void {
    if (!isTooMuch()) return;
    for (const [oldest, { bytes }] of this.#cache) {
      this.#cache.delete(oldest);
      this.#cacheBytes -= bytes.length + RANGE_BYTES;
      if (!isTooMuch()) break;
    }
    this.#fresh = Math.min(this.#fresh, this.#cache.size);
  }

  /** The one list of such fields: what comes in it can go out without a look at each leaf. */
  internFields(fields: readonly SchemaField[]): readonly SchemaField[] {
    return this.#schemas.intern(fields);
  }

  /** As `encode`, each part as all readers of its topic get it, in as few pieces as the numbers of their layouts allow. */
  encodeApart(parts: readonly Part[], format: WireFormat): EncodedRange[] {
    const pieces: { ranges: EncodedRange[]; schemas: Map<number, BatchSchema> }[] = [];
    for (const part of parts) {
      const range = this.encode([part], format);
      let piece = pieces.at(-1);
      const isAtOdds = range.schemas.some((schema) => (piece?.schemas.get(schema.id) ?? schema) !== schema);
      if (piece === undefined || isAtOdds) pieces.push((piece = { ranges: [], schemas: new Map() }));
      piece.ranges.push(range);
      for (const schema of range.schemas) piece.schemas.set(schema.id, schema);
    }
    return pieces.map(({ ranges, schemas }) => ({
      bytes: Buffer.concat(ranges.map(({ bytes }) => bytes)),
      schemas: [...schemas.values()],
    }));
  }

  #batches(parts: readonly Part[], format: WireFormat, at: (part: Part, position: number) => Message): EncodedRange {
    const drafts = new BatchDrafts<Topic>(this.#schemas, format.codecs);
    for (const part of parts) {
      const { topic, topicId, from } = part;
      drafts.add(topic, { topicId, epoch: topic.epoch, firstSeq: from + 1 }, messagesOf(part, at));
    }
    const schemas = new Set<BatchSchema>();
    for (const { schema } of drafts.drafts) if (schema !== undefined) schemas.add(schema);
    const frames = drafts.drafts.map((draft) => framed(this.#batch(draft, parts[0]!.topic), false));
    return { bytes: frames.length === 1 ? frames[0]! : Buffer.concat(frames), schemas: [...schemas] };
  }

  #batch(draft: BatchDraft, topic: Topic): Uint8Array {
    const compression = this.#compression.choose(topic, draft);
    const batch = encodeBatch(headOf(draft, compression), bodyOf(draft), this.#options.compressors);
    if (compression !== 'none') this.#compression.learn(topic, batch[COMPRESSION_AT] !== 0);
    return batch;
  }
}

function held({ topic }: Part, position: number): Message {
  return topic.stream.at(position)!;
}

function messagesOf(part: Part, at: (part: Part, position: number) => Message): BatchMessage[] {
  return Array.from({ length: part.to - part.from }, (_, i) => batchMessage(at(part, part.from + i)));
}

/** A `data` message for each part. */
function dataOf(
  parts: readonly Part[],
  { protocol }: WireFormat,
  at: (part: Part, position: number) => Message,
): EncodedRange {
  const form = protocol === 'sightline.v1.json' ? 'json' : 'msgpack';
  const frames = parts.map((part) =>
    framed(encodeData(part.topicId, part.from + 1, messagesOf(part, at), form), form === 'json'),
  );
  return { bytes: frames.length === 1 ? frames[0]! : Buffer.concat(frames), schemas: [] };
}

function batchMessage({ data, priority }: Message): BatchMessage {
  return { timeMs: data.timeMs, priority, payload: data.payload };
}
