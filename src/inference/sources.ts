import { open, readdir, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { download } from './download.ts';
import { withParts } from './external-files.ts';
import { foreignFile, foreignFolder, isTflite } from './foreign.ts';
import type { ModelManifest } from './manifest.ts';
import { sha256Of } from './model-store.ts';
import { fetchNpmFile } from './npm-file.ts';
import type { FetchLimits } from './npm-file.ts';
import { externalTensors } from './onnx/external-data.ts';

/**
 * The bytes of a built-in model, out of the package that is installed with Sightline. Throws MODEL_UNAVAILABLE when the
 * package is not there, MODEL_DAMAGED when its file does not match the manifest.
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

/** The bytes of a model that is not built in, from the source in its manifest. Throws MODEL_FETCH_FAILED, MODEL_DAMAGED. */
export async function fetchSource(manifest: ModelManifest, limits: FetchLimits): Promise<Uint8Array> {
  const { source, sha256, id } = manifest;
  switch (source.kind) {
    case 'npm':
      return inOnePiece(id, await fetchNpmFile({ ...source, sha256 }, limits));
    case 'file':
      return checked(manifest, await readModelFile(source.path, limits.bytesMax), source.path);
    case 'url': {
      const bytes = await download(source.url, limits).catch((thrown: Error) => {
        throw new SightlineError(
          'MODEL_FETCH_FAILED',
          `${thrown.message}; if you have the file: sightline models pull ${id} --from <path>`,
          { cause: thrown },
        );
      });
      return inOnePiece(id, checked(manifest, bytes, source.url));
    }
  }
}

/** A model that was fetched alone; weights in other files are not available then. Throws MODEL_UNSUPPORTED. */
export function inOnePiece(id: string, bytes: Uint8Array): Uint8Array {
  const [first] = isTflite(bytes) ? [] : externalTensors(bytes);
  if (!first) return bytes;
  throw new SightlineError(
    'MODEL_UNSUPPORTED',
    `${id} keeps weights in another file, "${first.location}", which is not fetched; put both into one folder and: sightline models import`,
  );
}

/**
 * A model file of the user's, with the weights that it keeps in files beside it. Throws SOURCE_NOT_FOUND (also for such a file),
 * SOURCE_UNREADABLE, MODEL_UNSUPPORTED (another format), MODEL_DAMAGED.
 */
export async function readModelFile(path: string, bytesMax = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  const found = await stat(path).catch((thrown: Error) => {
    throw new SightlineError('SOURCE_NOT_FOUND', `there is no model file ${path}`, { cause: thrown });
  });
  if (found.isDirectory()) throw foreignFolder(path, await readdir(path).catch(() => []));
  if (!found.isFile()) throw new SightlineError('SOURCE_UNREADABLE', `${path} is not a file`);
  if (found.size > bytesMax) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path} has ${found.size} bytes, more than ${bytesMax}`);
  }
  const bytes = await readFile(path).catch((thrown: Error) => {
    throw new SightlineError('SOURCE_UNREADABLE', `${path}: ${thrown.message}`, { cause: thrown });
  });
  const foreign = foreignFile(path, bytes);
  if (foreign) throw foreign;
  return isTflite(bytes) ? bytes : await withParts(path, bytes, bytesMax);
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
