import { expect, test } from 'vitest';
import { partsOf } from './apps.ts';

test.each([
  ['serve', undefined, []],
  ['serve', 'rover', ['rover']],
  ['serve', 'traffic', []],
  ['demo', undefined, ['camera', 'wall', 'rover']],
  ['demo', 'rover', ['rover']],
  ['demo', 'traffic', ['wall']],
] as const)('%s with the app %s has its own parts: %j', (command, app, wanted) => {
  const parts = Object.entries(partsOf(app, command === 'demo'));
  expect(parts.filter(([, has]) => has).map(([part]) => part)).toEqual(wanted);
});
