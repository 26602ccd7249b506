import { widthOf } from './text.ts';

/** Text behind a first column stays beside it while it has this many columns of its own. */
const BESIDE_MIN = 24;
const INDENT = 4;

/**
 * A line for people on lines of at most `width` columns, broken between words; a longer word stays whole. Text in
 * columns (two spaces or more) keeps to the second one, or goes below the first one where that leaves too little room.
 */
export function wrapLine(line: string, width: number): string[] {
  if (widthOf(line) <= width) return [line];
  const [, lead = '', first = '', gap = '', rest = ''] = /^(\s*)(\S.*?)(?:(\s{2,})(\S.*))?$/s.exec(line) ?? [];
  if (rest === '') return words(first, width, lead, lead);
  const head = lead + first + gap;
  const below = ' '.repeat(Math.min(lead.length + INDENT, Math.max(0, Math.floor(width / 2))));
  if (width - widthOf(head) >= BESIDE_MIN) return words(rest, width, head, ' '.repeat(widthOf(head)));
  return [...words(first, width, lead, below), ...words(rest, width, below, below)];
}

/** Spaces between words stay as they are, but for those where a line ends. */
function words(text: string, width: number, firstIndent: string, indent: string): string[] {
  const lines: string[] = [];
  let line = firstIndent;
  let isEmpty = true;
  for (const [, gap = '', word = ''] of text.matchAll(/(\s*)(\S+)/g)) {
    const more = isEmpty ? word : gap + word;
    if (!isEmpty && widthOf(line + more) > width) {
      lines.push(line);
      line = indent + word;
    } else {
      line += more;
    }
    isEmpty = false;
  }
  return [...lines, line];
}
