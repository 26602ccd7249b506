import type { Clock } from '../base/clock.ts';

export interface ProgressOptions {
  readonly clock: Clock;
  /** Puts text on the terminal as it is, without a line's end. */
  readonly write: (text: string) => void;
  /** Characters in a line of the terminal. */
  readonly columns: number;
  /** How many there will be, an estimate; undefined when it is unknown. */
  readonly total: number | undefined;
}

/** A terminal shows no more, and drawing costs. */
const REDRAW_INTERVAL_MS = 100;
const BAR_WIDTH_MAX = 30;
const ERASE_LINE = '\r\u001B[2K';

/** A line on the terminal that is drawn over and over: bar, share, frames, speed, time left. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #beganMs: number;
  #drawnMs = -Infinity;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#beganMs = options.clock.now();
  }

  /** `done` frames so far. */
  update(done: number): void {
    const nowMs = this.#options.clock.now();
    if (nowMs - this.#drawnMs < REDRAW_INTERVAL_MS) return;
    this.#drawnMs = nowMs;
    const line = progressLine(done, this.#options.total, (nowMs - this.#beganMs) / 1000, this.#options.columns);
    this.#options.write(ERASE_LINE + line);
  }

  /** Removes the line, so that others can write. */
  clear(): void {
    if (this.#drawnMs === -Infinity) return;
    this.#options.write(ERASE_LINE);
    this.#drawnMs = -Infinity;
  }
}

/** The line's text, at most `columns` − 1 characters: a full line would make the terminal scroll. */
export function progressLine(done: number, total: number | undefined, elapsedS: number, columns: number): string {
  const rateFps = elapsedS > 0 ? done / elapsedS : 0;
  const speed = `${rateFps.toFixed(rateFps < 10 ? 1 : 0)} frames/s`;
  if (total === undefined) return fit(`${done} frames  ${speed}`, columns);
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const percent = `${Math.floor(share * 100)} %`.padStart(5);
  const leftS = rateFps > 0 ? Math.max(0, total - done) / rateFps : 0;
  const words = `${percent}  ${Math.min(done, total)}/${total} frames  ${speed}  ${clockTime(leftS)} left`;
  const width = Math.min(BAR_WIDTH_MAX, columns - 1 - words.length - 2);
  if (width < 5) return fit(words.trimStart(), columns);
  const filled = Math.round(share * width);
  return `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${words}`;
}

function fit(text: string, columns: number): string {
  return text.slice(0, Math.max(0, columns - 1));
}

/** `0:07`, `12:30`, `1:02:03`. */
export function clockTime(totalS: number): string {
  const whole = Math.round(totalS);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours > 0 ? `${hours}:${twoDigits(minutes)}:${twoDigits(seconds)}` : `${minutes}:${twoDigits(seconds)}`;
}

function twoDigits(n: number): string {
  return String(n).padStart(2, '0');
}
