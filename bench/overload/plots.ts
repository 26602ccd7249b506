import { toSvg, type PlotLine, type PlotPoint } from '../support/plot.ts';
import { isSent, latencyLine, rates, type Load } from './analysis.ts';

/** The benchmark in two pictures. */

/** Of a point in a line, so that the line can be followed. */
const SLICE_MS = 500;
const SENT_BAR = 1.2;

/** Loads of one factor, from the least to the most, and those at the highest one by who ignores grants and by the peer. */
export interface PlottedLoads {
  readonly budgetMs: number;
  readonly honouring: readonly Load[];
  readonly ignoring: Load;
  readonly fifo: Load;
}

/** By the names of their files. */
export function overloadPlots({ budgetMs, honouring, ignoring, fifo }: PlottedLoads): Record<string, string> {
  const most = honouring.at(-1)!;
  const x = { name: 'time since the load began', unit: 's', min: 0 };
  return {
    'overload-latency.svg': toSvg({
      title: `Capture to result at ${most.factor} times the capacity: p95 of each half second`,
      x,
      y: { name: 'latency', unit: 'ms', scale: 'log', min: 10 },
      lines: [
        latency('Sightline, grants honoured', most),
        latency('Sightline, grants ignored', ignoring),
        latency('first in, first out', fifo),
        bar('budget', most, budgetMs),
      ],
    }),
    'overload-rate.svg': toSvg({
      title: 'What twenty clients send when more is offered than the server can process',
      x,
      y: { name: 'frames sent / capacity', unit: '', min: 0 },
      lines: [
        ...honouring.map((load) => ({ name: `${load.factor}× offered`, points: sentShare(load) })),
        bar('bar, from 1 s on', most, SENT_BAR),
      ],
    }),
  };
}

function latency(name: string, { log, spanMs }: Load): PlotLine {
  return { name, points: inSeconds(latencyLine(log, spanMs, SLICE_MS)) };
}

function sentShare({ log, spanMs, capacityFps }: Load): PlotPoint[] {
  const sentMs = log.frames.filter(isSent).map(({ shownMs }) => shownMs);
  return inSeconds(rates(sentMs, 0, spanMs, SLICE_MS)).map(({ x, y }) => ({ x, y: y / capacityFps }));
}

function bar(name: string, { spanMs }: Load, y: number): PlotLine {
  return { name, form: 'limit', points: [0, spanMs / 1_000].map((x) => ({ x, y })) };
}

function inSeconds(points: readonly PlotPoint[]): PlotPoint[] {
  return points.map(({ x, y }) => ({ x: x / 1_000, y }));
}
