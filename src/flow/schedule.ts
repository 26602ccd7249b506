import type { Priority } from '../base/sample.ts';

/** Which stream's frame a free worker gets, and how many older ones are left out for it. Pure. */

/** One stream that has a frame waiting and may have one more with the workers. */
export interface Waiting {
  /** Of the frame that would be next. */
  readonly priority: Priority;
  /** Unix ms. */
  readonly deadlineMs: number;
  /** Virtual time of the stream, worker milliseconds: rises with each of its frames by what that costs. */
  readonly turn: number;
  /** What its next frame is expected to cost, worker milliseconds; over 0. */
  readonly costMs: number;
  /** Unix ms; since when the stream has frames waiting and gets none of them processed. */
  readonly waitingSinceMs: number;
  /** Does the source send what it was granted, and not more? */
  readonly isWithinGrant: boolean;
  /** The frame will be in time even if it takes long; otherwise only if it takes no longer than most. */
  readonly isSafe: boolean;
}

/** A stream that got nothing for so long goes before others of higher classes, but only with every fifth pick. */
export const STARVED_MS = 1_000;
const RESCUE_EVERY = 4;
/**
 * Streams whose turns are closer than this share of the dearest waiting frame are equals: the earlier deadline goes first. Half, so that
 * a stream that has had its frame is not an equal of one that has not, although no two frames cost exactly the same.
 */
const TURN_WIDTH = 0.5;

/**
 * Index of the stream to serve; -1 when there is none. The highest class goes first; within a class the stream that has had the
 * least of the workers' time (start-time fair queuing: Goyal, Vin and Cheng, 1996); among equals who keeps to the grant, whose frames come at odds with
 * those of a flood that always has one waiting; then a frame that will be in time for certain before one that a worker gets rather
 * than idle; then the earliest deadline. `picksSinceRescue` counts the picks since a starved stream was let through.
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

/** Was this pick one that goes before higher classes? Then the count of picks begins again. */
export function isRescue(picked: Waiting, nowMs: number, picksSinceRescue: number): boolean {
  return picksSinceRescue >= RESCUE_EVERY && isStarved(picked, nowMs);
}

/** Has had nothing for more than a second while frames of it waited. */
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

/** Of its budget a frame may spend this share waiting for older ones of its own stream. */
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
