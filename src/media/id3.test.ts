import { expect, test } from 'vitest';
import { id3Text, readId3Text } from './id3.ts';

test.each(['', 'short', 'ä'.repeat(100), 'x'.repeat(20_000)])('a text comes back as it was: %#', (value) => {
  const tag = id3Text('name', value);
  expect(readId3Text(tag)).toEqual({ description: 'name', value });
  // Sizes are of seven bits a byte: the tag's without its header, the frame's without its own.
  const sizeAt = (at: number) => tag.subarray(at, at + 4).reduce((size, byte) => size * 128 + byte, 0);
  expect(tag.subarray(6, 10).every((byte) => byte < 128)).toBe(true);
  expect([sizeAt(6), sizeAt(14)]).toEqual([tag.length - 10, tag.length - 20]);
});

test('bytes that are no tag', () => {
  for (const bytes of ['', 'ID3', 'x'.repeat(40)]) expect(readId3Text(Buffer.from(bytes))).toBeUndefined();
});
