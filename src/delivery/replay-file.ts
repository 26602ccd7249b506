import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { MCAP_MAGIC } from '@mcap/core';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Payload } from '../protocol/payload.ts';
import { compare, indexBlock, messageAt, readBlock, type BlockIndex } from './mcap-block.ts';
import { placeOf, readLayout, type Block, type Channels, type Layout } from './mcap-layout.ts';
import { FORM_KEY, fromForeign, toMs, toNs } from './recording-format.ts';

export interface ReplayMessage {
  readonly topic: string;
  /** The time of recording, and the publisher's; Unix ms. */
  readonly logTimeMs: number;
  readonly publishTimeMs: number;
  readonly payload: Payload;
}

/** Parts of a source that cannot be played, one message or a whole chunk, while the rest is. */
export type OnRefused = (refusal: SightlineError, topic: string | undefined) => void;

/** A source to play: a file, or the messages that the hub still remembers. */
export interface ReplaySource {
  /** Log times of the first and the last message, Unix ms. */
  readonly startMs: number;
  readonly endMs: number;
  /** In the order of their log times, from the first one at or after `fromMs`. Without `onRefused` a refusal is thrown. */
  messages(fromMs: number, onRefused?: OnRefused): AsyncIterable<ReplayMessage>;
}

interface Extent {
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly messages: number;
  readonly topics: readonly string[];
}

/** A block that is being played. */
interface Cursor {
  readonly block: Block;
  readonly index: BlockIndex;
  /** Of the next message. */
  place: number;
}

interface Found {
  readonly block: Block;
  readonly plain: Buffer;
  readonly at: number;
}

const PLAIN_BYTES_MAX = 128 * 1024 * 1024;
/** Messages of blocks that overlap in time: more would take too much memory to be put in order. */
const OVERLAP_MESSAGES_MAX = 20_000_000;

/**
 * An MCAP file to be read, by any writer: with an index or without, in chunks or not, whole or cut off. Errors of all
 * methods: SOURCE_UNREADABLE.
 */
export class RecordingSource implements ReplaySource, AsyncDisposable {
  readonly path: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly messageCount: number;
  readonly topics: readonly string[];
  /** False: the file was cut off, or its records cannot be followed to its end. */
  readonly complete: boolean;
  /** The file's fault, for people; the readable part is played. */
  readonly damage: string | undefined;
  readonly #handle: FileHandle;
  readonly #layout: Layout;
  readonly #plainBytesMax: number;
  /** By use, the oldest first. */
  readonly #plain = new Map<Block, Buffer>();
  #plainBytes = 0;

  private constructor(path: string, handle: FileHandle, layout: Layout, extent: Extent, plainBytesMax: number) {
    this.path = path;
    this.#plainBytesMax = plainBytesMax;
    this.startMs = toMs(extent.startNs);
    this.endMs = toMs(extent.endNs);
    this.messageCount = extent.messages;
    this.topics = extent.topics;
    this.complete = layout.complete;
    this.damage = layout.damage;
    this.#handle = handle;
    this.#layout = layout;
  }

  /**
   * `plainBytesMax`: plain bytes of blocks that overlap in time and are played in turns; those that were not used for the longest are
   * read again when it is their turn. Errors: SOURCE_NOT_FOUND, SOURCE_UNREADABLE (no MCAP file, damaged, or without a message).
   */
  static async open(path: string, plainBytesMax = PLAIN_BYTES_MAX): Promise<RecordingSource> {
    const handle = await open(path, 'r').catch((thrown: NodeJS.ErrnoException) => {
      throw new SightlineError('SOURCE_NOT_FOUND', `${path} cannot be opened: ${reasonOf(thrown)}`, { cause: thrown });
    });
    try {
      await checkMagic(path, handle);
      const found = await readLayout(handle);
      const told = (await isReadable(handle, found.blocks[0])) ? toldExtent(found) : undefined;
      const { layout, extent } = told ? { layout: found, extent: told } : await measure(path, handle, found);
      return new RecordingSource(path, handle, layout, extent, plainBytesMax);
    } catch (thrown) {
      await handle.close();
      throw thrown instanceof SightlineError ? thrown : unreadable(path, reasonOf(thrown), thrown);
    }
  }

