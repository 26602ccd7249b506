import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { ALL_GRANTS } from './grants.ts';
import { LOGIN_MS, Logins, LOGINS_MAX } from './logins.ts';
import { Principal } from './principal.ts';

const make = (id: string) => new Principal({ id, name: id, grants: ALL_GRANTS });

test('a login stands for its principal until it is closed, or its time is over', () => {
  const clock = new ManualClock();
  const logins = new Logins(clock);
  const principal = make('a');
  const [one, two] = [logins.open(principal), logins.open(principal)];
  expect(one).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(logins.principalOf(one)).toBe(principal);
  logins.close(one);
  expect([logins.principalOf(one), logins.principalOf(two), logins.principalOf('x')]).toEqual([
    undefined,
    principal,
    undefined,
  ]);
  clock.advance(LOGIN_MS);
  expect([logins.principalOf(two), logins.size, principal.dependants]).toEqual([undefined, 0, 0]);
});

test('it ends with the credential', () => {
  const logins = new Logins(new ManualClock());
  const principal = make('a');
  const id = logins.open(principal);
  principal.end(new SightlineError('CREDENTIALS_BAD', 'revoked'));
  expect([logins.principalOf(id), logins.size]).toEqual([undefined, 0]);
});

test('of too many the oldest ends', () => {
  const logins = new Logins(new ManualClock());
  const principal = make('a');
  const ids = Array.from({ length: LOGINS_MAX + 2 }, () => logins.open(principal));
  expect([logins.size, principal.dependants]).toEqual([LOGINS_MAX, LOGINS_MAX]);
  expect(ids.map((id) => logins.principalOf(id)).indexOf(principal)).toBe(2);
});
