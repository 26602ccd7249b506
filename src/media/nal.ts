/**
 * NAL units of H.264 (ITU-T H.264) and H.265 (ITU-T H.265): how they are framed, which kinds there are, and where the parameter sets are. No I/O; bytes of any
 * sender go in, and what is damaged gives fewer units.
 */

export type NalCodec = 'h264' | 'hevc';

/** `annexb`: between start codes (annex B of both standards). `prefixed`: each behind its length, as in MP4 (ISO/IEC 14496-15). */
export type NalFraming = { readonly kind: 'annexb' } | { readonly kind: 'prefixed'; readonly lengthBytes: number };

/** Without the other kind's: H.264 has no VPS. Each is a whole unit with its header, escaped as it was sent. */
export interface ParameterSets {
  readonly codec: NalCodec;
  readonly vps: readonly Uint8Array[];
  readonly sps: readonly Uint8Array[];
  readonly pps: readonly Uint8Array[];
}

/** H.265 allows 600 slices a picture in its highest level, H.264 fewer; more than this is no frame but a burden. */
const UNITS_MAX = 4096;

/** What `avcC` and `hvcC` have room for. */
const SETS_MAX = { vps: 16, sps: 31, pps: 255 } as const;

/** Sets that are longer have no place in `avcC` and `hvcC`, whose lengths have 16 bits. */
const SET_BYTES_MAX = 0xffff;

const START_CODE = Buffer.of(0, 0, 1);
/** Parameter sets, and the first unit of a picture, need it (B.1.2); all others may have it. */
const LONG_START_CODE = Buffer.of(0, 0, 0, 1);

const ANNEXB: NalFraming = { kind: 'annexb' };

/** Fixed parts of `avcC` and `hvcC`, with the number of sets or arrays. */
const AVCC_BYTES = 6;
const HVCC_BYTES = 23;

/** Table 7-1 of both standards. */
const H264 = { IDR: 5, SPS: 7, PPS: 8, DELIMITER: 9, END_OF_STREAM: 11, FILLER: 12 } as const;
const HEVC = {
  IRAP_FIRST: 16,
  CRA: 21,
  VPS: 32,
  SPS: 33,
  PPS: 34,
  DELIMITER: 35,
  END_OF_STREAM: 37,
  FILLER: 38,
} as const;

/** How the packets of a stream are framed that has these extradata. */
export function framingOf(codec: NalCodec, extradata: Uint8Array | undefined): NalFraming {
  if (!extradata || !isConfiguration(codec, extradata)) return ANNEXB;
  return { kind: 'prefixed', lengthBytes: (extradata[codec === 'h264' ? 4 : 21]! & 3) + 1 };
}

/**
 * The units of a packet, as views, without start codes or lengths. What does not lie whole within the bytes is left out; a packet of more units than a frame
 * can have gives none.
 */
export function nalUnits(bytes: Uint8Array, framing: NalFraming): Uint8Array[] {
  const units = framing.kind === 'annexb' ? unitsBetweenCodes(bytes) : unitsByLength(bytes, framing.lengthBytes);
  return units.length > UNITS_MAX ? [] : units;
}

/** Units between start codes, in memory of its own: what `nalUnits` takes apart. */
export function annexB(units: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(units.reduce((sum, unit) => sum + LONG_START_CODE.length + unit.length, 0));
  let at = 0;
  for (const unit of units) {
    bytes.set(LONG_START_CODE, at);
    bytes.set(unit, at + LONG_START_CODE.length);
    at += LONG_START_CODE.length + unit.length;
  }
  return bytes;
}

/** Parameter sets of `avcC`, `hvcC` or Annex B; undefined: not all that a decoder needs are there. */
export function parameterSetsOf(codec: NalCodec, extradata: Uint8Array | undefined): ParameterSets | undefined {
  if (!extradata) return undefined;
  if (!isConfiguration(codec, extradata)) return parameterSetsIn(codec, nalUnits(extradata, ANNEXB));
  return parameterSetsIn(codec, codec === 'h264' ? setsOfAvcc(extradata) : setsOfHvcc(extradata));
}

/** Parameter sets among the units of a frame; undefined: not all that a decoder needs are there. */
export function parameterSetsIn(codec: NalCodec, units: readonly Uint8Array[]): ParameterSets | undefined {
  const sets = { codec, vps: [] as Uint8Array[], sps: [] as Uint8Array[], pps: [] as Uint8Array[] };
  for (const unit of units) {
    const kind = setKind(codec, unit);
    if (!kind || unit.length > SET_BYTES_MAX || isOfUpperLayer(codec, unit)) continue;
    const list = sets[kind];
    if (list.length < SETS_MAX[kind] && !list.some((set) => Buffer.compare(set, unit) === 0)) list.push(unit);
  }
  const isWhole = sets.sps.length > 0 && sets.pps.length > 0 && (codec === 'h264' || sets.vps.length > 0);
  return isWhole ? sets : undefined;
}

export function isParameterSet(codec: NalCodec, unit: Uint8Array): boolean {
  return setKind(codec, unit) !== undefined;
}

