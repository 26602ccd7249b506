import { expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { parseGrant } from './grants.ts';
import { Principal } from './principal.ts';

const make = (...grants: string[]) => new Principal({ id: 'key:1', name: 'rover7', grants: grants.map(parseGrant) });

test('what it may not is refused by name', () => {
  const principal = make('publish:topics/rover7/#');
  principal.require('publish', 'topics/rover7/pose');
  expect(() => principal.require('publish', 'topics/rover8/pose')).toThrow(
    expect.objectContaining({
      code: 'PERMISSION_DENIED',
      message: '"rover7" has no permission publish:topics/rover8/pose',
    }),
  );
});

test('with its credential everything ends, once, and nothing is allowed any more', () => {
  const principal = make('admin');
  const told: string[] = [];
  principal.onEnd(({ code }) => told.push(`a ${code}`));
  const forget = principal.onEnd(() => told.push('b'));
  forget();
  expect(principal.dependants).toBe(1);
  const reason = new SightlineError('CREDENTIALS_BAD', 'revoked');
  principal.end(reason);
  principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'over'));
  expect([told, principal.isEnded, principal.dependants]).toEqual([['a CREDENTIALS_BAD'], true, 0]);
  expect(principal.allows('read', 'metrics')).toBe(false);
  expect(principal.allowsSome('read', 'metrics')).toBe(false);
  expect(() => principal.require('read', 'metrics')).toThrow(reason);
  principal.onEnd(({ code }) => told.push(`late ${code}`));
  expect(told).toEqual(['a CREDENTIALS_BAD', 'late CREDENTIALS_BAD']);
});

test('what lives by a credential ends with it, unless it has left before', () => {
  const principal = make('admin');
  const ended: string[] = [];
  const dependant = (name: string) => ({ end: ({ code }: SightlineError) => void ended.push(`${name} ${code}`) });
  const [stays, leaves] = [dependant('stays'), dependant('leaves')];
  for (const one of [stays, leaves, stays]) principal.add(one);
  principal.remove(leaves);
  principal.remove(leaves);
  expect(principal.dependants).toBe(1);
  principal.end(new SightlineError('CREDENTIALS_BAD', 'revoked'));
  principal.add(dependant('late'));
  expect([ended, principal.dependants]).toEqual([['stays CREDENTIALS_BAD', 'late CREDENTIALS_BAD'], 0]);
});
