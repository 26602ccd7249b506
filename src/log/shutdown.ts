import type { Clock } from '../base/clock.ts';
import type { Log } from './log.ts';

/** Runs one step after the other at the end of a program, and logs how long each took. `onStep` hears of each before it begins. */
export async function shutDown(
  log: Log,
  clock: Clock,
  steps: Readonly<Record<string, () => unknown>>,
  onStep?: (step: string) => void,
): Promise<void> {
  const startedMs = clock.now();
  log.write('shutdown_started', {});
  for (const [step, close] of Object.entries(steps)) {
    onStep?.(step);
    const beganMs = clock.now();
    await close();
    log.write('shutdown_step', { step, took_ms: Math.round(clock.now() - beganMs) });
  }
  log.write('server_stopped', { took_ms: Math.round(clock.now() - startedMs) });
}
