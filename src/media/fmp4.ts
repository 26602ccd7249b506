import { SightlineError } from '../base/errors.ts';
import { annexB, nalUnits, parameterSetsOf, type NalCodec, type ParameterSets } from './nal.ts';
import { codecStringOf, readSps } from './sps.ts';
import type { SequenceFacts } from './sps.ts';

/**
 * Fragmented MP4 (ISO/IEC 14496-12, samples by 14496-15) of one track of pictures, a fragment for each frame, as Media Source Extensions take it. Parameter sets
 * are in the header alone (`avc1`, `hvc1`).
 */

export interface Mp4Track {
  /** RFC 6381: `avc1.64001f`, `hvc1.1.6.L93.B0`. */
  readonly codecString: string;
  /** Pixels as they are coded, cropped. */
  readonly width: number;
  readonly height: number;
  /** So many frames, at most, are decoded before one that is shown earlier; undefined: that is not known. */
  readonly reorderedFrames: number | undefined;
  /** Initialisation segment: `ftyp` and `moov`. */
  readonly init: Uint8Array;
}

/** Times are whole units of the track's timescale. */
export interface Mp4Frame {
  /** At least 0. */
  readonly decodeTime: number;
  readonly duration: number;
  /** Presentation behind decoding; below 0 as well. */
  readonly compositionOffset: number;
  readonly isKey: boolean;
  /** NAL units without parameter sets and delimiters: those of `isSampleUnit`. */
  readonly units: readonly Uint8Array[];
}

const TRACK_ID = 1;
/** Of the presentation time in an `emsg` of version 1: behind size, type, version and flags, and the timescale. */
const AT_EVENT_TIME = 16;
/** Of its scheme, which ends with a zero, as the value behind it does. */
const AT_EVENT_SCHEME = 32;

/** `sample_flags`, 8.8.3.1: depends on no other one; depends on others and is no place to begin. */
const KEY_FLAGS = 0x02000000;
const DEPENDENT_FLAGS = 0x01010000;

/** Errors: SOURCE_UNREADABLE. */
export function mp4Track(sets: ParameterSets, timescale: number): Mp4Track {
  const facts = readSps(sets.codec, sets.sps[0]!);
  return {
    codecString: codecStringOf(sets.codec, facts.profile),
    width: facts.width,
    height: facts.height,
    reorderedFrames: facts.reorderedFrames,
    init: Buffer.concat([fileType(), movie(sets, facts, timescale)]),
  };
}

/** `moof` and `mdat` of one frame, in memory of their own. `sequence`: from 1, rises from fragment to fragment. */
export function mp4Fragment(sequence: number, frame: Mp4Frame): Uint8Array {
  const { decodeTime, units } = frame;
  if (!Number.isSafeInteger(decodeTime) || decodeTime < 0) {
    throw new SightlineError('INTERNAL', `a frame to be decoded at ${decodeTime}`);
  }
  let sampleBytes = 0;
  for (const unit of units) sampleBytes += 4 + unit.length;
  // Not of Node's pool: a fragment is kept, and sent on as it is.
  const bytes = Buffer.allocUnsafeSlow(FRAGMENT_HEAD.length + sampleBytes);
  bytes.set(FRAGMENT_HEAD);
  bytes.writeUInt32BE(sequence >>> 0, AT.sequence);
  bytes.writeUInt32BE(Math.floor(decodeTime / 2 ** 32), AT.decodeTime);
  bytes.writeUInt32BE(decodeTime >>> 0, AT.decodeTime + 4);
  bytes.writeUInt32BE(frame.duration, AT.duration);
  bytes.writeUInt32BE(sampleBytes, AT.size);
  bytes.writeUInt32BE(frame.isKey ? KEY_FLAGS : DEPENDENT_FLAGS, AT.flags);
  bytes.writeInt32BE(frame.compositionOffset, AT.compositionOffset);
  bytes.writeUInt32BE(8 + sampleBytes, AT.mdatSize);
  let at = FRAGMENT_HEAD.length;
  for (const unit of units) {
    bytes.writeUInt32BE(unit.length, at);
    bytes.set(unit, at + 4);
    at += 4 + unit.length;
  }
  return bytes;
}

