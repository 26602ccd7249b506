/**
 * JPEGs (ITU-T T.81) that are sound, small and dear: grey ones, of one value all over, so that a whole pass over the picture takes a few
 * bytes.
 */

export interface FlatSize {
  /** Pixels, multiples of 8. */
  readonly width: number;
  readonly height: number;
}

const Marker = {
  start: 0xd8,
  end: 0xd9,
  baseline: 0xc0,
  progressive: 0xc2,
  tables: 0xc4,
  quantisation: 0xdb,
  scan: 0xda,
};
/** Of an AC coefficient in a progressive picture: the most significant bit of the first pass, and one pass for each bit below it. */
const POINT_TRANSFORM_MAX = 13;
const PASSES_PER_COEFFICIENT = POINT_TRANSFORM_MAX + 1;
const COEFFICIENTS_MAX = 63;
/** The code for "so many blocks have nothing more": 14 bits follow, which count on from 2^14. */
const END_OF_BAND_14 = 0xe0;
const BLOCKS_PER_RUN = 32_767;
const RUN_BITS = 14;

/**
 * A progressive picture with `scans` passes over it beside the first one. They are those of a sound picture, one for each bit of each
 * coefficient, and begin anew after the 882nd.
 */
export function progressiveJpeg({ width, height }: FlatSize, scans: number): Buffer {
  const blocks = (width / 8) * (height / 8);
  const parts = [
    ...head(Marker.progressive, { width, height }, END_OF_BAND_14),
    scan(0, 0, 0),
    bits('0'.repeat(blocks)),
  ];
  const nothing = bits(`0${'1'.repeat(RUN_BITS)}`.repeat(Math.ceil(blocks / BLOCKS_PER_RUN)));
  for (let i = 0; i < scans; i += 1) {
    const pass = i % PASSES_PER_COEFFICIENT;
    const coefficient = 1 + (Math.floor(i / PASSES_PER_COEFFICIENT) % COEFFICIENTS_MAX);
    const low = POINT_TRANSFORM_MAX - pass;
    parts.push(scan(coefficient, coefficient, ((pass === 0 ? 0 : low + 1) << 4) | low), nothing);
  }
  return Buffer.concat([...parts, marker(Marker.end)]);
}

/** A baseline picture: two bits a block. */
export function flatJpeg({ width, height }: FlatSize): Buffer {
  const blocks = (width / 8) * (height / 8);
  const data = bits('00'.repeat(blocks));
  return Buffer.concat([...head(Marker.baseline, { width, height }, 0), scan(0, 63, 0), data, marker(Marker.end)]);
}

function head(frame: number, { width, height }: FlatSize, acSymbol: number): Buffer[] {
  return [
    marker(Marker.start),
    segment(Marker.quantisation, [0, ...Array<number>(64).fill(1)]),
    segment(frame, [8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0]),
    // One code each, of one bit, 0: the difference 0, and the AC symbol.
    segment(Marker.tables, [0x00, 1, ...Array<number>(15).fill(0), 0]),
    segment(Marker.tables, [0x10, 1, ...Array<number>(15).fill(0), acSymbol]),
  ];
}

/** The head of a scan of the one component: the band of coefficients, and the bits before and after it in one byte. */
function scan(from: number, to: number, approximation: number): Buffer {
  return segment(Marker.scan, [1, 1, 0, from, to, approximation]);
}

function segment(kind: number, payload: readonly number[]): Buffer {
  const length = payload.length + 2;
  return Buffer.from([0xff, kind, length >> 8, length & 255, ...payload]);
}

function marker(kind: number): Buffer {
  return Buffer.of(0xff, kind);
}

/** Entropy-coded data: filled up with ones, and a zero behind each byte that looks like a marker. */
function bits(text: string): Buffer {
  const bytes: number[] = [];
  for (let at = 0; at < text.length; at += 8) {
    const byte = Number.parseInt(text.slice(at, at + 8).padEnd(8, '1'), 2);
    bytes.push(byte);
    if (byte === 0xff) bytes.push(0);
  }
  return Buffer.from(bytes);
}
