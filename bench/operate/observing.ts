import { Helper } from '../support/children.ts';
import type { Bar, BenchContext } from '../support/document.ts';
import { measureServers } from '../support/server-cost.ts';
import { Server } from '../support/server.ts';
import { SERVER_SETTINGS } from '../telemetry/settings.ts';
import type { WatcherApi } from './watcher-process.ts';

/**
 * What being observed costs: a server whose frames are all traced, whose alerts are on and that is scraped every three seconds, beside one of which nobody
 * wants to know anything.
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
      'store.file': 'observed.db',
      'observe.traces.endpoint': collector,
      'observe.traces.sample_rate': 1,
    },
  });
  await using bare = await Server.launch({
    ...options,
    settings: { ...SERVER_SETTINGS, 'alerts.enabled': 'false', 'store.mode': 'memory' },
  });
  await whole.ready();
  await watcher.call('scrape', `${whole.url}/metrics`);
  const { own, bars } = await measureServers({ ...context, cacheDir }, { whole, bare, ratioMax: COST_MAX });
  const { scrapes, spans } = await watcher.call('seen', undefined);
  // What is not there costs nothing.
  if (scrapes === 0 || spans === 0) throw new Error(`it was not observed: ${scrapes} scrapes, ${spans} spans`);
  return { own: { ...own, scrapes, spans }, bars };
}
