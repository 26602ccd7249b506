import { createRequire } from 'node:module';
import { SightlineError } from '../base/errors.ts';
import { exifOrientation, isExif } from './exif.ts';
import { scanFault } from './jpeg-scan.ts';
import { endOf, headerSegments, isDescription, isFrameHeader, MARKER, type Segment } from './jpeg-segments.ts';
import { type CodedFrame, decodeCost, NS_PER_PIXEL_MAX, SCANS_MAX, uprightMs } from './jpeg-work.ts';
import { type Orientation, orientationOfExif, UPRIGHT, uprightSize } from './orient.ts';

// The package is CommonJS whose exports are made at run time: a named ESM import would not find them.
const turbo = createRequire(import.meta.url)('@julusian/jpeg-turbo') as typeof import('@julusian/jpeg-turbo');

/** A JPEG's properties, read before anything is decoded. */
export interface JpegHeader {
  /** Pixels, as they are stored: `orientation` may swap them. */
  readonly width: number;
  /** Pixels, as they are stored. */
  readonly height: number;
  /** 1 grey, 3 colour. */
  readonly components: number;
  readonly progressive: boolean;
  /** How to rotate the stored picture upright, by its EXIF. */
  readonly orientation: Orientation;
}

/** A JPEG that may be decoded. */
export interface CheckedJpeg extends JpegHeader {
  /** What that will cost, nominal: see `jpeg-work.ts`. */
  readonly decodeMs: number;
}

export interface ImageLimits {
  /** Longest side, pixels. */
  readonly sideMax: number;
  /** Width × height. It also bounds what decoding may cost, whatever the picture's own size. */
  readonly pixelsMax: number;
}

