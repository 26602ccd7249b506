import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Priority } from '../base/sample.ts';
import type { BatchHead, BatchSection } from '../protocol/batch.ts';
import { decodeBatchHeader, encodeBatch } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { platformCompressors, platformDecompressors } from './compression.ts';
import type {
  BatchDecoder,
  DecodedBatch,
  DecodedSection,
  DecoderReply,
  DecoderRequest,
  Want,
  WorkerLike,
} from './telemetry-decoder.ts';
import { LocalDecoder, WorkerDecoder } from './telemetry-decoder.ts';

const FIELDS = [
  { path: 'x', kind: 'f64' },
  { path: 'y', kind: 'f64' },
  { path: 'mode', kind: 'json' },
] as const;
const COLUMNS = { codec: 'columns', schemaId: 1, schema: FIELDS } as const;
const OTHER_FIELDS = [
  { path: 'y', kind: 'f64' },
  { path: 'x', kind: 'f64' },
  { path: 'mode', kind: 'json' },
] as const;
const BOTH = { objects: true, columns: true, keeps: true };
const NOTHING = { objects: false, columns: false, keeps: false };
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
  [0, 30],
  [30, 180],
  [180, 200],
] as const;

function decode(
  decoder: BatchDecoder,
  bytes: Uint8Array<ArrayBuffer>,
  want: Want | ((topicId: number) => Want) = BOTH,
): DecodedSection[] | Promise<DecodedSection[]> {
  return decoder.decode(bytes, decodeBatchHeader(bytes), typeof want === 'function' ? want : () => want);
}

/** A batch of one section. */
async function decodeOne(decoder: BatchDecoder, bytes: Uint8Array<ArrayBuffer>, want?: Want) {
  const sections = await decode(decoder, bytes, want);
  expect(sections).toHaveLength(1);
  return sections[0]!.batch;
}

