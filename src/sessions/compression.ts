import { promisify } from 'node:util';
import { deflateSync, inflate, inflateSync, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { compressSync, uncompress, uncompressSync } from 'lz4-napi';
import { SightlineError } from '../base/errors.ts';
import type { Compressors, Decompressors } from '../protocol/batch.ts';
import type { Compression } from '../protocol/telemetry.ts';

/** `lz4-napi` puts the plain size (u32, little-endian) in front of the bare block, and wants it there. */
const LZ4_SIZE_BYTES = 4;
/** Speed before ratio: a batch is compressed on the main thread, once for all of its readers. */
const ZLIB_LEVEL = 1;

export const compressors: Compressors = {
  lz4: (plain) => compressSync(asBuffer(plain)).subarray(LZ4_SIZE_BYTES),
  zlib: (plain) => deflateSync(plain, { level: ZLIB_LEVEL }),
  zstd: (plain) => zstdCompressSync(plain),
};

/** None of them gives or allocates more than `plainSize` bytes. */
export const decompressors: Decompressors = {
  lz4: (packed, plainSize) => uncompressSync(lz4Block(packed, plainSize)),
  zlib: (packed, plainSize) => inflateSync(packed, { maxOutputLength: plainSize }),
  zstd: (packed, plainSize) => zstdDecompressSync(packed, { maxOutputLength: plainSize }),
};

const inflateLater = promisify(inflate);
const zstdDecompressLater = promisify(zstdDecompress);

/** The same in a thread of libuv's pool. Throws COMPRESSION_BAD. */
export async function decompressLater(
  packed: Uint8Array,
  compression: Exclude<Compression, 'none'>,
  plainSize: number,
): Promise<Uint8Array> {
  try {
    if (compression === 'lz4') return await uncompress(lz4Block(packed, plainSize));
    const limit = { maxOutputLength: plainSize };
    return await (compression === 'zlib' ? inflateLater(packed, limit) : zstdDecompressLater(packed, limit));
  } catch (cause) {
    throw new SightlineError('COMPRESSION_BAD', `the batch is not ${compression}`, { cause });
  }
}

function lz4Block(packed: Uint8Array, plainSize: number): Buffer {
  const block = Buffer.allocUnsafe(LZ4_SIZE_BYTES + packed.length);
  block.writeUInt32LE(plainSize);
  block.set(packed, LZ4_SIZE_BYTES);
  return block;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
