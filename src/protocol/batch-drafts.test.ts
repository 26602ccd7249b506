import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Priority } from '../base/sample.ts';
import { type BatchDraft, BatchDrafts, bodyOf, type DraftLimits, headOf } from './batch-drafts.ts';
import { BATCH_LIMITS, type BatchMessage, decodeBatch, encodeBatch } from './batch.ts';
import { ColumnGatherer } from './columns.ts';
import { Payload } from './payload.ts';
import { SchemaBook } from './schema-book.ts';
import type { PayloadCodec, SchemaField } from './telemetry.ts';

/** Stands for a topic. */
interface Topic {
  readonly topicId: number;
}

interface Told {
  readonly firstSeq: number;
  readonly epoch: number;
  readonly timeMs: number;
  readonly priority: number;
  readonly value: unknown;
}

const CODECS: readonly PayloadCodec[] = ['columns', 'msgpack'];
const message = (payload: Payload, timeMs = 1, priority: Priority = 1): BatchMessage => ({ timeMs, priority, payload });
const of = (value: unknown) => message(Payload.of(value));
/** A value of a shape of its own for each name. */
const shaped = (name: string, n: number) => ({ [name]: n, b: n / 8, c: -n, d: 7 });

/** The other side: knows the layouts that it was told of, by number. */
class Reader {
  readonly schemas = new Map<number, readonly SchemaField[]>();
  /** By topic, in the order of the batches. */
  readonly got = new Map<number, Told[]>();

  take(drafts: readonly BatchDraft[]): void {
    for (const draft of drafts) {
      if (draft.schema !== undefined) this.schemas.set(draft.schema.id, draft.schema.fields);
      const bytes = encodeBatch(headOf(draft, 'none'), bodyOf(draft), {});
      const { envelope, messages } = decodeBatch(bytes, (id) => this.schemas.get(id), {});
      let from = 0;
      for (const { topicId, epoch, firstSeq, count } of envelope.sections) {
        const own = this.got.get(topicId) ?? [];
        this.got.set(topicId, own);
        for (const [i, { timeMs, priority, payload }] of messages.slice(from, from + count).entries()) {
          const seq = firstSeq === 0 ? 0 : firstSeq + i;
          own.push({ firstSeq: seq, epoch, timeMs, priority, value: payload.value() });
        }
        from += count;
      }
    }
  }
}

function expectLimits(drafts: readonly BatchDraft[], { messagesMax, bytesMax }: DraftLimits): void {
  for (const { count, bytes, sections } of drafts) {
    expect(count).toBeGreaterThan(0);
    expect(count).toBe(sections.reduce((sum, section) => sum + section.count, 0));
    expect(count).toBeLessThanOrEqual(messagesMax);
    if (count > 1) expect(bytes).toBeLessThanOrEqual(bytesMax);
    expect(sections.length).toBeLessThanOrEqual(BATCH_LIMITS.sectionsMax);
  }
}

