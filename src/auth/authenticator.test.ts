import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock, wallTimeMs } from '../base/clock.ts';
import type { SightlineError } from '../base/errors.ts';
import { Authenticator, type AuthSettings } from './authenticator.ts';
import { parseGrant } from './grants.ts';
import { Outbound } from '../net/outbound.ts';
import { hashPassword } from './passwords.ts';
import { changeKeys } from './key-file.ts';
import { makeKey, makePerson } from './keys.ts';
import type { Principal } from './principal.ts';

const LOCAL = '127.0.0.1';
const REMOTE = '192.0.2.7';

let folder: string;
let keysFile: string;
let clock: ManualClock;
let told: ReturnType<typeof collectingLog>;
let open: Authenticator[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-auth-'));
  keysFile = join(folder, 'keys.json');
  clock = new ManualClock();
  told = collectingLog();
  open = [];
});
afterEach(() => {
  for (const one of open) one.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(settings: Partial<AuthSettings> = {}): Promise<Authenticator> {
  const authenticator = new Authenticator({
    clock,
    log: told.log,
    outbound: new Outbound(),
    settings: { keysFile, isLoopback: true, isOpenToLoopback: false, jwt: undefined, callback: undefined, ...settings },
  });
  open.push(authenticator);
  await authenticator.open();
  return authenticator;
}

async function addKey(name: string, ...allow: string[]): Promise<string> {
  const { key, text } = makeKey({ name, grants: allow.map(parseGrant), createdMs: wallTimeMs(clock) });
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [...ring.keys, key] }));
  return text;
}

const revoke = (wanted: string) =>
  changeKeys(keysFile, (ring) => ({ ...ring, keys: ring.keys.filter(({ name }) => name !== wanted) }));
/** For what is decided at once. */
const who = (auth: Authenticator, credential: string | undefined, address: string | undefined): Principal =>
  auth.principalOf(credential, address) as Principal;
const codeOf = (run: () => unknown): string | undefined => {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return (thrown as SightlineError).code;
  }
};

test('without a key a server on loopback asks nobody', async () => {
  const auth = await start();
  expect(auth.isOpen).toBe(true);
  expect(who(auth, undefined, LOCAL).allows('admin', 'config')).toBe(true);
});

test('without a key there is no server for other machines, and what to do is said', async () => {
  await expect(start({ isLoopback: false })).rejects.toMatchObject({
    code: 'ADDRESS_NEEDS_CREDENTIALS',
    message: expect.stringContaining('sightline keys add'),
  });
});