/** Of a fragment of `mp4Fragment`. */
export function fragmentTimes(fragment: Uint8Array): Pick<Mp4Frame, 'decodeTime' | 'duration' | 'compositionOffset'> {
  const view = Buffer.from(fragment.buffer, fragment.byteOffset, fragment.length);
  return {
    decodeTime: view.readUInt32BE(AT.decodeTime) * 2 ** 32 + view.readUInt32BE(AT.decodeTime + 4),
    duration: view.readUInt32BE(AT.duration),
    compositionOffset: view.readInt32BE(AT.compositionOffset),
  };
}

/** Whether the frame of a fragment of `mp4Fragment` is a key frame. */
export function isKeyFragment(fragment: Uint8Array): boolean {
  return Buffer.from(fragment.buffer, fragment.byteOffset, fragment.length).readUInt32BE(AT.flags) === KEY_FLAGS;
}

/** In place, of any number of fragments of `mp4Fragment` and messages of `eventMessage`: they come so many units later, and are presented later. */
export function shiftFragments(fragments: Uint8Array, ticks: number): void {
  const view = Buffer.from(fragments.buffer, fragments.byteOffset, fragments.length);
  for (const { type, from } of boxesOf(fragments)) {
    const time = from + (type === 'moof' ? AT.decodeTime : AT_EVENT_TIME);
    if (type !== 'moof' && type !== 'emsg') continue;
    view.writeBigUInt64BE(view.readBigUInt64BE(time) + BigInt(ticks), time);
  }
}

/** One fragment of `mp4Fragment` after the other, each with the message of `eventMessage` in front of it, as views. */
export function* fragmentsIn(
  bytes: Uint8Array,
): Generator<{ readonly event: Uint8Array | undefined; readonly fragment: Uint8Array }> {
  let event: Uint8Array | undefined;
  let begin: number | undefined;
  for (const { type, from, to } of boxesOf(bytes)) {
    if (type === 'emsg') event = bytes.subarray(from, to);
    else if (type === 'moof') begin = from;
    else if (type === 'mdat' && begin !== undefined) {
      yield { event, fragment: bytes.subarray(begin, to) };
      event = begin = undefined;
    }
  }
}

/** In place: what a fragment of `mp4Fragment` says of how long its frame lasts. */
export function setFragmentDuration(fragment: Uint8Array, duration: number): void {
  Buffer.from(fragment.buffer, fragment.byteOffset, fragment.length).writeUInt32BE(duration, AT.duration);
}

/** Something that belongs to a moment of the track. */
export interface Mp4Event {
  readonly schemeIdUri: string;
  /** Tells it from others of its scheme. */
  readonly id: number;
  /** Times are whole units of this. */
  readonly timescale: number;
  readonly presentationTime: number;
  readonly duration: number;
  readonly data: Uint8Array;
}

/** An event message box (`emsg`, version 1: ISO/IEC 23009-1, 5.10.3.3). It stands before the `moof` of what it belongs to. */
export function eventMessage({ schemeIdUri, id, timescale, presentationTime, duration, data }: Mp4Event): Uint8Array {
  const time = u32(Math.floor(presentationTime / 2 ** 32), presentationTime >>> 0);
  // Its value is empty.
  const names = ascii(`${schemeIdUri}\0\0`);
  return fullBox('emsg', 1, 0, u32(timescale), time, u32(duration, id >>> 0), names, data);
}

/** What a message of `eventMessage` carries, as a view. */
export function eventData(event: Uint8Array): Uint8Array {
  const schemeEnd = event.indexOf(0, AT_EVENT_SCHEME);
  return event.subarray(event.indexOf(0, schemeEnd + 1) + 1);
}

/** The units of the frame of a fragment of `mp4Fragment`, as views. */
export function unitsOfFragment(fragment: Uint8Array): Uint8Array[] {
  const sample = contentOf(fragment, 'mdat');
  return sample ? nalUnits(sample, { kind: 'prefixed', lengthBytes: 4 }) : [];
}

/** The frame of such a fragment as Annex B, with these parameter sets in front: a key frame needs them. */
export function annexBOf(fragment: Uint8Array, sets?: ParameterSets): Uint8Array {
  const units = unitsOfFragment(fragment);
  return annexB(sets ? [...sets.vps, ...sets.sps, ...sets.pps, ...units] : units);
}

