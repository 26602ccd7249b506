import { readLines, type FileLines } from './files.ts';
import type { FoundFile } from './archive.ts';

/** What lies in the files that were asked for lately: it need not be read for each fragment. */

const FILES_MAX = 256;

export class LineCache {
  /** By camera and file; the one that was used least lately comes first. */
  readonly #lines = new Map<string, FileLines>();

  /** `until`: more of the file is not needed, bytes; it may be growing. undefined: it is gone. Errors: those of `readLines`. */
  async of(camera: string, file: FoundFile, until: number): Promise<FileLines | undefined> {
    const key = `${camera}/${file.name}`;
    const known = this.#lines.get(key);
    const last = known?.segments.at(-1);
    const lines = last && last.at + last.bytes >= until ? known : await readLines(file.paths);
    this.#lines.delete(key);
    if (!lines) return undefined;
    this.#lines.set(key, lines);
    if (this.#lines.size > FILES_MAX) this.#lines.delete(this.#lines.keys().next().value!);
    return lines;
  }
}
