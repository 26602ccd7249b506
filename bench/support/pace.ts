import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';

/** A camera's beat: one picture each period, beginning at a moment (Unix ms) that several processes can agree on. */
export interface Pace {
  readonly startTimeMs: number;
  readonly periodMs: number;
  /** Which picture to take at each beat. */
  readonly pictures: readonly number[];
}

/** What became of one picture. */
export interface PictureTime {
  readonly picture: number;
  /** From the JPEG in hand to the result in hand. */
  readonly ms: number;
  /** Of these: decoding, scaling, inference and decoding of detections, as who did it tells. */
  readonly workMs: number;
  readonly detections: number;
}

/** Calls `take` at every beat. A beat that comes late does not shift those behind it. */
export async function keepPace(pace: Pace, take: (picture: number) => void | Promise<void>): Promise<void> {
  for (const [i, picture] of pace.pictures.entries()) {
    const waitMs = pace.startTimeMs + i * pace.periodMs - systemClock.now();
    if (waitMs > 0) await sleep(waitMs);
    await take(picture);
  }
}
