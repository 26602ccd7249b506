import { TICKS_PER_S } from '../../base/camera-frame.ts';
import { SightlineError } from '../../base/errors.ts';
import { fragmentTimes, shiftFragments } from '../../media/fmp4.ts';
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
  /** Header first. */
  chunks(): AsyncGenerator<Uint8Array>;
}

interface ClipFile {
  readonly file: FoundFile;
  readonly lines: FileLines;
  readonly segments: readonly SegmentLine[];
}

const TICKS_PER_MS = TICKS_PER_S / 1000;
/** A result may be written with frames that come so much later. */
const RESULT_LATE_MS = 120_000;

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
  const beginMs = first.segments[0]!.from;
  return {
    fromMs: beginMs,
    toMs: Math.max(...parts.flatMap(({ segments }) => segments.map(endOf))),
    async *chunks() {
      yield init;
      let shift: { readonly epoch: number; readonly ticks: number } | undefined;
      let endTicks = 0;
      for (const { file, lines, segments } of parts) {
        const { epoch } = lines.header;
        for (const { at, bytes: count, from, duration_s } of segments) {
          const bytes = await bytesOf(file, at, count);
          const decodeTime = firstDecodeTime(bytes);
          // Each connection has a time of its own, in which what is missing is missing.
          if (shift?.epoch !== epoch) {
            const placeTicks = Math.max(endTicks, Math.round((from - beginMs) * TICKS_PER_MS));
            shift = { epoch, ticks: placeTicks - decodeTime };
          }
          shiftFragments(bytes, shift.ticks);
          endTicks = decodeTime + shift.ticks + Math.round(duration_s * TICKS_PER_S);
          yield bytes;
        }
      }
    },
  };
}

/**
 * What was found from `fromMs` up to before `toMs`, by capture, a line of JSON each. `files`: also those behind, since results come later than frames. One that came later than
 * `RESULT_LATE_MS` is out of order; so no more than that is in memory.
 */
export async function* resultsOf(
  files: readonly FoundFile[],
  fromMs: number,
  toMs: number,
): AsyncGenerator<Uint8Array> {
  let found: Result[] = [];
  for (const { paths, fromMs: fileMs } of files) {
    const settledMs = fileMs - RESULT_LATE_MS;
    yield* linesOf(found.filter((result) => result.capture_time < settledMs));
    found = found.filter((result) => result.capture_time >= settledMs);
    for (const result of (await readResults(paths)) as Result[]) {
      if (result.capture_time >= fromMs && result.capture_time < toMs) found.push(result);
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

/** So far behind the end of a time results of it may lie. */
export function resultsUntil(toMs: number): number {
  return toMs + RESULT_LATE_MS;
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
async function bytesOf({ name, paths }: FoundFile, at: number, count: number): Promise<Uint8Array> {
  const bytes = await readBytes(paths, at, count);
  if (!bytes) throw new SightlineError('RECORDING_MISSING', `${name} is not kept any more`);
  return bytes;
}

/** Of segments: an `emsg` stands before each fragment. */
function firstDecodeTime(bytes: Uint8Array): number {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at + 8 <= view.length && view.toString('latin1', at + 4, at + 8) !== 'moof') at += view.readUInt32BE(at);
  return fragmentTimes(bytes.subarray(at)).decodeTime;
}