export interface RgbPicture {
  /** Packed RGB, 3 bytes a pixel, rows without padding; from a decoder, a view of the buffer that was decoded into. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

export interface RgbxPicture {
  /** 4 bytes a pixel: red, green, blue and one without meaning; otherwise as above. */
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

const EOI_BYTES = Buffer.from([0xff, MARKER.EOI]);

/** Codings of T.81 table B.1 that libjpeg-turbo knows: by Huffman or arithmetic, sequential or progressive. */
const CODINGS: ReadonlySet<number> = new Set([0xc0, 0xc1, 0xc2, 0xc9, 0xca]);

/**
 * Reads the frame header (SOF) and the orientation by walking the marker segments of ITU-T T.81 annex B; decodes nothing. Bytes between
 * segments are passed, as libjpeg does. Errors: FRAME_EMPTY, FRAME_NOT_JPEG, FRAME_TRUNCATED (the bytes end before the frame
 * header does), FRAME_UNDECODABLE (a sound JPEG of a kind that is not decoded, which the message names).
 */
export function readJpegHeader(bytes: Uint8Array): JpegHeader {
  const { frame: _, ...header } = readHeader(bytes);
  return header;
}

/**
 * All checks of a JPEG from outside before decoding: its header, its size against `limits`, that it has an end, and what decoding it
 * will cost. Takes microseconds; a millisecond for each megabyte of a picture of several scans. Errors: those of
 * `readJpegHeader`, FRAME_TOO_LARGE, FRAME_COSTLY.
 */
export function checkJpeg(bytes: Uint8Array, limits: ImageLimits): CheckedJpeg {
  const { frame, ...header } = readHeader(bytes);
  const { width, height } = header;
  if (width > limits.sideMax || height > limits.sideMax) {
    throw new SightlineError('FRAME_TOO_LARGE', `${width}×${height} pixels: a side is over ${limits.sideMax}`);
  }
  if (width * height > limits.pixelsMax) {
    throw new SightlineError('FRAME_TOO_LARGE', `${width}×${height} pixels: more than ${limits.pixelsMax} in all`);
  }
  if (!hasJpegEnd(bytes)) throw withoutEnd(bytes, header);
  const { ms: decodeMs, scans } = decodeCost(bytes, frame);
  if (scans > SCANS_MAX) {
    throw new SightlineError('FRAME_COSTLY', `a ${width}×${height} JPEG of more than ${SCANS_MAX} scans`);
  }
  const msMax = decodeMsMax(limits);
  if (decodeMs > msMax) {
    const what = `a ${width}×${height} JPEG of ${scans} ${scans === 1 ? 'scan' : 'scans'} and ${bytes.length} bytes`;
    const times = (decodeMs / msMax).toFixed(1);
    throw new SightlineError('FRAME_COSTLY', `${what}: decoding takes ${times} times as long as is allowed`);
  }
  return { ...header, decodeMs };
}

/** What decoding a picture may cost, nominal ms. */
function decodeMsMax({ pixelsMax }: ImageLimits): number {
  return (pixelsMax * NS_PER_PIXEL_MAX) / 1e6;
}

/**
 * The size of a JPEG that stands upright, pixels, and the nominal cost of decoding it until it does, once it is checked. Errors: those of
 * `checkJpeg`.
 */
export function uprightJpegSize(
  bytes: Uint8Array,
  limits: ImageLimits,
): { readonly width: number; readonly height: number; readonly decodeMs: number } {
  const { decodeMs, width, height, orientation } = checkJpeg(bytes, limits);
  return {
    ...uprightSize({ width, height }, orientation),
    decodeMs: decodeMs + uprightMs(width * height, orientation),
  };
}

/**
 * Whether an end-of-image marker stands behind the start of the first scan. Entropy-coded data cannot hold one by chance
 * (T.81 B.1.1.5 stuffs a zero after FF) and a thumbnail's own end stands before the scan; padding after the end is legal.
 * Errors: those of `readJpegHeader`, for bytes that never come to a scan.
 */
export function hasJpegEnd(bytes: Uint8Array): boolean {
  let scan = 0;
  for (const { at } of headerSegments(bytes)) scan = at;
  return asBuffer(bytes).lastIndexOf(EOI_BYTES) > scan;
}

/**
 * Decodes to packed RGB into the front of `into` (at least width × height × 3 bytes), which stays the caller's. The picture is as it
 * is stored: `orientation` in its header says how to rotate it. Data that libjpeg only warns of is taken, as long as no part of the
 * picture is missing. Errors: FRAME_TRUNCATED, FRAME_UNDECODABLE, and those of `readJpegHeader`. A picture from outside is checked by
 * `checkJpeg` before; `limits` are the same ones.
 */
export function decodeJpeg(bytes: Uint8Array, into: Uint8Array, limits: ImageLimits = ANY_SIZE): RgbPicture {
  return decode(bytes, into, 3, limits);
}

/** As `decodeJpeg`, with 4 bytes a pixel, so that a pixel can be read as one number. */
export function decodeJpegRgbx(bytes: Uint8Array, into: Uint8Array, limits: ImageLimits = ANY_SIZE): RgbxPicture {
  return decode(bytes, into, 4, limits);
}

/** For pictures that the program has made or chosen itself. */
const ANY_SIZE: ImageLimits = { sideMax: Infinity, pixelsMax: Infinity };

/** Bytes that `encodeJpeg` needs to work in for a picture of this size. */
export function jpegBytesMax(width: number, height: number): number {
  return turbo.bufferSize({ width, height, subsampling: turbo.SAMP_420 });
}

/**
 * Encodes packed RGB as a baseline 4:2:0 JPEG. `quality` is libjpeg's, 1 to 100. With `into` (at least `jpegBytesMax` bytes)
 * the result is a view of it, good until its next use; without, of a fresh buffer.
 */
export function encodeJpeg(picture: RgbPicture, quality: number, into?: Uint8Array): Uint8Array {
  const { data, width, height } = picture;
  const out = into ? asBuffer(into) : Buffer.allocUnsafeSlow(jpegBytesMax(width, height));
  return turbo.compressSync(asBuffer(data), out, {
    format: turbo.FORMAT_RGB,
    width,
    height,
    subsampling: turbo.SAMP_420,
    quality,
  });
}

interface Header extends JpegHeader {
  readonly frame: CodedFrame;
}

function readHeader(bytes: Uint8Array): Header {
  let orientation: Orientation | undefined;
  let isYcck = false;
  let frame: Segment | undefined;
  let firstScan: Segment | undefined;
  let restartInterval = 0;
  try {
    for (const segment of headerSegments(bytes)) {
      const { marker, payload } = segment;
      if (marker === MARKER.APP1 && !orientation && isExif(payload)) {
        orientation = orientationOfExif(exifOrientation(payload));
      } else if (marker === MARKER.APP14) isYcck = payload[11] === 2;
      else if (marker === MARKER.DRI) restartInterval = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
      else if (marker === JPEG_LS) throw new SightlineError('FRAME_UNDECODABLE', `a picture in JPEG-LS: ${SEND}`);
      else if (isFrameHeader(marker)) frame ??= segment;
      else if (marker === MARKER.SOS && !frame) {
        throw new SightlineError(
          'FRAME_NOT_JPEG',
          `a JPEG whose scan at byte ${segment.at} comes before its frame header`,
        );
      } else if (marker === MARKER.SOS) firstScan = segment;
    }
  } catch (thrown) {
    // The frame header is there: no more is needed.
    if (!frame) throw thrown;
  }
  const { marker, payload } = frame!;
  // Precision (1), height (2), width (2), components (1), and for each its name, sampling and table.
  const [precision, components] = [payload[0]!, payload[5] ?? 0];
  const height = (payload[1]! << 8) | payload[2]!;
  const width = (payload[3]! << 8) | payload[4]!;
  if (payload.length < 6) {
    throw new SightlineError('FRAME_NOT_JPEG', `a JPEG frame header of ${payload.length + 2} bytes`);
  }
  if (width === 0 || components === 0) {
    throw new SightlineError(
      'FRAME_NOT_JPEG',
      `a JPEG frame header with ${width}×${height} pixels and ${components} components`,
    );
  }
  const kind = unsupportedKind({ marker, precision, height, components, isYcck });
  if (kind !== undefined) throw new SightlineError('FRAME_UNDECODABLE', `a ${width}×${height} JPEG ${kind}: ${SEND}`);
  const coded = Array.from({ length: components }, (_, i) => {
    const factors = payload[7 + 3 * i] ?? 0;
    return { id: payload[6 + 3 * i] ?? 0, across: factors >> 4, down: factors & 15 };
  });
  return {
    width,
    height,
    components,
    // SOF2, 6, 10 and 14 are the progressive ones (T.81 table B.1).
    progressive: (marker & 3) === 2,
    orientation: orientation ?? UPRIGHT,
    frame: { coding: marker, width, height, components: coded, firstScan, restartInterval },
  };
}

/** Starts a frame of ITU-T T.87, which is another format. */
const JPEG_LS = 0xf7;

const SEND = 'baseline or progressive JPEGs of 8 bits in colour or grey are decoded';

/** Why a sound JPEG cannot be decoded here, in words; undefined when it can. */
function unsupportedKind(frame: {
  readonly marker: number;
  readonly precision: number;
  readonly height: number;
  readonly components: number;
  readonly isYcck: boolean;
}): string | undefined {
  const { marker, precision, height, components, isYcck } = frame;
  if (!CODINGS.has(marker)) return (marker & 3) === 3 ? 'with lossless coding' : 'with hierarchical coding';
  if (precision !== 8) return `with ${precision} bits a sample`;
  if (components === 4) return `in ${isYcck ? 'YCCK' : 'CMYK'}, the colours of print`;
  if (components !== 1 && components !== 3) return `of ${components} colour components`;
  if (height === 0) return 'that gives its height only behind its data (DNL)';
  return undefined;
}

/**
 * The library treats libjpeg's warnings as errors and loses their reasons; but it decodes to the end all the same, which the
 * last pixel's fourth byte shows. Whether the fault costs the picture is then read from the data itself.
 */
function decode(bytes: Uint8Array, into: Uint8Array, bytesPerPixel: 3 | 4, limits: ImageLimits): RgbPicture {
  const format = bytesPerPixel === 3 ? turbo.FORMAT_RGB : turbo.FORMAT_RGBX;
  try {
    const { width, height } = turbo.decompressSync(asBuffer(bytes), asBuffer(into), { format });
    return { data: into.subarray(0, width * height * bytesPerPixel), width, height };
  } catch (cause) {
    return decodeDespite(bytes, into, bytesPerPixel, limits, cause);
  }
}

function decodeDespite(
  bytes: Uint8Array,
  into: Uint8Array,
  bytesPerPixel: 3 | 4,
  limits: ImageLimits,
  cause: unknown,
): RgbPicture {
  const header = readHeader(bytes);
  const { width, height, frame } = header;
  const length = width * height * bytesPerPixel;
  if (into.length < length) {
    throw new SightlineError('INTERNAL', `a buffer of ${into.length} bytes for a ${width}×${height} picture`, {
      cause,
    });
  }
  if (!hasJpegEnd(bytes)) throw withoutEnd(bytes, header);
  if (decodeCost(bytes, frame).ms * DESPITE_TIMES > decodeMsMax(limits)) {
    const message = `a ${width}×${height} JPEG that libjpeg-turbo complains of, and too costly to look into`;
    throw new SightlineError('FRAME_UNDECODABLE', message, { cause });
  }
  const fault = scanFault(bytes, standardJpeg());
  if (fault === undefined) {
    const pixels = bytesPerPixel === 4 ? into : new Uint8Array(width * height * 4);
    if (isDecodedToTheEnd(bytes, pixels, width * height)) {
      if (bytesPerPixel === 3) dropFourth(pixels, into, width * height);
      return { data: into.subarray(0, length), width, height };
    }
    const sampling = frame.components.map(({ across, down }) => `${across}×${down}`);
    const message = `a ${width}×${height} JPEG with the sampling ${sampling.join(', ')}: libjpeg-turbo does not decode it`;
    throw new SightlineError('FRAME_UNDECODABLE', message, { cause });
  }
  const what = fault === 'unknown' ? 'libjpeg-turbo rejects' : `is ${fault}`;
  throw new SightlineError('FRAME_UNDECODABLE', `a ${width}×${height} JPEG whose data ${what}`, { cause });
}

/**
 * A picture of which libjpeg complains is decoded a second time, and its data are walked in JavaScript, which takes up to four times as long:
 * all in all no more than for the dearest picture without a fault.
 */
const DESPITE_TIMES = 5;

/** Decodes once more, into 4 bytes a pixel: the fourth of the last one is 255 when all rows were written, despite the complaint. */
function isDecodedToTheEnd(bytes: Uint8Array, into: Uint8Array, pixels: number): boolean {
  into[4 * pixels - 1] = 0;
  try {
    turbo.decompressSync(withPlainHeader(bytes), asBuffer(into), { format: turbo.FORMAT_RGBX });
  } catch {
    // The complaint is known.
  }
  return into[4 * pixels - 1] === 255;
}

/**
 * The same JPEG without the header parts that libjpeg may warn of, where the library gives up on a warning: bytes between segments, and
 * segments that change no pixel.
 */
function withPlainHeader(bytes: Uint8Array): Buffer {
  const parts: Uint8Array[] = [bytes.subarray(0, 2)];
  let end = 0;
  for (const segment of headerSegments(bytes)) {
    const { marker, at, payload } = segment;
    end = endOf(segment);
    // The known versions and transforms; with another one the colours are the same as without the segment.
    const isKnown = (marker === MARKER.APP0 && payload[5] === 1) || (marker === MARKER.APP14 && payload[11]! <= 2);
    if (isKnown || !isDescription(marker)) parts.push(bytes.subarray(at, end));
  }
  return Buffer.concat([...parts, bytes.subarray(end)]);
}

function dropFourth(rgbx: Uint8Array, into: Uint8Array, pixels: number): void {
  for (let i = 0; i < pixels; i += 1) {
    into[3 * i] = rgbx[4 * i]!;
    into[3 * i + 1] = rgbx[4 * i + 1]!;
    into[3 * i + 2] = rgbx[4 * i + 2]!;
  }
}

let standard: Uint8Array | undefined;

/** The encoder writes the Huffman tables of annex K.3. */
function standardJpeg(): Uint8Array {
  standard ??= encodeJpeg({ data: new Uint8Array(8 * 8 * 3), width: 8, height: 8 }, 50);
  return standard;
}

function withoutEnd(bytes: Uint8Array, { width, height }: { width: number; height: number }): SightlineError {
  return new SightlineError(
    'FRAME_TRUNCATED',
    `${bytes.length} bytes of a ${width}×${height} JPEG without its end marker`,
  );
}

/** The same memory as a Buffer, which the native side insists on. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
