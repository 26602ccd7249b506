import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';

const ABANDONED_AFTER_MS = 3_600_000;

/**
 * The cache folder of models:
 *
 *     files/<sha256>.<format>      model files, named by their content, so that a damaged one is known by its name
 *     converted/<key>.json         which file is the conversion of which source
 *     proofs/<key>.json            what ran on this machine (prove.ts)
 *     manifests/<id>.json          models that the user imported
 *
 * Many processes may share it without locks: files appear by renaming, and two that write the same name write the same
 * content. The folder has a size limit: files that can be made again are deleted first, the least recently used
 * before the others; pulled and imported models are never deleted, and files that would not fit beside them are refused.
 */
export class ModelStore {
  readonly dir: string;
  readonly #bytesMax: number;
  readonly #clock: Clock;

  constructor(dir: string, bytesMax: number, clock: Clock) {
    this.dir = dir;
    this.#bytesMax = bytesMax;
    this.#clock = clock;
  }

  /** The path of a whole file; undefined when it is not there. A damaged one is deleted and counts as not there. */
  async find(sha256: string, format: 'onnx' | 'tflite'): Promise<string | undefined> {
    const path = this.#filePath(sha256, format);
    const bytes = await readIfThere(path);
    if (!bytes) return undefined;
    if (sha256Of(bytes) !== sha256) {
      await rm(path, { force: true });
      return undefined;
    }
    // The time of the last use decides which file is deleted first; failing to note it harms nothing.
    const now = new Date(wallTimeMs(this.#clock));
    await utimes(path, now, now).catch(() => undefined);
    return path;
  }

  /** Is there a file of that name? Cheap; does not check its content. */
  async has(sha256: string, format: 'onnx' | 'tflite'): Promise<boolean> {
    return stat(this.#filePath(sha256, format)).then(
      () => true,
      () => false,
    );
  }

  /**
   * Stores a file. `kept`: hashes that must not be deleted to make room. Throws MODEL_UNAVAILABLE when there is no
   * room, or the folder cannot be written.
   */
  async put(bytes: Uint8Array, format: 'onnx' | 'tflite', kept: ReadonlySet<string>): Promise<string> {
    const sha256 = sha256Of(bytes);
    await this.#makeRoom(bytes.length, new Set([...kept, sha256]));
    const path = this.#filePath(sha256, format);
    await this.#write(path, bytes);
    return path;
  }

  async readRecord(folder: 'converted' | 'proofs' | 'manifests', key: string): Promise<unknown> {
    const bytes = await readIfThere(join(this.dir, folder, `${key}.json`));
    if (!bytes) return undefined;
    try {
      return JSON.parse(bytes.toString('utf8'));
    } catch {
      return undefined;
    }
  }

  async writeRecord(folder: 'converted' | 'proofs' | 'manifests', key: string, record: unknown): Promise<void> {
    await this.#write(join(this.dir, folder, `${key}.json`), `${JSON.stringify(record, null, 2)}\n`);
  }

  /** Keys of a folder's records, sorted. */
  async recordKeys(folder: 'manifests'): Promise<string[]> {
    const names = await readdir(join(this.dir, folder)).catch(() => []);
    return names
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
      .toSorted();
  }

  #filePath(sha256: string, format: string): string {
    return join(this.dir, 'files', `${sha256}.${format}`);
  }

  /** A file is whole or not there: it is written under another name and renamed. */
  async #write(path: string, content: Uint8Array | string): Promise<void> {
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      await mkdir(join(path, '..'), { recursive: true });
      await writeFile(temporary, content);
      await rename(temporary, path);
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw new SightlineError('MODEL_UNAVAILABLE', `the model cache cannot be written: ${(thrown as Error).message}`, {
        cause: thrown,
      });
    }
  }

  async #makeRoom(bytes: number, kept: ReadonlySet<string>): Promise<void> {
    const files = await this.#list();
    const isKept = (name: string) => kept.has(name.slice(0, 64));
    let total = files.reduce((sum, file) => sum + file.bytes, 0);
    for (const file of files.toSorted((a, b) => a.usedTimeMs - b.usedTimeMs)) {
      // A process that died while it wrote leaves its temporary file behind.
      const isAbandoned = file.name.endsWith('.tmp') && wallTimeMs(this.#clock) - file.usedTimeMs > ABANDONED_AFTER_MS;
      const isInTheWay = total + bytes > this.#bytesMax && !file.name.endsWith('.tmp') && !isKept(file.name);
      if (!isAbandoned && !isInTheWay) continue;
      await rm(join(this.dir, 'files', file.name), { force: true });
      total -= file.bytes;
    }
    if (total + bytes > this.#bytesMax) {
      throw new SightlineError(
        'MODEL_UNAVAILABLE',
        `a model of ${bytes} bytes does not fit: the cache ${this.dir} holds ${total} bytes of at most ${this.#bytesMax} (models.cache_bytes_max)`,
      );
    }
  }

  async #list(): Promise<{ name: string; bytes: number; usedTimeMs: number }[]> {
    const folder = join(this.dir, 'files');
    const names = await readdir(folder).catch(() => []);
    const files = await Promise.all(
      names.map(async (name) => {
        const found = await stat(join(folder, name)).catch(() => undefined);
        return found?.isFile() ? [{ name, bytes: found.size, usedTimeMs: found.mtimeMs }] : [];
      }),
    );
    return files.flat();
  }
}

/** Lower-case hexadecimal. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new SightlineError('MODEL_UNAVAILABLE', `the model cache cannot be read: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}
