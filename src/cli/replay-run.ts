import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { RecordingSource } from '../delivery/replay-file.ts';
import { ReplayDesk } from '../delivery/replay-desk.ts';
import { Replay, type ReplayState } from '../delivery/replay.ts';
import type { CliContext } from './context.ts';
import { untilAborted } from './run-server.ts';

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

/** The command `sightline replay`, once its words are understood. */
export async function playFile(path: string, flags: ReplayFlags, context: CliContext): Promise<void> {
  const { speed, from, to, loop = false, paused = false, once = false, prefix, recordedTimes, skipGaps } = flags;
  if (skipGaps !== undefined && skipGaps <= 0)
    throw new SightlineError('USAGE', `--skip-gaps ${skipGaps} is not above 0`);
  const config = context.config({ 'server.port': flags.port, 'server.host': flags.host });
  await using source = await RecordingSource.open(path);
  if (source.damage !== undefined) context.err(`${path}: ${source.damage}`);
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
    say: (line) => context.err(line),
    ...(prefix !== undefined && { prefix }),
    ...(skipGaps !== undefined && { gapMaxMs: skipGaps * 1000 }),
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
    if (once) tell(replay.state, path, context);
  } finally {
    await replay.close();
  }
}

function tell({ published, refused, refused_by, state }: ReplayState, path: string, context: CliContext): void {
  const causes = Object.entries(refused_by).map(([code, count]) => `${count} ${code}`);
  context.err(`played ${published} messages${refused > 0 ? `, left out ${refused} (${causes.join(', ')})` : ''}`);
  if (state === 'ended' && published === 0 && refused > 0) {
    throw new SightlineError('SOURCE_UNREADABLE', `${path}: none of its messages could be played`);
  }
}
