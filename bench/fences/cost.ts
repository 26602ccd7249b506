import type { Bar } from '../support/document.ts';
import { measureDeliveries, measureFrames } from '../support/server-cost.ts';
import { Server } from '../support/server.ts';
import { SERVER_SETTINGS } from '../telemetry/settings.ts';
import type { Figures } from './analysis.ts';
import type { FenceBench } from './case.ts';

/** What the ledgers cost. */

const COST_MAX = 1.03;

export async function measureCost(bench: FenceBench): Promise<{ own: Figures; bars: Bar[] }> {
  const { signal, cacheDir } = bench;
  const preload = new URL('unfenced-preload.ts', import.meta.url).href;
  const options = { command: 'serve', cacheDir, settings: SERVER_SETTINGS, signal } as const;
  await using whole = await Server.launch(options);
  await using bare = await Server.launch({ ...options, nodeArgs: ['--import', preload] });
  const servers = { whole, bare, ratioMax: COST_MAX };
  const delivery = await measureDeliveries(bench, servers);
  const frame = await measureFrames(bench, servers);
  return { own: { ...delivery.own, ...frame.own }, bars: [...delivery.bars, ...frame.bars] };
}
