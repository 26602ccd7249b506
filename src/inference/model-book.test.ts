import { expect, test } from 'vitest';
import { brightnessManifest } from '../../test/support/brightness-model.ts';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { ModelManifest, ReadyModel } from './manifest.ts';
import { ModelBook } from './model-book.ts';

const manifest = (id: string, task: ModelManifest['task'] = 'detect'): ModelManifest => ({
  ...brightnessManifest(id),
  sha256: id,
  task,
});
const PROVIDERS = { requested: ['cpu'], effective: 'cpu', refused: [], nodes: {} };

/** Models by id, and an engine that loads what it is given: both as quick, or as broken, as a test wants them. */
class Bench {
  readonly clock = new ManualClock();
  readonly known = new Map(['first', 'second', 'third'].map((id) => [id, manifest(id)]));
  /** Ids of what was given to the engine, in order. */
  readonly loads: string[] = [];
  /** What `resolve` of a model throws. */
  readonly broken = new Map<string, SightlineError>();
  /** Holds every load up. */
  gate: Promise<void> = Promise.resolve();
  readonly book: ModelBook;

  constructor({ modelsMax = 8, defaultModel = 'first' } = {}) {
    this.known.set('palm', manifest('palm', 'palm'));
    this.book = new ModelBook({
      clock: this.clock,
      settings: { defaultModel, modelsMax },
      registry: {
        get: async (id) => this.#get(id),
        resolve: async (idOrPath) => {
          const thrown = this.broken.get(idOrPath);
          if (thrown) throw thrown;
          const isPath = idOrPath.endsWith('.onnx');
          const found = isPath ? { ...manifest(idOrPath.slice(1, -5)), sha256: idOrPath } : this.#get(idOrPath);
          return { manifest: found, onnxPath: '/nowhere.onnx' };
        },
      },
      engine: {
        load: async ({ manifest: { id } }: ReadyModel) => {
          await this.gate;
          this.loads.push(id);
          return PROVIDERS;
        },
        stats: () => ({ workers: 2, models: this.loads.map((id) => ({ id, providers: PROVIDERS, warmUpMs: 7 })) }),
      },
    });
  }

  /** With its default model loaded. */
  static async open(options?: ConstructorParameters<typeof Bench>[0]): Promise<Bench> {
    const bench = new Bench(options);
    await bench.book.open();
    return bench;
  }

  #get(id: string): ModelManifest {
    const found = this.known.get(id);
    if (found) return found;
    throw new SightlineError('MODEL_UNKNOWN', `there is no model "${id}"`);
  }
}

test('before it is opened there is no model; who asks while the default is loaded waits for it', async () => {
  const bench = new Bench();
  const { book } = bench;
  await expect(book.detector()).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  const gate = Promise.withResolvers<void>();
  bench.gate = gate.promise;
  const opened = book.open();
  const asked = [book.detector(), book.detector('first'), book.detector('second')];
  await expect.poll(() => book.loading).toEqual(['first']);
  expect(book.isStarting).toBe(true);
  gate.resolve();
  await opened;
  expect(book.isStarting).toBe(false);
  expect(await Promise.all(asked)).toEqual(['first', 'first', 'second']);
  expect(bench.loads).toEqual(['first', 'second']);
});

test('loads a model once, however many ask, and tells of it with its licence', async () => {
  const bench = await Bench.open();
  const { book } = bench;
  const asked = await Promise.all([book.detector('second'), book.detector('second'), book.model('second')]);
  expect(asked).toEqual(['second', 'second', bench.known.get('second')]);
  expect(await book.detector('second')).toBe('second');
  expect(bench.loads).toEqual(['first', 'second']);
  const { title, licence } = manifest('second');
  expect(book.report()).toEqual([
    expect.objectContaining({ id: 'first' }),
    { id: 'second', title, licence, providers: PROVIDERS, warmUpMs: 7 },
  ]);
});

test('a model that failed is told for a minute, and may be tried again', async () => {
  const bench = await Bench.open();
  const { book, clock, broken } = bench;
  broken.set('second', new SightlineError('MODEL_CRASHED', 'it fell'));
  await expect(book.detector('second')).rejects.toMatchObject({ code: 'MODEL_CRASHED' });
  expect(book.loading).toEqual([]);
  clock.advance(60_000);
  expect(book.failed).toEqual([{ id: 'second', reason: 'it fell' }]);
  clock.advance(1);
  expect(book.failed).toEqual([]);

  await expect(book.detector('second')).rejects.toMatchObject({ code: 'MODEL_CRASHED' });
  broken.clear();
  expect(await book.detector('second')).toBe('second');
  expect(book.failed).toEqual([]);
});

test('one that was never pulled is refused, and no failure of the server’s', async () => {
  const { book, broken } = await Bench.open();
  broken.set('second', new SightlineError('MODEL_UNAVAILABLE', 'pull it'));
  await expect(book.detector('second')).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
  expect(book.failed).toEqual([]);
});

test('what is unknown, or no detector, is refused before anything is loaded', async () => {
  const bench = await Bench.open();
  const { book } = bench;
  await expect(book.detector('nonsense')).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  await expect(book.detector('x'.repeat(500))).rejects.toMatchObject({
    message: `there is no model "${'x'.repeat(80)}"`,
  });
  await expect(book.detector('palm')).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
  expect(bench.loads).toEqual(['first']);
  // Loaded for somebody else it still is no detector.
  expect(await book.model('palm')).toBe(bench.known.get('palm'));
  await expect(book.detector('palm')).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
  expect([bench.loads, book.failed]).toEqual([['first', 'palm'], []]);
});

test('all places taken: one more is refused, those that are there are not; a failed one frees its place', async () => {
  const { book, broken } = await Bench.open({ modelsMax: 2 });
  broken.set('second', new SightlineError('MODEL_CRASHED', 'it fell'));
  await expect(book.detector('second')).rejects.toMatchObject({ code: 'MODEL_CRASHED' });
  expect(await book.detector('third')).toBe('third');
  await expect(book.detector('second')).rejects.toMatchObject({
    code: 'MODEL_UNAVAILABLE',
    message: expect.stringContaining('inference.models_max'),
  });
  expect(await book.detector('third')).toBe('third');
});

test('a file is asked for by its name from then on; another one of that name is refused', async () => {
  const bench = await Bench.open();
  const { book } = bench;
  expect(await book.add('/mine.onnx')).toMatchObject({ id: 'mine', sha256: '/mine.onnx' });
  expect(await book.detector('mine')).toBe('mine');
  await book.add('/mine.onnx');
  expect(bench.loads).toEqual(['first', 'mine']);
  // Of a model that is loaded, and of one that is only known.
  bench.known.set('mine', manifest('mine'));
  await expect(book.add('mine')).rejects.toMatchObject({ code: 'USAGE' });
  await expect(book.add('/second.onnx')).rejects.toMatchObject({ code: 'USAGE' });
  await expect(book.add('palm')).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
});

test('a default model that cannot be had ends the start, and whoever waits for it', async () => {
  const { book, broken } = new Bench();
  broken.set('first', new SightlineError('MODEL_DAMAGED', 'cut in half'));
  const opened = book.open();
  const asked = book.detector();
  await expect(opened).rejects.toMatchObject({ code: 'MODEL_DAMAGED' });
  await expect(asked).rejects.toMatchObject({ code: 'MODEL_DAMAGED' });
  expect(book.isStarting).toBe(true);
  await expect(new Bench({ defaultModel: 'palm' }).book.open()).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
});
