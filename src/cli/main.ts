import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { exitCodeOf } from '../base/exit-codes.ts';
import { loadConfig } from '../config/load.ts';
import { packageVersion } from '../config/version.ts';
import { registerBenchmark } from './benchmark.ts';
import { registerCameras } from './cameras.ts';
import { registerConfig } from './config.ts';
import type { CliContext } from './context.ts';
import { registerDemo } from './demo.ts';
import { registerDetect } from './detect.ts';
import { registerKeys } from './keys.ts';
import { isStop, wasLogged } from './log.ts';
import { redactText } from '../log/redact.ts';
import { registerDoctor } from './doctor.ts';
import { registerModels } from './models.ts';
import { registerMonitor } from './monitor.ts';
import { registerOptimize } from './optimize.ts';
import { loadOptions } from './options.ts';
import { CommandOutput } from './output.ts';
import { trust } from './trust.ts';
import { wrapLine } from './wrap.ts';
import { registerRecord } from './record.ts';
import { registerReplay } from './replay.ts';
import { readNewPassword } from './new-password.ts';
import { registerServe } from './serve.ts';
import { registerStatus } from './status.ts';

/** Width of a help text whose place has no known width, and of one that is broken later. */
const HELP_COLUMNS = 80;
const HELP_COLUMNS_MAX = 10_000;
/** Two signals closer than this are one: npm and a terminal both hand the same Ctrl+C to a command. */
const SAME_SIGNAL_MS = 300;
/** Bytes of log that may wait for a reader of standard error that stands still; further lines are dropped. */
const LOG_WAITING_BYTES_MAX = 1024 * 1024;
const ERROR_CHARS_MAX = 10_000;
const SIGNALS = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;
type SignalName = keyof typeof SIGNALS;

const EXAMPLES = `
Examples:
  sightline demo                                    a demo camera and the page on http://127.0.0.1:8080
  sightline serve --port 9000                       the server alone
  sightline detect clip.mp4 --out annotated.mp4     boxes into a file
  sightline detect clip.mp4 --json                  one line of JSON a frame
  sightline models list                             all models
  sightline record drive.mcap                       topics of a running server into a file
  sightline replay drive.mcap --speed 2             the file, published again by a server of its own
  sightline status                                  whether a running server is well
  sightline monitor                                 a live view of a running server
  sightline cameras add gate rtsp://10.0.0.7/live   a camera for a running server to read
  sightline benchmark low_load                      load on a server, and its latency
  sightline optimize clip.mp4                       the settings that suit this machine and a clip
  sightline config show                             every setting and its origin
  sightline doctor                                  what is to be mended before a server starts here
  sightline keys add operator --allow admin         a key, so that other machines may come in
`;

/** The command line. Resolves to the exit code (sysexits.h); never throws. `argv` is without node and script. */
export async function main(argv: readonly string[], overrides: Partial<CliContext> = {}): Promise<number> {
  const stopper = overrides.signal === undefined ? listenForSignals() : undefined;
  const output = overrides.out === undefined ? openOutput(stopper) : undefined;
  const program = new Command('sightline');
  let wanted = 0;
  const context: CliContext = {
    env: process.env,
    cwd: process.cwd(),
    out: (line) => output?.line(line),
    text: (line) => {
      for (const part of wrapLine(line, columnsOf(process.stdout, context.env))) context.out(part);
    },
    err: (line) => {
      // Once the output has ended, nothing that the command says of its own end is of use.
      if (output?.end !== undefined) return;
      for (const part of wrapLine(line, columnsOf(process.stderr, {}))) process.stderr.write(`${part}\n`);
    },
    logLine: (line) => {
      if (process.stderr.writableLength > LOG_WAITING_BYTES_MAX) return false;
      process.stderr.write(line);
      return true;
    },
    isTerminal: process.stderr.isTTY === true,
    isOutputTerminal: process.stdout.isTTY === true,
    signal: stopper?.signal ?? new AbortController().signal,
    onHangup: (listener) => stopper?.onHangup(listener),
    newPassword: () => readNewPassword(process.stdin, process.stderr),
    exitWith: (code) => void (wanted = code),
    endNow: () => stopper?.endNow(),
    config: (flags) => loadConfig(loadOptions(program, context, flags)),
    ...overrides,
  };

  try {
    let exitCode = (await run(argv, program, context)) || wanted;
    const end = await output?.settled();
    if (end instanceof SightlineError) {
      exitCode = tell(end, program, { ...context, err: (line) => void process.stderr.write(`${line}\n`) });
    }
    if (stopper?.signal.aborted) leave(exitCode);
    return exitCode;
  } finally {
    stopper?.dispose();
  }
}

