import { SightlineError } from '../base/errors.ts';
import {
  endOf,
  headerSegments,
  isFrameHeader,
  MARKER,
  nextMarker,
  nextSegment,
  type Segment,
} from './jpeg-segments.ts';
import { SCANS_MAX } from './jpeg-work.ts';

/**
 * Faults of the coded data of a JPEG. `unknown`: the data is not coded by Huffman, or in a way that this walk does not follow.
 * `undefined`: every block of every scan is there.
 */
export type ScanFault = 'truncated' | 'damaged' | 'unknown' | undefined;

/**
 * Walks the Huffman codes of all scans (ITU-T T.81 annex F.2.2 and G.2.2) without making a picture of them, and checks whether they hold
 * what the header promises: for frames of which libjpeg complained without a reason. Bytes between the data and the next
 * marker cost nothing, and cameras write them; codes that do not exist, blocks that run over, data that ends too early and
 * restart markers out of turn cost the picture. Takes some milliseconds for 100 kB. `standard`: a JPEG that holds the tables of
 * annex K.3, on which frames of Motion JPEG rely without bringing them.
 */
export function scanFault(bytes: Uint8Array, standard: Uint8Array): ScanFault {
  try {
    const walk = new Walk(bytes);
    for (const { marker, payload } of headerSegments(standard)) if (marker === MARKER.DHT) walk.takeTables(payload);
    return walk.run();
  } catch (thrown) {
    if (thrown instanceof Fault) return thrown.fault;
    if (thrown instanceof SightlineError) return 'damaged';
    throw thrown;
  }
}

class Fault extends Error {
  readonly fault: Exclude<ScanFault, undefined>;

  constructor(fault: Exclude<ScanFault, undefined>) {
    super(fault);
    this.fault = fault;
  }
}

interface Component {
  readonly id: number;
  /** Sampling factors: blocks of one unit (MCU) across and down. */
  readonly across: number;
  readonly down: number;
  /** Size of the component alone, blocks. */
  readonly blocksWide: number;
  readonly blocksHigh: number;
  /** Blocks in a row when whole units are stored. */
  readonly pitch: number;
  /** Which coefficients are not zero, 64 a block, for scans that refine them. Progressive frames only. */
  readonly isSet: Uint8Array | undefined;
}

interface Frame {
  readonly isProgressive: boolean;
  readonly components: readonly Component[];
  readonly unitsWide: number;
  readonly unitsHigh: number;
}

interface Scan {
  readonly parts: readonly { readonly component: Component; readonly dc: HuffmanTable; readonly ac: HuffmanTable }[];
  readonly start: number;
  readonly end: number;
  readonly isRefining: boolean;
}

