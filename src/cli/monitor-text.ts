import { stripVTControlCharacters } from 'node:util';
import { clockTime } from './progress.ts';

/** What the monitor writes: text whose width is known, and which is given its colours at the very end. */

export type Style = 'title' | 'good' | 'warn' | 'bad' | 'faint';

export interface Piece {
  readonly text: string;
  readonly style?: Style | undefined;
}

export type Line = readonly Piece[];

/** A longer text of a server says nothing more to a person. */
const CHARS_MAX = 300;
const SGR = { title: 1, good: 32, warn: 33, bad: 31, faint: 2 } as const satisfies Record<Style, number>;
const PLAIN = /^[\u0020-\u007E]*$/;
const UNSPACED = /^\p{M}$/u;
const WIDE =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6]$/u;

/** A server's text as it may go to a terminal: on one line, without sequences, control characters and invisible ones. */
export function clean(text: string): string {
  return stripVTControlCharacters(text.slice(0, CHARS_MAX)).replaceAll(/\s+/g, ' ').replaceAll(/\p{C}/gu, '').trim();
}

/** Columns of a terminal that the text takes. */
export function widthOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += UNSPACED.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return width;
}

/** The text, or its beginning with `…`, in at most `width` columns. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let left = width - 1;
  for (const char of text) {
    left -= widthOf(char);
    if (left < 0) break;
    kept += char;
  }
  return width > 0 ? `${kept}…` : '';
}

/** The same for names, which often differ only in their end: what is cut is in the middle. */
export function fitName(name: string, width: number): string {
  if (widthOf(name) <= width) return name;
  let end = '';
  for (const char of [...name].toReversed()) {
    if (widthOf(char + end) > (width - 1) / 2) break;
    end = char + end;
  }
  return fit(name, width - widthOf(end)) + end;
}

export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const spaces = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + spaces : spaces + text;
}

/** The line as a terminal gets it, cut to `width` columns. */
export function paint(line: Line, width: number, colour: boolean): string {
  let left = width;
  let painted = '';
  for (const { text, style } of line) {
    const cut = fit(text, left);
    left -= widthOf(cut);
    painted += colour && style !== undefined && cut !== '' ? `\u001B[${SGR[style]}m${cut}\u001B[m` : cut;
    if (cut !== text) break;
  }
  return colour ? painted : painted.trimEnd();
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `812 B`, `3.2 KiB`, `512 MiB`. */
export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(unit > 0 && value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

/** `0:07`, `1:02:03`, `3 d 4 h`. */
export function spanText(spanS: number): string {
  const hours = Math.floor(spanS / 3600);
  return hours < 24 ? clockTime(Math.floor(spanS)) : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** So many a second: `0`, `4.2`, `45`, `1,220`. */
export function rateText(perS: number): string {
  return perS > 0 && perS < 100 ? perS.toFixed(1) : countText(Math.round(perS));
}

export function plural(count: number, what: string): string {
  return `${countText(count)} ${what}${count === 1 ? '' : 's'}`;
}

/** `say` of a value that is there. */
export function told<T, R>(value: T | undefined, say: (value: T) => R): R | undefined {
  return value === undefined ? undefined : say(value);
}

export function plain(text: string): Piece {
  return { text };
}

/** A word of the server's. */
export function named(name: string): Piece {
  return plain(clean(name));
}
