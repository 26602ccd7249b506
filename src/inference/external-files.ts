import { createHash } from 'node:crypto';
import { open, readFile, realpath, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { externalTensors, withDataInside } from './onnx/external-data.ts';
import type { ExternalTensor } from './onnx/external-data.ts';

/**
 * The files in which an ONNX model keeps weights. They are read once, at import: from then on the model is one file with one
 * checksum, which covers them.
 */

/**
 * An ONNX model in one piece: the file at `path`, with the weights in files beside it. `bytesMax`: of all together. Throws
 * SOURCE_NOT_FOUND naming each file that is missing, SOURCE_UNREADABLE, MODEL_UNSUPPORTED (a place that is not beside the model),
 * MODEL_DAMAGED (too short, altered).
 */
export async function withParts(path: string, model: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const name = basename(path);
  const tensors = listed(name, model);
  if (tensors.length === 0) return model;
  const parts = await findParts(path, new Set(tensors.map(({ location }) => location)));
  const lengths = tensors.map((tensor) => lengthOf(name, tensor, parts.get(tensor.location)!));
  const total = lengths.reduce((sum, length) => sum + length, model.length);
  if (total > bytesMax) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path} has ${total} bytes with its weights, more than ${bytesMax}`);
  }
  await checkSums(name, tensors, parts, bytesMax);
  return withDataInside(model, await readAll(name, tensors, lengths, parts));
}

function listed(name: string, model: Uint8Array): ExternalTensor[] {
  try {
    return externalTensors(model);
  } catch (thrown) {
    throw new SightlineError('MODEL_DAMAGED', `${name}: ${(thrown as Error).message}`, { cause: thrown });
  }
}

interface Part {
  /** With every link followed. */
  readonly path: string;
  readonly bytes: number;
}

const NAMED_MAX = 5;

/** By location. */
async function findParts(model: string, locations: ReadonlySet<string>): Promise<Map<string, Part>> {
  const folder = dirname(model);
  // A model that is a link may have its weights beside the file that it leads to, as in the cache of Hugging Face.
  const homes = [await realpath(folder), dirname(await realpath(model))];
  const parts = new Map<string, Part>();
  const missing: string[] = [];
  for (const location of locations) {
    checkLocation(basename(model), location);
    const path = await realpath(join(folder, location)).catch(() => undefined);
    const found = path === undefined ? undefined : await stat(path);
    if (path === undefined || !found) {
      missing.push(location);
      continue;
    }
    if (!homes.some((home) => isWithin(home, path))) {
      throw notBeside(basename(model), location, `leads to ${path}, which is not beside it`);
    }
    if (!found.isFile()) {
      throw new SightlineError(
        'SOURCE_UNREADABLE',
        `${join(folder, location)}, with weights of ${basename(model)}, is not a file`,
      );
    }
    parts.set(location, { path, bytes: found.size });
  }
  if (missing.length > 0) {
    const names = missing.slice(0, NAMED_MAX).map((location) => `"${location}"`);
    const more = missing.length > NAMED_MAX ? ` and ${missing.length - NAMED_MAX} more` : '';
    throw new SightlineError(
      'SOURCE_NOT_FOUND',
      `${basename(model)} keeps weights in ${names.join(', ')}${more}, which must lie beside it under that name; it is missing in ${folder}`,
    );
  }
  return parts;
}

/** ONNX demands a relative path without `..`. */
function checkLocation(model: string, location: string): void {
  const steps = location.split('/');
  const isPlain =
    location !== '' && !/[\\\0]|^[a-z]:/i.test(location) && !location.startsWith('/') && !steps.includes('..');
  if (!isPlain) throw notBeside(model, location, 'is not a place beside it');
}

function isWithin(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '..' && !way.startsWith(`..${sep}`) && !/^[a-z]:/i.test(way);
}

function notBeside(model: string, location: string, why: string): SightlineError {
  return new SightlineError(
    'MODEL_UNSUPPORTED',
    `${model} keeps weights in "${location}", which ${why}: only files beside the model are read; save the model in one file or with its data beside it`,
  );
}

function lengthOf(model: string, { name, location, offset, length }: ExternalTensor, { bytes }: Part): number {
  const wanted = length ?? Math.max(0, bytes - offset);
  if (offset + wanted <= bytes) return wanted;
  throw new SightlineError(
    'MODEL_DAMAGED',
    `${model}: ${location} has ${bytes} bytes, and the tensor "${name}" lies at ${offset} to ${offset + wanted}: it is cut, or belongs to another model`,
  );
}

/** Checksums of whole files, where the model gives them. */
async function checkSums(
  model: string,
  tensors: readonly ExternalTensor[],
  parts: ReadonlyMap<string, Part>,
  bytesMax: number,
): Promise<void> {
  const sums = new Map(
    tensors.flatMap(({ location, sha1 }) => (sha1 === undefined ? [] : [[location, sha1] as const])),
  );
  for (const [location, sha1] of sums) {
    const { path, bytes } = parts.get(location)!;
    if (bytes > bytesMax) {
      throw new SightlineError(
        'SOURCE_UNREADABLE',
        `${location} of ${model} has ${bytes} bytes, more than ${bytesMax}`,
      );
    }
    const own = createHash('sha1')
      .update(await readFile(path))
      .digest('hex');
    if (own === sha1) continue;
    throw new SightlineError('MODEL_DAMAGED', `${model}: ${location} has the sha1 ${own} instead of ${sha1}`);
  }
}

async function readAll(
  model: string,
  tensors: readonly ExternalTensor[],
  lengths: readonly number[],
  parts: ReadonlyMap<string, Part>,
): Promise<Uint8Array[]> {
  const data = tensors.map(() => new Uint8Array(0));
  const byFile = Map.groupBy(tensors.keys(), (i) => tensors[i]!.location);
  for (const [location, own] of byFile) {
    const { path } = parts.get(location)!;
    // One open file at a time: a model may have one for each tensor.
    const file = await open(path).catch((thrown: Error) => {
      throw new SightlineError('SOURCE_UNREADABLE', `${path}, with weights of ${model}: ${thrown.message}`, {
        cause: thrown,
      });
    });
    try {
      for (const i of own) data[i] = await readRange(file, tensors[i]!.offset, lengths[i]!, `${model}: ${location}`);
    } finally {
      await file.close();
    }
  }
  return data;
}

async function readRange(
  file: FileHandle,
  offset: number,
  length: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw new SightlineError('MODEL_DAMAGED', `${what} became shorter while it was read`);
    done += bytesRead;
  }
  return bytes;
}
