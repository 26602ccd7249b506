import { niceCeiling } from '../../src/load/report-html.ts';

/**
 * Plots of a benchmark as SVG files that need nothing else: light or dark as the reader's system is, on a ground of their
 * own, so that they can be read on any page. Pure: the same plot gives the same text.
 */

export interface PlotPoint {
  readonly x: number;
  /** A number that is not finite, or below `LOG_MIN` on a logarithmic axis, is a gap in the line. */
  readonly y: number;
}

export interface PlotLine {
  readonly name: string;
  /** In the order of x. */
  readonly points: readonly PlotPoint[];
  /**
   * `line` unless told otherwise; `step`: a value holds until the next point, as a grant or a link's capacity does; `limit`: thin
   * and dashed, for a bar, with its two ends as points.
   */
  readonly form?: 'line' | 'step' | 'limit';
}

export interface PlotAxis {
  readonly name: string;
  readonly unit: string;
  /** `linear` unless told otherwise. A logarithmic axis begins at its smallest value from `LOG_MIN` on. */
  readonly scale?: 'linear' | 'log';
  /** Values that the axis reaches in any case; points beyond them widen it. */
  readonly min?: number;
  readonly max?: number;
}

export interface Plot {
  readonly title: string;
  readonly x: PlotAxis;
  readonly y: PlotAxis;
  /** At most `LINES_MAX` that are no limits. */
  readonly lines: readonly PlotLine[];
}

const WIDTH = 800;
const PLOT_HEIGHT = 320;
const LEFT = 64;
const RIGHT = 20;
const TITLE_HEIGHT = 34;
const LEGEND_ROW = 20;
const BOTTOM = 46;
/** Of the legend's letters; generous, since fonts differ. */
const LETTER = 7;
const SAMPLE = 26;
const LEGEND_GAP = 20;
const TICKS = 6;

/** By their place; told apart by people who see colours differently (Okabe and Ito 2008), and brighter on a dark ground. */
const COLOURS = [
  { light: '#0072b2', dark: '#56b4e9' },
  { light: '#d55e00', dark: '#ff9a5a' },
  { light: '#00805c', dark: '#2fd6a0' },
  { light: '#a8487f', dark: '#e89cc5' },
  { light: '#8a6d00', dark: '#f0d24e' },
  { light: '#55606e', dark: '#b6c2cf' },
] as const;

export const LINES_MAX = COLOURS.length;
/** What is smaller is as good as nothing, which a logarithmic axis cannot show. */
export const LOG_MIN = 1e-9;

const STYLE = `
svg { --ground: #ffffff; --text: #1c1d1f; --faint: #5d6268; --grid: #e2e2de; --limit: #b3261e;
  ${COLOURS.map(({ light }, i) => `--c${i}: ${light};`).join(' ')} }
@media (prefers-color-scheme: dark) { svg { --ground: #16181b; --text: #ececea; --faint: #a2a7ad; --grid: #34373b; --limit: #f2877e;
  ${COLOURS.map(({ dark }, i) => `--c${i}: ${dark};`).join(' ')} } }
.ground { fill: var(--ground); } .grid { stroke: var(--grid); } text { fill: var(--faint); font: 12px system-ui, sans-serif; }
.title { fill: var(--text); font-size: 14px; font-weight: 600; } .name { fill: var(--text); }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.limit { fill: none; stroke: var(--limit); stroke-width: 1.2; stroke-dasharray: 5 4; }
${COLOURS.map((_, i) => `.c${i} { stroke: var(--c${i}); }`).join(' ')}`;

/** Throws RangeError for more lines than there are colours, and for a plot without a single point. */
export function toSvg({ title, x, y, lines }: Plot): string {
  if (lines.filter(({ form }) => form !== 'limit').length > LINES_MAX) {
    throw new RangeError(`a plot has at most ${LINES_MAX} lines`);
  }
  const drawn = lines.map((line, i): DrawnLine => ({
    ...line,
    form: line.form ?? 'line',
    style: line.form === 'limit' ? 'limit' : `line c${lines.slice(0, i).filter(({ form }) => form !== 'limit').length}`,
  }));
  const all = lines.flatMap(({ points }) => points);
  const top = TITLE_HEIGHT + legendRows(drawn) * LEGEND_ROW + 10;
  const bottom = top + PLOT_HEIGHT;
  const across = new Scale(
    x,
    all.map((point) => point.x),
    LEFT,
    WIDTH - RIGHT,
  );
  const up = new Scale(
    y,
    all.map((point) => point.y),
    bottom,
    top,
  );
  const height = bottom + BOTTOM;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${STYLE}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}" rx="8"/>`,
    `<text class="title" x="16" y="24">${escaped(title)}</text>`,
    ...legend(drawn),
    ...up.ticks.map(
      (value) =>
        `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${up.place(value)}" y2="${up.place(value)}"/>` +
        `<text x="${LEFT - 8}" y="${Number(up.place(value)) + 4}" text-anchor="end">${inWords(value)}</text>`,
    ),
    ...across.ticks.map(
      (value) =>
        `<line class="grid" x1="${across.place(value)}" x2="${across.place(value)}" y1="${bottom}" y2="${bottom + 5}"/>` +
        `<text x="${across.place(value)}" y="${bottom + 18}" text-anchor="middle">${inWords(value)}</text>`,
    ),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${bottom + 38}" text-anchor="middle">${escaped(label(x))}</text>`,
    `<text transform="translate(16 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(label(y))}</text>`,
    ...drawn.map((line) => `<path class="${line.style}" d="${pathOf(line, across, up)}"/>`),
    '</svg>',
    '',
  ].join('\n');
}

