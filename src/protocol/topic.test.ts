import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkFilter, checkTopic, isPlain, isServerTopic, matches } from './topic.ts';

const level = fc.string({ minLength: 1, maxLength: 4, unit: fc.constantFrom('a', 'b', 'é', '-', '.') });
const topics = fc.array(level, { minLength: 1, maxLength: 5 }).map((levels) => levels.join('/'));
const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, open]) => [...levels, ...(open ? ['#'] : [])].join('/'));

describe('topics', () => {
  test.each(['a', 'rover/7/pose', '$server/stats', 'a b', 'é'.repeat(128)])('%s is one', (name) => {
    expect(() => checkTopic(name)).not.toThrow();
  });

  test.each([
    [''],
    ['/a'],
    ['a/'],
    ['a//b'],
    ['a/+'],
    ['#'],
    ['a#b'],
    ['a\nb'],
    ['a\u0085'],
    ['\ud800'],
    ['é'.repeat(129)],
    ['x'.repeat(1_000_000)],
    [7],
    [undefined],
    [['a']],
  ])('%j is refused shortly', (name) => {
    expect(() => checkTopic(name)).toThrow(expect.objectContaining({ code: 'TOPIC_BAD' }));
    expect(() => checkTopic(name)).toThrow(/^.{1,120}$/s);
  });

  test('those of the server are known by their first character', () => {
    expect(isServerTopic('$server/stats')).toBe(true);
    expect(isServerTopic('a/$b')).toBe(false);
  });
});

describe('filters', () => {
  test.each(['a', '+', '#', 'a/+/b', '+/+', 'a/#', '$server/#'])('%s is one', (filter) => {
    expect(() => checkFilter(filter)).not.toThrow();
  });

  test.each(['', 'a/', '#/a', 'a/#/b', 'a+', 'a/b#', '++', '##', 5])('%j is refused', (filter) => {
    expect(() => checkFilter(filter)).toThrow(expect.objectContaining({ code: 'FILTER_BAD' }));
  });

  test.each([
    ['a/b', 'a/b', true],
    ['a/b', 'a/bc', false],
    ['a/bc', 'a/b', false],
    ['a/b', 'a', false],
    ['a', 'a/b', false],
    ['a/+', 'a/b', true],
    ['a/+', 'a', false],
    ['a/+', 'a/b/c', false],
    ['+/b', 'a/b', true],
    ['#', 'a/b/c', true],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['+/#', 'a', true],
    ['a/+/#', 'a', false],
    ['#', '$server/x', false],
    ['+/x', '$server/x', false],
    ['$server/#', '$server/x', true],
  ])('%s takes in %s: %s', (filter, topic, expected) => {
    expect(matches(filter, topic)).toBe(expected);
  });

  test('match as a regular expression of the same meaning does', () => {
    fc.assert(
      fc.property(filters, topics, (filter, topic) => {
        checkFilter(filter);
        const pattern = filter
          .replaceAll('.', String.raw`\.`)
          .replaceAll('+', '[^/]+')
          .replace(/^#$/, '.*')
          .replace(/\/#$/, '(/.*)?');
        expect(matches(filter, topic)).toBe(new RegExp(`^${pattern}$`).test(topic));
      }),
      { numRuns: 2000 },
    );
  });

  test('a plain one takes in itself alone', () => {
    expect(isPlain('a/b')).toBe(true);
    expect(isPlain('a/+')).toBe(false);
    fc.assert(fc.property(topics, topics, (a, b) => void expect(matches(a, b)).toBe(a === b)));
  });
});
