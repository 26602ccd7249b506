import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { decodeColumns as decodeColumnsBody, encodeColumns, packedShare, type ColumnBatch } from './columns.ts';
import { Payload } from './payload.ts';
import { COMPRESSIONS, PAYLOAD_CODECS, type Compression, type PayloadCodec, type SchemaField } from './telemetry.ts';

/**
 * Binary batches, as `docs/protocol.md` lays them down: an envelope, then the messages of one topic. Nothing is allocated
 * for a size that a foreign batch only claims.
 */

export const ENVELOPE_BYTES = 24;
export const BATCH_LIMITS: BatchLimits = {
  messagesMax: 10_000,
  plainBytesMax: 8 * 1024 * 1024,
  messageBytesMax: 1024 * 1024,
};
/** Up to this size compression costs more than it saves (T3). */
export const COMPRESS_ABOVE_BYTES = 512;
/** What compression must save at least, or the batch goes plain: every reader pays for unpacking it. */
const COMPRESSION_GAIN_MIN = 0.1;
/** With more packed bits than this in a batch of columns LZ4 is not tried. */
const PACKED_SHARE_MAX = 0.5;
const KIND = 0xb1;
const HEADER_BYTES = 8;
const MESSAGE_HEADER_BYTES = 13;

export interface BatchLimits {
  readonly messagesMax: number;
  /** Bytes of a batch after decompression. */
  readonly plainBytesMax: number;
  readonly messageBytesMax: number;
}

export interface BatchMessage {
  /** The publisher's time, Unix ms on the server's clock. */
  readonly timeMs: number;
  readonly priority: Priority;
  readonly payload: Payload;
}

export interface BatchEnvelope {
  readonly codec: PayloadCodec;
  readonly compression: Compression;
  /** 0 but for columns. */
  readonly schemaId: number;
  /** The connection's id of the topic, or the client's alias. */
  readonly topicId: number;
  readonly epoch: number;
  /** Of the first message; the others follow without gaps. */
  readonly firstSeq: number;
  /** Bytes after the envelope before compression. */
  readonly plainSize: number;
}

/** What the sender decides about a batch. */
export interface BatchHead {
  readonly topicId: number;
  readonly epoch: number;
  readonly firstSeq: number;
  readonly codec: PayloadCodec;
  /** What to try; the batch goes plain when that fails or does not pay. */
  readonly compression: Compression;
  /** For columns. */
  readonly schemaId?: number;
  readonly schema?: readonly SchemaField[];
}

type Packed = Exclude<Compression, 'none'>;
/** Gives the compressed bytes. LZ4 is the bare block format, without a size in front. */
export type Compressors = Partial<Record<Packed, (plain: Uint8Array) => Uint8Array>>;
/** Gives exactly `plainSize` bytes or throws, and never allocates more than that. */
export type Decompressors = Partial<Record<Packed, (packed: Uint8Array, plainSize: number) => Uint8Array>>;
export type SchemaLookup = (topicId: number, schemaId: number) => readonly SchemaField[] | undefined;

/**
 * One batch as one binary message. The payloads are written in the head's codec, whatever form they came in. For columns all
 * of them have to fit the schema (`payloadFits` of `columns.ts`). Throws PAYLOAD_BAD when they do not, or are no bytes for `bytes`,
 * BATCH_BAD for no messages and BATCH_TOO_LARGE for too many.
 */
export function encodeBatch(
  head: BatchHead,
  messages: readonly BatchMessage[],
  compressors: Compressors,
): Uint8Array<ArrayBuffer> {
  checkCount(messages.length, BATCH_LIMITS);
  const message = head.codec === 'columns' ? encodeColumnar(head, messages) : encodeMessages(head.codec, messages);
  const plainSize = message.length - ENVELOPE_BYTES;
  const packed = compress(message.subarray(ENVELOPE_BYTES), head, compressors);
  if (packed === undefined) {
    writeEnvelope(message, head, 'none', plainSize);
    return message;
  }
  const compressed = new Uint8Array(ENVELOPE_BYTES + packed.length);
  compressed.set(packed, ENVELOPE_BYTES);
  writeEnvelope(compressed, head, head.compression, plainSize);
  return compressed;
}

/**
 * The envelope of a binary message, held to the limits. Throws SightlineError BATCH_BAD or BATCH_TOO_LARGE.
 */
