import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { RecordingCompression } from '../delivery/recording-file.ts';
import type { CliContext } from './context.ts';
import { TOKEN_OPTION } from './options.ts';
import type { RecordFlags } from './record-run.ts';

const DEFAULT_URL = 'ws://127.0.0.1:8080/ws/telemetry';
const COMPRESSIONS = ['zstd', 'lz4', 'none'] as const satisfies readonly RecordingCompression[];

const HELP = `
The file is MCAP (https://mcap.dev): chunked, indexed, compressed, JSON messages with schemas, so that Foxglove and every MCAP
tool can open it. Until the recording is complete it is called <file>.part; after a crash that file can be replayed up to
its last chunk. The recording ends after --duration, with Ctrl+C, or when the server goes away.

Examples:
  sightline record drive.mcap
  sightline record drive.mcap --url ws://rover.local:8080/ws/telemetry --duration 60
  sightline record pose.mcap --topics 'rover/+/pose' 'rover/+/battery' --json
  sightline record day.mcap --rotate-mb 512
`;

/** `sightline record`: topics of a running server into an MCAP file. */
export function registerRecord(program: Command, context: CliContext): void {
  program
    .command('record')
    .description('record the topics of a running server into an MCAP file')
    .argument('<file>', 'the file to write, such as drive.mcap', mcapName)
    .option('--url <url>', 'the server', DEFAULT_URL)
    .option(...TOKEN_OPTION)
    .option('--topics <filter...>', 'topics to record; + and # are wildcards', ['#'])
    .option('--duration <s>', 'end after this many seconds (default: with Ctrl+C)', positive)
    .addOption(new Option('--compression <name>', 'compression of the chunks').choices(COMPRESSIONS).default('zstd'))
    .option('--rotate-mb <n>', 'begin a new file after this many MiB', positive)
    .option('--rotate-s <n>', 'begin a new file after this many seconds', positive)
    .option('--json', 'print the accounts as JSON')
    .addHelpText('after', HELP)
    .action(async (file: string, flags: RecordFlags) => {
      const { record } = await import('./record-run.ts');
      await record(resolve(context.cwd, file), flags, context);
    });
}

/** For commander. */
export function mcapName(text: string): string {
  if (!text.endsWith('.mcap')) throw new InvalidArgumentError('It must end in .mcap.');
  return text;
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value < Infinity))
    throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}
