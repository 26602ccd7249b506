import { setTimeout as sleep } from 'node:timers/promises';
import { Camera } from '../support/camera.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { percentile } from '../support/statistics.ts';
import { openSender, type SenderKind } from './senders.ts';
import type { Strip } from './strip.ts';

/** A camera that is filmed with: what it sent, and what became of it. Times are ms since the start of the run. */

export const CAMERA_FPS = 30;
const FRAME_MS = 1_000 / CAMERA_FPS;
/** The shortest sleep of a timer. */
const SLEEP_MS_MIN = 1;

export interface FilmJob {
  /** Of the link to the server. */
  readonly url: string;
  readonly kind: SenderKind;
  readonly clockDistanceMs: number;
  /** Zero of all other times, on the shared clock. */
  readonly startTimeMs: number;
  readonly spanMs: number;
  /** Of the camera's beat, as a share of its period. */
  readonly phase: number;
  /** Capture to result that a plain controller aims at. */
  readonly targetMs: number;
}

/** One frame that was handed to the socket. */
export interface FilmedFrame {
  readonly capturedMs: number;
  readonly sentMs: number;
  /** Of the whole message. */
  readonly bytes: number;
  /** Pixels. */
  readonly width: number;
  readonly quality: number;
  /** `result`, a cause of a loss, an error's code, or `unanswered`. */
  fate: string;
  /** Infinity: never. */
  answeredMs: number;
}

/** What the client was told to send, from a moment on. */
export interface Told {
  readonly ms: number;
  readonly fps: number;
  readonly width: number;
  readonly quality: number;
  /** Infinity: as many as there are. */
  readonly window: number;
  readonly reason: string;
}

export interface Film {
  readonly frames: readonly FilmedFrame[];
  readonly told: readonly Told[];
  /** Pictures of the camera that were not sent. */
  readonly held: number;
  /** Beats that this process came too late for. */
  readonly missed: number;
  readonly lateMsP95: number;
  readonly isLost: boolean;
}

/** Connected at once, filming from the start of the run to its end; answers that come later count for nothing. */
export async function film(job: FilmJob, strip: Strip): Promise<{ film: Film; close: () => void }> {
  const clock = new SharedClock(job.clockDistanceMs);
  const now = (): number => clock.now() - job.startTimeMs;
  const sender = await openSender(job, { clock, strip, now });
  const camera = new Camera(job.phase * FRAME_MS, CAMERA_FPS);
  const lateMs: number[] = [];
  await sleep(Math.max(0, -now()));
  for (let nowMs = now(); nowMs < job.spanMs; nowMs = now()) {
    const late = camera.take(nowMs);
    if (late !== undefined) {
      lateMs.push(late);
      sender.show(nowMs);
    }
    await sleep(Math.max(SLEEP_MS_MIN, Math.min(job.spanMs, camera.nextMs) - now()));
  }
  const { frames, told, held, isOpen } = sender;
  return {
    film: {
      frames: structuredClone(frames),
      told: [...told],
      held,
      missed: camera.missed,
      lateMsP95: lateMs.length === 0 ? job.spanMs : percentile(lateMs, 95),
      isLost: !isOpen,
    },
    close: () => sender.close(),
  };
}
