import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import type { CliContext } from './context.ts';
import type { ReplayFlags } from './replay-run.ts';

const HELP = `
Starts a server that publishes the recording through the topics, with their names and original timing: pages, clients
of the telemetry lane and Foxglove (ws://…/ws/foxglove) see it as if it were live. A message to replay/control,
such as { "position_s": 12, "speed": 2, "paused": false }, controls it; replay/state tells its position.

Examples:
  sightline replay drive.mcap
  sightline replay drive.mcap --speed 4 --from 30 --to 90 --loop
  sightline replay drive.mcap --prefix yesterday/ --port 9000
`;

/** `sightline replay`: an MCAP file, published again by a server of its own. */
export function registerReplay(program: Command, context: CliContext): void {
  program
    .command('replay')
    .description('publish an MCAP file again, as if it were live')
    .argument('<file>', 'a recording of "sightline record", or any MCAP file')
    .option('--speed <n>', '0.1 to 20', number, 1)
    .option('--from <s>', 'begin this many seconds after the beginning of the recording', number)
    .option('--to <s>', 'end this many seconds after the beginning of the recording', number)
    .option('--loop', 'begin again at the end')
    .option('--paused', 'begin paused, until replay/control starts it')
    .option('--once', 'end the command when the recording has been played')
    .option('--prefix <text>', 'put this before every topic name')
    .option('--recorded-times', 'leave the times of the messages as they were recorded')
    .option('--skip-gaps <s>', 'skip a longer time without a message (default 3600)', number)
    .option('--port <n>', 'port to listen on (default 8080, 0 for any free one)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .addHelpText('after', HELP)
    .action(async (file: string, flags: ReplayFlags) => {
      const { playFile } = await import('./replay-run.ts');
      await playFile(resolve(context.cwd, file), flags, context);
    });
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is a number.');
  return value;
}
