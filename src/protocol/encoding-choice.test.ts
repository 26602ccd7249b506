import { compressSync } from 'lz4-napi';
import { expect, test } from 'vitest';
import { chooseEncoding, type EncodingTrial, tryEncodings } from './encoding-choice.ts';
import { decompressLz4 } from './lz4.ts';
import { Payload } from './payload.ts';
import { schemaFor } from './schema.ts';

// As measured on the rover's messages in batches of 50.
const json: EncodingTrial = { codec: 'json', compression: 'none', bytes: 1199, encodeNs: 7834, decodeNs: 5685 };
const packed: EncodingTrial = { codec: 'msgpack', compression: 'lz4', bytes: 373, encodeNs: 6409, decodeNs: 6005 };
const columns: EncodingTrial = { codec: 'columns', compression: 'none', bytes: 56, encodeNs: 3686, decodeNs: 444 };
const zlib: EncodingTrial = { codec: 'columns', compression: 'zlib', bytes: 48, encodeNs: 5095, decodeNs: 645 };

test('nothing to choose from', () => {
  expect(chooseEncoding([], { readers: 1, nsPerByte: 1 })).toBeUndefined();
});

test('the line decides: within a machine the quick one, over a slow line the small one', () => {
  const trials = [json, packed, columns, zlib];
  expect(chooseEncoding(trials, { readers: 100, nsPerByte: 1 })).toBe(columns);
  expect(chooseEncoding(trials, { readers: 100, nsPerByte: 8000 })).toBe(zlib);
  expect(chooseEncoding([json, packed], { readers: 100, nsPerByte: 0.1 })).toBe(json);
  expect(chooseEncoding([json, packed], { readers: 100, nsPerByte: 80 })).toBe(packed);
});

test('readers share the encoding', () => {
  const slow: EncodingTrial = { ...zlib, bytes: 40, encodeNs: 9000 };
  expect(chooseEncoding([columns, slow], { readers: 1, nsPerByte: 80 })).toBe(columns);
  expect(chooseEncoding([columns, slow], { readers: 100, nsPerByte: 80 })).toBe(slow);
});

test('a small gain changes nothing', () => {
  const better: EncodingTrial = { ...packed, bytes: 370 };
  expect(chooseEncoding([packed, better], { readers: 1, nsPerByte: 80, current: packed })).toBe(packed);
  expect(chooseEncoding([packed, columns], { readers: 1, nsPerByte: 80, current: packed })).toBe(columns);
});

test('trials tell what came out, for each message, and how long it took', () => {
  const values = Array.from({ length: 10 }, (_, i) => ({
    a: i,
    b: i / 10,
    c: 5,
    d: 6,
    text: 'the same again and again',
  }));
  const messages = values.map((value, i) => ({ timeMs: i, priority: 1 as const, payload: Payload.of(value) }));
  const head = { sections: [{ topicId: 1, epoch: 1, firstSeq: 1, count: messages.length }] };
  const schema = schemaFor(values)!;
  let clockMs = 0;
  const trials = tryEncodings(
    [
      { ...head, codec: 'json', compression: 'none' },
      { ...head, codec: 'json', compression: 'lz4' },
      { ...head, codec: 'columns', compression: 'lz4', schemaId: 1, schema },
    ],
    messages,
    { lz4: (plain) => compressSync(Buffer.from(plain)).subarray(4) },
    { lz4: decompressLz4 },
    () => (clockMs += 5),
  );
  expect(trials.map(({ codec, compression }) => [codec, compression])).toEqual([
    ['json', 'none'],
    ['json', 'lz4'],
    // Too small already.
    ['columns', 'none'],
  ]);
  const [plain, packed, columns] = trials.map(({ bytes }) => bytes);
  expect(packed).toBeLessThan(plain! / 2);
  expect(columns).toBeLessThan(packed!);
  expect(trials.every(({ encodeNs, decodeNs }) => encodeNs === 500_000 && decodeNs === 500_000)).toBe(true);
});
