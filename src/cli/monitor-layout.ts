import { countText, fit, fitName, pad, widthOf, type Line, type Piece } from './monitor-text.ts';

/** How the monitor's parts become lines: facts behind a label, tables, and who gets how many of a window's rows. Pure. */

/** A part of the view. */
export interface Section {
  /** Lines that it would fill. */
  readonly wanted: number;
  /** Lines that it gets before others get more than theirs. */
  readonly least: number;
  /** Lines that it gets next. */
  readonly good: number;
  /** Where rows are short the lower number comes first. */
  readonly rank: number;
  /** The first of a group: after an empty line, where there is room. */
  readonly isApart: boolean;
  /** At most `room` lines. */
  readonly lines: (room: number) => readonly Line[];
}

/** The sections below each other, in at most `rows` lines. */
export function stack(sections: readonly Section[], rows: number): readonly Line[] {
  const shares = shareRows(sections, rows);
  const free = rows - shares.reduce((sum, share) => sum + share, 0);
  const hasGaps = free >= sections.filter(({ isApart }) => isApart).length;
  const lines: Line[] = [];
  for (const [i, section] of sections.entries()) {
    if (hasGaps && section.isApart) lines.push([]);
    lines.push(...section.lines(shares[i]!));
  }
  return lines;
}

/**
 * How many lines each section gets of `rows`: in the order of the ranks first the least of each, then what is good for each,
 * then in turns, until all have what they want or nothing is left.
 */
function shareRows(sections: readonly Section[], rows: number): readonly number[] {
  const shares = sections.map(() => 0);
  const left = (): number => rows - shares.reduce((sum, share) => sum + share, 0);
  const byRank = [...sections.keys()].toSorted((a, b) => sections[a]!.rank - sections[b]!.rank);
  for (const amount of ['least', 'good'] as const) {
    for (const i of byRank) shares[i]! += Math.min(left(), sections[i]![amount] - shares[i]!);
  }
  for (;;) {
    const wanting = sections.flatMap(({ wanted }, i) => (shares[i]! < wanted ? [i] : [])).slice(0, left());
    if (wanting.length === 0) return shares;
    for (const i of wanting) shares[i]!++;
  }
}

/** Lines whose number does not depend on the room; without enough of it the last ones are cut off. */
export function fixed(lines: readonly Line[], { rank, isApart = false }: Place): Section {
  const count = lines.length;
  return { wanted: count, least: count, good: count, rank, isApart, lines: (room) => lines.slice(0, room) };
}

interface Place {
  readonly rank: number;
  readonly isApart?: boolean;
}

/** A table of `count` rows under a line of titles; `build` draws those at the places that it is given. */
export function listed(
  count: number,
  { rank, isApart = false, least, good = least }: Place & { readonly least: number; readonly good?: number },
  build: (places: readonly number[]) => readonly Line[],
  /** Which ones to show when not all can be. */
  choose: (shown: number) => readonly number[] = range,
): Section {
  const wanted = 1 + count;
  return {
    wanted,
    least: Math.min(wanted, least),
    good: Math.min(wanted, good),
    rank,
    isApart,
    lines: (room) => {
      if (room >= wanted) return build(range(count));
      const shown = Math.max(0, room - 2);
      return [...build(choose(shown)), more(count - shown)].slice(0, room);
    },
  };
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** As many items as there is room for, and how many more there are. */
export function fill(items: readonly (readonly Line[])[], room: number): readonly Line[] {
  const all = items.flat();
  if (all.length <= room) return all;
  const lines: Line[] = [];
  let shown = 0;
  while (shown < items.length && lines.length + items[shown]!.length < room) lines.push(...items[shown++]!);
  return [...lines, more(items.length - shown)].slice(0, Math.max(0, room));
}

function more(count: number): Line {
  return [{ text: `… and ${countText(count)} more`, style: 'faint' }];
}

/** Below this every column counts. */
const NARROW = 60;
const LABEL_WIDTH = 11;

export function isNarrow(width: number): boolean {
  return width < NARROW;
}

/** Facts behind a label, on as many lines as they need. Those that are `undefined` are left out. */
export function flow(label: string, facts: readonly (Piece | undefined)[], width: number): Line[] {
  const indent = isNarrow(width) ? '  ' : ' '.repeat(LABEL_WIDTH);
  const separator: Piece = { text: ' · ', style: 'faint' };
  const head: Piece = { text: isNarrow(width) ? `${label} ` : pad(label, LABEL_WIDTH), style: 'title' };
  const lines: Piece[][] = [[head]];
  let [used, isFirst] = [widthOf(head.text), true];
  for (const fact of facts) {
    if (fact === undefined) continue;
    const needed = widthOf(fact.text);
    if (!isFirst && used + 3 + needed > width) {
      lines.push([{ text: indent }]);
      [used, isFirst] = [indent.length, true];
    }
    const line = lines.at(-1)!;
    if (!isFirst) line.push(separator);
    line.push(fact);
    used += needed + (isFirst ? 0 : 3);
    isFirst = false;
  }
  return lines;
}

/** The text on lines of at most `width` columns, broken between words where that can be. */
export function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line === '') lines[lines.length - 1] = word;
    else if (widthOf(line) + 1 + widthOf(word) <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.map((line) => fit(line, width));
}

