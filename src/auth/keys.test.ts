import { expect, test } from 'vitest';
import { parseGrant } from './grants.ts';
import { hashOf, idOfKey, makeKey, makePerson, readKeys, writeKeys } from './keys.ts';

const parts = (name: string) => ({ name, grants: [parseGrant('read')], createdMs: Date.UTC(2026, 0, 2) });

test('a key has 256 random bits, and names itself', () => {
  const { key, text } = makeKey(parts('one'));
  expect(text).toMatch(/^sightline_[a-z2-9]{8}_[A-Za-z0-9_-]{43}$/);
  expect(idOfKey(text)).toBe(key.id);
  expect(key.hash).toBe(hashOf(text));
  expect(JSON.stringify(key)).not.toContain(text.slice(-43));
  expect(new Set(Array.from({ length: 100 }, () => makeKey(parts('one')).text)).size).toBe(100);
});

test.each(['', 'x', 'sightline_', 'sightline_aaaaaaaa_short', ` ${makeKey(parts('a')).text}`, 'x'.repeat(100_000)])(
  '%.20s is no key',
  (text) => expect(idOfKey(text)).toBeUndefined(),
);

const PASSWORD = `$scrypt$ln=15,r=8,p=3$${'A'.repeat(22)}$${'B'.repeat(43)}`;

test('a file is read as it was written', () => {
  const keys = [
    makeKey(parts('one')).key,
    makeKey({
      ...parts('two'),
      grants: ['publish:topics/a/#', 'read'].map(parseGrant),
      expiresAtMs: Date.UTC(2027, 1, 3),
    }).key,
  ];
  keys.push(makePerson({ ...parts('ada'), password: PASSWORD }), {
    ...keys[0]!,
    id: 'aaaaaaab',
    name: 'both',
    password: PASSWORD,
  });
  const ring = { keys, revokedTokens: ['a', 'b'] };
  expect(readKeys(writeKeys(ring), 'keys.json')).toEqual(ring);
  expect(writeKeys(ring)).not.toMatch(/sightline_/);
});

const row = {
  id: 'aaaaaaaa',
  name: 'one',
  sha256: '0'.repeat(64),
  allow: ['read'],
  created_at: '2026-01-02T00:00:00Z',
};
test.each([
  ['not JSON', '{', /is not JSON/],
  ['another document', '[]', /keys\.json: the document/],
  ['a later version', JSON.stringify({ version: 2, keys: [] }), /version/],
  ['a short hash', JSON.stringify({ version: 1, keys: [{ ...row, sha256: 'abc' }] }), /keys\.0\.sha256/],
  [
    'neither key nor password',
    JSON.stringify({ version: 1, keys: [{ ...row, sha256: undefined }] }),
    /keys\.0: has neither/,
  ],
  ['a bad password', JSON.stringify({ version: 1, keys: [{ ...row, password: 'x' }] }), /keys\.0\.password/],
  ['an unknown field', JSON.stringify({ version: 1, keys: [{ ...row, secret: 'x' }] }), /keys\.0/],
  [
    'a bad permission',
    JSON.stringify({ version: 1, keys: [{ ...row, allow: ['fly'] }] }),
    /key aaaaaaaa: the permission "fly"/,
  ],
  ['no permission', JSON.stringify({ version: 1, keys: [{ ...row, allow: [] }] }), /keys\.0\.allow/],
  ['a bad time', JSON.stringify({ version: 1, keys: [{ ...row, expires_at: 'soon' }] }), /expires_at/],
  ['one id twice', JSON.stringify({ version: 1, keys: [row, { ...row, name: 'two' }] }), /same id/],
  ['one name twice', JSON.stringify({ version: 1, keys: [row, { ...row, id: 'bbbbbbbb' }] }), /same name/],
])('%s is refused, and where is said', (_what, text, message) => {
  expect(() => readKeys(text, 'keys.json')).toThrow(
    expect.objectContaining({ code: 'CREDENTIALS_UNREADABLE', message: expect.stringMatching(message) }),
  );
});
