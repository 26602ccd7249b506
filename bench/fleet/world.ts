import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CameraDocument } from '../../src/sources/camera/documents.ts';
import { Helper } from '../support/children.ts';
import type { BenchContext } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import type { CamerasApi } from './cameras-process.ts';
import { processTree, proportionalBytes } from './process-tree.ts';
import type { ViewersApi } from './viewers-process.ts';

/** One server that reads cameras, the cameras, and who watches them: each in processes of its own. */

export const SEED = 20_261_201;
const CONFIG = 'sightline.yaml';
const POLL_MS = 200;
const LIVE_TIMEOUT_MS = 120_000;
const REQUEST_TIMEOUT_MS = 30_000;

export type FleetBench = BenchContext & { readonly folder: string };

export interface CameraEntry {
  readonly url: string;
  readonly pipelines: 'none' | 'objects';
  readonly class?: 'low' | 'normal' | 'high';
}

/** Processor time, in ms a second of one core. */
export interface Costs {
  readonly mainMs: number;
  /** Threads of the server beside the main one: the engine's workers are most of it. */
  readonly threadsMs: number;
  /** The processes that read cameras. */
  readonly readersMs: number;
  readonly camerasMs: number;
  readonly viewersMs: number;
  /** Of processes that are not ours. */
  readonly foreignMs: number;
}

export class World implements AsyncDisposable {
  readonly server: Server;
  /** In one or several processes. */
  readonly sources: readonly Helper<CamerasApi>[];
  readonly viewers: Helper<ViewersApi>;
  /** Addresses of all cameras. */
  readonly urls: readonly string[];
  readonly about: string;
  readonly #folder: string;
  readonly #signal: AbortSignal;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    parts: Pick<World, 'server' | 'sources' | 'viewers' | 'urls' | 'about'>,
    bench: FleetBench,
    stack: AsyncDisposableStack,
  ) {
    this.server = parts.server;
    this.sources = parts.sources;
    this.viewers = parts.viewers;
    this.urls = parts.urls;
    this.about = parts.about;
    this.#folder = bench.folder;
    this.#signal = bench.signal;
    this.#stack = stack;
  }

  /** `counts`: of cameras, for each process that has some. `words`: further ones of the command. The server is ready, and has none of the cameras yet. */
  static async open(
    bench: FleetBench,
    counts: readonly number[],
    settings: Readonly<Record<string, string | number>> = {},
    words: readonly string[] = [],
  ): Promise<World> {
    const { folder, signal } = bench;
    await using stack = new AsyncDisposableStack();
    const opened: { helper: Helper<CamerasApi>; urls: string[]; about: string }[] = [];
    let first = 0;
    for (const count of counts) {
      const helper = stack.use(new Helper<CamerasApi>(new URL('cameras-process.ts', import.meta.url), signal));
      opened.push({
        helper,
        ...(await helper.call('open', { folder, count, first, seed: SEED + first }, LIVE_TIMEOUT_MS)),
      });
      first += count;
    }
    await writeFile(join(folder, CONFIG), configOf(new Map()));
    const server = stack.use(
      await Server.launch({
        command: 'serve',
        words: ['--config', join(folder, CONFIG), ...words],
        cacheDir: folder,
        settings: { 'fleet.max_concurrent_streams': 1000, 'log.level': 'error', ...settings },
        signal,
      }),
    );
    await server.ready();
    // It leaves before the server does.
    const viewers = stack.use(new Helper<ViewersApi>(new URL('viewers-process.ts', import.meta.url), signal));
    const parts = {
      server,
      viewers,
      sources: opened.map(({ helper }) => helper),
      urls: opened.flatMap(({ urls }) => urls),
      about: opened[0]?.about ?? '',
    };
    return new World(parts, bench, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  /** The first cameras, with these pipelines; ids. */
  entries(count: number, pipelines: CameraEntry['pipelines']): Map<string, CameraEntry> {
    return new Map(this.urls.slice(0, count).map((url, i) => [`c${i}`, { url, pipelines }]));
  }

  /** By the file of the configuration and its reload. Returns when all cameras are live. */
  async configure(entries: ReadonlyMap<string, CameraEntry>): Promise<void> {
    await this.writeConfig(configOf(entries));
    const { status, text } = await this.request('POST', '/api/config/reload');
    if (status !== 200) throw new Error(`the configuration was refused: ${text}`);
    await this.live(entries.size);
  }

  /** The file of the configuration; the server reads it when it is told to. */
  async writeConfig(text: string): Promise<void> {
    await writeFile(join(this.#folder, CONFIG), text);
  }

  /** Whatever its answer is. */
  async request(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    const response = await fetch(this.server.url + path, {
      method,
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    return { status: response.status, text: await response.text() };
  }

  async live(count: number): Promise<void> {
    const deadlineMs = performance.now() + LIVE_TIMEOUT_MS;
    for (;;) {
      const cameras = await this.cameras();
      const live = cameras.filter(({ state }) => state === 'live').length;
      if (cameras.length === count && live === count) return;
      if (performance.now() > deadlineMs) throw new Error(`${live} of ${count} cameras are live`);
      await sleep(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  async cameras(): Promise<readonly CameraDocument[]> {
    return (await this.server.json<{ cameras: CameraDocument[] }>('/api/cameras?limit=1000', REQUEST_TIMEOUT_MS))
      .cameras;
  }

  /** Proportional set size of the server with all its processes, bytes. */
  memoryBytes(): number {
    return proportionalBytes(processTree(this.server.pid));
  }

  /** What everybody uses in the span. */
  async costs(spanMs: number): Promise<Costs> {
    const { pid } = this.server;
    const tree = processTree(pid);
    const sources = this.sources.map((source) => source.pid);
    const all = [...tree, ...sources, this.viewers.pid, process.pid];
    const before = readProcessors(all);
    await sleep(spanMs, undefined, { signal: this.#signal });
    const use = new CoreUse();
    use.add(before, readProcessors(all));
    const whole = (pids: readonly number[]): number =>
      pids.reduce((sum, one) => sum + (use.main(one) + use.others(one)) * 1000, 0);
    return {
      mainMs: use.main(pid) * 1000,
      threadsMs: use.others(pid) * 1000,
      readersMs: whole(tree.slice(1)),
      camerasMs: whole(sources),
      viewersMs: whole([this.viewers.pid]),
      foreignMs: use.foreign * 1000,
    };
  }
}

/** JSON is YAML. */
function configOf(entries: ReadonlyMap<string, CameraEntry>): string {
  const cameras = Object.fromEntries(
    [...entries].map(([id, { pipelines, ...entry }]) => [
      id,
      { ...entry, pipelines: pipelines === 'none' ? [] : [pipelines] },
    ]),
  );
  return JSON.stringify({ cameras });
}
