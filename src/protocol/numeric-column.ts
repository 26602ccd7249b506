import { SightlineError } from '../base/errors.ts';

/**
 * One column of numbers in its encodings, as `docs/protocol.md` lays them down: numbers that are decimals are scaled to whole
 * ones and kept as differences of few bits; others as doubles. What comes out is the very same double that went in.
 *
 * Bits are taken out of 32-bit words in the machine's order, which is little-endian wherever Node and browsers run.
 */

const CONSTANT = 0;
const OFFSETS = 1;
const DELTAS = 2;
const DOUBLES = 3;
const XORS = 4;
const TEXTS = 5;
const FORM_MASK = 0x07;
const EXCEPTIONS_FLAG = 0x08;
const WIDTH_MASK = 0x3f;
const WIDTH_MAX = 31;
const DECIMALS_MAX = 15;
/** Of the column's values, one in so many may be an exception; with more of them doubles are cheaper. */
const EXCEPTIONS_SHARE = 8;
/** From so many bits on, the upper halves are not worth unpacking: the column goes as plain doubles. */
const XOR_BITS_MAX = 28;

/** Of a constant with a base of 8 bytes. */
const CONSTANT_BYTES_MAX = 10;

const POWERS = Array.from({ length: DECIMALS_MAX + 1 }, (_, decimals) => 10 ** decimals);

/** Room for the words of most batches, their heads and their rows is made once. */
const SCRATCH_WORDS = 65_536;
const SCRATCH_HEAD_BYTES = 32_768;
const SCRATCH_ROWS = 1_024;

interface Words {
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  readonly halfWords: Uint16Array;
}

function wordsOf(count: number): Words {
  const words = new Uint32Array(count);
  return { words, bytes: new Uint8Array(words.buffer), halfWords: new Uint16Array(words.buffer) };
}

/** One column as it is written: its values, the same as pairs of words, as whole numbers, and their codes. */
interface Rows {
  readonly values: Float64Array;
  readonly halves: Uint32Array;
  readonly whole: Float64Array;
  readonly codes: Uint32Array;
}

function rowsOf(count: number): Rows {
  const values = new Float64Array(count);
  const halves = new Uint32Array(values.buffer);
  return { values, halves, whole: new Float64Array(count), codes: new Uint32Array(count) };
}

const scratchWords = wordsOf(SCRATCH_WORDS);
const scratchHeads = new Uint8Array(SCRATCH_HEAD_BYTES);
const scratchRows = rowsOf(SCRATCH_ROWS);

/** Writes heads (bytes) and words of a batch's columns, where those of the next batch will be: `copyTo` takes them away. */
export class ColumnWriter {
  readonly #heads: Uint8Array;
  readonly #headView: DataView;
  readonly #words: Uint32Array;
  readonly #count: number;
  /** The column in work. */
  readonly #rows: Rows;
  #exceptionCount = 0;
  #head = 0;
  #word = 0;

  /** `count` values in each of at most `columns` columns; `textBytes`: room for text beside them. */
  constructor(count: number, columns: number, textBytes: number) {
    const exceptionBytes = 2 + Math.floor(count / EXCEPTIONS_SHARE) * 10;
    const headBytesMax = columns * (10 + exceptionBytes) + textBytes + 4;
    const wordsMax = columns * count * 2;
    this.#heads = headBytesMax <= SCRATCH_HEAD_BYTES ? scratchHeads : new Uint8Array(headBytesMax);
    this.#headView = new DataView(this.#heads.buffer);
    this.#words = wordsMax <= SCRATCH_WORDS ? scratchWords.words : new Uint32Array(wordsMax);
    this.#rows = count <= SCRATCH_ROWS ? scratchRows : rowsOf(count);
    this.#count = count;
  }

