import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { objectBuilder } from './column-objects.ts';
import { ColumnReader, ColumnWriter } from './numeric-column.ts';
import { spreadMsgpack } from './msgpack-leaves.ts';
import type { Payload } from './payload.ts';
import { type Leaves, type Shape, shapeOf, spread } from './schema.ts';
import type { SchemaField } from './telemetry.ts';
import { parseJson, stringifyJson } from './wire-value.ts';

/**
 * The payload codec `columns`: the messages of a batch turned on their side, field by field. Times and priorities are the
 * first two columns, then come the fields of the schema in its order.
 */

const HEADER_BYTES = 8;
const TIME = 0;
const PRIORITY = 1;
/** Columns in front of those of the schema. */
const OWN_COLUMNS = 2;

export interface ColumnMessage {
  readonly timeMs: number;
  readonly priority: Priority;
  readonly payload: Payload;
}

/** A batch of columns as typed arrays, `count` long each. Objects are made when asked for. */
export class ColumnBatch {
  readonly count: number;
  readonly fields: readonly SchemaField[];
  /** All numbers, column after column: times, priorities, then the fields that are numbers or truth values (0, 1). */
  readonly values: Float64Array;
  readonly #texts: unknown[][];

  constructor(count: number, fields: readonly SchemaField[], values: Float64Array, texts: unknown[][]) {
    this.count = count;
    this.fields = fields;
    this.values = values;
    this.#texts = texts;
  }

  /** The publisher's times, Unix ms on the server's clock. */
  get times(): Float64Array {
    return this.#column(TIME);
  }

  get priorities(): Float64Array {
    return this.#column(PRIORITY);
  }

  /** The numbers of a field (`imu.accel.0`); those of a truth value are 0 and 1. A view: not a copy. */
  column(path: string): Float64Array | undefined {
    const index = shapeOf(this.fields).columnOf.get(path);
    return index === undefined ? undefined : this.#column(OWN_COLUMNS + index);
  }

  /** The values of a field that is no number. */
  texts(path: string): readonly unknown[] | undefined {
    const index = shapeOf(this.fields).textOf.get(path);
    return index === undefined ? undefined : this.#texts[index];
  }

  /** The messages' values as plain objects; what texts hold beside strings is shared by them. */
  objects(): unknown[] {
    return objectBuilder(shapeOf(this.fields))(this.values.subarray(OWN_COLUMNS * this.count), this.#texts, this.count);
  }

  #column(index: number): Float64Array {
    return this.values.subarray(index * this.count, (index + 1) * this.count);
  }
}

/**
 * Messages that all fit the schema (`fits`) as a batch's body, with `before` bytes left free in front. Throws PAYLOAD_BAD
 * when one does not fit, BATCH_TOO_LARGE when the columns have more than `plainBytesMax` bytes as doubles.
 */
export function encodeColumns(
  fields: readonly SchemaField[],
  messages: readonly ColumnMessage[],
  before: number,
  plainBytesMax: number,
): Uint8Array<ArrayBuffer> {
  const shape = shapeOf(fields);
  const count = messages.length;
  checkSize(count, shape.columns + shape.texts, plainBytesMax);
  const values = new Float64Array((OWN_COLUMNS + shape.columns) * count);
  const texts = Array.from({ length: shape.texts }, (): unknown[] => []);
  const leaves = { values, texts };
  for (const [i, { timeMs, priority, payload }] of messages.entries()) {
    values[TIME * count + i] = timeMs;
    values[PRIORITY * count + i] = priority;
    if (!takeLeaves(shape, payload, leaves, i, count)) {
      throw new SightlineError('PAYLOAD_BAD', `message ${i} of the batch does not fit the schema of its topic`);
    }
  }
  const runs = texts.map(runsOf);
  const textBytes = runs.flat().reduce((sum, run) => sum + 6 + run.json.length, 0);
  const writer = new ColumnWriter(count, OWN_COLUMNS + fields.length, textBytes);
  for (let column = 0; column < OWN_COLUMNS; column++) writer.numbers(values, column * count);
  let column = OWN_COLUMNS;
  let text = 0;
  for (const { kind } of fields) {
    if (kind === 'json') writer.texts(runs[text++]!);
    else writer.numbers(values, column++ * count);
  }
  const out = new Uint8Array(before + HEADER_BYTES + writer.headBytes + writer.wordBytes);
  const view = new DataView(out.buffer, before);
  view.setUint32(0, count, true);
  view.setUint32(4, writer.headBytes, true);
  writer.copyTo(out, before + HEADER_BYTES);
  return out;
}

/**
 * A body that `encodeColumns` or a stranger wrote. `countMax` and `plainBytesMax` (of the columns as doubles) are held before
 * anything is allocated. Throws BATCH_BAD, BATCH_TOO_LARGE, and PAYLOAD_BAD for texts that are not JSON.
 */
