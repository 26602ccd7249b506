import { crc32 } from 'node:zlib';

/** A fragment as it lies outside this process, with what shows that it is the one that was put there, and whole. Pure. */

/** `SLF1`. */
const MAGIC = 0x534c4631;
const HEAD_BYTES = 16;

/** Magic (4 bytes), length of the key, length of the fragment, CRC-32 of both; then the key, and the fragment. All numbers are big-endian. */
export function sealed(key: string, fragment: Uint8Array): Buffer {
  const name = Buffer.from(key);
  const bytes = Buffer.allocUnsafeSlow(HEAD_BYTES + name.length + fragment.length);
  bytes.writeUInt32BE(MAGIC, 0);
  bytes.writeUInt32BE(name.length, 4);
  bytes.writeUInt32BE(fragment.length, 8);
  bytes.set(name, HEAD_BYTES);
  bytes.set(fragment, HEAD_BYTES + name.length);
  bytes.writeUInt32BE(crc32(bytes.subarray(HEAD_BYTES)), 12);
  return bytes;
}

/** undefined: they are not what was put there by that key. */
export function opened(key: string, bytes: Buffer): Uint8Array | undefined {
  const name = Buffer.from(key);
  const begin = HEAD_BYTES + name.length;
  if (bytes.length < begin || bytes.readUInt32BE(0) !== MAGIC || bytes.readUInt32BE(4) !== name.length)
    return undefined;
  if (bytes.length !== begin + bytes.readUInt32BE(8)) return undefined;
  if (bytes.readUInt32BE(12) !== crc32(bytes.subarray(HEAD_BYTES))) return undefined;
  return bytes.subarray(HEAD_BYTES, begin).equals(name) ? bytes.subarray(begin) : undefined;
}

/** Bytes that a fragment takes so. */
export function sealedBytes(key: string, fragment: Uint8Array): number {
  return HEAD_BYTES + Buffer.byteLength(key) + fragment.length;
}
