import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { build } from 'vite';
import { connectTelemetry, type TelemetrySession } from '../../src/client/telemetry.ts';
import { createSightline, type Sightline } from '../../src/index.ts';
import { eventually, openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';

/** The telemetry client in a real browser: decoding in a worker, and in place where a page forbids workers. */

const ENTRY = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url));
const POLICIES = {
  'in a worker': "default-src 'self'; connect-src ws:; worker-src 'self' blob:; script-src 'self' 'unsafe-inline'",
  'in place, where workers are forbidden':
    "default-src 'self'; connect-src ws:; worker-src 'none'; script-src 'self' 'unsafe-inline'",
};

const open: { close(): Promise<unknown> }[] = [];
let files: Map<string, string | Uint8Array>;
let entry: string;

beforeAll(async () => {
  const built = await build({
    configFile: false,
    logLevel: 'error',
    build: { write: false, rolldownOptions: { input: ENTRY, preserveEntrySignatures: 'strict' } },
  });
  const { output } = (Array.isArray(built) ? built[0]! : built) as {
    output: { fileName: string; code?: string; source?: string | Uint8Array }[];
  };
  files = new Map(output.map(({ fileName, code, source }) => [`/${fileName}`, (code ?? source)!]));
  entry = `/${output[0]!.fileName}`;
});
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await one.close();
});
afterAll(() => files.clear());

/** A page of somebody else's with the SDK in it. */
async function startPage(policy: string): Promise<string> {
  const server = createServer((request, response) => {
    const file = files.get(request.url!);
    response.setHeader('Content-Security-Policy', policy);
    response.setHeader('Content-Type', file === undefined ? 'text/html' : 'text/javascript');
    const script = `import * as sdk from '${entry}'; window.sdk = sdk;`;
    response.end(file ?? `<!doctype html><link rel="icon" href="data:,"><script type="module">${script}</script>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({ close: () => new Promise((resolve) => server.close(resolve)) });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function startServer(origin: string): Promise<Sightline> {
  const server = await createSightline({
    env: process.env,
    settings: { 'server.port': 0, 'server.allowed_origins': [origin], 'telemetry.compression': 'zlib' },
  });
  open.push(server);
  return server;
}

function rover(n: number) {
  return {
    n,
    pose: { x: Math.sin(n), y: Math.cos(n), heading: n / 10 },
    cells: [n, n + 1, n + 2, n + 3],
    mode: 'auto',
  };
}

async function publish(url: string, count: number): Promise<TelemetrySession> {
  const publisher = await connectTelemetry({ url });
  open.push(publisher);
  for (let n = 0; n < count; n++) {
    publisher.publish('rover/state', rover(n));
    if (n % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return publisher;
}

describe.skipIf(CHROMIUM === undefined)('in a browser', () => {
  test.each(Object.entries(POLICIES))('decodes %s: objects and columns, the very same values', async (_, policy) => {
    const page = await startPage(policy);
    const server = await startServer(page);
    const browser = await launchBrowser();
    open.push(browser);
    const { page: tab } = await openPage(browser, page);
    await eventually(() => tab.evaluate('window.sdk !== undefined')).toBe(true);
    await tab.evaluate(`(async () => {
      const worker = sdk.decodingWorker();
      window.crossed = 0;
      const post = worker?.postMessage;
      if (worker) worker.postMessage = (request, transfer) => {
        if (request.type === 'batch') window.crossed++;
        post.call(worker, request, transfer);
      };
      window.session = await sdk.connectTelemetry({ url: ${JSON.stringify(server.url)}, worker });
      window.objects = [];
      window.xs = [];
      const all = session.subscribe('rover/#', { contract: 'reliable' });
      const plot = session.subscribe('rover/state', { contract: 'all' });
      await Promise.all([all.ready, plot.ready]);
      all.onTelemetry((messages) => objects.push(...messages.map(({ data }) => data)));
      window.subscriptions = [all, plot];
      const columns = plot.columns();
      window.reading = (async () => {
        for await (const batch of columns) xs.push(...batch.column('pose.x'));
      })();
      // The worker needs a moment to load; what comes before is decoded in place.
      await new Promise((resolve) => setTimeout(resolve, 300));
    })()`);
    await publish(server.url, 400);
    await eventually(() => tab.evaluate('[objects.length, xs.length]')).toEqual([400, 400]);
    expect(await tab.evaluate('objects')).toEqual(Array.from({ length: 400 }, (_, n) => rover(n)));
    expect(await tab.evaluate('xs')).toEqual(Array.from({ length: 400 }, (_, n) => Math.sin(n)));
    const metrics = (await tab.evaluate('subscriptions.map((one) => one.metrics())')) as Record<string, unknown>[];
    for (const metric of metrics) expect(metric).toMatchObject({ received: 400, duplicates: 0, unread: 0 });
    expect(await tab.evaluate('session.metrics()')).toMatchObject({
      damagedBatches: 0,
      undecodedBatches: 0,
      errors: 0,
    });
    const workers = tab.workers().length;
    expect(workers).toBe(policy.includes("'none'") ? 0 : 1);
    expect((await tab.evaluate<number>('crossed')) > 0).toBe(workers === 1);
    await tab.evaluate('session.close()');
  });
});
