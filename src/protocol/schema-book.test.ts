import { describe, expect, test } from 'vitest';
import { ColumnGatherer } from './columns.ts';
import { Payload } from './payload.ts';
import { schemaFor } from './schema.ts';
import { SchemaBook } from './schema-book.ts';

/** Stands for a topic. */
type Topic = object;
const newTopic = (): Topic => ({});

/** A message of a shape of its own for each name. */
const shaped = (name: string, n = 0) => Payload.of({ [name]: n, b: n / 2, c: -n, d: 7 });
const fieldsOf = (name: string) => schemaFor([shaped(name).value()])!;

/** What of the messages of these shapes, one after the other, makes a layout; none of them fits what was expected. */
function learned(book: SchemaBook<Topic>, topic: Topic, names: readonly string[]): boolean[] {
  return names.map((name) => book.learn(topic, shaped(name)) !== undefined);
}

/** So long that what is not used meanwhile may give way in a book of `size`. */
function use(book: SchemaBook<Topic>, topics: readonly Topic[], size: number): void {
  for (let i = 0; i < 2 * size; i++) for (const topic of topics) book.expected(topic);
}

const names = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `s${from + i}`);

describe('layouts', () => {
  test('are learned from a message, and shared by topics whose messages have the same fields', () => {
    const book = new SchemaBook<Topic>(10);
    const [first, second, other] = [newTopic(), newTopic(), newTopic()];
    expect(book.expected(first)).toBeUndefined();
    const schema = book.learn(first, shaped('x', 1));
    expect(schema).toEqual({ id: 1, fields: fieldsOf('x') });
    expect(book.expected(first)).toBe(schema);
    expect(book.learn(second, shaped('x', 2))).toBe(schema);
    expect(book.intern(fieldsOf('x'))).toBe(schema!.fields);
    expect(book.learn(other, shaped('y'))).toEqual({ id: 2, fields: fieldsOf('y') });
    expect(book.expected(second)).toBe(schema);
  });

  test('are those of the batch that a message came in, as the same list', () => {
    const book = new SchemaBook<Topic>(10);
    const fields = book.intern(fieldsOf('x'));
    const row = ColumnGatherer.row(fields, { timeMs: 1, priority: 1, payload: shaped('x') })!;
    expect(book.learn(newTopic(), Payload.row(row, 0))!.fields).toBe(fields);
  });

  test.each([
    ['text', 'x'],
    ['few numbers', { a: 1, b: 2, c: 3 }],
    ['a key that no path can have', { 'a.b': 1, c: 2, d: 3, e: 4 }],
  ])('are not made of %s', (_, value) => {
    const book = new SchemaBook<Topic>(10);
    const topic = newTopic();
    expect(book.learn(topic, Payload.of(value))).toBeUndefined();
    expect(book.expected(topic)).toBeUndefined();
  });
});

