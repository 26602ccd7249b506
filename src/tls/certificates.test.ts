import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestAuthority } from '../../test/support/certificates.ts';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock } from '../base/clock.ts';
import { Certificates } from './certificates.ts';
import type { Identity } from './identity.ts';

const AUTHORITY = new TestAuthority();
const ENCRYPTED = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'secret',
});
const DAY_MS = 86_400_000;
/** Longer than it waits whether files change further. */
const LATER_MS = 600;
const RETRY_MS = 10_000;

let folder: string;
let clock: ManualClock;
let told = collectingLog();
let certificates: Certificates;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-tls-'));
  clock = new ManualClock(Date.now());
  told = collectingLog({ clock });
});
afterEach(() => {
  certificates?.close();
  rmSync(folder, { recursive: true });
});

const files = () => ({ certificate: join(folder, 'server.crt'), key: join(folder, 'server.key') });

function write({ certificate, key }: { readonly certificate: string; readonly key: string }): void {
  writeFileSync(files().certificate, certificate);
  writeFileSync(files().key, key);
}

async function open(maintain?: () => Promise<void>): Promise<Identity[]> {
  certificates = new Certificates({ clock, log: told.log, settings: { files: files(), maintain } });
  await certificates.open();
  const changes: Identity[] = [];
  certificates.onChange((identity) => changes.push(identity));
  return changes;
}

async function checkLater(ms = LATER_MS): Promise<void> {
  await certificates.check();
  clock.advance(ms);
  await certificates.check();
}

const events = () => told.entries.map(({ event }) => event);

describe('at the start', () => {
  test('what is fit is taken', async () => {
    write(AUTHORITY.issue({ names: ['rover.local', '192.0.2.7', '2001:db8::7'] }));
    await open();
    expect(certificates.identity.names).toEqual(['rover.local', '192.0.2.7', '2001:db8::7']);
    expect(certificates.report()).toMatchObject({ reloads: 0, failures: 0 });
    expect(told.entries).toEqual([]);
  });

  test.each([
    ['a certificate that has expired', () => AUTHORITY.issue({ to: -0.5 }), 'CERTIFICATE_BAD', 'has expired'],
    ['one that does not count yet', () => AUTHORITY.issue({ from: 1 }), 'CERTIFICATE_BAD', 'counts only from'],
    [
      'another one’s key',
      () => ({ ...AUTHORITY.issue(), key: AUTHORITY.issue().key }),
      'CERTIFICATE_BAD',
      'does not belong',
    ],
    ['no certificate', () => ({ ...AUTHORITY.issue(), certificate: 'x' }), 'CERTIFICATE_UNREADABLE', 'PEM form'],
    ['no key', () => ({ ...AUTHORITY.issue(), key: '' }), 'CERTIFICATE_UNREADABLE', 'no private key'],
    [
      'an encrypted key',
      () => ({ ...AUTHORITY.issue(), key: String(ENCRYPTED) }),
      'CERTIFICATE_UNREADABLE',
      'passphrase',
    ],
    [
      'a file that is far too large',
      () => ({ ...AUTHORITY.issue(), certificate: 'x'.repeat(2 ** 20 + 1) }),
      'CERTIFICATE_UNREADABLE',
      'over',
    ],
  ])('%s is refused', async (_, pair, code, words) => {
    write(pair());
    await expect(open()).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
  });

  test('a file that is missing is refused', async () => {
    await expect(open()).rejects.toMatchObject({ code: 'CERTIFICATE_UNREADABLE' });
  });
});

describe('while it runs', () => {
  test('a change is taken up once it has stood for a moment', async () => {
    write(AUTHORITY.issue());
    const changes = await open();
    const next = AUTHORITY.issue({ to: 60 });
    writeFileSync(files().certificate, next.certificate);
    // The key is still the old one: nobody looks yet.
    await certificates.check();
    clock.advance(100);
    writeFileSync(files().key, next.key);
    await certificates.check();
    expect(changes).toEqual([]);
    clock.advance(LATER_MS);
    await certificates.check();
    expect(changes.map(({ key }) => key)).toEqual([next.key]);
    expect(certificates.identity.key).toBe(next.key);
    expect(events()).toEqual(['certificate_changed']);
    await checkLater();
    expect(changes).toHaveLength(1);
  });

  test('at once, where somebody says that it has changed', async () => {
    write(AUTHORITY.issue());
    const changes = await open();
    write(AUTHORITY.issue());
    await certificates.check(true);
    expect(changes).toHaveLength(1);
  });

  test('a link that is switched to another file counts as well', async () => {
    const [first, second] = [AUTHORITY.issue(), AUTHORITY.issue()];
    for (const [name, { certificate, key }] of Object.entries({ first, second })) {
      writeFileSync(join(folder, name), certificate + key);
    }
    for (const path of Object.values(files())) symlinkSync(join(folder, 'first'), path);
    const changes = await open();
    for (const path of Object.values(files())) {
      symlinkSync(join(folder, 'second'), `${path}.new`);
      renameSync(`${path}.new`, path);
    }
    await checkLater();
    expect(changes).toHaveLength(1);
  });

  test.each([
    ['a key that does not belong to it', () => writeFileSync(files().key, AUTHORITY.issue().key), 'does not belong'],
    ['rubbish', () => writeFileSync(files().certificate, 'rubbish'), 'PEM form'],
    ['one that has expired', () => write(AUTHORITY.issue({ to: -0.5 })), 'has expired'],
    ['a file that is gone', () => rmSync(files().key), 'cannot be read'],
  ])('%s changes nothing, is told and counted, and tried again', async (_, spoil, reason) => {
    const good = AUTHORITY.issue();
    write(good);
    const changes = await open();
    spoil();
    await checkLater();
    expect(changes).toEqual([]);
    expect(certificates.identity.key).toBe(good.key);
    expect(told.entries.map(({ event, level, fields }) => [event, level, fields['reason']])).toEqual([
      ['certificate_unusable', 'error', expect.stringContaining(reason)],
    ]);
    await checkLater();
    expect(certificates.report()).toMatchObject({ reloads: 0, failures: 1 });
    await checkLater(RETRY_MS);
    expect(certificates.report().failures).toBe(2);
    const next = AUTHORITY.issue();
    write(next);
    await checkLater();
    expect(changes.map(({ key }) => key)).toEqual([next.key]);
    expect(certificates.report()).toMatchObject({ reloads: 1, failures: 2 });
  });

  test('its end is told two weeks before, once a day', async () => {
    write(AUTHORITY.issue({ to: 20 }));
    await open();
    expect(events()).toEqual([]);
    clock.advance(7 * DAY_MS);
    await certificates.check();
    await certificates.check();
    expect(events()).toEqual(['certificate_expires']);
    clock.advance(DAY_MS);
    await certificates.check();
    expect(events()).toEqual(['certificate_expires', 'certificate_expires']);
  });

  test('whoever makes the files is asked now and then', async () => {
    let asked = 0;
    const changes = await open(async () => {
      if (++asked !== 2) write(AUTHORITY.issue());
    });
    expect(asked).toBe(1);
    await certificates.check();
    expect(asked).toBe(1);
    clock.advance(60_000);
    await checkLater();
    expect([asked, changes.length]).toEqual([2, 0]);
    clock.advance(60_000);
    await checkLater();
    expect([asked, changes.length]).toEqual([3, 1]);
  });
});
