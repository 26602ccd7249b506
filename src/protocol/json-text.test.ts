import fc from 'fast-check';
import { expect, test } from 'vitest';
import { closingQuote } from './json-text.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** One byte after the other. */
function naive(json: Uint8Array, from: number): number {
  for (let at = from + 1; at < json.length; at++) {
    if (json[at] === 0x5c) at++;
    else if (json[at] === 0x22) return at;
  }
  return json.length;
}

test('the last quote of a text is found, whatever is escaped in it and however long it is', () => {
  const piece = fc.oneof(fc.constantFrom('\\', '"', '\\"', '\\\\'), fc.string({ minLength: 0, maxLength: 120 }));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.nat(20), (pieces, before) => {
      const json = bytesOf(`${'\\'.repeat(before)}"${pieces.join('')}`);
      expect(closingQuote(json, before)).toBe(naive(json, before));
    }),
    { numRuns: 2_000 },
  );
});

test.each([
  ['"a"', 2],
  ['"a', 2],
  ['"', 1],
  ['"\\', 2],
  [`"${'x'.repeat(46)}\\""`, 49],
  [`"${'x'.repeat(47)}\\""`, 50],
  [`"${'x'.repeat(48)}\\""`, 51],
  [`"${'\\"'.repeat(100_000)}"`, 200_001],
])('%#: at %i', (text, at) => {
  expect(closingQuote(bytesOf(text), 0)).toBe(at);
});
