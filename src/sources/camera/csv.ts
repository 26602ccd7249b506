import { CsvError, parse } from 'csv-parse/sync';

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

const AFTER_QUOTE = 'something follows a quoted cell: a quote within one is written twice';
const FAULTS: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: 'a quote is never closed',
  CSV_INVALID_CLOSING_QUOTE: AFTER_QUOTE,
  CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE: AFTER_QUOTE,
};

/**
 * The rows of a text, without those that are empty. Cells are separated by commas, or by semicolons where the first line has them and no comma, as
 * spreadsheets do it in much of Europe, or by tabs likewise. Lines end by LF, CRLF or CR. Spaces around a cell that is not quoted are no part
 * of it. Throws CsvFault.
 */
export function readCsv(text: string, { rowsMax, columnsMax, cellCharsMax }: CsvLimits): CsvRow[] {
  const rows: CsvRow[] = [];
  // The library's own count takes CRLF in a cell for two.
  let next = 1;
  const take = ({ record: cells, raw }: { record: string[]; raw: string }): null => {
    const line = next;
    next += lineEndsIn(raw);
    if (cells.length > columnsMax) throw new CsvFault(line, `a row has more than ${columnsMax} cells`);
    if (cells.some(({ length }) => length > cellCharsMax)) {
      throw new CsvFault(line, `a cell has more than ${cellCharsMax} characters`);
    }
    if (cells.every((cell) => cell === '')) return null;
    if (rows.length === rowsMax) throw new CsvFault(line, `there are more than ${rowsMax} rows`);
    rows.push({ line, cells });
    return null;
  };
  try {
    parse(text, {
      bom: true,
      delimiter: separatorOf(text.slice(0, columnsMax * cellCharsMax)),
      record_delimiter: ['\r\n', '\n', '\r'],
      relax_column_count: true,
      relax_quotes: true,
      trim: true,
      raw: true,
      onRecord: take as never,
    });
  } catch (thrown) {
    if (!(thrown instanceof CsvError)) throw thrown;
    throw new CsvFault(next, FAULTS[thrown.code] ?? thrown.message);
  }
  return rows;
}

/** By the first line, outside of quotes. */
function separatorOf(text: string): string {
  const plain = (/[^\r\n]+/.exec(text)?.[0] ?? '').replaceAll(/"[^"]*"/g, '');
  return [',', ';', '\t'].find((one) => plain.includes(one)) ?? ',';
}

function lineEndsIn(text: string): number {
  return text.match(/\r\n|\r|\n/g)?.length ?? 0;
}
