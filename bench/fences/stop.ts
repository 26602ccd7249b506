import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import type { Config } from '../../src/config/schema.ts';
import { Helper } from '../support/children.ts';
import { atMost, type Bar } from '../support/document.ts';
import type { Figures } from './analysis.ts';
import type { AttackerApi } from './attacker-process.ts';
import { ATTACKER_ADDRESS, launchServer, stopped, type FenceBench } from './case.ts';

/** Whether SIGTERM ends a server that is under attack. */

/** Those that hold what an orderly end waits for: workers, sockets, answers. */
export const STOP_ATTACKS = [
  'long_scans',
  'half_open_upgrades',
  'upgrade_tails',
  'slow_headers',
  'slow_bodies',
  'unread_parameters',
  'unread_events',
];
const BEFORE_MS = 4_000;
/** Longer than a server may take. */
const ATTACK_MS = BEFORE_MS + 10_000;

export async function measureStop(
  bench: FenceBench,
  attack: string,
): Promise<{ readonly own: Figures; readonly bars: readonly Bar[] }> {
  await using attacker = new Helper<AttackerApi>(new URL('attacker-process.ts', import.meta.url), bench.signal);
  await using server = await launchServer(bench);
  await server.ready();
  const { config } = await server.json<{ config: Config }>('/api/config');
  const address = { port: Number(new URL(server.url).port), from: ATTACKER_ADDRESS };
  // Who asks for it is not told: the process ends with the measurement.
  attacker
    .call('run', { attack, startTimeMs: systemClock.now(), spanMs: ATTACK_MS, ...address })
    .catch(() => undefined);
  await sleep(BEFORE_MS);
  const { stopMs } = await stopped(server);
  return { own: { stop_ms: stopMs }, bars: [atMost('stop_ms', stopMs, config.server.shutdown_timeout_ms + 1_000)] };
}
