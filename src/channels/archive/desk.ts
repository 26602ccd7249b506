import type { Principal } from '../../auth/principal.ts';
import type { Archive, ArchiveReport, FoundFile } from './archive.ts';
import type { ClipExports } from './clip-exports.ts';
import { clipOf, missing, resultsOf, timeOfResults, type Clip, type ClipRange } from './clip.ts';
import { readBytes, readLines } from './files.ts';
import { entriesOf, ENTRY_BYTES_MAX, vodPlaylist, type ListedFile } from './playlist.ts';
import type { Span } from './shelf.ts';

/** Where people ask for what was recorded. */
export class Desk {
  readonly #archive: Archive;
  readonly #exports: ClipExports;

  constructor(archive: Archive, exports: ClipExports) {
    this.#archive = archive;
    this.#exports = exports;
  }

  /** Errors: CAMERA_UNKNOWN, CAMERA_MASKED. */
  requireShown(camera: string, caller: Principal): void {
    this.#archive.requireShown(camera, caller);
  }

  /** What is drawn on is for everybody, since its masks are drawn as well. Errors: CAMERA_UNKNOWN. */
  requireKnown(camera: string): void {
    this.#archive.requireKnown(camera);
  }

  /** Errors: CAMERA_UNKNOWN. */
  report(camera: string): ArchiveReport {
    return this.#archive.report(camera);
  }

  spans(camera: string, fromMs: number, toMs: number): readonly Span[] {
    return this.#archive.spans(camera, fromMs, toMs);
  }

  /** Errors: RECORDING_MISSING. */
  async playlist(camera: string, fromMs: number, toMs: number, suffix: string): Promise<string> {
    const files: ListedFile[] = [];
    for (const { name, paths } of this.#archive.within(camera, fromMs, toMs)) {
      const lines = await readLines(paths);
      if (lines) files.push({ name, lines });
    }
    const entries = entriesOf(files, fromMs, toMs);
    if (entries.length === 0) throw missing({ camera, fromMs, toMs });
    return vodPlaylist(entries, suffix);
  }

  /** undefined: it is not kept. */
  async init(camera: string, name: string): Promise<Uint8Array | undefined> {
    const file = this.#archive.file(camera, name);
    const lines = file && (await readLines(file.paths));
    return lines && (await readBytes(file.paths, 0, lines.header.bytes));
  }

  /** undefined: it is not kept, or is no part of what was written. */
  async segment(
    camera: string,
    name: string,
    { at, count }: { readonly at: number; readonly count: number },
  ): Promise<Uint8Array | undefined> {
    const file = this.#archive.file(camera, name);
    if (!file || count === 0 || count > ENTRY_BYTES_MAX) return undefined;
    const { segments } = (await readLines(file.paths)) ?? { segments: [] };
    const isWhole = segments.some((one) => one.at === at) && segments.some((one) => one.at + one.bytes === at + count);
    return isWhole ? await readBytes(file.paths, at, count) : undefined;
  }

  /** Errors: RECORDING_MISSING, CLIP_BROKEN. */
  clip(camera: string, fromMs: number, toMs: number): Promise<Clip> {
    return clipOf(this.#archive.within(camera, fromMs, toMs), { camera, fromMs, toMs });
  }

  /** The same with what was found drawn on it. `signal`: nobody wants it any more. Errors: as `ClipExports.open` has them. */
  async annotatedClip(
    camera: string,
    fromMs: number,
    toMs: number,
    signal: AbortSignal,
  ): Promise<Pick<Clip, 'fromMs' | 'chunks'>> {
    const range = { camera, fromMs, toMs };
    const files = this.#archive.within(camera, fromMs, toMs);
    if (files.length === 0) throw missing(range);
    return await this.#exports.open({ range, files, resultFiles: this.#resultFiles(range) }, signal);
  }

  /** Errors: RECORDING_MISSING. */
  results(camera: string, fromMs: number, toMs: number): AsyncGenerator<Uint8Array> {
    const range = { camera, fromMs, toMs };
    if (this.#archive.within(camera, fromMs, toMs).length === 0) throw missing(range);
    return resultsOf(this.#resultFiles(range), fromMs, toMs);
  }

  #resultFiles(range: ClipRange): readonly FoundFile[] {
    return this.#archive.within(range.camera, ...timeOfResults(range));
  }
}
