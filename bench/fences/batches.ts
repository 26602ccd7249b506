import { deflateSync, zstdCompressSync } from 'node:zlib';
import { compressSync } from 'lz4-napi';

/** Binary batches of the telemetry lane (docs/protocol.md) that no honest client would make: small, and large where they are unpacked. */

const KIND = 0xb1;
const HEAD_BYTES = 12;
const SECTION_BYTES = 20;
const MESSAGE_HEAD_BYTES = 13;
const PRIORITY_NORMAL = 1;

export const Codec = { bytes: 0, json: 1, msgpack: 2, columns: 3 } as const;
export const Packing = { none: 0, lz4: 1, zlib: 2, zstd: 3 } as const;
export type Packing = (typeof Packing)[keyof typeof Packing];

export interface CraftedBatch {
  readonly codec: (typeof Codec)[keyof typeof Codec];
  readonly packing?: Packing;
  readonly schemaId?: number;
  readonly sections: readonly { readonly alias: number; readonly count: number; readonly firstSeq?: number }[];
  /** After the envelope, packed already. */
  readonly body: Uint8Array;
  /** What it claims to be when it is unpacked; the truth unless told otherwise. */
  readonly plainBytes?: number;
}

export function craftBatch({ codec, packing = 0, schemaId = 0, sections, body, plainBytes }: CraftedBatch): Buffer {
  const envelope = Buffer.alloc(HEAD_BYTES + SECTION_BYTES * sections.length);
  envelope[0] = KIND;
  envelope[1] = codec;
  envelope[2] = packing;
  envelope.writeUInt16LE(schemaId, 4);
  envelope.writeUInt16LE(sections.length, 6);
  envelope.writeUInt32LE(plainBytes ?? body.length, 8);
  for (const [i, { alias, count, firstSeq = 0 }] of sections.entries()) {
    const at = HEAD_BYTES + SECTION_BYTES * i;
    envelope.writeUInt32LE(alias, at);
    envelope.writeDoubleLE(firstSeq, at + 8);
    envelope.writeUInt32LE(count, at + 16);
  }
  return Buffer.concat([envelope, body]);
}

/** What a batch of any codec but columns holds: the payloads with their heads. */
export function messagesBody(payloads: readonly Uint8Array[], priority = PRIORITY_NORMAL): Buffer {
  const parts = payloads.flatMap((payload) => {
    const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
    head.writeDoubleLE(1, 0);
    head[8] = priority;
    head.writeUInt32LE(payload.length, 9);
    return [head, payload];
  });
  const head = Buffer.alloc(8);
  head.writeUInt32LE(payloads.length, 0);
  head.writeUInt32LE(
    parts.reduce((sum, { length }) => sum + length, 0),
    4,
  );
  return Buffer.concat([head, ...parts]);
}

/** `[{},{},…]` and the like, of at most so many bytes: parsed it takes many times that. */
export function listOf(element: string, bytes: number): string {
  const count = Math.max(1, Math.floor((bytes - 1) / (element.length + 1)));
  return `[${Array<string>(count).fill(element).join(',')}]`;
}

/** As many messages of just under a megabyte as a batch may unpack to, packed. */
export function packedLists(packing: Exclude<Packing, 0>, alias: number, element = '[]', messages = 8): Buffer {
  const payload = Buffer.from(listOf(element, 1_000_000));
  const plain = messagesBody(Array<Buffer>(messages).fill(payload));
  const sections = [{ alias, count: messages }];
  return craftBatch({ codec: Codec.json, packing, sections, body: PACKERS[packing](plain), plainBytes: plain.length });
}

export const PACKERS: Readonly<Record<Exclude<Packing, 0>, (plain: Buffer) => Uint8Array>> = {
  // Its first four bytes are the size, which the wire has in the envelope.
  [Packing.lz4]: (plain) => compressSync(plain).subarray(4),
  [Packing.zlib]: (plain) => deflateSync(plain, { level: 9 }),
  [Packing.zstd]: (plain) => zstdCompressSync(plain),
};

/** The same batch for another alias; one with a single section. */
export function readdressed(batch: Buffer, alias: number): Buffer {
  const copy = Buffer.from(batch);
  copy.writeUInt32LE(alias, HEAD_BYTES);
  return copy;
}

/** `messages` of `fields` numbers, all the same: three bytes a column, and eight a value where it is unpacked. */
export function constantColumns(alias: number, schemaId: number, fields: number, messages: number): Buffer {
  // Timestamp and priority are columns as well. Form 0, base i8, the base 1.
  const columns = Buffer.alloc(3 * (fields + 2));
  for (let i = 0; i < fields + 2; i += 1) columns[3 * i + 2] = 1;
  const headsBytes = Math.ceil(columns.length / 4) * 4;
  const body = Buffer.alloc(8 + headsBytes);
  body.writeUInt32LE(messages, 0);
  body.writeUInt32LE(headsBytes, 4);
  columns.copy(body, 8);
  return craftBatch({ codec: Codec.columns, schemaId, sections: [{ alias, count: messages }], body });
}

/** The control message that tells of such a layout. */
export function schemaOf(schemaId: number, fields: number, kind = 'f64', prefix = 'f'): string {
  const list = Array.from({ length: fields }, (_, i) => ({ path: `${prefix}${i}`, kind }));
  return JSON.stringify({ type: 'schema', schema_id: schemaId, fields: list });
}
