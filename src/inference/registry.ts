import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, resolve as absolute } from 'node:path';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { channelsOf } from '../vision/types.ts';
import type { PictureInput } from '../vision/types.ts';
import { checkInput, detectorFor, notesOn, perPicture } from './fit.ts';
import { hasForeignEnding, isTflite } from './foreign.ts';
import { guessManifest } from './guess.ts';
import type { GuessOptions } from './guess.ts';
import type { ModelManifest, ReadyModel } from './manifest.ts';
import { ModelStore, sha256Of } from './model-store.ts';
import { CATALOGUE } from './models/catalogue.ts';
import type { PictureWish } from './picture-shape.ts';
import { proveModel } from './prove.ts';
import type { Proof, ProvenTensor } from './prove.ts';
import { checked, fetchSource, readBuiltIn, readModelFile } from './sources.ts';
import type { ManifestOverrides } from './user-manifest.ts';

const GIB = 1024 * 1024 * 1024;

export interface RegistryOptions {
  /** Folder of pulled, imported and converted models; made when it is needed. */
  readonly cacheDir: string;
  /** Size of the folder. Default 4 GiB. */
  readonly cacheBytesMax?: number;
  /** Manifest files (JSON or YAML) of further models; a `file` source in one counts from its folder. */
  readonly manifests?: readonly string[];
  /** Execution provider that models are proven on. Default `cpu`. */
  readonly provider?: string;
  /** For the first run of a model in its child process. Default 60 s. */
  readonly proofTimeoutMs?: number;
  /** Memory of that child process. Default 4 GiB. */
  readonly proofMemoryBytesMax?: number;
  /** For fetching a model. Default 5 minutes. */
  readonly fetchTimeoutMs?: number;
  /** Limit of a model file, and of a package that one comes in. Default 1 GiB. */
  readonly modelBytesMax?: number;
  readonly clock?: Clock;
}

export interface ModelEntry {
  readonly manifest: ModelManifest;
  /** `built-in`: comes with Sightline; `pulled`: in the cache; `available`: to be pulled; `imported`: the user's own. */
  readonly state: 'built-in' | 'pulled' | 'available' | 'imported';
}

export interface ImportOptions extends GuessOptions {
  /** Default: the file's name in lower case. */
  readonly id?: string;
  /** For a model that leaves the size of its input open, pixels. */
  readonly size?: Size;
  /** The values of a manifest file; they beat those read off the model. */
  readonly overrides?: ManifestOverrides;
  /** An imported model of this id may be replaced. */
  readonly replace?: boolean;
}

export interface ResolveOptions {
  /** Size of the pictures that the model gets, for one that leaves it open; it beats the size of an earlier import. Pixels. */
  readonly size?: Size;
}

/** Size of a picture, pixels. */
interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * All models that Sightline can run: knows them, fetches them, converts them, and hands out none that did not run once in a
 * child process on this machine. Safe to use from many processes at once; holds nothing open.
 */
