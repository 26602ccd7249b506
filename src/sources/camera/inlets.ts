import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAME_BYTES = 12;
const PIPES = '\\\\.\\pipe\\';

/** A name by which Windows knows local sockets: they are in no folder. */
export function isPipeName(path: string): boolean {
  return path.startsWith(PIPES);
}

/**
 * Where publishers' packets go into the processes of their cameras: a local socket for each camera, in a folder of this server's own, into which nobody else gets. The process that reads the camera makes
 * it.
 */
export class Inlets {
  readonly #name = `sightline-${randomBytes(NAME_BYTES).toString('hex')}`;
  readonly #folder = process.platform === 'win32' ? undefined : join(tmpdir(), this.#name);
  #given = 0;

  /** The path of another one. */
  next(): string {
    // There is not much room for the name of a socket.
    const number = String(++this.#given);
    return this.#folder === undefined ? `${PIPES}${this.#name}-${number}` : join(this.#folder, number);
  }

  /** The processes have ended. */
  async close(): Promise<void> {
    if (this.#folder !== undefined && this.#given > 0) await rm(this.#folder, { recursive: true, force: true });
  }
}
