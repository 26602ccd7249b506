import { resolve } from 'node:path';
import { Option } from 'commander';
import { systemClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { checkApp, pageOf, partsOf, type AppName } from './apps.ts';
import type { Sightline } from '../app.ts';
import { readCameraUrl } from '../config/camera-urls.ts';
import type { Config } from '../config/schema.ts';
import type { Log } from '../log/log.ts';
import type { DemoView } from '../sources/demo.ts';
import { lowerV8Threads } from '../supervise/thread-priority.ts';
import type { CliContext } from './context.ts';
import { withLog } from './log.ts';
import { fillWall } from './demo-wall.ts';
import { tellTls } from './tls-notes.ts';

/** The common part of `serve` and `demo`: flags, the line `ready`, and an orderly end. */

/** Beyond the time that the server's sessions have, for all its other parts. */
const FORCE_AFTER_MS = 800;

/** A server of which one can see what it is closing. */
type Closing = Pick<Sightline, 'closingStep'>;

/** One that reads its configuration again. */
type Reloading = Pick<Sightline, 'reload'>;

/** The simulated rover is the same one at every start. */
const ROVER_SEED = 1;

export interface ServerFlags {
  readonly port?: string;
  readonly host?: string;
  readonly tls?: 'auto';
  readonly model?: string;
  readonly app?: string;
  readonly record?: string;
  /** Addresses of cameras that the server reads itself. */
  readonly cameras?: readonly string[];
}

/** Every topic, for a recording of everything that happens in the server. */
export const RECORD_OPTION = [
  '--record <file>',
  'record topics, cameras, pictures and results into an MCAP file',
] as const;

export const CAMERA_OPTION = [
  '--camera <address>',
  'a camera that the server reads: rtsp://…, http://…, a file or a device; may be repeated (cam1, cam2, …)',
] as const;

/** For an option that may be repeated. */
export function addTo(text: string, before: readonly string[] = []): readonly string[] {
  return before.concat(text);
}

/** As settings: cam1, cam2 and so on. A path counts from the working directory of the command. */
export function cameraFlags(addresses: readonly string[] = [], cwd: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    addresses.map((address, i) => [`cameras.cam${i + 1}.url`, isUrl(address) ? address : resolve(cwd, address)]),
  );
}

/** What is no address is a path; what may be a mistyped address is left for the configuration to refuse. */
export function isUrl(address: string): boolean {
  return /^[a-z][a-z0-9+.-]+:/i.test(address) || readCameraUrl(address).fault !== undefined;
}

export function tlsOption(): Option {
  return new Option('--tls <how>', 'speak TLS by a certificate that is made for this machine').choices(['auto']);
}

/**
 * What a demo has beside the server, of which `--app` takes a part. Both make their clips while the server runs. A simulated rover is
 * the third part.
 */
export interface Demo {
  /** The clip that the first page plays as its demo camera. */
  makeCamera(log: Log): Promise<string>;
  /** Cameras for the wall of a server that has none of its own; undefined: none. */
  readonly makeWall: ((log: Log) => AsyncIterable<DemoView>) | undefined;
}

/**
 * With `demo` it is a demo. Resolves when the server has stopped, after the context's signal. Errors: USAGE, CONFIG_*, ADDRESS_*, MODEL_*, OUTPUT_FAILED.
 */
export async function runServer(context: CliContext, flags: ServerFlags, demo?: Demo): Promise<void> {
  const name = checkApp(flags.app);
  const config = context.config({
    'server.port': flags.port,
    'server.host': flags.host,
    'server.tls.auto': flags.tls && true,
    'detection.model': flags.model,
    ...cameraFlags(flags.cameras, context.cwd),
  });
  await withLog(context, config, (log) => run(context, flags, { config, name, log, demo }));
}

interface Parts {
  readonly config: Config;
  readonly name: AppName | undefined;
  readonly log: Log;
  readonly demo: Demo | undefined;
}

async function run(context: CliContext, flags: ServerFlags, { config, name, log, demo }: Parts): Promise<void> {
  // The process is ours alone here; in a program that embeds the server its threads are not ours to slow down.
  lowerV8Threads();
  const ending = endInTime(context, config, log);
  const hangups = hearHangups(context);
  // ONNX Runtime and FFmpeg take their time to load: only once the command line is known to be right.
  const [{ openServer }, { openRover }] = await Promise.all([import('../app.ts'), import('../pipelines/rover.ts')]);
  await using app = await openServer({ config, log });
  ending.opened(app);
  hangups.opened(app);
  const recorder = flags.record === undefined ? undefined : await app.record(resolve(context.cwd, flags.record));
  context.out(`ready ${app.url}`);
  await tellTls(context, config, app.url);
  if (demo || name) log.write('page_ready', { url: `${app.url}${pageOf(name)}` });
  const parts = partsOf(name, demo !== undefined);
  const camera = demo && parts.camera ? app.startCamera(() => demo.makeCamera(log)) : Promise.resolve();
  const wall = parts.wall ? demo?.makeWall : undefined;
  // The first page goes first.
  if (wall) void fillWall(app, () => wall(log), { log, signal: context.signal, after: camera });
  const random = seededRandom(ROVER_SEED);
  using _rover = parts.rover ? openRover({ topics: app.topics, clock: systemClock, random }) : undefined;
  await untilAborted(context.signal);
  hangups.ended();
  // What comes of it is recorded as well.
  await app.drain();
  // A recording that has lost its end ends the command with its error.
  await recorder?.finish();
}

/**
 * SIGHUP asks for a reload from the first moment to the last, so that `systemctl reload` never ends a server: one that comes while it
 * starts is answered when it has, one that comes while it ends has nothing left to do.
 */
function hearHangups(context: Pick<CliContext, 'onHangup'>): { opened(app: Reloading): void; ended(): void } {
  let app: Reloading | undefined;
  let isAsked = false;
  let hasEnded = false;
  context.onHangup(() => {
    if (hasEnded) return;
    if (app) reload(app);
    else isAsked = true;
  });
  return {
    opened: (opened) => {
      app = opened;
      if (isAsked) reload(opened);
    },
    ended: () => {
      hasEnded = true;
    },
  };
}

/** A file with an error changes nothing, and the log has said why. */
function reload(app: Reloading): void {
  try {
    app.reload();
  } catch {
    // Told.
  }
}

/**
 * Makes sure that the process ends after the context's signal: it has `server.shutdown_timeout_ms` and `FORCE_AFTER_MS` to end well, also
 * while its server is still starting. A thread inside a native library cannot be stopped, and Node waits for it, even in
 * `process.exit`; a signal waits for nothing.
 */
export function endInTime(context: CliContext, config: Config, log: Log): { opened(app: Closing): void } {
  let app: Closing | undefined;
  const afterMs = config.server.shutdown_timeout_ms + FORCE_AFTER_MS;
  const force = (): void => {
    log.write('shutdown_forced', { step: app ? (app.closingStep ?? 'command') : 'start', after_ms: afterMs });
    context.endNow();
  };
  // It keeps no process that has nothing else to do.
  void untilAborted(context.signal).then(() => setTimeout(force, afterMs).unref());
  return {
    opened: (opened) => {
      app = opened;
    },
  };
}

/** Resolves, and never rejects, once the signal says so. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener('abort', () => done(), { once: true });
  });
}
