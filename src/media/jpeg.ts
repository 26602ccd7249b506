import { createRequire } from 'node:module';
import { SightlineError } from '../base/errors.ts';

// The package is CommonJS whose exports are made at run time: a named ESM import would not find them.
const turbo = createRequire(import.meta.url)('@julusian/jpeg-turbo') as typeof import('@julusian/jpeg-turbo');

/** What a JPEG says of itself before anything is decoded. */
export interface JpegHeader {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  /** 1 grey, 3 colour, 4 CMYK. */
  readonly components: number;
  readonly progressive: boolean;
}

export interface ImageLimits {
  /** Longest side, pixels. */
  readonly sideMax: number;
  /** Width × height. */
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

const SOI = 0xd8;
const EOI = 0xd9;
const SOS = 0xda;
const DHT = 0xc4;
const JPG = 0xc8;
const DAC = 0xcc;
const EOI_BYTES = Buffer.from([0xff, EOI]);

/**
 * Reads the frame header (SOF) by walking the marker segments of ITU-T T.81 annex B; decodes nothing. Errors: FRAME_EMPTY,
 * FRAME_NOT_JPEG, FRAME_TRUNCATED (the bytes end before the frame header does).
 */
export function readJpegHeader(bytes: Uint8Array): JpegHeader {
  const at = findSegment(bytes, isFrameHeader);
  // Length (2), precision (1), height (2), width (2), components (1).
  const height = (bytes[at + 5]! << 8) | bytes[at + 6]!;
  const width = (bytes[at + 7]! << 8) | bytes[at + 8]!;
  const components = bytes[at + 9]!;
  if (width === 0 || height === 0 || components === 0) {
    throw new SightlineError(
      'FRAME_NOT_JPEG',
      `a JPEG frame header with ${width}×${height} pixels and ${components} components`,
    );
  }
  // SOF2, 6, 10 and 14 are the progressive ones (T.81 table B.1).
  return { width, height, components, progressive: (bytes[at + 1]! & 3) === 2 };
}

/**
 * Everything that is to be checked before a JPEG from outside is decoded: its header, its size against `limits`, and that it
 * has an end. Costs microseconds. Errors: those of `readJpegHeader`, FRAME_TOO_LARGE.
 */
export function checkJpeg(bytes: Uint8Array, limits: ImageLimits): JpegHeader {
  const header = readJpegHeader(bytes);
  const { width, height } = header;
  if (width > limits.sideMax || height > limits.sideMax) {
    throw new SightlineError('FRAME_TOO_LARGE', `${width}×${height} pixels: a side is over ${limits.sideMax}`);
  }
  if (width * height > limits.pixelsMax) {
    throw new SightlineError('FRAME_TOO_LARGE', `${width}×${height} pixels: more than ${limits.pixelsMax} in all`);
  }
  if (!hasJpegEnd(bytes)) {
    throw new SightlineError(
      'FRAME_TRUNCATED',
      `${bytes.length} bytes of a ${width}×${height} JPEG without its end marker`,
    );
  }
  return header;
}

/**
 * Whether an end-of-image marker stands behind the start of the first scan. Entropy-coded data cannot hold one by chance
 * (T.81 B.1.1.5 stuffs a zero after FF) and a thumbnail's own end stands before the scan; padding after the end is legal.
 * Errors: those of `readJpegHeader`, for bytes that never come to a scan.
 */
export function hasJpegEnd(bytes: Uint8Array): boolean {
  return asBuffer(bytes).lastIndexOf(EOI_BYTES) > findSegment(bytes, isScan);
}

/**
 * Decodes to packed RGB into the front of `into` (at least width × height × 3 bytes), which stays the caller's. Errors:
 * FRAME_TRUNCATED, FRAME_UNDECODABLE, and those of `readJpegHeader`.
 */
export function decodeJpeg(bytes: Uint8Array, into: Uint8Array): RgbPicture {
  return decode(bytes, into, 3);
}

/** As `decodeJpeg`, with 4 bytes a pixel, so that a pixel can be read as one number. */
export function decodeJpegRgbx(bytes: Uint8Array, into: Uint8Array): RgbxPicture {
  return decode(bytes, into, 4);
}

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

function decode(bytes: Uint8Array, into: Uint8Array, bytesPerPixel: 3 | 4): RgbPicture {
  try {
    const format = bytesPerPixel === 3 ? turbo.FORMAT_RGB : turbo.FORMAT_RGBX;
    const { width, height } = turbo.decompressSync(asBuffer(bytes), asBuffer(into), { format });
    return { data: into.subarray(0, width * height * bytesPerPixel), width, height };
  } catch (cause) {
    // The library refuses cut data as any other (it takes libjpeg's warnings for errors) but loses the reason on the way.
    const { width, height } = readJpegHeader(bytes);
    if (into.length < width * height * bytesPerPixel) {
      throw new SightlineError('INTERNAL', `a buffer of ${into.length} bytes for a ${width}×${height} picture`, {
        cause,
      });
    }
    if (!hasJpegEnd(bytes)) {
      throw new SightlineError(
        'FRAME_TRUNCATED',
        `${bytes.length} bytes of a ${width}×${height} JPEG without its end marker`,
      );
    }
    throw new SightlineError('FRAME_UNDECODABLE', `a ${width}×${height} JPEG whose data is damaged`, { cause });
  }
}

/** Place of the FF of the first segment whose marker fits; that segment's length and payload lie within the bytes. */
function findSegment(bytes: Uint8Array, fits: (marker: number) => boolean): number {
  const end = bytes.length;
  if (end === 0) throw new SightlineError('FRAME_EMPTY', 'a frame of 0 bytes');
  if (bytes[0] !== 0xff || (end > 1 && bytes[1] !== SOI)) {
    throw new SightlineError('FRAME_NOT_JPEG', `a frame that starts with ${hex(bytes, 0)} instead of FF D8`);
  }
  let at = 2;
  while (at + 4 <= end) {
    if (bytes[at] !== 0xff)
      throw new SightlineError('FRAME_NOT_JPEG', `${hex(bytes, at)} at byte ${at} where a JPEG marker must be`);
    const marker = bytes[at + 1]!;
    // Any number of FF may fill the space before a marker (B.1.1.2); TEM stands alone, without a length.
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0x01) {
      at += 2;
      continue;
    }
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (marker === 0 || (marker >= 0xd0 && marker <= EOI) || length < 2) {
      throw new SightlineError('FRAME_NOT_JPEG', `${hex(bytes, at)} at byte ${at} is no segment of a JPEG's header`);
    }
    const found = fits(marker);
    if (!found && marker === SOS) {
      throw new SightlineError('FRAME_NOT_JPEG', `a JPEG whose scan at byte ${at} comes before its frame header`);
    }
    if (found) {
      if (at + 2 + length > end) break;
      // Eight bytes: the shortest frame header up to its number of components.
      if (isFrameHeader(marker) && length < 8) {
        throw new SightlineError('FRAME_NOT_JPEG', `a JPEG frame header of ${length} bytes`);
      }
      return at;
    }
    at += 2 + length;
  }
  throw new SightlineError('FRAME_TRUNCATED', `a JPEG that ends after ${end} bytes, within its header`);
}

function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== DHT && marker !== JPG && marker !== DAC;
}

function isScan(marker: number): boolean {
  return marker === SOS;
}

function hex(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + 2), (b) => b.toString(16).toUpperCase().padStart(2, '0')).join(' ');
}

/** The same memory as a Buffer, which the native side insists on. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