function expectSections(sections: readonly DecodedSection[], bytes: number): void {
  expect(sections.map(({ topicId, firstSeq }) => [topicId, firstSeq])).toEqual([
    [5, 1],
    [6, 900],
    [5, 31],
  ]);
  for (const [i, [from, to]] of PLACES.entries()) {
    const { batch } = sections[i]!;
    const own = values.slice(from, to);
    expect(batch).toMatchObject({ count: to - from, data: own });
    expect(Array.from(batch.times)).toEqual(own.map((_, n) => 1_700_000_000_000 + from + n));
    expect(Array.from(batch.priorities)).toEqual(own.map(() => Priority.high));
    expect(Array.from(batch.columns!.column('x')!)).toEqual(own.map(({ x }) => x));
    expect(batch.columns!.texts('mode') ?? own.map(({ mode }) => mode)).toEqual(own.map(({ mode }) => mode));
  }
  expect(sections.reduce((sum, { batch }) => sum + batch.plainBytes, 0)).toBeCloseTo(bytes, 6);
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
    const decoded = await decodeOne(decoder, batch(head));
    expect(decoded).toMatchObject({ count: 200, data: values });
    expect(Array.from(decoded.columns!.column('x')!)).toEqual(values.map(({ x }) => x));
    expect([decoded.times[199], decoded.priorities[199]]).toEqual([1_700_000_000_199, Priority.high]);
    expect((await decodeOne(decoder, batch(head), { ...BOTH, columns: false })).columns).toBeUndefined();
    const sections = await decode(decoder, batch({ ...head, sections: SECTIONS }));
    expectSections(sections, batch({ ...head, sections: SECTIONS, compression: 'none' }).length);
  });

  test('each topic in the forms that its readers want', async () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const sections = [section(5, 1, 60), section(6, 1, 60), section(7, 1, 80)];
    const wants = new Map([
      [5, { ...BOTH, columns: false }],
      [6, { ...BOTH, objects: false }],
    ]);
    const wantOf = (topicId: number) => wants.get(topicId) ?? NOTHING;
    const [first, second, third] = await decode(decoder, batch({ ...COLUMNS, sections }), wantOf);
    expect(first!.batch).toMatchObject({ count: 60, data: values.slice(0, 60), columns: undefined });
    expect(second!.batch).toMatchObject({ count: 60, data: undefined });
    expect(Array.from(second!.batch.columns!.column('y')!)).toEqual(values.slice(60, 120).map(({ y }) => y));
    expect(third!.batch).toMatchObject({ count: 80, data: undefined, columns: undefined });
  });

  test('a number may be given to another layout: batches after it mean the new one', async () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const before = await decodeOne(decoder, batch(COLUMNS));
    decoder.setSchema(1, OTHER_FIELDS);
    const after = await decodeOne(decoder, batch({ ...COLUMNS, schema: OTHER_FIELDS }));
    for (const { data, columns } of [before, after]) {
      expect(data).toEqual(values);
      expect(Array.from(columns!.column('x')!)).toEqual(values.map(({ x }) => x));
    }
    expect([before, after].map(({ columns }) => columns!.paths[0])).toEqual(['x', 'y']);
  });

  test('where zlib is a stream alone (browsers) a batch takes a while, and a bomb is not taken', async () => {
    const decoder = new LocalDecoder({});
    const bytes = batch({ compression: 'zlib' });
    const promise = decode(decoder, bytes);
    expect(promise).toBeInstanceOf(Promise);
    expect((await promise)[0]!.batch.data).toEqual(values);
    for (const claim of [100, 1_000_000]) {
      const lying = bytes.slice();
      new DataView(lying.buffer).setUint32(8, claim, true);
      await expect(decode(decoder, lying)).rejects.toMatchObject({ code: 'COMPRESSION_BAD' });
    }
    // The layout may have another meaning by the time that the batch is unpacked.
    decoder.setSchema(1, FIELDS);
    const several = { ...COLUMNS, sections: SECTIONS } as const;
    const sections = decode(decoder, batch({ ...several, compression: 'zlib' }));
    expect(sections).toBeInstanceOf(Promise);
    decoder.setSchema(1, OTHER_FIELDS);
    expectSections(await sections, batch(several).length);
  });

  test('for brief use columns lie where those of the next batch will; objects last', async () => {
    const decoder = new LocalDecoder(platformDecompressors());
    decoder.setSchema(1, FIELDS);
    const other = values.map(({ x, ...more }) => ({ ...more, x: -x }));
    const read = async (use: 'own' | 'brief', rows: readonly unknown[]) => {
      const bytes = batch(COLUMNS, rows);
      const sections = await decoder.decode(
        bytes,
        decodeBatchHeader(bytes),
        () => ({ ...BOTH, keeps: use === 'own' }),
        use,
      );
      return sections[0]!.batch;
    };
    const xs = ({ columns }: DecodedBatch) => columns!.column('x')!;
    for (const use of ['brief', 'own'] as const) {
      const first = await read(use, values);
      expect(Array.from(xs(first))).toEqual(values.map(({ x }) => x));
      const second = await read(use, other);
      expect(Array.from(xs(second))).toEqual(other.map(({ x }) => x));
      expect(xs(second).buffer === xs(first).buffer).toBe(use === 'brief');
      expect(Array.from(xs(first))).toEqual((use === 'brief' ? other : values).map(({ x }) => x));
      expect([first.data, second.data]).toEqual([values, other]);
    }
  });

  test('columns alone make no objects', async () => {
    const decoder = new LocalDecoder({});
    decoder.setSchema(1, FIELDS);
    const decoded = await decodeOne(decoder, batch(COLUMNS), { ...BOTH, objects: false });
    expect(decoded.data).toBeUndefined();
    expect(decoded.columns!.texts('mode')![150]).toBe('b');
    decoder.reset();
    expect(() => decode(decoder, batch(COLUMNS))).toThrow(expect.objectContaining({ code: 'SCHEMA_UNKNOWN' }));
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
    decoder.setSchema(1, FIELDS);
  });

  test('begins in place and goes over once the worker is there, schemas included', async () => {
    expect(decode(decoder, batch(COLUMNS))).not.toBeInstanceOf(Promise);
    await worker.load();
    for (const head of [COLUMNS, {}]) {
      const bytes = batch(head);
      const promise = decode(decoder, bytes);
      expect(bytes.length).toBe(0);
      const [{ batch: decoded }] = (await promise) as [DecodedSection];
      expect(decoded.data).toEqual(values);
      expect(Array.from(decoded.columns!.column('y')!)).toEqual(values.map(({ y }) => y));
    }
    expect(worker.requests).toBe(2);
  });

  test.each([
    ['columns', COLUMNS],
    ['values', {}],
  ] satisfies [string, Partial<BatchHead>][])('takes batches of several topics: %s', async (_, head) => {
    await worker.load();
    const bytes = batch({ ...head, sections: SECTIONS });
    const { length } = bytes;
    expectSections(await decode(decoder, bytes), length);
    expect(worker.requests).toBe(1);
  });

  test('knows a layout by the number that it had when the batch came', async () => {
    await worker.load();
    const before = decodeOne(decoder, batch(COLUMNS));
    decoder.setSchema(1, OTHER_FIELDS);
    const after = decodeOne(decoder, batch({ ...COLUMNS, schema: OTHER_FIELDS }));
    for (const { data } of [await before, await after]) expect(data).toEqual(values);
    expect((await before).columns!.paths).toEqual(FIELDS.map(({ path }) => path));
    expect((await after).columns!.paths).toEqual(OTHER_FIELDS.map(({ path }) => path));
  });

  test('an error there is the same error here', async () => {
    await worker.load();
    await expect(decode(decoder, batch({ ...COLUMNS, schemaId: 2 }))).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
    decoder.reset();
    await expect(decode(decoder, batch(COLUMNS))).rejects.toMatchObject({ code: 'SCHEMA_UNKNOWN' });
  });

  test('a worker that dies takes along what it had in hand; the next batch is decoded in place', async () => {
    await worker.load();
    const lost = decode(decoder, batch());
    worker.die();
    await expect(lost).rejects.toMatchObject({ code: 'DECODER_LOST' });
    expect(decode(decoder, batch(COLUMNS))).toMatchObject([{ topicId: 5, batch: { count: 200 } }]);
    decoder.close();
    expect(worker.terminated).toBe(true);
  });
});
