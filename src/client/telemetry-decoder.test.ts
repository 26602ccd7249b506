import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Priority } from '../base/sample.ts';
import type { BatchHead, BatchSection } from '../protocol/batch.ts';
import { decodeBatchHeader, encodeBatch } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { platformCompressors, platformDecompressors } from './compression.ts';
import type { BatchDecoder, DecodedBatch, DecoderReply, DecoderRequest, WorkerLike } from './telemetry-decoder.ts';
import { LocalDecoder, WorkerDecoder } from './telemetry-decoder.ts';

const FIELDS = [
  { path: 'x', kind: 'f64' },
  { path: 'y', kind: 'f64' },
  { path: 'mode', kind: 'json' },
] as const;
const COLUMNS = { codec: 'columns', schemaId: 1, schema: FIELDS } as const;
const ZLIB = { compression: 'zlib' } as const;
const OTHER_FIELDS = [
  { path: 'y', kind: 'f64' },
  { path: 'x', kind: 'f64' },
  { path: 'mode', kind: 'json' },
] as const;
const values = Array.from({ length: 200 }, (_, n) => ({ x: n / 3, y: Math.floor(n / 10), mode: n < 100 ? 'a' : 'b' }));

function batch(head: Partial<BatchHead> = {}, rows: readonly unknown[] = values): Uint8Array<ArrayBuffer> {
  const messages = rows.map((value, n) => ({
    timeMs: 1_700_000_000_000 + n,
    priority: Priority.high,
    payload: Payload.of(value),
  }));
  const sections = [section(5, 1, messages.length)];
  return encodeBatch({ sections, codec: 'msgpack', compression: 'none', ...head }, messages, platformCompressors());
}

function section(topicId: number, firstSeq: number, count: number): BatchSection {
  return { topicId, epoch: 1, firstSeq, count };
}

/** Topic 5 twice, and another one between. */
const SECTIONS = [section(5, 1, 30), section(6, 900, 150), section(5, 31, 20)];
const PLACES = [
  [0, 200],
  [0, 30],
  [30, 180],
  [180, 200],
] as const;

function decode(decoder: BatchDecoder, bytes: Uint8Array<ArrayBuffer>): DecodedBatch | Promise<DecodedBatch> {
  return decoder.decode(bytes, decodeBatchHeader(bytes));
}

/** Each part, and the whole, in every form. */
function expectValues(batch: DecodedBatch): void {
  for (const [from, to] of PLACES) {
    const part = batch.part(from, to - from);
    const own = values.slice(from, to);
    expect(part.count).toBe(to - from);
    expect(part.objects()).toEqual(own);
    expect(part.objects()).toBe(part.objects());
    expect(Array.from(part.times)).toEqual(own.map((_, n) => 1_700_000_000_000 + from + n));
    expect(part.timeMs(to - from - 1)).toBe(1_700_000_000_000 + to - 1);
    expect(own.map((_, n) => part.priority(n))).toEqual(own.map(() => Priority.high));
    expect(part.paths).toEqual(expect.arrayContaining(['x', 'y']));
    expect(Array.from(part.column('x')!)).toEqual(own.map(({ x }) => x));
    expect(part.texts('mode') ?? own.map(({ mode }) => mode)).toEqual(own.map(({ mode }) => mode));
    expect([part.column('nothing'), part.texts('nothing')]).toEqual([undefined, undefined]);
  }
}

afterEach(() => vi.unstubAllGlobals());