async function run(argv: readonly string[], program: Command, context: CliContext): Promise<number> {
  try {
    build(program, context);
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (thrown) {
    return failed(thrown, program, context);
  }
}

/** An output that is not a terminal may get a width, as from `watch`; else it has no limit. */
function columnsOf(
  { isTTY, columns }: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): number {
  const told = isTTY === true ? columns : Number(env['COLUMNS']);
  return told !== undefined && told >= 1 ? Math.floor(told) : Infinity;
}

/** When the reader is gone (`sightline … | head`), or output is lost, a command has nothing left to do. */
function openOutput(stopper: Stopper | undefined): CommandOutput {
  // There is nowhere to report it.
  process.stderr.on('error', () => {});
  return new CommandOutput(process.stdout, (end) => {
    stopper?.stop(new Stopped('its output', end === 'closed' ? 0 : exitCodeOf(end)));
  });
}

/** The whole command line, without anything that happens yet. */
export function build(program: Command, context: CliContext): void {
  program
    .description('Real-time perception server: cameras stream in, detections stream out.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .option('--config <file>', 'configuration file (YAML)')
    .option('--set <key=value>', 'any setting, such as streaming.max_fps=20; may be repeated', addSetting)
    .option('--ca <file>', 'authority by which servers are checked, beside the usual ones (default: $SIGHTLINE_CA)')
    .option('--profile <name>', 'the profile to use: high_performance, high_capacity, or one of the configuration')
    .option(
      '--log-level <level>',
      'level of the log of serve, demo, record and replay: error, warn, info, debug, … or silent',
    )
    .option('--debug', 'print the stack of an unexpected error')
    .addHelpText('after', EXAMPLES)
    .hook('preAction', () => {
      const path = program.opts<{ ca?: string }>().ca ?? context.env['SIGHTLINE_CA'];
      if (path) trust(resolve(context.cwd, path));
    })
    .exitOverride()
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      // Where the width is known, lines are broken here, and not before.
      getOutHelpWidth: () => (columnsOf(process.stdout, context.env) < Infinity ? HELP_COLUMNS_MAX : HELP_COLUMNS),
      getErrHelpWidth: () => (columnsOf(process.stderr, {}) < Infinity ? HELP_COLUMNS_MAX : HELP_COLUMNS),
      writeOut: (text) => {
        for (const line of text.replace(/\n$/, '').split('\n')) context.text(line);
      },
      writeErr: (text) => {
        for (const line of text.replace(/\n$/, '').split('\n')) context.err(line);
      },
      // The error comes back as an exception and is printed once, in the form of all errors.
      outputError: () => undefined,
    });
  registerServe(program, context);
  registerDemo(program, context);
  registerDetect(program, context);
  registerModels(program, context);
  registerStatus(program, context);
  registerMonitor(program, context);
  registerCameras(program, context);
  registerBenchmark(program, context);
  registerOptimize(program, context);
  registerConfig(program, context);
  registerKeys(program, context);
  registerDoctor(program, context);
  registerRecord(program, context);
  registerReplay(program, context);
}

function addSetting(text: string, settings: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1)
    throw new SightlineError(
      'USAGE',
      `--set takes a setting and its value, such as streaming.max_fps=20, not "${text}"`,
    );
  return { ...settings, [text.slice(0, at)]: text.slice(at + 1) };
}

function failed(thrown: unknown, program: Command, context: CliContext): number {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return 0;
    // Without a command, commander has already printed the help.
    if (thrown.code === 'commander.help') return exitCodeOf(new SightlineError('USAGE', ''));
    return tell(new SightlineError('USAGE', usageMessage(thrown)), program, context);
  }
  const { signal } = context;
  if (isStop(thrown, signal)) {
    return signal.reason instanceof Stopped ? signal.reason.exitCode : 130;
  }
  const error = toSightlineError(thrown);
  return wasLogged(thrown) ? exitCodeOf(error) : tell(error, program, context);
}

/** Commander's sentence without its `error: ` and on one line. */
function usageMessage(error: CommanderError): string {
  return error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
}

