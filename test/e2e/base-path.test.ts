import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { runHere } from '../support/command.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A server under a path of a proxy that passes the path on. */

const BASE = '/sightline';

let folder: string;
let server: ServerProcess;
let proxy: Server;
let at: string;
let key: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-base-path-'));
  const keys = ['--set', `auth.keys_file=${join(folder, 'keys.json')}`];
  key = (await runHere(folder, [...keys, 'keys', 'add', 'me', '--allow', 'admin'])).out.trim();
  server = await ServerProcess.start([...keys, '--set', `server.base_path=${BASE}/`, 'serve']);
  proxy = openProxy(Number(new URL(server.url).port));
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
});
afterAll(async () => {
  proxy?.closeAllConnections();
  proxy?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Passes on what is under the path as it is; beside it is another program. */
function openProxy(port: number): Server {
  const isOurs = ({ url }: IncomingMessage): boolean => url?.startsWith(BASE) === true;
  const proxied = createServer((incoming, response) => {
    if (!isOurs(incoming)) return void response.writeHead(418).end('another program');
    const { method, url, headers } = incoming;
    const onward = request({ port, host: '127.0.0.1', method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    incoming.pipe(onward);
    onward.on('error', () => response.destroy());
  });
  proxied.on('upgrade', (incoming: IncomingMessage, socket) => {
    const onward = connect(port, '127.0.0.1', () => {
      const headers = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      onward.write(`GET ${incoming.url} HTTP/1.1\r\n${headers.join('')}\r\n`);
      socket.pipe(onward).pipe(socket);
    });
    for (const end of [socket, onward]) end.on('error', () => socket.destroy());
  });
  return proxied;
}

const ask = (path: string, init: RequestInit = {}) =>
  fetch(at + path, { redirect: 'manual', ...init, headers: { Authorization: `Bearer ${key}`, ...init.headers } });

describe('under a path', () => {
  test('the line `ready` has it, and everything is there', async () => {
    expect(new URL(server.url).pathname).toBe(BASE);
    for (const path of ['/', '/health', '/api/config', '/metrics', '/rover.html', '/licences', '/api/docs']) {
      expect((await ask(BASE + path)).status, path).toBe(200);
    }
    const document = (await (await ask(`${BASE}/api/openapi.json`)).json()) as { servers: { url: string }[] };
    expect(document.servers[0]!.url).toBe(BASE);
  });

  test('nothing is beside it, and the path alone leads to it', async () => {
    for (const path of ['/', '/health', `${BASE}s/health`, `/x${BASE}/health`]) {
      const answer = await fetch(new URL(path, server.url));
      expect(answer.status, path).toBe(404);
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    }
    const alone = await ask(`${BASE}?x=1`);
    expect([alone.status, alone.headers.get('location')]).toEqual([308, `${BASE}/?x=1`]);
  });

  test('the cookie of the page goes there alone', async () => {
    const answer = await ask(`${BASE}/api/login`, {
      method: 'POST',
      body: JSON.stringify({ key }),
      headers: { 'Content-Type': 'application/json' },
    });
    expect(answer.headers.get('set-cookie')).toContain(`Path=${BASE}/;`);
  });

  test('the SDK and the commands come in by it', async () => {
    await using session = await connectTelemetry({ url: `${at}${BASE}/ws/telemetry`, accessToken: key });
    const subscription = session.subscribe('base/#', { contract: 'all' });
    await subscription.ready;
    const got = new Promise((done) => subscription.onTelemetry(([message]) => done(message!.data)));
    session.publish('base/x', 1);
    expect(await got).toBe(1);
    const status = await runHere(folder, ['status', '--url', `${at}${BASE}/`, '--token', key]);
    expect(status.err).toBe('');
    expect(status.out).toContain('0.1.0');
  });

  describe.runIf(CHROMIUM)('pages', () => {
    let browser: Browser;
    beforeAll(async () => (browser = await launchBrowser()));
    afterAll(() => browser?.close());

    test('sign in, come back, and have their sockets, their assets and their links', async () => {
      const { page, faults } = await openPage(browser, 'about:blank');
      const foreign: string[] = [];
      page.on('response', (response) => void (response.status() === 418 && foreign.push(response.url())));
      const sockets: string[] = [];
      page.on('websocket', (socket) => void sockets.push(socket.url()));
      await page.goto(`${at}${BASE}/rover.html`);
      await page.waitForURL(`**${BASE}/login.html?to=*`);
      await page.fill('#secret', key);
      await page.click('#submit');
      await page.waitForURL(`**${BASE}/rover.html`);
      await expect.poll(() => sockets.length, { timeout: 20_000 }).toBeGreaterThan(0);
      expect(sockets[0]).toContain(`${BASE}/ws/telemetry`);
      await page.click('a[href="api/docs"]');
      await expect.poll(() => page.locator('.operation').count(), { timeout: 20_000 }).toBeGreaterThan(10);
      expect(new URL(page.url()).pathname).toBe(`${BASE}/api/docs`);
      await page.locator('.pages a').first().click();
      await expect.poll(() => new URL(page.url()).pathname).toBe(`${BASE}/`);
      expect(foreign).toEqual([]);
      expect(faults).toEqual([]);
      await page.close();
    });
  });
});