describe('decoding in place', () => {
  test.each([
    ['MessagePack', {}],
    ['JSON, compressed', { codec: 'json', compression: 'zlib' }],
    ['columns', COLUMNS],
    ['columns, compressed', { ...COLUMNS, compression: 'zlib' }],
  ] satisfies [string, Partial<BatchHead>][])('%s', async (_, head) => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    expectValues(await decode(decoder, batch(head)));
    expectValues(await decode(decoder, batch({ ...head, sections: SECTIONS })));
  });

  test('a number may be given to another layout: batches after it mean the new one', async () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const before = await decode(decoder, batch(COLUMNS));
    decoder.setSchema(1, OTHER_FIELDS);
    const after = await decode(decoder, batch({ ...COLUMNS, schema: OTHER_FIELDS }));
    for (const decoded of [before, after]) expectValues(decoded);
    expect([before, after].map(({ paths }) => paths[0])).toEqual(['x', 'y']);
  });

  test('where zlib is a stream alone (browsers) a batch takes a while, and a bomb is not taken', async () => {
    const decoder = new LocalDecoder({});
    const bytes = batch({ compression: 'zlib' });
    const promise = decode(decoder, bytes);
    expect(promise).toBeInstanceOf(Promise);
    expectValues(await promise);
    for (const claim of [100, 1_000_000]) {
      const lying = bytes.slice();
      new DataView(lying.buffer).setUint32(8, claim, true);
      await expect(decode(decoder, lying)).rejects.toMatchObject({ code: 'COMPRESSION_BAD' });
    }
    // The layout may have another meaning by the time that the batch is unpacked.
    decoder.setSchema(1, FIELDS);
    const several = { ...COLUMNS, sections: SECTIONS } as const;
    const decoded = decode(decoder, batch({ ...several, compression: 'zlib' }));
    expect(decoded).toBeInstanceOf(Promise);
    decoder.setSchema(1, OTHER_FIELDS);
    expectValues(await decoded);
  });

  test('for brief use columns lie where those of the next batch will; objects last', async () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const other = values.map(({ x, ...more }) => ({ ...more, x: -x }));
    const read = (use: 'own' | 'brief', rows: readonly unknown[]) => {
      const bytes = batch(COLUMNS, rows);
      return decoder.decode(bytes, decodeBatchHeader(bytes), use) as DecodedBatch;
    };
    const xs = (decoded: DecodedBatch) => decoded.column('x')!;
    for (const use of ['brief', 'own'] as const) {
      const first = read(use, values);
      const objects = first.objects();
      expect(Array.from(xs(first))).toEqual(values.map(({ x }) => x));
      const second = read(use, other);
      expect(Array.from(xs(second))).toEqual(other.map(({ x }) => x));
      expect(xs(second).buffer === xs(first).buffer).toBe(use === 'brief');
      expect(Array.from(xs(first))).toEqual((use === 'brief' ? other : values).map(({ x }) => x));
      expect([objects, second.objects()]).toEqual([values, other]);
    }
  });

  test('one message for brief use: its columns are views that are made once', () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const read = (row: unknown) => {
      const bytes = batch(COLUMNS, [row]);
      return decoder.decode(bytes, decodeBatchHeader(bytes), 'brief') as DecodedBatch;
    };
    const first = read(values[7]);
    const x = first.column('x')!;
    expect(Array.from(x)).toEqual([values[7]!.x]);
    const second = read(values[150]);
    expect(second.column('x')).toBe(x);
    expect([x[0], second.column('y')![0], second.texts('mode')]).toEqual([values[150]!.x, values[150]!.y, ['b']]);
    expect(second.objects()).toEqual([values[150]]);
  });

  test('a program that hands lent memory to another thread harms no later batch', () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const read = () => {
      const bytes = batch(COLUMNS, [values[150]]);
      return decoder.decode(bytes, decodeBatchHeader(bytes), 'brief') as DecodedBatch;
    };
    const { buffer } = read().column('x')!;
    structuredClone(buffer, { transfer: [buffer] });
    expect(Array.from(read().column('x')!)).toEqual([values[150]!.x]);
    expect(read().objects()).toEqual([values[150]]);
  });

  test('a number that nobody has told of', () => {
    const decoder = new LocalDecoder({});
    decoder.setSchema(1, FIELDS);
    decoder.reset();
    expect(() => decode(decoder, batch(COLUMNS))).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
  });

  test('bytes keep no more of what the socket has read than their own batch', () => {
    const plain = encodeBatch(
      { sections: [section(5, 1, 1)], codec: 'bytes', compression: 'none' },
      [{ timeMs: 1, priority: Priority.normal, payload: Payload.bytes(Uint8Array.of(1, 2, 3)) }],
      {},
    );
    const slab = new Uint8Array(65_536);
    slab.set(plain, 100);
    const bytes = slab.subarray(100, 100 + plain.length);
    const [value] = (decode(new LocalDecoder({}), bytes) as DecodedBatch).objects() as [Uint8Array];
    expect(Array.from(value)).toEqual([1, 2, 3]);
    expect(value.buffer.byteLength).toBe(plain.length);
  });
});

