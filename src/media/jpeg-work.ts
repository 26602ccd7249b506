import { SightlineError } from '../base/errors.ts';
import { isUpright, type Orientation, swapsSides } from './orient.ts';
import { endOf, MARKER, isFrameHeader, nextMarker, type Segment } from './jpeg-segments.ts';

/**
 * What decoding a JPEG will cost, told by its header and the headers of its scans, before anything is decoded. libjpeg visits every block
 * of a scan's components once for each scan, also where the scan has nothing to say of them: such a scan takes a few bytes, and
 * 100 kB of them take seconds ("Two Issues with the JPEG Standard", libjpeg-turbo.org, LJT-01-003).
 *
 * Times are nominal: of libjpeg-turbo 3 on one core of a server as of 2022 (2 GHz), each at or above what the worst pictures of its
 * kind took. What matters is their proportion. Of all that is let in by default (up to 33.5 megapixels, 2 MiB) the dearest took 0.48 s
 * there: 22 scans that refine nothing, or arithmetic codes with 32 decisions in a bit; one of which libjpeg complains, with all that is
 * done to understand it, 0.46 s; the largest with libjpeg's own ten scans 0.33 s, baseline 0.07 s. To turn it by EXIF takes 0.13 s more.
 */

/** Everything that the costs follow from. */
export interface CodedFrame {
  /** Marker of the frame header (SOF). */
  readonly coding: number;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly components: readonly CodedComponent[];
  /** The first scan's header; undefined: the bytes end before it. */
  readonly firstScan: Segment | undefined;
  /** Units between two restarts, as told before it; 0: none. */
  readonly restartInterval: number;
}

export interface CodedComponent {
  readonly id: number;
  /** Sampling factors; libjpeg refuses a 0. */
  readonly across: number;
  readonly down: number;
}

export interface DecodeCost {
  /** Nominal. */
  readonly ms: number;
  /** At most one more than `SCANS_MAX`: from there on nothing is read. */
  readonly scans: number;
}

/**
 * libjpeg's own progression has 10 scans, encoders that search for the best one write up to about 20; libjpeg-turbo's tools
 * take 500 for hostile.
 */
export const SCANS_MAX = 100;
/** Tables and notes between two scans: a sender of more wants to keep the reader busy. */
const SEGMENTS_MAX = 2_000;

/**
 * What a picture may cost for each pixel that the limits allow, ns: so a progressive picture of the largest size, in full colour and with half as
 * many scans again as libjpeg writes, is still decoded. It is five times what a baseline picture of that size takes.
 */
export const NS_PER_PIXEL_MAX = 18;

const NS = {
  /** From coefficients to pixels, a block: dequantised, transformed, its part of the colour conversion, fresh memory for its pixels. */
  output: 60,
  /** Coefficients that are kept until the last scan, a block: fresh memory, and smoothing where scans are missing. */
  kept: 120,
  /** Huffman codes, a byte. */
  huffmanByte: 15,
  /** A block of a progressive scan that says nothing of it; and each coefficient that a refining scan passes. */
  huffmanVisit: 12,
  refinedCoefficient: 0.5,
  /** A block of a sequential scan. */
  sequentialVisit: 100,
  /** A bit may hold some thirty decisions, each of which takes 3 ns; real pictures take a seventh of that. */
  arithmeticByte: 800,
  arithmeticVisit: 35,
  arithmeticCoefficient: 3.3,
  restart: 40,
  /** A pixel of a picture that is turned by a quarter, or otherwise. */
  turnedPixel: 4,
  mirroredPixel: 1.5,
  /** A pixel in memory that was not used before. */
  freshPixel: 2.5,
} as const;

/** Pixels of a picture from which on a worker keeps no memory for the next one. */
const KEPT_PIXELS_MAX = 2 ** 24;

/** What a worker needs beside decoding to make a picture stand upright, nominal ms: fresh memory for a large one, and turning it. */
export function uprightMs(pixels: number, orientation: Orientation): number {
  const copies = isUpright(orientation) ? 1 : 2;
  const turn = isUpright(orientation) ? 0 : swapsSides(orientation) ? NS.turnedPixel : NS.mirroredPixel;
  return (pixels * (turn + (pixels > KEPT_PIXELS_MAX ? copies * NS.freshPixel : 0))) / 1e6;
}