export class ModelRegistry {
  readonly #options: RegistryOptions;
  readonly #store: ModelStore;
  /** Models that are being made ready, by id or path: requests meanwhile get the same answer. */
  readonly #pending = new Map<string, Promise<ReadyModel>>();

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#store = new ModelStore(options.cacheDir, options.cacheBytesMax ?? 4 * GIB, options.clock ?? systemClock);
  }

  /** All named models: the catalogue, the configured manifests, the imported ones. */
  async list(): Promise<ModelEntry[]> {
    const own = new Set((await this.#ownManifests()).map((m) => m.id));
    return await Promise.all(
      (await this.#manifests()).map(async (manifest): Promise<ModelEntry> => {
        if (manifest.builtIn) return { manifest, state: 'built-in' };
        if (own.has(manifest.id)) return { manifest, state: 'imported' };
        const isHere = await this.#store.has(manifest.sha256, manifest.format);
        return { manifest, state: isHere ? 'pulled' : 'available' };
      }),
    );
  }

  /** The manifest of a named model. Throws MODEL_UNKNOWN. */
  async get(id: string): Promise<ModelManifest> {
    const manifests = await this.#manifests();
    const found = manifests.find((m) => m.id === id);
    if (found) return found;
    throw new SightlineError(
      'MODEL_UNKNOWN',
      `there is no model "${id}"; there are ${manifests.map((m) => m.id).join(', ')}`,
    );
  }

  /**
   * A model ready to be loaded, by its id or by the path of an `.onnx` or `.tflite` file. A file that is a named model by
   * its checksum is that model; for any other the head and input are recognised from its tensors.
   *
   * Throws MODEL_UNKNOWN, MODEL_UNAVAILABLE (not pulled), MODEL_DAMAGED, MODEL_UNSUPPORTED, MODEL_CRASHED, for paths also
   * SOURCE_NOT_FOUND, SOURCE_UNREADABLE and USAGE (its kind is ambiguous: import it with options).
   */
  resolve(idOrPath: string, options: ResolveOptions = {}): Promise<ReadyModel> {
    return this.#once(`${idOrPath} ${options.size?.width}x${options.size?.height}`, () =>
      isModelPath(idOrPath) ? this.#resolvePath(absolute(idOrPath), options) : this.#resolveId(idOrPath, options),
    );
  }

  /**
   * Fetches a model that is not built in: from the source in its manifest, or from a file (`from`) that must have the
   * manifest's checksum. Throws as `resolve`, and MODEL_FETCH_FAILED.
   */
  async pull(id: string, options: { readonly from?: string; readonly signal?: AbortSignal } = {}): Promise<ReadyModel> {
    const manifest = await this.get(id);
    const { from, signal } = options;
    const isHere = manifest.builtIn || (await this.#store.find(manifest.sha256, manifest.format)) !== undefined;
    if (from !== undefined || !isHere) {
      const bytes =
        from === undefined ? await this.#fetch(manifest, signal) : checked(manifest, await this.#read(from), from);
      await this.#store.put(bytes, manifest.format, await this.#kept());
    }
    return await this.resolve(id);
  }

  /**
   * Imports a model file of the user's into the cache under a name of its own. A file that the catalogue knows by its
   * checksum keeps the catalogue's manifest, unless options change it. Throws as `resolve` for paths; USAGE for an id that is
   * bad, or taken and not to be replaced.
   */
  async import(path: string, options: ImportOptions = {}): Promise<ReadyModel> {
    const file = absolute(path);
    const bytes = await this.#read(file);
    const sha256 = sha256Of(bytes);
    const known = CATALOGUE.find((m) => m.sha256 === sha256 && !m.builtIn);
    const isPlain = !SAID_OF_MODEL.some((key) => isSaid(options[key]));
    if (known && options.id === undefined && isPlain) return await this.pull(known.id, { from: file });
    const id = options.id ?? idOf(file);
    const { MODEL_ID, parseManifest } = await import('./user-manifest.ts');
    if (!MODEL_ID.test(id))
      throw new SightlineError(
        'USAGE',
        `"${id}" is not a model id: a-z, 0-9, ".", "_", "-", at most 64; choose one with --id`,
      );
    const taken = [...CATALOGUE, ...(await this.#configured())].find((m) => m.id === id);
    if (taken) throw new SightlineError('USAGE', `the model id "${id}" is taken; choose another one with --id`);
    const earlier = options.replace ? undefined : (await this.#ownManifests()).find((m) => m.id === id);
    if (earlier && earlier.sha256 !== sha256) throw takenBy(earlier);
    const model = await this.#examine(file, bytes, id, options);
    // A manifest that cannot be read again would be lost silently. Without its undefined fields, as the file will have it.
    const manifest = parseManifest(JSON.parse(JSON.stringify(model.manifest)), basename(file));
    if (earlier && JSON.stringify(earlier) !== JSON.stringify({ ...manifest, source: earlier.source }))
      throw takenBy(earlier);
    await this.#store.writeRecord('manifests', id, manifest);
    return { ...model, manifest };
  }

  #once(key: string, make: () => Promise<ReadyModel>): Promise<ReadyModel> {
    const pending = this.#pending.get(key);
    if (pending) return pending;
    const made = make().finally(() => this.#pending.delete(key));
    this.#pending.set(key, made);
    return made;
  }

  async #resolveId(id: string, options: ResolveOptions): Promise<ReadyModel> {
    const manifest = await this.get(id);
    return await this.#known(manifest, () => this.#source(manifest), options);
  }

  async #resolvePath(path: string, options: ResolveOptions): Promise<ReadyModel> {
    const bytes = await this.#read(path);
    const sha256 = sha256Of(bytes);
    const known = (await this.#manifests()).find((m) => m.sha256 === sha256);
    if (known) return await this.#known(known, async () => bytes, options);
    return await this.#examine(path, bytes, idOf(path), options);
  }

  /** A model that has a manifest, checked against its first run. */
  async #known(named: ModelManifest, source: () => Promise<Uint8Array>, { size }: ResolveOptions): Promise<ReadyModel> {
    const manifest = size ? { ...named, input: { ...named.input, ...size } } : named;
    const onnxPath = await this.#onnx(manifest.id, manifest.sha256, manifest.format, source);
    checkFit(manifest, await this.#proof(manifest.id, onnxPath, wishOf(manifest.input)));
    return { manifest, onnxPath };
  }

  /** Converts, runs and describes a file that no manifest knows. */
  async #examine(path: string, bytes: Uint8Array, id: string, options: ImportOptions): Promise<ReadyModel> {
    const name = basename(path);
    const format = formatOf(bytes);
    const sha256 = sha256Of(bytes);
    // A converted file can be made again only from its source, so that is kept too.
    if (format === 'tflite') await this.#store.put(bytes, format, await this.#kept());
    const onnxPath = await this.#onnx(name, sha256, format, async () => bytes);
    const { overrides, size } = options;
    refuseTwice(name, options);
    const own = overrides?.input;
    const wish = wishOf({ ...options.input, ...own, ...size });
    const proof = await this.#proof(name, onnxPath, wish);
    const { notes: told, ...guess } = guessManifest(name, ofOnePicture(proof), {
      ...options,
      ...(overrides?.head && { head: overrides.head }),
      ...(overrides?.labels && { labels: overrides.labels }),
      ...(own && { input: own }),
    });
    const manifest: ModelManifest = {
      id,
      format,
      source: { kind: 'file', path },
      sha256,
      licence: { spdx: 'unknown', notice: 'The licence is between you and the maker of the model.' },
      builtIn: false,
      ...guess,
      ...overrides,
    };
    const notes = [...told, ...checkFit({ ...manifest, id: name }, proof)];
    return { manifest, onnxPath, ...(notes.length > 0 && { notes }) };
  }

  /** The whole ONNX file of a source; converted when it is TFLite and there is no whole conversion in the cache. */
  async #onnx(
    name: string,
    sha256: string,
    format: ModelManifest['format'],
    source: () => Promise<Uint8Array>,
  ): Promise<string> {
    if (format === 'onnx') {
      return (await this.#store.find(sha256, 'onnx')) ?? this.#store.put(await source(), 'onnx', await this.#kept());
    }
    const { CONVERTER_VERSION } = await import('./tflite/version.ts');
    const key = `${sha256}-v${CONVERTER_VERSION}`;
    const record = await this.#store.readRecord('converted', key);
    const converted = isRecord(record) && typeof record['onnx'] === 'string' ? record['onnx'] : undefined;
    const cached = converted && SHA256.test(converted) ? await this.#store.find(converted, 'onnx') : undefined;
    if (cached) return cached;
    const { convertTflite } = await import('./tflite/convert.ts');
    const onnx = convertTflite(await source(), name);
    const path = await this.#store.put(onnx, 'onnx', await this.#kept());
    await this.#store.writeRecord('converted', key, { onnx: sha256Of(onnx) });
    return path;
  }

  /** The source's bytes, for a model that is not in the cache (any more). */
  async #source(manifest: ModelManifest): Promise<Uint8Array> {
    if (manifest.builtIn) return await readBuiltIn(manifest);
    const stored = await this.#store.find(manifest.sha256, manifest.format);
    if (stored) return await readFile(stored);
    if (manifest.source.kind === 'file') return await this.#fetch(manifest);
    throw new SightlineError(
      'MODEL_UNAVAILABLE',
      `the model ${manifest.id} is not on this machine, or was damaged; fetch it with: sightline models pull ${manifest.id}`,
    );
  }

  /**
   * The proof of the model's first run on this machine; runs it if it has not yet. `wish`: for the pictures that it will get.
   * Throws MODEL_UNSUPPORTED when it takes pictures of another size.
   */
  async #proof(name: string, onnxPath: string, wish: PictureWish): Promise<Proof> {
    const provider = this.#options.provider ?? 'cpu';
    // The file was hashed a moment ago: its name is its content.
    const key = `${basename(onnxPath, '.onnx')}-${provider}-${runtimeVersion()}-v${PROOF_VERSION}`;
    const cached = await this.#store.readRecord('proofs', key);
    if (isProof(cached) && answers(cached, wish)) return cached;
    const proof = await proveModel(
      name,
      { onnxPath, provider, picture: wish },
      {
        timeoutMs: this.#options.proofTimeoutMs ?? 60_000,
        memoryBytesMax: this.#options.proofMemoryBytesMax ?? 4 * GIB,
      },
    );
    if (!hasSize(proof, wish)) {
      const shapes = proof.inputs.map(({ dims }) => `[${dims}]`).join(', ');
      throw new SightlineError(
        'MODEL_UNSUPPORTED',
        `${name} takes ${shapes}, not pictures of ${wish.width}×${wish.height}`,
      );
    }
    await this.#store.writeRecord('proofs', key, proof);
    return proof;
  }

  async #fetch(manifest: ModelManifest, signal?: AbortSignal): Promise<Uint8Array> {
    return await fetchSource(manifest, {
      bytesMax: this.#options.modelBytesMax ?? GIB,
      timeoutMs: this.#options.fetchTimeoutMs ?? 300_000,
      ...(signal && { signal }),
    });
  }

  #read(path: string): Promise<Uint8Array> {
    return readModelFile(path, this.#options.modelBytesMax ?? GIB);
  }

  async #manifests(): Promise<ModelManifest[]> {
    return [...CATALOGUE, ...(await this.#configured()), ...(await this.#ownManifests())];
  }

  /** Manifests of files that the configuration names. Throws CONFIG_UNREADABLE, CONFIG_VALUE_BAD. */
  async #configured(): Promise<ModelManifest[]> {
    return await Promise.all((this.#options.manifests ?? []).map((path) => readManifestFile(absolute(path))));
  }

  /** Manifests of imported models. One that was damaged in the cache is left out: the model has to be imported again. */
  async #ownManifests(): Promise<ModelManifest[]> {
    const keys = await this.#store.recordKeys('manifests');
    if (keys.length === 0) return [];
    const { parseManifest } = await import('./user-manifest.ts');
    const records = await Promise.all(keys.map((key) => this.#store.readRecord('manifests', key)));
    return records.flatMap((record) => {
      try {
        return [parseManifest(record, 'imported model')];
      } catch {
        return [];
      }
    });
  }

  /** Checksums of files that cannot be made again, or not without the network. */
  async #kept(): Promise<ReadonlySet<string>> {
    return new Set((await this.#manifests()).filter((m) => !m.builtIn).map((m) => m.sha256));
  }
}

const SHA256 = /^[0-9a-f]{64}$/;
/** Counts up when a proof says more than before, so that old ones are made anew. */
const PROOF_VERSION = 2;

/** Options that make an import more than a copy of a known model. */
const SAID_OF_MODEL = [
  'labels',
  'head',
  'size',
  'input',
  'overrides',
] as const satisfies readonly (keyof ImportOptions)[];

function isSaid(option: object | string | undefined): boolean {
  return typeof option === 'object' ? Object.keys(option).length > 0 : option !== undefined;
}

/** Values that both the options and the manifest give: one of them would be lost silently. Throws USAGE. */
function refuseTwice(name: string, { labels, head, input, size, overrides = {} }: ImportOptions): void {
  const twice = (what: string) =>
    new SightlineError('USAGE', `the manifest for ${name} also gives ${what}; leave one of them out`);
  if (labels && overrides.labels) throw twice('the labels, which --labels does');
  if (head && overrides.head) throw twice('the head, which --head does');
  const own = overrides.input;
  if (!own) return;
  if (input && isSaid(input)) throw twice(`the input, and options say its ${Object.keys(input).join(', ')}`);
  if (size && (own.width !== size.width || own.height !== size.height)) {
    throw twice(`${own.width}×${own.height}, and --size ${size.width}×${size.height}`);
  }
}

function takenBy({ id, sha256 }: ModelManifest): SightlineError {
  return new SightlineError(
    'USAGE',
    `there is a model "${id}" of an earlier import (sha256 ${sha256.slice(0, 12)}…); replace it with --replace, or choose another name with --id`,
  );
}

function wishOf({ width, height, layout, colour }: Partial<PictureInput>): PictureWish {
  return {
    ...(width !== undefined && { width }),
    ...(height !== undefined && { height }),
    ...(layout !== undefined && { layout }),
    ...(colour !== undefined && { channels: channelsOf({ colour }) }),
  };
}

/** A proof as of a model that takes one picture at a time: with several, the results of one stand for all. */
function ofOnePicture(proof: Proof): Proof {
  const batch = proof.inputs[0]?.dims[0] ?? 1;
  return { ...proof, outputs: proof.outputs.map((output) => ({ ...output, dims: perPicture(output.dims, batch) })) };
}

/** Checks that the model runs in an engine, and returns notes about it. Throws MODEL_UNSUPPORTED. */
function checkFit(manifest: ModelManifest, { inputs, outputs }: Proof): string[] {
  const intake = checkInput(manifest, inputs);
  detectorFor(manifest, outputs, intake.batch);
  return notesOn(intake);
}

async function readManifestFile(path: string): Promise<ModelManifest> {
  const text = await readFile(path, 'utf8').catch((thrown: Error) => {
    throw new SightlineError('CONFIG_UNREADABLE', `models.manifests: ${path} cannot be read: ${thrown.message}`, {
      cause: thrown,
    });
  });
  const [{ parse }, { parseManifest }] = await Promise.all([import('yaml'), import('./user-manifest.ts')]);
  let value: unknown;
  try {
    value = parse(text);
  } catch (thrown) {
    throw new SightlineError('CONFIG_UNREADABLE', `models.manifests: ${path}: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
  const manifest = parseManifest(value, path);
  if (manifest.source.kind !== 'file') return manifest;
  return { ...manifest, source: { kind: 'file', path: absolute(dirname(path), manifest.source.path) } };
}

/** A name with a separator or a model file's ending is a path, not an id. */
export function isModelPath(idOrPath: string): boolean {
  return /[\\/]/.test(idOrPath) || /\.(onnx|tflite)$/i.test(idOrPath) || hasForeignEnding(idOrPath);
}

function idOf(path: string): string {
  const id = basename(path, extname(path))
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, '-');
  return id.replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model';
}

/** ONNX Runtime refuses a file that is neither, by name. */
function formatOf(bytes: Uint8Array): ModelManifest['format'] {
  return isTflite(bytes) ? 'tflite' : 'onnx';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isProof(value: unknown): value is Proof {
  return (
    isRecord(value) && Array.isArray(value['inputs']) && Array.isArray(value['outputs']) && isRecord(value['metadata'])
  );
}

/** Did the first run take pictures of this size? */
function hasSize({ inputs }: Proof, { width, height }: PictureWish): boolean {
  if (width === undefined || height === undefined) return true;
  return inputs.some(({ dims }) => dims.some((d, i) => d === height && dims[i + 1] === width));
}

/** Does the earlier proof hold for this request? A size that was wished for then need not be today's. */
function answers(proof: Proof, wish: PictureWish): boolean {
  const { width, height, layout, channels } = wish;
  if (proof.sizeOpen && (width === undefined || height === undefined)) return false;
  const hasColours = ({ dims }: ProvenTensor) =>
    channels === undefined || (layout ? dims[layout === 'nchw' ? 1 : 3] === channels : dims.includes(channels));
  return hasSize(proof, wish) && proof.inputs.every((input) => input.dims.length !== 4 || hasColours(input));
}

function runtimeVersion(): string {
  const require = createRequire(import.meta.url);
  return (require('onnxruntime-node/package.json') as { version: string }).version;
}
