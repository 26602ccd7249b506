import { Helper } from '../support/children.ts';
import type { Bar, BenchContext } from '../support/document.ts';
import { measureFrames, measureTurned } from '../support/server-cost.ts';
import { Server } from '../support/server.ts';
import { SERVER_SETTINGS } from '../telemetry/settings.ts';
import type { WatcherApi } from './watcher-process.ts';

/**
 * What being observed costs. A frame: a server whose frames are all traced, whose alerts are on and that is scraped every three seconds, beside one of which
 * nobody wants to know anything. A delivery: the same server with alerts and scraping, and without; traces are of frames alone.
 */

const COST_MAX = 1.03;

export async function measureObserving(
  context: BenchContext,
  cacheDir: string,
): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const { signal } = context;
  await using watcher = new Helper<WatcherApi>(new URL('watcher-process.ts', import.meta.url), signal);
  const collector = await watcher.call('listen', undefined);
  const options = { command: 'serve', cacheDir, signal } as const;
  await using whole = await Server.launch({
    ...options,
    settings: {
      ...SERVER_SETTINGS,
      'log.level': 'info',
      'alerts.enabled': 'true',
      'store.mode': 'file',
      'store.file': 'observed.db',
      'observe.traces.endpoint': collector,
      'observe.traces.sample_rate': 1,
    },
  });
  await using bare = await Server.launch({
    ...options,
    settings: { ...SERVER_SETTINGS, 'alerts.enabled': 'false' },
  });
  await whole.ready();
  const bench = { ...context, cacheDir };
  const observe = async (isOn: boolean): Promise<void> => {
    await setAlerts(whole, isOn);
    await watcher.call('scrape', isOn ? `${whole.url}/metrics` : '');
  };
  const delivery = await measureTurned(bench, { server: whole, turn: observe, ratioMax: COST_MAX });
  await observe(true);
  const frame = await measureFrames(bench, { whole, bare, ratioMax: COST_MAX });
  const { scrapes, spans } = await watcher.call('seen', undefined);
  // What is not there costs nothing.
  if (scrapes === 0 || spans === 0) throw new Error(`it was not observed: ${scrapes} scrapes, ${spans} spans`);
  return { own: { ...delivery.own, ...frame.own, scrapes, spans }, bars: [...delivery.bars, ...frame.bars] };
}

async function setAlerts({ url }: Server, isOn: boolean): Promise<void> {
  const response = await fetch(`${url}/api/config`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ settings: { 'alerts.enabled': isOn } }),
  });
  if (!response.ok) throw new Error(`alerts could not be turned ${isOn ? 'on' : 'off'}: ${await response.text()}`);
}
