import { expect, test } from 'vitest';
import { chooseEncoding, type EncodingTrial } from './encoding-choice.ts';

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