/** The parameter sets of an initialisation segment of `mp4Track`. Errors: SOURCE_UNREADABLE. */
export function parameterSetsOfTrack(init: Uint8Array): ParameterSets {
  const table = ['moov', 'trak', 'mdia', 'minf', 'stbl', 'stsd'].reduce<Uint8Array | undefined>(
    (inside, type) => inside && contentOf(inside, type),
    init,
  );
  // One entry, behind version, flags and the number of entries.
  const entries = table?.subarray(8);
  for (const [codec, entry, configuration] of ENTRIES) {
    const found = entries && contentOf(entries, entry);
    const sets = found && parameterSetsOf(codec, contentOf(found.subarray(ENTRY_BYTES), configuration));
    if (sets) return sets;
  }
  throw new SightlineError('SOURCE_UNREADABLE', 'an initialisation segment without parameter sets');
}

/** Sample entries of `sampleEntry`, and the boxes in them that have the parameter sets. */
const ENTRIES = [
  ['h264', 'avc1', 'avcC'],
  ['hevc', 'hvc1', 'hvcC'],
] as const satisfies readonly (readonly [NalCodec, string, string])[];
/** Of a sample entry of pictures, before the boxes in it (12.1.3). */
const ENTRY_BYTES = 78;

/** What is in the first box of this type. */
function contentOf(bytes: Uint8Array, type: string): Uint8Array | undefined {
  for (const box of boxesOf(bytes)) if (box.type === type) return bytes.subarray(box.from + 8, box.to);
  return undefined;
}

/** One box after the other, up to one that is none. */
function* boxesOf(bytes: Uint8Array): Generator<{ readonly type: string; readonly from: number; readonly to: number }> {
  const { buffer, byteOffset, length } = bytes;
  const view = Buffer.from(buffer, byteOffset, length);
  for (let from = 0; from + 8 <= length;) {
    const to = from + view.readUInt32BE(from);
    if (to < from + 8 || to > length) return;
    yield { type: view.toString('latin1', from + 4, from + 8), from, to };
    from = to;
  }
}

/** Everything of a fragment before its sample, with zeros for what changes. */
const FRAGMENT_HEAD = Buffer.concat([
  box(
    'moof',
    fullBox('mfhd', 0, 0, u32(0)),
    box(
      'traf',
      // default-base-is-moof: the place of the sample is told from the `moof`.
      fullBox('tfhd', 0, 0x020000, u32(TRACK_ID)),
      fullBox('tfdt', 1, 0, u32(0, 0)),
      // One sample: where its data are, then its duration, size, flags and signed composition offset.
      fullBox('trun', 1, 0x000f01, u32(1, 0, 0, 0, 0, 0)),
    ),
  ),
  box('mdat'),
]);

/** Places in a fragment. `trun` ends where `mdat` begins. */
const AT = {
  sequence: 20,
  decodeTime: FRAGMENT_HEAD.indexOf('tfdt') + 8,
  dataOffset: FRAGMENT_HEAD.length - 28,
  duration: FRAGMENT_HEAD.length - 24,
  size: FRAGMENT_HEAD.length - 20,
  flags: FRAGMENT_HEAD.length - 16,
  compositionOffset: FRAGMENT_HEAD.length - 12,
  mdatSize: FRAGMENT_HEAD.length - 8,
} as const;
FRAGMENT_HEAD.writeUInt32BE(FRAGMENT_HEAD.length, AT.dataOffset);

function fileType(): Buffer {
  return box('ftyp', ascii('iso6'), u32(0), ascii('iso6'), ascii('mp41'));
}

function movie(sets: ParameterSets, facts: SequenceFacts, timescale: number): Buffer {
  return box(
    'moov',
    fullBox('mvhd', 0, 0, u32(0, 0, timescale, 0, 0x00010000), u16(0x0100, 0), u32(0, 0), MATRIX, zeros(24), u32(2)),
    box('trak', trackHeader(facts), box('mdia', ...media(sets, facts, timescale))),
    box('mvex', fullBox('trex', 0, 0, u32(TRACK_ID, 1, 0, 0, 0))),
  );
}

/** 8.3.2: enabled, in the movie and in its preview. Its size is that of the shown picture, with square pixels, 16.16 bits. */
function trackHeader({ width, height, aspect: [across, down] }: SequenceFacts): Buffer {
  const shownWidth = Math.min(0xffff, (width * across) / down);
  const size = u32(Math.round(shownWidth * 65536), height * 65536);
  return fullBox('tkhd', 0, 7, u32(0, 0, TRACK_ID, 0, 0), u32(0, 0), u16(0, 0, 0, 0), MATRIX, size);
}

