import type { ErrorCode } from '../base/errors.ts';
import { SightlineError } from '../base/errors.ts';
import type { BatchEnvelope, Decompressors } from '../protocol/batch.ts';
import { BATCH_LIMITS, decodeBatch, decodeBatchHeader, decodeColumns, envelopeBytes } from '../protocol/batch.ts';
import { ColumnBatch } from '../protocol/columns.ts';
import type { SchemaField } from '../protocol/telemetry.ts';
import { canInflate, inflateInto } from './compression.ts';

const COMPRESSION_AT = 2;
const NO_COMPRESSION = 0;

/** What the readers of a topic can do with a batch. */
export interface Want {
  readonly objects: boolean;
  readonly columns: boolean;
  /** Somebody keeps the columns: they need memory of their own. */
  readonly keeps: boolean;
}

/** A batch read. What its readers did not want is undefined. */
export interface DecodedBatch {
  readonly count: number;
  /** After decompression, with the envelope. */
  readonly plainBytes: number;
  readonly times: ArrayLike<number>;
  readonly priorities: ArrayLike<number>;
  readonly data: readonly unknown[] | undefined;
  readonly columns: ColumnSource | undefined;
}

/** Values of a batch by path. */
export interface ColumnSource {
  readonly paths: readonly string[];
  column(path: string): Float64Array | undefined;
  texts(path: string): readonly unknown[] | undefined;
}

/** What a batch holds of one topic. */
export interface DecodedSection {
  readonly topicId: number;
  readonly firstSeq: number;
  readonly batch: DecodedBatch;
}

/** What the readers of a topic want of it. */
export type WantOf = (topicId: number) => Want;

export interface BatchDecoder {
  /** Before the first batch that needs it; may replace an earlier one of that number. */
  setSchema(schemaId: number, fields: readonly SchemaField[]): void;
  /**
   * A batch, section by section, in what form its readers want; at once where that is possible, and then for `brief` use good
   * until the next one. Rejects or throws SightlineError.
   */
  decode(
    bytes: Uint8Array<ArrayBuffer>,
    envelope: BatchEnvelope,
    wantOf: WantOf,
    use?: 'own' | 'brief',
  ): DecodedSection[] | Promise<DecodedSection[]>;
  /** A new connection: its numbers mean other things. */
  reset(): void;
  close(): void;
}

/** The raw result of decoding, as it crosses from a worker: objects of columns are cheaper made on this side. */
export type RawBatch =
  | {
      readonly kind: 'columns';
      readonly batch: ColumnBatch;
      readonly plainBytes: number;
    }
  | {
      readonly kind: 'values';
      readonly times: Float64Array;
      readonly priorities: Uint8Array;
      readonly data: readonly unknown[];
      readonly plainBytes: number;
    };

/** Decodes where it is called. Only where a browser has zlib as a stream alone a batch takes a while. */
export class LocalDecoder implements BatchDecoder {
  readonly #decompressors: Decompressors;
  readonly #schemas = new Map<number, readonly SchemaField[]>();

  constructor(decompressors: Decompressors) {
    this.#decompressors = decompressors;
  }

  setSchema(schemaId: number, fields: readonly SchemaField[]): void {
    this.#schemas.set(schemaId, fields);
  }

  schemaOf(schemaId: number): readonly SchemaField[] | undefined {
    return this.#schemas.get(schemaId);
  }

  decode(
    bytes: Uint8Array<ArrayBuffer>,
    envelope: BatchEnvelope,
    wantOf: WantOf,
    use: 'own' | 'brief' = 'own',
  ): DecodedSection[] | Promise<DecodedSection[]> {
    const raw = this.decodeRaw(bytes, use);
    if (raw instanceof Promise) return raw.then((batch) => sectionsOf(batch, envelope, wantOf));
    return sectionsOf(raw, envelope, wantOf);
  }

