import { exifOf } from './jpegs.ts';

/**
 * JPEGs that cost a decoder far more than they weigh, for the fences against them: libjpeg visits each block of a scan's components,
 * whether the scan has anything to say of it or not, and a scan that says nothing takes a few bytes.
 */

/** Sampling factors, across and down; 1 to 4. */
export type Sampling = readonly [across: number, down: number];

export interface CostlyScan {
  /** Places of its components in the frame; one beyond it is a component that the frame does not have. */
  readonly of: readonly number[];
  /** First and last coefficient, 0 to 63. */
  readonly band: readonly [first: number, last: number];
  /** Low bits that are missing before and after it (Ah, Al): with some before, it refines. Default: none. */
  readonly bits?: readonly [before: number, after: number];
  /** Coded data; default: the shortest that say that nothing changes. */
  readonly data?: Uint8Array;
}

export interface CostlyJpeg {
  readonly width: number;
  readonly height: number;
  /** Of each component; default: one, for grey. */
  readonly sampling?: readonly Sampling[];
  /** Marker of the frame header; default: progressive, coded by Huffman. */
  readonly coding?: number;
  readonly scans: readonly CostlyScan[];
  /** Units from one restart to the next; default: none. Scans do not bring their markers. */
  readonly restartInterval?: number;
  /** By EXIF. */
  readonly orientation?: number;
}

export const BASELINE = 0xc0;
export const PROGRESSIVE = 0xc2;
export const ARITHMETIC = 0xc9;
export const ARITHMETIC_PROGRESSIVE = 0xca;

/** Three components, each as large as the picture. */
export const FULL_COLOUR: readonly Sampling[] = [
  [1, 1],
  [1, 1],
  [1, 1],
];

/** The largest picture that a server lets in by default. */
export const LARGEST = { width: 8192, height: 4096 } as const;

/** What costs about the most of all that it lets in: sound, in full colour, refined as often as there is room for. 200 kB. */
export const DEAREST: CostlyJpeg = {
  ...LARGEST,
  sampling: FULL_COLOUR,
  scans: [
    { of: [0, 1, 2], band: [0, 0] },
    ...[0, 1, 2].map((i): CostlyScan => ({ of: [i], band: [1, 63], bits: [0, 4] })),
    ...[4, 3, 2, 1].flatMap((before) =>
      [0, 1, 2].map((i): CostlyScan => ({ of: [i], band: [1, 63], bits: [before, before - 1] })),
    ),
  ],
};

/** As many scans of nothing as a client likes, each of which goes over the largest picture. */
export function bombJpeg(scans: number): Buffer {
  const one: CostlyScan = { of: [0], band: [1, 63] };
  return costlyJpeg({ ...LARGEST, scans: [{ of: [0], band: [0, 0] }, ...Array.from({ length: scans }, () => one)] });
}

/** In Huffman's AC table: the longest run of blocks without further coefficients, EOB14 (ITU-T T.81 G.1.2.2). */
const LONGEST_RUN = 0xe0;
const LONGEST_RUN_BLOCKS = 2 ** 15 - 1;

export function costlyJpeg({ width, height, scans, ...options }: CostlyJpeg): Buffer {
  const { sampling = [[1, 1]], coding = PROGRESSIVE, restartInterval, orientation } = options;
  const frame = [8, ...short(height), ...short(width), sampling.length];
  for (const [i, [across, down]] of sampling.entries()) frame.push(i + 1, (across << 4) | down, 0);
  const parts: Uint8Array[] = [Buffer.of(0xff, 0xd8)];
  if (orientation !== undefined) parts.push(segment(0xe1, exifOf(orientation)));
  parts.push(segment(0xdb, [0, ...Array<number>(64).fill(1)]), segment(coding, frame));
  // The code `0` in both: no difference of DC; of AC the longest run, or in a sequential scan the end of a block.
  parts.push(table(0x00, 0x00), table(0x10, coding === PROGRESSIVE ? LONGEST_RUN : 0x00));
  if (restartInterval !== undefined) parts.push(segment(0xdd, short(restartInterval)));
  for (const scan of scans) {
    const { of, band, bits = [0, 0], data } = scan;
    const blocks = blocksOf(width, height, sampling, of);
    parts.push(
      segment(0xda, [of.length, ...of.flatMap((i) => [i + 1, 0x00]), ...band, (bits[0] << 4) | bits[1]]),
      data ?? nothing(scan, coding, blocks),
    );
  }
  return Buffer.concat([...parts, Buffer.of(0xff, 0xd9)]);
}

/** Blocks that a scan of these components visits. A component alone has no blocks beyond its own size (T.81 A.2.2). */
export function blocksOf(width: number, height: number, sampling: readonly Sampling[], of: readonly number[]): number {
  const acrossMax = Math.max(...sampling.map(([across]) => across));
  const downMax = Math.max(...sampling.map(([, down]) => down));
  const those = of.map((i): Sampling => sampling[i] ?? [1, 1]);
  if (those.length === 1) {
    const [[across, down]] = those as [Sampling];
    const wide = Math.ceil(Math.ceil((width * across) / acrossMax) / 8);
    return wide * Math.ceil(Math.ceil((height * down) / downMax) / 8);
  }
  const units = Math.ceil(width / (8 * acrossMax)) * Math.ceil(height / (8 * downMax));
  return units * those.reduce((sum, [across, down]) => sum + across * down, 0);
}

function nothing({ band: [first] }: CostlyScan, coding: number, blocks: number): Uint8Array {
  // A decoder of arithmetic codes reads zeros behind the end.
  if (coding === ARITHMETIC || coding === ARITHMETIC_PROGRESSIVE) return Buffer.alloc(0);
  if (coding === BASELINE) return Buffer.alloc(Math.ceil(blocks / 4));
  if (first === 0) return Buffer.alloc(Math.ceil(blocks / 8));
  return packed(`0${'1'.repeat(14)}`.repeat(Math.ceil(blocks / LONGEST_RUN_BLOCKS)));
}

/** Bits as coded data: a zero is stuffed behind each FF, ones fill up the last byte. */
function packed(bits: string): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; at < bits.length; at += 8) {
    const byte = Number.parseInt(bits.slice(at, at + 8).padEnd(8, '1'), 2);
    bytes.push(byte, ...(byte === 0xff ? [0] : []));
  }
  return Uint8Array.from(bytes);
}

/** A Huffman table of one code, `0`. */
function table(place: number, symbol: number): Buffer {
  return segment(0xc4, [place, 1, ...Array<number>(15).fill(0), symbol]);
}

function segment(marker: number, payload: readonly number[]): Buffer {
  return Buffer.from([0xff, marker, ...short(payload.length + 2), ...payload]);
}

function short(value: number): [number, number] {
  return [value >> 8, value & 255];
}
