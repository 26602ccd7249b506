import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { zstdDecompressSync } from 'node:zlib';
import { decompressFrameSync } from 'lz4-napi';
import { McapIndexedReader, McapStreamReader, MCAP_MAGIC } from '@mcap/core';
import { SightlineError } from '../base/errors.ts';
import type { Payload } from '../protocol/payload.ts';
import { FORM_KEY, fromForeign, toMs, toNs } from './recording-format.ts';

export interface ReplayMessage {
  readonly topic: string;
  /** When it was recorded, and what its publisher said; Unix ms. */
  readonly logTimeMs: number;
  readonly publishTimeMs: number;
  readonly payload: Payload;
}

/** What can be played: a file, or what the hub still remembers. */
export interface ReplaySource {
  /** Log times of the first and the last message, Unix ms. */
  readonly startMs: number;
  readonly endMs: number;
  /** In the order of their log times, from the first one at or after `fromMs`. */
  messages(fromMs: number): AsyncIterable<ReplayMessage>;
}

interface ChannelRecord {
  readonly topic: string;
  readonly messageEncoding: string;
  readonly metadata: ReadonlyMap<string, string>;
}

interface MessageRecord {
  readonly channelId: number;
  readonly logTime: bigint;
  readonly publishTime: bigint;
  readonly data: Uint8Array;
}

interface Extent {
  startMs: number;
  endMs: number;
  messages: number;
  /** Bytes that could be read, for a file without an end. */
  wholeBytes: number;
  topics: Set<string>;
}

/** No chunk, index or record larger than this is read: its length is a claim of the file. */
const BLOCK_BYTES_MAX = 256 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;

const DECOMPRESS = {
  zstd: (data: Uint8Array, size: bigint) => zstdDecompressSync(data, { maxOutputLength: checkedSize(size) }),
  lz4: (data: Uint8Array, size: bigint) => {
    checkedSize(size);
    const frame = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    checkedSize(BigInt(lz4SizeBound(frame)));
    return decompressFrameSync(frame);
  },
};

/**
 * An MCAP file to be read: by its index, or, when it has none because its writing was cut off, from the beginning up to its
 * last whole chunk. Errors of all methods: SOURCE_UNREADABLE.
 */
export class RecordingSource implements ReplaySource, AsyncDisposable {
  readonly path: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly messageCount: number;
  readonly topics: readonly string[];
  /** False for a file that was cut off. */
  readonly complete: boolean;
  readonly #handle: FileHandle;
  readonly #indexed: McapIndexedReader | undefined;

  private constructor(path: string, handle: FileHandle, indexed: McapIndexedReader | undefined, extent: Extent) {
    this.path = path;
    this.startMs = extent.startMs;
    this.endMs = extent.endMs;
    this.messageCount = extent.messages;
    this.topics = [...extent.topics].toSorted();
    this.complete = indexed !== undefined;
    this.#handle = handle;
    this.#indexed = indexed;
  }

  /** Errors: SOURCE_NOT_FOUND, SOURCE_UNREADABLE (no MCAP file, damaged, or without a message). */
  static async open(path: string): Promise<RecordingSource> {
    const handle = await open(path, 'r').catch((thrown: NodeJS.ErrnoException) => {
      throw new SightlineError('SOURCE_NOT_FOUND', `${path} cannot be opened: ${reasonOf(thrown)}`, { cause: thrown });
    });
    try {
      await checkMagic(path, handle);
      const indexed = await openIndexed(handle);
      const extent = indexed ? indexedExtent(indexed) : await scan(path, handle);
      if (extent.messages === 0) throw unreadable(path, 'it holds no message');
      return new RecordingSource(path, handle, indexed, extent);
    } catch (thrown) {
      await handle.close();
      throw thrown instanceof SightlineError ? thrown : unreadable(path, reasonOf(thrown), thrown);
    }
  }

