import { TICKS_PER_S } from '../../base/camera-frame.ts';
import { SightlineError } from '../../base/errors.ts';
import { fragmentsIn, fragmentTimes, shiftFragments } from '../../media/fmp4.ts';
import type { FoundFile } from './archive.ts';
import { endOf, readBytes, readLines, readResults, type FileLines, type SegmentLine } from './files.ts';
import { segmentsWithin } from './playlist.ts';

/** What was recorded of a time, as one file that any player plays, and what was found in it. */

export interface ClipRange {
  readonly camera: string;
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Clip {
  /** From its first key frame, which is at or before the wanted beginning, up to the end of the last segment. */
  readonly fromMs: number;
  readonly toMs: number;
  /** An initialisation segment, which all of it needs. */
  readonly init: Uint8Array;
  /** The files that it comes of, in their order. */
  readonly parts: readonly ClipFile[];
  /** In the clip's time: fragments with the names of their frames in front. */
  segments(): AsyncGenerator<ClipSegment>;
  /** All of it, header first. */
  chunks(): AsyncGenerator<Uint8Array>;
}

export interface ClipSegment {
  readonly part: ClipFile;
  readonly bytes: Uint8Array;
}

export interface ClipFile {
  readonly file: FoundFile;
  readonly lines: FileLines;
  readonly segments: readonly SegmentLine[];
}

const TICKS_PER_MS = TICKS_PER_S / 1000;
/** A result may be written with frames that come so much later; with earlier ones, where the disk is slow. */
const RESULT_APART_MS = 120_000;

/** Errors: RECORDING_MISSING; CLIP_BROKEN, where the camera sent something else from some moment on. */
export async function clipOf(files: readonly FoundFile[], { camera, fromMs, toMs }: ClipRange): Promise<Clip> {
  const parts = await partsOf(files, fromMs, toMs);
  const [first] = parts;
  if (!first) throw missing({ camera, fromMs, toMs });
  const init = await bytesOf(first.file, 0, first.lines.header.bytes);
  for (const { file, lines, segments } of parts.slice(1)) {
    if (Buffer.compare(init, await bytesOf(file, 0, lines.header.bytes)) === 0) continue;
    const at = new Date(segments[0]!.from).toISOString();
    throw new SightlineError(
      'CLIP_BROKEN',
      `camera ${camera} sends something else from ${at} on: ask for what is before, and for what is behind`,
    );
  }
  const segments = () => segmentsOf(parts);
  return {
    fromMs: first.segments[0]!.from,
    toMs: Math.max(...parts.flatMap((part) => part.segments.map(endOf))),
    init,
    parts,
    segments,
    async *chunks() {
      yield init;
      for await (const { bytes } of segments()) yield bytes;
    },
  };
}

async function* segmentsOf(parts: readonly ClipFile[]): AsyncGenerator<ClipSegment> {
  const beginMs = parts[0]!.segments[0]!.from;
  let shift: { readonly epoch: number; readonly ticks: number } | undefined;
  let endTicks = 0;
  for (const part of parts) {
    const { epoch } = part.lines.header;
    for (const { at, bytes: count, from, duration_s } of part.segments) {
      const bytes = await bytesOf(part.file, at, count);
      const decodeTime = firstDecodeTime(bytes);
      // Each connection has a time of its own, in which what is missing is missing.
      if (shift?.epoch !== epoch) {
        const placeTicks = Math.max(endTicks, Math.round((from - beginMs) * TICKS_PER_MS));
        shift = { epoch, ticks: placeTicks - decodeTime };
      }
      shiftFragments(bytes, shift.ticks);
      endTicks = decodeTime + shift.ticks + Math.round(duration_s * TICKS_PER_S);
      yield { part, bytes };
    }
  }
}

/**
 * What was found from `fromMs` up to before `toMs`, by capture, a line of JSON each. `files`: those of `timeOfResults`. One that came later than
 * `RESULT_APART_MS` is out of order; so no more than that is in memory.
 */
export async function* resultsOf(
  files: readonly FoundFile[],
  fromMs: number,
  toMs: number,
): AsyncGenerator<Uint8Array> {
  let found: Result[] = [];
  for (const { paths, fromMs: fileMs } of files) {
    const settledMs = fileMs - RESULT_APART_MS;
    yield* linesOf(found.filter((result) => result.capture_time < settledMs));
    found = found.filter((result) => result.capture_time >= settledMs);
    for (const result of ((await readResults(paths)) ?? []) as Result[]) {
      // As names of frames have it, and the beginnings of segments.
      const atMs = Math.round(result.capture_time);
      if (atMs >= fromMs && atMs < toMs) found.push(result);
    }
  }
  yield* linesOf(found);
}

interface Result {
  readonly capture_time: number;
}

function linesOf(results: readonly Result[]): Uint8Array[] {
  if (results.length === 0) return [];
  const inOrder = results.toSorted((one, other) => one.capture_time - other.capture_time);
  return [Buffer.from(inOrder.map((result) => `${JSON.stringify(result)}\n`).join(''))];
}

/** Of files in which results of frames of that time may lie. */
export function timeOfResults({
  fromMs,
  toMs,
}: Pick<ClipRange, 'fromMs' | 'toMs'>): readonly [fromMs: number, toMs: number] {
  return [fromMs - RESULT_APART_MS, toMs + RESULT_APART_MS];
}

export function missing({ camera, fromMs, toMs }: ClipRange): SightlineError {
  const [from, to] = [fromMs, toMs].map((timeMs) => new Date(timeMs).toISOString());
  return new SightlineError('RECORDING_MISSING', `nothing of camera ${camera} is kept from ${from} to ${to}`);
}

async function partsOf(files: readonly FoundFile[], fromMs: number, toMs: number): Promise<ClipFile[]> {
  const parts: ClipFile[] = [];
  for (const file of files) {
    const lines = await readLines(file.paths);
    const segments = lines ? segmentsWithin({ name: file.name, lines }, fromMs, toMs) : [];
    if (lines && segments.length > 0) parts.push({ file, lines, segments });
  }
  return parts;
}

/** Errors: RECORDING_MISSING, where it was removed meanwhile. */
async function bytesOf(file: FoundFile, at: number, count: number): Promise<Uint8Array> {
  const bytes = await readBytes(file.paths, at, count);
  if (!bytes) throw goneMeanwhile(file);
  return bytes;
}

export function goneMeanwhile({ name }: Pick<FoundFile, 'name'>): SightlineError {
  return new SightlineError('RECORDING_MISSING', `${name} is not kept any more`);
}

/** Errors: SOURCE_UNREADABLE. */
function firstDecodeTime(bytes: Uint8Array): number {
  for (const { fragment } of fragmentsIn(bytes)) return fragmentTimes(fragment).decodeTime;
  throw new SightlineError('SOURCE_UNREADABLE', 'a segment of a recording without a frame');
}
