import { basename } from 'node:path';
import { SightlineError } from '../base/errors.ts';

/** Text files that come with a model: the labels of its classes, one a line. Pure. */

/** As many labels as a manifest can have. */
const LABELS_MAX = 65_536;
const LABEL_CHARS_MAX = 4096;

/**
 * The labels, in the order of the classes. Blank lines at the end do not count; elsewhere they are refused, since a missing label
 * would give its class the name of the next one. Errors: SOURCE_UNREADABLE, with the line.
 */
export function parseLabels(bytes: Uint8Array, path: string): string[] {
  const lines = decodeText(bytes, path)
    .split(/\r\n|\n|\r/)
    .map((line) => line.trim());
  while (lines.at(-1) === '') lines.pop();
  const bad = (why: string) => new SightlineError('SOURCE_UNREADABLE', `${basename(path)} ${why}`);
  if (lines.length === 0) throw bad('holds no label; it must have one a line');
  if (lines.length > LABELS_MAX) throw bad(`has ${lines.length} lines, more than ${LABELS_MAX} labels`);
  for (const [i, line] of lines.entries()) {
    if (line === '') throw bad(`has nothing in line ${i + 1}; each class needs a label, whatever it is`);
    if (line.length > LABEL_CHARS_MAX)
      throw bad(`has ${line.length} characters in line ${i + 1}, more than ${LABEL_CHARS_MAX}`);
    if (CONTROL.test(line)) throw bad(`has a control character in line ${i + 1}; a label is text`);
  }
  return lines;
}

// oxlint-disable-next-line no-control-regex -- those are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/;

/**
 * Text in UTF-8, or in UTF-16 with its mark in the first two bytes (as Windows' editors write it). In any other encoding a name would
 * silently change. Errors: SOURCE_UNREADABLE.
 */
export function decodeText(bytes: Uint8Array, path: string): string {
  const encoding = encodingOf(bytes);
  const bad = (why: string, cause?: unknown) =>
    new SightlineError(
      'SOURCE_UNREADABLE',
      `${basename(path)} ${why}; save it as UTF-8 (iconv -f LATIN1 -t UTF-8, or -f UTF-16)`,
      {
        cause,
      },
    );
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (thrown) {
    const where = encoding === 'utf-8' ? ` in line ${lineOfFault(bytes)}` : '';
    throw bad(`is not ${encoding.toUpperCase()}${where}`, thrown);
  }
  if (text.includes('\0')) throw bad('has NUL characters, as UTF-16 without its mark and UTF-32 have in UTF-8');
  return text;
}

function encodingOf([first, second]: Uint8Array): 'utf-8' | 'utf-16le' | 'utf-16be' {
  if (first === 0xff && second === 0xfe) return 'utf-16le';
  return first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
}

const NEWLINE = 10;

/** The first line, from 1, that is not UTF-8. */
function lineOfFault(bytes: Uint8Array): number {
  for (let line = 1, from = 0; ; line++) {
    const end = bytes.indexOf(NEWLINE, from);
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(from, end < 0 ? undefined : end));
    } catch {
      return line;
    }
    if (end < 0) return line;
    from = end + 1;
  }
}
