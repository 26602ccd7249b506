import { SightlineError } from '../base/errors.ts';

/** Markers of ITU-T T.81 table B.1. */
export const MARKER = {
  SOI: 0xd8,
  EOI: 0xd9,
  SOS: 0xda,
  DHT: 0xc4,
  DRI: 0xdd,
  APP0: 0xe0,
  APP1: 0xe1,
  APP14: 0xee,
} as const;

const JPG = 0xc8;
const DAC = 0xcc;
const TEM = 0x01;

/** A profile may take 255, EXIF and XMP a handful; a sender of more wants to keep the reader busy. */
const SEGMENTS_MAX = 2_000;

/** One marker segment of a JPEG. Its length and payload lie within the bytes. */
export interface Segment {
  readonly marker: number;
  /** Place of its first byte, FF. */
  readonly at: number;
  /** The bytes that follow the length. */
  readonly payload: Uint8Array;
}

/**
 * The segments of a JPEG's header, up to its first scan's (SOS). Bytes between two of them are skipped, as libjpeg does:
 * cameras leave bytes there. Errors: FRAME_EMPTY, FRAME_NOT_JPEG, FRAME_TRUNCATED (the bytes end before the first scan begins).
 */
export function* headerSegments(bytes: Uint8Array): Generator<Segment, void, undefined> {
  const end = bytes.length;
  if (end === 0) throw new SightlineError('FRAME_EMPTY', 'a frame of 0 bytes');
  if (bytes[0] !== 0xff || (end > 1 && bytes[1] !== MARKER.SOI)) {
    throw new SightlineError('FRAME_NOT_JPEG', `a frame that starts with ${hex(bytes, 0)} instead of FF D8`);
  }
  for (let at = 2, count = 0; count < SEGMENTS_MAX; count += 1) {
    const segment = nextSegment(bytes, at);
    if (!segment) {
      throw new SightlineError('FRAME_TRUNCATED', `a JPEG that ends after ${end} bytes, within its header`);
    }
    yield segment;
    if (segment.marker === MARKER.SOS) return;
    at = endOf(segment);
  }
  throw new SightlineError('FRAME_NOT_JPEG', `a JPEG with more than ${SEGMENTS_MAX} segments before its first scan`);
}

/**
 * The first segment from a place on; undefined when the bytes end before it does. Markers that stand alone (RST, TEM) are passed.
 * Errors: FRAME_NOT_JPEG, for an end (EOI) or a second start and for a length that cannot be.
 */
export function nextSegment(bytes: Uint8Array, from: number): Segment | undefined {
  for (let at = nextMarker(bytes, from); at >= 0; at = nextMarker(bytes, at + 2)) {
    const marker = bytes[at + 1]!;
    if (marker === TEM || isRestart(marker)) continue;
    if (marker === MARKER.EOI || marker === MARKER.SOI) {
      throw new SightlineError('FRAME_NOT_JPEG', `${hex(bytes, at)} at byte ${at} is not a segment of a JPEG's header`);
    }
    if (at + 4 > bytes.length) return undefined;
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (length < 2) {
      throw new SightlineError('FRAME_NOT_JPEG', `a JPEG segment of ${length} bytes at byte ${at}`);
    }
    if (at + 2 + length > bytes.length) return undefined;
    return { marker, at, payload: bytes.subarray(at + 4, at + 2 + length) };
  }
  return undefined;
}

export function endOf({ at, payload }: Segment): number {
  return at + 4 + payload.length;
}

/** Place of the FF right before the next marker's code, or -1. FF 00 is data, and any number of FF may go before a code (B.1.1.2). */
export function nextMarker(bytes: Uint8Array, from: number): number {
  for (let at = from, last = bytes.length - 1; at < last; at += 1) {
    if (bytes[at] === 0xff && bytes[at + 1] !== 0 && bytes[at + 1] !== 0xff) return at;
  }
  return -1;
}

/** Starts a frame (SOF): the kinds of coding of T.81, of which libjpeg knows a few. */
export function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== MARKER.DHT && marker !== JPG && marker !== DAC;
}

/** Notes of a program or a person: APP0 to APP15, and comments. */
export function isDescription(marker: number): boolean {
  return (marker & 0xf0) === MARKER.APP0 || marker === 0xfe;
}

function isRestart(marker: number): boolean {
  return marker >= 0xd0 && marker <= 0xd7;
}

function hex(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + 2), (b) => b.toString(16).toUpperCase().padStart(2, '0')).join(' ');
}
