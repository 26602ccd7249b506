import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { RecordingSource } from '../delivery/replay-file.ts';
import { ReplayDesk } from '../delivery/replay-desk.ts';
import { Replay, type ReplayState } from '../delivery/replay.ts';
import type { Log } from '../log/log.ts';
import type { CliContext } from './context.ts';
import { withLog } from './log.ts';
import { endInTime, untilAborted } from './run-server.ts';

export interface ReplayFlags {
  readonly speed: number;
  readonly from?: number;
  readonly to?: number;
  readonly loop?: boolean;
  readonly paused?: boolean;
  readonly once?: boolean;
  readonly prefix?: string;
  readonly recordedTimes?: boolean;
  readonly skipGaps?: number;
  readonly port?: string;
  readonly host?: string;
}

/** The command `sightline replay`, with its words parsed. */
export async function playFile(path: string, flags: ReplayFlags, context: CliContext): Promise<void> {
  const { skipGaps } = flags;
  if (skipGaps !== undefined && skipGaps <= 0)
    throw new SightlineError('USAGE', `--skip-gaps ${skipGaps} is not above 0`);
  const config = context.config({ 'server.port': flags.port, 'server.host': flags.host });
  await withLog(context, config, (log) => play(path, flags, { context, config, log }));
}

interface Parts {
  readonly context: CliContext;
  readonly config: Config;
  readonly log: Log;
}

async function play(path: string, flags: ReplayFlags, { context, config, log }: Parts): Promise<void> {
  const { speed, from, to, loop = false, paused = false, once = false, prefix, recordedTimes, skipGaps } = flags;
  const ending = endInTime(context, config, log);
  await using source = await RecordingSource.open(path);
  const { openServer } = await import('../app.ts');
  await using app = await openServer({ config, log });
  ending.opened(app);
  const replay = new Replay({
    source,
    topics: app.topics,
    clock: systemClock,
    speed,
    loop,
    paused,
    times: recordedTimes ? 'recorded' : 'now',
    log,
    ...(prefix !== undefined && { prefix }),
    ...(skipGaps !== undefined && { gapMaxMs: skipGaps * 1000 }),
    ...(from !== undefined && { fromMs: from * 1000 }),
    ...(to !== undefined && { toMs: to * 1000 }),
  });
  try {
    using _desk = new ReplayDesk(replay, app.topics);
    context.out(`ready ${app.url}`);
    const { duration_s: durationS } = replay.state;
    const { messageCount, topics, damage } = source;
    log.write('replay_started', { messages: messageCount, topics: topics.length, duration_s: durationS, damage });
    // A source that breaks off ends the command; a recording that was played does so on request.
    const played = replay.untilEnded().then(() => (once ? undefined : untilAborted(context.signal)));
    await Promise.race([played, untilAborted(context.signal)]);
    if (once) tell(replay.state, path, log);
  } finally {
    await replay.close();
  }
}

function tell({ published, refused, refused_by, state }: ReplayState, path: string, log: Log): void {
  const causes = Object.entries(refused_by).map(([code, count]) => `${count} ${code}`);
  log.write('replay_ended', { published, left_out: refused, causes });
  if (state === 'ended' && published === 0 && refused > 0) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path}: no message in it could be played`);
  }
}
