import { deflateSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { encodeBatch, type BatchHead, type BatchMessage } from '../../protocol/batch.ts';
import { Payload } from '../../protocol/payload.ts';
import type { Compression, PayloadCodec } from '../../protocol/telemetry.ts';
import { compressors } from '../compression.ts';

let bench: TelemetryBench;
let client: TelemetryTestClient;
beforeEach(async () => {
  bench = await new TelemetryBench().start();
  client = await TelemetryTestClient.open(bench.url('?client_id=large'), 'sightline.v1.binary');
  for (const [alias, topic] of ['a', 'b'].entries()) client.send({ type: 'advertise', alias, topic });
});
afterEach(async () => {
  await client.close();
  await bench.stop();
});

const MESSAGES = 400;
/** Some 300 bytes that do not compress much. */
const valueOf = (i: number) => ({ i, noise: Array.from({ length: 20 }, (_, k) => Math.sin(i * 20 + k)) });
const message = (i: number): BatchMessage => ({ timeMs: i, priority: 1, payload: Payload.of(valueOf(i)) });

function batch(
  codec: PayloadCodec,
  compression: Compression,
  sections: BatchHead['sections'],
  messages: BatchMessage[],
) {
  return encodeBatch({ codec, compression, sections }, messages, compressors);
}

const section = (topicId: number, count: number, firstSeq = 0) => ({ topicId, epoch: 0, firstSeq, count });
const values = (topic: string) =>
  [...(bench.topics.get(topic)?.stream.history(0) ?? [])].map(({ data }) => data.payload.value());
const lastSeq = (topic: string) => bench.topics.get(topic)?.lastSeq ?? 0;

describe.each(['none', 'lz4', 'zlib', 'zstd'] as const)('compression %s', (compression) => {
  test.each(['json', 'msgpack'] as const)(
    '%s: a large batch arrives whole and in order, what follows it after it',
    async (codec) => {
      const all = Array.from({ length: 2 * MESSAGES }, (_, i) => message(i));
      client.send(batch(codec, compression, [section(0, MESSAGES), section(1, MESSAGES)], all));
      client.send(batch(codec, 'none', [section(1, 1)], [message(-1)]));
      await expect.poll(() => lastSeq('b')).toBe(MESSAGES + 1);
      expect(values('a')).toEqual(all.slice(0, MESSAGES).map((_, i) => valueOf(i)));
      expect(values('b').at(-1)).toEqual(valueOf(-1));
      expect(values('b')[0]).toEqual(valueOf(MESSAGES));
      expect(client.errors).toEqual([]);
    },
  );
});

test('numbered messages of a large batch are confirmed, and come twice without harm', async () => {
  const all = Array.from({ length: MESSAGES }, (_, i) => message(i));
  for (let i = 0; i < 2; i++) client.send(batch('json', 'zlib', [section(0, MESSAGES, 1)], all));
  await expect.poll(() => bench.session('large').duplicates).toBe(MESSAGES);
  expect([lastSeq('a'), client.errors]).toEqual([MESSAGES, []]);
});

test('one message that is none costs the others nothing', async () => {
  const all = Array.from({ length: MESSAGES }, (_, i) => message(i));
  const bytes = batch('json', 'none', [section(0, MESSAGES)], all);
  bytes[bytes.length - 1] = 0x78;
  client.send(bytes);
  await expect.poll(() => [lastSeq('a'), client.errors.length]).toEqual([MESSAGES - 1, 1]);
  expect(client.errors).toEqual(['PAYLOAD_BAD']);
});

test.each([
  ['is not what it says to be', 'zlib', (packed: Uint8Array) => packed.fill(7, 200), 'COMPRESSION_BAD'],
  ['is not as long as it says', 'none', (packed: Uint8Array) => packed.subarray(0, -1), 'BATCH_BAD'],
] as const)('a large batch that %s is refused by its topics, as a whole', async (_what, compression, damage, code) => {
  const all = Array.from({ length: 2 * MESSAGES }, (_, i) => message(i));
  client.send(damage(batch('json', compression, [section(0, MESSAGES), section(1, MESSAGES)], all)));
  await client.until(() => client.errors.length === 2);
  expect(client.of('error').map(({ topic, count }) => [topic, count])).toEqual([
    ['a', MESSAGES],
    ['b', MESSAGES],
  ]);
  expect(client.errors).toEqual([code, code]);
  expect([lastSeq('a'), lastSeq('b')]).toEqual([0, 0]);
});

test('a batch that grows more than a hundredfold is not even decompressed', async () => {
  const bytes = batch(
    'json',
    'none',
    [section(0, 1)],
    [{ timeMs: 1, priority: 1, payload: Payload.of('x'.repeat(900_000)) }],
  );
  const head = bytes.slice(0, 32);
  head[2] = 2;
  client.send(Buffer.concat([head, deflateSync(bytes.subarray(32), { level: 9 })]));
  await client.until(() => client.errors.length > 0);
  expect([client.errors, lastSeq('a')]).toEqual([['COMPRESSION_BAD'], 0]);
});

test('batches under an unknown alias count against the rate, and are not read', async () => {
  const slow = await new TelemetryBench({ rate: { messagesPerS: 1_000, bytesPerS: 1e9, muteMs: 1_000 } }).start();
  const flood = await TelemetryTestClient.open(slow.url('?client_id=flood'), 'sightline.v1.binary');
  const all = Array.from({ length: MESSAGES }, (_, i) => message(i));
  const bytes = batch('json', 'zlib', [section(77, MESSAGES)], all);
  for (let i = 0; i < 6; i++) flood.send(bytes);
  await flood.until(() => flood.of('notice').some(({ reason }) => reason === 'rate'));
  expect(new Set(flood.errors)).toEqual(new Set(['ALIAS_UNKNOWN']));
  await flood.close();
  await slow.stop();
});

test('what has too many elements is refused by itself, in each form', async () => {
  const dense = Array.from({ length: 70_000 }, () => ({}));
  const two = [{ timeMs: 1, priority: 1 as const, payload: Payload.of(dense) }, message(1)];
  for (const codec of ['json', 'msgpack'] as const) client.send(batch(codec, 'none', [section(0, 2)], two));
  await expect.poll(() => [lastSeq('a'), client.errors.length]).toEqual([2, 2]);
  expect(client.errors).toEqual(['MESSAGE_TOO_LARGE', 'MESSAGE_TOO_LARGE']);
  const plain = await TelemetryTestClient.open(bench.url());
  plain.send({ type: 'publish', topic: 'c', data: dense });
  plain.send({ type: 'publish', topic: 'c', data: 'x'.repeat(200_000) });
  await expect.poll(() => [lastSeq('c'), plain.errors.length]).toEqual([1, 1]);
  expect(plain.errors).toEqual(['MESSAGE_TOO_LARGE']);
  await plain.close();
});
