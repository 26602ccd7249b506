import { open, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { download } from './download.ts';
import type { ModelManifest } from './manifest.ts';
import { sha256Of } from './model-store.ts';
import { fetchNpmFile } from './npm-file.ts';
import type { FetchLimits } from './npm-file.ts';

/**
 * The bytes of a built-in model, out of the package that is installed with Sightline. Throws MODEL_UNAVAILABLE when the
 * package is not there, MODEL_DAMAGED when its file is not what the manifest says.
 */
export async function readBuiltIn(manifest: ModelManifest): Promise<Uint8Array> {
  const { source } = manifest;
  if (source.kind !== 'npm') throw new SightlineError('INTERNAL', `the built-in model ${manifest.id} is in no package`);
  const path = join(packageFolder(manifest, source.package), source.file);
  const bytes = await readRange(path, source.range).catch((thrown: Error) => {
    throw new SightlineError('MODEL_DAMAGED', `${manifest.id}: ${path} cannot be read: ${thrown.message}`, {
      cause: thrown,
    });
  });
  return checked(manifest, bytes, path);
}

function packageFolder(manifest: ModelManifest, name: string): string {
  try {
    return dirname(createRequire(import.meta.url).resolve(`${name}/package.json`));
  } catch (thrown) {
    throw new SightlineError(
      'MODEL_UNAVAILABLE',
      `${manifest.id}: the package ${name} is not installed: install Sightline anew`,
      {
        cause: thrown,
      },
    );
  }
}

async function readRange(path: string, range: { start: number; end: number } | undefined): Promise<Uint8Array> {
  if (!range) return await readFile(path);
  const file = await open(path);
  try {
    const bytes = new Uint8Array(range.end - range.start);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, range.start);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** The bytes of a model that is not built in, from where its manifest says. Throws MODEL_FETCH_FAILED, MODEL_DAMAGED. */
export async function fetchSource(manifest: ModelManifest, limits: FetchLimits): Promise<Uint8Array> {
  const { source, sha256, id } = manifest;
  switch (source.kind) {
    case 'npm':
      return await fetchNpmFile({ ...source, sha256 }, limits);
    case 'file':
      return checked(manifest, await readModelFile(source.path, limits.bytesMax), source.path);
    case 'url': {
      const bytes = await download(source.url, limits).catch((thrown: Error) => {
        throw new SightlineError(
          'MODEL_FETCH_FAILED',
          `${thrown.message}; with the file at hand: sightline models pull ${id} --from <path>`,
          { cause: thrown },
        );
      });
      return checked(manifest, bytes, source.url);
    }
  }
}

/** A model file of the user's. Throws SOURCE_NOT_FOUND, SOURCE_UNREADABLE. */
export async function readModelFile(path: string, bytesMax = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  const found = await stat(path).catch((thrown: Error) => {
    throw new SightlineError('SOURCE_NOT_FOUND', `there is no model file ${path}`, { cause: thrown });
  });
  if (!found.isFile()) throw new SightlineError('SOURCE_UNREADABLE', `${path} is no file`);
  if (found.size > bytesMax) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path} has ${found.size} bytes, more than ${bytesMax}`);
  }
  return await readFile(path).catch((thrown: Error) => {
    throw new SightlineError('SOURCE_UNREADABLE', `${path}: ${thrown.message}`, { cause: thrown });
  });
}

/** `bytes`, if they are the manifest's. Throws MODEL_DAMAGED naming where they came from. */
export function checked(manifest: ModelManifest, bytes: Uint8Array, from: string): Uint8Array {
  const sha256 = sha256Of(bytes);
  if (sha256 === manifest.sha256) return bytes;
  throw new SightlineError(
    'MODEL_DAMAGED',
    `${manifest.id}: ${from} has the sha256 ${sha256} (${bytes.length} bytes) instead of ${manifest.sha256}`,
  );
}
