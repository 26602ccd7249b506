import { fstatSync, writeSync } from 'node:fs';
import { SightlineError } from '../base/errors.ts';

/** Why nothing more can be written: the reader is gone, or output was lost. */
export type OutputEnd = 'closed' | SightlineError;

/** The part of `process.stdout` that is used. */
export type OutputStream = Pick<NodeJS.WriteStream, 'on' | 'write'> & {
  readonly fd?: number;
  readonly isTTY?: boolean;
};

/**
 * Standard output of a command. Output that cannot be written is never lost silently: `onEnd` is called once, as soon as it is
 * known, and `settled` resolves when everything that was written has been taken.
 */
export class CommandOutput {
  readonly #stream: OutputStream;
  readonly #onEnd: (end: OutputEnd) => void;
  /** For a file: a stream would take a partial write for a whole one, as it comes on a disk that gets full. */
  readonly #fd: number | undefined;
  #end: OutputEnd | undefined;

  constructor(stream: OutputStream, onEnd: (end: OutputEnd) => void) {
    this.#stream = stream;
    this.#onEnd = onEnd;
    this.#fd = isFile(stream.fd) ? stream.fd : undefined;
    // The listener stays: code that draws on a terminal writes to the same stream, and the last lines may still be in transit.
    stream.on('error', (error: NodeJS.ErrnoException) => this.#ended(error));
  }

  get end(): OutputEnd | undefined {
    return this.#end;
  }

  line(text: string): void {
    if (this.#end !== undefined) return;
    if (this.#fd === undefined) {
      this.#stream.write(`${text}\n`);
      return;
    }
    try {
      writeWhole(this.#fd, Buffer.from(`${text}\n`));
    } catch (thrown) {
      this.#ended(thrown as NodeJS.ErrnoException);
    }
  }

  /** Resolves, and never rejects, when everything has been taken or cannot be. */
  async settled(): Promise<OutputEnd | undefined> {
    if (this.#end === undefined && this.#fd === undefined) {
      await new Promise<void>((done) => {
        this.#stream.write('', (error) => {
          if (error) this.#ended(error);
          done();
        });
      });
    }
    return this.#end;
  }

  #ended(error: NodeJS.ErrnoException): void {
    if (this.#end !== undefined) return;
    // EIO is the terminal that was closed; of a file it would be a fault of the disk.
    const isClosed = error.code === 'EPIPE' || (error.code === 'EIO' && this.#stream.isTTY === true);
    this.#end = isClosed
      ? 'closed'
      : new SightlineError('OUTPUT_FAILED', `standard output cannot be written: ${error.message}`, { cause: error });
    this.#onEnd(this.#end);
  }
}

function isFile(fd: number | undefined): boolean {
  try {
    return fd !== undefined && fstatSync(fd).isFile();
  } catch {
    return false;
  }
}

function writeWhole(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
}
