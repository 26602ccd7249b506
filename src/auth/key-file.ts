import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SightlineError } from '../base/errors.ts';
import { NO_KEYS, readKeys, unreadable, writeKeys, type KeyRing } from './keys.ts';

/** The file that holds the keys. Whoever changes it replaces it whole, so that a reader finds the old one or the new one. */

/** A larger one is not read. */
const FILE_BYTES_MAX = 16 * 2 ** 20;
const LOCK_TRIES = 100;
const LOCK_WAIT_MS = 50;
/** A lock that is older is of a command that was killed: who waits for it gets it before giving up. */
const LOCK_MS_MAX = 3_000;

/** None where there is no file. Errors: CREDENTIALS_UNREADABLE. */
export async function loadKeys(path: string): Promise<KeyRing> {
  let text: string;
  try {
    if ((await stat(path)).size > FILE_BYTES_MAX) throw unreadable(path, `is over ${FILE_BYTES_MAX} bytes`);
    text = await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw thrown;
    if (isMissing(thrown)) return NO_KEYS;
    throw unreadable(path, (thrown as Error).message, thrown);
  }
  return readKeys(text, path);
}

/** Changes the keys of a file, one change after another, also of several commands. Errors: CREDENTIALS_UNREADABLE, OUTPUT_FAILED, those of `change`. */
export async function changeKeys(path: string, change: (ring: KeyRing) => KeyRing): Promise<KeyRing> {
  return await locked(path, async (stillHeld) => {
    const ring = change(await loadKeys(path));
    await replace(path, writeKeys(ring), stillHeld);
    return ring;
  });
}

/** `stillHeld`: false once others took this command for dead, as where it was stopped for a while. */
async function locked<T>(path: string, work: (stillHeld: () => Promise<boolean>) => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  const id = randomUUID();
  const stillHeld = async (): Promise<boolean> => (await readFile(lock, 'utf8').catch(() => '')) === id;
  await attempt(path, () => mkdir(dirname(path), { recursive: true, mode: 0o700 }));
  for (let tries = 1; ; tries++) {
    try {
      await createFile(lock, id);
      break;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw failed(path, thrown);
      if (tries === LOCK_TRIES) throw failed(path, new Error(`another command holds ${lock}`));
      const age = await stat(lock).then(
        ({ mtimeMs }) => Date.now() - mtimeMs,
        () => 0,
      );
      // The clock may have been set back since.
      if (Math.abs(age) > LOCK_MS_MAX) await rm(lock, { force: true });
      else await sleep(LOCK_WAIT_MS);
    }
  }
  try {
    return await work(stillHeld);
  } finally {
    if (await stillHeld()) await rm(lock, { force: true });
  }
}

/** A new file with all of the text on the disk, or none. */
async function createFile(
  path: string,
  text: string,
  made: (file: FileHandle) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await made(file);
    await file.sync();
  } catch (thrown) {
    await rm(path, { force: true });
    throw thrown;
  } finally {
    await file.close();
  }
}

async function replace(path: string, text: string, stillHeld: () => Promise<boolean>): Promise<void> {
  await attempt(path, async () => {
    const next = `${path}.${randomUUID()}.tmp`;
    try {
      await createFile(next, text, (file) => handOver(file, path));
      if (!(await stillHeld())) throw new Error('another command changes it');
      await rename(next, path);
    } finally {
      await rm(next, { force: true });
    }
  });
}

/** What the superuser makes belongs to whom the file has belonged to, or the folder: a server under a user of its own has to read it. */
async function handOver(file: FileHandle, path: string): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = await stat(path).catch(() => stat(dirname(path)));
  await file.chown(uid, gid);
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw failed(path, thrown);
  }
}

function failed(path: string, thrown: unknown): SightlineError {
  return new SightlineError('OUTPUT_FAILED', `${path} cannot be written: ${(thrown as Error).message}`, {
    cause: thrown,
  });
}

function isMissing(thrown: unknown): boolean {
  return (thrown as NodeJS.ErrnoException).code === 'ENOENT';
}
