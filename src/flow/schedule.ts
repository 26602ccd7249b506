import type { Priority } from '../base/sample.ts';

/** Which stream's frame a free worker gets, and how many older ones are left out for it. Pure. */

/** One stream that has a frame waiting and may have one more with the workers. */
export interface Waiting {
  /** Class of the next frame. */
  readonly priority: Priority;
  /** Unix ms. */
  readonly deadlineMs: number;
  /** Virtual time of the stream, worker milliseconds: rises with each of its frames by the frame's cost. */
  readonly turn: number;
  /** Expected cost of its next frame, worker milliseconds; over 0. */
  readonly costMs: number;
  /** Since when the stream has had frames waiting and none processed, Unix ms. */
  readonly waitingSinceMs: number;
  /** Does the source keep to its grant? */
  readonly isWithinGrant: boolean;
  /** The frame will be in time even if it takes long; otherwise only if it takes no longer than most. */
  readonly isSafe: boolean;
}

/** A stream that got nothing for this long goes before others of higher classes, but only with every fifth pick. */
export const STARVED_MS = 1_000;
const RESCUE_EVERY = 4;
/**
 * Streams whose turns are closer than this share of the dearest waiting frame are equals: the earlier deadline goes first. Half, so that
 * a stream that has had its frame is not an equal of one that has not, although no two frames cost exactly the same.
 */
const TURN_WIDTH = 0.5;

/**
 * Index of the stream to serve; -1 when there is none. The highest class goes first; within a class the stream that has used the
 * least of the workers' time (start-time fair queuing: Goyal, Vin and Cheng, 1996); among equals one that keeps to its grant, whose frames
 * come at odds with
 * those of a flood that always has one waiting; then a frame that will certainly be in time before one that only keeps a worker from
 * idling; then the earliest deadline. `picksSinceRescue` counts the picks since a starved stream was let through.
 */
export function pickNext(streams: readonly Waiting[], nowMs: number, picksSinceRescue: number): number {
  if (picksSinceRescue >= RESCUE_EVERY) {
    const starved = longestStarved(streams, nowMs);
    if (starved >= 0) return starved;
  }
  let priority = -1;
  let least = Infinity;
  let dearestMs = 0;
  for (const stream of streams) {
    if (stream.priority < priority) continue;
    if (stream.priority > priority) {
      least = Infinity;
      dearestMs = 0;
    }
    priority = stream.priority;
    least = Math.min(least, stream.turn);
    dearestMs = Math.max(dearestMs, stream.costMs);
  }
  let best = -1;
  for (let i = 0; i < streams.length; i++) {
    const stream = streams[i]!;
    if (stream.priority !== priority) continue;
    if (stream.turn > least && stream.turn >= least + TURN_WIDTH * dearestMs) continue;
    if (best < 0 || goesBefore(stream, streams[best]!)) best = i;
  }
  return best;
}

function goesBefore(one: Waiting, other: Waiting): boolean {
  if (one.isWithinGrant !== other.isWithinGrant) return one.isWithinGrant;
  if (one.isSafe !== other.isSafe) return one.isSafe;
  return one.deadlineMs < other.deadlineMs;
}

/** Does this pick go before higher classes? Then the count of picks begins again. */
export function isRescue(picked: Waiting, nowMs: number, picksSinceRescue: number): boolean {
  return picksSinceRescue >= RESCUE_EVERY && isStarved(picked, nowMs);
}

/** Nothing was processed for more than a second while frames of it waited. */
export function isStarved(stream: Waiting, nowMs: number): boolean {
  return nowMs - stream.waitingSinceMs > STARVED_MS;
}

function longestStarved(streams: readonly Waiting[], nowMs: number): number {
  let longest = -1;
  for (let i = 0; i < streams.length; i++) {
    if (!isStarved(streams[i]!, nowMs)) continue;
    if (longest < 0 || streams[i]!.waitingSinceMs < streams[longest]!.waitingSinceMs) longest = i;
  }
  return longest;
}

/** Share of its budget that a frame may wait for older ones of its own stream. */
const QUEUE_SHARE = 0.25;

/**
 * How many of a stream's waiting frames are superseded: left out, oldest first, because the newest one would otherwise wait too
 * long behind them. `intervalMs` is the time between two frames of the stream that get a worker; 0 while it is not behind.
 */
export function countSuperseded(queued: number, intervalMs: number, budgetMs: number): number {
  if (intervalMs <= 0 || budgetMs === Infinity) return 0;
  const affordable = Math.floor((QUEUE_SHARE * Math.max(0, budgetMs)) / intervalMs);
  return Math.max(0, queued - 1 - affordable);
}
