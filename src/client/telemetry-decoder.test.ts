import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Priority } from '../base/sample.ts';
import type { BatchHead } from '../protocol/batch.ts';
import { encodeBatch } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { platformCompressors, platformDecompressors } from './compression.ts';
import type { DecoderReply, DecoderRequest, WorkerLike } from './telemetry-decoder.ts';
import { LocalDecoder, WorkerDecoder } from './telemetry-decoder.ts';

const FIELDS = [
  { path: 'x', kind: 'f64' },
  { path: 'y', kind: 'f64' },
  { path: 'mode', kind: 'json' },
] as const;
const COLUMNS = { codec: 'columns', schemaId: 1, schema: FIELDS } as const;
const BOTH = { objects: true, columns: true };
const values = Array.from({ length: 200 }, (_, n) => ({ x: n / 3, y: Math.floor(n / 10), mode: n < 100 ? 'a' : 'b' }));

function batch(head: Partial<BatchHead> = {}): Uint8Array<ArrayBuffer> {
  const messages = values.map((value, n) => ({
    timeMs: 1_700_000_000_000 + n,
    priority: Priority.high,
    payload: Payload.of(value),
  }));
  const common = { topicId: 5, epoch: 1, firstSeq: 1, codec: 'msgpack', compression: 'none' } as const;
  return encodeBatch({ ...common, ...head }, messages, platformCompressors());
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
    decoder.setSchema(5, 1, FIELDS);
    const decoded = await decoder.decode(batch(head), BOTH);
    expect(decoded).toMatchObject({ count: 200, data: values });
    expect(Array.from(decoded.columns!.column('x')!)).toEqual(values.map(({ x }) => x));
    expect([decoded.times[199], decoded.priorities[199]]).toEqual([1_700_000_000_199, Priority.high]);
    expect((await decoder.decode(batch(head), { objects: true, columns: false })).columns).toBeUndefined();
  });

  test('where zlib is a stream alone (browsers) a batch takes a while, and a bomb is not taken', async () => {
    const decoder = new LocalDecoder({});
    const bytes = batch({ compression: 'zlib' });
    const promise = decoder.decode(bytes, BOTH);
    expect(promise).toBeInstanceOf(Promise);
    expect((await promise).data).toEqual(values);
    for (const claim of [100, 1_000_000]) {
      const lying = bytes.slice();
      new DataView(lying.buffer).setUint32(12, claim, true);
      await expect(decoder.decode(lying, BOTH)).rejects.toMatchObject({ code: 'COMPRESSION_BAD' });
    }
  });

  test('columns alone make no objects', async () => {
    const decoder = new LocalDecoder({});
    decoder.setSchema(5, 1, FIELDS);
    const decoded = await decoder.decode(batch(COLUMNS), { objects: false, columns: true });
    expect(decoded.data).toBeUndefined();
    expect(decoded.columns!.texts('mode')![150]).toBe('b');
    decoder.reset();
    expect(() => decoder.decode(batch(COLUMNS), BOTH)).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
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
    decoder = new WorkerDecoder(worker, new LocalDecoder(platformDecompressors()));
    decoder.setSchema(5, 1, FIELDS);
  });

  test('begins in place and goes over once the worker is there, schemas included', async () => {
    expect(decoder.decode(batch(COLUMNS), BOTH)).not.toBeInstanceOf(Promise);
    await worker.load();
    for (const head of [COLUMNS, {}]) {
      const bytes = batch(head);
      const promise = decoder.decode(bytes, BOTH);
      expect(bytes.length).toBe(0);
      const decoded = await promise;
      expect(decoded.data).toEqual(values);
      expect(Array.from(decoded.columns!.column('y')!)).toEqual(values.map(({ y }) => y));
    }
    expect(worker.requests).toBe(2);
  });

  test('an error there is the same error here', async () => {
    await worker.load();
    await expect(decoder.decode(batch({ ...COLUMNS, topicId: 6 }), BOTH)).rejects.toMatchObject({
      code: 'SCHEMA_UNKNOWN',
    });
    decoder.reset();
    await expect(decoder.decode(batch(COLUMNS), BOTH)).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
  });

  test('a worker that dies takes along what it had in hand; the next batch is decoded in place', async () => {
    await worker.load();
    const lost = decoder.decode(batch(), BOTH);
    worker.die();
    await expect(lost).rejects.toMatchObject({ code: 'DECODER_LOST' });
    expect(decoder.decode(batch(COLUMNS), BOTH)).toMatchObject({ count: 200 });
    decoder.close();
    expect(worker.terminated).toBe(true);
  });
});
