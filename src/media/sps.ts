import { SightlineError } from '../base/errors.ts';
import type { NalCodec } from './nal.ts';

/** What a sequence parameter set says of the pictures: ITU-T H.264 7.3.2.1, ITU-T H.265 7.3.2.2. */
export interface SequenceFacts {
  /** Of the picture that is shown (cropped), pixels as they are coded. */
  readonly width: number;
  readonly height: number;
  /** Shape of a pixel; 1:1 where it is not told. */
  readonly aspect: readonly [across: number, down: number];
  /** 0: grey, 1: 4:2:0, 2: 4:2:2, 3: 4:4:4. */
  readonly chromaFormat: number;
  readonly lumaBits: number;
  readonly chromaBits: number;
  /** Profile, compatibility and level as they stand in the set: 3 bytes of H.264, 12 of H.265 (`general_…`). */
  readonly profile: Uint8Array;
  /** H.265; 1 and true for H.264. */
  readonly temporalLayers: number;
  readonly isTemporalNested: boolean;
  /** So many frames, at most, are decoded before one that is shown earlier; undefined: that is not told. */
  readonly reorderedFrames: number | undefined;
}

/** The fields of MP4 for it have 16 bits. */
const SIDE_MAX = 0xffff;

/** `avcC` and `hvcC` have three bits for what is above 8. */
const BITS_MAX = 15;

/** Type of the order of pictures in which they are shown as they are decoded (8.2.1.3). */
const IN_ORDER = 2;
/** A decoder keeps no more. */
const REORDERED_MAX = 16;

/** A set is short; the rest of a longer one is not looked at. */
const LOOKED_AT_BYTES_MAX = 4096;

/** Profiles of H.264 whose sets tell the chroma format. */
const HIGH_PROFILES = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);

/** Table E-1 of both standards, from 1. */
const ASPECTS = [
  [1, 1],
  [12, 11],
  [10, 11],
  [16, 11],
  [40, 33],
  [24, 11],
  [20, 11],
  [32, 11],
  [80, 33],
  [18, 11],
  [15, 11],
  [64, 33],
  [160, 99],
  [4, 3],
  [3, 2],
  [2, 1],
] as const;
const ASPECT_EXTENDED = 255;

/** Reads a whole unit. Errors: SOURCE_UNREADABLE. */
export function readSps(codec: NalCodec, unit: Uint8Array): SequenceFacts {
  const headerBytes = codec === 'h264' ? 1 : 2;
  const payload = withoutEmulation(unit.subarray(headerBytes, LOOKED_AT_BYTES_MAX));
  const facts = codec === 'h264' ? readH264(payload) : readHevc(payload);
  const { width, height } = facts;
  if (width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX) throw bad(`a picture of ${width}×${height}`);
  return facts;
}

/** RFC 6381, from the profile as `SequenceFacts` has it: `avc1.64001f`, `hvc1.1.6.L93.90`. */
export function codecStringOf(codec: NalCodec, profile: Uint8Array): string {
  if (codec === 'h264') return `avc1.${Buffer.from(profile).toString('hex')}`;
  // ISO/IEC 14496-15, annex E: the compatibility flags with their first one lowest; constraint bytes up to the last one that is not zero.
  const [general, ...rest] = profile as unknown as [number, ...number[]];
  const space = ['', 'A', 'B', 'C'][general >> 6]!;
  const tier = (general & 0x20) === 0 ? 'L' : 'H';
  const flags = rest.slice(0, 4).flatMap((byte) => Array.from({ length: 8 }, (_, bit) => (byte >> (7 - bit)) & 1));
  const compatibility = flags.reduceRight((sum, flag) => sum * 2 + flag, 0);
  const constraints = rest.slice(4, 10);
  while (constraints.at(-1) === 0) constraints.pop();
  const parts = [
    `${space}${general & 31}`,
    upperHex(compatibility),
    `${tier}${rest[10]}`,
    ...constraints.map(upperHex),
  ];
  return `hvc1.${parts.join('.')}`;
}

function upperHex(value: number): string {
  return value.toString(16).toUpperCase();
}

function readH264(payload: Uint8Array): SequenceFacts {
  const bits = new Bits(payload);
  bits.skip(24);
  bits.golomb();
  let chromaFormat = 1;
  let hasSeparatePlanes = false;
  let lumaBits = 8;
  let chromaBits = 8;
  if (HIGH_PROFILES.has(payload[0]!)) {
    chromaFormat = bits.golombUpTo(3, 'chroma_format_idc');
    hasSeparatePlanes = chromaFormat === 3 && bits.flag();
    lumaBits = 8 + bits.golombUpTo(BITS_MAX - 8, 'bit_depth_luma_minus8');
    chromaBits = 8 + bits.golombUpTo(BITS_MAX - 8, 'bit_depth_chroma_minus8');
    bits.skip(1);
    if (bits.flag()) skipScalingListsH264(bits, chromaFormat === 3 ? 12 : 8);
  }
  bits.golomb();
  const isInOrder = skipPictureOrder(bits) === IN_ORDER;
  bits.golomb();
  bits.skip(1);
  const widthUnits = 1 + bits.golomb();
  const heightUnits = 1 + bits.golomb();
  const isProgressive = bits.flag();
  if (!isProgressive) bits.skip(1);
  bits.skip(1);
  const fields = isProgressive ? 1 : 2;
  const crop = readCrop(bits, hasSeparatePlanes ? 0 : chromaFormat);
  const hasMore = bits.flag();
  return {
    width: 16 * widthUnits - crop.width,
    height: fields * (16 * heightUnits - crop.height),
    aspect: hasMore ? readAspect(bits) : [1, 1],
    reorderedFrames: isInOrder ? 0 : hasMore ? readReorderedFrames(bits) : undefined,
    chromaFormat,
    lumaBits,
    chromaBits,
    profile: payload.slice(0, 3),
    temporalLayers: 1,
    isTemporalNested: true,
  };
}