  get headBytes(): number {
    return (this.#head + 3) & ~3;
  }

  get wordBytes(): number {
    return this.#word * 4;
  }

  copyTo(out: Uint8Array, at: number): void {
    out.set(this.#heads.subarray(0, this.#head), at);
    out.set(new Uint8Array(this.#words.buffer, 0, this.wordBytes), at + this.headBytes);
  }

  /** `values[from]` and so on, `step` apart. */
  numbers(values: Float64Array, from: number, step: number): void {
    const column = this.#rows.values;
    for (let i = 0, at = from; i < this.#count; i++, at += step) column[i] = values[at]!;
    const decimals = this.#scale();
    if (decimals === undefined || !this.#wholeNumbers(decimals)) this.#doubles();
  }

  /** Runs of equal texts: each so many messages, then its JSON in UTF-8. */
  texts(runs: readonly { count: number; json: Uint8Array }[]): void {
    this.#form(TEXTS, 0, 0);
    this.#u16(runs.length);
    for (const { count, json } of runs) {
      this.#u16(count);
      this.#headView.setUint32(this.#head, json.length, true);
      this.#heads.set(json, this.#head + 4);
      this.#head += 4 + json.length;
    }
  }

  /**
   * Fills `whole` with the values times a power of ten that makes whole numbers of them all, and gives its exponent. What
   * is no decimal (-0, NaN, the infinities) repeats its neighbour and is an exception; too many of them, or a true double,
   * and there is none.
   */
  #scale(): number | undefined {
    const { values, whole } = this.#rows;
    const count = this.#count;
    let decimals = 0;
    let power = 1;
    let exceptions = 0;
    for (let i = 0; i < count; i++) {
      const value = values[i]!;
      // Any whole number will do that gives the value back; 0 gives back -0 too, as far as === can tell.
      const scaled = Math.floor(value * power + 0.5);
      if (
        scaled / power === value &&
        Math.abs(scaled) <= Number.MAX_SAFE_INTEGER &&
        (scaled !== 0 || Object.is(value, 0))
      ) {
        whole[i] = scaled;
        continue;
      }
      if (isException(value)) {
        if (++exceptions * EXCEPTIONS_SHARE > count) return undefined;
        whole[i] = i === 0 ? Number.NaN : whole[i - 1]!;
        continue;
      }
      if (++decimals > DECIMALS_MAX) return undefined;
      power = POWERS[decimals]!;
      i = -1;
      exceptions = 0;
    }
    this.#exceptionCount = exceptions;
    if (exceptions > 0 && Number.isNaN(whole[0])) {
      // Those before the first whole number take its value; a column of exceptions alone was given up above.
      const first = whole.findIndex((value) => !Number.isNaN(value));
      whole.fill(whole[first]!, 0, first);
    }
    return decimals;
  }

  #wholeNumbers(decimals: number): boolean {
    const { whole } = this.#rows;
    const count = this.#count;
    let min = whole[0]!;
    let max = min;
    let step = 0;
    for (let i = 1; i < count; i++) {
      const value = whole[i]!;
      if (value < min) min = value;
      else if (value > max) max = value;
      const delta = value - whole[i - 1]!;
      // Zigzag, in doubles since it may be wide: 0, -1, 1, -2 become 0, 1, 2, 3.
      const zigzag = delta < 0 ? -2 * delta - 1 : 2 * delta;
      if (zigzag > step) step = zigzag;
    }
    const offsetWidth = bitsOf(max - min);
    const deltaWidth = bitsOf(step);
    if (Math.min(offsetWidth, deltaWidth) > WIDTH_MAX) return false;
    const useDeltas = deltaWidth < offsetWidth;
    const width = quickWidth(useDeltas ? deltaWidth : offsetWidth);
    const form = width === 0 ? CONSTANT : useDeltas ? DELTAS : OFFSETS;
    const flag = this.#exceptionCount > 0 ? EXCEPTIONS_FLAG : 0;
    this.#form(form | flag, decimals, width, useDeltas ? whole[0]! : min);
    if (flag !== 0) this.#exceptions();
    if (form === DELTAS) this.#deltas(width);
    else if (form === OFFSETS) this.#offsets(min, width);
    return true;
  }

  #offsets(min: number, width: number): void {
    const { whole, codes } = this.#rows;
    const count = this.#count;
    for (let i = 0; i < count; i++) codes[i] = whole[i]! - min;
    this.#pack(count, width);
  }

  #deltas(width: number): void {
    const { whole, codes } = this.#rows;
    const count = this.#count;
    for (let i = 1; i < count; i++) {
      const delta = whole[i]! - whole[i - 1]!;
      codes[i - 1] = (delta << 1) ^ (delta >> 31);
    }
    this.#pack(count - 1, width);
  }

  #exceptions(): void {
    const { values } = this.#rows;
    this.#u16(this.#exceptionCount);
    for (let i = 0; i < this.#count; i++) {
      const value = values[i]!;
      if (!isException(value)) continue;
      this.#u16(i);
      this.#headView.setFloat64(this.#head, value, true);
      this.#head += 8;
    }
  }

  /** True doubles: one for all, the exclusive or of neighbours where their upper halves agree, or plainly. */
  #doubles(): void {
    const { values, halves, codes } = this.#rows;
    const [first, end] = [values[0]!, 2 * this.#count];
    let differing = 0;
    let differingLow = 0;
    for (let i = 2; i < end; i += 2) {
      differingLow |= halves[i]! ^ halves[i - 2]!;
      differing |= halves[i + 1]! ^ halves[i - 1]!;
    }
    const width = quickWidth(bitsOf(differing >>> 0));
    if (width === 0 && differingLow === 0) {
      this.#form(CONSTANT, 0, 0, first);
    } else if (width > XOR_BITS_MAX || Number.isNaN(first)) {
      // The bits of a NaN may change on the way, and the others would hang on them.
      this.#form(DOUBLES, 0, 0);
      this.#words.set(halves.subarray(0, end), this.#word);
      this.#word += end;
    } else {
      this.#form(XORS, 0, width, first);
      for (let i = 1; i < this.#count; i++) {
        this.#words[this.#word++] = halves[2 * i]! ^ halves[2 * i - 2]!;
        codes[i - 1] = halves[2 * i + 1]! ^ halves[2 * i - 1]!;
      }
      this.#pack(this.#count - 1, width);
    }
  }

  /** The first `count` codes, `width` bits each, least significant first, filled up to a word. */
  #pack(count: number, width: number): void {
    if (width === 0) return;
    const words = this.#words;
    const { codes } = this.#rows;
    let at = this.#word;
    let word = 0;
    let bit = 0;
    for (let i = 0; i < count; i++) {
      const code = codes[i]!;
      word |= code << bit;
      bit += width;
      if (bit >= 32) {
        bit -= 32;
        words[at++] = word;
        // A shift by 32 would be one by 0: nothing of the code is left when it ended with the word.
        word = bit > 0 ? code >>> (width - bit) : 0;
      }
    }
    if (bit > 0) words[at++] = word;
    this.#word = at;
  }

