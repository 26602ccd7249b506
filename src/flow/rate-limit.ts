/**
 * How fast a client may publish, and what happens to clients that are faster. Pure: state and `nowMs` in, state and verdict out.
 *
 * Two token buckets (messages and bytes), each of which holds one second of the rate. A client that overdraws one gets a
 * *strike*, at most one a second; good behaviour takes strikes back. The more strikes, the harder the penalty.
 */

export interface RateSettings {
  readonly messagesPerS: number;
  readonly bytesPerS: number;
  readonly muteMs: number;
}

/** Ordered from mild to hard. `slow`: the server does not read the socket until the bucket has filled up again. */
const PENALTIES = ['none', 'warn', 'slow', 'mute', 'disconnect'] as const;
export type Penalty = (typeof PENALTIES)[number];

export interface RateState {
  /** Fill of the buckets at `atMs`; below zero after an overdraft. */
  readonly messages: number;
  readonly bytes: number;
  readonly atMs: number;
  readonly strikes: number;
  readonly lastStrikeMs: number;
  readonly mutedUntilMs: number;
}

export interface RateVerdict {
  readonly state: RateState;
  /** The messages may be published. */
  readonly allowed: boolean;
  /** The penalty to apply and report now; `none` also while an earlier penalty is still in force. */
  readonly penalty: Penalty;
  /** For `slow`: how long not to read the socket. */
  readonly pauseMs: number;
}

export const STRIKES_FOR = { warn: 1, slow: 2, mute: 12, disconnect: 16 } as const;
const STRIKE_INTERVAL_MS = 1_000;
/** Time without a strike that takes one back. */
const FORGIVE_MS = 5_000;
const PAUSE_MAX_MS = 1_000;

export function freshRate(settings: RateSettings, nowMs: number): RateState {
  return {
    messages: settings.messagesPerS,
    bytes: settings.bytesPerS,
    atMs: nowMs,
    strikes: 0,
    lastStrikeMs: -Infinity,
    mutedUntilMs: -Infinity,
  };
}

/** `messages` and `bytes` were received at `nowMs`. A clock that steps back stands still. */
export function judgeRate(
  before: RateState,
  messages: number,
  bytes: number,
  nowMs: number,
  settings: RateSettings,
): RateVerdict {
  const now = Math.max(nowMs, before.atMs);
  const state = drained(before, messages, bytes, now, settings);
  const isMuted = now < state.mutedUntilMs;
  const isOver = state.messages < 0 || state.bytes < 0;
  if (!isOver || now - state.lastStrikeMs < STRIKE_INTERVAL_MS) {
    return { state, allowed: !isMuted, penalty: 'none', pauseMs: 0 };
  }
  const strikes = state.strikes + 1;
  const penalty = penaltyFor(strikes);
  const struck = {
    ...state,
    strikes,
    lastStrikeMs: now,
    mutedUntilMs: penalty === 'mute' ? now + settings.muteMs : state.mutedUntilMs,
  };
  return {
    state: struck,
    allowed: !isMuted && (penalty === 'warn' || penalty === 'slow'),
    penalty,
    pauseMs: penalty === 'slow' ? pauseFor(struck, settings) : 0,
  };
}

/** The buckets have filled up since, and so much was taken out. */
function drained(
  before: RateState,
  messages: number,
  bytes: number,
  now: number,
  { messagesPerS, bytesPerS }: RateSettings,
): RateState {
  const elapsedS = (now - before.atMs) / 1000;
  const forgiven = before.strikes > 0 ? Math.floor((now - before.lastStrikeMs) / FORGIVE_MS) : 0;
  return {
    messages: Math.min(messagesPerS, before.messages + elapsedS * messagesPerS) - messages,
    bytes: Math.min(bytesPerS, before.bytes + elapsedS * bytesPerS) - bytes,
    atMs: now,
    strikes: Math.max(0, before.strikes - forgiven),
    lastStrikeMs: before.lastStrikeMs + forgiven * FORGIVE_MS,
    mutedUntilMs: before.mutedUntilMs,
  };
}

function penaltyFor(strikes: number): Penalty {
  if (strikes >= STRIKES_FOR.disconnect) return 'disconnect';
  if (strikes >= STRIKES_FOR.mute) return 'mute';
  return strikes >= STRIKES_FOR.slow ? 'slow' : 'warn';
}

/** Until half of a second's allowance has filled up again. */
function pauseFor({ messages, bytes }: RateState, { messagesPerS, bytesPerS }: RateSettings): number {
  const forMessages = (messagesPerS / 2 - messages) / messagesPerS;
  const forBytes = (bytesPerS / 2 - bytes) / bytesPerS;
  return Math.min(PAUSE_MAX_MS, Math.max(forMessages, forBytes) * 1000);
}