/** Returns its type. */
function skipPictureOrder(bits: Bits): number {
  const type = bits.golombUpTo(2, 'pic_order_cnt_type');
  if (type === 0) bits.golomb();
  if (type !== 1) return type;
  bits.skip(1);
  bits.golomb();
  bits.golomb();
  for (let left = bits.golombUpTo(255, 'num_ref_frames_in_pic_order_cnt_cycle'); left > 0; left -= 1) bits.golomb();
  return type;
}

/** E.1.1, behind the shape of a pixel; undefined: it is not told, or what stands there cannot be read, which harms nothing else. */
function readReorderedFrames(bits: Bits): number | undefined {
  try {
    if (bits.flag()) bits.skip(1);
    if (bits.flag()) {
      bits.skip(4);
      if (bits.flag()) bits.skip(24);
    }
    if (bits.flag()) bits.skipGolombs(2);
    if (bits.flag()) bits.skip(65);
    const hasBuffers = [0, 1].map(() => bits.flag() && skipBufferModel(bits)).includes(true);
    if (hasBuffers) bits.skip(1);
    bits.skip(1);
    if (!bits.flag()) return undefined;
    bits.skip(1);
    bits.skipGolombs(4);
    return bits.golombUpTo(REORDERED_MAX, 'max_num_reorder_frames');
  } catch (thrown) {
    if (thrown instanceof SightlineError) return undefined;
    throw thrown;
  }
}

/** E.1.2. */
function skipBufferModel(bits: Bits): true {
  const count = 1 + bits.golombUpTo(31, 'cpb_cnt_minus1');
  bits.skip(8);
  for (let i = 0; i < count; i += 1) {
    bits.skipGolombs(2);
    bits.skip(1);
  }
  bits.skip(20);
  return true;
}

/** 7.3.2.1.1.1: a list ends where its next scale would be 0. */
function skipScalingListsH264(bits: Bits, lists: number): void {
  for (let list = 0; list < lists; list += 1) {
    if (!bits.flag()) continue;
    let last = 8;
    for (let i = 0, size = list < 6 ? 16 : 64; i < size && last !== 0; i += 1) {
      last = (last + bits.signedGolomb() + 256) & 255;
    }
  }
}

function readHevc(payload: Uint8Array): SequenceFacts {
  const bits = new Bits(payload);
  bits.skip(4);
  const layersAbove = bits.read(3);
  if (layersAbove > 6) throw bad('sps_max_sub_layers_minus1 7');
  const isTemporalNested = bits.flag();
  bits.skip(8 * 12);
  skipLayerProfiles(bits, layersAbove);
  bits.golomb();
  const chromaFormat = bits.golombUpTo(3, 'chroma_format_idc');
  const hasSeparatePlanes = chromaFormat === 3 && bits.flag();
  const codedWidth = bits.golomb();
  const codedHeight = bits.golomb();
  const crop = readCrop(bits, hasSeparatePlanes ? 0 : chromaFormat);
  return {
    width: codedWidth - crop.width,
    height: codedHeight - crop.height,
    lumaBits: 8 + bits.golombUpTo(BITS_MAX - 8, 'bit_depth_luma_minus8'),
    chromaBits: 8 + bits.golombUpTo(BITS_MAX - 8, 'bit_depth_chroma_minus8'),
    ...readRestHevc(bits, layersAbove),
    chromaFormat,
    profile: payload.slice(1, 13),
    temporalLayers: layersAbove + 1,
    isTemporalNested,
  };
}

/** 7.3.3, behind what is general. */
function skipLayerProfiles(bits: Bits, layersAbove: number): void {
  if (layersAbove === 0) return;
  let skipped = 0;
  for (let layer = 0; layer < 8; layer += 1) {
    const hasProfile = bits.flag();
    const hasLevel = bits.flag();
    if (layer < layersAbove) skipped += (hasProfile ? 88 : 0) + (hasLevel ? 8 : 0);
  }
  bits.skip(skipped);
}

