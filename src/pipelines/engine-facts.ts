import type { EngineFacts } from '../flow/engine-control.ts';
import type { EngineStats } from '../inference/engine/types.ts';

/** Of the runs that a model's first ones promise; the rest goes into decoding, scaling and the sockets. */
const EXPECTED_SHARE = 0.75;

/** What the control of the engine goes by. `waitMs`: what frames have waited for it since the last time. */
export function engineFacts(
  { workers, completed, failed, busyMs, neededMs, models }: EngineStats & { readonly neededMs: number },
  waitMs: number,
): Omit<EngineFacts, 'nowMs'> {
  // Of one picture, without decoding it and what a busy machine adds.
  const runMs = models[0]?.batch.costsMs['1'];
  const expectedFps = runMs === undefined ? undefined : (EXPECTED_SHARE * workers * 1000) / runMs;
  return { workers, completed: completed + failed, busyMs, neededMs, waitMs, expectedFps };
}
