import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { LOAD_TESTS, secondsOf, selectTests, type LoadTest } from '../load/scenarios.ts';
import type { CliContext } from './context.ts';
import type { BenchmarkFlags } from './benchmark-run.ts';
import { configOptions, TOKEN_OPTION } from './options.ts';

/** The capacity test takes the default's number of connections; probes and pages of other clients need room beside it. */
const PRIVATE_SETTINGS = { 'server.max_connections': '1100', 'log.level': 'warn', 'log.format': 'text' };

const HELP = `
Tests:
${LOAD_TESTS.map(({ name, summary, ...test }) => `  ${name.padEnd(20)} ${String(secondsOf({ name, summary, ...test })).padStart(4)} s  ${summary}`).join('\n')}
  scenarios            the first five; all: everything

Every connection speaks the telemetry protocol and checks each message that it gets. A test passes when no message is lost,
no client is refused and p95 stays within the test's limit (on loopback; over a network its round trip comes on top). When a
test fails, the exit code is 70.

Without --url the command starts a private server for the run, with the settings given to this command. It keeps each run beside
the models and compares it with the one before. Ctrl+C prints the measurements so far, marked as partial; they are not kept, and
the exit code is 130.

Examples:
  sightline benchmark low_load
  sightline benchmark all --quick --html report.html
  sightline benchmark scenarios --url ws://rover.local:8080/ws/telemetry --json
`;

/** `sightline benchmark`: load on a private server or a running one, and the measurements. */
export function registerBenchmark(program: Command, context: CliContext): void {
  program
    .command('benchmark')
    .description('put load on a telemetry server and measure latency, losses, bytes and CPU')
    .argument('<test>', 'a test, "scenarios" or "all"', tests)
    .option('--url <url>', 'a running server (default: a private one, started for the run)')
    .option(...TOKEN_OPTION)
    .option('--json', 'print the results as one JSON document')
    .option('--html <file>', 'write the results with plots into a self-contained page')
    .option('--duration <s>', 'length of each test, instead of its default, seconds', seconds)
    .option('--quick', `a tenth of the durations`)
    .addOption(
      new Option('--protocol <name>', 'encoding of the messages')
        .choices(['json', 'msgpack', 'binary'])
        .default('binary'),
    )
    .addHelpText('after', HELP)
    .action(async (selected: readonly LoadTest[], flags: BenchmarkFlags) => {
      const { benchmark } = await import('./benchmark-run.ts');
      await benchmark(selected, flags, context, privateWords(program, context));
    });
}

/** The private server gets the settings of this command. */
function privateWords(program: Command, context: Pick<CliContext, 'cwd'>): string[] {
  const { config, set } = configOptions(program);
  const file = config === undefined ? [] : ['--config', resolve(context.cwd, config)];
  const settings = { ...PRIVATE_SETTINGS, ...set };
  return [...file, ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`])];
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
