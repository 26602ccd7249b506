import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { MCAP_MAGIC } from '@mcap/core';

/**
 * Where the messages of an MCAP file (https://mcap.dev/spec) lie. Everything but the records themselves is optional in the format, and
 * writers make use of that: so a file is walked through from record to record, which reads little of a chunked one, and its index
 * covers the parts that the walk cannot reach.
 */
export interface Layout {
  /** In the order of the file. */
  readonly blocks: readonly Block[];
  readonly channels: Channels;
  readonly statistics: Statistics | undefined;
  /** The file's fault, for people: it was cut off, or is damaged. */
  readonly damage: string | undefined;
  /** False: it was cut off, or its records cannot be followed up to the end. */
  readonly complete: boolean;
}

/** Records that lie together: those of a chunk, or some that lie outside of chunks. */
export interface Block {
  /** In the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly isChunk: boolean;
  readonly compression: string;
  readonly plainBytes: number;
  /** Checksum of the plain bytes; 0: there is none. */
  readonly crc: number;
  /** Log times of the first and the last message, as the file says. */
  readonly startNs: bigint;
  readonly endNs: bigint;
}

export interface Channel {
  readonly topic: string;
  readonly encoding: string;
  readonly metadata: ReadonlyMap<string, string>;
}

export interface Statistics {
  readonly messages: number;
  readonly channels: number;
  readonly chunks: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
}

/** Numbers of the format. */
export const Opcode = {
  footer: 0x02,
  channel: 0x04,
  message: 0x05,
  chunk: 0x06,
  chunkIndex: 0x08,
  attachment: 0x09,
  statistics: 0x0b,
  dataEnd: 0x0f,
} as const;

/** No chunk, index or record larger than this is read: its length is a claim of the file. */
export const BLOCK_BYTES_MAX = 256 * 1024 * 1024;
/** Opcode and length in front of every record. */
export const HEAD_BYTES = 9;
/** In front of a message's data: channel u16, sequence u32, log time u64, publish time u64. */
export const MESSAGE_HEAD_BYTES = 22;
const FOOTER_BYTES = 20;
const END_BYTES = HEAD_BYTES + FOOTER_BYTES + MCAP_MAGIC.length;
/** Size of a chunk's own fields, with the longest name of a known compression. */
const CHUNK_HEAD_BYTES = 8 + 8 + 8 + 4 + 4 + 64 + 8;
const CHANNEL_BYTES_MAX = 1024 * 1024;
const STATISTICS_BYTES = 8 + 2 + 4 + 4 + 4 + 4 + 8 + 8;
/** Messages outside of chunks are grouped up to this many bytes, also over this many bytes of other records. */
const RUN_BYTES = 1024 * 1024;
const RUN_GAP_BYTES = 64 * 1024;

/** A place in the order of the file: of a record outside of chunks, or of a chunk and then inside its plain bytes. */
export type Place = readonly [offset: number, inside: number];

/** Definition of a channel's number: it may come several times, in chunks and outside, and, against the rules, differently. */
export class Channels {
  /** In the order of the file; only definitions that differ from the one before. */
  readonly #said = new Map<number, readonly { readonly place: Place; readonly channel: Channel }[]>();

  get size(): number {
    return this.#said.size;
  }

