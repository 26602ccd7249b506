import { X509Certificate } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { authorityFiles, fingerprintOf, maintainAuthority } from './authority.ts';
import { readIdentity } from './identity.ts';
import { certificateNames } from './names.ts';
import { certificateSettings } from './settings.ts';

const DAY_MS = 86_400_000;
const NOW = Date.now();
const NAMES = ['localhost', 'rover.local', '192.0.2.7', '2001:db8::7'];

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'sightline-authority-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const maintain = (nowMs = NOW, names: readonly string[] = NAMES, at = folder) =>
  maintainAuthority(at, { machine: 'rover', names, nowMs });
const read = (path: string) => readFileSync(path, 'utf8');
const authority = () => new X509Certificate(read(authorityFiles(folder).authority));

function served(nowMs = NOW) {
  const path = authorityFiles(folder).server;
  const text = read(path);
  return { ...readIdentity({ path, text }, { path, text }, nowMs), leaf: new X509Certificate(text) };
}

describe('an authority of this machine', () => {
  test('is made, with a certificate of the server, for its owner’s eyes alone', async () => {
    await maintain();
    const [own, { leaf, names, validFromMs, validToMs }] = [authority(), served()];
    expect([own.ca, leaf.ca]).toEqual([true, false]);
    expect(leaf.verify(own.publicKey) && leaf.checkIssued(own)).toBe(true);
    expect(names).toEqual(NAMES);
    expect(leaf.checkHost('rover.local')).toBe('rover.local');
    expect(leaf.checkIP('2001:db8::7')).toBe('2001:db8::7');
    // Apple's systems refuse longer ones.
    expect(validToMs - validFromMs).toBeLessThan(398 * DAY_MS);
    expect((Date.parse(own.validTo) - NOW) / DAY_MS).toBeGreaterThan(3_600);
    expect(await fingerprintOf(authorityFiles(folder).authority)).toBe(own.fingerprint256);
    if (process.platform === 'win32') return;
    for (const name of ['server.pem', 'authority/ca.crt', 'authority/ca.key']) {
      expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600);
    }
  });

  test('stays, and so does the certificate as long as it is fit', async () => {
    await maintain();
    const before = [read(authorityFiles(folder).authority), read(authorityFiles(folder).server)];
    await maintain(NOW + 300 * DAY_MS);
    // Fewer names, in other words.
    await maintain(NOW, ['LOCALHOST', '2001:DB8:0::7']);
    expect([read(authorityFiles(folder).authority), read(authorityFiles(folder).server)]).toEqual(before);
  });

  test.each([
    ['it would end soon', () => maintain(NOW + 370 * DAY_MS)],
    ['it has ended', () => maintain(NOW + 1_000 * DAY_MS)],
    ['the machine has another address', () => maintain(NOW, [...NAMES, '192.0.2.8'])],
    [
      'it is damaged',
      () => {
        writeFileSync(authorityFiles(folder).server, 'rubbish');
        return maintain();
      },
    ],
    [
      'it is gone',
      () => {
        rmSync(authorityFiles(folder).server);
        return maintain();
      },
    ],
  ])('makes a new certificate where %s', async (_, change) => {
    await maintain();
    const before = [authority().fingerprint256, served().leaf.serialNumber];
    await change();
    expect(authority().fingerprint256).toBe(before[0]);
    const { leaf } = served(Date.parse(new X509Certificate(read(authorityFiles(folder).server)).validFrom));
    expect(leaf.serialNumber).not.toBe(before[1]);
    expect(leaf.verify(authority().publicKey)).toBe(true);
  });

  test('a certificate of another authority is not its own', async () => {
    await maintain();
    const other = join(folder, 'other');
    await maintain(NOW, NAMES, other);
    cpSync(authorityFiles(other).server, authorityFiles(folder).server);
    await maintain();
    expect(served().leaf.verify(authority().publicKey)).toBe(true);
  });

  test('one that ends before what it would sign gives way, and stays beside', async () => {
    await maintain();
    const before = authority();
    await maintain(NOW + 3_400 * DAY_MS);
    expect(authority().fingerprint256).not.toBe(before.fingerprint256);
    const ended = `authority-${before.serialNumber.slice(0, 8).toLowerCase()}`;
    expect(readdirSync(folder).toSorted()).toEqual(['authority', ended, 'server.pem']);
  });

  test('a damaged one is not silently replaced: devices trust it', async () => {
    await maintain();
    writeFileSync(join(folder, 'authority', 'ca.key'), 'rubbish');
    await expect(maintain()).rejects.toMatchObject({
      code: 'CERTIFICATE_UNREADABLE',
      message: expect.stringContaining('remove the folder'),
    });
  });

  test('servers that start together have one authority, and find a certificate that fits its key', async () => {
    await Promise.all(Array.from({ length: 8 }, () => maintain()));
    expect(served().leaf.verify(authority().publicKey)).toBe(true);
    expect(readdirSync(folder).toSorted()).toEqual(['authority', 'server.pem']);
  });

  test('where nothing can be written: an error that says so', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(maintain(NOW, NAMES, file)).rejects.toMatchObject({
      code: expect.stringMatching(/OUTPUT_FAILED|UNREAD/),
    });
  });
});

describe('settings', () => {
  const tls = { auto: false, folder: '/data' };
  const server = { host: '127.0.0.1', allowed_hosts: ['cam.example'] };

  test('no TLS, files of one’s own, files that are made', () => {
    expect(certificateSettings({ ...server, tls })).toBeUndefined();
    const own = { ...tls, auto: true, cert_file: 'a.crt', key_file: 'a.key' };
    expect(certificateSettings({ ...server, tls: own })).toEqual({ files: { certificate: 'a.crt', key: 'a.key' } });
    const made = certificateSettings({ ...server, tls: { ...tls, auto: true } });
    expect(made?.files.certificate).toBe(join('/data', 'server.pem'));
    expect(made?.maintain).toBeDefined();
  });

  test('a certificate is for all names of this machine, those that were configured first, each once', () => {
    const names = certificateNames(['cam.example', 'localhost']);
    expect(names.slice(0, 2)).toEqual(['localhost', 'cam.example']);
    expect(names).toEqual(expect.arrayContaining(['127.0.0.1', '::1']));
    expect(new Set(names).size).toBe(names.length);
  });
});
