import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { packageVersion } from '../config/version.ts';
import type { Progress } from '../load/generator.ts';
import { appendHistory, previousOf, readHistory } from '../load/history.ts';
import { PrivateServer } from '../load/processes.ts';
import { reportHtml } from '../load/report-html.ts';
import { ms, reportLines } from '../load/report-text.ts';
import type { SuiteResult } from '../load/results.ts';
import { LOAD_TESTS, lasting, secondsOf, selectTests, type LoadTest } from '../load/scenarios.ts';
import { runSuite, telemetryUrl } from '../load/suite.ts';
import { TELEMETRY_SUBPROTOCOLS, type TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { CliContext } from './context.ts';

interface BenchmarkFlags {
  readonly url?: string;
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
/** The capacity test takes the default's number of connections; the probes and pages of others have to find room beside it. */
const PRIVATE_SETTINGS = { 'server.max_connections': '1100', 'log.level': 'warn' };

const HELP = `
Tests:
${LOAD_TESTS.map(({ name, summary, ...test }) => `  ${name.padEnd(20)} ${String(secondsOf({ name, summary, ...test })).padStart(4)} s  ${summary}`).join('\n')}
  scenarios            the first five; all: everything

Every connection speaks the telemetry protocol and checks each message that it gets. A test is passed when nothing is lost,
nobody is refused and p95 stays within the test's limit (on loopback; over a network its round trip comes on top). When a
test is not passed, the exit code is 70.

Without --url a private server is started for the run, with the settings given to this command. Each run is kept beside the
models and compared with the one before.

Examples:
  sightline benchmark low_load
  sightline benchmark all --quick --html report.html
  sightline benchmark scenarios --url ws://rover.local:8080/ws/telemetry --json
`;

/** `sightline benchmark`: load on a server of one's own or another one, and what came of it. */
export function registerBenchmark(program: Command, context: CliContext): void {
  program
    .command('benchmark')
    .description('put load on a telemetry server and measure latency, losses, bytes and CPU')
    .argument('<test>', 'a test, "scenarios" or "all"', tests)
    .option('--url <url>', 'a running server (default: a private one, started for the run)')
    .option('--json', 'print the results as one JSON document')
    .option('--html <file>', 'write the results with plots into a self-contained page')
    .option('--duration <s>', 'length of each test instead of its own, seconds', seconds)
    .option('--quick', `a tenth of the durations`)
    .addOption(
      new Option('--protocol <name>', 'encoding of the messages')
        .choices(['json', 'msgpack', 'binary'])
        .default('binary'),
    )
    .addHelpText('after', HELP)
    .action((selected: readonly LoadTest[], flags: BenchmarkFlags) =>
      benchmark(selected, flags, context, privateWords(program, context)),
    );
}

async function benchmark(
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
      onEnd: ({ name, passed, latency }) =>
        progress.end(`${name}: ${passed ? 'ok' : 'FAILED'}, p95 ${ms(latency.p95_ms)} ms`),
    },
  );
  await report(suite, flags, context, cacheDir);
}

async function report(suite: SuiteResult, flags: BenchmarkFlags, context: CliContext, cacheDir: string): Promise<void> {
  const history = await readHistory(cacheDir);
  const previous = previousOf(history, suite);
  try {
    await appendHistory(cacheDir, history, suite);
  } catch (thrown) {
    context.err(`the run could not be kept in ${cacheDir}: ${(thrown as Error).message}`);
  }
  if (flags.json) context.out(JSON.stringify({ ...suite, previous: Object.fromEntries(previous) }, undefined, 2));
  else for (const line of reportLines(suite, previous)) context.out(line);
  if (flags.html !== undefined) {
    const file = resolve(context.cwd, flags.html);
    try {
      await writeFile(file, reportHtml(suite, previous));
    } catch (cause) {
      throw new SightlineError('OUTPUT_FAILED', `${file}: ${(cause as Error).message}`, { cause });
    }
    context.err(`the page is ${file}`);
  }
  const failed = suite.tests.filter(({ passed }) => !passed).map(({ name }) => name);
  if (failed.length > 0) throw new SightlineError('BENCHMARK_FAILED', `not passed: ${failed.join(', ')}`);
}

async function startPrivate(words: readonly string[], context: CliContext): Promise<PrivateServer> {
  context.err('starting a private server');
  return await PrivateServer.start(words, context.env, context.signal);
}

/** The private server has the settings that this command was given. */
function privateWords(program: Command, context: Pick<CliContext, 'cwd'>): string[] {
  const { config, set = {} } = program.opts<{ config?: string; set?: Record<string, string> }>();
  const file = config === undefined ? [] : ['--config', resolve(context.cwd, config)];
  const settings = { ...PRIVATE_SETTINGS, ...set };
  return [...file, ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])];
}

function secondsFor(test: LoadTest, { duration, quick }: BenchmarkFlags): number {
  return (duration ?? secondsOf(test)) / (quick ? QUICK : 1);
}

function subprotocol(name: BenchmarkFlags['protocol']): TelemetrySubprotocol {
  return TELEMETRY_SUBPROTOCOLS.find((one) => one.endsWith(`.${name}`))!;
}

function tests(text: string): readonly LoadTest[] {
  const found = selectTests(text);
  if (found) return found;
  const names = LOAD_TESTS.map(({ name }) => name).join(', ');
  throw new InvalidArgumentError(`there is no test "${text}": take one of ${names}, scenarios, all`);
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 1 && value <= 86_400) return value;
  throw new InvalidArgumentError(`"${text}" is not a number of seconds from 1 to 86400`);
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
    if (this.#context.isTerminal) process.stderr.write(ERASE_LINE);
    this.#context.err(line);
  }

  #head({ name }: LoadTest): string {
    return `test ${this.#place} of ${this.#count}, ${name}`;
  }
}
