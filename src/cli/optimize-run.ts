import { constants } from 'node:fs';
import { access, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, totalmem, type } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { systemClock, wallTimeMs } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { resolveConfig, type ResolvedConfig } from '../config/load.ts';
import { placeAt, valueAt } from '../config/keys.ts';
import type { Config } from '../config/schema.ts';
import { packageVersion } from '../config/version.ts';
import { Bench, plannedMs, SPANS, SPANS_QUICK } from '../load/optimize/bench.ts';
import { PictureBook, readClip } from '../load/optimize/clip.ts';
import type { Measured, Settings } from '../load/optimize/judge.ts';
import { configurationFile, merged, optimizeLines, reportDocument, type Report } from '../load/optimize/report.ts';
import { planSearch, search, type Load, type SearchSpace } from '../load/optimize/search.ts';
import { isUrl } from '../sources/file.ts';
import type { CliContext } from './context.ts';
import { clockTime } from './progress.ts';

export interface OptimizeFlags {
  readonly strategy?: 'latency' | 'memory' | 'balanced' | 'aggressive';
  readonly targetLatency?: number;
  readonly sessions: number;
  readonly out?: string;
  readonly force?: boolean;
  readonly json?: boolean;
  readonly quick?: boolean;
}

/** V8 of the requirements: no client sends longer sides, unless the configuration asks for them. */
const UPLOAD_SIDE_MAX = 1280;
const DEFAULT_OUT = 'sightline.yaml';
const DEFAULT_OUT_TAKEN = 'sightline.optimized.yaml';
/** How far the announced time may be exceeded before nothing new begins, on a machine that starts servers slowly. */
const PATIENCE = 1.3;
const PROGRESS_INTERVAL_MS = 500;
const ERASE_LINE = '\r\u001B[2K';
const GIB = 2 ** 30;

export interface ServerWords {
  readonly resolved: ResolvedConfig;
  readonly file: readonly string[];
  /** The settings of `--set`. */
  readonly set: Readonly<Record<string, string>>;
}

/** The command `sightline optimize`, with its words parsed. */
export async function optimize(
  given: string,
  flags: OptimizeFlags,
  context: CliContext,
  words: ServerWords,
): Promise<void> {
  const { signal, cwd } = context;
  const { config } = words.resolved;
  const input = isUrl(given) ? given : resolve(cwd, given);
  const out = await outputPath(flags, cwd, input);
  const beganMs = systemClock.now();
  const sideMax = Math.min(
    config.streaming.image_side_max,
    Math.max(UPLOAD_SIDE_MAX, config.video.width, config.video.height),
  );
  const clip = await readClip(input, { sideMax, signal });
  const space = spaceOf(config, flags, clip.info);
  const spans = flags.quick === true ? SPANS_QUICK : SPANS;
  const totalMs = plannedMs(planSearch(space), spans);
  const { sessions, targetMs, strategy } = space;
  context.err(
    `${clip.frames.length} frames of ${basename(given)}, ${sessions} sessions, target ${targetMs} ms, strategy ${strategy}: ` +
      `this takes about ${clockTime(totalMs / 1000)} at most, and is right only while the machine has nothing else to do`,
  );
  using progress = new ProgressLine(context, totalMs);
  const bench = new Bench({
    words: (settings) => [
      ...words.file,
      ...Object.entries({ ...words.set, ...settings }).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ],
    env: context.env,
    book: new PictureBook(clip),
    sessions,
    targetMs,
    spans,
    timeMaxMs: totalMs * PATIENCE,
    clock: systemClock,
    signal,
    onStep: (what) => progress.step(what),
    onEnd: (what, measured, load) => progress.tell(what, measured, load),
  });
  const result = await search(space, bench);
  progress.clear();
  const report: Report = {
    conditions: {
      version: packageVersion(),
      time: new Date(wallTimeMs(systemClock, beganMs)).toISOString(),
      machine: machineInWords(),
      model: config.detection.model,
      clip: { name: basename(given), width: clip.info.width, height: clip.info.height, frames: clip.frames.length },
      sessions,
      quick: flags.quick === true,
      duration: (systemClock.now() - beganMs) / 1000,
    },
    goal: { strategy, targetMs },
    result,
    settings: settingsFor(words.resolved, result.recommended.settings),
  };
  await write(out, configurationFile(report), flags.force === true);
  if (flags.json === true) context.out(JSON.stringify({ ...reportDocument(report), out }, undefined, 2));
  else for (const line of optimizeLines(report)) context.text(line);
  context.err(`written: ${out}; to use it: sightline --config ${basename(out)} serve`);
}

function spaceOf(config: Config, flags: OptimizeFlags, { width, height }: SearchSpace['clip']): SearchSpace {
  const { inference, streaming, video, performance } = config;
  return {
    start: {
      workers: inference.workers,
      threadsPerWorker: inference.threads_per_worker,
      hint: inference.hint,
      prefetch: inference.prefetch,
      batchMax: inference.batch_max,
      defaultFps: streaming.default_fps,
      maxFps: streaming.max_fps,
      picture: { width: video.width, height: video.height, quality: video.quality },
      targetMs: performance.target_latency_ms,
    },
    cores: availableParallelism(),
    sessions: flags.sessions,
    strategy: flags.strategy ?? performance.strategy,
    targetMs: flags.targetLatency ?? performance.target_latency_ms,
    isCpu: inference.providers[0] === 'cpu',
    isAdaptive: performance.adaptive_quality,
    clip: { width, height },
    quick: flags.quick === true,
  };
}