  #form(form: number, decimals: number, width: number, base?: number): void {
    const kind = base === undefined ? 0 : baseKind(base);
    this.#heads[this.#head] = form | (decimals << 4);
    this.#heads[this.#head + 1] = width | (kind << 6);
    this.#head += 2;
    if (base === undefined) return;
    if (kind === 0) this.#headView.setInt8(this.#head, base);
    else if (kind === 1) this.#headView.setInt16(this.#head, base, true);
    else if (kind === 2) this.#headView.setInt32(this.#head, base, true);
    else this.#headView.setFloat64(this.#head, base, true);
    this.#head += 1 << kind;
  }

  #u16(value: number): void {
    this.#headView.setUint16(this.#head, value, true);
    this.#head += 2;
  }
}

/** From so many values on the engine's own loop is the faster one. */
const FILL_FROM = 32;
/** What a text takes beside its bytes, counted as bytes, where it is asked for so many. */
const RUN_BYTES = 64;

/** Reads what `ColumnWriter` wrote, or a stranger. Throws BATCH_BAD. */
export class ColumnReader {
  readonly #heads: Uint8Array;
  readonly #headView: DataView;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  readonly #halfWords: Uint16Array;
  readonly #wordCount: number;
  readonly #count: number;
  #head = 0;
  #word = 0;
  /** Of the column of texts in work: runs that are left, and messages. */
  #runs: number | undefined;
  #textsLeft = 0;

