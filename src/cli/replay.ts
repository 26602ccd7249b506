import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { RecordingSource } from '../delivery/replay-file.ts';
import { ReplayDesk } from '../delivery/replay-desk.ts';
import { Replay, REPLAY_CONTROL_TOPIC, REPLAY_STATE_TOPIC } from '../delivery/replay.ts';
import type { CliContext } from './context.ts';
import { untilAborted } from './run-server.ts';

interface ReplayFlags {
  readonly speed: number;
  readonly from?: number;
  readonly to?: number;
  readonly loop?: boolean;
  readonly paused?: boolean;
  readonly once?: boolean;
  readonly prefix?: string;
  readonly recordedTimes?: boolean;
  readonly port?: string;
  readonly host?: string;
}

const HELP = `
Starts a server that publishes the recording through the topics, with their names and the pauses that they had: pages, clients
of the telemetry lane and Foxglove (ws://…/ws/foxglove) see it as if it were live. Whoever publishes to ${REPLAY_CONTROL_TOPIC},
such as { "position_s": 12, "speed": 2, "paused": false }, controls it; ${REPLAY_STATE_TOPIC} tells where it is.

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
    .option('--from <s>', 'begin so many seconds after the beginning of the recording', number)
    .option('--to <s>', 'end so many seconds after the beginning of the recording', number)
    .option('--loop', 'begin again at the end')
    .option('--paused', 'wait for somebody to begin')
    .option('--once', 'end the command when the recording has been played')
    .option('--prefix <text>', 'put this before every topic name')
    .option('--recorded-times', 'leave the times of the messages as they were recorded')
    .option('--port <n>', 'port to listen on (default 8080, 0 for any free one)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .addHelpText('after', HELP)
    .action((file: string, flags: ReplayFlags) => playFile(resolve(context.cwd, file), flags, context));
}

async function playFile(path: string, flags: ReplayFlags, context: CliContext): Promise<void> {
  const { speed, from, to, loop = false, paused = false, once = false, prefix, recordedTimes } = flags;
  const config = context.config({ 'server.port': flags.port, 'server.host': flags.host });
  await using source = await RecordingSource.open(path);
  if (!source.complete) context.err(`${path} was cut off; it is played up to its last whole chunk`);
  const { openServer } = await import('../app.ts');
  await using app = await openServer({ config, say: (line) => context.err(line) });
  const replay = new Replay({
    source,
    topics: app.topics,
    clock: systemClock,
    speed,
    loop,
    paused,
    times: recordedTimes ? 'recorded' : 'now',
    ...(prefix !== undefined && { prefix }),
    ...(from !== undefined && { fromMs: from * 1000 }),
    ...(to !== undefined && { toMs: to * 1000 }),
  });
  try {
    using _desk = new ReplayDesk(replay, app.topics);
    context.out(`ready ${app.url}`);
    const { duration_s: durationS } = replay.state;
    context.err(`${source.messageCount} messages of ${source.topics.length} topics, ${durationS.toFixed(1)} s`);
    // A source that breaks off ends the command; a recording that was played does so when asked to.
    const played = replay.untilEnded().then(() => (once ? undefined : untilAborted(context.signal)));
    await Promise.race([played, untilAborted(context.signal)]);
    if (once) context.err(`played ${replay.state.published} messages`);
  } finally {
    await replay.close();
  }
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is a number.');
  return value;
}
