import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, zstdCompressSync } from 'node:zlib';
import { McapRecordBuilder, McapWriter, type McapWriterOptions } from '@mcap/core';
import fc from 'fast-check';
import { compressFrameSync } from 'lz4-napi';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RecordingSource } from './replay-file.ts';

const T0 = 1_700_000_000_000_000_000n;
const NS_PER_MS = 1_000_000n;

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sightline-mcap-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function saved(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${++files}.mcap`);
  await writeFile(path, bytes);
  return path;
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

type Statistics = Parameters<McapRecordBuilder['writeStatistics']>[0];
type Options = Partial<Omit<McapWriterOptions, 'writable'>>;

/** A file of the public writer. */
async function written(options: Options, write: (writer: McapWriter) => Promise<void>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const writable = {
    position: () => BigInt(length),
    write: async (bytes: Uint8Array) => {
      parts.push(Uint8Array.from(bytes));
      length += bytes.length;
    },
  };
  const writer = new McapWriter({ writable, ...options });
  await writer.start({ profile: '', library: 'test' });
  await write(writer);
  await writer.end();
  return Buffer.concat(parts);
}

const channel = (topic: string, messageEncoding = 'json') => ({
  topic,
  messageEncoding,
  schemaId: 0,
  metadata: new Map(),
});
const message = (channelId: number, logTime: bigint, data: Uint8Array, publishTime = logTime) => ({
  channelId,
  sequence: 0,
  logTime,
  publishTime,
  data,
});

/** One topic; the number of each message is its time in ms. */
async function numbered(times: readonly number[], options: Options = {}): Promise<Buffer> {
  return await written(options, async (writer) => {
    const id = await writer.registerChannel(channel('/t'));
    for (const t of times) await writer.addMessage(message(id, T0 + BigInt(t) * NS_PER_MS, json(t)));
  });
}

/** A file of which each record is given, as no public writer would make it. */
function made(records: (builder: McapRecordBuilder) => void, summary?: (builder: McapRecordBuilder) => void): Buffer {
  const builder = new McapRecordBuilder();
  builder.writeMagic();
  builder.writeHeader({ profile: '', library: 'test' });
  records(builder);
  builder.writeDataEnd({ dataSectionCrc: 0 });
  const summaryStart = summary ? BigInt(builder.length) : 0n;
  summary?.(builder);
  builder.writeFooter({ summaryStart, summaryOffsetStart: 0n, summaryCrc: 0 });
  builder.writeMagic();
  return Buffer.from(builder.buffer);
}

function chunk(
  into: McapRecordBuilder,
  records: (builder: McapRecordBuilder) => void,
  claims: Partial<Parameters<McapRecordBuilder['writeChunk']>[0]> = {},
): void {
  const builder = new McapRecordBuilder();
  records(builder);
  const plain = Uint8Array.from(builder.buffer);
  into.writeChunk({
    messageStartTime: T0,
    messageEndTime: T0 + 1_000n * NS_PER_MS,
    uncompressedSize: BigInt(plain.length),
    uncompressedCrc: 0,
    compression: '',
    records: plain,
    ...claims,
  });
}

/** What is played, and what is refused. */
async function played(bytes: Uint8Array, plainBytesMax?: number, fromMs?: number) {
  await using source = await RecordingSource.open(await saved(bytes), plainBytesMax);
  const refused: string[] = [];
  const seen: [string, unknown][] = [];
  const onRefused = ({ code, message: why }: Error & { code: string }, topic: string | undefined) => {
    refused.push(`${topic ?? ''} ${code} ${why}`);
  };
  const messages = [];
  for await (const one of source.messages(fromMs ?? source.startMs, onRefused)) {
    messages.push(one);
    seen.push([one.topic, one.payload.raw ? [...one.payload.raw] : one.payload.value()]);
  }
  const { startMs, endMs, messageCount, topics, complete, damage } = source;
  return {
    messages,
    seen,
    values: seen.map(([, v]) => v),
    refused,
    startMs,
    endMs,
    messageCount,
    topics,
    complete,
    damage,
  };
}

const FLAGS = [
  'useChunks',
  'useChunkIndex',
  'useMessageIndex',
  'useStatistics',
  'useSummaryOffsets',
  'repeatSchemas',
  'repeatChannels',
] as const;

test('every optional part of the format may be there or not', async () => {
  for (let bits = 0; bits < 1 << FLAGS.length; bits++) {
    const options = Object.fromEntries(FLAGS.map((flag, i) => [flag, (bits & (1 << i)) !== 0]));
    const bytes = await written({ ...options, chunkSize: 200 }, async (writer) => {
      const schemaId = await writer.registerSchema({ name: 's', encoding: 'jsonschema', data: Buffer.from('{}') });
      const a = await writer.registerChannel({ ...channel('/a'), schemaId });
      const b = await writer.registerChannel({ ...channel('/b'), schemaId });
      for (let i = 0; i < 10; i++)
        await writer.addMessage(message(i % 2 ? b : a, T0 + BigInt(i) * 10n * NS_PER_MS, json(i)));
    });
    const { values, messageCount, startMs, endMs, topics, complete, damage, refused } = await played(bytes);
    expect({ options, values, refused }).toEqual({ options, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], refused: [] });
    expect([messageCount, startMs, endMs, topics]).toEqual([10, 1.7e12, 1.7e12 + 90, ['/a', '/b']]);
    expect([complete, damage]).toEqual([true, undefined]);
  }
});

describe('order', () => {
  const times = [0, 200, 100, 400, 300, 50, 250];
  const sorted = times.toSorted((a, b) => a - b);

  test.each<[string, Options]>([
    ['in one chunk', {}],
    ['in chunks that overlap', { chunkSize: 10 }],
    ['in chunks that overlap, without an index', { chunkSize: 10, useChunkIndex: false, useMessageIndex: false }],
    ['without chunks', { useChunks: false }],
  ])('messages that lie in none, %s, are played in that of their times, from any place', async (_, options) => {
    const bytes = await numbered(times, options);
    expect((await played(bytes)).values).toEqual(sorted);
    expect((await played(bytes, undefined, 1.7e12 + 200)).values).toEqual([200, 250, 300, 400]);
    expect((await played(bytes, undefined, 1.7e12 + 401)).values).toEqual([]);
  });

  test('topic after topic, and messages of one time, which keep the order of the file', async () => {
    for (const options of [{ useChunks: false }, { chunkSize: 60 }]) {
      const bytes = await written(options, async (writer) => {
        for (const topic of ['a', 'b', 'c']) {
          const id = await writer.registerChannel(channel(topic));
          for (let t = 0; t < 50; t++) await writer.addMessage(message(id, T0 + BigInt(t >> 1) * NS_PER_MS, json(t)));
        }
      });
      const { seen } = await played(bytes);
      const wanted = Array.from({ length: 25 }, (_, t) =>
        ['a', 'b', 'c'].flatMap((n) => [
          [n, 2 * t],
          [n, 2 * t + 1],
        ]),
      );
      expect(seen).toEqual(wanted.flat());
    }
  });

  test('blocks that overlap and do not fit into memory together are read again', async () => {
    const shuffled = Array.from({ length: 300 }, (_, i) => (i * 37) % 300);
    const bytes = await numbered(shuffled, { chunkSize: 500 });
    expect((await played(bytes, 1)).values).toEqual(Array.from({ length: 300 }, (_, i) => i));
  });

  test('a chunk whose times are told wrongly, or that is empty, changes nothing', async () => {
    const bytes = made((builder) => {
      builder.writeChannel({ id: 1, ...channel('t') });
      chunk(builder, () => {}, { messageStartTime: 0n, messageEndTime: 0n });
      for (const from of [0, 10]) {
        const claims = { messageStartTime: from === 0 ? T0 * 2n : 0n, messageEndTime: 0n };
        chunk(
          builder,
          (b) => {
            for (let i = from; i < from + 10; i++) b.writeMessage(message(1, T0 + BigInt(i) * NS_PER_MS, json(i)));
          },
          claims,
        );
      }
    });
    const { values, startMs, endMs, messageCount } = await played(bytes);
    expect(values).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect([startMs, endMs, messageCount]).toEqual([1.7e12, 1.7e12 + 19, 20]);
  });

  test.each<[string, Partial<Statistics>, number]>([
    ['right', {}, 3],
    ['wrong in their end', { messageEndTime: T0 }, 3],
    ['wrong in their beginning', { messageStartTime: 0n }, 3],
    ['without channels', { channelCount: 5 }, 3],
    ['of fewer chunks', { chunkCount: 0 }, 3],
    // There is nothing that contradicts it.
    ['wrong in their number', { messageCount: 7n }, 7],
  ])('statistics that are %s do not change what is played', async (_, claims, count) => {
    const bytes = made(
      (builder) =>
        chunk(
          builder,
          (b) => {
            b.writeChannel({ id: 1, ...channel('t') });
            for (let i = 0; i < 3; i++) b.writeMessage(message(1, T0 + BigInt(i) * NS_PER_MS, json(i)));
          },
          { messageEndTime: T0 + 2n * NS_PER_MS },
        ),
      (summary) => {
        summary.writeChannel({ id: 1, ...channel('t') });
        summary.writeStatistics({
          messageCount: 3n,
          schemaCount: 0,
          channelCount: 1,
          attachmentCount: 0,
          metadataCount: 0,
          chunkCount: 1,
          messageStartTime: T0,
          messageEndTime: T0 + 2n * NS_PER_MS,
          channelMessageCounts: new Map(),
          ...claims,
        });
      },
    );
    const { values, startMs, endMs, messageCount, complete } = await played(bytes);
    expect([values, startMs, endMs, messageCount, complete]).toEqual([[0, 1, 2], 1.7e12, 1.7e12 + 2, count, true]);
  });
});

describe('compression', () => {
  const zstd = (plain: Uint8Array) => ({ compression: 'zstd', compressedData: zstdCompressSync(plain) });
  const lz4 = (plain: Uint8Array) => ({ compression: 'lz4', compressedData: compressFrameSync(Buffer.from(plain)) });
  const times = Array.from({ length: 40 }, (_, i) => i);

  test.each([
    ['zstd', zstd],
    ['lz4', lz4],
  ])('%s, also of an empty chunk and mixed with plain ones', async (_, compress) => {
    const bytes = await numbered(times, { chunkSize: 100, compressChunk: compress });
    expect((await played(bytes)).values).toEqual(times);
    const { compression, compressedData } = compress(new Uint8Array());
    const mixed = made((builder) => {
      chunk(builder, () => {}, { compression, records: compressedData, messageStartTime: 0n, messageEndTime: 0n });
      chunk(builder, () => {}, { compression, messageStartTime: 0n, messageEndTime: 0n });
      chunk(builder, (b) => {
        b.writeChannel({ id: 1, ...channel('t') });
        b.writeMessage(message(1, T0, json('plain')));
      });
    });
    expect(await played(mixed)).toMatchObject({ values: ['plain'], refused: [] });
  });

  test('one that is not known is named; the chunks beside it are played', async () => {
    const bz2 = (plain: Uint8Array) => ({ compression: 'bz2', compressedData: plain });
    await expect(played(await numbered(times, { chunkSize: 100, compressChunk: bz2 }))).rejects.toMatchObject({
      code: 'SOURCE_UNREADABLE',
      message: expect.stringContaining('its compression is "bz2"; zstd, lz4 and none can be read'),
    });
    let chunks = 0;
    const some = (plain: Uint8Array) => (++chunks === 3 ? bz2(plain) : zstd(plain));
    const { values, refused } = await played(await numbered(times, { chunkSize: 100, compressChunk: some }));
    expect(values.length).toBeGreaterThan(20);
    expect(values.length).toBeLessThan(40);
    expect(refused).toEqual([expect.stringMatching(/^ SOURCE_UNREADABLE the chunk at byte \d+ .*"bz2"/)]);
  });
});

describe('what is damaged', () => {
  const times = Array.from({ length: 30 }, (_, i) => i * 10);

  test('a chunk without its checksum is left out and told, and the others are played', async () => {
    const bytes = await numbered(times, { chunkSize: 100 });
    // A figure of the message in the middle: still JSON, still in order.
    const at = bytes.indexOf('150');
    bytes.write('157', at);
    const { values, refused, complete } = await played(bytes);
    expect(values).not.toContain(150);
    expect(values).not.toContain(157);
    expect(values.slice(-3)).toEqual([270, 280, 290]);
    expect(refused).toEqual([
      expect.stringMatching(/the chunk at byte \d+ cannot be read: its bytes do not have their checksum/),
    ]);
    expect(complete).toBe(true);
  });

  test('messages without chunks have the checksum of all data', async () => {
    const parts = made((builder) => {
      builder.writeChannel({ id: 1, ...channel('t') });
      for (const t of times) builder.writeMessage(message(1, T0 + BigInt(t), json(t)));
    });
    const dataEnd = parts.length - 8 - 29 - 13;
    parts.writeUInt32LE(crc32(parts.subarray(0, dataEnd)), dataEnd + 9);
    expect(await played(parts)).toMatchObject({ values: times, damage: undefined });
    parts.write('157', parts.indexOf('150'));
    expect(await played(parts)).toMatchObject({
      damage: expect.stringContaining('some of its messages may be damaged'),
    });
  });

  test('a record whose length is wrong ends the walk; the index finds the chunks behind it', async () => {
    const bytes = await numbered(times, { chunkSize: 100 });
    const whole = await played(bytes);
    const second = bytes.indexOf(Buffer.from([0x06]), bytes.indexOf('50') + 1);
    bytes.writeBigUInt64LE(2n ** 40n, second + 1);
    const { values, complete, damage } = await played(bytes);
    expect(values.length).toBeGreaterThan(10);
    expect(values.length).toBeLessThan(whole.values.length);
    expect(values.at(-1)).toBe(290);
    expect([complete, damage]).toEqual([
      false,
      expect.stringMatching(new RegExp(`damaged at byte ${second}; \\d+ chunks`)),
    ]);
  });

  test.each<[string, Options]>([
    ['chunks', { chunkSize: 100 }],
    ['chunks without an index', { chunkSize: 100, useChunkIndex: false, useMessageIndex: false }],
    ['messages', { useChunks: false }],
  ])('a file of %s that is cut is played up to the cut, and told', async (_, options) => {
    const bytes = await numbered(times, options);
    const dataEnd = bytes.lastIndexOf(Buffer.from([0x0f, 4, 0, 0, 0, 0, 0, 0, 0]));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 250, max: bytes.length - 1 }), async (cut) => {
        const { values, complete, damage, messageCount } = await played(bytes.subarray(0, cut));
        expect(values).toEqual(times.slice(0, values.length));
        expect(values).toHaveLength(messageCount);
        if (cut >= dataEnd) expect(values).toEqual(times);
        else if (options.useChunks === false) expect(values.length).toBeGreaterThan((cut - 60) / 36 - 3);
        expect([complete, damage]).toEqual([false, expect.stringContaining('cut off')]);
      }),
      { numRuns: 40 },
    );
  });

  test('a message that is no JSON, of any kind, is left out and told, and the others are played', async () => {
    const bad = [
      '',
      '{"broken":',
      '{"x": NaN}',
      '["'.repeat(3),
      `${'['.repeat(100)}${']'.repeat(100)}`,
      '{"__proto__":1}',
    ];
    const bytes = await written({}, async (writer) => {
      const id = await writer.registerChannel(channel('/j'));
      const all = [...bad.map((text) => Buffer.from(text)), Buffer.from([0x22, 0xff, 0x22])];
      await writer.addMessage(message(id, T0, json('first')));
      for (const [i, data] of all.entries()) await writer.addMessage(message(id, T0 + BigInt(i), data));
      await writer.addMessage(message(id, T0 + 100n, json('last')));
    });
    const { values, refused } = await played(bytes);
    expect(values).toEqual(['first', 'last']);
    expect(refused).toHaveLength(7);
    for (const line of refused) expect(line).toMatch(/^\/j PAYLOAD_BAD /);
    // Who does not ask for refusals is not left in the dark.
    await using source = await RecordingSource.open(await saved(bytes));
    const all = source.messages(0);
    expect((await all.next()).value).toMatchObject({ topic: '/j' });
    await expect(all.next()).rejects.toMatchObject({ code: 'PAYLOAD_BAD' });
  });
});

test('a message that is not in the form that its channel tells is refused', async () => {
  const forms = { value: '{"n":1}', bytes: '{"data":5}', jpeg: '[]', strange: '{}' };
  const bytes = await written({}, async (writer) => {
    for (const [form, text] of Object.entries(forms)) {
      const id = await writer.registerChannel({ ...channel(form), metadata: new Map([['sightline.form', form]]) });
      await writer.addMessage(message(id, T0, Buffer.from(text)));
      const right = form === 'value' ? { value: null } : { data: 'AQI=' };
      await writer.addMessage(message(id, T0 + 1n, json(right)));
    }
  });
  const { values, refused } = await played(bytes);
  expect(values).toEqual([null, [1, 2], [1, 2], [1, 2]]);
  expect(refused).toHaveLength(4);
  for (const line of refused)
    expect(line).toMatch(/PAYLOAD_BAD a message of the form "\w+" has no valid "(value|data)"/);
});

describe('channels', () => {
  test('other encodings are played as bytes, two channels of one topic one beside the other', async () => {
    const bytes = await written({}, async (writer) => {
      const encodings = ['cdr', 'ros1', 'protobuf', 'cbor', '', 'json'];
      for (const [i, encoding] of encodings.entries()) {
        const id = await writer.registerChannel(channel('/t', encoding));
        await writer.addMessage(message(id, T0 + BigInt(i), encoding === 'json' ? json({ i }) : Uint8Array.of(i)));
      }
    });
    expect((await played(bytes)).seen).toEqual([...[0, 1, 2, 3, 4].map((i) => ['/t', [i]]), ['/t', { i: 5 }]]);
  });

  test('a number that is told again with another topic means that from there on', async () => {
    const both = (builder: McapRecordBuilder) => {
      for (const [i, topic] of ['a', 'a', 'b'].entries()) {
        builder.writeChannel({ id: 1, ...channel(topic) });
        for (let n = 0; n < 2; n++) builder.writeMessage(message(1, T0 + BigInt(2 * i + n), json(2 * i + n)));
      }
    };
    const wanted = [...[0, 1, 2, 3].map((n) => ['a', n]), ['b', 4], ['b', 5]];
    expect((await played(made(both))).seen).toEqual(wanted);
    expect((await played(made((builder) => chunk(builder, both)))).seen).toEqual(wanted);
    const inTwoChunks = made((builder) => {
      for (const [i, topic] of ['a', 'b'].entries()) {
        chunk(builder, (b) => {
          b.writeChannel({ id: 1, ...channel(topic) });
          b.writeMessage(message(1, T0 + BigInt(i), json(i)));
        });
      }
      chunk(builder, (b) => b.writeMessage(message(1, T0 + 2n, json(2))));
    });
    expect((await played(inTwoChunks)).seen).toEqual([
      ['a', 0],
      ['b', 1],
      ['b', 2],
    ]);
  });

  test('a message of a channel that nothing is told of is refused by its number', async () => {
    const bytes = made((builder) => {
      builder.writeChannel({ id: 1, ...channel('t') });
      builder.writeMessage(message(9, T0, json(0)));
      builder.writeMessage(message(1, T0, json(1)));
    });
    expect(await played(bytes)).toMatchObject({
      values: [1],
      refused: [expect.stringContaining('does not describe channel 9')],
    });
  });

  test('attachments, metadata, schemas of one name and records of other writers are no matter', async () => {
    const bytes = await written({ chunkSize: 50 }, async (writer) => {
      for (let i = 0; i < 3; i++) {
        const schemaId = await writer.registerSchema({
          name: 's',
          encoding: 'jsonschema',
          data: Buffer.from(`{"n":${i}}`),
        });
        const id = await writer.registerChannel({ ...channel(`t${i}`), schemaId });
        await writer.addMessage(message(id, T0 + BigInt(i), json(i)));
        await writer.addMetadata({ name: 'm', metadata: new Map([['a', 'b']]) });
        const data = Buffer.alloc(2_000_000, 6);
        await writer.addAttachment({ name: 'x', logTime: 0n, createTime: 0n, mediaType: 'text/plain', data });
      }
    });
    expect(await played(bytes)).toMatchObject({ values: [0, 1, 2], topics: ['t0', 't1', 't2'], complete: true });
    const own = Buffer.from([0x90, 3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    const strange = Buffer.concat([bytes.subarray(0, 8 + 9 + 12), own, bytes.subarray(8 + 9 + 12)]);
    expect((await played(strange)).values).toEqual([0, 1, 2]);
  });
});

test('times at both ends of what the format can say', async () => {
  const last = 2n ** 64n - 1n;
  const bytes = await written({}, async (writer) => {
    const id = await writer.registerChannel(channel('t'));
    await writer.addMessage(message(id, 0n, json('zero')));
    await writer.addMessage(message(id, T0, json('not published'), 0n));
    await writer.addMessage(message(id, last, json('last')));
  });
  const { values, messages, startMs, endMs } = await played(bytes);
  expect(values).toEqual(['zero', 'not published', 'last']);
  expect(messages.map(({ publishTimeMs }) => publishTimeMs)).toEqual([0, 1.7e12, endMs]);
  expect([startMs, endMs]).toEqual([0, 18446744073709.55]);
});
