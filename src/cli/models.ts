import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SightlineError } from '../base/errors.ts';
import { decodeText, parseLabels } from '../inference/label-file.ts';
import { benchModel } from '../inference/model-bench.ts';
import type { ModelManifest, ReadyModel } from '../inference/manifest.ts';
import { HEAD_NAMES } from '../inference/readings.ts';
import type { HeadName } from '../inference/readings.ts';
import type { PictureInput } from '../vision/types.ts';
import { isModelPath, ModelRegistry } from '../inference/registry.ts';
import type { ImportOptions, ModelEntry } from '../inference/registry.ts';
import type { CliContext } from './context.ts';
import { pictureSize } from './options.ts';
import { inColumns } from './text.ts';

/** `sightline models`: lists models, and gets more of them. */
export function registerModels(program: Command, context: CliContext): void {
  const models = program.command('models').description('list, pull, import and measure models');

  models
    .command('list')
    .description('list all models: state, licence, input')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const entries = await registryOf(context).list();
      if (json) context.out(JSON.stringify(entries.map(summary)));
      else for (const line of listLines(entries)) context.text(line);
    });

  models
    .command('pull')
    .argument('<id>', 'name of a model')
    .description('fetch a model that is not built in')
    .option('--from <path>', 'take it from this file, if it has the right checksum')
    .action(async (id: string, { from }: { from?: string }) => {
      const registry = registryOf(context);
      const manifest = await registry.get(id);
      context.err(`${manifest.id}: licence ${licenceText(manifest)}`);
      const file = from === undefined ? {} : { from: resolve(context.cwd, from) };
      const model = await registry.pull(id, { ...file, signal: context.signal });
      context.out(`${id} is ready: ${model.onnxPath}`);
    });

  models
    .command('import')
    .argument('<file>', 'an .onnx (with its data beside it) or .tflite file')
    .description('import a model of your own into the cache')
    .option('--id <id>', "name of the model (default: the file's)")
    .option(
      '--labels <file>',
      'text file (UTF-8 or UTF-16), one label a line, in the order of the classes; or coco, for the names of its classes',
    )
    .option(
      '--head <head>',
      `form of the outputs: ${HEAD_NAMES.join(', ')} (default: recognised from the file and its first run)`,
    )
    .option('--colour <order>', 'rgb, bgr, or grey for a model of one channel')
    .option('--mean <n>', 'subtracted from each pixel value 0..255: one number, or three with commas')
    .option('--std <n>', 'then divides the pixel value: one number, or three with commas')
    .option('--fit <fit>', 'stretch, letterbox or letterbox-corner')
    .option('--size <WxH>', 'input size in pixels, for a model that leaves it open', pictureSize)
    .option('--manifest <file>', 'JSON or YAML file with fields of the manifest, such as an SSD head with its anchors')
    .option('--replace', 'replace an earlier import of that name')
    .action(async (file: string, flags: ImportFlags) => {
      const options = await importOptions(flags, context);
      const model = await registryOf(context).import(resolve(context.cwd, file), options);
      for (const line of infoLines(model)) context.err(line);
      for (const note of model.notes ?? []) context.err(`note: ${note}`);
      context.out(`${model.manifest.id} is ready: ${model.onnxPath}`);
    });

  models
    .command('info')
    .argument('<id>', 'name of a model, or path of a model file')
    .description("print a model's manifest")
    .option('--json', 'print JSON')
    .action(async (id: string, { json }: { json?: boolean }) => {
      const registry = registryOf(context);
      const entry = (await registry.list()).find((e) => e.manifest.id === id);
      // A model that is not here yet has a manifest all the same; everything else is checked and run.
      const model: KnownModel =
        entry?.state === 'available' ? { manifest: entry.manifest } : await registry.resolve(pathOrId(id, context));
      if (json) context.out(JSON.stringify({ ...model.manifest, state: entry?.state ?? 'file', ...pathOf(model) }));
      else for (const line of infoLines(model)) context.text(line);
    });

  models
    .command('bench')
    .argument('<id>', 'name of a model, or path of a model file')
    .description('measure how fast a model runs here: one session, one picture at a time')
    .option('--seconds <n>', 'for each number of threads', '3')
    .option('--json', 'print JSON')
    .action(async (id: string, { seconds, json }: { seconds: string; json?: boolean }) => {
      const length = numberOf('--seconds', seconds, 0.05, 600);
      const model = await registryOf(context).resolve(pathOrId(id, context));
      const rows = [];
      for (const threads of [1, 2]) {
        if (!json) context.err(`${model.manifest.id}: ${threads} thread${threads > 1 ? 's' : ''} for ${length} s`);
        rows.push(await benchModel(model, { threads, seconds: length, signal: context.signal }));
      }
      if (json) {
        context.out(JSON.stringify({ model: model.manifest.id, rows }));
        return;
      }
      const cells = rows.map((r) => [`${r.threads}`, r.p50_ms.toFixed(2), r.p95_ms.toFixed(2), r.fps.toFixed(1)]);
      for (const line of inColumns([['threads', 'ms (P50)', 'ms (P95)', 'pictures/s'], ...cells])) context.text(line);
    });
}