  get topics(): string[] {
    const topics = [...this.#said.values()].flatMap((said) => said.map(({ channel }) => channel.topic));
    return [...new Set(topics)].toSorted();
  }

  add(id: number, channel: Channel, place: Place): void {
    const known = this.get(id, place);
    if (known && isSame(known, channel)) return;
    const said = [...(this.#said.get(id) ?? []), { place, channel }];
    this.#said.set(
      id,
      said.toSorted((a, b) => order(a.place, b.place)),
    );
  }

  /** The last definition before this place; if there is none, the first one after it. */
  get(id: number, place: Place): Channel | undefined {
    const said = this.#said.get(id);
    if (said === undefined || said.length === 1) return said?.[0]!.channel;
    return (said.findLast((one) => order(one.place, place) <= 0) ?? said[0]!).channel;
  }
}

/** Where a record of a block lies. */
export function placeOf({ offset, isChunk }: Block, at: number): Place {
  return isChunk ? [offset, at] : [offset + at, 0];
}

function order(a: Place, b: Place): number {
  return a[0] - b[0] || a[1] - b[1];
}

/** Errors: those of reading the file. A fault of the file itself is in `damage`. */
export async function readLayout(handle: FileHandle): Promise<Layout> {
  const { size } = await handle.stat();
  const channels = new Channels();
  const summary = await readSummary(handle, size);
  const walked = await walk(handle, size, channels);
  for (const [id, channel] of summary?.channels ?? []) channels.add(id, channel, [Infinity, 0]);
  if (walked.stoppedAt === undefined) {
    const isCut = summary === undefined;
    const damage = isCut ? `it was cut off after its messages, at byte ${size}` : await dataDamage(handle, walked);
    return { blocks: walked.blocks, channels, statistics: summary?.statistics, damage, complete: !isCut };
  }
  // The index knows where chunks begin that lie behind a record that cannot be followed.
  const behind = await chunksBehind(handle, size, walked.stoppedAt, summary);
  const damage =
    summary === undefined
      ? `it was cut off, or is damaged, at byte ${walked.stoppedAt}; the part before that is read`
      : `it is damaged at byte ${walked.stoppedAt}; ${behind.length} chunks behind that were found by its index`;
  return { blocks: [...walked.blocks, ...behind], channels, statistics: undefined, damage, complete: false };
}

/** Its bytes, all of them. Throws when the file has become shorter. */
export async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let got = 0;
  while (got < length) {
    const { bytesRead } = await handle.read(buffer, got, length - got, offset + got);
    if (bytesRead === 0) throw new Error('it became shorter while it was read');
    got += bytesRead;
  }
  return buffer;
}

/** A record's head; undefined where none can be. */
export function headAt(bytes: Buffer, at: number): { readonly opcode: number; readonly length: number } | undefined {
  if (at + HEAD_BYTES > bytes.length) return undefined;
  const opcode = bytes[at]!;
  const length = Number(bytes.readBigUInt64LE(at + 1));
  return opcode === 0 ? undefined : { opcode, length };
}

/** A channel's number and its definition. Throws for an invalid one. */
export function parseChannel(content: Buffer): readonly [number, Channel] {
  const fields = new Fields(content);
  const id = fields.u16();
  fields.u16();
  const [topic, encoding] = [fields.text(), fields.text()];
  const metadata = new Map<string, string>();
  for (const end = fields.u32() + fields.at; fields.at < end;) metadata.set(fields.text(), fields.text());
  return [id, { topic, encoding, metadata }];
}

/** Little-endian fields, one behind the other. Throws beyond the end. */
class Fields {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  u16(): number {
    return this.#bytes.readUInt16LE((this.at += 2) - 2);
  }

  u32(): number {
    return this.#bytes.readUInt32LE((this.at += 4) - 4);
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64LE((this.at += 8) - 8);
  }

