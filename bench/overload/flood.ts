import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { Priority } from '../../src/base/sample.ts';
import { Helper } from '../support/children.ts';
import type { Server } from '../support/server.ts';
import { median, percentile } from '../support/statistics.ts';
import { latencyMs, recovery, type Figures } from './analysis.ts';
import { RESULT, type RunLog } from './frames.ts';
import { CALL_MARGIN_MS, LEAD_MS, underLoad, type LoadBench, type LoadOptions, type Ran } from './loads.ts';
import type { Source, SourcesApi } from './sources-process.ts';

/** A flood by clients that ignore their grants, seen by a polite client beside them and by `/health`. */

export const PROBE_FPS = 15;
/** What the probe's p95 may be after a load and still count as normal: times that before it, or so much more. */
export const NORMAL_FACTOR = 1.5;
export const NORMAL_MS = 10;
const PICTURES = 8;
const HEALTH_EVERY_MS = 100;
/** An answer that takes longer is none. */
const HEALTH_TIMEOUT_MS = 5_000;

export interface FloodOptions extends Omit<LoadOptions, 'kind' | 'meanwhile'> {
  /** Of the probe client alone, before the flood and after it. */
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly pictures: readonly Uint8Array[];
}

export async function measureFlood(
  bench: LoadBench,
  server: Server,
  options: FloodOptions,
): Promise<{ readonly ran: Ran; readonly seen: Figures }> {
  const { name, spanMs, drainMs, beforeMs, afterMs, pictures } = options;
  await using probe = new Helper<SourcesApi>(new URL('sources-process.ts', import.meta.url), bench.signal);
  await probe.call('prepare', { pictures: { objects: pictures.slice(0, PICTURES) } });
  const sources: Source[] = [{ fps: PROBE_FPS, phase: 0, pipeline: 'objects', priority: Priority.normal }];
  await probe.call('open', { url: server.url, kind: 'honouring', wishes: sources });
  const watch = (startTimeMs: number, forMs: number): Promise<RunLog> => {
    const run = { startTimeMs, spanMs: forMs, sources, coresMax: 1, drainMs };
    return probe.call('run', run, LEAD_MS + forMs + drainMs + CALL_MARGIN_MS);
  };

  const before = latencies(await watch(systemClock.now() + LEAD_MS, beforeMs), 0, beforeMs);
  if (before.length === 0) throw new Error('the probe client had no result before the flood');
  const normalMs = percentile(before, 95);

  let beside: RunLog | undefined;
  let health: readonly number[] = [];
  const ran = await underLoad(bench, server, {
    ...options,
    kind: 'ignoring',
    meanwhile: async (startTimeMs) => {
      const forMs = spanMs + afterMs;
      [beside, health] = await Promise.all([watch(startTimeMs, forMs), pollHealth(server, startTimeMs, forMs)]);
    },
  });
  await probe.call('close', undefined);
  const during = latencies(beside!, 0, spanMs);
  const limitMs = Math.max(NORMAL_FACTOR * normalMs, normalMs + NORMAL_MS);
  const { latencyMs: recoveryMs, rateMs } = recovery(beside!.frames, spanMs, spanMs + afterMs, limitMs);
  return {
    ran,
    seen: {
      [`${name}_health_ms_max`]: Math.max(...health),
      [`${name}_health_ms_p50`]: median(health),
      [`${name}_health_unanswered`]: health.filter((ms) => ms >= HEALTH_TIMEOUT_MS).length,
      [`${name}_probe_before_p95_ms`]: normalMs,
      [`${name}_probe_p95_ms`]: during.length === 0 ? spanMs : percentile(during, 95),
      [`${name}_probe_fps`]: (during.length * 1_000) / spanMs,
      [`${name}_recovery_ms`]: recoveryMs,
      [`${name}_rate_recovery_ms`]: rateMs,
    },
  };
}

/** Of the results to frames that were shown from `fromMs` on and before `toMs`. */
function latencies({ frames }: RunLog, fromMs: number, toMs: number): number[] {
  return frames.filter(({ fate, shownMs }) => fate === RESULT && shownMs >= fromMs && shownMs < toMs).map(latencyMs);
}

/** Asks at every beat, whether the last answer is there or not; gives how long each answer took, ms. */
async function pollHealth(server: Server, startTimeMs: number, spanMs: number): Promise<number[]> {
  const polls: Promise<number>[] = [];
  for (let ms = 0; ms < spanMs; ms += HEALTH_EVERY_MS) {
    await sleep(Math.max(0, startTimeMs + ms - systemClock.now()));
    polls.push(server.answerMs('/health', HEALTH_TIMEOUT_MS));
  }
  return await Promise.all(polls);
}
