import { Helper } from '../support/children.ts';
import type { CamerasApi } from './cameras-process.ts';
import type { NumberedSet } from './numbered-cameras.ts';
import { SEED, World, type CameraEntry, type FleetBench } from './world.ts';

const OPEN_TIMEOUT_MS = 120_000;

/** A server that reads cameras with numbers in their pictures: `c0`, `c1` and so on. */
export class NumberedWorld implements AsyncDisposable {
  readonly world: World;
  readonly sources: Helper<CamerasApi>;
  readonly ids: readonly string[];
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: Pick<NumberedWorld, 'world' | 'sources' | 'ids'>, stack: AsyncDisposableStack) {
    this.world = parts.world;
    this.sources = parts.sources;
    this.ids = parts.ids;
    this.#stack = stack;
  }

  /** `pipelinesOf`: of a camera, by its place. `words`: further ones of the command. */
  static async open(
    bench: FleetBench,
    set: NumberedSet,
    pipelinesOf: (i: number) => CameraEntry['pipelines'],
    words: readonly string[] = [],
  ): Promise<NumberedWorld> {
    await using stack = new AsyncDisposableStack();
    const world = stack.use(await World.open(bench, [], {}, words));
    const sources = stack.use(new Helper<CamerasApi>(new URL('cameras-process.ts', import.meta.url), bench.signal));
    const urls = await sources.call('openNumbered', { ...set, seed: SEED }, OPEN_TIMEOUT_MS);
    const entries = new Map(urls.map((url, i) => [`c${i}`, { url, pipelines: pipelinesOf(i) }]));
    await world.configure(entries);
    return new NumberedWorld({ world, sources, ids: [...entries.keys()] }, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