export function decodeBatchHeader(bytes: Uint8Array, limits: BatchLimits = BATCH_LIMITS): BatchEnvelope {
  if (bytes.length < ENVELOPE_BYTES) {
    throw new SightlineError('BATCH_BAD', `the batch has ${bytes.length} bytes, its envelope alone ${ENVELOPE_BYTES}`);
  }
  const view = viewOf(bytes);
  const [kind, codecNumber = 0, compressionNumber = 0, schemaId = 0] = bytes;
  const codec = PAYLOAD_CODECS[codecNumber];
  const compression = COMPRESSIONS[compressionNumber];
  const plainSize = view.getUint32(12, true);
  const firstSeq = view.getFloat64(16, true);
  if (kind !== KIND) throw new SightlineError('BATCH_BAD', `kind ${kind} is not ${KIND}`);
  if (codec === undefined) throw new SightlineError('BATCH_BAD', `codec ${codecNumber} is unknown`);
  if (compression === undefined) throw new SightlineError('BATCH_BAD', `compression ${compressionNumber} is unknown`);
  if (codec !== 'columns' && schemaId !== 0) throw new SightlineError('BATCH_BAD', `codec ${codec} has no schema`);
  if (!Number.isSafeInteger(firstSeq) || firstSeq < 0) {
    throw new SightlineError('BATCH_BAD', `first_seq ${firstSeq} is not a whole number`);
  }
  if (plainSize > limits.plainBytesMax) {
    throw new SightlineError(
      'BATCH_TOO_LARGE',
      `the batch claims ${plainSize} bytes of at most ${limits.plainBytesMax}`,
    );
  }
  const topicId = view.getUint32(4, true);
  return { codec, compression, schemaId, topicId, epoch: view.getUint32(8, true), plainSize, firstSeq };
}

/**
 * A batch with its messages. Payloads are checked to be what the codec says; their bytes are borrowed from `bytes`.
 * Throws SightlineError BATCH_BAD, BATCH_TOO_LARGE, COMPRESSION_BAD, SCHEMA_UNKNOWN or PAYLOAD_BAD.
 */
export function decodeBatch(
  bytes: Uint8Array,
  schemaOf: SchemaLookup,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
): { envelope: BatchEnvelope; messages: BatchMessage[] } {
  const envelope = decodeBatchHeader(bytes, limits);
  if (envelope.codec === 'columns') {
    const { columns } = decodeColumns(bytes, schemaOf, decompressors, limits);
    const { times, priorities } = columns;
    const messages = columns.objects().map((value, i) => ({
      timeMs: times[i]!,
      priority: priorities[i]! as Priority,
      payload: Payload.of(value),
    }));
    return { envelope, messages };
  }
  const body = plainBody(bytes, envelope, decompressors);
  return { envelope, messages: decodeMessages(body, envelope.codec, limits) };
}

/** A batch of columns as typed arrays, without making objects. Throws as `decodeBatch` does; BATCH_BAD for another codec. */
export function decodeColumns(
  bytes: Uint8Array,
  schemaOf: SchemaLookup,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
): { envelope: BatchEnvelope; columns: ColumnBatch } {
  const envelope = decodeBatchHeader(bytes, limits);
  const { codec, topicId, schemaId } = envelope;
  if (codec !== 'columns') throw new SightlineError('BATCH_BAD', `a batch of codec ${codec} has no columns`);
  const schema = schemaOf(topicId, schemaId);
  if (schema === undefined) {
    throw new SightlineError('SCHEMA_UNKNOWN', `schema ${schemaId} of topic ${topicId} was not sent before`);
  }
  const body = plainBody(bytes, envelope, decompressors);
  return { envelope, columns: decodeColumnsBody(body, schema, limits.messagesMax, limits.plainBytesMax) };
}

/** What follows the envelope, decompressed. Throws COMPRESSION_BAD. */
function plainBody(bytes: Uint8Array, envelope: BatchEnvelope, decompressors: Decompressors): Uint8Array {
  const { compression, plainSize } = envelope;
  const rest = bytes.subarray(ENVELOPE_BYTES);
  const plain = compression === 'none' ? rest : decompress(rest, compression, plainSize, decompressors);
  if (plain.length !== plainSize) {
    const code = compression === 'none' ? 'BATCH_BAD' : 'COMPRESSION_BAD';
    throw new SightlineError(code, `plain_size is ${plainSize}, the batch has ${plain.length} bytes`);
  }
  return plain;
}

function compress(plain: Uint8Array, head: BatchHead, compressors: Compressors): Uint8Array | undefined {
  const { codec, compression } = head;
  if (compression === 'none' || plain.length <= COMPRESS_ABOVE_BYTES) return undefined;
  // LZ4 finds bytes that repeat: bits that are packed already have none, and trying would cost a third of the encoding.
  if (codec === 'columns' && compression === 'lz4' && packedShare(plain) > PACKED_SHARE_MAX) return undefined;
  try {
    const packed = compressors[compression]?.(plain);
    return packed !== undefined && packed.length <= plain.length * (1 - COMPRESSION_GAIN_MIN) ? packed : undefined;
  } catch {
    // The messages matter, not their size (T3: plain on any failure).
    return undefined;
  }
}

function decompress(packed: Uint8Array, compression: Packed, plainSize: number, pairs: Decompressors): Uint8Array {
  const unpack = pairs[compression];
  if (unpack === undefined) throw new SightlineError('COMPRESSION_BAD', `compression ${compression} is not known here`);
  try {
    return unpack(packed, plainSize);
  } catch (cause) {
    throw new SightlineError('COMPRESSION_BAD', `the batch is not ${compression}`, { cause });
  }
}

