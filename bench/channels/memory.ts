import { setTimeout as sleep } from 'node:timers/promises';
import { World, type FleetBench } from '../fleet/world.ts';
import { atMost, type Bar } from '../support/document.ts';
import { toMb } from '../support/numbers.ts';
import { median } from '../support/statistics.ts';

/** What a camera takes with both of its channels open. */

const FULL = { cameras: 10, settleMs: 90_000, samples: 20 } as const;
const QUICK = { cameras: 3, settleMs: 5_000, samples: 5 } as const;
const SAMPLE_MS = 1_000;
const MB_MAX = 40;

export async function measureMemory(bench: FleetBench): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const { quick, signal, say } = bench;
  const plan = quick ? QUICK : FULL;
  const pause = (ms: number) => sleep(ms, undefined, { signal });
  await using world = await World.open(bench, [plan.cameras], { 'fleet.annotated_max': plan.cameras });
  const { viewers, server } = world;
  const { url } = server;
  const measure = async (): Promise<number> => {
    const samples: number[] = [];
    for (let i = 0; i < plan.samples; i++) {
      samples.push(toMb(world.memoryBytes()));
      await pause(SAMPLE_MS);
    }
    return median(samples);
  };
  const before = await measure();
  const entries = world.entries(plan.cameras, 'objects');
  const cameras = [...entries.keys()];
  await world.configure(entries);
  await viewers.call('open', { url, cameras, sessions: 1 });
  await viewers.call('focus', { url, cameras });
  await viewers.call('results', cameras, 120_000);
  await pause(plan.settleMs);
  const after = await measure();
  say(`${before.toFixed(0)} MB without a camera, ${after.toFixed(0)} MB with ${plan.cameras}`);
  const own = { memory_without_mb: before, memory_mb: after, memory_mb_per_camera_in_all: after / plan.cameras };
  return { own, bars: [atMost('memory_mb_per_camera', (after - before) / plan.cameras, MB_MAX)] };
}
