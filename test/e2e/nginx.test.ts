import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { trustAuthority } from '../../src/tls/trust.ts';
import { TestAuthority } from '../support/certificates.ts';
import { runHere } from '../support/command.ts';
import { JPEGS } from '../support/jpegs.ts';
import { programPath } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { Service } from '../support/service.ts';
import { SocketClient } from '../support/socket-client.ts';

/** `deploy/nginx/sightline.conf`, as it is but for its addresses and files, in a real nginx in front of the real command. */

const AUTHORITY = new TestAuthority();
const CONF = readFileSync(fileURLToPath(new URL('../../deploy/nginx/sightline.conf', import.meta.url)), 'utf8');
const nginx = programPath('nginx');

describe.runIf(nginx)('behind nginx', () => {
  let folder: string;
  let server: ServerProcess;
  let front: Service;
  let at: string;
  let key: string;
  let giveBack: (() => void) | undefined;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-nginx-'));
    const keys = ['--set', `auth.keys_file=${join(folder, 'keys.json')}`];
    key = (await runHere(folder, [...keys, 'keys', 'add', 'me', '--allow', 'admin'])).out.trim();
    const settings = ['base_path=/sightline', 'trusted_proxies=127.0.0.1/32', 'allowed_hosts=cam.example.org'];
    server = await ServerProcess.start([
      ...keys,
      ...['store.mode=memory', ...settings.map((one) => `server.${one}`)].flatMap((one) => ['--set', one]),
      'serve',
    ]);
    // The files that come after in this process do not trust it.
    const trusted = getCACertificates('default');
    giveBack = () => setDefaultCACertificates(trusted);
    trustAuthority(AUTHORITY.certificate);
    const identity = AUTHORITY.issue({ names: ['cam.example.org', 'localhost', '127.0.0.1'] });
    writeFileSync(join(folder, 'fullchain.pem'), identity.certificate);
    writeFileSync(join(folder, 'privkey.pem'), identity.key);
    front = await Service.start(nginx!, (port) => ['-p', folder, '-c', configured(port)], undefined);
    at = front.url.replace('http:', 'https:');
  });
  afterAll(async () => {
    await front?.[Symbol.asyncDispose]();
    await server?.stop();
    giveBack?.();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The path of a configuration of nginx. One process, so that nothing of it outlives the test. */
  function configured(port: number): string {
    const site = CONF.replace('listen 443 ', `listen 127.0.0.1:${port} `)
      .replace('server 127.0.0.1:8080;', `server ${new URL(server.url).host};`)
      .replaceAll('/etc/letsencrypt/live/cam.example.org', folder);
    const path = join(folder, 'nginx.conf');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${folder};`,
    );
    writeFileSync(
      path,
      `daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr; events {}
       http { access_log off; ${temporary.join(' ')}\n${site} }`,
    );
    return path;
  }

  /** An answer whose body has not been read yet. */
  async function ask(path: string, { headers, body, ...options }: RequestOptions & { body?: object } = {}) {
    const asking = request(at + path, {
      ...options,
      method: body ? 'POST' : 'GET',
      agent: false,
      headers: { Host: 'cam.example.org', ...(body && { 'Content-Type': 'application/json' }), ...headers },
    });
    const [response] = await once(asking.end(body && JSON.stringify(body)), 'response');
    return response as import('node:http').IncomingMessage;
  }
  const withKey = () => ({ Authorization: `Bearer ${key}` });

  test('pages, the API and the cookie of a login are under its path', async () => {
    const alone = await ask('/sightline');
    expect([alone.statusCode, alone.headers.location]).toEqual([308, expect.stringMatching(/\/sightline\/$/)]);
    expect((await ask('/')).statusCode).toBe(404);
    // On a busy machine the server is slow, and says so.
    expect(await text(await ask('/sightline/health'))).toMatch(/^\{"status":"(ok|degraded)"\}$/);
    const login = await ask('/sightline/api/login', { body: { key } });
    const [cookie = ''] = login.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/; Path=\/sightline\/; .*; Secure$/);
    const headers = { Cookie: cookie.split(';')[0], Origin: 'https://cam.example.org' };
    expect((await ask('/sightline/api/config', { headers })).statusCode).toBe(200);
    expect((await ask('/sightline/api/config')).statusCode).toBe(401);
  });

  test('sockets of both lanes, by the SDK and without', async () => {
    const video = await SocketClient.open(`${at.replace('https', 'wss')}/sightline/ws/video?budget_ms=30000`, {
      headers: withKey(),
      ca: AUTHORITY.certificate,
    });
    video.send(JPEGS.sampling440);
    await video.until(() => video.answers().length > 0);
    expect(video.answers()[0]).not.toContain('error');
    video.socket.terminate();
    await using session = await connectTelemetry({ url: `${at}/sightline/ws/telemetry`, accessToken: key });
    const subscription = session.subscribe('nginx/#', { contract: 'all' });
    await subscription.ready;
    const got = new Promise((done) => subscription.onTelemetry(([message]) => done(message!.data)));
    session.publish('nginx/x', 1);
    expect(await got).toBe(1);
    const status = await runHere(folder, ['status', '--url', `${at}/sightline`, '--token', key]);
    expect([status.code, status.err]).toEqual([expect.toBeOneOf([0, 1]), '']);
  });

  test('an event is there at once: nothing is gathered', async () => {
    const socket = `${at.replace('https', 'wss')}/sightline/ws/video?client_id=gate&budget_ms=30000`;
    const video = await SocketClient.open(socket, { headers: withKey(), ca: AUTHORITY.certificate });
    const events = await ask('/sightline/stream/events/gate', { headers: withKey() });
    expect(events.headers['content-type']).toContain('text/event-stream');
    let seen = '';
    events.on('data', (chunk: Buffer) => (seen += chunk.toString()));
    video.send(JPEGS.sampling440);
    await expect.poll(() => seen, { timeout: 10_000 }).toContain('event: result');
    events.destroy();
    video.socket.terminate();
  });

  test.runIf(process.platform === 'linux')('the log meets the client, whatever it says of itself', async () => {
    const headers = { 'X-Forwarded-For': '198.51.100.1', Forwarded: 'for=198.51.100.2', Authorization: 'Bearer wrong' };
    const refused = await ask('/sightline/api/config', { headers, localAddress: '127.0.0.7' });
    expect(refused.statusCode).toBe(401);
    await expect.poll(() => server.err).toContain('"address":"127.0.0.7"');
    expect(server.err).not.toContain('198.51.100');
  });
});