  text(): string {
    const length = this.u32();
    if (this.at + length > this.#bytes.length) throw new Error('a text is longer than its record');
    return this.#bytes.toString('utf8', this.at, (this.at += length));
  }
}

interface Walked {
  readonly blocks: Block[];
  /** Where the records cannot be followed any more; undefined: they were, up to the end of the data. */
  readonly stoppedAt: number | undefined;
  /** End of the data, and their checksum, 0 for none. */
  readonly dataEnd: number;
  readonly dataCrc: number;
}

async function walk(handle: FileHandle, size: number, channels: Channels): Promise<Walked> {
  const file = new FileWindow(handle, size);
  const blocks: Block[] = [];
  let at: number = MCAP_MAGIC.length;
  let run: Run | undefined;
  const endRun = (): void => {
    if (run) blocks.push(blockOf(run));
    run = undefined;
  };
  const stop = (stoppedAt: number): Walked => {
    endRun();
    return { blocks, stoppedAt, dataEnd: stoppedAt, dataCrc: 0 };
  };
  for (;;) {
    const head = headAt(file.peek(at, HEAD_BYTES) ?? (await file.read(at, HEAD_BYTES)), 0);
    const next = at + HEAD_BYTES + (head?.length ?? 0);
    if (head === undefined || next > size) return stop(at);
    const content = at + HEAD_BYTES;
    switch (head.opcode) {
      case Opcode.dataEnd:
      case Opcode.footer: {
        endRun();
        const dataCrc = head.opcode === Opcode.dataEnd && head.length >= 4 ? await file.u32(content) : 0;
        return { blocks, stoppedAt: undefined, dataEnd: at, dataCrc };
      }
      case Opcode.channel:
        await readChannel(file, content, head.length, channels);
        break;
      case Opcode.chunk: {
        endRun();
        blocks.push(chunkOf(await file.read(content, Math.min(head.length, CHUNK_HEAD_BYTES)), content, head.length));
        break;
      }
      case Opcode.message: {
        if (head.length < MESSAGE_HEAD_BYTES) return stop(at);
        const fields = file.peek(content, MESSAGE_HEAD_BYTES) ?? (await file.read(content, MESSAGE_HEAD_BYTES));
        const logTime = fields.readBigUInt64LE(6);
        if (run && (at - run.end > RUN_GAP_BYTES || run.end - run.offset >= RUN_BYTES)) endRun();
        run ??= { offset: at, end: at, startNs: logTime, endNs: logTime };
        run.end = next;
        if (logTime < run.startNs) run.startNs = logTime;
        if (logTime > run.endNs) run.endNs = logTime;
        break;
      }
      default:
    }
    at = next;
  }
}

interface Run {
  readonly offset: number;
  end: number;
  startNs: bigint;
  endNs: bigint;
}

function blockOf({ offset, end, startNs, endNs }: Run): Block {
  const bytes = end - offset;
  return { offset, bytes, isChunk: false, compression: '', plainBytes: bytes, crc: 0, startNs, endNs };
}

/** `head`: the chunk's own fields; `at`: where they lie. An invalid one becomes a block that cannot be read. */
function chunkOf(head: Buffer, at: number, length: number): Block {
  const fields = new Fields(head);
  try {
    const [startNs, endNs, plainBytes, crc] = [fields.u64(), fields.u64(), Number(fields.u64()), fields.u32()];
    const compression = fields.text();
    const bytes = Number(fields.u64());
    if (fields.at + bytes > length) throw new Error('a chunk is longer than its record');
    return { offset: at + fields.at, bytes, isChunk: true, compression, plainBytes, crc, startNs, endNs };
  } catch {
    const none = { compression: 'an unknown one', plainBytes: 0, crc: 0, startNs: 0n, endNs: 0n };
    return { offset: at, bytes: length, isChunk: true, ...none };
  }
}

async function readChannel(file: FileWindow, at: number, length: number, channels: Channels): Promise<void> {
  if (length > CHANNEL_BYTES_MAX) return;
  try {
    channels.add(...parseChannel(await file.read(at, length)), [at, 0]);
  } catch {
    // Its messages will be reported as those of an unknown channel.
  }
}

interface Summary {
  readonly channels: readonly (readonly [number, Channel])[];
  readonly statistics: Statistics | undefined;
  /** Where chunks begin. */
  readonly chunks: readonly number[];
}

/** The summary at a file's end; undefined when it has no end. One that is damaged or left out has no content. */
async function readSummary(handle: FileHandle, size: number): Promise<Summary | undefined> {
  if (size < MCAP_MAGIC.length + END_BYTES) return undefined;
  const end = await readAt(handle, size - END_BYTES, END_BYTES);
  const isEnd = end.subarray(-MCAP_MAGIC.length).equals(Uint8Array.from(MCAP_MAGIC));
  const head = headAt(end, 0);
  if (!isEnd || head?.opcode !== Opcode.footer || head.length !== FOOTER_BYTES) return undefined;
  const none: Summary = { channels: [], statistics: undefined, chunks: [] };
  const start = Number(end.readBigUInt64LE(HEAD_BYTES));
  const crc = end.readUInt32LE(HEAD_BYTES + 16);
  const length = size - END_BYTES - start;
  if (start === 0 || length < 0 || length > BLOCK_BYTES_MAX) return none;
  const bytes = await readAt(handle, start, length + HEAD_BYTES + 16);
  if (crc !== 0 && crc32(bytes) !== crc) return none;
  try {
    return parseSummary(bytes.subarray(0, length));
  } catch {
    return none;
  }
}

function parseSummary(bytes: Buffer): Summary {
  const channels: (readonly [number, Channel])[] = [];
  const chunks: number[] = [];
  let statistics: Statistics | undefined;
  for (let at = 0; at < bytes.length;) {
    const head = headAt(bytes, at);
    if (!head || at + HEAD_BYTES + head.length > bytes.length) throw new Error('the summary is damaged');
    const content = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + head.length);
    if (head.opcode === Opcode.channel) channels.push(parseChannel(content));
    else if (head.opcode === Opcode.chunkIndex) chunks.push(Number(content.readBigUInt64LE(16)));
    else if (head.opcode === Opcode.statistics) statistics = parseStatistics(content);
    at += HEAD_BYTES + head.length;
  }
  return { channels, chunks, statistics };
}

function parseStatistics(content: Buffer): Statistics | undefined {
  if (content.length < STATISTICS_BYTES) return undefined;
  const fields = new Fields(content);
  const messages = Number(fields.u64());
  fields.u16();
  const channels = fields.u32();
  fields.u32();
  fields.u32();
  const chunks = fields.u32();
  return { messages, channels, chunks, startNs: fields.u64(), endNs: fields.u64() };
}

async function chunksBehind(
  handle: FileHandle,
  size: number,
  stoppedAt: number,
  summary: Summary | undefined,
): Promise<Block[]> {
  const file = new FileWindow(handle, size);
  const blocks: Block[] = [];
  for (const at of [...new Set(summary?.chunks)].toSorted((a, b) => a - b)) {
    if (at < stoppedAt) continue;
    const head = headAt(await file.read(at, HEAD_BYTES), 0);
    if (head?.opcode !== Opcode.chunk || at + HEAD_BYTES + head.length > size) continue;
    const content = at + HEAD_BYTES;
    blocks.push(chunkOf(await file.read(content, Math.min(head.length, CHUNK_HEAD_BYTES)), content, head.length));
  }
  return blocks;
}

/** Chunks have checksums of their own; messages outside of them share that of all data, if any. */
async function dataDamage(handle: FileHandle, { blocks, dataEnd, dataCrc }: Walked): Promise<string | undefined> {
  if (dataCrc === 0 || blocks.every(({ isChunk }) => isChunk)) return undefined;
  let crc = 0;
  for (let at = 0; at < dataEnd; at += RUN_BYTES) {
    crc = crc32(await readAt(handle, at, Math.min(RUN_BYTES, dataEnd - at)), crc);
  }
  return crc === dataCrc ? undefined : 'its data do not have their checksum: some of its messages may be damaged';
}

/** Small pieces of a file, mostly one behind the other, without a read for each of them. */
class FileWindow {
  readonly #handle: FileHandle;
  readonly #size: number;
  #bytes: Buffer = Buffer.alloc(0);
  #offset = 0;

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  /** Bytes that are there without a read; undefined otherwise. Small records come by the million. */
  peek(offset: number, length: number): Buffer | undefined {
    const from = offset - this.#offset;
    if (from < 0 || from + length > this.#bytes.length) return undefined;
    return this.#bytes.subarray(from, from + length);
  }

  /** Shorter at the end of the file. Valid until the next call. */
  async read(offset: number, length: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(length, this.#size - offset));
    const end = this.#offset + this.#bytes.length;
    if (offset < this.#offset || offset + wanted > end) {
      // After a jump little is needed before the next one; in a row all of it.
      const isInRow = offset >= this.#offset && offset <= end && end > this.#offset;
      const fill = Math.max(wanted, isInRow ? RUN_BYTES : 4_096);
      this.#bytes = await readAt(this.#handle, offset, Math.max(0, Math.min(fill, this.#size - offset)));
      this.#offset = offset;
    }
    return this.#bytes.subarray(offset - this.#offset, offset - this.#offset + wanted);
  }

  async u32(offset: number): Promise<number> {
    return (await this.read(offset, 4)).readUInt32LE(0);
  }
}

function isSame(a: Channel, b: Channel): boolean {
  return (
    a.topic === b.topic &&
    a.encoding === b.encoding &&
    a.metadata.size === b.metadata.size &&
    [...a.metadata].every(([key, value]) => b.metadata.get(key) === value)
  );
}
