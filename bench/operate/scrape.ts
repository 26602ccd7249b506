import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { atMost, type Bar, type BenchContext } from '../support/document.ts';
import { Server } from '../support/server.ts';
import { median } from '../support/statistics.ts';

/** What a scraper gets of a server that has seen very many clients: no label holds a name, so that their number is of no matter. */

const NAMES = { full: 20_000, quick: 500 };
const AT_ONCE = 50;
const SCRAPES = { full: 50, quick: 5 };

export async function measureScrape(
  { quick, say, signal }: BenchContext,
  cacheDir: string,
): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const mode = quick ? 'quick' : 'full';
  await using server = await Server.launch({ command: 'serve', cacheDir, signal });
  await server.ready();
  const before = (await scrape(server)).bytes;
  let next = 0;
  say(`scrape: ${NAMES[mode]} clients, each by a name of its own`);
  const come = async (): Promise<void> => {
    while (next < NAMES[mode]) {
      signal.throwIfAborted();
      await comeAndGo(server, `client-${next++}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, come));
  const times: number[] = [];
  let bytes = 0;
  for (let i = 0; i < SCRAPES[mode]; i++) {
    const one = await scrape(server);
    times.push(one.ms);
    bytes = one.bytes;
    await sleep(20);
  }
  const own = { names: NAMES[mode], bytes_before: before, bytes, p50_ms: median(times), max_ms: Math.max(...times) };
  return { own, bars: [atMost('scrape_bytes', bytes, 1_000_000), atMost('scrape_max_ms', own.max_ms, 50)] };
}

/** A client that says something that is refused, and leaves. */
async function comeAndGo(server: Server, name: string): Promise<void> {
  const socket = new WebSocket(
    `${server.url.replace('http', 'ws')}/ws/telemetry?client_id=${name}`,
    'sightline.v1.json',
  );
  await new Promise<void>((done, fail) => {
    socket.on('error', fail);
    socket.on('close', () => done());
    let answers = 0;
    socket.on('message', () => {
      // The welcome, and the refusal.
      if (++answers === 1) socket.send(`{"type":"subscribe","id":1,"filter":"${name}/#/x","contract":"all"}`);
      else socket.close(1000);
    });
  });
}

async function scrape(server: Server): Promise<{ readonly ms: number; readonly bytes: number }> {
  const startMs = performance.now();
  const response = await fetch(`${server.url}/metrics`, { headers: { accept: 'application/openmetrics-text' } });
  const { length: bytes } = await response.text();
  if (!response.ok) throw new Error(`/metrics answers with ${response.status}`);
  return { ms: performance.now() - startMs, bytes };
}
