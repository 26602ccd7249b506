import uPlot from 'uplot';
import { axisText } from './axis.ts';

const LINE_WIDTH_PX = 1.5;
const TICKS = 5;

export interface PlotSeries {
  /** Points. */
  readonly length: number;
  /** Times (Unix s), then the values of each line; null: none at that time. */
  view(): readonly ArrayLike<number | null>[];
}

export interface PlotLine {
  readonly label: string;
  /** Name of a custom property of CSS, such as `--line-1`. */
  readonly colour: string;
  /** The second axis, at the right. */
  readonly right?: boolean;
  readonly isDashed?: boolean;
}

export interface PlotOptions {
  readonly lines: readonly PlotLine[];
  /** How much time it shows, s. */
  readonly spanS: number;
  /** The axes begin at 0, for values that are never below it and matter relative to it. */
  readonly isFromZero?: boolean;
  /** Smallest range of the left and the right axis: data that stand still must not look wild. */
  readonly spanMin: number;
  readonly rightSpanMin?: number;
  readonly decimals: number;
  readonly hasLegend: boolean;
}

/** One plot over the newest seconds of a series, as large as its parent. Drawn on demand, at most once a frame. */
export class LivePlot {
  readonly #parent: HTMLElement;
  readonly #series: PlotSeries;
  readonly #options: PlotOptions;
  #plot: uPlot;

  constructor(parent: HTMLElement, series: PlotSeries, options: PlotOptions) {
    this.#parent = parent;
    this.#series = series;
    this.#options = options;
    this.#plot = this.#build();
    new ResizeObserver(() => this.#resize()).observe(parent);
    if (options.hasLegend) parent.before(legendOf(options.lines));
  }

  /** `nowS`: the right edge, Unix s. */
  draw(nowS: number): void {
    this.#plot.batch(() => {
      this.#plot.setData(this.#series.view() as unknown as uPlot.AlignedData, false);
      this.#plot.setScale('x', { min: nowS - this.#options.spanS, max: nowS });
    });
    this.#parent.dataset['points'] = String(this.#series.length);
  }

  /** Colours were read when the plot was built: after a change of theme it is built again. */
  rebuild(): void {
    this.#plot.destroy();
    this.#plot = this.#build();
  }

  #resize(): void {
    const { clientWidth: width, clientHeight: height } = this.#parent;
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height });
  }

  #build(): uPlot {
    const { lines, spanS, isFromZero = false, spanMin, rightSpanMin = 1, decimals } = this.#options;
    const range = isFromZero ? fromZero : wideEnough;
    const colour = (name: string) => colourOf(this.#parent, name);
    const hasRight = lines.some(({ right }) => right);
    const axis = {
      stroke: colour('--faint'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const valueAxis = (scale: string): uPlot.Axis => ({
      ...axis,
      scale,
      size: 44,
      gap: 4,
      space: 32,
      values: (_, splits, __, ___, increment) => splits.map((value) => axisText(value, increment, decimals)),
    });
    return new uPlot(
      {
        width: this.#parent.clientWidth || 300,
        height: this.#parent.clientHeight,
        pxAlign: false,
        legend: { show: false },
        cursor: { show: false },
        padding: [8, hasRight ? 0 : 12, 0, 0],
        scales: {
          x: { time: false, auto: false },
          y: { range: (_, min, max) => range(min, max, spanMin) },
          right: { range: (_, min, max) => range(min, max, rightSpanMin) },
        },
        axes: [
          {
            ...axis,
            size: 30,
            gap: 7,
            splits: (_, __, ___, max) => ticksUntil(max, spanS),
            values: (_, splits) => splits.map((at) => agoOf(splits.at(-1)! - at)),
          },
          valueAxis('y'),
          ...(hasRight ? [{ ...valueAxis('right'), side: 1 as const, grid: { show: false } }] : []),
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.label,
            scale: line.right ? 'right' : 'y',
            stroke: colour(line.colour),
            width: LINE_WIDTH_PX,
            dash: line.isDashed ? [5, 4] : [],
            points: { show: false },
          })),
        ],
      },
      this.#series.view() as unknown as uPlot.AlignedData,
      this.#parent,
    );
  }
}

/** The range of an axis: the data's with some air, and at least `spanMin` around its middle. */
export function wideEnough(min: number | null, max: number | null, spanMin: number): [number, number] {
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max))
    return [-spanMin / 2, spanMin / 2];
  const span = Math.max(spanMin, 1.16 * (max - min));
  const middle = (min + max) / 2;
  return [middle - span / 2, middle + span / 2];
}

/** The same for an axis that begins at 0. */
function fromZero(_min: number | null, max: number | null, spanMin: number): [number, number] {
  return [0, Math.max(spanMin, max === null || !Number.isFinite(max) ? 0 : 1.08 * max)];
}

/** They stand still on the screen while the data moves past. */
function ticksUntil(maxS: number, spanS: number): number[] {
  return Array.from({ length: TICKS + 1 }, (_, i) => maxS - spanS + (i * spanS) / TICKS);
}

function agoOf(s: number): string {
  return s < 0.5 ? 'now' : `−${Math.round(s)} s`;
}

/** The colour that a custom property has in the present theme; only an element can work out `light-dark()`. */
export function colourOf(parent: HTMLElement, property: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${property})`;
  parent.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function legendOf(lines: readonly PlotLine[]): HTMLElement {
  const list = document.createElement('ul');
  list.className = 'legend';
  list.append(
    ...lines.map(({ label, colour }) => {
      const item = document.createElement('li');
      item.style.setProperty('--colour', `var(${colour})`);
      item.textContent = label;
      return item;
    }),
  );
  return list;
}
