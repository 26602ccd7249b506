import { Priority } from '../../src/base/sample.ts';
import { platformCompressors } from '../../src/client/compression.ts';
import { roverMessages } from '../../src/load/rover-messages.ts';
import { BatchDrafts, bodyOf, headOf } from '../../src/protocol/batch-drafts.ts';
import { encodeBatch } from '../../src/protocol/batch.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { SchemaBook } from '../../src/protocol/schema-book.ts';
import type { Compression, PayloadCodec } from '../../src/protocol/telemetry.ts';
import { median } from '../support/statistics.ts';
import type { Figures } from '../telemetry/settings.ts';
import { OpenPage, type PageContext } from './open-page.ts';
import type { DecodeOptions } from './tab-api.ts';

/** What a batch costs the main thread of a page that decodes it itself, and of one that has a worker do it. */

export interface CrossingPlan {
  readonly rounds: number;
  readonly times: number;
}

interface Batch {
  readonly name: string;
  readonly codec: PayloadCodec;
  readonly compression: Compression;
  readonly count: number;
}

const BATCHES: readonly Batch[] = [
  { name: 'columns_20', codec: 'columns', compression: 'none', count: 20 },
  { name: 'columns_150', codec: 'columns', compression: 'none', count: 150 },
  { name: 'columns_200', codec: 'columns', compression: 'none', count: 200 },
  { name: 'columns_1000', codec: 'columns', compression: 'none', count: 1_000 },
  // What a browser unpacks by a stream.
  { name: 'msgpack_zlib_20', codec: 'msgpack', compression: 'zlib', count: 20 },
];
const PLACES = ['here', 'worker'] as const;
const NOTHING: Decoding = { name: '', batch: '', fields: [], place: 'here' };

interface Decoding extends Omit<DecodeOptions, 'times'> {
  readonly name: string;
}

export async function measureCrossing(
  context: PageContext & { readonly say: (line: string) => void },
  url: string,
  { rounds, times }: CrossingPlan,
  seed: number,
): Promise<Figures> {
  const decodings = BATCHES.flatMap((batch) => {
    const { batch: bytes, fields } = encode(batch, seed);
    return PLACES.map((place): Decoding => ({
      name: `crossing.${batch.name}_${place}_us`,
      batch: bytes,
      fields,
      place,
    }));
  });
  const found = new Map<string, number[]>(decodings.map(({ name }) => [name, []]));
  await using open = await OpenPage.open(context, url);
  await open.call('load');
  const measure = async ({ batch, fields, place }: Decoding): Promise<number> => {
    const { mainCpuPercent, seconds } = await open.load(() => open.call('decode', { batch, fields, place, times }));
    return (mainCpuPercent * seconds * 1e4) / times;
  };
  // Code that is compiled while it is measured would be measured.
  for (const decoding of decodings) await measure(decoding);
  for (let round = 0; round < rounds; round += 1) {
    const nothing = await measure(NOTHING);
    for (const decoding of round % 2 === 0 ? decodings : decodings.toReversed()) {
      found.get(decoding.name)!.push((await measure(decoding)) - nothing);
    }
  }
  const figures = Object.fromEntries([...found].map(([name, us]) => [name, median(us)]));
  for (const [name, us] of Object.entries(figures)) context.say(`${name} ${us.toFixed(0)}`);
  return figures;
}

function encode({ codec, compression, count }: Batch, seed: number): Pick<DecodeOptions, 'batch' | 'fields'> {
  const drafts = new BatchDrafts(new SchemaBook<object>(1), [codec]);
  const messages = roverMessages(count, seed).map((message, i) => ({
    timeMs: 1_700_000_000_000 + i,
    priority: Priority.normal,
    payload: Payload.of(message),
  }));
  drafts.add({}, { topicId: 1, epoch: 1, firstSeq: 1 }, messages);
  const draft = drafts.drafts[0]!;
  const bytes = encodeBatch(headOf(draft, compression), bodyOf(draft), platformCompressors());
  return { batch: Buffer.from(bytes).toString('base64'), fields: draft.schema?.fields ?? [] };
}
