import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bar, BenchContext, Benchmark, BenchResult } from '../support/document.ts';
import { measureAccess } from './access.ts';
import { measureObserving } from './observing.ts';
import { measureScrape } from './scrape.ts';
import { measureTls } from './tls.ts';

/** What it costs to run the server beyond loopback: who comes in, and what a scraper gets. */

const PARTS = ['access', 'scrape', 'tls', 'observing'] as const;

export const operate: Benchmark = {
  name: 'operate',
  summary: 'keys, tokens and permissions, a scrape of all figures, TLS, and being observed: what they cost',
  parts: PARTS,
  run: runOperate,
};

async function runOperate(context: BenchContext): Promise<BenchResult> {
  const { quick, only = PARTS } = context;
  const figures: Record<string, number> = {};
  const bars: Bar[] = [];
  const take = (part: string, { own, bars: further }: { own: Record<string, number>; bars: Bar[] }): void => {
    for (const [name, value] of Object.entries(own)) figures[`${part}.${name}`] = value;
    bars.push(...further.map((bar) => ({ ...bar, name: `${part}.${bar.name}` })));
  };
  if (only.includes('access')) take('access', await measureAccess(context));
  const inFolder = async (part: 'scrape' | 'tls' | 'observing', measure: typeof measureScrape): Promise<void> => {
    if (!only.includes(part)) return;
    const folder = await mkdtemp(join(tmpdir(), 'sightline-bench-operate-'));
    try {
      take(part, await measure(context, folder));
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  await inFolder('scrape', measureScrape);
  await inFolder('tls', measureTls);
  await inFolder('observing', measureObserving);
  return {
    seed: 0,
    setup: {
      access:
        'the server’s own functions on one thread, 1,000 keys of four permissions; a token of ES256 whose signature was checked before',
      scrape:
        'a telemetry client by each name connects, says something that is refused, and leaves; then /metrics as OpenMetrics, over loopback',
      tls: 'servers that publish to 100 readers every 10 ms, over loopback; beside them bare ws that sends as many bytes; time of the main thread for each WebSocket message',
      observing:
        'by turns (A B B A, pairs of 3 s). Delivery: one server with 100 readers at 200 Hz, twenty pairs with alerts and a scrape in every span, and without. Frame: eight in flight, ten pairs of a server with every frame traced to a collector, alerts, a log and scrapes, and one with none of it. The processor time of the whole server; interval: the middle half of the pairs',
      mode: quick ? 'quick' : 'full',
    },
    figures,
    bars,
  };
}
