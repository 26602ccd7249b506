/** Which files of recordings there are of one camera, and which have to go. Pure. */

/** A file of pictures, with what lies beside it. */
export interface ShelvedFile {
  /** First part of its names; tells it from all others of the camera. */
  readonly name: string;
  /** Of the connection: its frames have one header, and one time. */
  readonly epoch: number;
  /** From the capture of its first frame until the end of its last, Unix ms. */
  readonly fromMs: number;
  readonly toMs: number;
  /** With what lies beside it. */
  readonly bytes: number;
}

export interface ShelfBounds {
  readonly ageMsMax: number;
  readonly bytesMax: number;
}

/** Why a file has gone: it was too old, or the camera had too many bytes. */
export type RemovalBound = 'age' | 'bytes';

/** A span in which everything was recorded. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bytes: number;
}

/** Files that are this close to each other are one span: the clock of a camera is corrected by more. */
const SPAN_GAP_MS = 2_000;

export class Shelf {
  /** In the order of their beginnings. */
  readonly #files: ShelvedFile[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#files.length;
  }

  get oldest(): ShelvedFile | undefined {
    return this.#files[0];
  }

  get newest(): ShelvedFile | undefined {
    return this.#files.at(-1);
  }

  /** One of the same name is replaced: it has grown, or is whole now. */
  put(file: ShelvedFile): void {
    const before = this.#files.findLastIndex(({ name }) => name === file.name);
    if (before >= 0) {
      this.#bytes += file.bytes - this.#files[before]!.bytes;
      this.#files[before] = file;
      return;
    }
    // Nearly always behind all others.
    const at = this.#files.findLastIndex(({ fromMs }) => fromMs <= file.fromMs) + 1;
    this.#files.splice(at, 0, file);
    this.#bytes += file.bytes;
  }

  get(name: string): ShelvedFile | undefined {
    return this.#files.find((file) => file.name === name);
  }

  remove(name: string): void {
    const at = this.#files.findIndex((file) => file.name === name);
    if (at < 0) return;
    this.#bytes -= this.#files[at]!.bytes;
    this.#files.splice(at, 1);
  }

  /** Those that have something from `fromMs` up to before `toMs`. */
  within(fromMs: number, toMs: number): readonly ShelvedFile[] {
    return this.#files.filter((file) => file.fromMs < toMs && file.toMs > fromMs);
  }

  /** The same, as spans without a gap, each cut to what was asked for. */
  spans(fromMs: number, toMs: number): readonly Span[] {
    const spans: Span[] = [];
    for (const file of this.within(fromMs, toMs)) {
      const [from, to] = [Math.max(file.fromMs, fromMs), Math.min(file.toMs, toMs)];
      const last = spans.at(-1);
      if (last && from - last.toMs <= SPAN_GAP_MS) {
        spans[spans.length - 1] = {
          fromMs: last.fromMs,
          toMs: Math.max(last.toMs, to),
          bytes: last.bytes + file.bytes,
        };
      } else spans.push({ fromMs: from, toMs: to, bytes: file.bytes });
    }
    return spans;
  }

  /** The oldest ones that are beyond a bound, up to the first that is within both: it is asked every second. The one that is being written stays. */
  due(
    nowMs: number,
    { ageMsMax, bytesMax }: ShelfBounds,
    open?: string,
  ): readonly { readonly file: ShelvedFile; readonly bound: RemovalBound }[] {
    const due: { file: ShelvedFile; bound: RemovalBound }[] = [];
    let bytes = this.#bytes;
    for (const file of this.#files) {
      if (file.name === open) continue;
      const bound = nowMs - file.toMs > ageMsMax ? 'age' : bytes > bytesMax ? 'bytes' : undefined;
      if (bound === undefined) break;
      due.push({ file, bound });
      bytes -= file.bytes;
    }
    return due;
  }
}