/** How much of a budget is used: 0..1 fills the bar, more ends it with `!`. */
export function bar(share: number, width: number): string {
  if (share > 1) return `${'█'.repeat(width - 1)}!`;
  const filled = Math.round(Math.max(0, share) * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** One a row. A column without any is left out. */
  readonly cells: readonly (Piece | undefined)[];
  /** When columns do not fit the one with the highest number goes first; 0 stays. */
  readonly dispensable: number;
  /** Longer cells are cut. */
  readonly widthMax?: number;
}

/** A last column that takes what is left of the width. */
export interface Tail {
  readonly title: (width: number) => string;
  readonly widthMin: number;
  readonly widthMax: number;
  readonly cell: (row: number, width: number) => Piece;
}

const NAME_WIDTH_MIN = 14;

/** A line of titles and a line a row, in at most `width` columns. The first column gives way before others are left out. */
export function table(columns: readonly Column[], width: number, tail?: Tail): Line[] {
  const gap = isNarrow(width) ? 1 : 2;
  const [name, ...others] = columns.map((column) => ({ column, width: columnWidth(column) }));
  const nameWidthMin = Math.min(name!.width, Math.max(NAME_WIDTH_MIN, widthOf(name!.column.title)));
  let shown = others.filter(({ column }) => column.cells.some((cell) => cell !== undefined));
  const room = (): number => width - shown.reduce((sum, { width }) => sum + gap + width, 0);
  while (room() < nameWidthMin) {
    const worst = shown.reduce((most, { column }) => Math.max(most, column.dispensable), 0);
    if (worst === 0) break;
    shown = shown.filter(({ column }) => column.dispensable !== worst);
  }
  const nameWidth = Math.max(1, Math.min(name!.width, room()));
  const fixed = [{ ...name!, width: nameWidth }, ...shown];
  const tailWidth = Math.min(tail?.widthMax ?? 0, room() - nameWidth - gap);
  const lineOf = (pieceOf: (column: Column) => Piece, last: Piece | undefined): Line => [
    ...fixed.flatMap(({ column, width }, i) => {
      const { text, style } = pieceOf(column);
      const padded = pad((i === 0 ? fitName : fit)(text, width), width, column.align);
      return i === 0 ? [{ text: padded, style }] : [{ text: ' '.repeat(gap) }, { text: padded, style }];
    }),
    ...(last ? [{ text: ' '.repeat(gap) }, last] : []),
  ];
  const hasTail = tail !== undefined && tailWidth >= tail.widthMin;
  const titles = lineOf(
    ({ title }) => ({ text: title, style: 'title' }),
    hasTail ? { text: fit(tail.title(tailWidth), tailWidth), style: 'title' } : undefined,
  );
  const rows = name!.column.cells.map((_, row) =>
    lineOf(({ cells }) => cells[row] ?? { text: '–', style: 'faint' }, hasTail ? tail.cell(row, tailWidth) : undefined),
  );
  return [titles, ...rows];
}

function columnWidth({ title, cells, widthMax = Infinity }: Column): number {
  const widest = cells.reduce((most, cell) => Math.max(most, widthOf(cell?.text ?? '')), 1);
  return Math.max(widthOf(title), Math.min(widthMax, widest));
}
