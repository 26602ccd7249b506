import type { Config } from '../config/schema.ts';

/** The world around a command. `main.ts` makes the real one, tests make their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Standard output is for results, one line a call. */
  out(line: string): void;
  /** The same for lines that people read: where a terminal is narrower they break between words. */
  text(line: string): void;
  /** Standard error is for messages to a person: progress, notices, errors. */
  err(line: string): void;
  /** A line of the log, with its end, as it is; false: standard error is not read, and the line was dropped. */
  logLine(line: string): boolean;
  /** Standard error is a terminal, so that a progress bar may be drawn there. */
  readonly isTerminal: boolean;
  /** The same of standard output. */
  readonly isOutputTerminal: boolean;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /**
   * Calls back on SIGHUP, which no longer stops the command; on a terminal, which hangs up when it is closed, it still does.
   */
  onHangup(listener: () => void): void;
  /** A new password, from standard input: a line, or, on a terminal, what a person types unseen, twice. Errors: USAGE. */
  newPassword(): Promise<string>;
  /** With what the command exits when it ends without an error. Default: 0. */
  exitWith(code: number): void;
  /** Ends the process at once by the signal that it got, whatever runs in it. */
  endNow(): void;
  /** The configuration with `flags` (dotted key → text or value) on top of file and environment. Throws CONFIG_*. */
  config(flags?: Readonly<Record<string, unknown>>): Config;
}
