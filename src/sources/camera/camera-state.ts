import type { ErrorCode } from '../../base/errors.ts';
import { restartDelayMs, type RestartPolicy } from '../../supervise/restart.ts';
import type { CameraState } from './documents.ts';

/** The states of a camera, and when it is tried again. Pure. */

export interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Times are those of the server's clock, Unix ms. */
export interface CameraStatus {
  readonly state: CameraState;
  /** When it came into this state. */
  readonly sinceMs: number;
  /** Of the last failure since it was live. */
  readonly reason: Reason | null;
  /** When it is tried again, where it waits for that. */
  readonly untilMs: number | null;
}

export type CameraEvent =
  | { readonly kind: 'off' }
  /** For a publisher, who may come at any moment. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'connecting' }
  /** The same, and nothing of what was before is of account: its publisher has come, or has gone. */
  | { readonly kind: 'anew' }
  | { readonly kind: 'live' }
  /** Frames came, and come no more; its connection is still there. */
  | { readonly kind: 'stalled'; readonly reason: Reason }
  /** A file was played to its end. */
  | { readonly kind: 'ended' }
  | { readonly kind: 'lost'; readonly reason: Reason; readonly retryInMs: number | undefined }
  /** It is live, and something else about it is wrong; null: no more. */
  | { readonly kind: 'trouble'; readonly reason: Reason | null };

export function firstStatus(nowMs: number): CameraStatus {
  return { state: 'off', sinceMs: nowMs, reason: null, untilMs: null };
}

/** Returns the same status where the event changes nothing. */
export function nextStatus(status: CameraStatus, event: CameraEvent, nowMs: number): CameraStatus {
  switch (event.kind) {
    case 'off':
    case 'ended':
      return into(status, { state: event.kind, reason: null, untilMs: null }, nowMs);
    case 'waiting':
      return into(status, { state: 'waiting', reason: status.reason, untilMs: null }, nowMs);
    case 'anew':
      return into(status, { state: 'connecting', reason: null, untilMs: null }, nowMs);
    case 'connecting':
      return into(status, { state: 'connecting', reason: status.reason, untilMs: null }, nowMs);
    case 'live':
      return into(status, { state: 'live', reason: null, untilMs: null }, nowMs);
    case 'stalled':
      // Whoever is not live has lost more than frames.
      if (status.state !== 'live') return status;
      return into(status, { state: 'stalled', reason: event.reason, untilMs: null }, nowMs);
    case 'lost':
      return event.retryInMs === undefined
        ? into(status, { state: 'failed', reason: event.reason, untilMs: null }, nowMs)
        : into(status, { state: 'backing_off', reason: event.reason, untilMs: nowMs + event.retryInMs }, nowMs);
    case 'trouble':
      return status.state === 'live' ? into(status, { ...status, reason: event.reason }, nowMs) : status;
  }
}

function into(from: CameraStatus, to: Omit<CameraStatus, 'sinceMs'>, nowMs: number): CameraStatus {
  const isSame = from.state === to.state && from.untilMs === to.untilMs && isSameReason(from.reason, to.reason);
  if (isSame) return from;
  return { ...to, sinceMs: from.state === to.state ? from.sinceMs : nowMs };
}

function isSameReason(one: Reason | null, other: Reason | null): boolean {
  return one?.code === other?.code && one?.message === other?.message;
}

/** The first try after a loss comes at once: most losses are over by then. */
const RETRY: RestartPolicy = { atOnce: 1, firstDelayMs: 1_000, delayMaxMs: 30_000, healthyMs: 10_000 };
/** Somebody has to change something at the camera before a try helps, and nobody tells when that is done. */
const RARE: RestartPolicy = { ...RETRY, firstDelayMs: 300_000, delayMaxMs: 300_000 };
const RARE_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CAMERA_FORMAT', 'CAMERA_TOO_LARGE']);
/** Many cameras lock out who comes with a wrong password a few times. */
const CREDENTIALS: RestartPolicy = { ...RARE, atOnce: 0 };
/** What has to change is a setting of the server's, with which the camera begins anew. */
const HOPELESS_CODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CAMERA_FORBIDDEN', 'CAMERA_LIMIT_REACHED']);

function policyOf(code: ErrorCode): RestartPolicy {
  if (code === 'CAMERA_CREDENTIALS') return CREDENTIALS;
  return RARE_CODES.has(code) ? RARE : RETRY;
}

/** After so long in frames a camera's row of failures is over. */
export const HEALTHY_MS = RETRY.healthyMs;

/**
 * Until the next try after failure number `failures` (from 1) of a row; undefined: there is none until its settings change. `random` is 0 to 1, so that
 * cameras that failed together do not come back together. `isPublished`: by a try it waits for a publisher, and what has failed was the last one.
 */
export function retryInMs(code: ErrorCode, failures: number, random: number, isPublished = false): number | undefined {
  if (HOPELESS_CODES.has(code)) return undefined;
  if (isPublished && code !== 'CAMERA_UNREACHABLE') return 0;
  return restartDelayMs(policyOf(code), failures, random);
}

/** Frames come of a live camera, as far as the counts of its process show. */
export class StallWatch {
  #received = 0;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  /** Frames since the connection began. */
  note(received: number, nowMs: number): void {
    if (received === this.#received) return;
    this.#received = received;
    this.#sinceMs = nowMs;
  }

  /** How long there was none. */
  silentMs(nowMs: number): number {
    return nowMs - this.#sinceMs;
  }
}
