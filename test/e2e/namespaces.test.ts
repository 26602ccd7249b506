import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey, makePerson } from '../../src/auth/keys.ts';
import { hashPassword } from '../../src/auth/passwords.ts';
import { decodeJpeg, encodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { eventually, openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { NamespacePair, noNamespaces } from '../support/namespaces.ts';
import { photographFile } from '../support/pictures.ts';
import { programPath } from '../support/programs.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The real command on one machine; the SDK, the commands and a real browser on another, across a network. */

const NONE = noNamespaces();
const CERTUTIL = programPath('certutil');
const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const FAR_CLIENT = fileURLToPath(new URL('../support/far-client.ts', import.meta.url));
const PERSON = { name: 'ada', password: 'correct horse battery' };

describe.skipIf(NONE !== undefined)(`two network namespaces${NONE === undefined ? '' : ` (not here: ${NONE})`}`, () => {
  let folder: string;
  let pair: NamespacePair;
  let server: ServerProcess;
  let key: string;
  let photograph: string;
  /** As the other machine reaches it. */
  let url: string;
  let ca: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-namespaces-'));
    pair = new NamespacePair();
    const keysFile = join(folder, 'keys.json');
    const grants = [parseGrant('admin')];
    const made = makeKey({ name: 'operator', grants, createdMs: Date.now() });
    key = made.text;
    const password = await hashPassword(PERSON.password);
    const person = makePerson({ name: PERSON.name, grants, createdMs: Date.now(), password });
    await changeKeys(keysFile, () => ({ keys: [made.key, person], revokedTokens: [] }));
    photograph = await photographFile('car1.jpg');
    const settings = [`auth.keys_file=${keysFile}`, `server.tls.folder=${folder}`];
    const words = ['serve', '--host', '0.0.0.0', '--tls', 'auto', ...settings.flatMap((one) => ['--set', one])];
    server = await ServerProcess.start(words, {}, { within: pair.server.within });
    url = `https://${pair.server.address}:${new URL(server.url).port}`;
    ca = join(folder, 'authority', 'ca.crt');
  });
  afterAll(async () => {
    await server?.stop('SIGKILL');
    pair?.[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A program of Node on the other machine. */
  async function far(words: readonly string[], env: Record<string, string> = {}) {
    const [program = '', ...rest] = [...pair.client.within, process.execPath, ...words];
    const child = spawn(program, rest, { stdio: 'pipe', env: { ...process.env, ...env } });
    const [out, err, [code]] = await Promise.all([textOf(child.stdout), textOf(child.stderr), once(child, 'exit')]);
    return { code: code as number | null, out, err };
  }

  async function sdk(env: Record<string, string>): Promise<{ readonly video: object; readonly telemetry: object }> {
    const { out, err } = await far([FAR_CLIENT, url, photograph], env);
    expect(out, err).not.toBe('');
    return JSON.parse(out);
  }

  test('the SDK comes in with a key and the authority, and by nothing less', async () => {
    const trusting = { NODE_EXTRA_CA_CERTS: ca };
    const [known, stranger, liar, suspicious] = await Promise.all([
      sdk({ ...trusting, SIGHTLINE_TOKEN: key }),
      sdk(trusting),
      sdk({ ...trusting, SIGHTLINE_TOKEN: key.replace(/.{4}$/, 'AAAA') }),
      sdk({ SIGHTLINE_TOKEN: key }),
    ]);
    expect(known).toEqual({
      video: expect.objectContaining({ type: 'result', client_id: 'far', seq: 1 }),
      telemetry: { x: 1.5, from: 'afar' },
    });
    expect(known.video).toMatchObject({ detections: [expect.objectContaining({ label: 'Car' })] });
    const refused = (code: string) => ({ video: { code }, telemetry: { code } });
    expect(stranger).toMatchObject(refused('CREDENTIALS_MISSING'));
    expect(liar).toMatchObject(refused('CREDENTIALS_BAD'));
    const untrusted = { code: 'CONNECTION_FAILED', message: expect.stringContaining('self-signed certificate') };
    expect(suspicious).toEqual({ video: untrusted, telemetry: untrusted });
  });

  test('status asks over the network', async () => {
    const ask = (words: readonly string[]) => far([COMMAND, 'status', '--url', url, ...words]);
    const [stranger, known, suspicious] = await Promise.all([
      ask(['--ca', ca]),
      ask(['--ca', ca, '--token', key]),
      ask([]),
    ]);
    // On a busy machine it is degraded, and says so.
    expect(stranger.out).toMatch(new RegExp(`^(ok|degraded) · ${url}\n$`));
    expect(stranger.code).toBe(stranger.out.startsWith('ok') ? 0 : 1);
    expect([known.err, known.out]).toEqual(['', expect.stringMatching(/^(ok|degraded) · .* · up \d/)]);
    expect([suspicious.code, suspicious.err]).toEqual([69, expect.stringContaining('--ca FILE')]);
  });

  test('without a key the server refuses this address, in one line that says how to go on', async () => {
    const none = `auth.keys_file=${join(folder, 'none.json')}`;
    const words = ['serve', '--host', '0.0.0.0', '--tls', 'auto', '--port', '0', '--set', none];
    const { code, out, err } = await far([COMMAND, ...words, '--set', `server.tls.folder=${join(folder, 'other')}`]);
    expect([code, out]).toEqual([78, '']);
    expect(err).toMatch(/^[^\n]*sightline keys add [^\n]*\(ADDRESS_NEEDS_CREDENTIALS\)[^\n]*\n$/);
  });

  describe.skipIf(!CHROMIUM || !CERTUTIL)('a browser (needs Chromium and certutil)', () => {
    let launcher: string;
    let clip: string;
    let browser: Browser;
    const launch = (home: string): Promise<Browser> => {
      const webcam = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];
      const args = [...webcam, `--use-file-for-fake-video-capture=${clip}`];
      return launchBrowser(args, { program: launcher, env: { HOME: home } });
    };
    const homeOf = (name: string): string => {
      const home = join(folder, name);
      mkdirSync(join(home, '.pki', 'nssdb'), { recursive: true });
      return home;
    };
    beforeAll(async () => {
      launcher = join(folder, 'browser.sh');
      writeFileSync(launcher, `#!/bin/sh\nexec ${pair.client.within.join(' ')} ${CHROMIUM} "$@"\n`, { mode: 0o755 });
      clip = join(folder, 'car.mjpeg');
      // As a webcam that stands still.
      const picture = readFileSync(photograph);
      const { width, height } = readJpegHeader(picture);
      const data = decodeJpeg(picture, new Uint8Array(width * height * 3)).data;
      writeFileSync(clip, Buffer.concat(Array(2).fill(encodeJpeg({ data, width, height }, 85))));
      // Its user has taken the authority up, as docs/tls.md says.
      const home = homeOf('trusting');
      const store = ['-d', `sql:${join(home, '.pki', 'nssdb')}`];
      spawnSync(CERTUTIL!, ['-N', '--empty-password', ...store]);
      const added = spawnSync(CERTUTIL!, ['-A', ...store, '-n', 'Sightline', '-t', 'C,,', '-i', ca]);
      expect(String(added.stderr)).toBe('');
      browser = await launch(home);
    });
    afterAll(() => browser?.close());

    test('that does not know the authority warns', async () => {
      const other = await launch(homeOf('suspicious'));
      try {
        const page = await other.newPage();
        await expect(page.goto(url)).rejects.toThrow('ERR_CERT_AUTHORITY_INVALID');
      } finally {
        await other.close();
      }
    });

    test.each([
      ['a key', () => ['', key]],
      ['a name and a password', () => [PERSON.name, PERSON.password]],
    ])('signs in by %s, and its camera has results', async (_, proof) => {
      const { page, faults } = await openPage(browser, `${url}/?budget_ms=30000`);
      await page.waitForURL(`${url}/login.html?to=%2F%3Fbudget_ms%3D30000`);
      await page.getByLabel('Password or key').fill('wrong');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await eventually(() => page.locator('#fault').innerText()).not.toBe('');
      const [name, secret] = proof();
      await page.getByLabel('Name').fill(name!);
      await page.getByLabel('Password or key').fill(secret!);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.waitForURL(`${url}/?budget_ms=30000`);
      await page.getByRole('button', { name: 'Use my webcam' }).click();
      await page.locator('#objects li', { hasText: 'Car' }).waitFor();
      expect(await page.evaluate('isSecureContext')).toBe(true);
      // There is no demo camera here, and the wrong key was refused.
      expect(faults.filter((fault) => !/\b40[14]\b/.test(fault))).toEqual([]);
      await page.context().close();
    });
  });
});
