import type { Bar } from '../support/document.ts';
import { measureDeliveries, measureFrames } from '../support/server-cost.ts';
import { Server } from '../support/server.ts';
import { SERVER_SETTINGS } from '../telemetry/settings.ts';
import type { Figures } from './analysis.ts';
import type { FenceBench } from './case.ts';

/** What the ledgers cost. */

const COST_MAX = 1.03;

export async function measureCost(bench: FenceBench): Promise<{ own: Figures; bars: Bar[]; remarks: string[] }> {
  const { signal, cacheDir } = bench;
  const preload = new URL('unfenced-preload.ts', import.meta.url).href;
  const options = { command: 'serve', cacheDir, settings: SERVER_SETTINGS, signal } as const;
  await using whole = await Server.launch(options);
  await using bare = await Server.launch({ ...options, nodeArgs: ['--import', preload] });
  const servers = { whole, bare, ratioMax: COST_MAX };
  const delivery = await measureDeliveries(bench, servers);
  const frame = await measureFrames(bench, servers);
  const own = { ...delivery.own, ...frame.own };
  const remarks = ['delivery', 'frame'].map((what) => intervalOf(what, own));
  return { own, bars: [...delivery.bars, ...frame.bars], remarks };
}

function intervalOf(what: string, own: Figures): string {
  const figure = (name: string, digits: number): string => own[`${what}_${name}`]!.toFixed(digits);
  const ratios = `${figure('ratio_quarter', 3)} to ${figure('ratio_three_quarters', 3)}`;
  return `${what}: ${figure('us', 2)} µs with them, ${figure('bare_us', 2)} without; half of the pairs have ratios of ${ratios}`;
}
