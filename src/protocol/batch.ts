import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import {
  columnSteps,
  decodeColumns as decodeColumnsBody,
  ColumnGatherer,
  packedShare,
  type ColumnBatch,
  type ColumnFaults,
  type ColumnUse,
} from './columns.ts';
import { Payload } from './payload.ts';
import { COMPRESSIONS, PAYLOAD_CODECS, type Compression, type PayloadCodec, type SchemaField } from './telemetry.ts';

/**
 * Binary batches, as `docs/protocol.md` lays them down: an envelope that tells which topics the messages belong to, then the
 * messages. Nothing is allocated for a size that a foreign batch only claims.
 */

const HEAD_BYTES = 12;
const SECTION_BYTES = 20;
export const BATCH_LIMITS: BatchLimits = {
  sectionsMax: 1_000,
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
/** Messages of columns that share memory take so much together. */
const CHUNK_BYTES = 64 * 1024;
/**
 * A client's batch may grow so much by decompression: zlib goes up to a thousandfold, so that a few kilobytes would make as much
 * work as megabytes. Real messages reach 20, many equal ones 50.
 */
export const COMPRESSION_RATIO_MAX = 100;
/** Up to this size the ratio does not matter. */
export const RATIO_FREE_BYTES = 64 * 1024;
const KIND = 0xb1;
const HEADER_BYTES = 8;
const MESSAGE_HEADER_BYTES = 13;

export interface BatchLimits {
  readonly sectionsMax: number;
  readonly messagesMax: number;
  /** Bytes of a batch after decompression. */
  readonly plainBytesMax: number;
  readonly messageBytesMax: number;
  /** Throws for data that should not even be read, such as that of too many elements. */
  readonly check?: (data: Uint8Array, codec: PayloadCodec) => void;
}

export interface BatchMessage {
  /** The publisher's time, Unix ms on the server's clock. */
  readonly timeMs: number;
  readonly priority: Priority;
  readonly payload: Payload;
}

/** Consecutive messages of one topic. */
export interface BatchSection {
  /** The connection's id of the topic, or the client's alias. */
  readonly topicId: number;
  readonly epoch: number;
  /** Of the first message; the others follow without gaps. */
  readonly firstSeq: number;
  /** Messages, not 0. */
  readonly count: number;
}

/** A batch taken apart as far as it goes: one of its messages, or why it is none. */
export type MessageOrFault = BatchMessage | SightlineError;

export interface BatchEnvelope {
  readonly codec: PayloadCodec;
  readonly compression: Compression;
  /** 0 but for columns. */
  readonly schemaId: number;
  /** Bytes after the envelope before compression. */
  readonly plainSize: number;
  /** One at least; the messages of the batch stand in their order. */
  readonly sections: readonly BatchSection[];
  /** Of all sections. */
  readonly count: number;
}

/** What the sender decides about a batch. */
export interface BatchHead {
  readonly sections: readonly BatchSection[];
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
export type SchemaLookup = (schemaId: number) => readonly SchemaField[] | undefined;

/** Bytes in front of a batch's messages. */
export function envelopeBytes(sections: number): number {
  return HEAD_BYTES + SECTION_BYTES * sections;
}

/**
 * One batch as one binary message: the messages of all sections, in their order. The payloads are written in the head's codec,
 * whatever form they came in; for columns they are gathered already, or all have to fit the schema. Throws PAYLOAD_BAD
 * when they do not, or are no bytes for `bytes`, BATCH_BAD for no messages or when the sections do not add up, and
 * BATCH_TOO_LARGE for too many.
 */
export function encodeBatch(
  head: BatchHead,
  messages: readonly BatchMessage[] | ColumnGatherer,
  compressors: Compressors,
): Uint8Array<ArrayBuffer> {
  const count = messages instanceof ColumnGatherer ? messages.count : messages.length;
  checkSections(head.sections, count, BATCH_LIMITS);
  checkCount(count, BATCH_LIMITS);
  const before = envelopeBytes(head.sections.length);
  const message = encodeBody(head, messages, before);
  const plainSize = message.length - before;
  const packed = compress(message.subarray(before), head, compressors);
  if (packed === undefined) {
    writeEnvelope(message, head, 'none', plainSize);
    return message;
  }
  const compressed = new Uint8Array(before + packed.length);
  compressed.set(packed, before);
  writeEnvelope(compressed, head, head.compression, plainSize);
  return compressed;
}

/**
 * The envelope of a binary message, held to the limits. Throws SightlineError BATCH_BAD or BATCH_TOO_LARGE.
 */
export function decodeBatchHeader(bytes: Uint8Array, limits: BatchLimits = BATCH_LIMITS): BatchEnvelope {
  const envelope = decodeEnvelope(bytes, limits);
  for (const section of envelope.sections) {
    const fault = faultOfSection(section);
    if (fault !== undefined) throw fault;
  }
  return envelope;
}

/** Whether a section by itself is none that can be taken, and why. */
export function faultOfSection({ firstSeq, count }: BatchSection): SightlineError | undefined {
  if (!Number.isSafeInteger(firstSeq) || firstSeq < 0) {
    return new SightlineError('BATCH_BAD', `first_seq ${firstSeq} is not a whole number`);
  }
  return count === 0 ? new SightlineError('BATCH_BAD', 'a section has no messages') : undefined;
}

/** The sections of a batch that cannot be read, so that its refusal can name them; none where the envelope itself is broken. */
export function sectionsOfBatch(bytes: Uint8Array): readonly BatchSection[] {
  try {
    return bytes[0] === KIND ? readSections(viewOf(bytes), BATCH_LIMITS) : [];
  } catch {
    return [];
  }
}

/** As `decodeBatchHeader`, but for the sections: each has to be looked at by itself. */
function decodeEnvelope(bytes: Uint8Array, limits: BatchLimits): BatchEnvelope {
  if (bytes.length < HEAD_BYTES) {
    throw new SightlineError('BATCH_BAD', `the batch has ${bytes.length} bytes, its envelope alone ${HEAD_BYTES}`);
  }
  const view = viewOf(bytes);
  const kind = bytes[0];
  const codecNumber = bytes[1]!;
  const compressionNumber = bytes[2]!;
  const codec = PAYLOAD_CODECS[codecNumber];
  const compression = COMPRESSIONS[compressionNumber];
  const schemaId = view.getUint16(4, true);
  const plainSize = view.getUint32(8, true);
  if (kind !== KIND) throw new SightlineError('BATCH_BAD', `kind ${kind} is not ${KIND}`);
  if (codec === undefined) throw new SightlineError('BATCH_BAD', `codec ${codecNumber} is unknown`);
  if (compression === undefined) throw new SightlineError('BATCH_BAD', `compression ${compressionNumber} is unknown`);
  if (codec !== 'columns' && schemaId !== 0) throw new SightlineError('BATCH_BAD', `codec ${codec} has no schema`);
  if (plainSize > limits.plainBytesMax) {
    throw new SightlineError(
      'BATCH_TOO_LARGE',
      `the batch claims ${plainSize} bytes of at most ${limits.plainBytesMax}`,
    );
  }
  const sections = readSections(view, limits);
  let count = 0;
  for (const section of sections) count += section.count;
  checkCount(count, limits);
  return { codec, compression, schemaId, plainSize, sections, count };
}

/**
 * A batch with the messages of all its sections, in their order. Payloads are checked to be what the codec says; their bytes are
 * borrowed from `bytes`. Throws SightlineError BATCH_BAD, BATCH_TOO_LARGE, COMPRESSION_BAD, SCHEMA_UNKNOWN or PAYLOAD_BAD.
 */
export function decodeBatch(
  bytes: Uint8Array,
  schemaOf: SchemaLookup,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
): { envelope: BatchEnvelope; messages: BatchMessage[] } {
  const envelope = decodeBatchHeader(bytes, limits);
  if (envelope.codec !== 'columns') {
    return { envelope, messages: readMessages(bytes, envelope, decompressors, limits) };
  }
  const columns = readColumns(bytes, envelope, schemaOf, decompressors, limits, 'brief');
  const messages = columns.objects().map((value, i) => ({
    timeMs: columns.timeMs(i),
    priority: columns.priority(i),
    payload: Payload.of(value),
  }));
  return { envelope, messages };
}

/** The messages of a batch whose envelope was read, and is not one of columns. Throws as `decodeBatch`. */
export function readMessages(
  bytes: Uint8Array,
  envelope: BatchEnvelope,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
): BatchMessage[] {
  const messages: BatchMessage[] = [];
  for (const message of messagesOf(plainBody(bytes, envelope, decompressors), envelope, limits)) {
    if (message instanceof SightlineError) throw message;
    messages.push(message);
  }
  return messages;
}

/**
 * A batch of a client, whose messages are passed on: each stands by itself, and one that is none costs the others nothing.
 * `envelope`: of `openPublications`; `body`: what follows it, decompressed. Messages are made as they are taken: the work can be
 * spread over time, and `undefined` says that a part of it is done that gave no message. Throws as `decodeBatch`, before the first message, for what
 * cannot be taken apart.
 */
export function readPublications(
  body: Uint8Array,
  envelope: BatchEnvelope,
  schemaOf: SchemaLookup,
  limits: BatchLimits = BATCH_LIMITS,
): Iterable<MessageOrFault | undefined> {
  return envelope.codec === 'columns'
    ? publicationsInColumns(inOwnMemory(body), envelope, requireSchema(envelope, schemaOf), limits)
    : messagesOf(body, envelope, limits, ownParts());
}

function* publicationsInColumns(
  body: Uint8Array,
  envelope: BatchEnvelope,
  schema: readonly SchemaField[],
  { messagesMax, plainBytesMax }: BatchLimits,
): Generator<MessageOrFault | undefined> {
  const faults: ColumnFaults = new Map();
  const columns = yield* columnSteps(body, schema, messagesMax, plainBytesMax, 'relay', faults);
  checkTotal(columns.count, envelope);
  let place = 0;
  for (const message of messagesOfColumns(columns, envelope.sections)) yield faults.get(place++) ?? message;
}

/**
 * The envelope of a client's batch, before anything is made of what follows it. `plainBytes`: what the messages will take, so that
 * the client can be charged for them before. Throws BATCH_BAD, BATCH_TOO_LARGE, COMPRESSION_BAD.
 */
export function openPublications(
  bytes: Uint8Array,
  schemaOf: SchemaLookup,
  limits: BatchLimits = BATCH_LIMITS,
): { envelope: BatchEnvelope; plainBytes: number } {
  const envelope = decodeEnvelope(bytes, limits);
  const { codec, compression, plainSize, count, schemaId } = envelope;
  const packedBytes = packedBody(bytes, envelope).length;
  if (compression !== 'none' && plainSize > Math.max(RATIO_FREE_BYTES, packedBytes * COMPRESSION_RATIO_MAX)) {
    const message = `the batch would grow from ${packedBytes} to ${plainSize} bytes: more than ${COMPRESSION_RATIO_MAX} times`;
    throw new SightlineError('COMPRESSION_BAD', message);
  }
  // A column of equal values is three bytes: what counts is what it is as doubles.
  const fields = codec === 'columns' ? (schemaOf(schemaId)?.length ?? 0) : 0;
  return { envelope, plainBytes: Math.max(bytes.length, plainSize, fields * count * Float64Array.BYTES_PER_ELEMENT) };
}

/**
 * A batch of columns as typed arrays, without making objects. For `brief` use they may lie where those of the next batch will.
 * Throws as `decodeBatch` does; BATCH_BAD for another codec.
 */
export function decodeColumns(
  bytes: Uint8Array,
  schemaOf: SchemaLookup,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
  use: ColumnUse = 'own',
): { envelope: BatchEnvelope; columns: ColumnBatch } {
  const envelope = decodeBatchHeader(bytes, limits);
  if (envelope.codec !== 'columns') {
    throw new SightlineError('BATCH_BAD', `a batch of codec ${envelope.codec} has no columns`);
  }
  return { envelope, columns: readColumns(bytes, envelope, schemaOf, decompressors, limits, use) };
}

/** The messages of a batch of columns. Those of one topic share memory; a small batch of one topic stays as it is. */
export function* messagesOfColumns(
  columns: ColumnBatch,
  sections: readonly BatchSection[],
): Generator<BatchMessage, void, undefined> {
  const weakly = new WeakRef(columns);
  for (const { from, count } of chunksOf(columns, sections)) {
    const isWhole = count === columns.count;
    const chunk = isWhole ? columns : columns.copy(from, count);
    if (!isWhole) chunk.origin = { batch: weakly, from };
    for (let i = 0; i < count; i++) {
      yield { timeMs: chunk.timeMs(i), priority: chunk.priority(i), payload: Payload.row(chunk, i) };
    }
  }
}

/**
 * Neighbours that share memory. They are of one topic, which forgets them one after the other: what is kept beyond that is one
 * chunk for each topic at most.
 */
function* chunksOf(
  columns: ColumnBatch,
  sections: readonly BatchSection[],
): Generator<{ from: number; count: number }> {
  let from = 0;
  for (const { count } of sections) {
    const end = from + count;
    let bytes = 0;
    for (let i = from; i < end; i++) {
      const rowBytes = columns.rowBytes(i);
      if (i > from && bytes + rowBytes > CHUNK_BYTES) {
        yield { from, count: i - from };
        from = i;
        bytes = 0;
      }
      bytes += rowBytes;
    }
    yield { from, count: end - from };
    from = end;
  }
}

/** The columns of a batch whose envelope was read, and is one of columns. Throws as `decodeBatch`. */
export function readColumns(
  bytes: Uint8Array,
  envelope: BatchEnvelope,
  schemaOf: SchemaLookup,
  decompressors: Decompressors,
  limits: BatchLimits = BATCH_LIMITS,
  use: ColumnUse = 'own',
): ColumnBatch {
  const schema = requireSchema(envelope, schemaOf);
  const body = plainBody(bytes, envelope, decompressors);
  const columns = decodeColumnsBody(body, schema, limits.messagesMax, limits.plainBytesMax, use);
  checkTotal(columns.count, envelope);
  return columns;
}

/** Throws SCHEMA_UNKNOWN. */
function requireSchema({ schemaId }: BatchEnvelope, schemaOf: SchemaLookup): readonly SchemaField[] {
  const schema = schemaOf(schemaId);
  if (schema !== undefined) return schema;
  throw new SightlineError('SCHEMA_UNKNOWN', `schema ${schemaId} was not sent before`);
}

function readSections(view: DataView, limits: BatchLimits): BatchSection[] {
  const sectionCount = view.getUint16(6, true);
  if (sectionCount === 0) throw new SightlineError('BATCH_BAD', 'the batch has no sections');
  if (sectionCount > limits.sectionsMax) {
    throw new SightlineError(
      'BATCH_TOO_LARGE',
      `the batch claims ${sectionCount} sections of at most ${limits.sectionsMax}`,
    );
  }
  if (view.byteLength < envelopeBytes(sectionCount)) {
    throw new SightlineError('BATCH_BAD', `the envelope of ${sectionCount} sections is cut`);
  }
  const sections: BatchSection[] = [];
  for (let at = HEAD_BYTES; sections.length < sectionCount; at += SECTION_BYTES) {
    sections.push({
      topicId: view.getUint32(at, true),
      epoch: view.getUint32(at + 4, true),
      firstSeq: view.getFloat64(at + 8, true),
      count: view.getUint32(at + 16, true),
    });
  }
  return sections;
}

/** What follows the envelope of a batch, as it came. */
export function packedBody(bytes: Uint8Array, { sections }: BatchEnvelope): Uint8Array {
  return bytes.subarray(envelopeBytes(sections.length));
}

/** What follows the envelope, decompressed. Throws COMPRESSION_BAD. */
export function plainBody(bytes: Uint8Array, envelope: BatchEnvelope, decompressors: Decompressors): Uint8Array {
  const { compression, plainSize } = envelope;
  const rest = packedBody(bytes, envelope);
  const plain = compression === 'none' ? rest : decompress(rest, compression, plainSize, decompressors);
  checkPlainSize(plain, envelope);
  return plain;
}

/** Throws BATCH_BAD or COMPRESSION_BAD for a body that is not as long as the envelope says. */
export function checkPlainSize(plain: Uint8Array, { compression, plainSize }: BatchEnvelope): void {
  if (plain.length === plainSize) return;
  const code = compression === 'none' ? 'BATCH_BAD' : 'COMPRESSION_BAD';
  throw new SightlineError(code, `plain_size is ${plainSize}, the batch has ${plain.length} bytes`);
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
  view.setUint16(4, head.schemaId ?? 0, true);
  view.setUint16(6, head.sections.length, true);
  view.setUint32(8, plainSize, true);
  let at = HEAD_BYTES;
  for (const { topicId, epoch, firstSeq, count } of head.sections) {
    view.setUint32(at, topicId, true);
    view.setUint32(at + 4, epoch, true);
    view.setFloat64(at + 8, firstSeq, true);
    view.setUint32(at + 16, count, true);
    at += SECTION_BYTES;
  }
}

function encodeBody(
  head: BatchHead,
  messages: readonly BatchMessage[] | ColumnGatherer,
  before: number,
): Uint8Array<ArrayBuffer> {
  if (messages instanceof ColumnGatherer) return messages.encode(before);
  return head.codec === 'columns'
    ? gathered(head, messages).encode(before)
    : encodeMessages(head.codec, messages, before);
}

function gathered({ schema }: BatchHead, messages: readonly BatchMessage[]): ColumnGatherer {
  if (schema === undefined) throw new SightlineError('SCHEMA_UNKNOWN', 'columns need a schema');
  const gatherer = new ColumnGatherer(schema, BATCH_LIMITS.plainBytesMax);
  for (const [i, message] of messages.entries()) {
    if (gatherer.add(message)) continue;
    if (!gatherer.isFull) {
      throw new SightlineError('PAYLOAD_BAD', `message ${i} of the batch does not fit the schema of its topic`);
    }
    throw new SightlineError(
      'BATCH_TOO_LARGE',
      `${messages.length} messages in columns are more than ${BATCH_LIMITS.plainBytesMax} bytes`,
    );
  }
  return gatherer;
}

/** The batch of T2, with room for the envelope in front. */
function encodeMessages(
  codec: PayloadCodec,
  messages: readonly BatchMessage[],
  before: number,
): Uint8Array<ArrayBuffer> {
  const payloads = messages.map((message) => payloadBytes(message.payload, codec));
  const totalSize = payloads.reduce((sum, payload) => sum + MESSAGE_HEADER_BYTES + payload.length, 0);
  const out = new Uint8Array(before + HEADER_BYTES + totalSize);
  const view = viewOf(out);
  view.setUint32(before, messages.length, true);
  view.setUint32(before + 4, totalSize, true);
  let at = before + HEADER_BYTES;
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

/** Of a body: the bytes of a message at a place. */
type PartOf = (body: Uint8Array, at: number, size: number) => Uint8Array<ArrayBufferLike>;

const borrowedPart: PartOf = (body, at, size) => body.subarray(at, at + size);

/**
 * Parts that are kept for longer than the rest of their batch lie in memory of their own, neighbours together: else one byte
 * that a topic remembers would keep megabytes, which nobody has counted.
 */
function ownParts(): PartOf {
  let chunk: Uint8Array<ArrayBufferLike> = NO_BYTES;
  let chunkAt = 0;
  return (body, at, size) => {
    if (size > CHUNK_BYTES / 4) return body.slice(at, at + size);
    if (at < chunkAt || at + size > chunkAt + chunk.length) {
      // A small batch that is alone in its memory stays there.
      const isAlone = body.length <= CHUNK_BYTES && isTight(body);
      [chunk, chunkAt] = isAlone ? [body, 0] : [body.slice(at, at + CHUNK_BYTES), at];
    }
    return chunk.subarray(at - chunkAt, at - chunkAt + size);
  };
}

const NO_BYTES = new Uint8Array(0);
/** Memory of no use that bytes may keep beside them, and as much again as they take. */
const WASTE_BYTES_MAX = 1_024;

/** Whether memory is worth keeping for so many bytes of it. */
export function isWellUsed(memoryBytes: number, usedBytes: number): boolean {
  return memoryBytes <= 2 * usedBytes + WASTE_BYTES_MAX;
}

function isTight(bytes: Uint8Array): boolean {
  return isWellUsed(bytes.buffer.byteLength, bytes.length);
}

/** The same bytes where little else is kept with them: a WebSocket's messages lie in what was read at once, up to 64 KiB. */
export function inOwnMemory<T extends Uint8Array>(bytes: T): Uint8Array {
  return isTight(bytes) ? bytes : new Uint8Array(bytes);
}

/** Where a message lies in a body. */
interface Place {
  readonly timeMs: number;
  readonly priority: number;
  readonly at: number;
  readonly size: number;
}

/** Throws at once for what cannot be taken apart; what is wrong with one message alone stands in its place. */
function messagesOf(
  body: Uint8Array,
  envelope: BatchEnvelope,
  limits: BatchLimits,
  partOf = borrowedPart,
): Iterable<MessageOrFault> {
  return decodedMessages(body, placesOf(body, envelope, limits), envelope.codec, limits, partOf);
}

function* decodedMessages(
  body: Uint8Array,
  places: readonly Place[],
  codec: PayloadCodec,
  limits: BatchLimits,
  partOf: PartOf,
): Generator<MessageOrFault> {
  for (const [i, place] of places.entries()) yield decodeMessage(i, place, body, codec, limits, partOf);
}

function placesOf(body: Uint8Array, envelope: BatchEnvelope, limits: BatchLimits): Place[] {
  if (body.length < HEADER_BYTES) throw new SightlineError('BATCH_BAD', `the batch ends after ${body.length} bytes`);
  const view = viewOf(body);
  const count = view.getUint32(0, true);
  const totalSize = view.getUint32(4, true);
  checkCount(count, limits);
  checkTotal(count, envelope);
  if (totalSize !== body.length - HEADER_BYTES) {
    throw new SightlineError('BATCH_BAD', `total_size is ${totalSize}, ${body.length - HEADER_BYTES} bytes follow`);
  }
  const places: Place[] = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + MESSAGE_HEADER_BYTES > body.length)
      throw new SightlineError('BATCH_BAD', `message ${i} of ${count} is cut`);
    const timeMs = view.getFloat64(at, true);
    const priority = body[at + 8]!;
    const size = view.getUint32(at + 9, true);
    at += MESSAGE_HEADER_BYTES;
    // What it claims is not there, so that nothing behind it can be found either.
    if (at + size > body.length) {
      throw size > limits.messageBytesMax
        ? tooLarge(i, size, limits)
        : new SightlineError('BATCH_BAD', `message ${i} of ${count} is cut`);
    }
    places.push({ timeMs, priority, at, size });
    at += size;
  }
  if (at !== body.length) throw new SightlineError('BATCH_BAD', `${body.length - at} bytes follow the last message`);
  return places;
}

function decodeMessage(
  i: number,
  { timeMs, priority, at, size }: Place,
  body: Uint8Array,
  codec: PayloadCodec,
  limits: BatchLimits,
  partOf: PartOf,
): MessageOrFault {
  try {
    if (size > limits.messageBytesMax) throw tooLarge(i, size, limits);
    checkMessage(timeMs, priority);
    return { timeMs, priority, payload: decodePayload(partOf(body, at, size), codec, limits) };
  } catch (thrown) {
    return toSightlineError(thrown, 'PAYLOAD_BAD');
  }
}

function tooLarge(place: number, size: number, { messageBytesMax }: BatchLimits): SightlineError {
  return new SightlineError('BATCH_TOO_LARGE', `message ${place} claims ${size} bytes of at most ${messageBytesMax}`);
}

function decodePayload(bytes: Uint8Array, codec: PayloadCodec, { check }: BatchLimits): Payload {
  check?.(bytes, codec);
  if (codec === 'json') return Payload.json(bytes);
  return codec === 'msgpack' ? Payload.msgpack(bytes) : Payload.bytes(bytes);
}

/** The batch's own count has to be that of its sections. */
function checkTotal(count: number, envelope: BatchEnvelope): void {
  if (count === envelope.count) return;
  throw new SightlineError('BATCH_BAD', `the batch has ${count} messages, its sections ${envelope.count}`);
}

function checkSections(sections: readonly BatchSection[], count: number, { sectionsMax }: BatchLimits): void {
  const total = sections.reduce((sum, section) => sum + section.count, 0);
  if (sections.some((section) => section.count === 0))
    throw new SightlineError('BATCH_BAD', 'a section of no messages');
  if (total !== count) throw new SightlineError('BATCH_BAD', `${count} messages in sections of ${total}`);
  if (sections.length > sectionsMax) {
    throw new SightlineError('BATCH_TOO_LARGE', `${sections.length} sections of at most ${sectionsMax}`);
  }
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
