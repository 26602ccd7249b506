import { zstdCompressSync } from 'node:zlib';
import { Codec, constantColumns, craftBatch, packedLists, Packing, schemaOf } from '../batches.ts';
import { flood, type Attack } from '../target.ts';
import { advertise, binary, telemetryLane, text } from './lanes.ts';

/** Small batches that cost the main thread much, before anybody asks whether they may. */

const BYTES_PER_S = 100_000;
const NOBODYS_ALIAS = 999;

/** The same batch again and again. */
function batches(name: string, what: string, make: () => Buffer, before: readonly Buffer[] = []): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const message = binary(make());
      await target.insist(
        () => target.webSocket(telemetryLane('binary')),
        async (wire) => {
          for (const one of before) wire.write(one);
          await flood(target, wire, message, { bytesPerS: BYTES_PER_S });
        },
      );
    },
  };
}

/** Claims 8 MB and is 64 MB of zeros. */
function zeros(): Buffer {
  const sections = [{ alias: 1, count: 1 }];
  const body = zstdCompressSync(Buffer.alloc(64_000_000));
  return craftBatch({ codec: Codec.json, packing: Packing.zstd, sections, body, plainBytes: 8_000_000 });
}

export const WORK: readonly Attack[] = [
  batches(
    'unknown_alias',
    'batches of 8 kB that unpack to 8 MB of empty lists, for an alias that was never advertised: nobody is charged',
    () => packedLists(Packing.zlib, NOBODYS_ALIAS),
  ),
  batches(
    'lz4_lists',
    'batches of LZ4 whose matches go on for a megabyte, lists of empty lists',
    () => packedLists(Packing.lz4, 1),
    [advertise(1, 'work/lz4')],
  ),
  batches('zstd_zeros', 'batches of Zstandard that unpack to eight times what they claim', zeros, [
    advertise(1, 'work/zstd'),
  ]),
  batches(
    'constant_columns',
    'batches of 3 kB whose 1,000 constant columns are 8 MB of numbers',
    () => constantColumns(1, 1, 1_000, 1_000),
    [advertise(1, 'work/columns'), text(schemaOf(1, 1_000))],
  ),
];
