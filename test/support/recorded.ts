import { readFile } from 'node:fs/promises';
import { zstdDecompressSync } from 'node:zlib';
import { McapIndexedReader } from '@mcap/core';
import { decompressFrameSync } from 'lz4-napi';

export const decompressHandlers = {
  zstd: (data: Uint8Array) => zstdDecompressSync(data),
  lz4: (data: Uint8Array) => decompressFrameSync(Buffer.from(data)),
};

/** The public reader of a recording. */
export async function openIndexed(path: string): Promise<McapIndexedReader> {
  const bytes = await readFile(path);
  const readable = {
    size: async () => BigInt(bytes.length),
    read: async (offset: bigint, size: bigint) => bytes.subarray(Number(offset), Number(offset + size)),
  };
  return await McapIndexedReader.Initialize({ readable, decompressHandlers });
}

/** A recording as the public reader sees it by its index: in the order of its log times. */
export async function readIndexed(path: string) {
  const reader = await openIndexed(path);
  const messages = [];
  for await (const { channelId, sequence, logTime, publishTime, data } of reader.readMessages({ validateCrcs: true })) {
    const value: unknown = JSON.parse(Buffer.from(data).toString());
    const channel = reader.channelsById.get(channelId)!;
    messages.push({ topic: channel.topic, channel, sequence, logTime, publishTime, value });
  }
  const metadata = [];
  for await (const { metadata: map } of reader.readMetadata({ name: 'sightline.recording' })) metadata.push(map);
  return { reader, messages, metadata };
}
