import { setImmediate } from 'node:timers/promises';
import { inspect, isDeepStrictEqual, parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { deflateSync, inflateSync } from 'node:zlib';
import { compressSync } from 'lz4-napi';
import { SightlineError } from '../../src/base/errors.ts';
import { seededRandom } from '../../src/base/random.ts';
import type { Priority } from '../../src/base/sample.ts';
import { BatchDrafts, bodyOf, headOf } from '../../src/protocol/batch-drafts.ts';
import {
  BATCH_LIMITS,
  type BatchMessage,
  type BatchSection,
  decodeBatch,
  decodeColumns,
  encodeBatch,
  messagesOfColumns,
} from '../../src/protocol/batch.ts';
import { ColumnGatherer, decodeColumns as decodeColumnsBody } from '../../src/protocol/columns.ts';
import { decompressLz4 } from '../../src/protocol/lz4.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { fits, schemaFor } from '../../src/protocol/schema.ts';
import { SchemaBook } from '../../src/protocol/schema-book.ts';
import {
  decodeTelemetryClientMessage,
  decodeTelemetryServerMessage,
  encodeData,
  encodeTelemetryClientMessage,
  encodeTelemetryServerMessage,
} from '../../src/protocol/telemetry-codec.ts';
import {
  COMPRESSIONS,
  PAYLOAD_CODECS,
  TELEMETRY_SUBPROTOCOLS,
  type TelemetryClientMessage,
  type TelemetryServerMessage,
} from '../../src/protocol/telemetry.ts';
import { damaged } from './damage.ts';

/**
 * `node test/fuzz/telemetry-codec.ts --inputs 1000000 --seed 1`: valid messages of the telemetry lane, damaged at random, into
 * its decoders. Each must give a message or a SightlineError, in bounded time and without growth of memory; the first that
 * does not is printed in hex with the seed and ends the run with 1.
 */

/** One input may take so long; a pause of the garbage collector may be in it. */
const INPUT_MS_MAX = 100;
/** What the heap and the buffers may grow by between the first tenth of the run and its end. */
const GROWTH_BYTES_MAX = 16 * 1024 * 1024;
/** Buffers of zlib are given back by the event loop, which gets a turn after so many inputs. */
const INPUTS_A_TURN = 100;

type Target = 'client' | 'server' | 'batch';
interface Subject {
  readonly target: Target;
  /** Text or binary message. */
  readonly isText: boolean;
  readonly bytes: Uint8Array;
}

const { values: options } = parseArgs({
  options: { inputs: { type: 'string', default: '1000000' }, seed: { type: 'string', default: '1' } },
});
const inputs = Number(options.inputs);
const seed = Number(options.seed);
if (!Number.isInteger(inputs) || inputs < 10 || !Number.isInteger(seed)) {
  throw new TypeError('--inputs has to be a whole number from 10 on, --seed a whole number');
}

/** Of the drafts: so small that layouts give way to each other. */
const BOOK_SCHEMAS = 8;
const DRAFT_LIMITS = { messagesMax: 25, bytesMax: 4_000 };
const TOPICS = 20;
const INSPECTION = { depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity, sorted: true } as const;
const book = new SchemaBook<object>(BOOK_SCHEMAS);
/** What stands for them in the book. */
const topics = new Map<number, object>();

const schema = schemaFor([message(0)])!;
const schemaOf = () => schema;
const compressors = {
  lz4: (plain: Uint8Array) => compressSync(Buffer.from(plain)).subarray(4),
  zlib: (plain: Uint8Array) => deflateSync(plain),
};
const decompressors = {
  lz4: decompressLz4,
  zlib: (packed: Uint8Array, plainSize: number) => inflateSync(packed, { maxOutputLength: Math.max(1, plainSize) }),
};

const random = seededRandom(seed);
const subjects = validSubjects();
const outcomes = new Map<string, number>();
let slowestMs = 0;
let bytesEarly = 0;
const startedMs = performance.now();
for (let i = 0; i < inputs; i++) {
  if (i % INPUTS_A_TURN === 0) await setImmediate();
  const subject = subjects[Math.floor(random() * subjects.length)]!;
  const bytes = damaged(subject.bytes, random);
  let { outcome, tookMs } = timed(subject, bytes);
  // The machine may have been busy elsewhere: what is slow is slow again.
  for (let again = 0; again < 2 && tookMs > INPUT_MS_MAX; again++) ({ outcome, tookMs } = timed(subject, bytes));
  slowestMs = Math.max(slowestMs, tookMs);
  outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const isFault = outcome.startsWith('fault');
  if (isFault || tookMs > INPUT_MS_MAX) {
    tell({ seed, input: i, target: subject.target, outcome, tookMs, hex: Buffer.from(bytes).toString('hex') });
    process.exit(1);
  }
  if (i === Math.floor(inputs / 10)) bytesEarly = await usedBytes();
}
const grownBytes = (await usedBytes()) - bytesEarly;
tell({
  inputs,
  seed,
  seconds: Math.round((performance.now() - startedMs) / 100) / 10,
  slowestMs: Math.round(slowestMs * 10) / 10,
  grownBytes,
  outcomes: Object.fromEntries([...outcomes].toSorted(([, a], [, b]) => b - a)),
});
if (grownBytes > GROWTH_BYTES_MAX) process.exitCode = 1;

function tell(report: object): void {
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
}

function timed(subject: Subject, bytes: Uint8Array): { outcome: string; tookMs: number } {
  const beganMs = performance.now();
  const outcome = decode(subject, bytes);
  return { outcome, tookMs: performance.now() - beganMs };
}

function decode({ target, isText }: Subject, bytes: Uint8Array): string {
  try {
    const data = isText ? Buffer.from(bytes).toString() : bytes;
    if (target === 'client') decodeTelemetryClientMessage(data);
    else if (target === 'server') decodeTelemetryServerMessage(data);
    else decodeWhole(bytes);
    return 'accepted';
  } catch (thrown) {
    return thrown instanceof SightlineError ? thrown.code : `fault: ${String(thrown)}`;
  }
}

/** What is let in must go out again in every form, and be the same with and without unpacking, in whole and section by section. */
function decodeWhole(bytes: Uint8Array): void {
  const { envelope, messages } = decodeBatch(bytes, schemaOf, decompressors);
  const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
  const gathered: unknown[] = [];
  for (const one of messages) {
    const isTaken = gatherer.add(one);
    const value = one.payload.value();
    if (isTaken !== fits(schema, value)) throw new Error('fits only one way');
    if (isTaken) gathered.push(value);
    one.payload.json();
    one.payload.msgpack();
  }
  if (gatherer.count !== gathered.length) throw new Error('what does not fit was counted');
  if (gathered.length > 0) {
    const { messagesMax, plainBytesMax } = BATCH_LIMITS;
    const again = decodeColumnsBody(gatherer.encode(0), schema, messagesMax, plainBytesMax).objects();
    if (!isDeepStrictEqual(again, gathered)) throw new Error('columns are not what they were made of');
  }
  const columns = envelope.codec === 'columns' ? decodeColumns(bytes, schemaOf, decompressors).columns : undefined;
  let from = 0;
  for (const { count } of envelope.sections) {
    const own = messages.slice(from, from + count).map(({ payload }) => payload.value());
    if (own.length !== count) throw new Error('sections are longer than their batch');
    if (columns !== undefined && !isDeepStrictEqual(columns.part(from, count).objects(), own)) {
      throw new Error('a part of the columns is not that of the messages');
    }
    from += count;
  }
  if (from !== messages.length) throw new Error('sections are shorter than their batch');
  passOn(messages, envelope.sections);
  if (columns !== undefined) passOnColumns(bytes, messages, envelope.sections);
}

/** What came in one batch goes on in as many as it takes: each message once, in the order of its topic. */
function passOn(messages: readonly BatchMessage[], sections: readonly BatchSection[]): void {
  const drafts = new BatchDrafts(book, ['columns', 'msgpack'], DRAFT_LIMITS);
  const wanted = new Map<number, string[]>();
  const got = new Map<number, string[]>();
  let from = 0;
  for (const { topicId, epoch, firstSeq, count } of sections) {
    const own = messages.slice(from, from + count);
    from += count;
    let topic = topics.get(topicId % TOPICS);
    if (topic === undefined) topics.set(topicId % TOPICS, (topic = {}));
    drafts.add(topic, { topicId, epoch, firstSeq }, own);
    for (const [i, one] of own.entries()) {
      told(wanted, topicId).push(textOf(one, firstSeq === 0 ? 0 : firstSeq + i, epoch));
    }
  }
  for (const draft of drafts.drafts) {
    if (draft.count > DRAFT_LIMITS.messagesMax) throw new Error('a draft has too many messages');
    if (draft.count > 1 && draft.bytes > DRAFT_LIMITS.bytesMax) throw new Error('a draft is too large');
    const batch = encodeBatch(headOf(draft, 'none'), bodyOf(draft), {});
    const read = decodeBatch(batch, () => draft.schema?.fields, {});
    let at = 0;
    for (const { topicId, epoch, firstSeq, count } of read.envelope.sections) {
      for (let i = 0; i < count; i++, at++) {
        told(got, topicId).push(textOf(read.messages[at]!, firstSeq === 0 ? 0 : firstSeq + i, epoch));
      }
    }
  }
  if (!isDeepStrictEqual(got, wanted)) throw new Error('drafts are not what was put into them');
}

/** Columns of a stranger as a server hands them on: as they came when they are whole, and put together anew. */
function passOnColumns(bytes: Uint8Array, messages: readonly BatchMessage[], sections: readonly BatchSection[]): void {
  const { columns } = decodeColumns(bytes, schemaOf, decompressors, BATCH_LIMITS, 'relay');
  const rows = [...messagesOfColumns(columns, sections)];
  for (const [i, { payload }] of rows.entries()) {
    if (!isDeepStrictEqual(payload.value(), messages[i]!.payload.value())) throw new Error('a row is another value');
    payload.json();
    payload.msgpack();
  }
  passOn([...messagesOfColumns(columns, sections)], sections);
  for (const some of [rows, rows.slice(1), rows.toReversed()]) {
    if (some.length === 0) continue;
    const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
    for (const row of some) if (!gatherer.add(row)) throw new Error('a row does not fit its own layout');
    const { messagesMax, plainBytesMax } = BATCH_LIMITS;
    const again = decodeColumnsBody(gatherer.encode(0), schema, messagesMax, plainBytesMax).objects();
    const values = some.map(({ payload }) => payload.value());
    if (!isDeepStrictEqual(again, values)) throw new Error('columns that are passed on are others');
  }
}

function told(lists: Map<number, string[]>, topicId: number): string[] {
  let list = lists.get(topicId);
  if (list === undefined) lists.set(topicId, (list = []));
  return list;
}

/** The same for the same message, whatever form it came in: MessagePack has no negative zero, columns their own order of keys. */
function textOf({ timeMs, priority, payload }: BatchMessage, seq: number, epoch: number): string {
  const { raw } = payload;
  const value =
    raw === undefined ? inspect(payload.value(), INSPECTION).replaceAll('-0', '0') : Buffer.from(raw).toString('hex');
  return `${seq} ${epoch} ${timeMs} ${priority} ${value}`;
}

function message(i: number) {
  return {
    pose: { x: i / 1000, y: -i / 8, heading: Math.sin(i) },
    cells: [3.9, 3.91 + (i % 3) / 1000, 3.92],
    fix: i % 5 !== 0,
    mode: i < 9 ? 'auto' : 'é "stop"',
    note: null,
    odd: i === 4 ? -0 : i,
  };
}

function validSubjects(): Subject[] {
  const batches = [1, 3, 40].map((count) =>
    Array.from({ length: count }, (_, i) => ({
      timeMs: 1.7e12 + i * 5,
      priority: (i % 4) as Priority,
      payload: Payload.of(message(i)),
    })),
  );
  const raw = [{ timeMs: 1, priority: 1 as Priority, payload: Payload.bytes(new Uint8Array(700)) }];
  const binary = PAYLOAD_CODECS.flatMap((codec) =>
    COMPRESSIONS.filter((compression) => compression !== 'zstd').flatMap((compression) =>
      (codec === 'bytes' ? [raw] : batches).map((messages): Subject => {
        const own = codec === 'columns' ? { schemaId: 1, schema } : {};
        const head = { sections: sectionsOf(messages.length), codec, compression, ...own };
        return { target: 'batch', isText: false, bytes: encodeBatch(head, messages, compressors) };
      }),
    ),
  );
  const client: TelemetryClientMessage[] = [
    {
      type: 'subscribe',
      id: 1,
      filter: 'rover/+/#',
      contract: 'sampled',
      hz: 10,
      ttl_ms: 100,
      codecs: ['columns', 'msgpack'],
      since: [{ topic: 'rover/1/state', epoch: 7, seq: 100 }],
      group: 'plots',
    },
    { type: 'publish', topic: 'rover/1/drive', data: message(3), time: 1.5, priority: 3, ttl_ms: 200, seq: 9 },
    { type: 'ack', id: 1, topic_id: 2, seq: 3 },
    { type: 'schema', schema_id: 2, fields: schema },
  ];
  const server: TelemetryServerMessage[] = [
    { type: 'topic', id: 1, topic: 'rover/1/state', topic_id: 2, epoch: 3, seq: 4, recovered: true },
    { type: 'schema', schema_id: 2, fields: schema },
    { type: 'loss', id: 1, topic_id: 2, from: 3, to: 4, count: 2, cause: 'overflow' },
  ];
  const controls = TELEMETRY_SUBPROTOCOLS.slice(0, 2).flatMap((protocol): Subject[] =>
    client
      .map((entry) => subject('client', encodeTelemetryClientMessage(entry, protocol)))
      .concat(server.map((entry) => subject('server', encodeTelemetryServerMessage(entry, protocol)))),
  );
  return [
    ...binary,
    ...controls,
    { target: 'server', isText: true, bytes: encodeData(1, 2, batches[1]!, 'json') },
    { target: 'server', isText: false, bytes: encodeData(1, 2, batches[1]!, 'msgpack') },
  ];
}

/** Those of two topics, one of which comes twice. */
function sectionsOf(messages: number): BatchSection[] {
  const counts = [1, Math.floor((messages - 1) / 2), Math.ceil((messages - 1) / 2)].filter((count) => count > 0);
  return counts.map((count, i) => ({ topicId: 1 + (i % 2), epoch: 2, firstSeq: 3 + i * 100, count }));
}

function subject(target: Target, encoded: string | Uint8Array): Subject {
  const isText = typeof encoded === 'string';
  return { target, isText, bytes: isText ? Buffer.from(encoded) : Uint8Array.from(encoded) };
}

/** After collections, and the turns of the event loop in which buffers are given back: what lives on. */
async function usedBytes(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 3; i++) {
    collect();
    await setImmediate();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
