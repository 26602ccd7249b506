import fc from 'fast-check';
import { expect, test } from 'vitest';
import { matches } from '../protocol/topic.ts';
import { allows, allowsSome, grantText, parseGrant } from './grants.ts';

const may = (grants: string, wanted: string): boolean => {
  const { action, filter } = parseGrant(wanted);
  return allows(grants.split(' ').map(parseGrant), action, filter);
};

test.each([
  ['subscribe:topics/#', 'subscribe:topics/a/b', true],
  ['subscribe:topics/#', 'subscribe:topics/#', true],
  ['subscribe:topics/#', 'subscribe:topics', true],
  ['subscribe:topics/a/#', 'subscribe:topics/a/+', true],
  ['subscribe:topics/a/#', 'subscribe:topics/#', false],
  ['subscribe:topics/a/#', 'subscribe:topics/ab/c', false],
  ['subscribe:topics/+/pose', 'subscribe:topics/a/pose', true],
  ['subscribe:topics/+/pose', 'subscribe:topics/+/pose', true],
  ['subscribe:topics/+/pose', 'subscribe:topics/#', false],
  ['subscribe:topics/+/pose', 'subscribe:topics/a/b/pose', false],
  ['subscribe:topics/a', 'subscribe:topics/+', false],
  ['subscribe:topics/a', 'publish:topics/a', false],
  ['publish', 'publish:sessions/gate-4', true],
  ['admin:topics/a', 'publish:topics/a', true],
  ['admin:topics/a', 'read:metrics', false],
  ['admin', 'read:metrics', true],
  ['read:metrics', 'read:config', false],
  ['read:config', 'admin:config', false],
  ['read:metrics subscribe:topics/a', 'subscribe:topics/a', true],
  ['read:sessions/a', 'read:sessions', false],
])('whoever may %s: may it %s? %s', (grants, wanted, answer) => expect(may(grants, wanted)).toBe(answer));

test.each([
  ['publish:topics/a/#', 'publish', 'topics', true],
  ['publish:topics/a/#', 'subscribe', 'topics', false],
  ['publish:sessions/a', 'publish', 'topics', false],
  ['publish:+/x', 'publish', 'topics', true],
  ['publish', 'publish', 'topics', true],
  ['publish:topics', 'publish', 'topics', true],
] as const)('whoever may %s: may it %s something of %s? %s', (grant, action, resource, answer) =>
  expect(allowsSome([parseGrant(grant)], action, resource)).toBe(answer),
);

test.each([
  ['', /begins with none/],
  ['watch:topics', /begins with none/],
  ['read:', /empty level/],
  ['read:a//b', /empty level/],
  ['read:a/#/b', /# before the last/],
  ['read:a+', /not a level of its own/],
  [`read:${'x'.repeat(301)}`, /more than 300/],
])('"%s" is no permission', (text, message) => expect(() => parseGrant(text)).toThrow(message));

test('a permission is written as it is read', () => {
  for (const text of ['admin', 'read:metrics', 'subscribe:topics/+/pose/#']) {
    expect(grantText(parseGrant(text))).toBe(text);
  }
  expect(grantText(parseGrant('read:#'))).toBe('read');
});

const level = fc.constantFrom('a', 'b', '+');
const filter = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'));
const topic = fc
  .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'));

test('who may have a filter may have every topic that it takes in', () => {
  fc.assert(
    fc.property(filter, filter, topic, (granted, wanted, name) => {
      const grants = [parseGrant(`subscribe:${granted}`)];
      if (allows(grants, 'subscribe', wanted) && matches(wanted, name)) {
        expect(allows(grants, 'subscribe', name)).toBe(true);
      }
      expect(allows(grants, 'subscribe', name)).toBe(matches(granted, name));
    }),
    { numRuns: 2_000 },
  );
});
