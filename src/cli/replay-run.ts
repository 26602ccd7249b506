import { systemClock } from '../base/clock.ts';
import { RecordingSource } from '../delivery/replay-file.ts';
import { ReplayDesk } from '../delivery/replay-desk.ts';
import { Replay } from '../delivery/replay.ts';
import type { CliContext } from './context.ts';
import type { ReplayFlags } from './replay.ts';
import { untilAborted } from './run-server.ts';

/** The command `sightline replay`, once its words are understood. */
export async function playFile(path: string, flags: ReplayFlags, context: CliContext): Promise<void> {
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
