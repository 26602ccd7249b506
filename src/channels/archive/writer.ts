import { mkdir, statfs } from 'node:fs/promises';
import { SightlineError } from '../../base/errors.ts';
import type { RawInit } from '../../base/camera-frame.ts';
import { fileName, OpenFile } from './files.ts';
import type { ShelvedFile } from './shelf.ts';

/** Writes segments of one camera into files, one after the other, and never holds up who brings them. */

export interface WrittenSegment {
  readonly init: RawInit;
  readonly bytes: Uint8Array;
  /** Capture of its first frame, Unix ms. */
  readonly fromMs: number;
  readonly durationS: number;
  readonly isKey: boolean;
  /** Something is missing in front of it. */
  readonly isApart: boolean;
  /** That the camera had; a change of them is another epoch. */
  readonly masks: readonly string[];
}

export interface WriterOptions {
  readonly camera: string;
  readonly folder: string;
  /** `memoryBytesMax`: segments that wait for a disk that is slow. */
  readonly times: () => { readonly fileMs: number; readonly freeBytesMin: number; readonly memoryBytesMax: number };
  /** A file has begun, has grown, or is whole. */
  readonly onFile: (file: ShelvedFile) => void;
  /** Its disk takes nothing (OUTPUT_FAILED), or takes it again (undefined). */
  readonly onChanged: (failure: SightlineError | undefined) => void;
  readonly now: () => number;
}

/** Results that wait for a file. */
const RESULTS_MAX = 2_000;
/** Between two tries to write, ms. */
export const RETRY_MS = 10_000;

/** At every moment: brought = written + dropped (by cause) + waiting. */
export interface WriterCounts {
  readonly brought: number;
  readonly written: number;
  /** The disk took nothing, or was too slow. */
  readonly dropped: { readonly disk: number; readonly queue: number };
  readonly waiting: number;
}

export class SegmentWriter {
  readonly #options: WriterOptions;
  readonly #queue: WrittenSegment[] = [];
  #queuedBytes = 0;
  #results: object[] = [];
  #resultsDropped = 0;
  #file: OpenFile | undefined;
  #inHand = 0;
  #brought = 0;
  #written = 0;
  #dropped = { disk: 0, queue: 0 };
  #failure: SightlineError | undefined;
  #retryMs = 0;
  #isClosed = false;
  #endsFile = false;
  #hasLost = false;
  #work: Promise<void> | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** Of the file that is being written. */
  get openName(): string | undefined {
    return this.#file && fileName(this.#file.fromMs, this.#file.header.epoch);
  }

  get failure(): SightlineError | undefined {
    return this.#failure;
  }

  get resultsDropped(): number {
    return this.#resultsDropped;
  }

  counts(): WriterCounts {
    return {
      brought: this.#brought,
      written: this.#written,
      dropped: { ...this.#dropped },
      waiting: this.#queue.length + this.#inHand,
    };
  }

  write(segment: WrittenSegment): void {
    this.#brought++;
    if (this.#isClosed || this.#queuedBytes + segment.bytes.length > this.#options.times().memoryBytesMax) {
      this.#dropped.queue++;
      this.#hasLost = true;
      return;
    }
    // What is in one file has no gap.
    this.#queue.push(this.#hasLost ? { ...segment, isApart: true } : segment);
    this.#hasLost = false;
    this.#queuedBytes += segment.bytes.length;
    this.#begin();
  }

  /** What was found; it is written with the next segment. */
  note(result: object): void {
    if (this.#results.length >= RESULTS_MAX) this.#resultsDropped++;
    else this.#results.push(result);
  }

  /** Nothing more comes for a while: the file is whole when what waits is written. */
  endFile(): void {
    this.#endsFile = true;
    this.#begin();
  }

  /** When what waits is written, and the file is whole. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.endFile();
    while (this.#work) await this.#work;
  }

  #begin(): void {
    this.#work ??= this.#run().finally(() => {
      this.#work = undefined;
      if (this.#queue.length > 0 || this.#endsFile) this.#begin();
    });
  }

  async #run(): Promise<void> {
    for (let segment = this.#queue.shift(); segment; segment = this.#queue.shift()) {
      this.#queuedBytes -= segment.bytes.length;
      this.#inHand = 1;
      const isWritten = await this.#put(segment);
      this.#inHand = 0;
      if (isWritten) this.#written++;
      else this.#dropped.disk++;
    }
    if (!this.#endsFile) return;
    this.#endsFile = false;
    await this.#tried(() => this.#finish());
  }

  async #put(segment: WrittenSegment): Promise<boolean> {
    if (this.#failure && this.#options.now() < this.#retryMs) return false;
    let isWritten = false;
    const isDone = await this.#tried(async () => {
      await this.#open(segment);
      const { bytes, fromMs, durationS, isKey } = segment;
      await this.#file!.append(bytes, { from: fromMs, duration_s: durationS, key: isKey });
      isWritten = true;
      await this.#file!.note(this.#takeResults());
    });
    if (isDone) {
      this.#options.onFile(this.#file!.shelved);
      if (this.#failure) this.#options.onChanged((this.#failure = undefined));
    } else {
      // What is whole of it stays; the next try begins another one.
      await this.#finish().catch(() => undefined);
    }
    return isWritten;
  }

  async #open({ init, fromMs, isApart, masks }: WrittenSegment): Promise<void> {
    const { camera, folder, times } = this.#options;
    const { fileMs, freeBytesMin } = times();
    const { epoch } = init;
    const open = this.#file;
    const isFull = open !== undefined && fromMs - open.fromMs >= fileMs;
    if (open && open.header.epoch === epoch && !isApart && !isFull) return;
    await this.#finish();
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { bavail, bsize } = await statfs(folder);
    if (bavail * bsize < freeBytesMin) {
      throw Object.assign(new Error(`less than ${freeBytesMin} bytes are free`), { code: 'ENOSPC' });
    }
    const { codecString: codec, width, height, bytes } = init;
    const header = { camera, epoch, codec, width, height, bytes: bytes.length, masks };
    this.#file = await OpenFile.create(folder, { header, init: bytes, fromMs });
  }

  async #finish(): Promise<void> {
    const file = this.#file;
    if (!file) return;
    try {
      await file.note(this.#takeResults()).catch(() => undefined);
      this.#options.onFile(await file.finish());
    } finally {
      this.#file = undefined;
    }
  }

  #takeResults(): readonly object[] {
    const results = this.#results;
    this.#results = [];
    return results;
  }

  async #tried(action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (thrown) {
      const { code, message } = thrown as NodeJS.ErrnoException;
      const why = code === 'ENOSPC' || code === 'EDQUOT' ? `the disk is full (${message})` : message;
      const isNew = this.#failure === undefined;
      this.#failure = new SightlineError('OUTPUT_FAILED', `${this.#options.folder}: ${why}`, { cause: thrown });
      this.#retryMs = this.#options.now() + RETRY_MS;
      if (isNew) this.#options.onChanged(this.#failure);
      return false;
    }
  }
}
