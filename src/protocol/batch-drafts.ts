import { BATCH_LIMITS, type BatchHead, type BatchMessage, type BatchSection } from './batch.ts';
import { ColumnGatherer } from './columns.ts';
import type { BatchSchema, SchemaBook } from './schema-book.ts';
import { LARGE_BYTES, type Payload } from './payload.ts';
import type { Compression, PayloadCodec } from './telemetry.ts';

/** Layouts of one call. Further messages go as they are: with a layout for each message there would be nothing to gain. */
const LAYOUTS_MAX = 64;
const SAMPLE_MAX = 16;

/** What will be one batch: give `head` and `body` to `encodeBatch`. */
export interface BatchDraft {
  readonly codec: PayloadCodec;
  readonly schema: BatchSchema | undefined;
  readonly sections: { -readonly [K in keyof BatchSection]: BatchSection[K] }[];
  readonly messages: BatchMessage[];
  /** For columns, instead of the messages. */
  readonly gatherer: ColumnGatherer | undefined;
  /** The first messages, of the topic of the first section: to try things with. */
  readonly sample: BatchMessage[];
  /** Of the payloads. */
  bytes: number;
  count: number;
}

export interface DraftLimits {
  readonly messagesMax: number;
  /** Of the payloads; a larger message goes alone. */
  readonly bytesMax: number;
}

/** Messages on their way into batches: topics whose messages have one codec and layout share a batch. */
export class BatchDrafts<K extends object> {
  readonly drafts: BatchDraft[] = [];
  readonly #book: SchemaBook<K>;
  readonly #codecs: readonly PayloadCodec[];
  readonly #limits: DraftLimits;
  readonly #layouts = new Set<BatchSchema>();
  /** Where the last message of a topic is, by the topic's number. */
  readonly #places = new Map<number, number>();

  /** `codecs`: what the other side can read, best first. */
  constructor(
    book: SchemaBook<K>,
    codecs: readonly PayloadCodec[],
    limits: DraftLimits = { messagesMax: BATCH_LIMITS.messagesMax, bytesMax: BATCH_LIMITS.plainBytesMax },
  ) {
    this.#book = book;
    this.#codecs = codecs;
    this.#limits = limits;
  }

  /**
   * Consecutive messages of a topic; `firstSeq` 0: they have no numbers. They stay in their order: what comes later never goes
   * into an earlier batch.
   */
  add(
    topic: K,
    { topicId, epoch, firstSeq }: Pick<BatchSection, 'topicId' | 'epoch' | 'firstSeq'>,
    messages: readonly BatchMessage[],
  ): void {
    let place = this.#places.get(topicId) ?? 0;
    let last: BatchDraft | undefined;
    for (const [i, message] of messages.entries()) {
      place = this.#put(topic, message, place);
      const draft = this.drafts[place]!;
      draft.bytes += message.payload.byteLength;
      draft.count++;
      if (draft === last) draft.sections.at(-1)!.count++;
      else draft.sections.push({ topicId, epoch, firstSeq: firstSeq === 0 ? 0 : firstSeq + i, count: 1 });
      if (draft.sections.length === 1 && draft.sample.length < SAMPLE_MAX) draft.sample.push(message);
      last = draft;
    }
    this.#places.set(topicId, place);
  }

  /** Puts a message into a batch that can take it, at `earliest` or later, or into a new one. Gives its place. */
  #put(topic: K, message: BatchMessage, earliest: number): number {
    const { payload } = message;
    const isBytes = payload.raw !== undefined;
    const gathered =
      !isBytes && payload.byteLength <= LARGE_BYTES && this.#codecs.includes('columns')
        ? this.#putInColumns(topic, message, earliest)
        : undefined;
    if (gathered !== undefined) return gathered;
    const place = this.#placeFor(message, isBytes ? 'bytes' : this.#plainCodec(payload), undefined, earliest);
    this.drafts[place]!.messages.push(message);
    return place;
  }

  #putInColumns(topic: K, message: BatchMessage, earliest: number): number | undefined {
    const expected = this.#book.expected(topic);
    if (expected !== undefined) {
      // Not the message's fault: the topic is to keep its layout for the next call.
      if (!this.#takesLayout(expected)) return undefined;
      const place = this.#gather(message, expected, earliest);
      if (place !== undefined) {
        this.#book.fitted(topic);
        return place;
      }
    }
    const learned = this.#book.learn(topic, message.payload);
    return learned !== undefined && this.#takesLayout(learned) ? this.#gather(message, learned, earliest) : undefined;
  }

  #takesLayout(schema: BatchSchema): boolean {
    return this.#layouts.has(schema) || this.#layouts.size < LAYOUTS_MAX;
  }

  #gather(message: BatchMessage, schema: BatchSchema, earliest: number): number | undefined {
    const place = this.#placeFor(message, 'columns', schema, earliest);
    const draft = this.drafts[place]!;
    if (draft.gatherer!.add(message)) {
      this.#layouts.add(schema);
      return place;
    }
    if (draft.count === 0) this.drafts.pop();
    return undefined;
  }

  /** The first batch from `earliest` on that takes messages of this kind, or a new one at the end. */
  #placeFor(message: BatchMessage, codec: PayloadCodec, schema: BatchSchema | undefined, earliest: number): number {
    for (let place = earliest; place < this.drafts.length; place++) {
      const draft = this.drafts[place]!;
      if (draft.codec === codec && draft.schema === schema && this.#hasRoom(draft, message)) return place;
    }
    const gatherer = schema && new ColumnGatherer(schema.fields, BATCH_LIMITS.plainBytesMax);
    this.drafts.push({ codec, schema, sections: [], messages: [], gatherer, sample: [], bytes: 0, count: 0 });
    return this.drafts.length - 1;
  }

  #hasRoom({ count, bytes, gatherer, sections }: BatchDraft, { payload }: BatchMessage): boolean {
    const { messagesMax, bytesMax } = this.#limits;
    return (
      count < messagesMax &&
      bytes + payload.byteLength <= bytesMax &&
      sections.length < BATCH_LIMITS.sectionsMax &&
      gatherer?.isFull !== true
    );
  }

  #plainCodec({ form, byteLength }: Payload): PayloadCodec {
    if (byteLength > LARGE_BYTES && this.#codecs.includes(form as PayloadCodec)) return form as PayloadCodec;
    return this.#codecs.find((codec) => codec === 'msgpack' || codec === 'json') ?? 'msgpack';
  }
}

/** What `encodeBatch` has to know of it. */
export function headOf(
  { sections, codec, schema }: Pick<BatchDraft, 'sections' | 'codec' | 'schema'>,
  compression: Compression,
): BatchHead {
  return { sections, codec, compression, ...(schema && { schemaId: schema.id, schema: schema.fields }) };
}

export function bodyOf({ gatherer, messages }: BatchDraft): readonly BatchMessage[] | ColumnGatherer {
  return gatherer ?? messages;
}
