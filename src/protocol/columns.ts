import { SightlineError } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import { objectBuilder, OWN_COLUMNS } from './column-objects.ts';
import { ColumnReader, ColumnWriter } from './numeric-column.ts';
import { spreadMsgpack } from './msgpack-leaves.ts';
import { Payload } from './payload.ts';
import { FIELDS_MAX, isText, type Leaves, type Shape, shapeOf, spread } from './schema.ts';
import type { SchemaField } from './telemetry.ts';
import { parseJson, stringifyJson } from './wire-value.ts';

/**
 * The payload codec `columns`: the messages of a batch turned on their side, field by field. Times and priorities are the
 * first two columns, then come the fields of the schema in its order.
 */

const HEADER_BYTES = 8;
const TIME = 0;
const PRIORITY = 1;

export interface ColumnMessage {
  readonly timeMs: number;
  readonly priority: Priority;
  readonly payload: Payload;
}

/** A batch of columns as typed arrays, or a part of one, `count` long each. Objects are made when asked for. */
export class ColumnBatch {
  readonly count: number;
  readonly fields: readonly SchemaField[];
  /** All numbers of the whole batch, column after column: times, priorities, then the fields that are numbers or truth values (0, 1). */
  readonly values: Float64Array;
  /** The bytes that it was read from, kept by who may pass them on (`decodeColumns`). */
  body: Uint8Array | undefined;
  /** For a copy: what it is a part of, as long as that is there, so that what is whole can go on as it came. */
  origin: { readonly batch: WeakRef<ColumnBatch>; readonly from: number } | undefined;
  readonly #shape: Shape;
  readonly #texts: unknown[][];
  /** Messages of the whole batch, and the place of the first one of this part. */
  readonly #stride: number;
  readonly #from: number;
  #objects: readonly unknown[] | undefined;

  constructor(
    count: number,
    fields: readonly SchemaField[],
    values: Float64Array,
    texts: unknown[][],
    stride = count,
    from = 0,
  ) {
    this.count = count;
    this.fields = fields;
    this.values = values;
    this.#shape = shapeOf(fields);
    this.#texts = texts;
    this.#stride = stride;
    this.#from = from;
  }

  /** The publisher's times, Unix ms on the server's clock. */
  get times(): Float64Array {
    return this.#column(TIME);
  }

  get priorities(): Float64Array {
    return this.#column(PRIORITY);
  }

