import type { GrantFields } from 'sightline/client';
import { GrantLog } from './grant-log.ts';
import type { LivePlot, PlotSeries } from './plots.ts';
import type { LiveFigures } from './stats.ts';
import * as view from './view.ts';

const SPAN_S = 60;
/** How often `sample` is called, more or less. */
const SAMPLES_PER_S = 4;
const POINTS_MAX = SPAN_S * SAMPLES_PER_S * 1.2;

/** The grants and their results during the last minute, with the reason of every change. */
export class QualityHistory {
  readonly #log = new GrantLog();
  readonly #latency = new RecentPoints(3);
  readonly #grant = new RecentPoints(2);
  #plots: readonly LivePlot[] = [];

  /** The plots come later than the page: they are most of its code. */
  async loadPlots(): Promise<void> {
    const { LivePlot } = await import('./plots.ts');
    const common = { spanS: SPAN_S, isFromZero: true, decimals: 0, hasLegend: true } as const;
    this.#plots = [
      new LivePlot(view.element('plot-latency'), this.#latency, {
        ...common,
        lines: [
          { label: '95 %', colour: '--line-2' },
          { label: 'typical', colour: '--line-1' },
          { label: 'budget', colour: '--faint', isDashed: true },
        ],
        spanMin: 100,
      }),
      new LivePlot(view.element('plot-grant'), this.#grant, {
        ...common,
        lines: [
          { label: 'frames/s', colour: '--line-1' },
          { label: 'quality', colour: '--line-3', right: true },
        ],
        spanMin: 30,
        rightSpanMin: 100,
      }),
    ];
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      for (const plot of this.#plots) plot.rebuild();
    });
  }

  /** Another session. Earlier points stay in the plots, which show time as it passes. */
  begin(): void {
    this.#log.begin();
  }

  /** A grant has come. */
  add(nowMs: number, grant: GrantFields): void {
    this.#log.add(nowMs, grant);
    view.showChanges(this.#log.changes);
  }

  /** One point in every plot; without a grant there is none, but time passes. */
  sample(nowMs: number, grant: GrantFields | undefined, { typical, spread }: LiveFigures, budgetMs: number): void {
    // The budget was the same in the past.
    if (this.#latency.length === 0) this.#latency.push(nowMs - SPAN_S * 1000, [undefined, undefined, budgetMs]);
    this.#latency.push(nowMs, [typical && spread?.total.p95Ms, typical?.totalMs, budgetMs]);
    this.#grant.push(nowMs, [grant?.rate_fps, grant?.quality]);
    for (const plot of this.#plots) plot.draw(nowMs / 1000);
  }
}

/** The newest points of some lines. */
class RecentPoints implements PlotSeries {
  readonly #columns: (number | null)[][];

  constructor(lines: number) {
    this.#columns = Array.from({ length: lines + 1 }, () => []);
  }

  get length(): number {
    return this.#columns[0]!.length;
  }

  push(timeMs: number, values: readonly (number | undefined)[]): void {
    const point = [timeMs / 1000, ...values];
    for (const [i, column] of this.#columns.entries()) {
      column.push(point[i] ?? null);
      if (column.length > POINTS_MAX) column.shift();
    }
  }

  view(): readonly (number | null)[][] {
    return this.#columns;
  }
}
