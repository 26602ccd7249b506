import type { ErrorCode } from '../base/errors.ts';
import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import type { BatchEnvelope, Decompressors } from '../protocol/batch.ts';
import { BATCH_LIMITS, envelopeBytes, readColumns, readMessages } from '../protocol/batch.ts';
import { ColumnBatch } from '../protocol/columns.ts';
import { shareFields } from '../protocol/schema.ts';
import type { SchemaField } from '../protocol/telemetry.ts';
import { canInflate, inflateInto } from './compression.ts';

const COMPRESSION_AT = 2;
const NO_COMPRESSION = 0;
/**
 * Values of a batch of columns from which a worker pays. To send it there and to take the numbers back costs a page's main thread
 * 100 to 200 µs, however many they are; half as many are read in that time, but a flood of such batches gained nothing by a worker.
 */
const CROSSING_VALUES_MIN = 32_768;

/** Messages of a batch, or a part of them, in the forms that readers ask for. */
export interface DecodedBatch {
  readonly count: number;
  /** Unix ms on the server's clock. */
  readonly times: Float64Array;
  /** Of all fields that `column` or `texts` gives. */
  readonly paths: readonly string[];
  timeMs(index: number): number;
  priority(index: number): Priority;
  /** The messages' values; made once, whoever asks. */
  objects(): readonly unknown[];
  column(path: string): Float64Array | undefined;
  texts(path: string): readonly unknown[] | undefined;
  /** `count` messages from the one at `from` on. */
  part(from: number, count: number): DecodedBatch;
}

/** How long a decoded batch is of use: for good, or (`brief`) until the next one is decoded. */
export type BatchUse = 'own' | 'brief';

export interface BatchDecoder {
  /** Before the first batch that needs it; may replace an earlier one of that number. */
  setSchema(schemaId: number, fields: readonly SchemaField[]): void;
  /** A batch, at once where that is possible; one that takes a while is for good. Rejects or throws SightlineError. */
  decode(bytes: Uint8Array<ArrayBuffer>, envelope: BatchEnvelope, use?: BatchUse): DecodedBatch | Promise<DecodedBatch>;
  /** A new connection: its numbers mean other things. */
  reset(): void;
  close(): void;
}

/** Decodes where it is called. Only where a browser has zlib as a stream alone a batch takes a while. */
export class LocalDecoder implements BatchDecoder {
  readonly #decompressors: Decompressors;
  readonly #schemas = new Map<number, readonly SchemaField[]>();
  readonly #schemaOf = (schemaId: number): readonly SchemaField[] | undefined => this.#schemas.get(schemaId);

  constructor(decompressors: Decompressors) {
    this.#decompressors = decompressors;
  }

  setSchema(schemaId: number, fields: readonly SchemaField[]): void {
    this.#schemas.set(schemaId, shareFields(fields));
  }

  schemaOf(schemaId: number): readonly SchemaField[] | undefined {
    return this.#schemas.get(schemaId);
  }

  /** It is unpacked by a stream. */
  takesAWhile({ compression }: BatchEnvelope): boolean {
    return compression === 'zlib' && this.#decompressors.zlib === undefined && canInflate();
  }

  decode(
    bytes: Uint8Array<ArrayBuffer>,
    envelope: BatchEnvelope,
    use: BatchUse = 'own',
  ): ColumnBatch | ValueBatch | Promise<ColumnBatch | ValueBatch> {
    if (!this.takesAWhile(envelope)) return this.#read(bytes, envelope, use, this.#schemaOf);
    // Asked for now: a later layout may take over the number while this is being unpacked.
    const fields = this.schemaOf(envelope.schemaId);
    return unpacked(bytes, envelope).then((plain) =>
      this.#read(plain, { ...envelope, compression: 'none' }, 'own', () => fields),
    );
  }

  reset(): void {
    this.#schemas.clear();
  }

  close(): void {
    this.reset();
  }

  #read(
    bytes: Uint8Array,
    envelope: BatchEnvelope,
    use: BatchUse,
    schemaOf: (schemaId: number) => readonly SchemaField[] | undefined,
  ): ColumnBatch | ValueBatch {
    if (envelope.codec === 'columns') {
      return readColumns(bytes, envelope, schemaOf, this.#decompressors, BATCH_LIMITS, use);
    }
    // Values of bytes are parts of it, and would keep what a socket has read beside it.
    const messages = readMessages(exactly(bytes), envelope, this.#decompressors);
    return new ValueBatch(
      Float64Array.from(messages, ({ timeMs }) => timeMs),
      Uint8Array.from(messages, ({ priority }) => priority),
      messages.map(({ payload }) => payload.value()),
    );
  }
}

/** The same bytes in memory that has nothing else in it. */
export function exactly<Bytes extends Uint8Array>(bytes: Bytes): Bytes | Uint8Array<ArrayBuffer> {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes);
}

/** Messages that are here as values already, as JSON and MessagePack bring them. */
export class ValueBatch implements DecodedBatch {
  readonly times: Float64Array;
  readonly priorities: Uint8Array;
  readonly values: readonly unknown[];
  #columns: Map<string, Float64Array> | undefined;