/** A model with its file, if that is on this machine. */
type KnownModel = Pick<ReadyModel, 'manifest'> & Partial<ReadyModel>;

interface ImportFlags {
  readonly id?: string;
  readonly labels?: string;
  readonly head?: string;
  readonly colour?: string;
  readonly mean?: string;
  readonly std?: string;
  readonly fit?: string;
  readonly size?: { readonly width: number; readonly height: number };
  readonly manifest?: string;
  readonly replace?: boolean;
}

function registryOf(context: CliContext): ModelRegistry {
  const { models } = context.config();
  return new ModelRegistry({
    cacheDir: resolve(context.cwd, models.cache_dir),
    cacheBytesMax: models.cache_bytes_max,
    manifests: models.manifests.map((path) => resolve(context.cwd, path)),
  });
}

/** Paths count from the command's folder; an id stays an id. */
function pathOrId(text: string, context: CliContext): string {
  return isModelPath(text) ? resolve(context.cwd, text) : text;
}

async function importOptions(flags: ImportFlags, context: CliContext): Promise<ImportOptions> {
  const input: Partial<PictureInput> = {
    ...(flags.colour !== undefined && { colour: oneOf('--colour', flags.colour, ['rgb', 'bgr', 'grey']) }),
    ...(flags.mean !== undefined && { mean: triple('--mean', flags.mean) }),
    ...(flags.std !== undefined && { std: triple('--std', flags.std) }),
    ...(flags.fit !== undefined && { fit: oneOf('--fit', flags.fit, ['stretch', 'letterbox', 'letterbox-corner']) }),
  };
  return {
    input,
    ...(flags.id !== undefined && { id: flags.id }),
    ...(flags.labels !== undefined && { labels: await labelsOf(flags.labels, context) }),
    ...(flags.head !== undefined && { head: oneOf<HeadName>('--head', flags.head, HEAD_NAMES) }),
    ...(flags.size !== undefined && { size: flags.size }),
    ...(flags.manifest !== undefined && { overrides: await readOverrides(resolve(context.cwd, flags.manifest)) }),
    ...(flags.replace === true && { replace: true }),
  };
}

/** COCO's class names are used for a model only on request. */
async function labelsOf(flag: string, { cwd }: CliContext): Promise<readonly string[] | 'coco'> {
  return flag === 'coco' ? flag : await readLabels(resolve(cwd, flag));
}

async function readLabels(path: string): Promise<string[]> {
  return parseLabels(await readSmall(path), path);
}

