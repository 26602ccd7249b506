import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const HTML = '<!doctype html><script type="module" src="page.js"></script>';

/** The page with its script and its pictures, on loopback, at a port that is free. */
export class PageServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(script: string, pictures: readonly Uint8Array[]) {
    this.#server = createServer(({ url = '/' }, response) => {
      const picture = pictures[Number(/^\/picture-(\d+)\.jpg$/.exec(url)?.[1])];
      if (picture) response.writeHead(200, { 'content-type': 'image/jpeg' }).end(picture);
      else if (url === '/page.js') response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
      else if (url === '/') response.writeHead(200, { 'content-type': 'text/html' }).end(HTML);
      else response.writeHead(404).end();
    });
  }

  static async start(pictures: readonly Uint8Array[]): Promise<PageServer> {
    const made = new PageServer(await builtPage(), pictures);
    made.#server.listen(0, '127.0.0.1');
    await once(made.#server, 'listening');
    return made;
  }

  /** Of its page. */
  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** As a page gets it: in one file, and minified. */
async function builtPage(): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, rolldownOptions: { input: fileURLToPath(new URL('page.ts', import.meta.url)) } },
  });
  const { output } = (Array.isArray(built) ? built[0]! : built) as { output: { isEntry?: boolean; code?: string }[] };
  return output.find(({ isEntry }) => isEntry)!.code!;
}
