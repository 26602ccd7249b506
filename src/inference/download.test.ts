import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { download } from './download.ts';

/** Answers by path: `/good`, `/endless`, `/silent`, else 404. Plain HTTP, behind a `get` that stands in for TLS. */
let server: Server;
let base: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/good') return void response.end('weights');
    if (request.url === '/silent') return undefined;
    if (request.url !== '/endless') return void response.writeHead(404).end();
    const more = () => {
      while (response.write(new Uint8Array(65_536)));
      response.once('drain', more);
    };
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(resolve));
});

const get: typeof fetch = (url, init) => fetch(String(url).replace('https://models.test', base), init);
const failed = (message: string) =>
  expect.objectContaining({ code: 'MODEL_FETCH_FAILED', message: expect.stringContaining(message) });

test('the bytes behind an address', async () => {
  expect(new TextDecoder().decode(await download('https://models.test/good', {}, get))).toBe('weights');
});

test('only https', async () => {
  for (const url of ['http://models.test/good', 'file:///etc/passwd', 'models.test']) {
    await expect(download(url, {}, get)).rejects.toEqual(failed('only https'));
  }
});

test('an error status, too many bytes, silence, a host that is not there', async () => {
  await expect(download('https://models.test/bad', {}, get)).rejects.toEqual(failed('HTTP status 404'));
  await expect(download('https://models.test/endless', { bytesMax: 200_000 }, get)).rejects.toEqual(
    failed('more than 200000 bytes'),
  );
  await expect(download('https://models.test/silent', { timeoutMs: 50 }, get)).rejects.toEqual(failed('within 50 ms'));
  await expect(download('https://127.0.0.1:1/x', {})).rejects.toMatchObject({ code: 'MODEL_FETCH_FAILED' });
});
