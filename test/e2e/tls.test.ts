import { spawn } from 'node:child_process';
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { openPage } from '../support/browser.ts';
import { TestAuthority } from '../support/certificates.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { runHere } from '../support/command.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The real command by TLS: with a certificate that it makes itself, and with files that change. */

const AUTHORITY = new TestAuthority();
const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-e2e-tls-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function get(url: string, ca: string, options: RequestOptions = {}) {
  const [response] = await once(request(url, { ca, agent: false, ...options }).end(), 'response');
  return { status: response.statusCode as number, headers: response.headers, text: await text(response) };
}

/** Another program of this machine. */
async function ran(words: readonly string[], env: Record<string, string>) {
  const child = spawn(process.execPath, words, { cwd: ROOT, env: { ...process.env, ...env }, stdio: 'pipe' });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

async function serialAt(url: string, ca: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), ca });
  await once(socket, 'secureConnect');
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

describe('serve --tls auto', () => {
  let server: ServerProcess;
  let ca: string;
  let file: string;
  beforeAll(async () => {
    const keys = join(folder, 'keys.json');
    const settings = ['--set', `server.tls.folder=${folder}`, '--set', `auth.keys_file=${keys}`];
    server = await ServerProcess.start([...settings, 'serve', '--tls', 'auto']);
    file = join(folder, 'authority', 'ca.crt');
    ca = readFileSync(file, 'utf8');
  });
  afterAll(() => server?.stop());

  test('whoever trusts its authority is answered, by every name of this machine, and gets the authority', async () => {
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:/);
    const { status, headers } = await get(`${server.url}/health`, ca);
    expect([status, headers['x-content-type-options']]).toEqual([200, 'nosniff']);
    const { port } = new URL(server.url);
    expect((await get(`https://localhost:${port}/health`, ca, { family: 4 })).status).toBe(200);
    const given = await get(`${server.url}/ca.crt`, ca);
    expect(given.headers['content-type']).toBe('application/x-x509-ca-cert');
    expect(given.text).toBe(ca);
  });

  test('commands take the authority by --ca, by the environment, or by the configuration of the same server', async () => {
    const url = ['--url', server.url];
    const trusting = await ran([COMMAND, 'status', ...url], { SIGHTLINE_CA: file });
    // 1: on a busy machine the server is slow, and says so.
    const answered = expect.toBeOneOf([0, 1]);
    expect([trusting.code, trusting.err]).toEqual([answered, '']);
    expect(trusting.out).toContain(server.url);
    expect((await ran([COMMAND, '--ca', file, 'monitor', '--once', ...url], {})).code).toBe(0);
    const { port } = new URL(server.url);
    const own = ['server.tls.auto=true', `server.tls.folder=${folder}`, `server.port=${port}`];
    expect((await ran([COMMAND, ...own.flatMap((one) => ['--set', one]), 'status'], {})).code).toEqual(answered);
    const other = await ran([COMMAND, 'status', ...url], {});
    expect(other.code).toBe(69);
    expect(other.err).toContain('--ca FILE');
  });

  test('the SDK and the load generator come in by wss', async () => {
    const program = `
      import { connectTelemetry } from './src/client/telemetry.ts';
      const session = await connectTelemetry({ url: ${JSON.stringify(server.url)} });
      const messages = session.subscribe('sdk/#', { contract: 'all' });
      const got = new Promise((done) => messages.onTelemetry(([{ data }]) => done(data)));
      await messages.ready;
      session.publish('sdk/x', { by: 'wss' });
      console.log(JSON.stringify(await got));
      await session.close();
    `;
    const sdk = await ran(['--input-type=module', '-e', program], { NODE_EXTRA_CA_CERTS: file });
    expect(sdk.err).toBe('');
    expect(JSON.parse(sdk.out)).toEqual({ by: 'wss' });
    const load = ['benchmark', 'low_load', '--duration', '1', '--json', '--url', `${server.ws('/ws/telemetry')}`];
    const benchmark = await ran([COMMAND, '--ca', file, ...load], {});
    // How fast it was on a busy machine is of no matter here.
    const [{ received, expected }] = JSON.parse(benchmark.out).tests;
    expect([received > 0, received], benchmark.err).toEqual([true, expected]);
  });

  test.runIf(CHROMIUM)('a page in a browser has its socket', async () => {
    const { publicKey } = new X509Certificate(readFileSync(join(folder, 'server.pem')));
    const spki = createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('base64');
    // It trusts this key, and no other.
    const browser = await launchBrowser([`--ignore-certificate-errors-spki-list=${spki}`]);
    try {
      const sockets: string[] = [];
      const { page, faults } = await openPage(browser, 'about:blank');
      page.on('websocket', (socket) => void sockets.push(socket.url()));
      const answer = await page.goto(`${server.url}/rover.html`);
      expect(answer?.status()).toBe(200);
      await expect.poll(() => sockets.length, { timeout: 20_000 }).toBeGreaterThan(0);
      expect(sockets[0]).toMatch(/^wss:/);
      await expect.poll(async () => (await metrics()).connections.open, { timeout: 20_000 }).toBe(1);
      expect(faults).toEqual([]);
    } finally {
      await browser.close();
    }
  });

  const metrics = async () =>
    JSON.parse((await get(`${server.url}/api/performance/metrics`, ca)).text) as {
      readonly connections: { readonly open: number };
    };
});