async function readOverrides(path: string) {
  const text = decodeText(await readSmall(path), path);
  const [{ parse }, { parseOverrides }] = await Promise.all([import('yaml'), import('../inference/user-manifest.ts')]);
  let value: unknown;
  try {
    value = parse(text);
  } catch (thrown) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path}: ${(thrown as Error).message}`, { cause: thrown });
  }
  return parseOverrides(value, path);
}

/** A larger file is neither a list of labels nor a manifest. */
const SMALL_BYTES_MAX = 16 * 2 ** 20;

async function readSmall(path: string): Promise<Uint8Array> {
  const unreadable = (thrown: Error) => {
    throw new SightlineError('SOURCE_NOT_FOUND', `${path} cannot be read: ${thrown.message}`, { cause: thrown });
  };
  const { size } = await stat(path).catch(unreadable);
  if (size <= SMALL_BYTES_MAX) return await readFile(path).catch(unreadable);
  throw new SightlineError('SOURCE_UNREADABLE', `${path} has ${size} bytes, more than ${SMALL_BYTES_MAX}`);
}

function oneOf<T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((a) => a === value);
  if (found !== undefined) return found;
  throw new SightlineError('USAGE', `${option} is one of ${allowed.join(', ')}, not "${value}"`);
}

function numberOf(option: string, value: string, min: number, max: number): number {
  const number = Number(value);
  if (value.trim() !== '' && number >= min && number <= max) return number;
  throw new SightlineError('USAGE', `${option} is a number from ${min} to ${max}, not "${value}"`);
}

function triple(option: string, value: string): [number, number, number] {
  const [a = '', b = a, c = a, ...rest] = value.split(',');
  if (rest.length > 0) throw new SightlineError('USAGE', `${option} is one number or three, not "${value}"`);
  const min = option === '--std' ? 1e-6 : -1e6;
  return [numberOf(option, a, min, 1e6), numberOf(option, b, min, 1e6), numberOf(option, c, min, 1e6)];
}

function licenceText({ licence }: ModelManifest): string {
  return `${licence.spdx} (${licence.notice})`;
}

function summary({ manifest, state }: ModelEntry) {
  const { id, title, task, licence, input } = manifest;
  return { id, title, task, state, licence: licence.spdx, width: input.width, height: input.height };
}

function listLines(entries: readonly ModelEntry[]): string[] {
  const rows = entries.map((entry) => {
    const { id, state, licence, task, title, width, height } = summary(entry);
    return [id, state, licence, `${width}×${height}`, task, title];
  });
  return inColumns([['model', 'state', 'licence', 'input', 'task', ''], ...rows]);
}

function infoLines(model: KnownModel): string[] {
  const { manifest } = model;
  const { input, defaults, labels } = manifest;
  const perClass = Object.entries(defaults.perClass ?? {}).map(([label, score]) => `, ${label} ${score}`);
  return inColumns([
    ['model', manifest.id],
    ['title', manifest.title],
    ['task', manifest.task],
    ['licence', licenceText(manifest)],
    ['source', sourceText(manifest)],
    ['sha256', manifest.sha256],
    [
      'input',
      `${input.width}×${input.height} ${input.colour}, ${input.layout}, ${input.fit}, mean ${input.mean}, std ${input.std}`,
    ],
    ['head', manifest.head.kind],
    ['thresholds', `confidence ${defaults.confidence}, IoU ${defaults.iou}${perClass.join('')}`],
    ['labels', labels.length > 0 ? `${labels.length}: ${labels.join(', ')}` : 'none'],
    ...(model.onnxPath === undefined ? [] : [['file', model.onnxPath]]),
  ]);
}

function pathOf(model: KnownModel): Partial<ReadyModel> {
  return model.onnxPath === undefined ? {} : { onnxPath: model.onnxPath };
}

function sourceText({ source }: ModelManifest): string {
  switch (source.kind) {
    case 'npm':
      return `${source.file} of the npm package ${source.package}@${source.version}`;
    case 'url':
      return source.url;
    case 'file':
      return source.path;
  }
}