describe('numbers', () => {
  test('are not taken from layouts that are in use: messages of further ones go as they are', () => {
    const book = new SchemaBook<Topic>(3);
    const [first, second, third, fourth] = names(4).map((name) => {
      const topic = newTopic();
      book.learn(topic, shaped(name));
      return topic;
    });
    for (let round = 0; round < 20; round++) {
      expect([first, second, third].map((topic) => book.expected(topic!)!.id)).toEqual([1, 2, 3]);
      expect(book.expected(fourth!)).toBeUndefined();
    }
    const own = fieldsOf('new');
    expect(book.intern(own)).toBe(own);
  });

  test('go from 1 to the most that the other side remembers; the layout not used for the longest gives way', () => {
    const book = new SchemaBook<Topic>(3);
    const topics = names(3).map((name) => {
      const topic = newTopic();
      book.learn(topic, shaped(name));
      return topic;
    });
    const [first, second, third] = topics as [Topic, Topic, Topic];
    expect(topics.map((topic) => book.expected(topic)!.id)).toEqual([1, 2, 3]);
    use(book, [first, third], 3);
    const fresh = newTopic();
    expect(book.learn(fresh, shaped('new'))).toEqual({ id: 2, fields: fieldsOf('new') });
    expect([first, third].map((topic) => book.expected(topic)!.id)).toEqual([1, 3]);
    // It gets its layout back under the number that is due then.
    use(book, [fresh, third], 3);
    expect(book.expected(second)).toBeUndefined();
    const back = book.learn(second, shaped('s1'))!;
    expect(back).toEqual({ id: 1, fields: fieldsOf('s1') });
    expect(book.expected(second)).toBe(back);
  });

  test('of a layout that gave way and came back are told anew: it is another object, for all of its topics', () => {
    const book = new SchemaBook<Topic>(2);
    const [one, two, other, third] = [newTopic(), newTopic(), newTopic(), newTopic()];
    const before = book.learn(one, shaped('x'))!;
    expect(book.learn(two, shaped('x'))).toBe(before);
    book.learn(other, shaped('y'));
    use(book, [other], 2);
    expect(book.learn(third, shaped('z'))!.id).toBe(before.id);
    use(book, [third], 2);
    const row = ColumnGatherer.row(before.fields, { timeMs: 1, priority: 1, payload: shaped('x') })!;
    const inColumns = Payload.row(row, 0);
    expect([book.expected(one), book.expected(two)]).toEqual([undefined, undefined]);
    const after = book.learn(one, inColumns)!;
    expect(after).not.toBe(before);
    expect(after).toEqual({ id: 2, fields: before.fields });
    expect(book.learn(two, inColumns)).toBe(after);
    // Its list of fields stays the same, so that what came in it fits without a look.
    expect(after.fields).toBe(before.fields);
  });

  test('are never those of two layouts at once', () => {
    const book = new SchemaBook<Topic>(5);
    const topics = names(8).map((name) => ({ name, topic: newTopic() }));
    for (let round = 0; round < 60; round++) {
      const used = [0, 1, 2, 3, 4].map((i) => topics[(Math.floor(round / 10) * 3 + i) % topics.length]!);
      const schemas = used.map(({ name, topic }) => book.expected(topic) ?? book.learn(topic, shaped(name)));
      const known = schemas.filter((schema) => schema !== undefined);
      expect(new Set(known.map(({ id }) => id)).size).toBe(known.length);
      for (const [i, schema] of schemas.entries()) {
        if (schema === undefined) continue;
        expect(schema.fields).toEqual(fieldsOf(used[i]!.name));
        expect([1, 2, 3, 4, 5]).toContain(schema.id);
      }
    }
  });
});

describe('memory', () => {
  const bytesOf = (name: string) => {
    const book = new SchemaBook<Topic>(10);
    book.learn(newTopic(), shaped(name));
    return book.bytes;
  };

  test('of all layouts is bounded: those not used for the longest give way to another one', () => {
    const book = new SchemaBook<Topic>(10, 3 * bytesOf('s0'));
    const topics = names(3).map((name) => {
      const topic = newTopic();
      book.learn(topic, shaped(name));
      return topic;
    });
    const [first, second, third] = topics as [Topic, Topic, Topic];
    expect(book.learn(newTopic(), shaped('s3'))).toBeUndefined();
    use(book, [third], 10);
    expect(book.learn(newTopic(), shaped('s'.repeat(60)))).toBeDefined();
    expect([first, second, third].map((topic) => book.expected(topic)?.id)).toEqual([undefined, undefined, 3]);
    expect(book.bytes).toBeLessThanOrEqual(3 * bytesOf('s0'));
    use(book, [third], 10);
    const ids = names(2, 5).map((name) => book.learn(newTopic(), shaped(name))?.id);
    expect(new Set([3, ...ids]).size).toBe(3);
  });

  test('is not given to a layout that takes more than all of it', () => {
    const book = new SchemaBook<Topic>(10, bytesOf('x') - 1);
    expect(book.learn(newTopic(), shaped('x'))).toBeUndefined();
    expect([book.bytes, book.intern(fieldsOf('y')).length]).toEqual([0, 4]);
  });
});

describe('a topic of many shapes', () => {
  test('stops trying: it waits for twice as many misfits each time', () => {
    const book = new SchemaBook<Topic>(64);
    const attempts = learned(book, newTopic(), names(127));
    const at = attempts.flatMap((isLearned, i) => (isLearned ? [i + 1] : []));
    // After 1, 2, 4, 8, … further ones.
    expect(at).toEqual([1, 3, 7, 15, 31, 63, 127]);
  });

  test('keeps its layout while most of its messages have that shape', () => {
    const book = new SchemaBook<Topic>(64);
    const topic = newTopic();
    learned(book, topic, names(7));
    const { fields } = book.expected(topic)!;
    expect(fields).toEqual(fieldsOf('s6'));
    for (let i = 0; i < 50; i++) {
      expect(learned(book, topic, names(7, 100 + i * 10))).not.toContain(true);
      book.fitted(topic);
    }
    expect(book.expected(topic)!.fields).toBe(fields);
    expect(learned(book, topic, names(8, 1_000)).indexOf(true)).toBe(7);
  });

  test('is no matter to other topics', () => {
    const book = new SchemaBook<Topic>(64);
    learned(book, newTopic(), names(50));
    expect(book.learn(newTopic(), shaped('x'))).toBeDefined();
  });
});
