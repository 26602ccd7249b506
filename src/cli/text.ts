import { stripVTControlCharacters } from 'node:util';
import { clockTime } from './progress.ts';

/** Text for people: as a terminal may get it, measured and cut by the columns that it takes, and figures with their units. */

/** A longer text of a server is of no more use to a person. */
const CHARS_MAX = 300;
const PLAIN = /^[\u0020-\u007E]*$/;
const UNSPACED = /^\p{M}$/u;
const WIDE =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Emoji_Presentation}\u3000-\u303E\uFF01-\uFF60\uFFE0-\uFFE6]$/u;
const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

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

/** The text in at most `width` columns, with `…` where something was cut: names often differ only in their end. */
export function fit(text: string, width: number, cut: 'end' | 'middle' = 'end'): string {
  if (widthOf(text) <= width) return text;
  if (width <= 0) return '';
  const chars = [...text];
  const end = cut === 'end' ? [] : upTo(chars.toReversed(), (width - 1) / 2).toReversed();
  return `${upTo(chars, width - 1 - widthOf(end.join(''))).join('')}…${end.join('')}`;
}

function upTo(chars: readonly string[], width: number): string[] {
  let left = width;
  const end = chars.findIndex((char) => (left -= widthOf(char)) < 0);
  return chars.slice(0, end);
}

export function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const spaces = ' '.repeat(Math.max(0, width - widthOf(text)));
  return align === 'left' ? text + spaces : spaces + text;
}

/** `812 B`, `3.2 KiB`, `512 MiB`. */
export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(unit > 0 && value < 10 ? 1 : 0)} ${BYTE_UNITS[unit]}`;
}

/** `0:07`, `1:02:03`, `3 d 4 h`. */
export function spanText(spanS: number): string {
  const hours = Math.floor(spanS / 3600);
  return hours < 24 ? clockTime(Math.floor(spanS)) : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** A rate a second: `0`, `4.2`, `45`, `1,220`. */
export function rateText(perS: number): string {
  return perS > 0 && perS < 100 ? perS.toFixed(1) : countText(Math.round(perS));
}

export function plural(count: number, what: string): string {
  return `${countText(count)} ${what}${count === 1 ? '' : 's'}`;
}

/** `say` applied to a value that is there. */
export function told<T, R>(value: T | undefined, say: (value: T) => R): R | undefined {
  return value === undefined ? undefined : say(value);
}

/** Rows with their columns in line; the last column is as long as it likes. */
export function inColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
