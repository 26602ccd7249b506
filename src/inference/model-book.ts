import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { Engine, EngineStats } from './engine/types.ts';
import { requireDetector, type ModelManifest, type ReadyModel } from './manifest.ts';
import type { ModelRegistry } from './registry.ts';

/** How long the failure of a requested model stays among the issues. */
const FAILED_TOLD_MS = 60_000;

export interface ModelBookOptions {
  readonly registry: Pick<ModelRegistry, 'get' | 'resolve'>;
  readonly engine: Pick<Engine, 'load'> & {
    stats(): { readonly workers: number; readonly models: readonly LoadedModel[] };
  };
  readonly clock: Clock;
  readonly log?: Log;
  readonly settings: ModelBookSettings;
}

export interface ModelBookSettings {
  /** Id or path of the default model. */
  readonly defaultModel: string;
  /** Models that may be loaded at once. */
  readonly modelsMax: number;
}

type LoadedModel = Pick<EngineStats['models'][number], 'id' | 'providers' | 'warmUpMs'>;

/** A loaded model, as reported to people. */
export type LoadedModelReport = Pick<ModelManifest, 'id' | 'title' | 'licence'> & LoadedModel;

/** The models of one engine: which are loaded or loading, and which failed recently. Loads each once, however many ask. */
export class ModelBook {
  readonly #options: ModelBookOptions;
  /** By id, from the first request on. One that failed is forgotten, so that it can be tried again. */
  readonly #models = new Map<string, Promise<void>>();
  readonly #manifests = new Map<string, ModelManifest>();
  readonly #loading = new Set<string>();
  readonly #failed = new Map<string, { readonly reason: string; readonly timeMs: number }>();
  /** Id of the default model, once it is loaded. */
  #default: Promise<string> | undefined;
  #isStarting = true;

  constructor(options: ModelBookOptions) {
    this.#options = options;
  }

  /** The default model has not been ready yet. */
  get isStarting(): boolean {
    return this.#isStarting;
  }

  /** Ids of the models that are loading. */
  get loading(): string[] {
    return [...this.#loading];
  }

  /** Models that failed to load within the last minute. */
  get failed(): { readonly id: string; readonly reason: string }[] {
    const { clock } = this.#options;
    for (const [id, { timeMs }] of this.#failed) {
      if (clock.now() - timeMs > FAILED_TOLD_MS) this.#failed.delete(id);
    }
    return [...this.#failed].map(([id, { reason }]) => ({ id, reason }));
  }

  /** The models that the engine has. */
  report(): LoadedModelReport[] {
    return this.#options.engine.stats().models.map(({ id, providers, warmUpMs }) => {
      const { title, licence } = this.#manifests.get(id)!;
      return { id, title, licence, providers, warmUpMs };
    });
  }

  /** Makes the default model ready; requests meanwhile wait for it. Errors: those of a model that cannot be loaded. */
  async open(): Promise<void> {
    const { registry, settings } = this.#options;
    this.#default = registry.resolve(settings.defaultModel).then(async (model) => {
      const { id } = requireDetector(model.manifest);
      await this.#ready(id, async () => model);
      return id;
    });
    await this.#default;
    this.#isStarting = false;
  }

  /**
   * Id of a detector that is ready now; not given: of the default model. A client names models by their id only: a path would let it
   * probe this machine's files. Errors: MODEL_*; MODEL_UNAVAILABLE also before `open`.
   */
  async detector(requested?: string): Promise<string> {
    if (!this.#default) throw new SightlineError('MODEL_UNAVAILABLE', 'the server is starting');
    const defaultId = await this.#default;
    if (requested === undefined || requested === defaultId) return defaultId;
    return (await this.#named(requested, requireDetector)).id;
  }

  /** Manifest of a named model of any kind, which is ready now. Errors: MODEL_*. */
  model(id: string): Promise<ModelManifest> {
    return this.#named(id, (manifest) => manifest);
  }

  /**
   * Loads a detector by its id, or by the path of an `.onnx` or `.tflite` file, which may be requested by its id from then on.
   * Errors: MODEL_*, for paths SOURCE_* and USAGE (its kind is ambiguous, or another model has its id).
   */
  async add(idOrPath: string): Promise<ModelManifest> {
    const { registry } = this.#options;
    const model = await registry.resolve(idOrPath);
    const manifest = requireDetector(model.manifest);
    const { id, sha256 } = manifest;
    // The id of a file is its name, which another model may have, too.
    const named = this.#manifests.get(id) ?? (await registry.get(id).catch(() => undefined));
    if (named !== undefined && named.sha256 !== sha256) {
      throw new SightlineError('USAGE', `${idOrPath}: there is another model "${id}"; give the file another name`);
    }
    await this.#ready(id, async () => model);
    return manifest;
  }

  /** `check` throws for an unwanted model before it is loaded. */
  async #named(id: string, check: (manifest: ModelManifest) => ModelManifest): Promise<ModelManifest> {
    const isThere = this.#models.get(id);
    if (isThere !== undefined) {
      await isThere;
      return check(this.#manifests.get(id)!);
    }
    const { registry } = this.#options;
    const manifest = check(await registry.get(id.slice(0, 80)));
    await this.#ready(manifest.id, () => registry.resolve(manifest.id));
    return manifest;
  }

  /** Loads a model once, however many sessions ask; one that failed can be requested again. */
  #ready(id: string, resolve: () => Promise<ReadyModel>): Promise<void> {
    let ready = this.#models.get(id);
    if (!ready) {
      const { clock, log, settings } = this.#options;
      if (this.#models.size >= settings.modelsMax) {
        throw new SightlineError(
          'MODEL_UNAVAILABLE',
          `model ${id} does not fit: all ${settings.modelsMax} slots (inference.models_max) are taken`,
        );
      }
      this.#loading.add(id);
      this.#failed.delete(id);
      ready = this.#load(resolve)
        .catch((thrown: unknown) => {
          this.#models.delete(id);
          const { code, message } = toSightlineError(thrown);
          // A request for a model that was never pulled says nothing about this server's health.
          if (code !== 'MODEL_UNAVAILABLE') {
            this.#failed.set(id, { reason: message, timeMs: clock.now() });
            log?.write('model_failed', { model: id, code, reason: message });
          }
          throw thrown;
        })
        .finally(() => this.#loading.delete(id));
      this.#models.set(id, ready);
    }
    return ready;
  }

  async #load(resolve: () => Promise<ReadyModel>): Promise<void> {
    const { clock, log, engine } = this.#options;
    const startedMs = clock.now();
    const model = await resolve();
    this.#manifests.set(model.manifest.id, model.manifest);
    const { effective: provider } = await engine.load(model);
    const { workers } = engine.stats();
    log?.write('model_ready', {
      model: model.manifest.id,
      provider,
      workers,
      took_ms: Math.round(clock.now() - startedMs),
    });
  }
}