function writeEnvelope(message: Uint8Array, head: BatchHead, compression: Compression, plainSize: number): void {
  const view = viewOf(message);
  message[0] = KIND;
  message[1] = PAYLOAD_CODECS.indexOf(head.codec);
  message[2] = COMPRESSIONS.indexOf(compression);
  message[3] = head.schemaId ?? 0;
  view.setUint32(4, head.topicId, true);
  view.setUint32(8, head.epoch, true);
  view.setUint32(12, plainSize, true);
  view.setFloat64(16, head.firstSeq, true);
}

function encodeColumnar(head: BatchHead, messages: readonly BatchMessage[]): Uint8Array<ArrayBuffer> {
  if (head.schema === undefined) throw new SightlineError('SCHEMA_UNKNOWN', 'columns need a schema');
  return encodeColumns(head.schema, messages, ENVELOPE_BYTES, BATCH_LIMITS.plainBytesMax);
}

/** The batch of T2, with room for the envelope in front. */
function encodeMessages(codec: PayloadCodec, messages: readonly BatchMessage[]): Uint8Array<ArrayBuffer> {
  const payloads = messages.map((message) => payloadBytes(message.payload, codec));
  const totalSize = payloads.reduce((sum, payload) => sum + MESSAGE_HEADER_BYTES + payload.length, 0);
  const out = new Uint8Array(ENVELOPE_BYTES + HEADER_BYTES + totalSize);
  const view = viewOf(out);
  view.setUint32(ENVELOPE_BYTES, messages.length, true);
  view.setUint32(ENVELOPE_BYTES + 4, totalSize, true);
  let at = ENVELOPE_BYTES + HEADER_BYTES;
  for (const [i, { timeMs, priority }] of messages.entries()) {
    const payload = payloads[i]!;
    view.setFloat64(at, timeMs, true);
    out[at + 8] = priority;
    view.setUint32(at + 9, payload.length, true);
    out.set(payload, at + MESSAGE_HEADER_BYTES);
    at += MESSAGE_HEADER_BYTES + payload.length;
  }
  return out;
}

function payloadBytes(payload: Payload, codec: PayloadCodec): Uint8Array {
  switch (codec) {
    case 'json':
      return payload.json();
    case 'msgpack':
      return payload.msgpack();
    default: {
      if (payload.raw === undefined)
        throw new SightlineError('PAYLOAD_BAD', 'a payload of codec bytes has to be bytes');
      return payload.raw;
    }
  }
}

function decodeMessages(body: Uint8Array, codec: PayloadCodec, limits: BatchLimits): BatchMessage[] {
  if (body.length < HEADER_BYTES) throw new SightlineError('BATCH_BAD', `the batch ends after ${body.length} bytes`);
  const view = viewOf(body);
  const count = view.getUint32(0, true);
  const totalSize = view.getUint32(4, true);
  checkCount(count, limits);
  if (totalSize !== body.length - HEADER_BYTES) {
    throw new SightlineError('BATCH_BAD', `total_size is ${totalSize}, ${body.length - HEADER_BYTES} bytes follow`);
  }
  const messages: BatchMessage[] = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + MESSAGE_HEADER_BYTES > body.length)
      throw new SightlineError('BATCH_BAD', `message ${i} of ${count} is cut`);
    const timeMs = view.getFloat64(at, true);
    const priority = body[at + 8]!;
    const size = view.getUint32(at + 9, true);
    at += MESSAGE_HEADER_BYTES;
    if (size > limits.messageBytesMax) {
      throw new SightlineError(
        'BATCH_TOO_LARGE',
        `message ${i} claims ${size} bytes of at most ${limits.messageBytesMax}`,
      );
    }
    if (at + size > body.length) throw new SightlineError('BATCH_BAD', `message ${i} of ${count} is cut`);
    checkMessage(timeMs, priority);
    const payload = decodePayload(body.subarray(at, at + size), codec);
    messages.push({ timeMs, priority, payload });
    at += size;
  }
  if (at !== body.length) throw new SightlineError('BATCH_BAD', `${body.length - at} bytes follow the last message`);
  return messages;
}

function decodePayload(bytes: Uint8Array, codec: PayloadCodec): Payload {
  if (codec === 'json') return Payload.json(bytes);
  return codec === 'msgpack' ? Payload.msgpack(bytes) : Payload.bytes(bytes);
}

function checkCount(count: number, limits: BatchLimits): void {
  if (count === 0) throw new SightlineError('BATCH_BAD', 'the batch has no messages');
  if (count > limits.messagesMax) {
    throw new SightlineError('BATCH_TOO_LARGE', `the batch claims ${count} messages of at most ${limits.messagesMax}`);
  }
}

function checkMessage(timeMs: number, priority: number): asserts priority is Priority {
  if (!Number.isFinite(timeMs)) throw new SightlineError('BATCH_BAD', `timestamp ${timeMs} is no time`);
  if (priority > 3) throw new SightlineError('BATCH_BAD', `priority ${priority} is not 0 to 3`);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
