import { seededRandom, type Random } from '../../src/base/random.ts';
import { roverMessages, sign } from '../../src/load/rover-messages.ts';
import {
  type BatchHead,
  type BatchMessage,
  decodeBatch,
  decodeColumns,
  encodeBatch,
} from '../../src/protocol/batch.ts';
import { plainBuilder } from '../../src/protocol/column-objects.ts';
import { decompressLz4 } from '../../src/protocol/lz4.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { schemaFor, shapeOf } from '../../src/protocol/schema.ts';
import type { Compression, PayloadCodec } from '../../src/protocol/telemetry.ts';
import { compressors, decompressors as native } from '../../src/sessions/compression.ts';
import { atLeast, atMost, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { median } from '../support/statistics.ts';

/** Every way of writing telemetry, on one thread and without a network: bytes and nanoseconds of each message. */

const SEED = 20_261;
const MESSAGES = 2_000;
const BATCH_SIZES = [1, 10, 50];
const TURNS = { full: 15, quick: 3 };
const WAYS: readonly (readonly [PayloadCodec, Compression])[] = [
  ['json', 'none'],
  ['json', 'lz4'],
  ['msgpack', 'none'],
  ['msgpack', 'lz4'],
  ['msgpack', 'zlib'],
  ['msgpack', 'zstd'],
  ['columns', 'none'],
  ['columns', 'zlib'],
  ['columns', 'zstd'],
];
// LZ4 as browsers unpack it.
const decompressors = { ...native, lz4: decompressLz4 };

export const codecs: Benchmark = {
  name: 'codecs',
  summary: 'telemetry: bytes and time of each codec and compression',
  run: runCodecs,
};

async function runCodecs({ quick, signal, say }: BenchContext): Promise<BenchResult> {
  const figures: Record<string, number> = {};
  const turns = quick ? TURNS.quick : TURNS.full;
  const walk = roverMessages(MESSAGES, SEED);
  for (const [i, message] of walk.entries()) sign(message, i + 1);
  const random = seededRandom(SEED);
  const data = { walk, doubles: walk.map((message) => noisy(message, random)) };
  for (const [name, values] of Object.entries(data)) {
    const jsonBytes = values.reduce<number>((sum, value) => sum + JSON.stringify(value).length, 0) / MESSAGES;
    figures[`${name}.json_bytes`] = jsonBytes;
    for (const size of BATCH_SIZES) {
      for (const [codec, compression] of WAYS) {
        signal.throwIfAborted();
        say(`${name}: ${codec}, ${compression}, batches of ${size}`);
        const measured = measure(values, size, codec, compression, turns);
        for (const [figure, value] of Object.entries(measured)) {
          figures[`${name}.${codec}_${compression}_${size}.${figure}`] = value;
        }
      }
    }
  }
  const share = (way: string) => (100 * figures[`walk.${way}.bytes`]!) / figures['walk.json_bytes']!;
  return {
    seed: SEED,
    setup: {
      walk: 'the load tester’s messages of a vehicle: 102 fields, a random walk in a few decimals, noise of sensors',
      doubles: 'the same with 10 % of noise in full doubles: nothing to gain from decimals or neighbours',
      mode: quick ? 'quick' : 'full',
    },
    figures,
    bars: [
      atMost('columns: percent of JSON in batches', share('columns_none_50'), 20),
      atMost('MessagePack and LZ4: percent of JSON in batches', share('msgpack_lz4_50'), 50),
      atLeast('columns read a second', 1e9 / figures['walk.columns_none_50.columns_ns']!, 1_500_000),
      atLeast('columns written a second', 1e9 / figures['walk.columns_none_50.encode_ns']!, 100_000),
    ],
  };
}

/** Medians over the turns, of one message. */
function measure(
  values: readonly unknown[],
  size: number,
  codec: PayloadCodec,
  compression: Compression,
  turns: number,
): Record<string, number> {
  const schema = schemaFor(values.slice(0, 3))!;
  const head: BatchHead = {
    sections: [{ topicId: 1, epoch: 1, firstSeq: 1, count: size }],
    codec,
    compression,
    ...(codec === 'columns' && { schemaId: 1, schema }),
  };
  const schemaOf = () => schema;
  const batches = batchesOf(values, size);
  const encoded = batches.map((batch) => encodeBatch(head, batch, compressors));
  const timed = (run: (i: number) => unknown): number => {
    const times: number[] = [];
    for (let turn = -1; turn < turns; turn++) {
      const beganMs = performance.now();
      for (let i = 0; i < batches.length; i++) run(i);
      // The first turn warms up.
      if (turn >= 0) times.push(((performance.now() - beganMs) * 1e6) / (batches.length * size));
    }
    return median(times);
  };
  const figures: Record<string, number> = {
    bytes: encoded.reduce((sum, bytes) => sum + bytes.length, 0) / (batches.length * size),
    // Payloads keep the forms they were asked for: fresh ones each time.
    encode_ns: timed((i) => encodeBatch(head, batches[i]!.map(fresh), compressors)),
    objects_ns: timed((i) =>
      decodeBatch(encoded[i]!, schemaOf, decompressors).messages.map(({ payload }) => payload.value()),
    ),
  };
  if (codec !== 'columns') return figures;
  const build = plainBuilder(shapeOf(schema));
  return {
    ...figures,
    columns_ns: timed((i) => decodeColumns(encoded[i]!, schemaOf, decompressors)),
    objects_without_generated_code_ns: timed((i) => {
      const { columns } = decodeColumns(encoded[i]!, schemaOf, decompressors);
      return build(columns.values, [], columns.count, 0, columns.count);
    }),
  };
}

function batchesOf(values: readonly unknown[], size: number): BatchMessage[][] {
  return Array.from({ length: values.length / size }, (_, batch) =>
    values.slice(batch * size, (batch + 1) * size).map((value, i) => ({
      timeMs: 1.76e12 + (batch * size + i) * 5,
      priority: 1,
      payload: Payload.of(value),
    })),
  );
}

function fresh({ timeMs, priority, payload }: BatchMessage): BatchMessage {
  return { timeMs, priority, payload: Payload.of(payload.value()) };
}

/** Every number with up to 10 % of noise, in all of its 52 bits. */
function noisy(value: unknown, random: Random): unknown {
  if (typeof value === 'number') return value * (0.95 + 0.1 * random()) + random() * 1e-9;
  if (Array.isArray(value)) return value.map((element) => noisy(element, random));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, noisy(child, random)]));
}