/** Runs the worker's module in this thread; what crosses is cloned and transferred as between threads. */
class WorkerInPlace implements WorkerLike {
  readonly #listeners: { message: ((event: { data: DecoderReply }) => void)[]; error: (() => void)[] } = {
    message: [],
    error: [],
  };
  #inside: ((event: { data: DecoderRequest }) => void) | undefined;
  requests = 0;
  terminated = false;

  async load(): Promise<void> {
    vi.stubGlobal('addEventListener', (_: string, listener: (event: { data: DecoderRequest }) => void) => {
      this.#inside = listener;
    });
    vi.stubGlobal('postMessage', (reply: DecoderReply, transfer: ArrayBuffer[]) => {
      const data = structuredClone(reply, { transfer });
      queueMicrotask(() => this.#listeners.message.forEach((listener) => listener({ data })));
    });
    vi.resetModules();
    await import('./telemetry-worker.ts');
    await Promise.resolve();
  }

  postMessage(message: DecoderRequest, transfer: ArrayBuffer[]): void {
    if (message.type === 'batch') this.requests++;
    const data = structuredClone(message, { transfer });
    queueMicrotask(() => this.#inside?.({ data }));
  }

  addEventListener(type: 'message' | 'error', listener: never): void {
    this.#listeners[type].push(listener);
  }

  /** As when it has been loaded. */
  ready(): void {
    for (const listener of this.#listeners.message) listener({ data: { type: 'ready' } });
  }

  die(): void {
    this.#inside = undefined;
    for (const listener of this.#listeners.error) listener();
  }

  terminate(): void {
    this.terminated = true;
  }
}

describe('decoding in a worker', () => {
  let worker: WorkerInPlace;
  let decoder: WorkerDecoder;
  beforeEach(() => {
    worker = new WorkerInPlace();
    // As in a browser, whose zlib is a stream; and every batch of columns is large enough.
    decoder = new WorkerDecoder(worker, new LocalDecoder({}), 0);
    decoder.setSchema(1, FIELDS);
  });

  test('begins in place and goes over once the worker is there, schemas included', async () => {
    expect(decode(decoder, batch(COLUMNS))).not.toBeInstanceOf(Promise);
    await worker.load();
    for (const head of [COLUMNS, { ...COLUMNS, ...ZLIB }, ZLIB]) {
      const bytes = batch(head);
      const promise = decode(decoder, bytes);
      expect(bytes.length).toBe(0);
      expectValues(await promise);
    }
    expect(worker.requests).toBe(3);
  });

  test('what is read sooner than it is sent over stays here: small batches of columns, and values', async () => {
    await worker.load();
    for (const head of [{}, { codec: 'json' }] as const) expectValues(decode(decoder, batch(head)) as DecodedBatch);
    const choosy = new WorkerDecoder(worker, new LocalDecoder({}));
    worker.ready();
    choosy.setSchema(1, FIELDS);
    expectValues(decode(choosy, batch(COLUMNS)) as DecodedBatch);
    expect(worker.requests).toBe(0);
    const wide = [...FIELDS, { path: 'z', kind: 'f64' }] as const;
    const many = Array.from({ length: 9_000 }, (_, n) => ({ ...values[n % values.length]!, z: n }));
    choosy.setSchema(2, wide);
    const decoded = (rows: readonly unknown[]) =>
      decode(choosy, batch({ ...COLUMNS, schemaId: 2, schema: wide }, rows));
    expect([decoded(many.slice(0, 8_000)) instanceof Promise, worker.requests]).toEqual([false, 0]);
    expect([(await decoded(many)).objects(), worker.requests]).toEqual([many, 1]);
    // Of however few messages: the stream would keep this thread busy.
    expectValues(await decode(choosy, batch(ZLIB)));
    expect(worker.requests).toBe(2);
  });

  test.each([
    ['columns', COLUMNS],
    ['values', ZLIB],
  ] satisfies [string, Partial<BatchHead>][])('takes batches of several topics: %s', async (_, head) => {
    await worker.load();
    expectValues(await decode(decoder, batch({ ...head, sections: SECTIONS })));
    expect(worker.requests).toBe(1);
  });

  test('takes a batch out of what the socket has read beside it', async () => {
    await worker.load();
    const plain = batch(COLUMNS);
    const slab = new Uint8Array(plain.length + 200);
    slab.set(plain, 100);
    expectValues(await decode(decoder, slab.subarray(100, 100 + plain.length)));
    expect(slab.length).toBe(plain.length + 200);
  });

  test('knows a layout by the number that it had when the batch came', async () => {
    await worker.load();
    const before = decode(decoder, batch(COLUMNS));
    decoder.setSchema(1, OTHER_FIELDS);
    const after = decode(decoder, batch({ ...COLUMNS, schema: OTHER_FIELDS }));
    for (const decoded of [await before, await after]) expectValues(decoded);
    expect((await before).paths).toEqual(FIELDS.map(({ path }) => path));
    expect((await after).paths).toEqual(OTHER_FIELDS.map(({ path }) => path));
  });

  test('an error there is the same error here', async () => {
    await worker.load();
    await expect(decode(decoder, batch({ ...COLUMNS, schemaId: 2 }))).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
    decoder.reset();
    await expect(decode(decoder, batch(COLUMNS))).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
  });

  test('a worker that dies takes along what it had in hand; the next batch is decoded in place', async () => {
    await worker.load();
    const lost = decode(decoder, batch(ZLIB));
    worker.die();
    await expect(lost).rejects.toMatchObject({ code: 'DECODER_LOST' });
    expectValues(decode(decoder, batch(COLUMNS)) as DecodedBatch);
    decoder.close();
    expect(worker.terminated).toBe(true);
  });
});
