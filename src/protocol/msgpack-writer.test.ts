import { unpack } from 'msgpackr/unpack';
import { expect, test } from 'vitest';
import { writeMsgpack } from './msgpack-writer.ts';
import { checkMsgpack, parseCheckedMsgpack } from './wire-value.ts';

const numbers = [0, 1, 31, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 1e300, 0.1];
const lengths = [0, 1, 10, 11, 15, 16, 31, 32, 85, 86, 255, 256, 21_846, 65_536];

test.each([...numbers, ...numbers.map((n) => -n), -32, -33, -128, -129, -32_769, 5e-324, NaN, Infinity, -Infinity])(
  'the number %d comes back as it is',
  (n) => {
    expect(parseCheckedMsgpack(writeMsgpack(n))).toBe(n);
    expect(parseCheckedMsgpack(writeMsgpack({ a: [n, -n] }))).toEqual({ a: [n, -n] });
  },
);

test.each(lengths)('texts, lists and bytes of %d come back, and other readers agree', (length) => {
  const texts = ['x', 'ß', '🤖'].map((character) => character.repeat(length));
  for (const value of [...texts, Array.from({ length }, () => true)]) {
    const bytes = writeMsgpack(value);
    checkMsgpack(bytes);
    for (const read of [parseCheckedMsgpack, unpack]) expect(JSON.stringify(read(bytes))).toBe(JSON.stringify(value));
  }
  const bytes = new Uint8Array(length).fill(7);
  expect(Uint8Array.from(unpack(writeMsgpack(bytes)) as Uint8Array)).toEqual(bytes);
});

test.each([0, 15, 16, 300])('a map of %d keys comes back, and other readers agree', (length) => {
  const map = Object.fromEntries(Array.from({ length }, (_, i) => [`key ${i}`, i]));
  const bytes = writeMsgpack(map);
  checkMsgpack(bytes);
  for (const read of [parseCheckedMsgpack, unpack]) expect(read(bytes)).toEqual(map);
});

test('a map of more keys than 16 bits can count', () => {
  const bytes = writeMsgpack(Object.fromEntries(Array.from({ length: 65_536 }, (_, i) => [i, true])));
  checkMsgpack(bytes);
  expect(bytes.subarray(0, 5)).toEqual(Uint8Array.of(0xdf, 0, 1, 0, 0));
});

test('as in JSON, what has no value is left out of maps and null elsewhere', () => {
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, i % 2 === 0 ? i : undefined]));
  for (const value of [{ a: undefined, b: null, c: [undefined, 1], f: () => 1 }, many]) {
    expect(parseCheckedMsgpack(writeMsgpack(value))).toEqual(JSON.parse(JSON.stringify(value)));
  }
  expect(writeMsgpack(undefined)).toEqual(Uint8Array.of(0xc0));
});

test('what was written stays, whatever is written next', () => {
  const first = writeMsgpack('a');
  writeMsgpack('b'.repeat(3_000_000));
  expect(writeMsgpack('c')).toEqual(Uint8Array.of(0xa1, 0x63));
  expect(first).toEqual(Uint8Array.of(0xa1, 0x61));
});