export function decodeColumns(
  body: Uint8Array,
  fields: readonly SchemaField[],
  countMax: number,
  plainBytesMax: number,
): ColumnBatch {
  if (body.length < HEADER_BYTES) throw new SightlineError('BATCH_BAD', `columns end after ${body.length} bytes`);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const count = view.getUint32(0, true);
  const headBytes = view.getUint32(4, true);
  const wordBytes = body.length - HEADER_BYTES - headBytes;
  if (count === 0) throw new SightlineError('BATCH_BAD', 'the batch has no messages');
  if (count > countMax) {
    throw new SightlineError('BATCH_TOO_LARGE', `the batch claims ${count} messages of at most ${countMax}`);
  }
  if (wordBytes < 0 || headBytes % 4 !== 0 || wordBytes % 4 !== 0) {
    throw new SightlineError('BATCH_BAD', `heads_size ${headBytes} does not fit ${body.length} bytes`);
  }
  const shape = shapeOf(fields);
  checkSize(count, shape.columns + shape.texts, plainBytesMax);
  const words = HEADER_BYTES + headBytes;
  const reader = new ColumnReader(body.subarray(HEADER_BYTES, words), body.subarray(words), count);
  const values = new Float64Array((OWN_COLUMNS + shape.columns) * count);
  const texts: unknown[][] = [];
  for (let column = 0; column < OWN_COLUMNS; column++) reader.numbers(values, column * count);
  let column = OWN_COLUMNS;
  for (const { kind } of fields) {
    if (kind === 'json') texts.push(readTexts(reader));
    else reader.numbers(values, column++ * count);
  }
  reader.end();
  checkOwn(values, count);
  return new ColumnBatch(count, fields, values, texts);
}

/** Whether a message fits the schema of its topic; without making its value when it came as MessagePack. */
export function payloadFits(fields: readonly SchemaField[], payload: Payload): boolean {
  const { root } = shapeOf(fields);
  const { packed } = payload;
  return (
    (packed !== undefined && spreadMsgpack(root, packed, undefined, 0, 1)) ||
    spread(root, payload.value(), undefined, 0, 1)
  );
}

function takeLeaves({ root }: Shape, payload: Payload, leaves: Leaves, i: number, count: number): boolean {
  const at = OWN_COLUMNS * count + i;
  const { packed } = payload;
  if (packed !== undefined) {
    if (spreadMsgpack(root, packed, leaves, at, count)) return true;
    // Texts that were taken before the misfit showed.
    for (const column of leaves.texts) column.length = i;
  }
  return spread(root, payload.value(), leaves, at, count);
}

/** How much of a body that `encodeColumns` wrote is packed bits; the rest is mostly texts. */
export function packedShare(body: Uint8Array): number {
  const headBytes = new DataView(body.buffer, body.byteOffset, HEADER_BYTES).getUint32(4, true);
  return 1 - (HEADER_BYTES + headBytes) / body.length;
}

function runsOf(column: readonly unknown[]): { count: number; json: Uint8Array }[] {
  const runs: { count: number; json: Uint8Array }[] = [];
  let from = 0;
  for (let i = 1; i <= column.length; i++) {
    if (i < column.length && sameText(column[i], column[from])) continue;
    runs.push({ count: i - from, json: stringifyJson(column[from]) });
    from = i;
  }
  return runs;
}

/** Objects and lists among texts are empty ones. */
function sameText(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  return Array.isArray(a) === Array.isArray(b);
}

function readTexts(reader: ColumnReader): unknown[] {
  const column: unknown[] = [];
  reader.texts((count, json) => {
    const value = parseJson(json);
    for (let i = 0; i < count; i++) column.push(value);
  });
  return column;
}

function checkOwn(values: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) {
    if (!Number.isFinite(values[TIME * count + i])) {
      throw new SightlineError('BATCH_BAD', `timestamp ${values[TIME * count + i]} is no time`);
    }
    const priority = values[PRIORITY * count + i]!;
    if (!Number.isInteger(priority) || priority < 0 || priority > 3) {
      throw new SightlineError('BATCH_BAD', `priority ${priority} is not 0 to 3`);
    }
  }
}

/** A column of equal values is three bytes: what it takes as doubles is what has to be held to a limit. */
function checkSize(count: number, leaves: number, plainBytesMax: number): void {
  const bytes = (OWN_COLUMNS + leaves) * count * 8;
  if (bytes > plainBytesMax) {
    throw new SightlineError(
      'BATCH_TOO_LARGE',
      `${count} messages in columns are ${bytes} bytes of at most ${plainBytesMax}`,
    );
  }
}