function media(sets: ParameterSets, facts: SequenceFacts, timescale: number): Buffer[] {
  const UNDETERMINED_LANGUAGE = 0x55c4;
  return [
    fullBox('mdhd', 0, 0, u32(0, 0, timescale, 0), u16(UNDETERMINED_LANGUAGE, 0)),
    fullBox('hdlr', 0, 0, u32(0), ascii('vide'), zeros(12), ascii('pictures\0')),
    box(
      'minf',
      fullBox('vmhd', 0, 1, zeros(8)),
      // The data are in this very file.
      box('dinf', fullBox('dref', 0, 0, u32(1), fullBox('url ', 0, 1))),
      box(
        'stbl',
        fullBox('stsd', 0, 0, u32(1), sampleEntry(sets, facts)),
        fullBox('stts', 0, 0, u32(0)),
        fullBox('stsc', 0, 0, u32(0)),
        fullBox('stsz', 0, 0, u32(0, 0)),
        fullBox('stco', 0, 0, u32(0)),
      ),
    ),
  ];
}

/** 12.1.3. */
function sampleEntry(sets: ParameterSets, facts: SequenceFacts): Buffer {
  const [across, down] = facts.aspect;
  const DPI_72 = 0x00480000;
  return box(
    sets.codec === 'h264' ? 'avc1' : 'hvc1',
    zeros(6),
    u16(1),
    zeros(16),
    u16(facts.width, facts.height),
    u32(DPI_72, DPI_72, 0),
    u16(1),
    zeros(32),
    u16(24, 0xffff),
    sets.codec === 'h264' ? avcConfiguration(sets, facts) : hevcConfiguration(sets, facts),
    ...(across === down ? [] : [box('pasp', u32(across, down))]),
  );
}

/** ISO/IEC 14496-15, 5.3.3.1. */
function avcConfiguration({ sps, pps }: ParameterSets, facts: SequenceFacts): Buffer {
  const { profile, chromaFormat, lumaBits, chromaBits } = facts;
  const isOld = [66, 77, 88].includes(profile[0]!);
  return box(
    'avcC',
    u8(1),
    profile,
    u8(0xfc | 3, 0xe0 | sps.length),
    ...sps.flatMap(withLength),
    u8(pps.length),
    ...pps.flatMap(withLength),
    isOld ? zeros(0) : u8(0xfc | chromaFormat, 0xf8 | (lumaBits - 8), 0xf8 | (chromaBits - 8), 0),
  );
}

/** ISO/IEC 14496-15, 8.3.3.1. */
function hevcConfiguration({ vps, sps, pps }: ParameterSets, facts: SequenceFacts): Buffer {
  const { profile, chromaFormat, lumaBits, chromaBits, temporalLayers, isTemporalNested } = facts;
  // All sets of a kind are here, and none among the samples.
  const COMPLETE = 0x80;
  const array = (type: number, list: readonly Uint8Array[]) => [
    u8(COMPLETE | type),
    u16(list.length),
    ...list.flatMap(withLength),
  ];
  return box(
    'hvcC',
    u8(1),
    profile,
    // Spatial segmentation and parallelism: not told. The rate of pictures neither.
    u16(0xf000),
    u8(0xfc, 0xfc | chromaFormat, 0xf8 | (lumaBits - 8), 0xf8 | (chromaBits - 8)),
    u16(0),
    u8((temporalLayers << 3) | (isTemporalNested ? 4 : 0) | 3, 3),
    ...array(32, vps),
    ...array(33, sps),
    ...array(34, pps),
  );
}

/** Unity. */
const MATRIX = u32(0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000);

function box(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 8);
  return Buffer.concat([u32(size), ascii(type), ...parts]);
}

function fullBox(type: string, version: number, flags: number, ...parts: readonly Uint8Array[]): Buffer {
  return box(type, u32(version * 2 ** 24 + flags), ...parts);
}

function withLength(set: Uint8Array): Uint8Array[] {
  return [u16(set.length), set];
}

function u8(...values: readonly number[]): Buffer {
  return Buffer.from(values);
}

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt16BE(value, 2 * i);
  return bytes;
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

function zeros(count: number): Buffer {
  return Buffer.alloc(count);
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