describe('drafts', () => {
  // MessagePack writes a negative zero as 0, and JSON has no NaN.
  const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0);
  const text = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 80 }), fc.constantFrom(null, [], {}));
  const record = (model: Record<string, fc.Arbitrary<unknown>>) => fc.record(model, { noNullPrototype: true });
  const value = fc.oneof(
    record({ x: number, y: number, z: number, w: fc.integer(), mode: text }),
    record({ w: fc.integer(), x: number, y: number, z: number }),
    record({ pose: fc.tuple(number, number, number), on: fc.boolean(), n: fc.integer(), note: text, tag: text }),
    fc.array(number, { minLength: 4, maxLength: 6 }),
    record({ x: number }),
    fc.string({ maxLength: 30 }),
    fc.uint8Array({ maxLength: 30 }),
  );
  const entry = fc.record({
    value,
    form: fc.constantFrom('value', 'copy', 'row'),
    timeMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
    priority: fc.constantFrom<Priority[]>(0, 1, 2, 3),
  });
  /** What is added at once: messages that follow each other in one topic. */
  const run = fc.record({
    topic: fc.nat(4),
    isNumbered: fc.boolean(),
    entries: fc.array(entry, { minLength: 1, maxLength: 12 }),
  });
  const calls = fc.array(fc.array(run, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 3 });
  const limits = fc.record({
    messagesMax: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(BATCH_LIMITS.messagesMax)),
    bytesMax: fc.oneof(fc.integer({ min: 1, max: 400 }), fc.constant(BATCH_LIMITS.plainBytesMax)),
  });
  const codecs = fc.constantFrom<(readonly PayloadCodec[])[]>(
    ['columns', 'msgpack'],
    ['columns', 'json'],
    ['msgpack', 'columns'],
    ['json'],
    [],
  );

  test('give every topic its messages back, each once, in order and with its number', () => {
    fc.assert(
      fc.property(calls, limits, codecs, fc.integer({ min: 1, max: 5 }), (all, limit, readable, schemasMax) => {
        // So few layouts that they give way to each other within one call.
        const book = new SchemaBook<Topic>(schemasMax);
        const topics = Array.from({ length: 5 }, (_, i): Topic => ({ topicId: 10 + i }));
        const nextSeq = topics.map((_, i) => 1 + i * 1_000);
        const wanted = new Map<number, Told[]>();
        const reader = new Reader();
        for (const runs of all) {
          const drafts = new BatchDrafts(book, readable, limit);
          for (const { topic: i, isNumbered, entries } of runs) {
            const topic = topics[i]!;
            const firstSeq = isNumbered ? nextSeq[i]! : 0;
            const messages = entries.map((one) => message(payloadOf(one, book, topic), one.timeMs, one.priority));
            drafts.add(topic, { topicId: topic.topicId, epoch: i, firstSeq }, messages);
            if (isNumbered) nextSeq[i]! += entries.length;
            const own = wanted.get(topic.topicId) ?? [];
            wanted.set(topic.topicId, own);
            for (const [n, one] of entries.entries()) {
              const { timeMs, priority } = one;
              own.push({ firstSeq: isNumbered ? firstSeq + n : 0, epoch: i, timeMs, priority, value: one.value });
            }
          }
          expectLimits(drafts.drafts, limit);
          for (const { codec } of drafts.drafts) {
            expect(codec === 'bytes' || readable.includes(codec) || codec === 'msgpack').toBe(true);
          }
          reader.take(drafts.drafts);
        }
        expect(reader.got).toEqual(wanted);
      }),
      { numRuns: 400 },
    );
  });

  /** In one of the forms that a message comes in. */
  function payloadOf(
    { value: data, form }: { value: unknown; form: string },
    book: SchemaBook<Topic>,
    topic: Topic,
  ): Payload {
    const payload = Payload.of(data);
    const fields = form === 'row' ? book.expected(topic)?.fields : undefined;
    const row = fields && ColumnGatherer.row(fields, { timeMs: 1, priority: 1, payload });
    if (row !== undefined) return Payload.row(row, 0);
    return form === 'copy' ? Payload.copyOf(data) : payload;
  }

  test('are one where topics have one layout, a section for each', () => {
    const drafts = new BatchDrafts(new SchemaBook<Topic>(64), CODECS);
    for (const topicId of [3, 1, 2]) {
      const messages = [1, 2].map((n) => of(shaped('x', n)));
      drafts.add({ topicId }, { topicId, epoch: 9, firstSeq: topicId * 10 }, messages);
    }
    expect(drafts.drafts).toHaveLength(1);
    expect(drafts.drafts[0]).toMatchObject({ codec: 'columns', schema: { id: 1 }, count: 6 });
    expect(drafts.drafts[0]!.sections).toEqual([
      { topicId: 3, epoch: 9, firstSeq: 30, count: 2 },
      { topicId: 1, epoch: 9, firstSeq: 10, count: 2 },
      { topicId: 2, epoch: 9, firstSeq: 20, count: 2 },
    ]);
  });

  test('keep the order of a topic that is added to more than once', () => {
    const drafts = new BatchDrafts(new SchemaBook<Topic>(64), CODECS);
    const [topic, other] = [{ topicId: 1 }, { topicId: 2 }];
    const values = [shaped('x', 1), Uint8Array.of(2), shaped('x', 3), 'text', shaped('x', 5)];
    for (const [i, value] of values.entries()) {
      drafts.add(topic, { topicId: 1, epoch: 0, firstSeq: i + 1 }, [of(value)]);
      // Another topic may well go into an earlier batch.
      drafts.add(other, { topicId: 2, epoch: 0, firstSeq: i + 1 }, [of(shaped('x', -i))]);
    }
    const reader = new Reader();
    reader.take(drafts.drafts);
    expect(reader.got.get(1)!.map(({ value }) => value)).toEqual(values);
    expect(reader.got.get(1)!.map(({ firstSeq }) => firstSeq)).toEqual([1, 2, 3, 4, 5]);
    expect(drafts.drafts.map(({ codec, count }) => [codec, count])).toEqual([
      ['columns', 6],
      ['bytes', 1],
      ['columns', 1],
      ['msgpack', 1],
      ['columns', 1],
    ]);
  });

  test('have at most a thousand sections', () => {
    const drafts = new BatchDrafts(new SchemaBook<Topic>(64), CODECS);
    for (let topicId = 0; topicId < 2_500; topicId++) {
      drafts.add({ topicId }, { topicId, epoch: 0, firstSeq: 0 }, [of(shaped('x', topicId))]);
    }
    expect(drafts.drafts.map(({ sections }) => sections.length)).toEqual([1_000, 1_000, 500]);
    const reader = new Reader();
    reader.take(drafts.drafts);
    expect([...reader.got.keys()]).toEqual(Array.from({ length: 2_500 }, (_, i) => i));
  });

  test('take a message that is larger than a batch may be alone, and no more beside it', () => {
    const limit = { messagesMax: 10, bytesMax: 200 };
    const drafts = new BatchDrafts(new SchemaBook<Topic>(64), CODECS, limit);
    const texts = ['small', 'x'.repeat(500), 'after', 'it'];
    drafts.add({ topicId: 1 }, { topicId: 1, epoch: 0, firstSeq: 1 }, texts.map(of));
    drafts.add({ topicId: 2 }, { topicId: 2, epoch: 0, firstSeq: 0 }, ['y', 'z'.repeat(195)].map(of));
    expectLimits(drafts.drafts, limit);
    expect(drafts.drafts.map(({ count }) => count)).toEqual([2, 1, 2, 1]);
  });

  test('count the texts of columns by their length', () => {
    const limit = { messagesMax: 100, bytesMax: 10_000 };
    const value = (n: number) => ({ ...shaped('x', n), log: `${n}${'é'.repeat(1_000)}` });
    const book = new SchemaBook<Topic>(64);
    const topic = { topicId: 1 };
    const { fields } = book.learn(topic, Payload.of(value(0)))!;
    const drafts = new BatchDrafts(book, CODECS, limit);
    const rows = Array.from({ length: 20 }, (_, n) => {
      const row = ColumnGatherer.row(fields, of(value(n)))!;
      return message(Payload.row(row, 0));
    });
    drafts.add(topic, { topicId: 1, epoch: 0, firstSeq: 0 }, rows);
    expectLimits(drafts.drafts, limit);
    for (const draft of drafts.drafts) {
      expect(draft.codec).toBe('columns');
      expect(encodeBatch(headOf(draft, 'none'), bodyOf(draft), {}).length).toBeLessThan(limit.bytesMax + 500);
    }
  });
});