/** The path of the configuration to write, checked before anything is measured. Errors: USAGE, OUTPUT_FAILED. */
async function outputPath({ out, force }: OptimizeFlags, cwd: string, input: string): Promise<string> {
  const path = resolve(cwd, out ?? ((await isThere(resolve(cwd, DEFAULT_OUT))) ? DEFAULT_OUT_TAKEN : DEFAULT_OUT));
  if (path === input)
    throw new SightlineError('USAGE', `--out ${path} is the input itself, which would be overwritten`);
  if ((await isThere(path)) && force !== true) throw taken(path);
  if ((await stat(path).catch(() => undefined))?.isDirectory() === true) throw failed(path, 'it is a folder');
  try {
    await access(dirname(path), constants.W_OK);
    if (await isThere(path)) await access(path, constants.W_OK);
  } catch (cause) {
    throw failed(path, (cause as Error).message);
  }
  return path;
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

async function write(path: string, text: string, force: boolean): Promise<void> {
  try {
    await writeFile(path, text, { flag: force ? 'w' : 'wx' });
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST' ? taken(path) : failed(path, (cause as Error).message);
  }
}

function taken(path: string): SightlineError {
  return new SightlineError('OUTPUT_FAILED', `${path} exists already; --force overwrites it, --out names another file`);
}

function failed(path: string, why: string): SightlineError {
  return new SightlineError('OUTPUT_FAILED', `${path} cannot be written: ${why}`);
}

/** Settings that set others. */
const NAMES: ReadonlySet<string> = new Set(['performance.strategy', 'performance.profile']);

/**
 * For a file that stands alone: the settings given to this command in any way, and the recommended changes, as far as they differ
 * from the defaults under the file's own strategy and profile.
 */
function settingsFor({ config, origins }: ResolvedConfig, changes: Settings): Readonly<Record<string, unknown>> {
  const given = [...origins].filter(([, origin]) => !/^(default$|strategy |profile )/.test(origin));
  const values = Object.fromEntries(given.map(([path]) => [path, valueOf(config, path)]));
  const named = Object.entries(values).filter(([path]) => NAMES.has(path) || isOfEntry(path));
  const layers = resolveConfig({ flags: Object.fromEntries(named) }).config;
  return merged(values, changes, (path) => {
    if (isOfEntry(path)) return undefined;
    return NAMES.has(path) && Object.hasOwn(values, path) ? placeAt(path)?.key?.defaultValue : valueOf(layers, path);
  });
}

/** Profiles of the user's own: they are needed for their effect on the defaults, whatever they hold. */
function isOfEntry(path: string): boolean {
  return placeAt(path)?.entry !== undefined;
}

function valueOf(config: Config, path: string): unknown {
  return valueAt(config, placeAt(path)!.steps);
}

function machineInWords(): string {
  const model = cpus()[0]?.model.trim();
  const memory = `${Math.round(totalmem() / GIB)} GiB`;
  return `${availableParallelism()} processors${model ? ` (${model})` : ''}, ${memory}, ${type()} ${process.arch}, Node ${process.version}`;
}

/** One line that is drawn over on a terminal, with the elapsed time; elsewhere a line for each step. */
class ProgressLine implements Disposable {
  readonly #context: CliContext;
  readonly #totalMs: number;
  readonly #beganMs = systemClock.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #what = '';
  #isDrawn = false;

  constructor(context: CliContext, totalMs: number) {
    this.#context = context;
    this.#totalMs = totalMs;
    if (context.isTerminal) this.#timer = setInterval(() => this.#draw(), PROGRESS_INTERVAL_MS);
  }

  step(what: string): void {
    this.#what = what;
    if (this.#context.isTerminal) this.#draw();
  }

  tell(what: string, { results_per_s, p95_ms, loss_percent }: Measured, load: Load): void {
    this.clear();
    const p95 = Number.isFinite(p95_ms) ? `${p95_ms.toFixed(0)} ms` : 'none';
    const waiting = load === 'saturated' ? '' : `, p95 ${p95}, ${loss_percent.toFixed(1)} % lost`;
    this.#context.err(`${what}: ${results_per_s.toFixed(1)} results/s${waiting}`);
  }

  /** Removes the line, so that others can write. */
  clear(): void {
    if (this.#isDrawn) process.stderr.write(ERASE_LINE);
    this.#isDrawn = false;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #draw(): void {
    const time = `${clockTime((systemClock.now() - this.#beganMs) / 1000)} of about ${clockTime(this.#totalMs / 1000)}`;
    const columns = process.stderr.columns || 80;
    process.stderr.write(ERASE_LINE + `${time}  ${this.#what}`.slice(0, columns - 1));
    this.#isDrawn = true;
  }
}
