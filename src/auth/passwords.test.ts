import { scryptSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { hashPassword, isPasswordHash, PasswordChecker } from './passwords.ts';

const PASSWORD = 'correct horse battery';

test('a hash says how it was made, holds no password, and is another one each time', async () => {
  const [one, two] = await Promise.all([hashPassword(PASSWORD), hashPassword(PASSWORD)]);
  expect(one).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  expect(isPasswordHash(one)).toBe(true);
  expect(two).not.toBe(one);
  const [, , , salt, hash] = one.split('$');
  const again = scryptSync(PASSWORD, Buffer.from(salt!, 'base64'), 32, { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 });
  expect(again.toString('base64')).toBe(`${hash}=`);
});

test('the right password, and no other; the same letters in another form are the same', async () => {
  const checker = new PasswordChecker();
  const hash = await hashPassword('pässwörd for äll');
  expect(await checker.check('pässwörd for äll'.normalize('NFD'), hash)).toBe(true);
  expect(await checker.check('pässwörd for alle', hash)).toBe(false);
  // Nobody has it, whatever is tried.
  expect(await checker.check('', undefined)).toBe(false);
});

test.each(['', 'too short', 'x'.repeat(1_025)])('%.12s… is no password', async (password) => {
  await expect(hashPassword(password)).rejects.toMatchObject({ code: 'USAGE' });
});

test.each([
  '$scrypt$ln=30,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$' + 'A'.repeat(43),
  '$scrypt$ln=15,r=64,p=3$AAAAAAAAAAAAAAAAAAAAAA$' + 'A'.repeat(43),
  '$argon2id$v=19$m=65536,t=3,p=4$AAAA$AAAA',
  PASSWORD,
])('%.30s is no hash that is taken', (text) => expect(isPasswordHash(text)).toBe(false));

test('a few at once, some that wait, and no more', async () => {
  const checker = new PasswordChecker();
  // Half as dear, and of no password.
  const hash = `$scrypt$ln=14,r=8,p=1$${'A'.repeat(22)}$${'B'.repeat(43)}`;
  const checks = Array.from({ length: 40 }, () => checker.check('x', hash).catch((error: Error) => error));
  const refused = (await Promise.all(checks)).filter((came) => came !== false);
  expect(refused).toHaveLength(6);
  for (const error of refused) expect(error).toMatchObject({ code: 'CREDENTIALS_UNCHECKED' });
  expect(await checker.check('x', hash)).toBe(false);
});