  /**
   * `words` has a whole number of 32-bit words; they are copied to where words can lie. That place is shared, but where it `isSlow`: what a
   * reader has to read is read before the next one is made, and before anything is written.
   */
  constructor(heads: Uint8Array, words: Uint8Array, count: number, isSlow = false) {
    this.#heads = heads;
    this.#headView = new DataView(heads.buffer, heads.byteOffset, heads.byteLength);
    this.#wordCount = words.length >>> 2;
    // One more, so that a column that ends with a word may be read without looking where the words end.
    const room = !isSlow && this.#wordCount < SCRATCH_WORDS ? scratchWords : wordsOf(this.#wordCount + 1);
    this.#words = room.words;
    this.#bytes = room.bytes;
    this.#halfWords = room.halfWords;
    this.#bytes.set(words);
    this.#count = count;
  }

  /** Throws BATCH_BAD unless everything was read: heads but for their filling, and all words. */
  end(): void {
    if (this.#word !== this.#wordCount) throw bad(`${this.#wordCount - this.#word} words belong to no column`);
    if (((this.#head + 3) & ~3) !== this.#heads.length) throw bad('bytes of the heads belong to no column');
  }

  /** A column of numbers into `out[from]` to `out[from + count - 1]`. */
  numbers(out: Float64Array, from: number): void {
    this.#need(2);
    const first = this.#heads[this.#head]!;
    const second = this.#heads[this.#head + 1]!;
    this.#head += 2;
    const form = first & FORM_MASK;
    const width = second & WIDTH_MASK;
    const power = POWERS[first >>> 4]!;
    if (form > XORS || width > WIDTH_MAX) throw bad(`a column of form ${form} with ${width} bits`);
    if (form > DELTAS && (first & EXCEPTIONS_FLAG) !== 0) throw bad(`exceptions in a column of form ${form}`);
    if (form === DOUBLES) {
      this.#doubles(out, from);
      return;
    }
    const base = this.#base(second >>> 6);
    const exceptionsAt = (first & EXCEPTIONS_FLAG) === 0 ? -1 : this.#skipExceptions();
    if (form === CONSTANT) this.#constant(out, from, base / power);
    else if (form === XORS) this.#xors(out, from, base, width);
    else if (form === OFFSETS) this.#offsets(out, from, base, power, width);
    else this.#deltas(out, from, base, power, width);
    if (exceptionsAt >= 0) this.#exceptions(out, from, exceptionsAt);
  }

  /** Neighbouring columns of numbers, `columns` of them, into `out` from the place of column `first` on. */
  columns(out: Float64Array, first: number, columns: number): void {
    const count = this.#count;
    if (count === 1) return this.#row(out, first, columns);
    for (let column = first; column < first + columns; column++) this.numbers(out, column * count);
  }

  /**
   * Those of a batch of one message. Each of them is a constant, whose bytes are all that there is: telemetry at 200 Hz comes
   * so, and its hundred columns should cost less than its JSON.
   */
  #row(out: Float64Array, from: number, columns: number): void {
    const heads = this.#heads;
    const view = this.#headView;
    const last = heads.length - CONSTANT_BYTES_MAX;
    let at = this.#head;
    for (let i = from; i < from + columns; i++) {
      const second = at <= last ? heads[at + 1]! : WIDTH_MASK;
      if ((heads[at]! & (FORM_MASK | EXCEPTIONS_FLAG)) !== CONSTANT || (second & WIDTH_MASK) !== 0) {
        // Another form, or near the end of the heads, where each byte has to be looked for.
        this.#head = at;
        this.numbers(out, i);
        at = this.#head;
        continue;
      }
      const power = POWERS[heads[at]! >>> 4]!;
      switch (second >>> 6) {
        case 0:
          out[i] = ((heads[at + 2]! << 24) >> 24) / power;
          at += 3;
          break;
        case 1:
          out[i] = (((heads[at + 2]! | (heads[at + 3]! << 8)) << 16) >> 16) / power;
          at += 4;
          break;
        case 2:
          out[i] = view.getInt32(at + 2, true) / power;
          at += 6;
          break;
        default:
          out[i] = view.getFloat64(at + 2, true) / power;
          at += CONSTANT_BYTES_MAX;
      }
    }
    this.#head = at;
  }

  /** A column of texts: calls back for each run. With `bytesMax` for about so many of them. False: it is not at its end. */
  texts(onRun: (count: number, json: Uint8Array) => void, bytesMax: number): boolean {
    let runs = this.#runs ?? this.#beginTexts();
    for (let bytes = 0; runs > 0 && bytes < bytesMax; runs--) {
      this.#need(6);
      const count = this.#headView.getUint16(this.#head, true);
      const size = this.#headView.getUint32(this.#head + 2, true);
      this.#head += 6;
      this.#need(size);
      this.#textsLeft -= count;
      if (this.#textsLeft < 0 || count === 0) throw bad('runs of text do not add up');
      onRun(count, this.#heads.subarray(this.#head, this.#head + size));
      this.#head += size;
      bytes += RUN_BYTES + size;
    }
    this.#runs = runs === 0 ? undefined : runs;
    if (runs > 0) return false;
    if (this.#textsLeft !== 0) throw bad('runs of text do not add up');
    return true;
  }

  #beginTexts(): number {
    this.#need(4);
    if (this.#heads[this.#head] !== TEXTS) throw bad(`text of form ${this.#heads[this.#head]}`);
    const runs = this.#headView.getUint16(this.#head + 2, true);
    this.#head += 4;
    this.#textsLeft = this.#count;
    return runs;
  }

  #base(kind: number): number {
    this.#need(1 << kind);
    const at = this.#head;
    this.#head += 1 << kind;
    if (kind === 0) return this.#headView.getInt8(at);
    if (kind === 1) return this.#headView.getInt16(at, true);
    return kind === 2 ? this.#headView.getInt32(at, true) : this.#headView.getFloat64(at, true);
  }

  #constant(out: Float64Array, from: number, value: number): void {
    const end = from + this.#count;
    if (this.#count >= FILL_FROM) out.fill(value, from, end);
    else for (let i = from; i < end; i++) out[i] = value;
  }

  #doubles(out: Float64Array, from: number): void {
    const start = this.#take(this.#count * 2);
    const halves = new Uint32Array(out.buffer, out.byteOffset + from * 8, this.#count * 2);
    halves.set(this.#words.subarray(start, start + halves.length));
  }

  #xors(out: Float64Array, from: number, base: number, width: number): void {
    const low = this.#take(this.#count - 1);
    const high = this.#take(wordsFor(this.#count - 1, width));
    out[from] = base;
    const halves = new Uint32Array(out.buffer, out.byteOffset + from * 8, this.#count * 2);
    const upper = new Float64Array(this.#count - 1);
    unpack(this.#words, high, width, upper);
    for (let i = 1; i < this.#count; i++) {
      halves[2 * i] = halves[2 * i - 2]! ^ this.#words[low + i - 1]!;
      halves[2 * i + 1] = halves[2 * i - 1]! ^ upper[i - 1]!;
    }
  }

  #offsets(out: Float64Array, from: number, base: number, power: number, width: number): void {
    const count = this.#count;
    const start = this.#take(wordsFor(count, width));
    if (width === 8) {
      const bytes = this.#bytes;
      for (let i = 0, at = start * 4; i < count; i++) out[from + i] = (base + bytes[at + i]!) / power;
    } else if (width === 16) {
      const halves = this.#halfWords;
      for (let i = 0, at = start * 2; i < count; i++) out[from + i] = (base + halves[at + i]!) / power;
    } else {
      const words = this.#words;
      const mask = 2 ** width - 1;
      let at = start;
      let word = words[at]!;
      let bit = 0;
      for (let i = 0; i < count; i++) {
        let code = word >>> bit;
        bit += width;
        if (bit >= 32) {
          bit -= 32;
          word = words[++at]!;
          if (bit > 0) code |= word << (width - bit);
        }
        out[from + i] = (base + (code & mask)) / power;
      }
    }
  }

  #deltas(out: Float64Array, from: number, base: number, power: number, width: number): void {
    const count = this.#count;
    const start = this.#take(wordsFor(count - 1, width));
    let sum = base;
    out[from] = sum / power;
    if (width === 8) {
      const bytes = this.#bytes;
      for (let i = 1, at = start * 4 - 1; i < count; i++) {
        const code = bytes[at + i]!;
        sum += (code >>> 1) ^ -(code & 1);
        out[from + i] = sum / power;
      }
    } else if (width === 16) {
      const halves = this.#halfWords;
      for (let i = 1, at = start * 2 - 1; i < count; i++) {
        const code = halves[at + i]!;
        sum += (code >>> 1) ^ -(code & 1);
        out[from + i] = sum / power;
      }
    } else {
      const words = this.#words;
      const mask = 2 ** width - 1;
      let at = start;
      let word = words[at]!;
      let bit = 0;
      for (let i = 1; i < count; i++) {
        let code = word >>> bit;
        bit += width;
        if (bit >= 32) {
          bit -= 32;
          word = words[++at]!;
          if (bit > 0) code |= word << (width - bit);
        }
        code &= mask;
        sum += (code >>> 1) ^ -(code & 1);
        out[from + i] = sum / power;
      }
    }
  }

  /** Gives where they begin; they are put in last, over what the encoder wrote in their places. */
  #skipExceptions(): number {
    this.#need(2);
    const at = this.#head;
    const exceptions = this.#headView.getUint16(at, true);
    this.#head += 2;
    this.#need(exceptions * 10);
    this.#head += exceptions * 10;
    return at;
  }

  #exceptions(out: Float64Array, from: number, at: number): void {
    const exceptions = this.#headView.getUint16(at, true);
    for (let i = 0, next = at + 2; i < exceptions; i++, next += 10) {
      const place = this.#headView.getUint16(next, true);
      if (place >= this.#count) throw bad(`an exception at ${place} of ${this.#count}`);
      out[from + place] = this.#headView.getFloat64(next + 2, true);
    }
  }

  #take(words: number): number {
    const start = this.#word;
    if (start + words > this.#wordCount) throw bad('a column is cut');
    this.#word += words;
    return start;
  }

  #need(bytes: number): void {
    if (this.#head + bytes > this.#heads.length) throw bad('the heads are cut');
  }
}

function unpack(words: Uint32Array, start: number, width: number, out: Float64Array): void {
  const mask = 2 ** width - 1;
  let at = start;
  let word = words[at]!;
  let bit = 0;
  for (let i = 0; i < out.length; i++) {
    let code = word >>> bit;
    bit += width;
    if (bit >= 32) {
      bit -= 32;
      word = words[++at]!;
      if (bit > 0) code |= word << (width - bit);
    }
    out[i] = code & mask;
  }
}

function isException(value: number): boolean {
  return !Number.isFinite(value) || Object.is(value, -0);
}

/** Bits of a whole number from 0 on. */
function bitsOf(value: number): number {
  return value > 0xffff_ffff ? 64 : 32 - Math.clz32(value);
}

/** A little wider where that makes bytes of it, which are read twice as fast. */
function quickWidth(width: number): number {
  if (width === 7) return 8;
  return width === 15 ? 16 : width;
}

function wordsFor(count: number, width: number): number {
  return Math.ceil((count * width) / 32);
}

/** 0 to 3: the shortest of i8, i16, i32 and f64 that holds the value. */
function baseKind(base: number): number {
  if (!Number.isInteger(base) || Object.is(base, -0)) return 3;
  if (base >= -0x80 && base <= 0x7f) return 0;
  if (base >= -0x8000 && base <= 0x7fff) return 1;
  return base >= -0x8000_0000 && base <= 0x7fff_ffff ? 2 : 3;
}

function bad(what: string): SightlineError {
  return new SightlineError('BATCH_BAD', `columns: ${what}`);
}
