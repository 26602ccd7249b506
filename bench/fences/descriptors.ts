import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import type { Figures } from './analysis.ts';
import { ATTACKER_ADDRESS, launchServer, type FenceBench } from './case.ts';
import { askHealth } from './innocents.ts';
import { Target } from './target.ts';

/** A server that may open fewer files than clients want to have connections. */

export interface DescriptorCase {
  /** Files that the server's process may have open. */
  readonly descriptors: number;
  /** That are tried, all at rest. */
  readonly connections: number;
}

export const DESCRIPTOR_CASES: readonly DescriptorCase[] = [
  { descriptors: 1_024, connections: 1_100 },
  { descriptors: 400, connections: 450 },
];

const OPENING_AT_ONCE = 50;
const HOLD_MS = 3_000;
const PROBES = 10;
const PROBE_MS = 200;

/** `…_failed` of the innocents while all connections are held and after they are gone. */
export async function measureDescriptors(
  bench: FenceBench,
  { descriptors, connections }: DescriptorCase,
): Promise<Figures> {
  const { camera } = bench.innocents;
  await using server = await launchServer(bench, { descriptorsMax: descriptors });
  await server.ready();
  await camera.call('openCamera', server.url);
  const watch = { spanMs: 1_000, drainMs: 3_000 };
  const first = await camera.call('camera', { startTimeMs: systemClock.now(), ...watch });
  const target = new Target({ port: Number(new URL(server.url).port), from: ATTACKER_ADDRESS }, Infinity);
  try {
    for (let opened = 0; opened < connections; opened += OPENING_AT_ONCE) {
      await target.side(Math.min(OPENING_AT_ONCE, connections - opened), async () => void (await target.connect()));
    }
    await sleep(HOLD_MS);
    let failed = await failedProbes(server.url);
    const beside = await camera.call('camera', { startTimeMs: systemClock.now(), ...watch });
    const { connections: made } = target.tally;
    target.close();
    await sleep(HOLD_MS);
    failed += await failedProbes(server.url);
    return {
      connections_made: made,
      ended: server.isGone ? 1 : 0,
      health_failed: failed,
      camera_before_results: first.results,
      camera_results: beside.results,
      camera_failed: beside.results === 0 || beside.faults.length > 0 ? 1 : 0,
    };
  } finally {
    target.close();
    await camera.call('close', undefined);
  }
}

async function failedProbes(url: string): Promise<number> {
  let failed = 0;
  for (let i = 0; i < PROBES; i += 1) {
    failed += (await askHealth(url)).failure === undefined ? 0 : 1;
    await sleep(PROBE_MS);
  }
  return failed;
}
