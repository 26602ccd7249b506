import { AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_FRAME_DATA_DISPLAYMATRIX } from 'node-av/constants';
import type { Frame } from 'node-av/lib';
import { TICKS_PER_S, type DrawnBoxes } from '../../base/camera-frame.ts';
import type { Box } from '../../base/detection.ts';
import { SightlineError } from '../../base/errors.ts';
import { readPolygon, type Polygon } from '../../base/polygon.ts';
import { PIPELINE_NAMES, type PipelineResult } from '../../base/result.ts';
import {
  annexBOf,
  fragmentsIn,
  fragmentTimes,
  isKeyFragment,
  mp4Fragment,
  parameterSetsOfTrack,
} from '../../media/fmp4.ts';
import { toucher } from '../../media/mask.ts';
import type { NalCodec, ParameterSets } from '../../media/nal.ts';
import { orientationOf } from '../../media/orient.ts';
import type { NamedOutcomeMessage } from '../../protocol/cameras.ts';
import { resultIn } from '../../protocol/outcome-message.ts';
import { drawable, drawingsOn } from '../../sources/camera/drawings.ts';
import { MaskFault, MaskPainter } from '../../sources/camera/mask-painter.ts';
import { PictureDecoder } from '../../sources/camera/picture-decoder.ts';
import { PictureEncoder } from '../../sources/camera/picture-encoder.ts';
import { ResultBoard } from '../../sources/camera/result-board.ts';
import type { TrackFacts } from '../../sources/camera/source.ts';
import { partBytes, toldFrame, type ToldFrame } from '../part-bytes.ts';
import type { FoundFile } from './archive.ts';
import { goneMeanwhile, timeOfResults, type Clip, type ClipFile } from './clip.ts';
import { readResults } from './files.ts';

/**
 * A clip of a recording, decoded, and encoded anew with what was found drawn on it, as the annotated channel has it (`encoded-track.ts`): but nothing is late here, so that no
 * frame is left out for the time. It decodes what a camera has sent: it belongs into a process of its own.
 */

const KEY_INTERVAL_TICKS = TICKS_PER_S;
/** A frame is shown until the next one comes, unless that is longer than this and than its own time: then something is missing. */
const HOLE_TICKS = TICKS_PER_S / 2;
/** Decoded frames come back within so many others. */
const REORDERED_MAX = 64;
/** Frames in a row of which no picture comes: more than that is no clip. */
const UNDRAWN_MAX = 100;

export interface DrawingOptions {
  readonly clip: Clip;
  /** In which what was found in it may lie. */
  readonly files: readonly FoundFile[];
  /** Those of the camera now; those that it had then are drawn as well. */
  readonly masks: readonly string[];
  /** Neither side of the pictures is longer. */
  readonly sideMax: number;
  readonly pixelsMax: number;
}

/** Frames of the clip = drawn + left out, when it is done. */
export interface DrawingCounts {
  readonly drawn: number;
  /** They could not be decoded, or not masked. */
  readonly leftOut: number;
}

/** A frame that is in the decoder. */
interface Decoding {
  readonly name: ToldFrame;
  /** In the clip's time. */
  readonly presentation: number;
  readonly duration: number;
  /** What was found in it. */
  readonly results: readonly PipelineResult[] | undefined;
}

interface Encoded {
  readonly name: ToldFrame;
  readonly boxes: DrawnBoxes;
  readonly ticks: number;
  readonly duration: number;
  readonly isKey: boolean;
  readonly units: readonly Uint8Array[];
}

type Found = ReadonlyMap<string, readonly PipelineResult[]>;

export class ClipDrawing {
  readonly #options: DrawingOptions;
  readonly #sets: ParameterSets;
  readonly #masks: MaskPainter;
  /** All that are drawn, as texts. */
  readonly #maskTexts: readonly string[];
  readonly #board = new ResultBoard();
  readonly #decoder: PictureDecoder;
  readonly #decoding = new Map<number, Decoding>();
  #encoder: PictureEncoder | undefined;
  #found: Found = new Map();
  /** Whole, and not handed out yet. */
  #pieces: Uint8Array[] = [];
  /** How long it is shown is known when the next one is there. */
  #pending: Encoded | undefined;
  #last: ToldFrame | undefined;
  #needsKey = true;
  #id = 0;
  #sequence = 0;
  #lastTicks = -1;
  #lastKeyTicks = -Infinity;
  #undrawn = 0;
  #drawn = 0;
  #leftOut = 0;