describe('layouts', () => {
  const LAYOUTS_MAX = 64;
  const topics = Array.from({ length: LAYOUTS_MAX + 6 }, (_, i): Topic => ({ topicId: i + 1 }));
  const call = (book: SchemaBook<Topic>, some: readonly Topic[], name = 's', count = 1) => {
    const drafts = new BatchDrafts(book, CODECS);
    for (const topic of some) {
      const messages = Array.from({ length: count }, (_, n) => of(shaped(`${name}${topic.topicId}`, n)));
      drafts.add(topic, { topicId: topic.topicId, epoch: 0, firstSeq: 0 }, messages);
    }
    return drafts.drafts;
  };

  test('of one call are 64 at most: further messages go as they are', () => {
    const drafts = call(new SchemaBook<Topic>(1_024), topics);
    expect(drafts.filter(({ codec }) => codec === 'columns')).toHaveLength(LAYOUTS_MAX);
    expect(new Set(drafts.flatMap(({ schema }) => schema?.id ?? [])).size).toBe(LAYOUTS_MAX);
    expect(drafts.filter(({ codec }) => codec !== 'columns')).toMatchObject([{ codec: 'msgpack', count: 6 }]);
    const reader = new Reader();
    reader.take(drafts);
    for (const { topicId } of topics) expect(reader.got.get(topicId)).toMatchObject([{ value: { b: 0, d: 7 } }]);
  });

  test('that a call has no room for are not the fault of their messages: the topic goes on with its own', () => {
    const book = new SchemaBook<Topic>(1_024);
    for (let i = 0; i < 20; i++) expect(call(book, topics).at(-1)).toMatchObject({ codec: 'msgpack', count: 6 });
    const last = topics.slice(-1);
    expect(call(book, last)).toMatchObject([{ codec: 'columns', count: 1 }]);
    // A new shape is learned as soon as if there had never been a lack of room.
    expect(call(book, last, 'other', 2).map(({ codec }) => codec)).toEqual(['msgpack', 'columns']);
  });

  test('of a message that fits none leave nothing behind', () => {
    const book = new SchemaBook<Topic>(1_024);
    const [topic] = topics as [Topic];
    call(book, [topic], 's', 1);
    const drafts = new BatchDrafts(book, CODECS);
    drafts.add(topic, { topicId: 1, epoch: 0, firstSeq: 1 }, [of('text'), of(shaped('s1', 5)), of({ s1: 1 })]);
    expect(drafts.drafts.map(({ codec, count }) => [codec, count])).toEqual([
      ['msgpack', 1],
      ['columns', 1],
      ['msgpack', 1],
    ]);
    expect(drafts.drafts.map(({ sections }) => sections[0]!.firstSeq)).toEqual([1, 2, 3]);
  });
});
