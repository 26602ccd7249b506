import { systemClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { checkApp, pageOf } from './apps.ts';
import type { CliContext } from './context.ts';

/** What `serve` and `demo` share: flags, the line that says `ready`, and an orderly end. */

/** The simulated rover is the same one at every start. */
const ROVER_SEED = 1;

export interface ServerFlags {
  readonly port?: string;
  readonly host?: string;
  readonly model?: string;
  readonly app?: string;
}

/**
 * `makeCamera` makes the clip that the page plays as its demo camera: it is a demo, which has a simulated rover too, unless
 * `--app` names what is wanted alone. Resolves when the server has stopped, after the context's signal. Errors: USAGE, CONFIG_*, ADDRESS_*, MODEL_*.
 */
export async function runServer(
  context: CliContext,
  flags: ServerFlags,
  makeCamera?: () => Promise<string>,
): Promise<void> {
  const name = checkApp(flags.app);
  const config = context.config({
    'server.port': flags.port,
    'server.host': flags.host,
    'detection.model': flags.model,
  });
  // ONNX Runtime and FFmpeg take their time to load: not before the command line is known to be right.
  const [{ openServer }, { openRover }] = await Promise.all([import('../app.ts'), import('../pipelines/rover.ts')]);
  await using app = await openServer({ config, say: (line) => context.err(line) });
  context.out(`ready ${app.url}`);
  const isDemo = makeCamera !== undefined;
  if (isDemo || name) context.err(`Open ${app.url}${pageOf(name)} in a browser. Ctrl+C stops the server.`);
  if (isDemo && name === undefined) app.startCamera(makeCamera);
  const hasRover = isDemo || name === 'rover';
  const random = seededRandom(ROVER_SEED);
  using _rover = hasRover ? openRover({ topics: app.topics, clock: systemClock, random }) : undefined;
  await untilAborted(context.signal);
  context.err('stopping');
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