class Walk {
  readonly #bytes: Uint8Array;
  readonly #dc: (HuffmanTable | undefined)[] = [];
  readonly #ac: (HuffmanTable | undefined)[] = [];
  #restartInterval = 0;
  #frame: Frame | undefined;
  #eobRun = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  run(): ScanFault {
    let at = 2;
    let scans = 0;
    for (;;) {
      const marker = nextMarker(this.#bytes, at);
      if (marker < 0) return 'truncated';
      if (this.#bytes[marker + 1] === MARKER.EOI) return scans > 0 ? undefined : 'damaged';
      const segment = nextSegment(this.#bytes, at);
      if (!segment) return 'truncated';
      at = endOf(segment);
      if (segment.marker === MARKER.DHT) this.takeTables(segment.payload);
      else if (segment.marker === MARKER.DRI) this.#restartInterval = (segment.payload[0]! << 8) | segment.payload[1]!;
      else if (isFrameHeader(segment.marker)) this.#begin(segment);
      else if (segment.marker === MARKER.SOS) {
        scans += 1;
        if (scans > SCANS_MAX) return 'unknown';
        at = this.#walkScan(this.#scanOf(segment.payload), at);
      }
    }
  }

  /** A second frame was not looked at when the picture's size was checked; libjpeg refuses it. */
  #begin(header: Segment): void {
    if (this.#frame) throw new Fault('damaged');
    this.#frame = frameOf(header);
  }

  /** DHT, B.2.4.2. */
  takeTables(payload: Uint8Array): void {
    for (let at = 0; at + 17 <= payload.length;) {
      const counts = payload.subarray(at + 1, at + 17);
      const symbols = counts.reduce((sum, count) => sum + count, 0);
      const tables = payload[at]! >> 4 === 0 ? this.#dc : this.#ac;
      if (at + 17 + symbols > payload.length) throw new Fault('damaged');
      tables[payload[at]! & 15] = new HuffmanTable(counts, payload.subarray(at + 17, at + 17 + symbols));
      at += 17 + symbols;
    }
  }

  /** SOS, B.2.3. */
  #scanOf(payload: Uint8Array): Scan {
    const frame = this.#frame;
    const count = payload[0] ?? 0;
    if (!frame || count === 0 || payload.length < 4 + 2 * count) throw new Fault('damaged');
    const [first, last, approximation] = payload.subarray(1 + 2 * count) as unknown as [number, number, number];
    // The numbers of a sequential scan have no meaning here: libjpeg takes 0, 63 and 0.
    const { start, end } = frame.isProgressive ? { start: first, end: last } : { start: 0, end: 63 };
    if (end > 63 || start > end) throw new Fault('damaged');
    const parts = Array.from({ length: count }, (_, i) => {
      const component = frame.components.find(({ id }) => id === payload[1 + 2 * i]);
      const tables = payload[2 + 2 * i]!;
      if (!component) throw new Fault('damaged');
      return { component, dc: this.#dc[tables >> 4] ?? NO_CODES, ac: this.#ac[tables & 15] ?? NO_CODES };
    });
    return { parts, start, end, isRefining: frame.isProgressive && approximation >> 4 > 0 };
  }

  /** Returns the place behind the scan's data. */
  #walkScan(scan: Scan, from: number): number {
    const { unitsWide, unitsHigh, isProgressive } = this.#frame!;
    const alone = scan.parts.length === 1 ? scan.parts[0]!.component : undefined;
    const wide = alone ? alone.blocksWide : unitsWide;
    const units = wide * (alone ? alone.blocksHigh : unitsHigh);
    let bits = new Bits(this.#bytes, from);
    let restarts = 0;
    this.#eobRun = 0;
    for (let unit = 0; unit < units; unit += 1) {
      if (this.#restartInterval > 0 && unit > 0 && unit % this.#restartInterval === 0) {
        const marker = nextMarker(this.#bytes, bits.end());
        if (marker < 0) throw new Fault('truncated');
        if (this.#bytes[marker + 1] !== 0xd0 + (restarts % 8)) throw new Fault('damaged');
        restarts += 1;
        this.#eobRun = 0;
        bits = new Bits(this.#bytes, marker + 2);
      }
      const column = unit % wide;
      const row = Math.floor(unit / wide);
      for (const part of scan.parts) {
        const { component } = part;
        const across = alone ? 1 : component.across;
        const down = alone ? 1 : component.down;
        for (let y = 0; y < down; y += 1) {
          for (let x = 0; x < across; x += 1) {
            const block = (row * down + y) * component.pitch + column * across + x;
            if (isProgressive) this.#walkPart(scan, part, block * 64, bits);
            else walkBlock(part.dc, part.ac, bits);
          }
        }
      }
    }
    return bits.end();
  }

  /** Walks one block of one progressive scan: G.1.2. */
  #walkPart(
    { start, end, isRefining }: Scan,
    { component, dc, ac }: Scan['parts'][number],
    at: number,
    bits: Bits,
  ): void {
    if (start === 0) {
      if (isRefining) bits.skip(1);
      else bits.skip(dc.read(bits));
    } else if (isRefining) this.#refine(component.isSet!, at, start, end, ac, bits);
    else this.#first(component.isSet!, at, start, end, ac, bits);
  }

  #first(isSet: Uint8Array, at: number, start: number, end: number, ac: HuffmanTable, bits: Bits): void {
    if (this.#eobRun > 0) {
      this.#eobRun -= 1;
      return;
    }
    for (let k = start; k <= end; k += 1) {
      const symbol = ac.read(bits);
      const run = symbol >> 4;
      const size = symbol & 15;
      if (size === 0 && run < 15) {
        this.#eobRun = (1 << run) - 1 + bits.read(run);
        return;
      }
      k += run;
      if (k > end) throw new Fault('damaged');
      if (size > 0) isSet[at + k] = 1;
      bits.skip(size);
    }
  }

  #refine(isSet: Uint8Array, at: number, start: number, end: number, ac: HuffmanTable, bits: Bits): void {
    let k = start;
    if (this.#eobRun === 0) {
      for (; k <= end; k += 1) {
        const symbol = ac.read(bits);
        let run = symbol >> 4;
        const size = symbol & 15;
        if (size === 0 && run < 15) {
          this.#eobRun = (1 << run) + bits.read(run);
          break;
        }
        if (size > 0) bits.skip(1);
        // One bit for each coefficient passed that is not zero; `run` counts the zero ones.
        for (; k <= end; k += 1) {
          if (isSet[at + k] === 1) bits.skip(1);
          else if (run === 0) break;
          else run -= 1;
        }
        if (size > 0) {
          if (k > end) throw new Fault('damaged');
          isSet[at + k] = 1;
        }
      }
    }
    if (this.#eobRun > 0) {
      for (; k <= end; k += 1) if (isSet[at + k] === 1) bits.skip(1);
      this.#eobRun -= 1;
    }
  }
}

/** One block of a sequential scan: F.2.2. */
function walkBlock(dc: HuffmanTable, ac: HuffmanTable, bits: Bits): void {
  bits.skip(dc.read(bits));
  for (let k = 1; k < 64; k += 1) {
    const symbol = ac.read(bits);
    const size = symbol & 15;
    if (size === 0 && symbol !== 0xf0) {
      if (symbol === 0) return;
      throw new Fault('damaged');
    }
    k += symbol >> 4;
    if (k > 63) throw new Fault('damaged');
    bits.skip(size);
  }
}

/** SOF, B.2.2. */
function frameOf({ marker, payload }: Segment): Frame {
  const isProgressive = marker === 0xc2;
  if (marker > 0xc2) throw new Fault('unknown');
  const height = (payload[1]! << 8) | payload[2]!;
  const width = (payload[3]! << 8) | payload[4]!;
  const count = payload[5]!;
  if (payload.length < 6 + 3 * count || width === 0 || height === 0) throw new Fault('damaged');
  const told = Array.from({ length: count }, (_, i) => {
    const sampling = payload[7 + 3 * i]!;
    return { id: payload[6 + 3 * i]!, across: sampling >> 4, down: sampling & 15 };
  });
  if (told.some(({ across, down }) => across === 0 || down === 0)) throw new Fault('damaged');
  const acrossMax = Math.max(...told.map(({ across }) => across));
  const downMax = Math.max(...told.map(({ down }) => down));
  const unitsWide = Math.ceil(width / (8 * acrossMax));
  const unitsHigh = Math.ceil(height / (8 * downMax));
  const components = told.map(({ id, across, down }) => ({
    id,
    across,
    down,
    blocksWide: Math.ceil(Math.ceil((width * across) / acrossMax) / 8),
    blocksHigh: Math.ceil(Math.ceil((height * down) / downMax) / 8),
    pitch: unitsWide * across,
    isSet: isProgressive ? new Uint8Array(64 * unitsWide * across * unitsHigh * down) : undefined,
  }));
  return { isProgressive, components, unitsWide, unitsHigh };
}

/** The bits of one stretch of coded data, up to the next marker; a zero is stuffed behind each FF. */
class Bits {
  readonly #bytes: Uint8Array;
  #at: number;
  #held = 0;
  #count = 0;

  constructor(bytes: Uint8Array, from: number) {
    this.#bytes = bytes;
    this.#at = from;
  }

  /** The next `count` bits, at most 16, zeros behind the end; they stay. */
  peek(count: number): number {
    this.#fill(count);
    return this.#count >= count
      ? (this.#held >>> (this.#count - count)) & ((1 << count) - 1)
      : (this.#held << (count - this.#count)) & ((1 << count) - 1);
  }

  skip(count: number): void {
    this.#fill(count);
    if (this.#count < count) throw new Fault(nextMarker(this.#bytes, this.#at) < 0 ? 'truncated' : 'damaged');
    this.#count -= count;
    // Bits that are gone must not run over the number's 32.
    this.#held &= (1 << this.#count) - 1;
  }

  read(count: number): number {
    const value = this.peek(count);
    this.skip(count);
    return value;
  }

  /** Where the unread bytes begin. */
  end(): number {
    return this.#at;
  }

  #fill(count: number): void {
    while (this.#count < count) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) return;
      if (byte === 0xff) {
        if (this.#bytes[this.#at + 1] !== 0) return;
        this.#at += 1;
      }
      this.#at += 1;
      this.#held = (this.#held << 8) | byte;
      this.#count += 8;
    }
  }
}

const LOOKUP_BITS = 9;

/** Codes of up to 16 bits, made of their numbers by length (C.2). */
class HuffmanTable {
  /** By the next 9 bits: length << 8 | symbol, 0 where the code is longer. */
  readonly #short = new Uint16Array(1 << LOOKUP_BITS);
  /** Of each length: the first code behind the last one, and what to add to a code for its place among the symbols. */
  readonly #ends = new Int32Array(17);
  readonly #offsets = new Int32Array(17);
  readonly #symbols: Uint8Array;

  constructor(counts: ArrayLike<number>, symbols: Uint8Array) {
    this.#symbols = symbols;
    let code = 0;
    let place = 0;
    for (let length = 1; length <= 16; length += 1) {
      const count = counts[length - 1]!;
      if (code + count > 1 << length) throw new Fault('damaged');
      this.#offsets[length] = place - code;
      const isShort = length <= LOOKUP_BITS;
      for (let i = 0; i < (isShort ? count : 0); i += 1) {
        const from = (code + i) << (LOOKUP_BITS - length);
        this.#short.fill((length << 8) | symbols[place + i]!, from, from + (1 << (LOOKUP_BITS - length)));
      }
      code += count;
      place += count;
      this.#ends[length] = count > 0 ? code : 0;
      code <<= 1;
    }
  }

  read(bits: Bits): number {
    const next = bits.peek(16);
    const short = this.#short[next >> (16 - LOOKUP_BITS)]!;
    if (short > 0) {
      bits.skip(short >> 8);
      return short & 255;
    }
    for (let length = LOOKUP_BITS + 1; length <= 16; length += 1) {
      const code = next >> (16 - length);
      if (code < this.#ends[length]!) {
        bits.skip(length);
        return this.#symbols[code + this.#offsets[length]!]!;
      }
    }
    throw new Fault('damaged');
  }
}

/** A table that the file does not bring, and that may not be needed: a scan of DC coefficients alone has none for AC. */
const NO_CODES = new HuffmanTable(new Uint8Array(16), new Uint8Array(0));
