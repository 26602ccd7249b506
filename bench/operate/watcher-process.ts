import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { offer } from '../support/children.ts';

/** Whoever watches a server: a collector of traces, and a scraper of its figures. */

/** More often than usual, so that each span has one. */
const SCRAPE_MS = 3_000;

interface Traces {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly unknown[] }[] }[];
}

let spans = 0;
let scrapes = 0;
let timer: NodeJS.Timeout | undefined;

const collector = createServer((request, response) => {
  void count(request).then(() => response.setHeader('Content-Type', 'application/json').end('{}'));
});

async function count(request: IncomingMessage): Promise<void> {
  const { resourceSpans } = (await json(request)) as Traces;
  for (const { scopeSpans } of resourceSpans) for (const scope of scopeSpans) spans += scope.spans.length;
}

const api = {
  /** Returns where traces go to. */
  listen: async (): Promise<string> => {
    collector.listen(0, '127.0.0.1');
    await once(collector, 'listening');
    return `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  },

  /** From now on this address; an empty one: none. */
  scrape: (url: string): void => {
    clearInterval(timer);
    if (url === '') return;
    timer = setInterval(() => {
      void fetch(url, { headers: { Accept: 'application/openmetrics-text; version=1.0.0' } })
        .then((answer) => answer.text())
        .then((text) => (scrapes += text.endsWith('# EOF\n') ? 1 : 0))
        .catch(() => undefined);
    }, SCRAPE_MS);
    timer.unref();
  },

  seen: () => ({ spans, scrapes }),
};

export type WatcherApi = typeof api;

offer(api);
