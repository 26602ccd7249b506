import type { Screen } from './monitor-view.ts';

/** The window in which the monitor draws. */
export interface Terminal extends Screen {
  /** A view can be drawn in place and over again. */
  readonly canRedraw: boolean;
  /** Takes the window over, until `close`. */
  open(listener: TerminalListener): void;
  /** Puts these lines into the window, in place of those before. */
  draw(lines: readonly string[]): void;
  /** Gives the window back as it was. Idempotent. */
  close(): void;
}

export interface TerminalListener {
  /** One character a call. */
  readonly onKey: (key: string) => void;
  readonly onResize: () => void;
  /** The terminal has gone. */
  readonly onGone: () => void;
}

const ESC = '\u001B[';
/** Another screen, without a cursor, that cuts lines which are too long. */
const ENTER = `${ESC}?1049h${ESC}?25l${ESC}?7l`;
const LEAVE = `${ESC}?7h${ESC}?25h${ESC}?1049l`;
/** Terminals that know these show a picture only when it is whole; others ignore them. */
const [BEGIN, END] = [`${ESC}?2026h`, `${ESC}?2026l`];
const [HOME, ERASE_TO_LINE_END, ERASE_BELOW] = [`${ESC}H`, `${ESC}K`, `${ESC}J`];
/** Size of a window whose size is not known. */
const [COLUMNS, ROWS] = [80, 24];
const COLUMNS_MAX = 500;
const COLOURS = 16;

/** Standard output and, for keys, standard input. */
export class ProcessTerminal implements Terminal {
  readonly #env: Readonly<Record<string, string | undefined>>;
  #listener: TerminalListener | undefined;

  constructor(env: Readonly<Record<string, string | undefined>>) {
    this.#env = env;
  }

  get canRedraw(): boolean {
    return process.stdout.isTTY && this.#env['TERM'] !== 'dumb';
  }

  get columns(): number {
    // An output that is not a terminal may get a width, as from `watch`.
    const told = process.stdout.isTTY ? process.stdout.columns : Number(this.#env['COLUMNS']);
    return told >= 1 ? Math.min(Math.floor(told), COLUMNS_MAX) : COLUMNS;
  }

  get rows(): number {
    return process.stdout.rows >= 1 ? process.stdout.rows : ROWS;
  }

  /** As NO_COLOR and TERM say. */
  get colour(): boolean {
    return process.stdout.isTTY && process.stdout.hasColors(COLOURS, this.#env);
  }

  open(listener: TerminalListener): void {
    this.#listener = listener;
    const { stdin, stdout } = process;
    // However this process ends: a window that is not restored is useless.
    process.once('exit', this.#onExit);
    stdout.on('resize', listener.onResize);
    if (stdin.isTTY) {
      stdin.setRawMode(true);
      stdin.on('data', this.#onData).on('end', listener.onGone).on('error', listener.onGone);
      stdin.resume();
    }
    stdout.write(ENTER);
  }

  draw(lines: readonly string[]): void {
    if (this.#listener === undefined) return;
    const text = lines.map((line) => line + ERASE_TO_LINE_END).join('\r\n');
    // One write, over what is there: nothing is ever seen empty.
    process.stdout.write(BEGIN + HOME + text + ERASE_BELOW + END);
  }

  close(): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    this.#listener = undefined;
    const { stdin, stdout } = process;
    process.off('exit', this.#onExit);
    stdout.off('resize', listener.onResize);
    stdout.write(LEAVE);
    if (!stdin.isTTY) return;
    stdin.off('data', this.#onData).off('end', listener.onGone).off('error', listener.onGone).pause();
    try {
      stdin.setRawMode(false);
    } catch {
      // The window was closed: there is nothing to give back.
    }
  }

  readonly #onExit = (): void => this.close();

  readonly #onData = (chunk: Buffer): void => {
    const text = chunk.toString();
    // Arrows and function keys come as sequences with letters in them.
    if (!text.startsWith('\u001B')) for (const key of text) this.#listener?.onKey(key);
  };
}
