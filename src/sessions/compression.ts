import { deflateSync, inflateSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { compressSync, uncompressSync } from 'lz4-napi';
import type { Compressors, Decompressors } from '../protocol/batch.ts';

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
  lz4: (packed, plainSize) => {
    const block = Buffer.allocUnsafe(LZ4_SIZE_BYTES + packed.length);
    block.writeUInt32LE(plainSize);
    block.set(packed, LZ4_SIZE_BYTES);
    return uncompressSync(block);
  },
  zlib: (packed, plainSize) => inflateSync(packed, { maxOutputLength: plainSize }),
  zstd: (packed, plainSize) => zstdDecompressSync(packed, { maxOutputLength: plainSize }),
};

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