interface DrawnLine extends PlotLine {
  readonly form: NonNullable<PlotLine['form']>;
  /** Classes of the style sheet. */
  readonly style: string;
}

// ── Axes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** From values to places in the picture, both ends included. */
class Scale {
  readonly ticks: readonly number[];
  readonly #isLog: boolean;
  readonly #from: number;
  readonly #to: number;
  readonly #start: number;
  readonly #end: number;

  constructor(axis: PlotAxis, values: readonly number[], start: number, end: number) {
    this.#isLog = axis.scale === 'log';
    this.#start = start;
    this.#end = end;
    const given = [axis.min, axis.max].filter((value) => value !== undefined);
    const shown = [...values, ...given].filter((value) => this.shows(value));
    if (shown.length === 0) throw new RangeError(`nothing to plot over ${axis.name}`);
    const [low, high] = shown.reduce(
      ([a, b], value) => [Math.min(a, value), Math.max(b, value)],
      [Infinity, -Infinity],
    );
    this.ticks = this.#isLog ? decades(low, high) : steps(low, high);
    this.#from = Math.min(low, this.ticks[0] ?? low);
    this.#to = Math.max(high, this.ticks.at(-1) ?? high);
  }

  shows(value: number): boolean {
    return Number.isFinite(value) && (!this.#isLog || value >= LOG_MIN);
  }

  /** In pixels, with a digit behind the point: a file that people may read. */
  place(value: number): string {
    const [from, to, at] = this.#isLog
      ? [Math.log10(this.#from), Math.log10(this.#to), Math.log10(value)]
      : [this.#from, this.#to, value];
    const share = to === from ? 0.5 : (at - from) / (to - from);
    return (this.#start + share * (this.#end - this.#start)).toFixed(1);
  }
}

/** Round numbers that enclose both ends, a handful of them. */
function steps(low: number, high: number): number[] {
  const step = niceCeiling(Math.max(high - low, Math.abs(high) * 1e-9, 1e-9) / TICKS);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

/** 1, 2 and 5 times powers of ten that enclose both ends; powers alone where that would be too many. */
function decades(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low) + 1e-9);
  const last = Math.ceil(Math.log10(high) - 1e-9);
  const powers = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
  if (powers.length > 4) return powers;
  const fine = powers.flatMap((power) => [power, 2 * power, 5 * power]);
  const from = fine.findLastIndex((value) => value <= low * (1 + 1e-9));
  const to = fine.findIndex((value) => value >= high * (1 - 1e-9));
  return fine.slice(from, to + 1);
}

function label({ name, unit }: PlotAxis): string {
  return unit === '' ? name : `${name}, ${unit}`;
}

function inWords(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString('en-US', { maximumSignificantDigits: 6 });
}

// ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function pathOf({ points, form }: DrawnLine, across: Scale, up: Scale): string {
  let path = '';
  let isDown = false;
  for (const { x, y } of points) {
    if (!across.shows(x) || !up.shows(y)) {
      isDown = false;
      continue;
    }
    const [left, top] = [across.place(x), up.place(y)];
    if (!isDown) path += `M${left} ${top}`;
    else path += form === 'step' ? `H${left}V${top}` : `L${left} ${top}`;
    isDown = true;
  }
  return path;
}

// ── Legend ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

function legend(lines: readonly DrawnLine[]): string[] {
  return legendPlaces(lines).map(({ line, x, row }) => {
    const y = TITLE_HEIGHT + row * LEGEND_ROW + 12;
    return (
      `<path class="${line.style}" d="M${x} ${y - 4}H${x + SAMPLE - 6}"/>` +
      `<text class="name" x="${x + SAMPLE}" y="${y}">${escaped(line.name)}</text>`
    );
  });
}

function legendRows(lines: readonly DrawnLine[]): number {
  return (legendPlaces(lines).at(-1)?.row ?? -1) + 1;
}

/** Side by side, in as many rows as it takes. */
function legendPlaces(lines: readonly DrawnLine[]): { line: DrawnLine; x: number; row: number }[] {
  let x = 16;
  let row = 0;
  return lines.map((line) => {
    const width = SAMPLE + line.name.length * LETTER;
    if (x > 16 && x + width > WIDTH - RIGHT) {
      x = 16;
      row += 1;
    }
    const place = { line, x, row };
    x += width + LEGEND_GAP;
    return place;
  });
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