function tell(error: SightlineError, program: Command, context: CliContext): number {
  // It may quote a setting, or what somebody has typed.
  const say = (text: string): void => context.err(redactText(text, ERROR_CHARS_MAX));
  say(`sightline: ${error.message} (${error.code})`);
  const wantsStack = program.opts<{ debug?: boolean }>().debug === true || Boolean(context.env['SIGHTLINE_DEBUG']);
  if (wantsStack) {
    say(error.stack ?? '');
    if (error.cause instanceof Error) say(`caused by ${error.cause.stack ?? error.cause.message}`);
  } else if (error.code === 'INTERNAL') {
    context.err('This should not happen. --debug prints where it did.');
  }
  return exitCodeOf(error);
}

/** A fault that nobody has foreseen ends the command; Node by itself would write all that is in the error. */
function endByCrash(thrown: unknown): void {
  const text = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  process.stderr.write(`sightline: a fault of the program: ${redactText(text, ERROR_CHARS_MAX)}\n`);
  process.exit(exitCodeOf(new SightlineError('INTERNAL', '')));
}

/** Why a command was stopped: the reason of the context's signal. */
class Stopped extends Error {
  readonly exitCode: number;

  constructor(why: string, exitCode: number) {
    super(`stopped by ${why}`);
    this.name = 'AbortError';
    this.exitCode = exitCode;
  }
}

/** A command that a program has started with a channel to itself (`Child.spawn`) ends when that program has gone. */
function leaveWithParent(controller: AbortController): void {
  // Where the program listens to the channel itself, it belongs to it.
  if (!process.connected || process.listenerCount('message') > 0) return;
  process.once('disconnect', () => controller.abort(new Stopped('the end of its parent', 128 + SIGNALS.SIGHUP)));
  // The channel alone is no reason to stay.
  process.channel?.unref();
}

/**
 * Ends a command that was stopped and has ended well. Node would wait for its threads, also for one that is in a native library and
 * does not come back; by now no timer runs that could end it by force.
 */
function leave(exitCode: number): void {
  // What waits is lost otherwise, and so is a profile that Node writes at its end.
  if (process.stderr.writableLength > 0 || process.execArgv.some((word) => word.includes('-prof'))) return;
  process.emit('exit', exitCode);
  replace(exitCode);
}

/** Another program takes the place of this one, threads and all, and ends with the exit code (execve(2)). Windows has no such thing. */
function replace(exitCode: number): void {
  // A program that is not there any more would abort.
  if (process.platform === 'win32' || !existsSync(process.execPath)) return;
  const { NODE_OPTIONS: _options, ...env } = process.env;
  process.execve?.(process.execPath, ['node', '-e', `process.exit(${exitCode})`], env);
}

interface Stopper {
  readonly signal: AbortSignal;
  stop(why: Stopped): void;
  onHangup(listener: () => void): void;
  /** Does what the second signal does. */
  endNow(): void;
  dispose(): void;
}

/**
 * The first signal asks the command to end well, the second ends the process at once: by the signal itself, because an
 * orderly `process.exit` under running inference threads aborts (ONNX Runtime's threads find their environment gone).
 */
function listenForSignals(): Stopper {
  const controller = new AbortController();
  let first: { readonly name: SignalName; readonly timeMs: number } | undefined;
  const removeAll = (): void => {
    for (const name of Object.keys(SIGNALS)) process.off(name, onSignal);
  };
  const end = (name: SignalName): void => {
    removeAll();
    process.kill(process.pid, name);
    // The first process of a container gets no signal from itself that it does not handle.
    if (process.pid === 1) replace(128 + SIGNALS[name]);
  };
  let hangup: (() => void) | undefined;
  const isTerminal = process.stdin.isTTY || process.stdout.isTTY;
  const onSignal = (name: SignalName): void => {
    if (name === 'SIGHUP' && hangup && !isTerminal) return hangup();
    const timeMs = performance.now();
    if (first === undefined) {
      first = { name, timeMs };
      controller.abort(new Stopped(name, 128 + SIGNALS[name]));
    } else if (timeMs - first.timeMs > SAME_SIGNAL_MS) end(name);
  };
  for (const name of Object.keys(SIGNALS)) process.on(name, onSignal);
  process.on('uncaughtException', endByCrash);
  leaveWithParent(controller);
  return {
    signal: controller.signal,
    stop: (why) => controller.abort(why),
    onHangup: (listener) => {
      hangup = listener;
    },
    endNow: () => end(first?.name ?? 'SIGTERM'),
    dispose: () => {
      removeAll();
      process.off('uncaughtException', endByCrash);
    },
  };
}
