import { systemClock } from '../base/clock.ts';
import { toSightlineError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { openJsonSink } from '../log/json-lines.ts';
import { Log, type LogSink } from '../log/log.ts';
import { textLine } from '../log/text-lines.ts';
import type { CliContext } from './context.ts';

/** Errors that a log has written: they are not printed a second time. */
const told = new WeakSet<object>();

/**
 * Runs a long-running command with a log on standard error. In JSON an error that ends the command is one of its lines, so that a reader
 * of these lines needs to understand nothing else.
 */
export async function withLog<T>(context: CliContext, config: Config, run: (log: Log) => Promise<T>): Promise<T> {
  const { format, level } = config.log;
  const isJson = format === 'json' || (format === 'auto' && !context.isTerminal);
  const sink: LogSink = isJson
    ? await openJsonSink((line) => context.logLine(line))
    : (entry) => context.err(textLine(entry));
  const log = new Log({ clock: systemClock, level, sink });
  try {
    return await run(log);
  } catch (thrown) {
    if (isJson && log.level !== 'silent' && !isStop(thrown, context.signal)) {
      const { code, message, stack } = toSightlineError(thrown);
      log.write('command_failed', { code, reason: message, ...(code === 'INTERNAL' && { stack }) });
      told.add(thrown as object);
    }
    throw thrown;
  } finally {
    log.close();
  }
}

export function wasLogged(thrown: unknown): boolean {
  return typeof thrown === 'object' && thrown !== null && told.has(thrown);
}

/** The command was asked to end, and ends by this. */
export function isStop(thrown: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (thrown === signal.reason || (thrown as Error | undefined)?.name === 'AbortError');
}
