import { SightlineError } from '../../base/errors.ts';
import { ENTRY_SECTIONS, nameFault, type ConfigKey } from '../../config/keys.ts';
import { article } from '../../config/load.ts';
import { cameraEntry, CAMERAS_MAX } from '../../config/schema.ts';
import { suggest } from '../../config/suggest.ts';
import { redactAddress } from '../../log/redact.ts';
import { CsvFault, readCsv, type CsvRow } from './csv.ts';

/** Cameras as a table: a line for each, and a first one with the names of the columns. */

export const CAMERA_TABLE =
  'id,url,class,pipelines\nnorth-gate,rtsp://10.0.0.7/live,high,objects\nyard,rtsp://10.0.0.8/live,,\n';

/** As it comes in JSON. */
export type CameraRow = Readonly<Record<string, unknown>> & { readonly id: string };

const SECTION = ENTRY_SECTIONS.get('cameras')!;
const ID = 'id';
const COLUMNS = [ID, ...SECTION.keys.keys()];
const CELL_CHARS_MAX = 4_096;
const LIMITS = { rowsMax: CAMERAS_MAX + 1, columnsMax: 64, cellCharsMax: CELL_CHARS_MAX };
const FAULTS_TOLD = 5;
const CELL_TOLD_CHARS = 60;
/** In place of an empty cell, which stands for the default. */
const NONE = 'none';

interface Column {
  readonly name: string;
  /** Undefined: the column `id`. */
  readonly key: ConfigKey | undefined;
}

/** What is wrong in a table, all of it. */
class Faults {
  readonly #told: string[] = [];
  #more = 0;

  add(line: number, column: string, fault: string): void {
    if (this.#told.length < FAULTS_TOLD) this.#told.push(`line ${line}, column ${column}: ${fault}`);
    else this.#more++;
  }

  throwIfAny(): void {
    if (this.#told.length === 0) return;
    throw bad([...this.#told, ...(this.#more > 0 ? [`and ${this.#more} more`] : [])].join('; '));
  }
}

/** The cameras of a table. Throws BODY_BAD: all faults at once, each with its line and column, none of them with what may be secret. */
export function readCameraTable(text: string): CameraRow[] {
  const [header, ...rows] = rowsOf(text);
  if (!header) throw bad('the table is empty: its first line has the names of the columns, such as id,url,class');
  const columns = columnsOf(header);
  if (rows.length === 0) throw bad('the table has no camera below its first line');
  const faults = new Faults();
  const lines = new Map<string, number>();
  const cameras = rows.map((row) => readRow(row, columns, faults));
  for (const [i, { id }] of cameras.entries()) {
    const { line } = rows[i]!;
    const earlier = lines.get(id);
    if (earlier !== undefined && id !== '') faults.add(line, ID, `${shown(id)} is on line ${earlier} already`);
    else lines.set(id, line);
  }
  faults.throwIfAny();
  return cameras;
}

function rowsOf(text: string): CsvRow[] {
  try {
    return readCsv(text, LIMITS);
  } catch (thrown) {
    if (thrown instanceof CsvFault) throw bad(`line ${thrown.line}: ${thrown.message}`);
    throw thrown;
  }
}

function columnsOf({ line, cells }: CsvRow): readonly (Column | undefined)[] {
  const names = cells.map((cell) => cell.toLowerCase());
  const faults = new Faults();
  const columns = names.map((name, i) => {
    // A line that ends in separators.
    if (name === '') return undefined;
    const meant = suggest(name, COLUMNS);
    if (!COLUMNS.includes(name)) {
      faults.add(
        line,
        String(i + 1),
        `there is no column ${shown(name)}${meant ? `, did you mean ${meant}?` : `: they are ${COLUMNS.join(', ')}`}`,
      );
    } else if (names.indexOf(name) < i) faults.add(line, String(i + 1), `there is a column ${name} already`);
    return { name, key: SECTION.keys.get(name) };
  });
  faults.throwIfAny();
  for (const needed of [ID, 'url']) {
    if (!names.includes(needed))
      throw bad(`line ${line}: there is no column ${needed}: the first line has the names of the columns`);
  }
  return columns;
}

function readRow({ line, cells }: CsvRow, columns: readonly (Column | undefined)[], faults: Faults): CameraRow {
  const values: [string, unknown][] = [];
  for (const [i, cell] of cells.entries()) {
    const column = columns[i];
    if (column) readCell(cell, column, values, (fault) => faults.add(line, column.name, fault));
    else if (cell !== '') faults.add(line, String(i + 1), 'this column has no name in the first line');
  }
  for (const needed of [ID, 'url']) {
    if (!values.some(([name]) => name === needed)) faults.add(line, needed, 'it is empty');
  }
  return { ...(Object.fromEntries(values) as Record<string, unknown>), id: String(new Map(values).get(ID) ?? '') };
}

function readCell(
  cell: string,
  { name, key }: Column,
  values: [string, unknown][],
  tell: (fault: string) => void,
): void {
  if (cell === '') return;
  if (key === undefined) {
    const fault = nameFault(SECTION, cell);
    if (fault !== undefined) tell(`${shown(cell)}: ${fault}`);
    values.push([name, cell]);
    return;
  }
  const value = valueOf(cell, key);
  values.push([name, value]);
  const { error } = cameraEntry.shape[name as keyof typeof cameraEntry.shape].safeParse(value);
  if (error === undefined) return;
  const own = error.issues.find(({ code }) => code === 'custom')?.message;
  // An address may have a password in it, also one that is mistyped.
  tell(own ?? `it must be ${article(key.allowed)}${key.isAddress ? '' : `, not ${shown(cell)}`}`);
}

function valueOf(cell: string, { kind, name }: ConfigKey): unknown {
  switch (kind) {
    case 'boolean': {
      const word = cell.toLowerCase();
      if (['true', '1', 'yes', 'on'].includes(word)) return true;
      return ['false', '0', 'no', 'off'].includes(word) ? false : cell;
    }
    case 'number':
      return Number.isNaN(Number(cell)) ? cell : Number(cell);
    case 'list':
      if (cell === NONE) return [];
      return cell
        .split(name === 'masks' ? /[;|]/ : /[\s,;+|]+/)
        .map((item) => item.trim())
        .filter((item) => item !== '');
    default:
      return cell;
  }
}

/** A cell may have slipped into a wrong column. */
function shown(cell: string): string {
  const text = redactAddress(cell);
  return JSON.stringify(text.length > CELL_TOLD_CHARS ? `${text.slice(0, CELL_TOLD_CHARS)}…` : text);
}

function bad(message: string): SightlineError {
  return new SightlineError('BODY_BAD', message);
}
