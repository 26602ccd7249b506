import { countText, fit, pad, widthOf } from './text.ts';

/** How the monitor's parts become lines: facts behind a label, tables, and the division of a window's rows among them. Pure. */

export type Style = 'title' | 'good' | 'warn' | 'bad' | 'faint';

/** Text whose width is known; it gets its colour at the very end. */
export interface Piece {
  readonly text: string;
  readonly style?: Style | undefined;
}

export type Line = readonly Piece[];

/** The content of one place; `undefined`: the server does not report it. */
export type Cell = Piece | string | undefined;

/** A part of the view: lines that are always shown, and items of which some may be left out. */
export interface Section {
  /** Where rows are short the lower number comes first. */
  readonly rank: number;
  readonly head: readonly Line[];
  readonly items?: readonly (readonly Line[])[];
  /** Places of the items, the most important one first; default: as they stand. */
  readonly order?: readonly number[];
  /** Lines that it gets before others get more than theirs, and those that it gets next; default: all. */
  readonly least?: number;
  readonly good?: number;
  /** The first of a group: after an empty line, where there is room. */
  readonly isApart?: boolean;
}

const SGR = { title: 1, good: 32, warn: 33, bad: 31, faint: 2 } as const satisfies Record<Style, number>;
/** Below this every column counts. */
const NARROW = 60;
const LABEL_WIDTH = 11;
const SEPARATOR: Piece = { text: ' · ', style: 'faint' };
const NOT_TOLD: Piece = { text: '–', style: 'faint' };
const NAME_WIDTH_MIN = 14;

/** The sections below each other, in at most `rows` lines. */
export function stack(sections: readonly Section[], rows: number): readonly Line[] {
  const wanted = sections.map(({ head, items = [] }) => head.length + items.flat().length);
  const shares = sections.map(() => 0);
  const left = (): number => rows - shares.reduce((sum, share) => sum + share, 0);
  const byRank = [...sections.keys()].toSorted((a, b) => sections[a]!.rank - sections[b]!.rank);
  // The least of each, then a good number for each, then in turns, until all have what they want or nothing is left.
  for (const amount of ['least', 'good'] as const) {
    for (const i of byRank) {
      const { least, good = least } = sections[i]!;
      const share = Math.min(wanted[i]!, { least, good }[amount] ?? Infinity);
      shares[i]! += Math.min(left(), Math.max(0, share - shares[i]!));
    }
  }
  for (let wanting = [0]; wanting.length > 0;) {
    wanting = wanted.flatMap((want, i) => (shares[i]! < want ? [i] : [])).slice(0, left());
    for (const i of wanting) shares[i]!++;
  }
  const hasGaps = left() >= sections.filter(({ isApart }) => isApart).length;
  const lines: Line[] = [];
  for (const [i, section] of sections.entries()) {
    if (hasGaps && section.isApart) lines.push([]);
    lines.push(...linesOf(section, shares[i]!));
  }
  return lines;
}

/** As many items as there is room for, the most important ones, and how many more there are. */
function linesOf({ head, items = [], order = [...items.keys()] }: Section, room: number): readonly Line[] {
  const all = [...head, ...items.flat()];
  if (all.length <= room) return all;
  let left = room - head.length - 1;
  const end = order.findIndex((i) => (left -= items[i]!.length) < 0);
  const shown = new Set(order.slice(0, end));
  const more: Line = [{ text: `… and ${countText(items.length - shown.size)} more`, style: 'faint' }];
  const lines = [...head, ...items.filter((_, i) => shown.has(i)).flat(), ...(items.length > 0 ? [more] : [])];
  return lines.slice(0, Math.max(0, room));
}

export function isNarrow(width: number): boolean {
  return width < NARROW;
}

function pieceOf(cell: Cell): Piece | undefined {
  return typeof cell === 'string' ? { text: cell } : cell;
}

/** Facts behind a label, on as many lines as they need. */
export function flow(label: string, facts: readonly Cell[], width: number): Piece[][] {
  const [head, indent] = isNarrow(width) ? [`${label} `, '  '] : [pad(label, LABEL_WIDTH), ' '.repeat(LABEL_WIDTH)];
  const lines: Piece[][] = [[{ text: head, style: 'title' }]];
  let [used, isFirst] = [widthOf(head), true];
  for (const fact of facts.map(pieceOf).filter((piece) => piece !== undefined)) {
    const needed = widthOf(fact.text);
    if (!isFirst && used + SEPARATOR.text.length + needed > width) {
      lines.push([{ text: indent }, fact]);
      used = indent.length + needed;
    } else {
      lines.at(-1)!.push(...(isFirst ? [] : [SEPARATOR]), fact);
      used += needed + (isFirst ? 0 : SEPARATOR.text.length);
    }
    isFirst = false;
  }
  return lines;
}

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right' | undefined;
  /** One a row. A column without any is left out. */
  readonly cells: readonly Cell[];
  /** When columns do not fit the one with the highest number goes first; 0 stays. */
  readonly dispensable: number;
  /** Longer cells are cut. */
  readonly widthMax?: number | undefined;
}

/** A line of titles and a line a row, and columns that are left of `width`. The first column gives way before others go. */
export function table(columns: readonly Column[], width: number): { head: Line; rows: Line[]; left: number } {
  const gap = ' '.repeat(isNarrow(width) ? 1 : 2);
  const measured = columns.map((column) => ({ ...column, width: columnWidth(column) }));
  const name = measured[0]!;
  let others = measured.slice(1).filter(({ cells }) => cells.some((cell) => cell !== undefined));
  const room = (): number => width - others.reduce((sum, { width }) => sum + gap.length + width, 0);
  const nameWidthMin = Math.min(name.width, Math.max(NAME_WIDTH_MIN, widthOf(name.title)));
  for (let worst = 1; worst > 0 && room() < nameWidthMin;) {
    worst = others.reduce((most, { dispensable }) => Math.max(most, dispensable), 0);
    if (worst > 0) others = others.filter(({ dispensable }) => dispensable !== worst);
  }
  const nameWidth = Math.max(1, Math.min(name.width, room()));
  const lineOf = (cellOf: (column: Column) => Cell): Line =>
    [{ ...name, width: nameWidth }, ...others].flatMap((column, i) => {
      const { text, style } = pieceOf(cellOf(column)) ?? NOT_TOLD;
      const padded = pad(fit(text, column.width, i === 0 ? 'middle' : 'end'), column.width, column.align);
      return i === 0 ? [{ text: padded, style }] : [{ text: gap }, { text: padded, style }];
    });
  return {
    head: lineOf(({ title }) => ({ text: title, style: 'title' })),
    rows: name.cells.map((_, row) => lineOf(({ cells }) => cells[row])),
    left: room() - nameWidth - gap.length,
  };
}

function columnWidth({ title, cells, widthMax = Infinity }: Column): number {
  const widest = cells.reduce<number>((most, cell) => Math.max(most, widthOf(pieceOf(cell)?.text ?? '')), 1);
  return Math.max(widthOf(title), Math.min(widthMax, widest));
}

/** The line as a terminal gets it, cut to `width` columns. */
export function paint(line: Line, width: number, colour: boolean): string {
  let left = width;
  let painted = '';
  for (const { text, style } of line) {
    const shown = fit(text, left);
    left -= widthOf(shown);
    painted += colour && style !== undefined && shown !== '' ? `\u001B[${SGR[style]}m${shown}\u001B[m` : shown;
    if (shown !== text) break;
  }
  return colour ? painted : painted.trimEnd();
}
