import type { Rank } from './objectives.ts';

/** The life of one alert: inactive, pending, warning or critical, and inactive again. Pure. */

export interface AlertTimes {
  /** How long a threshold must be exceeded before it counts. */
  readonly forMs: number;
  /** How long a value must be well below before that counts. */
  readonly clearMs: number;
}

/** Without frames for so long there is no violation any more, ms. */
export const UNKNOWN_MS_MAX = 600_000;

export interface AlertState {
  /** 0: nobody is told. */
  readonly rank: Rank;
  /** Since when the thresholds of a warning and of a critical alert have been exceeded without a break. */
  readonly aboveMs: readonly [warning: number | undefined, critical: number | undefined];
  /** Since when it has been well below them. */
  readonly belowMs: readonly [warning: number | undefined, critical: number | undefined];
  /** Since when nothing has been known. */
  readonly unknownMs: number | undefined;
}

export const INACTIVE: AlertState = {
  rank: 0,
  aboveMs: [undefined, undefined],
  belowMs: [undefined, undefined],
  unknownMs: undefined,
};

/** It is about to become one. */
export function isPending({ rank, aboveMs }: AlertState): boolean {
  return rank === 0 && aboveMs[0] !== undefined;
}

/** The state after a judgement of `nowMs`; `nowMs` never goes back. */
export function nextState(
  state: AlertState,
  { rank: seen, floor }: { readonly rank: Rank | 'unknown'; readonly floor: Rank },
  nowMs: number,
  { forMs, clearMs }: AlertTimes,
): AlertState {
  if (seen === 'unknown') {
    const unknownMs = state.unknownMs ?? nowMs;
    if (nowMs - unknownMs >= UNKNOWN_MS_MAX) return { ...INACTIVE, unknownMs };
    // What is not known breaks a threshold for nobody, and mends nothing.
    return { ...state, aboveMs: INACTIVE.aboveMs, belowMs: INACTIVE.belowMs, unknownMs };
  }
  const aboveMs = since(state.aboveMs, (rank) => seen >= rank, nowMs);
  const belowMs = since(state.belowMs, (rank) => floor < rank, nowMs);
  const lasts = (from: number | undefined, forMs: number): boolean => from !== undefined && nowMs - from >= forMs;
  let { rank } = state;
  for (const higher of [1, 2] as const) if (higher > rank && lasts(aboveMs[higher - 1], forMs)) rank = higher;
  if (rank === state.rank && rank > 0 && lasts(belowMs[rank - 1], clearMs)) rank = lasts(belowMs[0], clearMs) ? 0 : 1;
  return { rank, aboveMs, belowMs, unknownMs: undefined };
}

function since(
  before: AlertState['aboveMs'],
  holds: (rank: 1 | 2) => boolean,
  nowMs: number,
): [number | undefined, number | undefined] {
  return [holds(1) ? (before[0] ?? nowMs) : undefined, holds(2) ? (before[1] ?? nowMs) : undefined];
}