  timeMs(index: number): number {
    return this.values[TIME * this.#stride + this.#from + index]!;
  }

  priority(index: number): Priority {
    return this.values[PRIORITY * this.#stride + this.#from + index] as Priority;
  }

  /** `count` messages from the one at `from` on, as a batch over the same memory. */
  part(from: number, count: number): ColumnBatch {
    if (from === 0 && count === this.count) return this;
    return new ColumnBatch(count, this.fields, this.values, this.#texts, this.#stride, this.#from + from);
  }

  /** Of all fields, as `imu.accel.0`. */
  get paths(): readonly string[] {
    return this.#shape.paths;
  }

  /** The numbers of a field (`imu.accel.0`); those of a truth value are 0 and 1. A view: not a copy. */
  column(path: string): Float64Array | undefined {
    const index = this.#shape.columnOf.get(path);
    return index === undefined ? undefined : this.#column(OWN_COLUMNS + index);
  }

  /** The values of a field that is no number. */
  texts(path: string): readonly unknown[] | undefined {
    const index = this.#shape.textOf.get(path);
    const texts = index === undefined ? undefined : this.#texts[index];
    return texts?.length === this.count ? texts : texts?.slice(this.#from, this.#from + this.count);
  }

  /** The messages' values as plain objects, made when first asked for; what texts hold beside strings is shared by them. */
  objects(): readonly unknown[] {
    return (this.#objects ??= objectBuilder(this.#shape)(
      this.values,
      this.#texts,
      this.#stride,
      this.#from,
      this.count,
    ));
  }

  /** One of the messages' values. */
  object(index: number): unknown {
    return this.part(index, 1).objects()[0];
  }

  /** What a message takes: its time, its priority and its leaves, numbers as doubles. */
  rowBytes(index: number): number {
    let bytes = (this.values.length / this.#stride) * 8;
    for (const column of this.#texts) bytes += textBytes(column[this.#from + index]);
    return bytes;
  }

  /** `count` messages from the one at `from` on, in memory of their own. */
  copy(from: number, count: number): ColumnBatch {
    const width = this.values.length / this.#stride;
    const values = new Float64Array(width * count);
    for (let column = 0, at = 0; column < width; column++) {
      const start = column * this.#stride + this.#from + from;
      for (let i = start; i < start + count; i++) values[at++] = this.values[i]!;
    }
    const texts = this.#texts.map((column) => column.slice(this.#from + from, this.#from + from + count));
    return new ColumnBatch(count, this.fields, values, texts);
  }

  /** Puts the leaves of a message where `spread` would put them. */
  copyLeaves(index: number, { values, texts }: Leaves): void {
    const stride = this.#stride;
    let at = OWN_COLUMNS * stride + this.#from + index;
    for (let i = 0; at < this.values.length; i++, at += stride) values[i] = this.values[at]!;
    for (const [i, column] of texts.entries()) column.push(this.#texts[i]![this.#from + index]);
  }

  #column(index: number): Float64Array {
    const start = index * this.#stride + this.#from;
    if (this.values !== scratch || this.count > 1) return this.values.subarray(start, start + this.count);
    return (cells[start] ??= scratch.subarray(start, start + 1));
  }
}

/** Rows that a gatherer has room for at first. */
const ROWS_MIN = 16;
/** Those of a gatherer that has handed out what it had are the next one's: for one message alone they would be most of what is allocated. */
const SPARE_VALUES_MAX = 65_536;
const NO_VALUES = new Float64Array(0);
let spareRows = NO_VALUES;
/** A message whose leaves are being taken out: whether it fits shows at the end. */
const scratchRow = new Float64Array(FIELDS_MAX);

/** Messages on their way into columns: the leaves of each are taken out once, row by row. */
export class ColumnGatherer {
  readonly #fields: readonly SchemaField[];
  readonly #shape: Shape;
  readonly #width: number;
  readonly #countMax: number;
  readonly #texts: unknown[][];
  /** Times, priorities and the fields that are numbers or truth values, one message after the other. */
  #rows = NO_VALUES;
  #count = 0;
  /** All messages so far are the first ones of this batch, and their leaves are still there. */
  #source: ColumnBatch | undefined;

  /** Takes messages until their columns would have more than `plainBytesMax` bytes as doubles. */
  constructor(fields: readonly SchemaField[], plainBytesMax: number) {
    this.#fields = fields;
    this.#shape = shapeOf(fields);
    this.#width = OWN_COLUMNS + this.#shape.columns;
    this.#countMax = Math.floor(plainBytesMax / ((this.#width + this.#shape.texts) * 8));
    this.#texts = Array.from({ length: this.#shape.texts }, (): unknown[] => []);
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#countMax;
  }

  /** False, and nothing has changed: the message does not fit the schema, or there is no room for it. */
  add(message: ColumnMessage): boolean {
    if (this.isFull) return false;
    if (this.#goesOn(message)) {
      this.#count++;
      return true;
    }
    this.#takeOver();
    return this.#addRow(message);
  }

  /** The message is the next one of a batch that came in this layout: then that batch may go out as it came. */
  #goesOn({ timeMs, priority, payload: { row } }: ColumnMessage): boolean {
    if (row === undefined) return false;
    const { origin } = row.batch;
    const batch = origin === undefined ? row.batch : origin.batch.deref();
    const index = (origin?.from ?? 0) + row.index;
    if (batch === undefined || index !== this.#count || batch.fields !== this.#fields) return false;
    if (batch.body === undefined || (this.#count > 0 && batch !== this.#source)) return false;
    if (batch.timeMs(index) !== timeMs || batch.priority(index) !== priority) return false;
    this.#source = batch;
    return true;
  }

  /** Takes the leaves out of the batch that it was up to now. */
  #takeOver(): void {
    const source = this.#source;
    if (source === undefined) return;
    const count = this.#count;
    this.#source = undefined;
    this.#count = 0;
    for (let i = 0; i < count; i++) {
      this.#addRow({ timeMs: source.timeMs(i), priority: source.priority(i), payload: Payload.row(source, i) });
    }
  }

  #addRow({ timeMs, priority, payload }: ColumnMessage): boolean {
    if (!this.#take(payload, { values: scratchRow, texts: this.#texts })) {
      for (const column of this.#texts) column.length = this.#count;
      return false;
    }
    const at = this.#count * this.#width;
    if (at + this.#width > this.#rows.length) this.#grow();
    const rows = this.#rows;
    rows[at + TIME] = timeMs;
    rows[at + PRIORITY] = priority;
    for (let i = OWN_COLUMNS; i < this.#width; i++) rows[at + i] = scratchRow[i - OWN_COLUMNS]!;
    this.#count++;
    return true;
  }

  /** The body of a batch, with `before` bytes left free in front. The gatherer has nothing after that. */
  encode(before: number): Uint8Array<ArrayBuffer> {
    const out = this.#source?.count === this.#count ? this.#asItCame(before) : this.#written(before);
    if (this.#rows.length > spareRows.length && this.#rows.length <= SPARE_VALUES_MAX) spareRows = this.#rows;
    this.#rows = NO_VALUES;
    this.#source = undefined;
    this.#count = 0;
    for (const column of this.#texts) column.length = 0;
    return out;
  }

  #asItCame(before: number): Uint8Array<ArrayBuffer> {
    const body = this.#source!.body!;
    const out = new Uint8Array(before + body.length);
    out.set(body, before);
    return out;
  }

  #written(before: number): Uint8Array<ArrayBuffer> {
    this.#takeOver();
    const count = this.#count;
    const runs = this.#texts.map(runsOf);
    const textBytes = runs.flat().reduce((sum, run) => sum + 6 + run.json.length, 0);
    const writer = new ColumnWriter(count, OWN_COLUMNS + this.#fields.length, textBytes);
    for (let column = 0; column < OWN_COLUMNS; column++) writer.numbers(this.#rows, column, this.#width);
    let column = OWN_COLUMNS;
    let text = 0;
    for (const { kind } of this.#fields) {
      if (kind === 'json') writer.texts(runs[text++]!);
      else writer.numbers(this.#rows, column++, this.#width);
    }
    const out = new Uint8Array(before + HEADER_BYTES + writer.headBytes + writer.wordBytes);
    const view = new DataView(out.buffer, before);
    view.setUint32(0, count, true);
    view.setUint32(4, writer.headBytes, true);
    writer.copyTo(out, before + HEADER_BYTES);
    return out;
  }

  #take(payload: Payload, leaves: Leaves): boolean {
    const { row } = payload;
    if (row === undefined || row.batch.fields !== this.#fields) return takeLeaves(this.#shape, payload, leaves);
    row.batch.copyLeaves(row.index, leaves);
    return true;
  }

  /** A message by itself, as a batch of its own; undefined: it does not fit. */
  static row(fields: readonly SchemaField[], message: ColumnMessage): ColumnBatch | undefined {
    const shape = shapeOf(fields);
    const values = new Float64Array(OWN_COLUMNS + shape.columns);
    const texts = Array.from({ length: shape.texts }, (): unknown[] => []);
    if (!takeLeaves(shape, message.payload, { values: scratchRow, texts })) return undefined;
    for (const column of texts) {
      // Half a character has no place in UTF-8.
      if (typeof column[0] === 'string' && !column[0].isWellFormed()) return undefined;
      // The program may go on and fill its empty lists.
      column[0] = emptied(column[0]);
    }
    values[TIME] = message.timeMs;
    values[PRIORITY] = message.priority;
    values.set(scratchRow.subarray(0, shape.columns), OWN_COLUMNS);
    return new ColumnBatch(1, fields, values, texts);
  }

  #grow(): void {
    const wanted = Math.max(1, Math.min(this.#countMax, Math.max(ROWS_MIN, this.#count * 2))) * this.#width;
    const isSpare = spareRows.length >= wanted;
    const rows = isSpare ? spareRows : new Float64Array(wanted);
    if (isSpare) spareRows = NO_VALUES;
    rows.set(this.#rows);
    this.#rows = rows;
  }
}

/** How long a batch of columns is of use: as long as somebody has it; till the next one is read; or to be passed on as it came. */
export type ColumnUse = 'own' | 'brief' | 'relay';

/** By their places: messages that are none, for who takes each by itself. The others are as sound as in any batch. */
export type ColumnFaults = Map<number, SightlineError>;

/** Numbers of most batches that are made into objects at once. */
const SCRATCH_VALUES = 65_536;
let scratch = new Float64Array(SCRATCH_VALUES);
/** Views of one number there, by its place: columns of a batch of one message, made once. */
let cells: Float64Array[] = [];

/** A program may have handed it to another thread, by a view that was lent to it. */
function briefValues(): Float64Array {
  if (scratch.length === 0) {
    scratch = new Float64Array(SCRATCH_VALUES);
    cells = [];
  }
  return scratch;
}

/** A body to be passed on with more values than this is decoded in steps: a column of numbers, so many bytes of texts, or so many messages that are checked. */
const AT_ONCE_VALUES = 16_384;
const STEP_TEXT_BYTES = 16_384;
const STEP_ROWS = 512;

/**
 * A body that a `ColumnGatherer` or a stranger wrote. `countMax` and `plainBytesMax` (of the columns as doubles) are held before
 * anything is allocated. For `brief` use the numbers may lie where those of the next batch will: whoever makes objects of them
 * at once is spared the memory. Throws BATCH_BAD, BATCH_TOO_LARGE, and PAYLOAD_BAD for texts that are none.
 */
export function decodeColumns(
  body: Uint8Array,
  fields: readonly SchemaField[],
  countMax: number,
  plainBytesMax: number,
  use: ColumnUse = 'own',
): ColumnBatch {
  const steps = columnSteps(body, fields, countMax, plainBytesMax, use);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/**
 * The same step by step: for `relay` use each of them is short, however large the batch, and others may be decoded in between. For this use the body
 * is kept. With `faults` what is wrong with one message alone is put there, and not thrown.
 */
export function* columnSteps(
  body: Uint8Array,
  fields: readonly SchemaField[],
  countMax: number,
  plainBytesMax: number,
  use: ColumnUse,
  faults?: ColumnFaults,
): Generator<undefined, ColumnBatch> {
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
  const isSlow = use === 'relay' && (OWN_COLUMNS + shape.columns + shape.texts) * count > AT_ONCE_VALUES;
  const rowsMax = isSlow ? STEP_ROWS : count;
  const reader = new ColumnReader(body.subarray(HEADER_BYTES, words), body.subarray(words), count, isSlow);
  const numbers = (OWN_COLUMNS + shape.columns) * count;
  const values = use === 'brief' && numbers <= SCRATCH_VALUES ? briefValues() : new Float64Array(numbers);
  const texts: unknown[][] = [];
  reader.columns(values, 0, OWN_COLUMNS);
  let column = OWN_COLUMNS;
  for (const [i, neighbours] of shape.runs.entries()) {
    if (i > 0) {
      const read: unknown[] = [];
      texts.push(read);
      while (!readTexts(reader, read, isSlow ? STEP_TEXT_BYTES : Infinity, faults)) yield;
    }
    const step = isSlow ? 1 : neighbours;
    for (const end = column + neighbours; column < end; column += step) {
      reader.columns(values, column, step);
      if (isSlow) yield;
    }
  }
  reader.end();
  const batch = new ColumnBatch(count, fields, values, texts);
  for (let from = 0; from < count; from += rowsMax) {
    checkRows(batch, from, Math.min(count, from + rowsMax), use, faults);
    if (isSlow) yield;
  }
  if (use === 'relay') batch.body = body;
  return batch;
}

function takeLeaves({ root }: Shape, payload: Payload, leaves: Leaves): boolean {
  const { packed } = payload;
  if (packed !== undefined) {
    const before = leaves.texts[0]?.length ?? 0;
    if (spreadMsgpack(root, packed, leaves, 0, 1)) return true;
    // Texts that were taken before the misfit showed.
    for (const column of leaves.texts) column.length = before;
  }
  return spread(root, payload.value(), leaves, 0, 1);
}

/** How much of a body that a `ColumnGatherer` wrote is packed bits; the rest is mostly texts. */
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

/** With a little room where that is cheaper than looking at each character. */
const SHORT_TEXT_CHARS = 64;

function textBytes(text: unknown): number {
  if (typeof text !== 'string') return 8;
  return text.length <= SHORT_TEXT_CHARS ? 8 + 3 * text.length : stringifyJson(text).length;
}

/** Objects and lists among texts are empty ones: a new one of them. */
function emptied(text: unknown): unknown {
  if (typeof text !== 'object' || text === null) return text;
  return Array.isArray(text) ? [] : {};
}

/** Objects and lists among texts are empty ones. */
function sameText(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  return Array.isArray(a) === Array.isArray(b);
}

/** False: the column is not at its end. */
function readTexts(
  reader: ColumnReader,
  column: unknown[],
  bytesMax: number,
  faults: ColumnFaults | undefined,
): boolean {
  return reader.texts((count, json) => {
    let value: unknown = null;
    try {
      value = readText(json);
    } catch (thrown) {
      for (let i = 0; i < count; i++) fault(faults, column.length + i, thrown as SightlineError);
    }
    for (let i = 0; i < count; i++) column.push(value);
  }, bytesMax);
}

/** A mode, a state, a name: most texts of telemetry are short and were there before. */
const KNOWN_BYTES_MAX = 32;
const KNOWN_TEXTS = 256;
const knownTexts: ({ readonly json: Uint8Array; readonly text: string } | undefined)[] = [];

/** Throws PAYLOAD_BAD. */
function readText(json: Uint8Array): unknown {
  if (json.length > KNOWN_BYTES_MAX) return parsedText(json);
  const place = (json.length * 31 + json[json.length >>> 1]! * 17 + json.at(-2)!) % KNOWN_TEXTS;
  const known = knownTexts[place];
  if (known !== undefined && isSame(known.json, json)) return known.text;
  const text = parsedText(json);
  // Only strings: lists and objects, though empty, are their owner's.
  if (typeof text === 'string') knownTexts[place] = { json: json.slice(), text };
  return text;
}

function parsedText(json: Uint8Array): unknown {
  const value = parseJson(json);
  if (isText(value)) return value;
  throw new SightlineError('PAYLOAD_BAD', 'a text of columns has leaves of its own, or is a number');
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The first fault of a message is the one that is told: others are not even made. */
function fault(faults: ColumnFaults | undefined, place: number, why: SightlineError | string): void {
  if (faults?.has(place)) return;
  const error = typeof why === 'string' ? new SightlineError('BATCH_BAD', why) : why;
  if (faults === undefined) throw error;
  faults.set(place, error);
}

/** Truth values that are none would not be the same as objects and as columns: one who only reads need not care, one who passes them on does. */
function checkRows(
  batch: ColumnBatch,
  from: number,
  to: number,
  use: ColumnUse,
  faults: ColumnFaults | undefined,
): void {
  for (let i = from; i < to; i++) {
    const [timeMs, priority] = [batch.timeMs(i), batch.priority(i)];
    if (!Number.isFinite(timeMs)) fault(faults, i, `timestamp ${timeMs} is no time`);
    if (!Number.isInteger(priority) || priority < 0 || priority > 3) {
      fault(faults, i, `priority ${priority} is not 0 to 3`);
    }
  }
  if (use !== 'relay') return;
  for (const { path, kind } of batch.fields) {
    if (kind !== 'bool') continue;
    const column = batch.column(path)!;
    for (let i = from; i < to; i++) {
      const value = column[i];
      if (value !== 0 && value !== 1) fault(faults, i, `truth value ${value} of "${path}" is not 0 or 1`);
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