  constructor(times: Float64Array, priorities: Uint8Array, values: readonly unknown[]) {
    this.times = times;
    this.priorities = priorities;
    this.values = values;
  }

  /** The messages of the JSON and MessagePack protocols. */
  static of(
    messages: readonly { readonly time: number; readonly priority?: number; readonly data: unknown }[],
  ): ValueBatch {
    return new ValueBatch(
      Float64Array.from(messages, ({ time }) => time),
      Uint8Array.from(messages, ({ priority = 1 }) => priority),
      messages.map(({ data }) => data),
    );
  }

  get count(): number {
    return this.values.length;
  }

  get paths(): readonly string[] {
    return [...this.#flattened().keys()];
  }

  timeMs(index: number): number {
    return this.times[index]!;
  }

  priority(index: number): Priority {
    return this.priorities[index] as Priority;
  }

  objects(): readonly unknown[] {
    return this.values;
  }

  column(path: string): Float64Array | undefined {
    return this.#flattened().get(path);
  }

  texts(): undefined {
    return undefined;
  }

  part(from: number, count: number): ValueBatch {
    const to = from + count;
    return new ValueBatch(
      this.times.subarray(from, to),
      this.priorities.subarray(from, to),
      this.values.slice(from, to),
    );
  }

  #flattened(): Map<string, Float64Array> {
    return (this.#columns ??= flattened(this.values));
  }
}

/** The numbers and truth values of plain objects by path; NaN where a message has none. */
function flattened(values: readonly unknown[]): Map<string, Float64Array> {
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
  return columns;
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
  | {
      readonly type: 'values';
      readonly n: number;
      readonly times: Float64Array<ArrayBuffer>;
      readonly priorities: Uint8Array<ArrayBuffer>;
      readonly values: readonly unknown[];
    }
  | {
      readonly type: 'columns';
      readonly n: number;
      readonly count: number;
      readonly values: Float64Array<ArrayBuffer>;
      readonly texts: unknown[][];
    };

/** What is needed of a `Worker`. */
export interface WorkerLike {
  postMessage(message: DecoderRequest, transfer: ArrayBuffer[]): void;
  addEventListener(type: 'message', listener: (event: { readonly data: DecoderReply }) => void): void;
  addEventListener(type: 'error', listener: () => void): void;
  terminate(): void;
}

interface WorkerJob {
  /** Those of this side: what was made ready for a schema hangs on its list of fields. */
  readonly fields: readonly SchemaField[] | undefined;
  readonly result: PromiseWithResolvers<DecodedBatch>;
}

function batchOf(reply: Extract<DecoderReply, { type: 'values' | 'columns' }>, { fields }: WorkerJob): DecodedBatch {
  if (reply.type === 'values') return new ValueBatch(reply.times, reply.priorities, reply.values);
  return new ColumnBatch(reply.count, fields!, reply.values, reply.texts);
}

/**
 * Decodes in a worker what would hold up a page with plots: large batches of columns, and those that a stream has to unpack. What is read sooner than
 * it is sent over is decoded in place: small batches, and all values of JSON and MessagePack, which would be cloned on their way back. So is everything
 * until the worker says that it is there, and when it dies or never comes (a Content-Security-Policy without `worker-src`).
 */
export class WorkerDecoder implements BatchDecoder {
  readonly #worker: WorkerLike;
  readonly #local: LocalDecoder;
  readonly #valuesMin: number;
  readonly #waiting = new Map<number, WorkerJob>();
  #ready = false;
  #lastNumber = 0;
  /** What the worker has to know before its first batch. */
  #requests: Extract<DecoderRequest, { type: 'schema' }>[] = [];

  /** `valuesMin`: of a batch of columns that goes over. */
  constructor(worker: WorkerLike, local: LocalDecoder, valuesMin = CROSSING_VALUES_MIN) {
    this.#worker = worker;
    this.#local = local;
    this.#valuesMin = valuesMin;
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
    use: BatchUse = 'own',
  ): DecodedBatch | Promise<DecodedBatch> {
    if (!this.#ready || !this.#isWorthIt(envelope)) return this.#local.decode(bytes, envelope, use);
    const n = ++this.#lastNumber;
    const result = Promise.withResolvers<DecodedBatch>();
    this.#waiting.set(n, { fields: this.#local.schemaOf(envelope.schemaId), result });
    const own = exactly(bytes);
    this.#worker.postMessage({ type: 'batch', n, bytes: own }, [own.buffer]);
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

  #isWorthIt(envelope: BatchEnvelope): boolean {
    if (this.#local.takesAWhile(envelope)) return true;
    const { codec, count, schemaId } = envelope;
    if (codec !== 'columns') return false;
    return count * (this.#local.schemaOf(schemaId)?.length ?? 0) >= this.#valuesMin;
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
    const { result } = waiting;
    if (reply.type === 'error') result.reject(new SightlineError(reply.code, reply.message));
    else result.resolve(batchOf(reply, waiting));
  }

  /** What it had in hand is lost: its bytes went over with the request. */
  #giveUp(): void {
    this.#ready = false;
    const error = new SightlineError('DECODER_LOST', 'the decoding worker is gone, and a batch with it');
    for (const { result } of this.#waiting.values()) result.reject(error);
    this.#waiting.clear();
  }
}