/** Belongs to a picture at which decoding can begin: IDR of H.264, IDR, BLA and CRA of H.265. */
export function isKeyUnit(codec: NalCodec, unit: Uint8Array): boolean {
  const type = nalType(codec, unit);
  return codec === 'h264' ? type === H264.IDR : type >= HEVC.IRAP_FIRST && type <= HEVC.CRA;
}

/** Belongs to a picture that others may be predicted from. Units that are no part of a picture are not. */
export function isReference(codec: NalCodec, unit: Uint8Array): boolean {
  const type = nalType(codec, unit);
  if (codec === 'h264') return type >= 1 && type <= 5 && (unit[0]! & 0x60) !== 0;
  // Up to 15 the even ones are not (RSV_VCL_N14 among them); all behind them are key pictures or reserved for such.
  return type >= 0 && type < HEVC.VPS && (type % 2 === 1 || type >= HEVC.IRAP_FIRST);
}

/** Is part of a sample of MP4: not what its header has already (parameter sets), and not what only a stream needs (delimiters, its end, filling). */
export function isSampleUnit(codec: NalCodec, unit: Uint8Array): boolean {
  const type = nalType(codec, unit);
  const { DELIMITER, END_OF_STREAM, FILLER } = codec === 'h264' ? H264 : HEVC;
  return type >= 0 && type !== DELIMITER && type !== END_OF_STREAM && type !== FILLER && !isParameterSet(codec, unit);
}

/** -1: too short to have a header. */
function nalType(codec: NalCodec, unit: Uint8Array): number {
  if (codec === 'h264') return unit.length > 0 ? unit[0]! & 31 : -1;
  return unit.length > 1 ? (unit[0]! >> 1) & 63 : -1;
}

function setKind(codec: NalCodec, unit: Uint8Array): 'vps' | 'sps' | 'pps' | undefined {
  const type = nalType(codec, unit);
  if (codec === 'hevc' && type === HEVC.VPS) return 'vps';
  const { SPS, PPS } = codec === 'h264' ? H264 : HEVC;
  return type === SPS ? 'sps' : type === PPS ? 'pps' : undefined;
}

/** Of a second view or a finer picture, which no player of the base layer needs. */
function isOfUpperLayer(codec: NalCodec, unit: Uint8Array): boolean {
  return codec === 'hevc' && (((unit[0]! & 1) << 5) | (unit[1]! >> 3)) > 0;
}

/** `avcC` or `hvcC`: Annex B begins with at least two zeros and a third or a one. Old writers of `hvcC` have the version 0. */
function isConfiguration(codec: NalCodec, extradata: Uint8Array): boolean {
  const [first, second, third] = extradata;
  if (codec === 'h264') return first === 1 && extradata.length > AVCC_BYTES;
  return extradata.length >= HVCC_BYTES && first! <= 1 && (first === 1 || second !== 0 || third! > 1);
}

/** ISO/IEC 14496-15, 5.3.3.1. */
function setsOfAvcc(avcc: Uint8Array): Uint8Array[] {
  const sets: Uint8Array[] = [];
  const at = takeSets(avcc, AVCC_BYTES, avcc[5]! & 31, sets);
  if (at < avcc.length) takeSets(avcc, at + 1, avcc[at]!, sets);
  return sets;
}

/** ISO/IEC 14496-15, 8.3.3.1. */
function setsOfHvcc(hvcc: Uint8Array): Uint8Array[] {
  const sets: Uint8Array[] = [];
  let at = HVCC_BYTES;
  for (let array = 0; array < hvcc[22]! && at + 3 <= hvcc.length; array += 1) {
    at = takeSets(hvcc, at + 3, (hvcc[at + 1]! << 8) | hvcc[at + 2]!, sets);
  }
  return sets;
}

/** Returns the place behind them, or behind the bytes where they are cut. */
function takeSets(bytes: Uint8Array, from: number, count: number, sets: Uint8Array[]): number {
  let at = from;
  for (let i = 0; i < count; i += 1) {
    if (at + 2 > bytes.length) return bytes.length;
    const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
    if (end > bytes.length) return bytes.length;
    sets.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return at;
}

/** Annex B. */
function unitsBetweenCodes(bytes: Uint8Array): Uint8Array[] {
  // Its search is native, and ten times as fast as a loop here.
  const searched = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const units: Uint8Array[] = [];
  for (let code = searched.indexOf(START_CODE); code >= 0 && units.length <= UNITS_MAX;) {
    const begin = code + START_CODE.length;
    code = searched.indexOf(START_CODE, begin);
    // Zeros before a start code are its own or fill up: a unit never ends with one.
    let end = code < 0 ? bytes.length : code;
    while (end > begin && bytes[end - 1] === 0) end -= 1;
    if (end > begin) units.push(bytes.subarray(begin, end));
  }
  return units;
}

function unitsByLength(bytes: Uint8Array, lengthBytes: number): Uint8Array[] {
  const units: Uint8Array[] = [];
  for (let at = 0; at + lengthBytes <= bytes.length && units.length <= UNITS_MAX;) {
    let length = 0;
    for (let i = 0; i < lengthBytes; i += 1) length = length * 256 + bytes[at + i]!;
    at += lengthBytes;
    if (at + length > bytes.length) break;
    if (length > 0) units.push(bytes.subarray(at, at + length));
    at += length;
  }
  return units;
}
