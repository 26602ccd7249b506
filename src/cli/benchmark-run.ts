import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { packageVersion } from '../config/version.ts';
import type { Progress } from '../load/generator.ts';
import { appendHistory, previousOf, readHistory } from '../load/history.ts';
import { PrivateServer } from '../load/processes.ts';
import { reportHtml } from '../load/report-html.ts';
import { ms, reportLines, verdict } from '../load/report-text.ts';
import type { SuiteResult } from '../load/results.ts';
import { lasting, secondsOf, type LoadTest } from '../load/scenarios.ts';
import { runSuite, telemetryUrl } from '../load/suite.ts';
import { TELEMETRY_SUBPROTOCOLS, type TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { CliContext } from './context.ts';
import { tokenOf } from './options.ts';

export interface BenchmarkFlags {
  readonly url?: string;
  readonly token?: string;
  readonly json?: boolean;
  readonly html?: string;
  readonly duration?: number;
  readonly quick?: boolean;
  readonly protocol: 'json' | 'msgpack' | 'binary';
}

const SEED = 20_262;
const QUICK = 10;
const PROGRESS_INTERVAL_MS = 1_000;
const ERASE_LINE = '\r\u001B[2K';

/** The command `sightline benchmark`, with its words parsed. */
export async function benchmark(
  selected: readonly LoadTest[],
  flags: BenchmarkFlags,
  context: CliContext,
  serverWords: readonly string[],
): Promise<void> {
  const { signal } = context;
  const config = context.config();
  const cacheDir = resolve(context.cwd, config.models.cache_dir);
  if (flags.url !== undefined) telemetryUrl(flags.url);
  await using privateServer = flags.url === undefined ? await startPrivate(serverWords, context) : undefined;
  const progress = new ProgressLine(context, selected.length);
  const suite = await runSuite(
    {
      tests: selected.map((test) => lasting(test, secondsFor(test, flags))),
      url: flags.url ?? privateServer!.url,
      token: privateServer ? undefined : tokenOf(flags, context),
      server: privateServer ? 'private' : 'given',
      subprotocol: subprotocol(flags.protocol),
      quick: flags.quick === true,
      seed: SEED,
      version: packageVersion(),
    },
    {
      clock: systemClock,
      signal,
      onStart: (test, place) => progress.start(test, place),
      onProgress: (test, now) => progress.update(test, now),
      onEnd: (result) => progress.end(`${result.name}: ${verdict(result)}, p95 ${ms(result.latency.p95_ms)} ms`),
    },
  ).finally(() => progress.clear());
  await report(suite, flags, context, cacheDir);
  // The measurements are printed; the exit code says that it was stopped.
  signal.throwIfAborted();
}

async function report(suite: SuiteResult, flags: BenchmarkFlags, context: CliContext, cacheDir: string): Promise<void> {
  const history = await readHistory(cacheDir);
  const previous = previousOf(history, suite);
  try {
    // Half a run cannot be compared.
    if (suite.partial !== true) await appendHistory(cacheDir, history, suite);
  } catch (thrown) {
    context.err(`the run could not be kept in ${cacheDir}: ${(thrown as Error).message}`);
  }
  if (flags.json) context.out(JSON.stringify({ ...suite, previous: Object.fromEntries(previous) }, undefined, 2));
  else for (const line of reportLines(suite, previous)) context.text(line);
  if (flags.html !== undefined) {
    const file = resolve(context.cwd, flags.html);
    try {
      await writeFile(file, reportHtml(suite, previous));
    } catch (cause) {
      throw new SightlineError('OUTPUT_FAILED', `${file}: ${(cause as Error).message}`, { cause });
    }
    context.err(`the page is ${file}`);
  }
  const failed = suite.tests.filter(({ passed, partial }) => !passed && partial !== true).map(({ name }) => name);
  if (failed.length > 0) throw new SightlineError('BENCHMARK_FAILED', `not passed: ${failed.join(', ')}`);
}

async function startPrivate(words: readonly string[], context: CliContext): Promise<PrivateServer> {
  context.err('starting a private server');
  return await PrivateServer.start(words, context.env, context.signal);
}

function secondsFor(test: LoadTest, { duration, quick }: BenchmarkFlags): number {
  return (duration ?? secondsOf(test)) / (quick ? QUICK : 1);
}

function subprotocol(name: BenchmarkFlags['protocol']): TelemetrySubprotocol {
  return TELEMETRY_SUBPROTOCOLS.find((one) => one.endsWith(`.${name}`))!;
}

/** One line that is drawn over on a terminal; elsewhere a line at each test's end. */
class ProgressLine {
  readonly #context: CliContext;
  readonly #count: number;
  #place = 0;
  #drawnMs = -Infinity;

  constructor(context: CliContext, count: number) {
    this.#context = context;
    this.#count = count;
  }

  start(test: LoadTest, place: number): void {
    this.#place = place + 1;
    if (!this.#context.isTerminal) this.#context.err(`${this.#head(test)}, ${Math.round(secondsOf(test))} s`);
  }

  update(test: LoadTest, { connected, seconds: elapsed, received }: Progress): void {
    const nowMs = performance.now();
    if (!this.#context.isTerminal || nowMs - this.#drawnMs < PROGRESS_INTERVAL_MS / 4) return;
    this.#drawnMs = nowMs;
    const time = `${Math.min(elapsed, secondsOf(test)).toFixed(0)} of ${secondsOf(test).toFixed(0)} s`;
    const text = `${this.#head(test)}: ${connected} connected, ${time}, ${received.toLocaleString('en-US')} messages`;
    const columns = process.stderr.columns || 80;
    process.stderr.write(ERASE_LINE + text.slice(0, columns - 1));
  }

  end(line: string): void {
    this.clear();
    this.#context.err(line);
  }

  /** Removes the line, so that others, a prompt among them, begin on one of their own. */
  clear(): void {
    if (this.#drawnMs > -Infinity) process.stderr.write(ERASE_LINE);
    this.#drawnMs = -Infinity;
  }

  #head({ name }: LoadTest): string {
    return `test ${this.#place} of ${this.#count}, ${name}`;
  }
}