  async *messages(fromMs: number): AsyncGenerator<ReplayMessage, void, undefined> {
    try {
      // A message may lie a fraction of a microsecond before the double that its time became.
      const startTime = toNs(Math.max(0, fromMs)) - 500n;
      if (this.#indexed) {
        const { channelsById } = this.#indexed;
        for await (const message of this.#indexed.readMessages({ startTime })) {
          yield decode(channelsById.get(message.channelId)!, message);
        }
      } else {
        for await (const { channel, message } of streamed(this.#handle)) {
          if (message.logTime >= startTime) yield decode(channel, message);
        }
      }
    } catch (thrown) {
      throw thrown instanceof SightlineError ? thrown : unreadable(this.path, reasonOf(thrown), thrown);
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function decode(channel: ChannelRecord, { logTime, publishTime, data }: MessageRecord): ReplayMessage {
  return {
    topic: channel.topic,
    logTimeMs: toMs(logTime),
    publishTimeMs: toMs(publishTime),
    // The reader may use its buffer again for the next chunk.
    payload: fromForeign(channel.metadata.get(FORM_KEY), channel.messageEncoding, data.slice()),
  };
}

async function checkMagic(path: string, handle: FileHandle): Promise<void> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(MCAP_MAGIC.length), 0, MCAP_MAGIC.length, 0);
  if (bytesRead === 0) throw unreadable(path, 'it is empty');
  if (!buffer.equals(Uint8Array.from(MCAP_MAGIC))) throw unreadable(path, 'it is no MCAP file');
}

/** Undefined when the file has no end, or one that is damaged: then it can still be read from the beginning. */
async function openIndexed(handle: FileHandle): Promise<McapIndexedReader | undefined> {
  const { size } = await handle.stat();
  const readable = {
    size: async () => BigInt(size),
    read: async (offset: bigint, length: bigint) => {
      const isInside = offset >= 0n && length >= 0n && offset + length <= BigInt(size);
      if (!isInside || length > BigInt(BLOCK_BYTES_MAX)) {
        throw new Error(`it names ${length} bytes at ${offset}, which cannot be`);
      }
      const buffer = Buffer.alloc(Number(length));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, Number(offset));
      if (bytesRead < buffer.length) throw new Error('it became shorter while it was read');
      return buffer;
    },
  };
  const reader = await McapIndexedReader.Initialize({ readable, decompressHandlers: DECOMPRESS }).catch(
    () => undefined,
  );
  // Without chunks there is no index of messages either.
  return reader && reader.chunkIndexes.length > 0 && reader.statistics ? reader : undefined;
}

function indexedExtent({ statistics, channelsById }: McapIndexedReader): Extent {
  const { messageStartTime, messageEndTime, messageCount } = statistics!;
  return {
    startMs: toMs(messageStartTime),
    endMs: toMs(messageEndTime),
    messages: Number(messageCount),
    wholeBytes: 0,
    topics: new Set([...channelsById.values()].map(({ topic }) => topic)),
  };
}

async function scan(path: string, handle: FileHandle): Promise<Extent> {
  const extent: Extent = { startMs: Infinity, endMs: -Infinity, messages: 0, wholeBytes: 0, topics: new Set() };
  try {
    for await (const { channel, message } of streamed(handle)) {
      const timeMs = toMs(message.logTime);
      extent.startMs = Math.min(extent.startMs, timeMs);
      extent.endMs = Math.max(extent.endMs, timeMs);
      extent.messages++;
      extent.topics.add(channel.topic);
    }
  } catch (thrown) {
    throw unreadable(path, reasonOf(thrown), thrown);
  }
  return extent;
}

/** The messages in the order of the file, up to where it is cut off or damaged. A file damaged at its first record throws. */
async function* streamed(handle: FileHandle): AsyncGenerator<{ channel: ChannelRecord; message: MessageRecord }> {
  const reader = new McapStreamReader({ decompressHandlers: DECOMPRESS });
  const channels = new Map<number, ChannelRecord>();
  let offset = 0;
  let isBegun = false;
  for (;;) {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, offset);
    if (bytesRead === 0 || reader.bytesRemaining() > BLOCK_BYTES_MAX) return;
    offset += bytesRead;
    reader.append(buffer.subarray(0, bytesRead));
    for (;;) {
      let record;
      try {
        record = reader.nextRecord();
      } catch (thrown) {
        if (!isBegun) throw thrown;
        return;
      }
      if (record === undefined) break;
      if (record.type === 'Channel') channels.set(record.id, record);
      else if (record.type === 'Message') {
        isBegun = true;
        yield { channel: channels.get(record.channelId)!, message: record };
      }
    }
    if (reader.done()) return;
  }
}

function checkedSize(size: bigint): number {
  if (size > BigInt(BLOCK_BYTES_MAX)) throw new Error(`a chunk claims ${size} bytes`);
  return Number(size);
}

/**
 * Bytes that an LZ4 frame can become at most: its blocks times the largest block that its header allows. The decoder takes
 * no limit, and the size that the chunk claims need not be true. (LZ4 Frame Format 1.6.4; throws for what is none.)
 */
export function lz4SizeBound(frame: Buffer): number {
  if (frame.readUInt32LE(0) !== 0x184d2204) throw new Error('a chunk is no LZ4 frame');
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

function unreadable(path: string, why: string, cause?: unknown): SightlineError {
  return new SightlineError('SOURCE_UNREADABLE', `${path} cannot be read: ${why}`, { cause });
}

function reasonOf(thrown: unknown): string {
  const { code, message } = thrown as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'there is no such file' : message;
}
