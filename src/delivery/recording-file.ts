import { randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm, stat } from 'node:fs/promises';
import { constants, zstdCompressSync } from 'node:zlib';
import { compressFrameSync } from 'lz4-napi';
import { McapWriter } from '@mcap/core';
import { SightlineError } from '../base/errors.ts';
import type { Payload } from '../protocol/payload.ts';
import { channelSchema } from './foreign-schema.ts';
import { FORM_KEY, isSayable, toForeign, toNs, type ForeignMessage, type MessageForm } from './recording-format.ts';

const RECORDING_COMPRESSIONS = ['zstd', 'lz4', 'none'] as const;
export type RecordingCompression = (typeof RECORDING_COMPRESSIONS)[number];

export interface RecordingFileOptions {
  readonly compression: RecordingCompression;
  /** Bytes of a chunk before compression: a broken-off file loses at most this much, and one call compresses as much. */
  readonly chunkBytes: number;
}

export interface RecordedMessage {
  readonly topic: string;
  /** Tells this life of the topic from an earlier one. */
  readonly epoch: string;
  readonly seq: number;
  /** When the hub got it, and the publisher's time; Unix ms. */
  readonly logTimeMs: number;
  readonly publishTimeMs: number;
  readonly payload: Payload;
  /** A topic whose messages of this epoch and form that are in the file come before it, by their log times as well. */
  readonly behind?: string;
}

const LIBRARY = 'sightline';

interface Channel {
  readonly id: number;
  lastLogTimeNs: bigint;
}

/** Of a file without any message: the magic of the format, and the record `Header` that `create` writes. */
const EMPTY_BYTES = 8 + 9 + 4 + (4 + LIBRARY.length);
/** Sequence numbers of MCAP have 32 bits. */
const SEQUENCE_MODULUS = 2 ** 32;

/**
 * One MCAP file (https://mcap.dev/spec) being written: chunked, indexed, compressed, JSON messages with their schemas.
 * It is called `<path>.part` until it is finished; a file of that name after a crash can be read up to its last whole
 * chunk. Calls must not overlap. Errors of all methods: OUTPUT_FAILED.
 */
export class RecordingFile {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #writer: McapWriter;
  readonly #output: { bytes: number };
  readonly #channels = new Map<string, Channel>();
  #messages = 0;
  #written = 0;
  #oddTimes = 0;

  private constructor(path: string, handle: FileHandle, options: RecordingFileOptions) {
    this.path = path;
    this.#handle = handle;
    this.#output = { bytes: 0 };
    const { compression } = options;
    this.#writer = new McapWriter({
      writable: fileWritable(handle, this.#output),
      chunkSize: options.chunkBytes,
      ...(compression !== 'none' && { compressChunk: (chunk) => compress(chunk, compression) }),
    });
  }

  /** `roomBytes`: the least free space on the disk, beyond the bytes written at once. */
  static async create(path: string, options: RecordingFileOptions, roomBytes = 0): Promise<RecordingFile> {
    return await asOutput(path, async () => {
      const file = new RecordingFile(path, await open(partOf(path), 'w'), options);
      try {
        await file.#writer.start({ profile: '', library: LIBRARY });
        await probe(file.#handle, file.bytes, roomBytes);
      } catch (thrown) {
        await file.abandon();
        throw thrown;
      }
      return file;
    });
  }

  /** Bytes on the disk, without those that wait in the chunk. */
  get bytes(): number {
    return this.#output.bytes;
  }

  get messages(): number {
    return this.#messages;
  }

  /** Of `messages` those that are on the disk: in chunks that were written whole. */
  get written(): number {
    return this.#written;
  }

  /** Messages whose publisher's time cannot be expressed: the file has the nearest possible one. */
  get oddTimes(): number {
    return this.#oddTimes;
  }

  /** Errors: PAYLOAD_BAD for values that JSON cannot express; nothing is written then. */
  async write(message: RecordedMessage): Promise<void> {
    const { seq, logTimeMs, publishTimeMs } = message;
    const foreign = foreignOf(message);
    await asOutput(this.path, async () => {
      const channel = await this.#channel(message, foreign.form);
      // Readers sort by log time: within a topic it rises always, so that they keep the order of the topic.
      const { epoch, behind } = message;
      const before =
        behind === undefined ? undefined : this.#channels.get(keyOf({ topic: behind, epoch }, foreign.form));
      const lastLogTimeNs = max(channel.lastLogTimeNs, before?.lastLogTimeNs ?? 0n);
      const logTime = max(toNs(logTimeMs), lastLogTimeNs + 1n);
      channel.lastLogTimeNs = logTime;
      const publishTime = toNs(publishTimeMs);
      const sequence = seq % SEQUENCE_MODULUS;
      const bytesBefore = this.bytes;
      await this.#writer.addMessage({ channelId: channel.id, sequence, logTime, publishTime, data: foreign.json });
      this.#messages++;
      if (!isSayable(publishTimeMs)) this.#oddTimes++;
      // The writer writes when a chunk is full, this message included.
      if (this.bytes > bytesBefore) this.#written = this.#messages;
    });
  }

  /** Writes the last chunk, the index and `metadata`, and gives the file its name. */
  async finish(metadata: ReadonlyMap<string, string>): Promise<void> {
    await asOutput(this.path, async () => {
      try {
        await this.#writer.addMetadata({ name: 'sightline.recording', metadata: new Map(metadata) });
        await this.#writer.end();
        await this.#handle.sync();
        this.#written = this.#messages;
      } finally {
        await this.#handle.close();
      }
      await rename(partOf(this.path), this.path);
    });
  }

  /** Closes the file as it is, under its unfinished name; one without a readable message is deleted. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    if (this.#written === 0) await rm(partOf(this.path), { force: true }).catch(() => undefined);
  }

  /** A topic has one channel for each form of its messages, made when the first one comes. */
  async #channel(message: RecordedMessage, form: MessageForm): Promise<Channel> {
    const key = keyOf(message, form);
    const known = this.#channels.get(key);
    if (known) return known;
    const { topic, epoch, payload } = message;
    const { name, schema } = channelSchema(topic, form, payload);
    const data = Buffer.from(JSON.stringify(schema));
    const schemaId = await this.#writer.registerSchema({ name, encoding: 'jsonschema', data });
    const metadata = new Map([
      [FORM_KEY, form],
      ['sightline.epoch', epoch],
    ]);
    const id = await this.#writer.registerChannel({ topic, schemaId, messageEncoding: 'json', metadata });
    const channel: Channel = { id, lastLogTimeNs: 0n };
    this.#channels.set(key, channel);
    return channel;
  }
}

