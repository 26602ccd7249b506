import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const ENTRY = fileURLToPath(new URL('tab/tab.ts', import.meta.url));
const ROVER_PAGES = fileURLToPath(new URL('../../dashboard', import.meta.url));

/** The benchmark's page with the SDK in it, as a bundler makes it; on loopback, at a port that is free. */
export class TabServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<TabServer> {
    const built = await build({
      configFile: false,
      logLevel: 'error',
      build: { write: false, modulePreload: { polyfill: false }, rolldownOptions: { input: ENTRY } },
    });
    const { output } = (Array.isArray(built) ? built[0]! : built) as {
      output: { fileName: string; code?: string; source?: string | Uint8Array }[];
    };
    const files = new Map(output.map(({ fileName, code, source }) => [`/${fileName}`, (code ?? source)!]));
    const page =
      '<!doctype html><meta charset="utf-8"><title>telemetry</title><link rel="icon" href="data:,">' +
      `<canvas width="600" height="120"></canvas><script type="module" src="/${output[0]!.fileName}"></script>`;
    const server = createServer((request, response) => {
      const file = files.get(request.url!);
      response.setHeader('Content-Type', file === undefined ? 'text/html' : 'text/javascript');
      response.end(file ?? page);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TabServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

/** The pages that the server itself has, from source. */
export async function buildDashboard(): Promise<void> {
  await build({ root: ROVER_PAGES, logLevel: 'error' });
}
