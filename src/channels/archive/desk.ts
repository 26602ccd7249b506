import type { Principal } from '../../auth/principal.ts';
import type { FragmentCache, FragmentRequest } from '../cache/fragment-cache.ts';
import { Moves } from '../cache/moves.ts';
import type { Archive, ArchiveReport, FoundFile } from './archive.ts';
import type { ClipExports } from './clip-exports.ts';
import { clipOf, missing, resultsOf, timeOfResults, type Clip, type ClipRange } from './clip.ts';
import { endOf, readBytes, readLines } from './files.ts';
import { LineCache } from './line-cache.ts';
import { entriesOf, entryAt, ENTRY_BYTES_MAX, vodPlaylist, type ListedFile } from './playlist.ts';
import type { Span } from './shelf.ts';

type DeskCache = Pick<FragmentCache, 'get' | 'ahead' | 'worthAhead'>;

interface Fragment {
  readonly camera: string;
  readonly name: string;
  readonly at: number;
  readonly count: number;
}

/** Where people ask for what was recorded. */
export class Desk {
  readonly #archive: Archive;
  readonly #exports: ClipExports;
  readonly #cache: DeskCache;
  readonly #prefetches: () => boolean;
  readonly #lines = new LineCache();
  readonly #moves = new Moves();

  /** `prefetches`: what viewers will probably ask for next is put into the cache. */
  constructor(parts: {
    readonly archive: Archive;
    readonly exports: ClipExports;
    readonly cache: DeskCache;
    readonly prefetches: () => boolean;
  }) {
    this.#archive = parts.archive;
    this.#exports = parts.exports;
    this.#cache = parts.cache;
    this.#prefetches = parts.prefetches;
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
    // What is kept in the cache counts as long as its file does.
    const file = this.#archive.file(camera, name);
    if (!file) return undefined;
    const fill = async () => {
      const lines = await this.#lines.of(camera, file, 0);
      return lines && (await readBytes(file.paths, 0, lines.header.bytes));
    };
    return await this.#cache.get({ key: `recording/${camera}/${name}/init`, fill, without: ['disk'] });
  }

  /** `viewer`: who asks, as far as that can be told apart. undefined: it is not kept, or is no part of what was written. */
  async segment(
    camera: string,
    name: string,
    { at, count }: { readonly at: number; readonly count: number },
    viewer: string,
  ): Promise<Uint8Array | undefined> {
    const file = this.#archive.file(camera, name);
    if (!file || count === 0 || count > ENTRY_BYTES_MAX) return undefined;
    const bytes = await this.#cache.get(this.#request(file, { camera, name, at, count }));
    if (bytes && this.#prefetches()) void this.#lookAhead(viewer, file, { camera, name, at, count });
    return bytes;
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

  #request(file: FoundFile, { camera, name, at, count }: Fragment): FragmentRequest {
    return {
      key: `recording/${camera}/${name}/${at}-${count}`,
      fill: async () => {
        const { segments } = (await this.#lines.of(camera, file, at + count)) ?? { segments: [] };
        const isWhole =
          segments.some((one) => one.at === at) && segments.some((one) => one.at + one.bytes === at + count);
        return isWhole ? await readBytes(file.paths, at, count) : undefined;
      },
      // It lies on a disk as it is.
      without: ['disk'],
    };
  }

  /** Learns from what the viewer has asked for, and has that read which it will probably ask for next. */
  async #lookAhead(viewer: string, file: FoundFile, { camera, at, count }: Fragment): Promise<void> {
    try {
      const { segments } = (await this.#lines.of(camera, file, at + count)) ?? { segments: [] };
      const first = segments.find((one) => one.at === at);
      const last = segments.find((one) => one.at + one.bytes === at + count);
      if (!first || !last) return;
      this.#moves.observe(viewer, { camera, fromMs: first.from, toMs: endOf(last) });
      for (const guess of this.#moves.guesses(viewer)) {
        if (guess.probability >= this.#cache.worthAhead) await this.#fetchAhead(guess.camera, guess.timeMs);
      }
    } catch {
      // Whoever asks for it is told why it cannot be read.
    }
  }

  async #fetchAhead(camera: string, timeMs: number): Promise<void> {
    const [file] = this.#archive.within(camera, timeMs, timeMs + 1);
    const lines = file && (await this.#lines.of(camera, file, Infinity));
    const entry = lines && entryAt(lines, timeMs);
    if (!entry) return;
    await this.#cache.ahead(this.#request(file, { camera, name: file.name, at: entry.at, count: entry.bytes }));
  }
}
