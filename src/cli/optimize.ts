import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { resolveConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { configOptions, loadOptions } from './options.ts';
import type { OptimizeFlags } from './optimize-run.ts';

const HELP = `
The command starts private servers with different settings, one after the other, and sends them the clip's pictures from so many
clients at once, which keep to the rate and the window that they are granted. It tries the engine's workers, threads, prefetch and
batches first, then the frame rate, then smaller pictures and a lower quality, but none that loses more than a tenth of
the detections. At last the best ones and the default take turns, and the command recommends only settings that measure no worse
than the default.

Strategies, which choose among the settings that hold the target with losses under 1 %:
  balanced     the most results a second; of those about equal the largest picture, then the fewest changes
  latency      the shortest p95 of those within 5 % of the most results
  memory       the fewest MB of those within 5 % of the most results
  aggressive   the shortest p95 of those that give as many results in time as the default

The file holds the settings that differ from the defaults, and in comments the measurements. It is tuned for this machine, this
model and so many sessions over a short line; other programs that are busy meanwhile spoil it.

Examples:
  sightline optimize clip.mp4 --target-latency 100
  sightline optimize clip.mp4 --sessions 1 --strategy latency --out fast.yaml
  sightline --config sightline.yaml serve
`;

/** `sightline optimize`: the settings that measure best on the user's own clip. */
export function registerOptimize(program: Command, context: CliContext): void {
  program
    .command('optimize')
    .description('measure which settings suit this machine and a clip of yours, and write them to a file')
    .argument('<clip>', 'video file or URL that FFmpeg can read')
    .addOption(
      new Option('--strategy <name>', 'what counts, see below (default: performance.strategy)').choices([
        'latency',
        'memory',
        'balanced',
        'aggressive',
      ]),
    )
    .option(
      '--target-latency <ms>',
      'capture to result of 95 % of the results (default: performance.target_latency_ms)',
      targetMs,
    )
    .option('--sessions <n>', 'clients at once', sessionCount, 4)
    .option('--out <file>', 'the configuration to write (default sightline.yaml, or sightline.optimized.yaml)')
    .option('--force', 'overwrite that file')
    .option('--json', 'print the measurements as one JSON document')
    .option('--quick', 'fewer candidates and shorter spans: a first impression')
    .addHelpText('after', HELP)
    .action(async (clip: string, flags: OptimizeFlags) => {
      const resolved = resolveConfig(loadOptions(program, context));
      const { optimize } = await import('./optimize-run.ts');
      await optimize(clip, flags, context, { resolved, ...serverWords(program, context) });
    });
}

/** Command words of the private servers: the same as this command's, but for the settings that are tried. */
function serverWords(
  program: Command,
  { cwd }: Pick<CliContext, 'cwd'>,
): { file: readonly string[]; set: Readonly<Record<string, string>> } {
  const { config, set } = configOptions(program);
  return { file: config === undefined ? [] : ['--config', resolve(cwd, config)], set };
}

function targetMs(text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value >= 1 && value <= 60_000) return value;
  throw new InvalidArgumentError('It must be a whole number of milliseconds from 1 to 60000.');
}

function sessionCount(text: string): number {
  const value = Number(text);
  if (/^\d{1,2}$/.test(text) && value >= 1 && value <= 64) return value;
  throw new InvalidArgumentError('It must be a whole number from 1 to 64.');
}
