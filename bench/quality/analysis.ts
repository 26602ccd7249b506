import type { PlotPoint } from '../support/plot.ts';
import { jainIndex, percentile } from '../support/statistics.ts';
import type { Film, FilmedFrame, Told } from './film.ts';
import type { Passage } from './passages.ts';
import { isResult, type SenderKind } from './senders.ts';
import { capacityOf, phasesOf, type Phase, type Trace } from './traces.ts';

/** From what clients and the link have seen to the figures. Pure. Times are ms since the start of a run. */

export type Figures = Record<string, number>;

/** A frame with its way through the link. */
export interface SentFrame extends FilmedFrame {
  readonly client: number;
  /** From the socket to the bottleneck: behind everything that was sent before. Infinity: it never got there. */
  readonly queueMs: number;
  /** In the bottleneck: its own serialisation. Infinity: not yet. */
  readonly beginMs: number;
  readonly endMs: number;
}

/** What the server tells of its decisions at a moment. */
export interface Poll {
  readonly ms: number;
  /** Since the session began; the most of all clients'. */
  readonly ladderMoves: number;
}

/** One sender on one trace. */
export interface Run {
  readonly trace: Trace;
  readonly kind: SenderKind;
  /** In the order of their sending. */
  readonly frames: readonly SentFrame[];
  readonly films: readonly Film[];
  readonly polls: readonly Poll[];
}

/** Adds to each frame how it fared in the link: the frames of a client are the only binary messages that it sends. */
export function joinPassages(films: readonly Film[], passages: readonly (readonly Passage[])[]): SentFrame[] {
  const frames = films.flatMap((film, client) => {
    const own = passages[client]!.filter(({ isBinary }) => isBinary);
    return film.frames.map((frame, i): SentFrame => {
      const passage = own[i];
      if (passage && passage.payloadBytes !== frame.bytes) {
        throw new Error(`frame ${i} has ${frame.bytes} bytes, but ${passage.payloadBytes} came to the link`);
      }
      const { beginMs, endMs } = passage ?? { beginMs: Infinity, endMs: Infinity };
      return Object.assign({}, frame, { client, queueMs: Math.max(0, beginMs - frame.sentMs), beginMs, endMs });
    });
  });
  return frames.toSorted((a, b) => a.sentMs - b.sentMs);
}

// ── One run ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Capture to result that counts as in time, what the way itself takes left out. */
export const BUDGET_MS = 75;

export function budgetMs({ delayMs }: Pick<Trace, 'delayMs'>): number {
  return BUDGET_MS + 2 * delayMs;
}

/** Of the results that came before the run was over. */
function results({ frames, trace }: Pick<Run, 'frames' | 'trace'>): SentFrame[] {
  return frames.filter((frame) => isResult(frame) && frame.answeredMs <= trace.spanMs);
}

