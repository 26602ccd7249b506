import { toSvg, type PlotLine, type PlotPoint } from '../support/plot.ts';
import { latencyLine, QUEUE_LIMIT_MS, queueLine, rateLine, type Run } from './analysis.ts';
import type { SenderKind } from './senders.ts';
import { capacityOf, type Trace } from './traces.ts';

/** Each trace in three pictures: what the link carried, how long frames waited for it, and when results came. */

const SLICE_MS = 250;

const NAMES: Readonly<Record<SenderKind, string>> = {
  sightline: 'Sightline',
  fixed: 'fixed quality',
  threshold: 'threshold controller',
  fifo: 'drop-oldest queue',
};

/** By the names of their files. `runs`: of one trace, Sightline's first. */
export function tracePlots(runs: readonly Run[]): Record<string, string> {
  const { trace } = runs[0]!;
  const x = { name: 'time', unit: 's', min: 0 };
  const title = `${trace.name} (${trace.what})`;
  const lines = (pointsOf: (run: Run, sliceMs: number) => PlotPoint[]): PlotLine[] =>
    runs.map((run) => ({ name: NAMES[run.kind], points: inSeconds(pointsOf(run, SLICE_MS)) }));
  const limit = { name: 'bar', form: 'limit', points: ends(trace, QUEUE_LIMIT_MS) } as const;
  return {
    [`quality-${trace.name}-rate.svg`]: toSvg({
      title: `${title}: what went through the link`,
      x,
      y: { name: 'rate', unit: 'Mbit/s', min: 0 },
      // Last, so that everybody has the same colour in all three.
      lines: [...lines(rateLine), { name: 'capacity', form: 'step', points: capacityLine(trace) }],
    }),
    [`quality-${trace.name}-queue.svg`]: toSvg({
      title: `${title}: longest wait of a frame in front of the link`,
      x,
      y: { name: 'wait', unit: 'ms', scale: 'log', min: 1 },
      lines: [...lines(queueLine), limit].map(atLeastOne),
    }),
    [`quality-${trace.name}-latency.svg`]: toSvg({
      title: `${title}: longest latency, capture to result`,
      x,
      y: { name: 'latency', unit: 'ms', scale: 'log', min: 50 },
      lines: lines(latencyLine),
    }),
  };
}

/** What is shorter is as good as none, which a logarithmic axis cannot show; nor can it show what never ended. */
function atLeastOne(line: PlotLine): PlotLine {
  return { ...line, points: line.points.map(({ x, y }) => ({ x, y: Math.max(1, y) })) };
}

function capacityLine(trace: Trace): PlotPoint[] {
  const { steps } = capacityOf(trace);
  const last = { fromMs: trace.spanMs, bps: steps.at(-1)!.bps };
  return inSeconds([...steps, last].map(({ fromMs, bps }) => ({ x: fromMs, y: bps / 1e6 })));
}

function ends({ spanMs }: Trace, y: number): PlotPoint[] {
  return inSeconds([0, spanMs].map((x) => ({ x, y })));
}

function inSeconds(points: readonly PlotPoint[]): PlotPoint[] {
  return points.map(({ x, y }) => ({ x: x / 1_000, y }));
}
