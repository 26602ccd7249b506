import { TICKS_PER_S } from '../../base/camera-frame.ts';
import { mp4Fragment, mp4Track, type Mp4Track } from '../../media/fmp4.ts';
import {
  framingOf,
  isReference,
  isSampleUnit,
  nalUnits,
  parameterSetsIn,
  parameterSetsOf,
  type NalCodec,
  type NalFraming,
  type ParameterSets,
} from '../../media/nal.ts';
import type { FrameData } from './messages.ts';
import type { Outlet } from './outlet.ts';
import { INTERVAL_MIN, type FrameTimes } from './timeline.ts';

/** The raw channel of one camera: its own frames as fragments of MP4, and the newest group of pictures for whoever comes late. */

/** A frame with its name, as it goes on from the reader. */
export interface NamedFrame extends FrameData {
  readonly bytes: Uint8Array;
  readonly isKey: boolean;
  readonly times: FrameTimes;
}

/** Of the newest group of pictures. A larger one is not kept: then a viewer begins with the next key frame. */
const GROUP_BYTES_MAX = 8 * 2 ** 20;
const GROUP_FRAMES_MAX = 2_000;
/**
 * Media Source Extensions take a frame that is decoded later than two durations behind the one before for the beginning of something else, and drop everything up
 * to the next key frame (3.5.8, step 6). A camera leaves out a frame now and then, and when the next one comes is not known: so durations in the file are longer
 * than the interval, by so much.
 */
export const DURATION_SHARE = 1.5;

export interface RawCounts {
  readonly fragments: number;
  readonly fragmentsDropped: number;
}

/** What the units of a frame say. */
export interface UnitFacts {
  readonly units: readonly Uint8Array[];
  /** Others may be predicted from it. */
  readonly isReference: boolean;
  /** Parameters of coding that come with it, if they are others than those before. */
  readonly newTrack: Mp4Track | undefined;
}

export class RawTrack {
  readonly codec: NalCodec;
  readonly #outlet: Outlet;
  #framing: NalFraming;
  #sets: ParameterSets | undefined;
  #track: Mp4Track | undefined;
  #isWanted = false;
  #group: NamedFrame[] = [];
  #groupBytes = 0;
  /** The group has all frames since its key frame. */
  #isWhole = false;
  /** Fragments were left out: nothing before the next key frame is of use. */
  #needsKey = true;
  /** Viewers have had none yet: what comes before the first key frame is not missing. */
  #isBeginning = true;
  /** The epoch whose header the viewers have. */
  #headerEpoch: number | undefined;
  #sequence = 0;
  #fragments = 0;
  #dropped = 0;

  /** Errors: those of `mp4Track`, where the parameters cannot be read. */
  constructor(codec: NalCodec, extradata: Uint8Array | undefined, outlet: Outlet) {
    this.codec = codec;
    this.#outlet = outlet;
    this.#framing = framingOf(codec, extradata);
    this.#adopt(parameterSetsOf(codec, extradata));
  }

  /** Undefined: its parameters are not known before the first key frame. */
  get track(): Mp4Track | undefined {
    return this.#track;
  }

  /** All frames since the newest key frame; empty: not all of them are there. */
  get group(): readonly NamedFrame[] {
    return this.#isWhole ? this.#group : [];
  }