test('with a key everybody needs one', async () => {
  const text = await addKey('one', 'read:metrics');
  const auth = await start();
  expect(codeOf(() => who(auth, undefined, LOCAL))).toBe('CREDENTIALS_MISSING');
  for (const wrong of ['', 'x', `${text}x`, text.slice(0, -1), text.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A'))]) {
    expect(
      codeOf(() => who(auth, wrong, LOCAL)),
      wrong,
    ).toBe('CREDENTIALS_BAD');
  }
  const principal = who(auth, text, REMOTE);
  expect(principal).toBe(who(auth, text, LOCAL));
  expect([principal.name, principal.allows('read', 'metrics'), principal.allows('read', 'config')]).toEqual([
    'one',
    true,
    false,
  ]);
});

test('a key in the form of another one, ten megabytes long, is refused at once', async () => {
  await addKey('one', 'read');
  const auth = await start();
  expect(codeOf(() => who(auth, `sightline_aaaaaaaa_${'x'.repeat(1e7)}`, REMOTE))).toBe('CREDENTIALS_BAD');
});

test('a setting opens this machine, and this machine alone', async () => {
  await addKey('one', 'read');
  const auth = await start({ isLoopback: false, isOpenToLoopback: true });
  expect(auth.isOpen).toBe(false);
  expect(who(auth, undefined, LOCAL).allows('admin', 'config')).toBe(true);
  expect(who(auth, undefined, '::ffff:127.0.0.1').allows('admin', 'config')).toBe(true);
  expect(codeOf(() => who(auth, undefined, REMOTE))).toBe('CREDENTIALS_MISSING');
  expect(codeOf(() => who(auth, undefined, undefined))).toBe('CREDENTIALS_MISSING');
});

test('who came in by a key that is revoked is sent away; others stay', async () => {
  const [one, two] = [await addKey('one', 'read'), await addKey('two', 'read')];
  const auth = await start();
  const ended: string[] = [];
  for (const text of [one, two]) {
    const principal = who(auth, text, REMOTE);
    principal.onEnd(({ code }) => ended.push(`${principal.name} ${code}`));
  }
  await revoke('one');
  await expect.poll(() => ended).toEqual(['one CREDENTIALS_BAD']);
  expect(codeOf(() => who(auth, one, REMOTE))).toBe('CREDENTIALS_BAD');
  expect(who(auth, two, REMOTE).isEnded).toBe(false);
  expect(told.entries.filter(({ event }) => event === 'keys_changed')).toHaveLength(1);
});

test('the first key ends what was open, and the last one opens loopback again', async () => {
  const auth = await start();
  const anyone = who(auth, undefined, LOCAL);
  const text = await addKey('one', 'read');
  await expect.poll(() => anyone.isEnded).toBe(true);
  expect(codeOf(() => who(auth, undefined, LOCAL))).toBe('CREDENTIALS_MISSING');
  expect(who(auth, text, LOCAL).name).toBe('one');
  await revoke('one');
  await expect.poll(() => auth.isOpen).toBe(true);
});

test('for other machines the last key opens nothing', async () => {
  await addKey('one', 'read');
  const auth = await start({ isLoopback: false });
  await revoke('one');
  await expect.poll(() => auth.keys).toBe(0);
  expect(auth.isOpen).toBe(false);
  expect(codeOf(() => who(auth, undefined, LOCAL))).toBe('CREDENTIALS_MISSING');
});

test.each([
  ['is broken', () => writeFileSync(keysFile, 'no keys'), /is not JSON/],
  ['is gone', () => rmSync(keysFile), /is gone/],
])('a file that %s changes nothing, and is told', async (_what, spoil, reason) => {
  const text = await addKey('one', 'read');
  const auth = await start();
  spoil();
  const faults = () => told.entries.filter(({ event }) => event === 'keys_unreadable');
  await expect.poll(() => faults().length).toBe(1);
  expect(faults()[0]!.fields).toMatchObject({ code: 'CREDENTIALS_UNREADABLE', reason: expect.stringMatching(reason) });
  expect(who(auth, text, REMOTE).name).toBe('one');
  expect(codeOf(() => who(auth, undefined, LOCAL))).toBe('CREDENTIALS_MISSING');
});

test('a broken file at the start is no start', async () => {
  writeFileSync(keysFile, '{}');
  await expect(start()).rejects.toMatchObject({ code: 'CREDENTIALS_UNREADABLE' });
});

test('a key expires by the wall clock, also where that is set while the server runs', async () => {
  const { key, text } = makeKey({
    name: 'short',
    grants: [parseGrant('read')],
    createdMs: wallTimeMs(clock),
    expiresAtMs: wallTimeMs(clock) + 60_000,
  });
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [key] }));
  const auth = await start();
  const principal = who(auth, text, REMOTE);
  clock.advance(59_000);
  expect(who(auth, text, REMOTE)).toBe(principal);
  clock.stepWall(365 * 86_400_000);
  await expect.poll(() => principal.isEnded).toBe(true);
  expect(codeOf(() => who(auth, text, REMOTE))).toBe('CREDENTIALS_EXPIRED');
  clock.stepWall(-365 * 86_400_000);
  expect(who(auth, text, REMOTE).isEnded).toBe(false);
});

test('a person comes in by name and password; another password sends away who came by the old one', async () => {
  const hash = await hashPassword('a long password');
  const person = (password: string) =>
    makePerson({ name: 'ada', grants: [parseGrant('read')], createdMs: 0, password });
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [{ ...person(hash), id: 'aaaaaaaa' }] }));
  const authenticator = await start();
  expect(authenticator.isOpen).toBe(false);
  const principal = await authenticator.principalByPassword('ada', 'a long password', undefined);
  expect([principal.id, principal.name]).toEqual(['key:aaaaaaaa', 'ada']);
  for (const [name, password] of [
    ['ada', 'another password'],
    ['bob', 'a long password'],
  ] as const) {
    await expect(authenticator.principalByPassword(name, password, undefined)).rejects.toMatchObject({
      code: 'CREDENTIALS_BAD',
      message: 'the name or the password is wrong',
    });
  }
  expect(() => authenticator.principalOf('a long password', undefined)).toThrow(
    expect.objectContaining({ code: 'CREDENTIALS_BAD' }),
  );
  const ended = new Promise((done) => principal.onEnd(done));
  const other = await hashPassword('quite another one');
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: [{ ...person(other), id: 'aaaaaaaa' }] }));
  expect(await ended).toMatchObject({ code: 'CREDENTIALS_BAD' });
  await authenticator.principalByPassword('ada', 'quite another one', undefined);
});