  async *messages(fromMs: number, onRefused?: OnRefused): AsyncGenerator<ReplayMessage, void, undefined> {
    // A message may lie a fraction of a microsecond before the double that its time became.
    const fromNs = toNs(Math.max(0, fromMs)) - 500n;
    const refuse: OnRefused = (refusal, topic) => {
      if (!onRefused) throw refusal;
      onRefused(refusal, topic);
    };
    try {
      for await (const found of this.#inOrder(fromNs, refuse)) {
        const message = this.#decode(found, refuse);
        if (message) yield message;
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

  /** Blocks may overlap in time, and messages in a block may lie in any order. */
  async *#inOrder(fromNs: bigint, refuse: OnRefused): AsyncGenerator<Found, void, undefined> {
    const waiting = this.#layout.blocks
      .filter(({ endNs }) => endNs >= fromNs)
      .toSorted((a, b) => compare(a.startNs, b.startNs));
    /** The next message of the first one is the next of all. */
    const playing: Cursor[] = [];
    let begun = 0;
    let indexed = 0;
    for (;;) {
      while (begun < waiting.length && (!playing[0] || waiting[begun]!.startNs <= timeOf(playing[0]))) {
        const block = waiting[begun++]!;
        const index = await this.#index(block, refuse);
        if (!index) continue;
        indexed += index.at.length;
        if (indexed > OVERLAP_MESSAGES_MAX) {
          throw new Error(
            `more than ${OVERLAP_MESSAGES_MAX} messages in it are not in the order of time; sort it first`,
          );
        }
        enlist(playing, { block, index, place: index.timesNs.findIndex((timeNs) => timeNs >= fromNs) });
      }
      const cursor = playing.shift();
      if (!cursor) return;
      const { block, index } = cursor;
      const untilNs = earlier(playing[0] && timeOf(playing[0]), waiting[begun]?.startNs);
      do {
        yield { block, plain: await this.#bytes(block), at: index.at[cursor.place++]! };
      } while (isBefore(cursor, untilNs));
      if (cursor.place < index.at.length) enlist(playing, cursor);
      else {
        indexed -= index.at.length;
        this.#forget(block);
      }
    }
  }

  /** Undefined for a block that cannot be read. */
  async #index(block: Block, refuse: OnRefused): Promise<BlockIndex | undefined> {
    try {
      const index = indexBlock(await this.#bytes(block));
      tellChannels(this.#layout.channels, block, index);
      if (index.flaw !== undefined) refuse(blockRefusal(block, index.flaw), undefined);
      return index;
    } catch (thrown) {
      refuse(thrown instanceof SightlineError ? thrown : blockRefusal(block, reasonOf(thrown)), undefined);
      return undefined;
    }
  }

  async #bytes(block: Block): Promise<Buffer> {
    const known = this.#plain.get(block);
    this.#plain.delete(block);
    const plain = known ?? (await readBlock(this.#handle, block));
    this.#plain.set(block, plain);
    if (known) return plain;
    this.#plainBytes += plain.length;
    for (const oldest of this.#plain.keys()) {
      if (this.#plainBytes <= this.#plainBytesMax || oldest === block) break;
      this.#forget(oldest);
    }
    return plain;
  }

  #forget(block: Block): void {
    this.#plainBytes -= this.#plain.get(block)?.length ?? 0;
    this.#plain.delete(block);
  }

  #decode({ block, plain, at }: Found, refuse: OnRefused): ReplayMessage | undefined {
    const { channelId, logNs, publishNs, data } = messageAt(plain, at);
    const channel = this.#layout.channels.get(channelId, placeOf(block, at));
    if (channel === undefined) {
      refuse(new SightlineError('SOURCE_UNREADABLE', `the file does not describe channel ${channelId}`), undefined);
      return undefined;
    }
    const { topic, encoding, metadata } = channel;
    const form = metadata.get(FORM_KEY);
    try {
      return {
        topic,
        logTimeMs: toMs(logNs),
        // In files of others 0 stands for "not known".
        publishTimeMs: toMs(publishNs === 0n && form === undefined ? logNs : publishNs),
        payload: fromForeign(form, encoding, data),
      };
    } catch (thrown) {
      refuse(toSightlineError(thrown), topic);
      return undefined;
    }
  }
}

async function checkMagic(path: string, handle: FileHandle): Promise<void> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(MCAP_MAGIC.length), 0, MCAP_MAGIC.length, 0);
  if (bytesRead === 0) throw unreadable(path, 'it is empty');
  if (!buffer.equals(Uint8Array.from(MCAP_MAGIC))) throw unreadable(path, 'it is not an MCAP file');
}

/** As a sample: in a compression that is not known, say, no chunk can be read, whatever the file says of its messages. */
async function isReadable(handle: FileHandle, block: Block | undefined): Promise<boolean> {
  return (
    block !== undefined &&
    (await readBlock(handle, block)
      .then(indexBlock)
      .catch(() => undefined)) !== undefined
  );
}

/** The file's summary of its messages, where it is complete and consistent. */
function toldExtent({ blocks, channels, statistics, complete }: Layout): Extent | undefined {
  if (!statistics || !complete || statistics.messages === 0) return undefined;
  const { startNs, endNs, messages } = statistics;
  // An empty chunk has no times.
  const filled = blocks.filter((block) => block.startNs !== 0n || block.endNs !== 0n);
  const isSame =
    channels.size === statistics.channels &&
    blocks.filter(({ isChunk }) => isChunk).length === statistics.chunks &&
    filled.reduce((min, block) => earlier(min, block.startNs)!, filled[0]?.startNs) === startNs &&
    filled.every((block) => block.endNs <= endNs) &&
    filled.some((block) => block.endNs === endNs);
  return isSame ? { startNs, endNs, messages, topics: channels.topics } : undefined;
}

/** Goes through all messages. The blocks that come back have the times that their messages have. */
async function measure(
  path: string,
  handle: FileHandle,
  layout: Layout,
): Promise<{ readonly layout: Layout; readonly extent: Extent }> {
  const topics = new Set<string>();
  const blocks: Block[] = [];
  let messages = 0;
  let refusal: unknown;
  for (const block of layout.blocks) {
    try {
      const plain = await readBlock(handle, block);
      const index = indexBlock(plain);
      tellChannels(layout.channels, block, index);
      if (index.at.length === 0) continue;
      messages += index.at.length;
      blocks.push({ ...block, startNs: index.timesNs[0]!, endNs: index.timesNs.at(-1)! });
      for (const at of index.at) {
        const channel = layout.channels.get(plain.readUInt16LE(at), placeOf(block, at));
        if (channel) topics.add(channel.topic);
      }
    } catch (thrown) {
      // It stays, to be refused when its turn comes.
      blocks.push(block);
      refusal ??= thrown;
    }
  }
  if (messages === 0) {
    const why = refusal === undefined ? 'it holds no message' : `none of its chunks can be read: ${reasonOf(refusal)}`;
    throw unreadable(path, layout.damage === undefined ? why : `${why} (${layout.damage})`, refusal);
  }
  const readable = blocks.filter(({ startNs, endNs }) => startNs !== 0n || endNs !== 0n);
  const known = readable.length > 0 ? readable : blocks;
  const extent = {
    startNs: known.reduce((min, block) => earlier(min, block.startNs)!, known[0]!.startNs),
    endNs: known.reduce((max, { endNs }) => (endNs > max ? endNs : max), 0n),
    messages,
    topics: [...topics].toSorted(),
  };
  return { layout: { ...layout, blocks }, extent };
}

/** Outside of chunks they are known already. */
function tellChannels(channels: Channels, block: Block, index: BlockIndex): void {
  if (!block.isChunk) return;
  for (const [id, channel, at] of index.channels) channels.add(id, channel, placeOf(block, at));
}

function timeOf({ index, place }: Cursor): bigint {
  return index.timesNs[place]!;
}

function isBefore(cursor: Cursor, untilNs: bigint | undefined): boolean {
  return cursor.place < cursor.index.at.length && (untilNs === undefined || timeOf(cursor) < untilNs);
}

function earlier(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}

/** By the time of the next message, those of one time in the order of the file. A cursor without a next message is left out. */
function enlist(playing: Cursor[], cursor: Cursor): void {
  if (cursor.place < 0 || cursor.place >= cursor.index.at.length) return;
  const behind = playing.findIndex((other) => {
    const order = compare(timeOf(other), timeOf(cursor));
    return order > 0 || (order === 0 && other.block.offset > cursor.block.offset);
  });
  playing.splice(behind < 0 ? playing.length : behind, 0, cursor);
}

function blockRefusal({ offset, isChunk }: Block, why: string): SightlineError {
  const what = isChunk ? `the chunk at byte ${offset}` : `the part at byte ${offset}`;
  return new SightlineError('SOURCE_UNREADABLE', `${what} cannot be read: ${why}`);
}

function unreadable(path: string, why: string, cause?: unknown): SightlineError {
  return new SightlineError('SOURCE_UNREADABLE', `${path} cannot be read: ${why}`, { cause });
}

function reasonOf(thrown: unknown): string {
  const { code, message } = thrown as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'there is no such file' : message;
}
