import { resolve } from 'node:path';
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { RecordingCompression } from '../delivery/recording-file.ts';
import type { CliContext } from './context.ts';
import { serverUrl } from './monitor.ts';
import { TOKEN_OPTION } from './options.ts';
import type { RecordCameraFlags } from './record-camera.ts';
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

const CAMERA_HELP = `
The server has to record the camera: record of the camera, in its configuration or by PUT /api/cameras (docs/archive.md). The clip begins at the key frame
at or before --from. Until it is whole it is called <file>.part.

Examples:
  sightline record camera north-gate gate.mp4 --from 10m
  sightline record camera north-gate gate.mp4 --from 2026-12-02T08:00:00Z --to 2026-12-02T08:05:00Z
  sightline record camera north-gate drawn.mp4 --from 10m --channel annotated
`;

/** `sightline record`: topics of a running server into an MCAP file. */
export function registerRecord(program: Command, context: CliContext): void {
  const command = program
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
  registerCamera(command, context);
}

/** `sightline record camera`: what a server has recorded of a camera, as a file. */
function registerCamera(parent: Command, context: CliContext): void {
  parent
    .command('camera')
    .description('what a server has recorded of a camera (record: continuous, or events), as a file with its results')
    .argument('<id>', 'the camera')
    .argument('<file>', 'the file to write, such as gate.mp4; results are beside it, in gate.jsonl', mp4Name)
    .requiredOption('--from <time>', 'ISO 8601 such as 2026-12-02T08:00:00Z, or how long ago: 90s, 10m, 2h', moment)
    .option('--to <time>', 'the same (default: now)', moment)
    .addOption(
      new Option('--channel <name>', 'its own frames, or those with what was found, and its masks, drawn on them')
        .choices(['raw', 'annotated'])
        .default('raw'),
    )
    .option('--url <url>', "the server (default: the configuration's host and port)", serverUrl)
    .option(...TOKEN_OPTION)
    .option('--json', 'print JSON')
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('after', CAMERA_HELP)
    .action(async (id: string, file: string, own: RecordCameraFlags) => {
      // Options that `record` has as well are taken by that one, wherever they stand.
      const { url, token, json } = parent.opts<RecordFlags>();
      const flags = {
        ...own,
        ...(parent.getOptionValueSource('url') === 'cli' && { url: serverUrl(url) }),
        ...(token !== undefined && { token }),
        ...(json !== undefined && { json }),
      };
      const { recordCamera } = await import('./record-camera.ts');
      await recordCamera({ id, file }, flags, context);
    });
}

function mp4Name(text: string): string {
  if (!text.endsWith('.mp4')) throw new InvalidArgumentError('It must end in .mp4.');
  return text;
}

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** Unix ms. */
function moment(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([smh])$/.exec(text) ?? [];
  const timeMs = count === undefined ? Date.parse(text) : Date.now() - Number(count) * UNITS_MS[unit!]!;
  if (!Number.isFinite(timeMs)) throw new InvalidArgumentError('It is no time: 2026-12-02T08:00:00Z, or 10m ago.');
  return Math.round(timeMs);
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