  decodeRaw(bytes: Uint8Array<ArrayBuffer>, use: 'own' | 'brief' = 'own'): RawBatch | Promise<RawBatch> {
    const envelope = decodeBatchHeader(bytes);
    if (envelope.compression !== 'zlib' || this.#decompressors.zlib || !canInflate()) return this.#read(bytes, use);
    // Asked for now: a later layout may take over the number while this is being unpacked.
    const fields = this.schemaOf(envelope.schemaId);
    return unpacked(bytes, envelope).then((plain) => this.#read(plain, 'own', () => fields));
  }

  reset(): void {
    this.#schemas.clear();
  }

  close(): void {
    this.reset();
  }

  #read(bytes: Uint8Array, use: 'own' | 'brief', schemaOf = (schemaId: number) => this.schemaOf(schemaId)): RawBatch {
    const { codec, plainSize, sections } = decodeBatchHeader(bytes);
    const plainBytes = envelopeBytes(sections.length) + plainSize;
    if (codec === 'columns') {
      const { columns } = decodeColumns(bytes, schemaOf, this.#decompressors, BATCH_LIMITS, use);
      return { kind: 'columns', batch: columns, plainBytes };
    }
    const { messages } = decodeBatch(bytes, schemaOf, this.#decompressors);
    return {
      kind: 'values',
      times: Float64Array.from(messages, ({ timeMs }) => timeMs),
      priorities: Uint8Array.from(messages, ({ priority }) => priority),
      data: messages.map(({ payload }) => payload.value()),
      plainBytes,
    };
  }
}

/** The parts of a batch in the forms that somebody wants. */
function sectionsOf(raw: RawBatch, { sections, count: total }: BatchEnvelope, wantOf: WantOf): DecodedSection[] {
  let from = 0;
  return sections.map(({ topicId, firstSeq, count }) => {
    const part = sections.length === 1 ? raw : partOf(raw, from, count, total);
    from += count;
    return { topicId, firstSeq, batch: wanted(part, wantOf(topicId)) };
  });
}

/** Its share of the bytes is that of its messages. */
function partOf(raw: RawBatch, from: number, count: number, total: number): RawBatch {
  const plainBytes = (raw.plainBytes * count) / total;
  if (raw.kind === 'columns') return { kind: 'columns', batch: raw.batch.part(from, count), plainBytes };
  const to = from + count;
  const { times, priorities, data } = raw;
  return {
    kind: 'values',
    times: times.subarray(from, to),
    priorities: priorities.subarray(from, to),
    data: data.slice(from, to),
    plainBytes,
  };
}

/** A batch in the forms that somebody wants. */
function wanted(raw: RawBatch, want: Want): DecodedBatch {
  if (raw.kind === 'columns') {
    const { batch, plainBytes } = raw;
    const { count, times, priorities } = batch;
    const data = want.objects ? batch.objects() : undefined;
    const columns = want.columns ? columnsOf(batch) : undefined;
    return { count, plainBytes, times, priorities, data, columns };
  }
  const { times, priorities, data, plainBytes } = raw;
  const columns = want.columns ? flattened(data) : undefined;
  return { count: data.length, plainBytes, times, priorities, data, columns };
}

/** Values that are here as objects already, as the JSON and MessagePack protocols bring them. */
export function fromValues(
  messages: readonly { readonly time: number; readonly priority?: number; readonly data: unknown }[],
  plainBytes: number,
  want: Want,
): DecodedBatch {
  const times = Float64Array.from(messages, ({ time }) => time);
  const priorities = Uint8Array.from(messages, ({ priority = 1 }) => priority);
  const data = messages.map((message) => message.data);
  return wanted({ kind: 'values', times, priorities, data, plainBytes }, want);
}

function columnsOf(batch: ColumnBatch): ColumnSource {
  return {
    get paths() {
      return batch.fields.map(({ path }) => path);
    },
    column: (path) => batch.column(path),
    texts: (path) => batch.texts(path),
  };
}

/** The numbers and truth values of plain objects by path; NaN where a message has none. */
function flattened(values: readonly unknown[]): ColumnSource {
  const columns = new Map<string, Float64Array>();
  const put = (path: string, i: number, number: number): void => {
    let column = columns.get(path);
    if (!column) columns.set(path, (column = new Float64Array(values.length).fill(NaN)));
    column[i] = number;
  };
  const walk = (value: unknown, path: string, i: number): void => {
    if (typeof value === 'number') put(path, i, value);
    else if (typeof value === 'boolean') put(path, i, value ? 1 : 0);
    else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
      for (const [key, child] of Object.entries(value)) walk(child, path === '' ? key : `${path}.${key}`, i);
    }
  };
  for (const [i, value] of values.entries()) walk(value, '', i);
  return { paths: [...columns.keys()], column: (path) => columns.get(path), texts: () => undefined };
}

/** The same batch without compression. */
async function unpacked(
  bytes: Uint8Array<ArrayBuffer>,
  { sections, plainSize }: BatchEnvelope,
): Promise<Uint8Array<ArrayBuffer>> {
  const before = envelopeBytes(sections.length);
  const plain = new Uint8Array(before + plainSize);
  plain.set(bytes.subarray(0, before));
  plain[COMPRESSION_AT] = NO_COMPRESSION;
  await inflateInto(plain, bytes.subarray(before), plainSize);
  return plain;
}

// ── In a worker ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** To the worker. */
export type DecoderRequest =
  | { readonly type: 'schema'; readonly schemaId: number; readonly fields: readonly SchemaField[] }
  | { readonly type: 'batch'; readonly n: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: 'reset' };

/** From the worker. Columns cross as their parts, with the numbers transferred. */
export type DecoderReply =
  | { readonly type: 'ready' }
  | { readonly type: 'error'; readonly n: number; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'values'; readonly n: number; readonly batch: Extract<RawBatch, { kind: 'values' }> }
  | {
      readonly type: 'columns';
      readonly n: number;
      readonly count: number;
      readonly values: Float64Array<ArrayBuffer>;
      readonly texts: unknown[][];
      readonly plainBytes: number;
    };

/** What is needed of a `Worker`. */
export interface WorkerLike {
  postMessage(message: DecoderRequest, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { readonly data: DecoderReply }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
  terminate(): void;
}

interface WorkerJob {
  readonly envelope: BatchEnvelope;
  readonly wantOf: WantOf;
  /** Those of this side: what was made ready for a schema hangs on its list of fields. */
  readonly fields: readonly SchemaField[] | undefined;
  readonly result: PromiseWithResolvers<DecodedSection[]>;
}

function rawOf(reply: Extract<DecoderReply, { type: 'values' | 'columns' }>, { fields }: WorkerJob): RawBatch {
  if (reply.type === 'values') return reply.batch;
  const { count, values, texts, plainBytes } = reply;
  return { kind: 'columns', batch: new ColumnBatch(count, fields!, values, texts), plainBytes };
}

/**
 * Decodes in a worker, so that a page with plots stays fluent. Until the worker says that it is there, and when it dies or
 * never comes (a Content-Security-Policy without `worker-src`), batches are decoded in place.
 */
export class WorkerDecoder implements BatchDecoder {
  readonly #worker: WorkerLike;
  readonly #local: LocalDecoder;
  readonly #waiting = new Map<number, WorkerJob>();
  #ready = false;
  #lastNumber = 0;
  /** What the worker has to know before its first batch. */
  #requests: Extract<DecoderRequest, { type: 'schema' }>[] = [];

  constructor(worker: WorkerLike, local: LocalDecoder) {
    this.#worker = worker;
    this.#local = local;
    worker.addEventListener('message', ({ data }) => this.#onReply(data));
    worker.addEventListener('error', () => this.#giveUp());
  }

  setSchema(schemaId: number, fields: readonly SchemaField[]): void {
    this.#local.setSchema(schemaId, fields);
    const request = { type: 'schema', schemaId, fields } as const;
    if (this.#ready) this.#worker.postMessage(request, []);
    else this.#requests.push(request);
  }

  decode(
    bytes: Uint8Array<ArrayBuffer>,
    envelope: BatchEnvelope,
    wantOf: WantOf,
    use: 'own' | 'brief' = 'own',
  ): DecodedSection[] | Promise<DecodedSection[]> {
    if (!this.#ready) return this.#local.decode(bytes, envelope, wantOf, use);
    const n = ++this.#lastNumber;
    const result = Promise.withResolvers<DecodedSection[]>();
    this.#waiting.set(n, { envelope, wantOf, fields: this.#local.schemaOf(envelope.schemaId), result });
    this.#worker.postMessage({ type: 'batch', n, bytes }, [bytes.buffer]);
    return result.promise;
  }

  reset(): void {
    this.#local.reset();
    this.#requests = [];
    if (this.#ready) this.#worker.postMessage({ type: 'reset' }, []);
  }

  close(): void {
    this.#worker.terminate();
    this.#giveUp();
  }

  #onReply(reply: DecoderReply): void {
    if (reply.type === 'ready') {
      for (const request of this.#requests) this.#worker.postMessage(request, []);
      this.#requests = [];
      this.#ready = true;
      return;
    }
    const waiting = this.#waiting.get(reply.n);
    if (!waiting) return;
    this.#waiting.delete(reply.n);
    const { envelope, wantOf, result } = waiting;
    if (reply.type === 'error') result.reject(new SightlineError(reply.code, reply.message));
    else result.resolve(sectionsOf(rawOf(reply, waiting), envelope, wantOf));
  }

  /** What it had in hand is lost: its bytes went over with the request. */
  #giveUp(): void {
    this.#ready = false;
    const error = new SightlineError('DECODER_LOST', 'the decoding worker is gone, and a batch with it');
    for (const { result } of this.#waiting.values()) result.reject(error);
    this.#waiting.clear();
  }
}
