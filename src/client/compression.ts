import { SightlineError } from '../base/errors.ts';
import { COMPRESSION_RATIO_MAX, RATIO_FREE_BYTES, type Compressors, type Decompressors } from '../protocol/batch.ts';
import { decompressLz4 } from '../protocol/lz4.ts';
import { builtin } from './builtin.ts';

/** The part of `node:zlib` that is used. */
interface Zlib {
  inflateSync(packed: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
  deflateSync(plain: Uint8Array, options: { level: number }): Uint8Array;
  zstdDecompressSync?(packed: Uint8Array, options: { maxOutputLength: number }): Uint8Array;
}

/** The fastest level: a publisher of telemetry has more bandwidth than time. */
const DEFLATE_LEVEL = 1;

const zlib = builtin<Zlib>('node:zlib');

/** Synchronous decompression of this platform. A missing one may still exist as a stream: see `inflate`. */
export function platformDecompressors(): Decompressors {
  if (!zlib) return { lz4: decompressLz4 };
  const { inflateSync, zstdDecompressSync } = zlib;
  return {
    lz4: decompressLz4,
    zlib: (packed, plainSize) => inflateSync(packed, { maxOutputLength: plainSize }),
    ...(zstdDecompressSync && {
      zstd: (packed: Uint8Array, plainSize: number) => zstdDecompressSync(packed, { maxOutputLength: plainSize }),
    }),
  };
}

export function platformCompressors(): Compressors {
  if (!zlib) return {};
  const { deflateSync } = zlib;
  return {
    zlib: (plain) => {
      const packed = deflateSync(plain, { level: DEFLATE_LEVEL });
      // What would grow too much is refused: then it goes as it is.
      return plain.length > Math.max(RATIO_FREE_BYTES, packed.length * COMPRESSION_RATIO_MAX) ? plain : packed;
    },
  };
}

/** The platform has zlib as a stream (browsers). */
export function canInflate(): boolean {
  return typeof DecompressionStream === 'function';
}

/** Decompresses zlib (RFC 1950) into exactly `plainSize` bytes, the last ones of `out`. Rejects with COMPRESSION_BAD. */
export async function inflateInto(out: Uint8Array, packed: Uint8Array<ArrayBuffer>, plainSize: number): Promise<void> {
  let at = out.length - plainSize;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // More than the announced size is not taken: this stops decompression bombs.
      if (at + value.length > out.length) throw new Error('it is larger than its envelope says');
      out.set(value, at);
      at += value.length;
    }
  } catch (cause) {
    void reader.cancel().catch(() => {});
    throw new SightlineError('COMPRESSION_BAD', 'the batch is not zlib', { cause });
  }
  if (at === out.length) return;
  throw new SightlineError(
    'COMPRESSION_BAD',
    `plain_size is ${plainSize}, the batch has ${plainSize - out.length + at} bytes`,
  );
}