  /** Errors: SOURCE_UNREADABLE, EXPORT_FAILED. */
  constructor(options: DrawingOptions) {
    this.#options = options;
    this.#sets = parameterSetsOfTrack(options.clip.init);
    const ofThen = options.clip.parts.flatMap(({ lines }) => lines.header.masks ?? []);
    this.#maskTexts = [...new Set([...options.masks, ...ofThen])];
    this.#masks = new MaskPainter(this.#maskTexts.map(polygonOf));
    this.#board.configure(PIPELINE_NAMES);
    this.#decoder = new PictureDecoder((picture, id) => this.#takePicture(picture, id));
  }

  get counts(): DrawingCounts {
    return { drawn: this.#drawn, leftOut: this.#leftOut };
  }

  /**
   * A file of fragmented MP4, piece by piece, header first; once. Errors: RECORDING_MISSING, where it was removed meanwhile; CLIP_BROKEN, CAMERA_FORMAT, SOURCE_UNREADABLE;
   * EXPORT_FAILED.
   */
  async *pieces(): AsyncGenerator<Uint8Array> {
    const { clip, pixelsMax } = this.#options;
    try {
      await this.#decoder.open(trackOf(this.#sets.codec), { pixelsMax, extradata: undefined });
      let last: ClipFile | undefined;
      for await (const { part, bytes } of clip.segments()) {
        if (part !== last) this.#found = await this.#foundIn(part);
        last = part;
        for (const { event, fragment } of fragmentsIn(bytes)) {
          await this.#takeFrame(toldFrame(event), fragment);
          yield* this.#pieces.splice(0);
        }
      }
      await this.#drain();
      this.#settle(undefined);
      if (this.#drawn === 0) throw new SightlineError('EXPORT_FAILED', 'no picture comes of any of its frames');
      yield* this.#pieces.splice(0);
    } finally {
      this.#decoder.close();
      this.#encoder?.close();
      this.#masks.close();
    }
  }

  async #takeFrame(name: ToldFrame, fragment: Uint8Array): Promise<void> {
    const isKey = isKeyFragment(fragment);
    const { decodeTime, compositionOffset, duration } = fragmentTimes(fragment);
    const last = this.#last;
    this.#last = name;
    // Another connection has nothing to do with the one before.
    if (last && last.epoch !== name.epoch) await this.#drain();
    if (last?.epoch !== name.epoch || last.seq + 1 !== name.seq) this.#needsKey = true;
    if (this.#needsKey && !isKey) return this.#leaveOut(1);
    this.#needsKey = false;
    const id = ++this.#id;
    const presentation = decodeTime + compositionOffset;
    this.#decoding.set(id, { name, presentation, duration, results: this.#found.get(keyOf(name)) });
    await this.#decoder.next({ id, isKey, bytes: annexBOf(fragment, isKey ? this.#sets : undefined) });
    // No picture comes of those any more.
    for (const earlier of this.#decoding.keys()) {
      if (earlier > id - REORDERED_MAX) break;
      this.#decoding.delete(earlier);
      this.#leaveOut(1);
    }
  }

  async #drain(): Promise<void> {
    await this.#decoder.drain();
    this.#leaveOut(this.#decoding.size);
    this.#decoding.clear();
  }

  /** Throws EXPORT_FAILED, where that is too much. */
  #leaveOut(count: number): void {
    this.#leftOut += count;
    this.#undrawn += count;
    if (this.#undrawn <= UNDRAWN_MAX) return;
    const since = new Date(this.#last!.capture_time).toISOString();
    throw new SightlineError('EXPORT_FAILED', `no picture comes of more than ${UNDRAWN_MAX} frames up to ${since}`);
  }

  async #takePicture(picture: Frame, id: number): Promise<void> {
    const frame = this.#decoding.get(id);
    this.#decoding.delete(id);
    if (!frame) return;
    let scaled: Frame;
    try {
      // What comes behind that leaves the process.
      const masked = await this.#masks.mask(picture);
      this.#encoder ??= await this.#openEncoder(masked);
      this.#requireSize(masked, frame.name);
      scaled = await this.#encoder.scale(masked);
    } catch (thrown) {
      if (!(thrown instanceof MaskFault)) throw thrown;
      return this.#leaveOut(1);
    }
    try {
      const boxes = this.#draw(scaled, frame, picture);
      // Two frames of a camera may have the same time.
      const ticks = Math.max(frame.presentation, this.#lastTicks + 1);
      this.#lastTicks = ticks;
      const isKeyDue = ticks - this.#lastKeyTicks >= KEY_INTERVAL_TICKS;
      const { units, isKey } = await this.#encoder.encode(scaled, ticks, isKeyDue);
      if (isKey) this.#lastKeyTicks = ticks;
      this.#settle({ name: frame.name, boxes, ticks, duration: frame.duration, isKey, units });
    } finally {
      scaled.free();
    }
    this.#drawn += 1;
    this.#undrawn = 0;
  }

  async #openEncoder(picture: Frame): Promise<PictureEncoder> {
    const encoder = await PictureEncoder.open(picture, this.#masks, this.#options.sideMax);
    this.#pieces.push(encoder.track.init);
    return encoder;
  }

  /** Throws CLIP_BROKEN: one file has pictures of one size. */
  #requireSize({ width, height }: Frame, { camera, capture_time: captureTimeMs }: ToldFrame): void {
    const { source } = this.#encoder!;
    if (width === source.width && height === source.height) return;
    const at = new Date(captureTimeMs).toISOString();
    throw new SightlineError('CLIP_BROKEN', `camera ${camera} sends pictures of another size from ${at} on`);
  }

  #draw(scaled: Frame, { name, presentation, results }: Decoding, picture: Frame): DrawnBoxes {
    const frame = { epoch: name.epoch, seq: name.seq, shownMs: (presentation * 1000) / TICKS_PER_S };
    if (results) this.#board.expect(frame);
    for (const result of results ?? []) this.#board.note(frame, result.pipeline, result);
    const drawing = this.#board.drawingFor(frame);
    drawingsOn(scaled, drawing.results, orientationOf(picture.getSideData(AV_FRAME_DATA_DISPLAYMATRIX)));
    return drawing.boxes;
  }