  get counts(): RawCounts {
    return { fragments: this.#fragments, fragmentsDropped: this.#dropped };
  }

  /** New ones beside the packets. Errors: as above. */
  setExtradata(extradata: Uint8Array): void {
    this.#framing = framingOf(this.codec, extradata);
    this.#adopt(parameterSetsOf(this.codec, extradata));
  }

  /** Errors: as above. */
  look(bytes: Uint8Array): UnitFacts {
    const units = nalUnits(bytes, this.#framing);
    const sets = parameterSetsIn(this.codec, units);
    const isNew = sets !== undefined && !isSame(sets, this.#sets);
    if (isNew) this.#adopt(sets);
    return {
      units,
      isReference: units.some((unit) => isReference(this.codec, unit)),
      newTrack: isNew ? this.#track : undefined,
    };
  }

  want(isWanted: boolean): void {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    this.#needsKey = true;
    this.#isBeginning = true;
    this.#headerEpoch = undefined;
    if (!isWanted || !this.#isWhole) return;
    for (const [i, frame] of this.#group.entries()) {
      const next = this.#group[i + 1]?.times.decode;
      // By now it is known, unless the next one had to be decoded at once.
      const known = next === undefined ? 0 : next - frame.times.decode;
      const duration = known >= INTERVAL_MIN ? known : frame.times.duration;
      this.#send({ ...frame, times: { ...frame.times, duration } }, this.#unitsOf(frame));
    }
  }

  /** Frames are missing before the next one. */
  break(): void {
    this.#needsKey = true;
    this.#forget();
  }

  take(frame: NamedFrame, units: readonly Uint8Array[]): void {
    this.#keep(frame);
    if (this.#isWanted) this.#send(frame, units);
  }

  #adopt(sets: ParameterSets | undefined): void {
    if (!sets) return;
    this.#track = mp4Track(sets, TICKS_PER_S);
    this.#sets = sets;
    // What is kept is of other parameters.
    this.#forget();
    this.#headerEpoch = undefined;
    this.#needsKey = true;
  }

  #keep(frame: NamedFrame): void {
    if (frame.isKey) {
      this.#forget();
      this.#isWhole = true;
    }
    if (!this.#isWhole) return;
    this.#group.push(frame);
    this.#groupBytes += frame.bytes.length;
    if (this.#groupBytes > GROUP_BYTES_MAX || this.#group.length > GROUP_FRAMES_MAX) this.#forget();
  }

  #forget(): void {
    this.#group = [];
    this.#groupBytes = 0;
    this.#isWhole = false;
  }

  #unitsOf(frame: NamedFrame): Uint8Array[] {
    return nalUnits(frame.bytes, this.#framing);
  }

  #send(frame: NamedFrame, all: readonly Uint8Array[]): void {
    const units = all.filter((unit) => isSampleUnit(this.codec, unit));
    // Parameter sets alone, say: there is no picture in it.
    if (units.length === 0) return;
    if (frame.isKey) this.#needsKey = false;
    const isSent = !this.#needsKey && this.#sendHeader(frame) && this.#sendFragment(frame, units);
    if (isSent) {
      this.#fragments += 1;
      this.#isBeginning = false;
    } else {
      if (!this.#isBeginning) this.#dropped += 1;
      this.#needsKey = true;
    }
  }

  #sendHeader({ camera, epoch }: NamedFrame): boolean {
    if (this.#headerEpoch === epoch) return true;
    const track = this.#track;
    if (!track) return false;
    const { codecString, width, height, init: bytes } = track;
    const header = { kind: 'init', form: 'raw', camera, epoch, codecString, width, height, bytes } as const;
    const isSent = this.#outlet.send(header);
    if (isSent) this.#headerEpoch = epoch;
    return isSent;
  }

  #sendFragment(frame: NamedFrame, units: readonly Uint8Array[]): boolean {
    const { times, bytes: _, ...named } = frame;
    if (!this.#outlet.hasRoom('fragment')) return false;
    this.#sequence += 1;
    const bytes = mp4Fragment(this.#sequence, {
      decodeTime: times.decode,
      duration: Math.ceil(times.duration * DURATION_SHARE),
      compositionOffset: times.presentation - times.decode,
      isKey: frame.isKey,
      units,
    });
    const mediaTimeS = times.presentation / TICKS_PER_S;
    return this.#outlet.send({
      ...named,
      kind: 'fragment',
      form: 'raw',
      boxes: 'none',
      order: frame.seq,
      mediaTimeS,
      durationS: times.duration / TICKS_PER_S,
      bytes,
    });
  }
}

function isSame(one: ParameterSets, other: ParameterSets | undefined): boolean {
  const lists = (['vps', 'sps', 'pps'] as const).map((kind) => [one[kind], other?.[kind] ?? []] as const);
  return lists.every(([a, b]) => a.length === b.length && a.every((set, i) => Buffer.compare(set, b[i]!) === 0));
}