describe('files of one’s own', () => {
  const paths = () => ({ certificate: join(folder, 'own.crt'), key: join(folder, 'own.key') });
  const write = (pair: { readonly certificate: string; readonly key: string }): void => {
    writeFileSync(paths().certificate, pair.certificate);
    writeFileSync(paths().key, pair.key);
  };
  const settings = () =>
    [`cert_file=${paths().certificate}`, `key_file=${paths().key}`].flatMap((one) => ['--set', `server.tls.${one}`]);

  test('are followed: sockets go on, new connections get the new certificate; what cannot be used changes nothing', async () => {
    const first = AUTHORITY.issue();
    write(first);
    await using server = await ServerProcess.start([...settings(), 'serve']);
    const ca = AUTHORITY.certificate;
    const serial = await serialAt(server.url, ca);
    const socket = new WebSocket(server.ws('/ws/telemetry'), 'sightline.v1.json', { ca });
    await once(socket, 'message');

    write(AUTHORITY.issue());
    await expect.poll(() => serialAt(server.url, ca), { timeout: 5_000 }).not.toBe(serial);
    expect(server.err).toContain('certificate_changed');
    const second = await serialAt(server.url, ca);

    write({ ...AUTHORITY.issue(), key: first.key });
    server.child.kill('SIGHUP');
    await expect.poll(() => server.err).toContain('certificate_unusable');
    expect(server.err).toContain('does not belong');
    expect(await serialAt(server.url, ca)).toBe(second);

    socket.send('{"type":"publish","topic":"a","data":1,"seq":1}');
    expect(String((await once(socket, 'message'))[0])).toContain('published');
    const figures = await get(`${server.url}/metrics`, ca);
    expect(figures.text).toContain('sightline_tls_certificate_changes_total{outcome="taken"} 1');
    expect(figures.text).toMatch(/sightline_tls_certificate_changes_total\{outcome="failed"\} [1-9]/);
    socket.close();
  });

  test.each([
    ['a certificate that has expired', () => AUTHORITY.issue({ from: -9, to: -1 }), 'CERTIFICATE_BAD'],
    ['another one’s key', () => ({ ...AUTHORITY.issue(), key: AUTHORITY.issue().key }), 'CERTIFICATE_BAD'],
    ['rubbish', () => ({ certificate: 'rubbish', key: 'rubbish' }), 'CERTIFICATE_UNREADABLE'],
  ])('%s ends the start', async (_, pair, code) => {
    write(pair());
    const { code: exit, err } = await runHere(folder, [...settings(), '--log-level', 'silent', 'serve', '--port', '0']);
    expect([exit, err]).toEqual([78, expect.stringContaining(code)]);
  });

  test('a certificate without its key is a contradiction', async () => {
    const { code, err } = await runHere(folder, ['--set', 'server.tls.cert_file=a.crt', 'serve']);
    expect([code, err]).toEqual([78, expect.stringContaining('CONFIG_CONTRADICTION')]);
  });
});