function keyOf({ topic, epoch }: Pick<RecordedMessage, 'topic' | 'epoch'>, form: MessageForm): string {
  return `${form} ${epoch} ${topic}`;
}

function foreignOf({ payload, publishTimeMs, topic }: RecordedMessage): ForeignMessage {
  try {
    return toForeign(payload, publishTimeMs, topic);
  } catch (cause) {
    throw new SightlineError('PAYLOAD_BAD', `JSON cannot express a message of "${topic}"`, { cause });
  }
}

/** The name of a file until it is finished. */
export function partOf(path: string): string {
  return `${path}.part`;
}

/** Is there a recording of this name, or what a crash has left of one? */
export async function isRecorded(path: string): Promise<boolean> {
  for (const [file, emptyBytes] of [
    [path, 0],
    [partOf(path), EMPTY_BYTES],
  ] as const) {
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() && found.size > emptyBytes) return true;
  }
  return false;
}

/** Throws when the disk has no room for this many more bytes. They are not zeros, which some file systems store without any. */
async function probe(handle: FileHandle, at: number, bytes: number): Promise<void> {
  if (bytes === 0) return;
  await handle.write(randomBytes(bytes), 0, bytes, at);
  await handle.sync();
  await handle.truncate(at);
}

function fileWritable(handle: FileHandle, written: { bytes: number }) {
  return {
    position: () => BigInt(written.bytes),
    write: async (buffer: Uint8Array) => {
      let offset = 0;
      while (offset < buffer.byteLength) {
        const { bytesWritten } = await handle.write(buffer, offset, buffer.byteLength - offset);
        offset += bytesWritten;
        written.bytes += bytesWritten;
      }
    },
  };
}

/**
 * Level 1 of Zstandard halves the file of level 3's speed class again against LZ4 (0.24 against 0.48 of the plain size, on
 * telemetry as JSON) at about twice LZ4's time: 0.5 ms for a chunk of 256 KiB.
 */
function compress(chunk: Uint8Array, compression: 'zstd' | 'lz4') {
  const data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  const compressedData =
    compression === 'lz4'
      ? compressFrameSync(data)
      : zstdCompressSync(data, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  return { compression, compressedData };
}

async function asOutput<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    const why = code === 'ENOSPC' ? 'the disk is full' : code === 'ENOENT' ? 'its folder does not exist' : message;
    throw new SightlineError('OUTPUT_FAILED', `${path} cannot be written: ${why}`, { cause: thrown });
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