/** Takes microseconds; where a frame may have several scans, a millisecond for each megabyte. Errors: FRAME_COSTLY. */
export function decodeCost(bytes: Uint8Array, frame: CodedFrame): DecodeCost {
  const { coding, components, firstScan } = frame;
  const isArithmetic = coding >= 0xc9;
  const isProgressive = (coding & 3) === 2;
  const blocks = sum(components.map((component) => blocksAlone(frame, component)));
  let ns = bytes.length * (isArithmetic ? NS.arithmeticByte : NS.huffmanByte) + blocks * NS.output;
  // libjpeg decides by the first scan, and refuses further ones of a picture that needs none.
  const hasSeveral = isProgressive || (firstScan !== undefined && (firstScan.payload[0] ?? 0) < components.length);
  if (hasSeveral) ns += blocks * NS.kept;
  let scans = 0;
  for (const { payload, restartInterval } of scansOf(bytes, frame)) {
    scans += 1;
    const visits = visitsOf(frame, payload);
    // A block that is decoded at once is in `output`, and in the bytes.
    if (hasSeveral || isArithmetic) ns += visits * visitNs(coding, payload);
    if (restartInterval > 0) ns += (visits / restartInterval) * NS.restart;
    if (!hasSeveral || scans > SCANS_MAX) break;
  }
  return { ms: ns / 1e6, scans };
}

interface ScanHeader {
  /** Of its SOS segment. */
  readonly payload: Uint8Array;
  readonly restartInterval: number;
}

/**
 * The scans that libjpeg may come to. It ends at the end of the image, a second frame or a second start. Markers without a length
 * or a meaning are passed alone, whatever follows them: a decoder that looks for a restart marker passes them like that.
 */
function* scansOf(bytes: Uint8Array, frame: CodedFrame): Generator<ScanHeader, void, undefined> {
  const { firstScan: first } = frame;
  let { restartInterval } = frame;
  if (!first) return;
  yield { payload: first.payload, restartInterval };
  let segments = 0;
  for (let at = nextMarker(bytes, endOf(first)); at >= 0;) {
    const marker = bytes[at + 1]!;
    if (marker === MARKER.EOI || marker === MARKER.SOI || isFrameHeader(marker)) return;
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd7)) {
      at = nextMarker(bytes, at + 2);
      continue;
    }
    // A length of less than its own bytes counts as none.
    const end = at + Math.max(4, 2 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)));
    if (end > bytes.length) return;
    segments += 1;
    if (segments > SEGMENTS_MAX) {
      throw new SightlineError('FRAME_COSTLY', `a JPEG with more than ${SEGMENTS_MAX} segments behind its first scan`);
    }
    const payload = bytes.subarray(at + 4, end);
    if (marker === MARKER.SOS) yield { payload, restartInterval };
    else if (marker === MARKER.DRI) restartInterval = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
    at = nextMarker(bytes, end);
  }
}

/** Blocks that a scan visits. A component alone has no blocks beyond its own size (T.81 A.2.2); of an unknown one the worst is assumed. */
function visitsOf(frame: CodedFrame, payload: Uint8Array): number {
  const { components } = frame;
  const count = payload[0] ?? 0;
  const ids = Array.from({ length: count }, (_, i) => payload[1 + 2 * i]);
  const those = (id: number | undefined) => {
    const named = components.filter((component) => component.id === id);
    return named.length > 0 ? named : components;
  };
  if (ids.length === 1) return Math.max(...those(ids[0]).map((component) => blocksAlone(frame, component)));
  return units(frame) * sum(ids.map((id) => Math.max(...those(id).map(({ across, down }) => across * down))));
}

function visitNs(coding: number, payload: Uint8Array): number {
  const isArithmetic = coding >= 0xc9;
  const isProgressive = (coding & 3) === 2;
  const [first, last, bits] = payload.subarray(1 + 2 * (payload[0] ?? 0)) as unknown as (number | undefined)[];
  const band = isProgressive ? Math.max(1, Math.min(63, last ?? 63) - (first ?? 0) + 1) : 64;
  if (isArithmetic) return NS.arithmeticVisit + band * NS.arithmeticCoefficient;
  if (!isProgressive) return NS.sequentialVisit;
  return NS.huffmanVisit + ((bits ?? 0xff) >> 4 > 0 ? band * NS.refinedCoefficient : 0);
}

/** Units (MCU) of a scan of several components. */
function units({ width, height, components }: CodedFrame): number {
  const acrossMax = Math.max(1, ...components.map(({ across }) => across));
  const downMax = Math.max(1, ...components.map(({ down }) => down));
  return Math.ceil(width / (8 * acrossMax)) * Math.ceil(height / (8 * downMax));
}

function blocksAlone({ width, height, components }: CodedFrame, { across, down }: CodedComponent): number {
  const acrossMax = Math.max(1, ...components.map((component) => component.across));
  const downMax = Math.max(1, ...components.map((component) => component.down));
  const wide = Math.ceil(Math.ceil((width * across) / acrossMax) / 8);
  return wide * Math.ceil(Math.ceil((height * down) / downMax) / 8);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