export function runFigures(run: Run): Figures {
  const { trace, frames, films } = run;
  const { spanMs, clients } = trace;
  const perS = (amount: number): number => (amount * 1_000) / spanMs;
  const got = results(run);
  const latencies = got.map(({ capturedMs, answeredMs }) => answeredMs - capturedMs);
  // Without a single result it was waited in vain.
  const latency = (percent: number): number => (latencies.length === 0 ? spanMs : percentile(latencies, percent));
  const queues = frames.map(({ queueMs }) => Math.min(queueMs, spanMs));
  const queue = (percent: number): number => (queues.length === 0 ? 0 : percentile(queues, percent));
  return {
    sent_fps: perS(frames.length),
    sent_mbps: perS(frames.reduce((sum, { bytes }) => sum + bytes, 0) * 8) / 1e6,
    results: got.length,
    results_in_time: latencies.filter((ms) => ms <= budgetMs(trace)).length,
    p50_ms: latency(50),
    p95_ms: latency(95),
    p99_ms: latency(99),
    queue_ms_p50: queue(50),
    queue_ms_p95: queue(95),
    queue_ms_max: queue(100),
    utilisation: utilisation(frames, trace, 0, spanMs),
    quality_mean: mean(frames.map(({ quality }) => quality)),
    width_mean: mean(frames.map(({ width }) => width)),
    dropped: frames.filter((frame) => !isResult(frame) && frame.answeredMs <= spanMs).length,
    held: films.reduce((sum, { held }) => sum + held, 0),
    missed: films.reduce((sum, { missed }) => sum + missed, 0),
    camera_late_ms_p95: Math.max(...films.map(({ lateMsP95 }) => lateMsP95)),
    connections_lost: films.filter(({ isLost }) => isLost).length,
    ...(clients > 1 && {
      jain: jainIndex(films.map((_, client) => got.filter((frame) => frame.client === client).length)),
    }),
  };
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Bits of frames that passed the bottleneck between two moments. */
export function bitsBetween(frames: readonly SentFrame[], fromMs: number, toMs: number): number {
  return frames.reduce((sum, { bytes, beginMs, endMs }) => {
    if (beginMs >= toMs || endMs <= fromMs) return sum;
    // The last one may not have passed whole: what is known of it is that it began.
    if (endMs === Infinity) return sum;
    const shared = Math.min(endMs, toMs) - Math.max(beginMs, fromMs);
    return sum + bytes * 8 * (endMs > beginMs ? shared / (endMs - beginMs) : 1);
  }, 0);
}

/** Of what the link could have carried. */
export function utilisation(frames: readonly SentFrame[], trace: Trace, fromMs: number, toMs: number): number {
  return bitsBetween(frames, fromMs, toMs) / capacityOf(trace).bitsBetween(fromMs, toMs);
}

// ── After a step ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const QUEUE_LIMIT_MS = 50;
/** A queue that has been short for so long is over. */
const HOLD_MS = 1_000;
/** Rates are means over so long. */
const RATE_WINDOW_MS = 500;
const RATE_STEP_MS = 50;

/**
 * From the start of a phase until the last frame that waits 50 ms or longer has its turn, when none does for a second afterwards: a
 * client that sends nothing while its queue drains has not got rid of it. 0 when no frame waits so long.
 */
export function drainMs(frames: readonly SentFrame[], { fromMs, toMs }: Phase): number {
  let untilMs = fromMs;
  for (const { sentMs, queueMs, beginMs } of frames) {
    if (sentMs < fromMs || sentMs >= toMs || queueMs < QUEUE_LIMIT_MS) continue;
    if (sentMs >= untilMs + HOLD_MS) break;
    untilMs = Math.max(untilMs, beginMs);
  }
  return Math.min(untilMs, toMs) - fromMs;
}

/**
 * The least that it can take, whoever decides: a round trip passes until the sender knows of the step, and what it sends meanwhile
 * at the capacity before has to pass at the new one.
 */
export function drainLeastMs({ delayMs }: Pick<Trace, 'delayMs'>, { bps, beforeBps = bps }: Phase): number {
  const unknownMs = 2 * delayMs;
  const passageMs = (unknownMs * beforeBps) / bps;
  return passageMs - unknownMs < QUEUE_LIMIT_MS ? 0 : passageMs;
}

/** From the start of a phase until the mean of half a second is a share of its capacity; all of the phase when it never is. */
export function riseMs(frames: readonly SentFrame[], { fromMs, toMs, bps }: Phase, share: number): number {
  const wanted = (share * bps * RATE_WINDOW_MS) / 1_000;
  for (let endMs = fromMs + RATE_WINDOW_MS; endMs <= toMs; endMs += RATE_STEP_MS) {
    if (bitsBetween(frames, endMs - RATE_WINDOW_MS, endMs) >= wanted) return endMs - fromMs;
  }
  return toMs - fromMs;
}

/** The longest wait of a frame that was sent in a phase. */
export function queueMaxMs(frames: readonly SentFrame[], { fromMs, toMs }: Phase): number {
  const waits = frames.filter(({ sentMs }) => sentMs >= fromMs && sentMs < toMs).map(({ queueMs }) => queueMs);
  return Math.min(toMs - fromMs, Math.max(0, ...waits));
}

// ── Steady state ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const LADDER_WINDOW_MS = 5_000;

type Span = Pick<Phase, 'fromMs' | 'toMs'>;

/** What a run was like when its capacity had not changed for `settleMs`. */
export function steadyFigures({ trace, frames, films, polls }: Run, settleMs: number): Figures {
  const phases = phasesOf(trace)
    .map(({ fromMs, toMs }) => ({ fromMs: fromMs + settleMs, toMs }))
    .filter(({ fromMs, toMs }) => fromMs < toMs);
  const isSteady = (ms: number): boolean => phases.some(({ fromMs, toMs }) => ms >= fromMs && ms < toMs);
  const waits = frames.filter(({ sentMs }) => isSteady(sentMs)).map(({ queueMs }) => Math.min(queueMs, trace.spanMs));
  const told = films[0]!.told;
  // Where the client is asked for the most there is, no link can be filled.
  const bounded = phases.filter((phase) => shareOf(told, phase, 'settings') < 0.5);
  const uses = bounded.map(({ fromMs, toMs }) => utilisation(frames, trace, fromMs, toMs));
  return {
    steady_queue_ms_p50: waits.length === 0 ? trace.spanMs : percentile(waits, 50),
    steady_queue_ms_p95: waits.length === 0 ? trace.spanMs : percentile(waits, 95),
    ...(uses.length > 0 && { steady_utilisation: Math.min(...uses) }),
    steady_phases_left_out: phases.length - bounded.length,
    steady_compute_share: Math.max(0, ...phases.map((phase) => shareOf(told, phase, 'compute'))),
    steady_ladder_moves_5s: Math.max(0, ...phases.map((phase) => movesMax(polls, phase))),
  };
}

/** Of a span, in which the reason of the grant was this. */
function shareOf(told: readonly Told[], { fromMs, toMs }: Span, reason: string): number {
  const ms = told.reduce((sum, { ms, reason: own }, i) => {
    if (own !== reason) return sum;
    return sum + Math.max(0, Math.min(toMs, told[i + 1]?.ms ?? Infinity) - Math.max(fromMs, ms));
  }, 0);
  return ms / (toMs - fromMs);
}

/** The most moves on the ladder within five seconds of a phase, or within all of it where it is shorter. */
function movesMax(polls: readonly Poll[], { fromMs, toMs }: Span): number {
  const own = polls.filter(({ ms }) => ms >= fromMs && ms <= toMs);
  const within = (first: Poll): readonly Poll[] => own.filter(({ ms }) => ms <= first.ms + LADDER_WINDOW_MS);
  return Math.max(0, ...own.map((first) => within(first).at(-1)!.ladderMoves - first.ladderMoves));
}

// ── Lines over time ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Mbit/s that passed the bottleneck in each slice of time. */
export function rateLine({ frames, trace }: Run, sliceMs: number): PlotPoint[] {
  return slices(trace, sliceMs).map((fromMs) => ({
    x: fromMs + sliceMs / 2,
    y: bitsBetween(frames, fromMs, fromMs + sliceMs) / sliceMs / 1_000,
  }));
}

/** The longest wait of the frames that were sent in each slice; a slice without one is a gap. */
export function queueLine({ frames, trace }: Run, sliceMs: number): PlotPoint[] {
  return highest(
    frames,
    trace,
    sliceMs,
    ({ sentMs }) => sentMs,
    ({ queueMs }) => queueMs,
  );
}

/** The longest latency of the results that came in each slice; a slice without one is a gap. */
export function latencyLine(run: Run, sliceMs: number): PlotPoint[] {
  return highest(
    results(run),
    run.trace,
    sliceMs,
    ({ answeredMs }) => answeredMs,
    ({ answeredMs, capturedMs }) => answeredMs - capturedMs,
  );
}

function highest(
  frames: readonly SentFrame[],
  trace: Trace,
  sliceMs: number,
  timeOf: (frame: SentFrame) => number,
  valueOf: (frame: SentFrame) => number,
): PlotPoint[] {
  const bySlice = Map.groupBy(frames, (frame) => Math.floor(timeOf(frame) / sliceMs));
  return slices(trace, sliceMs).map((fromMs, i) => {
    const values = (bySlice.get(i) ?? []).map(valueOf);
    return { x: fromMs + sliceMs / 2, y: values.length === 0 ? Number.NaN : Math.max(...values) };
  });
}

function slices({ spanMs }: Trace, sliceMs: number): number[] {
  return Array.from({ length: Math.floor(spanMs / sliceMs) }, (_, i) => i * sliceMs);
}
