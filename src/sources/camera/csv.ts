/** Tables as spreadsheets write them (RFC 4180, and what they do beside it). Pure. */

export interface CsvRow {
  /** Of the text, from 1, in which the row begins: a cell may have line ends in it. */
  readonly line: number;
  readonly cells: readonly string[];
}

export interface CsvLimits {
  /** Rows that have something in them. */
  readonly rowsMax: number;
  readonly columnsMax: number;
  readonly cellCharsMax: number;
}

/** The text is no such table. */
export class CsvFault extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'CsvFault';
    this.line = line;
  }
}

const BOM = '\uFEFF';

/**
 * The rows of a text, without those that are empty. Cells are separated by commas, or by semicolons where the first line has them and no comma, as
 * spreadsheets do it in much of Europe, or by tabs likewise. Lines end by LF, CRLF or CR. Spaces around a cell that is not quoted are no part
 * of it. Throws CsvFault.
 */
export function readCsv(text: string, limits: CsvLimits): CsvRow[] {
  const rows: CsvRow[] = [];
  let at = text.startsWith(BOM) ? 1 : 0;
  const separator = separatorOf(text.slice(at, at + limits.columnsMax * limits.cellCharsMax));
  let line = 1;
  while (at < text.length) {
    const row = readRow(text, at, { line, separator, limits });
    if (row.cells.some((cell) => cell !== '')) {
      if (rows.length === limits.rowsMax) throw new CsvFault(line, `there are more than ${limits.rowsMax} rows`);
      rows.push({ line, cells: row.cells });
    }
    at = row.end;
    line = row.nextLine;
  }
  return rows;
}

/** By the first line, outside of quotes. */
function separatorOf(text: string): string {
  const plain = (/[^\r\n]+/.exec(text)?.[0] ?? '').replaceAll(/"[^"]*"/g, '');
  return [',', ';', '\t'].find((one) => plain.includes(one)) ?? ',';
}

interface RowReading {
  readonly line: number;
  readonly separator: string;
  readonly limits: CsvLimits;
}

function readRow(text: string, from: number, { line: first, separator, limits }: RowReading) {
  const cells: string[] = [];
  let at = from;
  let line = first;
  for (;;) {
    if (cells.length === limits.columnsMax) throw new CsvFault(line, `a row has more than ${limits.columnsMax} cells`);
    const cell =
      text[skipSpaces(text, at)] === '"'
        ? readQuoted(text, skipSpaces(text, at), line)
        : readPlain(text, at, separator);
    if (cell.value.length > limits.cellCharsMax) {
      throw new CsvFault(line, `a cell has more than ${limits.cellCharsMax} characters`);
    }
    cells.push(cell.value);
    line += cell.lines;
    at = cell.end;
    if (at >= text.length) return { cells, end: at, nextLine: line };
    const char = text[at];
    if (char === separator) at++;
    else if (char === '\r' || char === '\n') {
      return { cells, end: at + (char === '\r' && text[at + 1] === '\n' ? 2 : 1), nextLine: line + 1 };
    } else throw new CsvFault(line, 'something follows a quoted cell: a quote within one is written twice');
  }
}

interface Cell {
  readonly value: string;
  readonly end: number;
  /** Line ends in it. */
  readonly lines: number;
}

function readPlain(text: string, from: number, separator: string): Cell {
  let end = from;
  while (end < text.length && text[end] !== separator && text[end] !== '\r' && text[end] !== '\n') end++;
  return { value: text.slice(from, end).trim(), end, lines: 0 };
}

function readQuoted(text: string, from: number, line: number): Cell {
  let end = from + 1;
  for (;;) {
    const quote = text.indexOf('"', end);
    if (quote < 0) throw new CsvFault(line, 'a quote is never closed');
    if (text[quote + 1] !== '"') {
      const value = text.slice(from + 1, quote).replaceAll('""', '"');
      return { value, end: skipSpaces(text, quote + 1), lines: value.match(/\r\n|\r|\n/g)?.length ?? 0 };
    }
    end = quote + 2;
  }
}

/** Not tabs: they may separate. */
function skipSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ') at++;
  return at;
}