  #settle(next: Encoded | undefined): void {
    const frame = this.#pending;
    this.#pending = next;
    if (!frame) return;
    const { name, boxes, ticks: decodeTime, isKey, units } = frame;
    const { camera, epoch, seq, clock, capture_time: captureTimeMs } = name;
    const untilNext = next ? next.ticks - decodeTime : Infinity;
    const ticks = untilNext <= Math.max(HOLE_TICKS, frame.duration) ? untilNext : frame.duration;
    const bytes = mp4Fragment(++this.#sequence, { decodeTime, duration: ticks, compositionOffset: 0, isKey, units });
    const fragment = { frame: { camera, epoch, seq }, clock, isKey, boxes, bytes };
    this.#pieces.push(partBytes([{ fragment, decodeTime, ticks, captureTimeMs }]));
  }

  /** By frame. Errors: RECORDING_MISSING. */
  async #foundIn({ file, lines }: ClipFile): Promise<Found> {
    const [fromMs, toMs] = timeOfResults(file);
    const ofThen = lines.header.masks ?? [];
    // Then it was looked for below these, too: what was found there says what they hide.
    const isHidden = toucher(this.#maskTexts.filter((text) => !ofThen.includes(text)).map(polygonOf));
    const found = new Map<string, PipelineResult[]>();
    for (const { name, paths, ...near } of this.#options.files) {
      if (near.toMs <= fromMs || near.fromMs >= toMs) continue;
      const messages = (await readResults(paths)) as NamedOutcomeMessage[] | undefined;
      if (!messages && name === file.name) throw goneMeanwhile(file);
      for (const message of messages ?? []) {
        const result = message.epoch === file.epoch ? resultIn(message) : undefined;
        if (!result) continue;
        const key = keyOf(message);
        const shown = drawable(without(result, isHidden));
        const results = found.get(key);
        if (results) results.push(shown);
        else found.set(key, [shown]);
      }
    }
    return found;
  }
}

function keyOf({ epoch, seq }: Pick<ToldFrame, 'epoch' | 'seq'>): string {
  return `${epoch} ${seq}`;
}

/** Errors: EXPORT_FAILED. */
function polygonOf(text: string): Polygon {
  const { polygon, fault } = readPolygon(text);
  if (polygon) return polygon;
  throw new SightlineError('EXPORT_FAILED', `a mask cannot be read: ${fault}`);
}

function without(result: PipelineResult, isHidden: (box: Box) => boolean): PipelineResult {
  if (result.pipeline === 'objects') {
    return { ...result, detections: result.detections.filter(({ box }) => !isHidden(box)) };
  }
  return { ...result, hands: result.hands.filter(({ landmarks }) => !isHidden(boxAround(landmarks))) };
}

function boxAround(places: readonly { readonly x: number; readonly y: number }[]): Box {
  const [x, y] = [Math.min(...places.map((place) => place.x)), Math.min(...places.map((place) => place.y))];
  const width = Math.max(...places.map((place) => place.x)) - x;
  return { x, y, width, height: Math.max(...places.map((place) => place.y)) - y };
}

function trackOf(codec: NalCodec): TrackFacts {
  return {
    format: 'mp4',
    codec,
    codecId: codec === 'h264' ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC,
    // Parameters of coding are in front of each key frame.
    extradata: undefined,
    width: 0,
    height: 0,
    parameters: undefined,
    isStored: true,
  };
}
