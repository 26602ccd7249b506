import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { crc32, zstdDecompress } from 'node:zlib';
import { decompressFrame } from 'lz4-napi';
import {
  BLOCK_BYTES_MAX,
  HEAD_BYTES,
  headAt,
  MESSAGE_HEAD_BYTES,
  Opcode,
  parseChannel,
  readAt,
  type Block,
  type Channel,
} from './mcap-layout.ts';

/** The messages of a block in the order of their log times; those of one time in the order of the file. */
export interface BlockIndex {
  readonly timesNs: BigUint64Array;
  /** Where each message's content begins in the plain bytes of the block. */
  readonly at: Uint32Array;
  /** The block's channel records, with their places. */
  readonly channels: readonly (readonly [id: number, channel: Channel, at: number])[];
  /** Why its records could not be followed up to its end. */
  readonly flaw: string | undefined;
}

export interface MessageRecord {
  readonly channelId: number;
  readonly logNs: bigint;
  readonly publishNs: bigint;
  /** A copy: the block is not kept for it. */
  readonly data: Uint8Array;
}

const unpackZstd = promisify(zstdDecompress);

/** The plain bytes of a block, whole and with their checksum. Throws when that cannot be. */
export async function readBlock(handle: FileHandle, block: Block): Promise<Buffer> {
  const { offset, bytes, plainBytes, crc } = block;
  checkSize(bytes);
  checkSize(plainBytes);
  const plain = await unpack(await readAt(handle, offset, bytes), block);
  if (crc !== 0 && crc32(plain) !== crc) throw new Error('its bytes do not have their checksum');
  if (plain.length !== plainBytes) throw new Error(`it has ${plain.length} bytes instead of ${plainBytes}`);
  return plain;
}

async function unpack(packed: Buffer, { compression, plainBytes }: Block): Promise<Buffer> {
  switch (compression) {
    case '':
      return packed;
    case 'zstd':
      return packed.length === 0 ? packed : await unpackZstd(packed, { maxOutputLength: Math.max(1, plainBytes) });
    case 'lz4':
      if (packed.length === 0) return packed;
      // The decoder takes no limit, and the size that the chunk claims need not be true.
      checkSize(lz4SizeBound(packed));
      return await decompressFrame(packed);
    default:
      throw new Error(`its compression is ${JSON.stringify(compression.slice(0, 40))}; zstd, lz4 and none can be read`);
  }
}

function checkSize(size: number): void {
  if (size > BLOCK_BYTES_MAX) throw new Error(`it claims ${size} bytes`);
}

export function indexBlock(plain: Buffer): BlockIndex {
  const times: bigint[] = [];
  const places: number[] = [];
  const channels: [number, Channel, number][] = [];
  let flaw: string | undefined;
  let isInOrder = true;
  for (let at = 0; at < plain.length;) {
    const head = headAt(plain, at);
    const content = at + HEAD_BYTES;
    const end = content + (head?.length ?? 0);
    if (
      head === undefined ||
      end > plain.length ||
      (head.opcode === Opcode.message && end - content < MESSAGE_HEAD_BYTES)
    ) {
      flaw = `its records cannot be followed from its byte ${at} on`;
      break;
    }
    if (head.opcode === Opcode.message) {
      const timeNs = plain.readBigUInt64LE(content + 6);
      if (times.length > 0 && timeNs < times.at(-1)!) isInOrder = false;
      times.push(timeNs);
      places.push(content);
    } else if (head.opcode === Opcode.channel) {
      channels.push([...parseChannel(plain.subarray(content, end)), at]);
    }
    at = end;
  }
  const order = isInOrder
    ? undefined
    : times.map((_, i) => i).toSorted((a, b) => compare(times[a]!, times[b]!) || a - b);
  return {
    timesNs: BigUint64Array.from(order?.map((i) => times[i]!) ?? times),
    at: Uint32Array.from(order?.map((i) => places[i]!) ?? places),
    channels,
    flaw,
  };
}

export function messageAt(plain: Buffer, at: number): MessageRecord {
  const length = Number(plain.readBigUInt64LE(at - HEAD_BYTES + 1));
  return {
    channelId: plain.readUInt16LE(at),
    logNs: plain.readBigUInt64LE(at + 6),
    publishNs: plain.readBigUInt64LE(at + 14),
    data: Uint8Array.from(plain.subarray(at + MESSAGE_HEAD_BYTES, at + length)),
  };
}

export function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b);
}

/**
 * Bytes that an LZ4 frame can become at most: its blocks times the largest block that its header allows. (LZ4 Frame Format
 * 1.6.4; throws for bytes that are not one.)
 */
export function lz4SizeBound(frame: Buffer): number {
  if (frame.length < 7 || frame.readUInt32LE(0) !== 0x184d2204) throw new Error('it is not an LZ4 frame');
  const flags = frame.readUInt8(4);
  const blockBytesMax = 2 ** (8 + 2 * ((frame.readUInt8(5) >> 4) & 7));
  const checksumBytes = flags & 0x10 ? 4 : 0;
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  for (let blocks = 0; ; blocks++) {
    const head = frame.readUInt32LE(at);
    if (head === 0) return blocks * blockBytesMax;
    at += 4 + (head & 0x7fff_ffff) + checksumBytes;
  }
}