/** Walks from the bit depths to the VUI (annex E), which begins with the shape of a pixel. */
function readRestHevc(bits: Bits, layersAbove: number): Pick<SequenceFacts, 'aspect' | 'reorderedFrames'> {
  const orderBits = 4 + bits.golombUpTo(12, 'log2_max_pic_order_cnt_lsb_minus4');
  // Of the last layer: all are decoded.
  let reorderedFrames = 0;
  for (let layer = bits.flag() ? 0 : layersAbove; layer <= layersAbove; layer += 1) {
    bits.skipGolombs(1);
    reorderedFrames = bits.golombUpTo(REORDERED_MAX, 'sps_max_num_reorder_pics');
    bits.skipGolombs(1);
  }
  bits.skipGolombs(6);
  // Enabled, and told here instead of the standard's.
  if (bits.flag() && bits.flag()) skipScalingListsHevc(bits);
  bits.skip(2);
  if (bits.flag()) {
    bits.skip(8);
    bits.skipGolombs(2);
    bits.skip(1);
  }
  skipReferenceSets(bits);
  if (bits.flag()) bits.skip(bits.golombUpTo(32, 'num_long_term_ref_pics_sps') * (orderBits + 1));
  bits.skip(2);
  return { aspect: bits.flag() ? readAspect(bits) : [1, 1], reorderedFrames };
}

/** 7.3.4. */
function skipScalingListsHevc(bits: Bits): void {
  for (let size = 0; size < 4; size += 1) {
    for (let matrix = 0; matrix < 6; matrix += size === 3 ? 3 : 1) {
      if (!bits.flag()) bits.golomb();
      else bits.skipGolombs(Math.min(64, 16 << (2 * size)) + (size > 1 ? 1 : 0));
    }
  }
}

/** 7.3.7: a set may be told as the difference to the one before it, so that each one's number of pictures is needed. */
function skipReferenceSets(bits: Bits): void {
  let pictures = 0;
  for (let set = 0, sets = bits.golombUpTo(64, 'num_short_term_ref_pic_sets'); set < sets; set += 1) {
    if (set > 0 && bits.flag()) {
      bits.skip(1);
      bits.golomb();
      let kept = 0;
      for (let i = 0; i <= pictures; i += 1) if (bits.flag() || bits.flag()) kept += 1;
      pictures = kept;
    } else {
      pictures = bits.golombUpTo(16, 'num_negative_pics') + bits.golombUpTo(16, 'num_positive_pics');
      for (let i = 0; i < pictures; i += 1) {
        bits.golomb();
        bits.skip(1);
      }
    }
  }
}

/** What is cut off, pixels of a progressive picture. The units are those of the chroma samples. */
function readCrop(bits: Bits, chromaFormat: number): { width: number; height: number } {
  if (!bits.flag()) return { width: 0, height: 0 };
  const across = chromaFormat === 1 || chromaFormat === 2 ? 2 : 1;
  const down = chromaFormat === 1 ? 2 : 1;
  const width = across * (bits.golomb() + bits.golomb());
  return { width, height: down * (bits.golomb() + bits.golomb()) };
}

/** E.1.1 of H.264, E.2.1 of H.265. */
function readAspect(bits: Bits): SequenceFacts['aspect'] {
  if (!bits.flag()) return [1, 1];
  const index = bits.read(8);
  if (index !== ASPECT_EXTENDED) return ASPECTS[index - 1] ?? [1, 1];
  const across = bits.read(16);
  const down = bits.read(16);
  // Zero: not told.
  return across > 0 && down > 0 ? [across, down] : [1, 1];
}

/** Takes out the 03 of each 00 00 03 (7.4.1 of H.264, 7.4.2 of H.265). */
function withoutEmulation(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let zeros = 0;
  for (const byte of bytes) {
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    zeros = byte === 0 ? zeros + 1 : 0;
    out[length] = byte;
    length += 1;
  }
  return out.subarray(0, length);
}

class Bits {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  flag(): boolean {
    return this.read(1) === 1;
  }

  /** At most 32. */
  read(count: number): number {
    const from = this.#at;
    this.skip(count);
    let value = 0;
    for (let at = from; at < this.#at; at += 1) value = value * 2 + ((this.#bytes[at >> 3]! >> (7 - (at & 7))) & 1);
    return value;
  }

  skip(count: number): void {
    if (this.#at + count > 8 * this.#bytes.length) throw bad('it is cut');
    this.#at += count;
  }

  /** ue(v), 9.1 of H.264, 9.2 of H.265. */
  golomb(): number {
    let zeros = 0;
    while (!this.flag()) {
      zeros += 1;
      if (zeros > 32) throw bad('a number of more than 32 bits');
    }
    return 2 ** zeros - 1 + this.read(zeros);
  }

  /** se(v). */
  signedGolomb(): number {
    const code = this.golomb();
    return code % 2 === 1 ? (code + 1) / 2 : -code / 2;
  }

  golombUpTo(max: number, name: string): number {
    const value = this.golomb();
    if (value > max) throw bad(`${name} ${value}`);
    return value;
  }

  skipGolombs(count: number): void {
    for (let left = count; left > 0; left -= 1) this.golomb();
  }
}

function bad(reason: string): SightlineError {
  return new SightlineError('SOURCE_UNREADABLE', `the stream's parameter set (SPS) cannot be read: ${reason}`);
}
