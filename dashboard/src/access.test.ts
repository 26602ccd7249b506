import { expect, test } from 'vitest';
import { may } from './access.ts';

const me = (...permissions: string[]) => ({ asks: true, name: 'anna', permissions });

test.each([
  [['admin'], 'cameras', true],
  [['admin:#'], 'cameras/north', true],
  [['admin:cameras/#'], 'cameras', true],
  [['admin:cameras/#'], 'cameras/north', true],
  [['admin:cameras/north'], 'cameras/north', true],
  [['admin:cameras/north'], 'cameras/yard', false],
  [['admin:cameras/north'], 'cameras', false],
  [['admin:cameras/+'], 'cameras/north', true],
  [['read:cameras/#', 'publish'], 'cameras/north', false],
  [['admin:topics/#', 'admin:cameras/north'], 'cameras/north', true],
  [[], 'cameras', false],
])('%j lets change %s: %s', (permissions, resource, expected) => {
  expect(may(me(...permissions), 'admin', resource)).toBe(expected);
});

test('who may change may read; where nobody is asked everybody may', () => {
  expect(may(me('admin:cameras/#'), 'read', 'cameras/north')).toBe(true);
  // A server that does not answer that question is asked by the operation itself.
  expect(may({ asks: false, name: null, permissions: [] }, 'admin', 'cameras')).toBe(true);
});
