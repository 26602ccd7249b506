import type { ErrorCode } from '../base/errors.ts';
import { SightlineError } from '../base/errors.ts';
import type { Decompressors } from '../protocol/batch.ts';
import { decodeBatch, decodeBatchHeader, decodeColumns, ENVELOPE_BYTES } from '../protocol/batch.ts';
import { ColumnBatch } from '../protocol/columns.ts';
import type { SchemaField } from '../protocol/telemetry.ts';
import { canInflate, inflateInto } from './compression.ts';

const COMPRESSION_AT = 2;
const NO_COMPRESSION = 0;

/** What the readers of a topic can do with a batch. */
export interface Want {
  readonly objects: boolean;
  readonly columns: boolean;
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

export interface BatchDecoder {
  /** Before the first batch that needs it. */
  setSchema(topicId: number, schemaId: number, fields: readonly SchemaField[]): void;
  /** A batch in what form its readers want; at once where that is possible. Rejects or throws SightlineError. */
  decode(bytes: Uint8Array<ArrayBuffer>, want: Want): DecodedBatch | Promise<DecodedBatch>;
  /** A new connection: its topic ids mean other things. */
  reset(): void;
  close(): void;
}

/** The raw result of decoding, as it crosses from a worker: objects of columns are cheaper made on this side. */
export type RawBatch =
  | {
      readonly kind: 'columns';
      readonly batch: ColumnBatch;
      readonly topicId: number;
      readonly schemaId: number;
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
  readonly #schemas = new Map<number, Map<number, readonly SchemaField[]>>();

  constructor(decompressors: Decompressors) {
    this.#decompressors = decompressors;
  }

  setSchema(topicId: number, schemaId: number, fields: readonly SchemaField[]): void {
    let ofTopic = this.#schemas.get(topicId);
    if (!ofTopic) this.#schemas.set(topicId, (ofTopic = new Map()));
    ofTopic.set(schemaId, fields);
  }

  schemaOf(topicId: number, schemaId: number): readonly SchemaField[] | undefined {
    return this.#schemas.get(topicId)?.get(schemaId);
  }

  decode(bytes: Uint8Array<ArrayBuffer>, want: Want): DecodedBatch | Promise<DecodedBatch> {
    const raw = this.decodeRaw(bytes);
    return raw instanceof Promise ? raw.then((batch) => wanted(batch, want)) : wanted(raw, want);
  }

  decodeRaw(bytes: Uint8Array<ArrayBuffer>): RawBatch | Promise<RawBatch> {
    const { compression, plainSize } = decodeBatchHeader(bytes);
    if (compression !== 'zlib' || this.#decompressors.zlib || !canInflate()) return this.#read(bytes);
    return unpacked(bytes, plainSize).then((plain) => this.#read(plain));
  }

  reset(): void {
    this.#schemas.clear();
  }

  close(): void {
    this.reset();
  }

  #read(bytes: Uint8Array): RawBatch {
    const schemaOf = (topicId: number, schemaId: number) => this.schemaOf(topicId, schemaId);
    const { codec, plainSize, topicId, schemaId } = decodeBatchHeader(bytes);
    const plainBytes = ENVELOPE_BYTES + plainSize;
    if (codec === 'columns') {
      const { columns } = decodeColumns(bytes, schemaOf, this.#decompressors);
      return { kind: 'columns', batch: columns, topicId, schemaId, plainBytes };
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

/** A batch in the forms that somebody wants. */
export function wanted(raw: RawBatch, want: Want): DecodedBatch {
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
async function unpacked(bytes: Uint8Array<ArrayBuffer>, plainSize: number): Promise<Uint8Array<ArrayBuffer>> {
  const plain = new Uint8Array(ENVELOPE_BYTES + plainSize);
  plain.set(bytes.subarray(0, ENVELOPE_BYTES));
  plain[COMPRESSION_AT] = NO_COMPRESSION;
  await inflateInto(plain, bytes.subarray(ENVELOPE_BYTES), plainSize);
  return plain;
}

// ── In a worker ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** To the worker. */
export type DecoderRequest =
  | {
      readonly type: 'schema';
      readonly topicId: number;
      readonly schemaId: number;
      readonly fields: readonly SchemaField[];
    }
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
      readonly topicId: number;
      readonly schemaId: number;
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

/**
 * Decodes in a worker, so that a page with plots stays fluent. Until the worker says that it is there, and when it dies or
 * never comes (a Content-Security-Policy without `worker-src`), batches are decoded in place.
 */
export class WorkerDecoder implements BatchDecoder {
  readonly #worker: WorkerLike;
  readonly #local: LocalDecoder;
  readonly #waiting = new Map<number, { want: Want; result: PromiseWithResolvers<DecodedBatch> }>();
  #ready = false;
  #lastNumber = 0;
  #requests: Extract<DecoderRequest, { type: 'schema' }>[] = [];

  constructor(worker: WorkerLike, local: LocalDecoder) {
    this.#worker = worker;
    this.#local = local;
    worker.addEventListener('message', ({ data }) => this.#onReply(data));
    worker.addEventListener('error', () => this.#giveUp());
  }

  setSchema(topicId: number, schemaId: number, fields: readonly SchemaField[]): void {
    this.#local.setSchema(topicId, schemaId, fields);
    const request = { type: 'schema', topicId, schemaId, fields } as const;
    this.#requests.push(request);
    if (this.#ready) this.#worker.postMessage(request, []);
  }

  decode(bytes: Uint8Array<ArrayBuffer>, want: Want): DecodedBatch | Promise<DecodedBatch> {
    if (!this.#ready) return this.#local.decode(bytes, want);
    const n = ++this.#lastNumber;
    const result = Promise.withResolvers<DecodedBatch>();
    this.#waiting.set(n, { want, result });
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
      this.#ready = true;
      return;
    }
    const waiting = this.#waiting.get(reply.n);
    if (!waiting) return;
    this.#waiting.delete(reply.n);
    const raw = reply.type === 'error' ? undefined : this.#rawOf(reply);
    if (raw) return waiting.result.resolve(wanted(raw, waiting.want));
    const message = reply.type === 'error' ? reply.message : 'its schema belonged to another connection';
    waiting.result.reject(new SightlineError(reply.type === 'error' ? reply.code : 'SCHEMA_UNKNOWN', message));
  }

  /** The fields are those of this side: what was made ready for a schema hangs on its list of fields. */
  #rawOf(reply: Extract<DecoderReply, { type: 'values' | 'columns' }>): RawBatch | undefined {
    if (reply.type === 'values') return reply.batch;
    const { count, topicId, schemaId, values, texts, plainBytes } = reply;
    const fields = this.#local.schemaOf(topicId, schemaId);
    return (
      fields && { kind: 'columns', batch: new ColumnBatch(count, fields, values, texts), topicId, schemaId, plainBytes }
    );
  }

  /** What it had in hand is lost: its bytes went over with the request. */
  #giveUp(): void {
    this.#ready = false;
    const error = new SightlineError('DECODER_LOST', 'the decoding worker is gone, and a batch with it');
    for (const { result } of this.#waiting.values()) result.reject(error);
    this.#waiting.clear();
  }
}
