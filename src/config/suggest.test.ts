import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance, suggest } from './suggest.ts';

describe('editDistance', () => {
  test.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['prot', 'port', 1],
    ['ca', 'abc', 3],
  ])('%s to %s is %i', (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected);
  });

  test('is symmetric, zero for equal words only, and never more than the longer one (property)', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
      }),
    );
  });
});

describe('suggest', () => {
  test('finds the nearest', () => {
    expect(suggest('server.prt', ['server.host', 'server.port'])).toBe('server.port');
    expect(suggest('SERVER.PORT', ['server.host', 'server.port'])).toBe('server.port');
  });

  test('says nothing when nothing is near', () => {
    expect(suggest('banana', ['server.host', 'server.port'])).toBeUndefined();
    expect(suggest('x', [])).toBeUndefined();
  });
});
