import { expect, test } from 'vitest';
import { foundParts, placed, shownParts } from './waterfall.ts';

const sum = (parts: readonly { readonly ms: number }[]) => parts.reduce((all, { ms }) => all + ms, 0);
const stages = { capture: 40, queue: 5, decode: 1, preprocess: 2, inference: 20, postprocess: 2, total: 71 };

test('the parts of a frame add up to its latency', () => {
  expect(sum(shownParts(180, 120, 'camera'))).toBeCloseTo(180);
  expect(sum(foundParts(stages, 90, 'arrival'))).toBeCloseTo(90);
});

test('a clock that is a little off makes no part negative', () => {
  for (const parts of [
    shownParts(50, 120, 'camera'),
    shownParts(-30, 10, 'camera'),
    foundParts(stages, 60, 'camera'),
  ]) {
    for (const { ms } of parts) expect(ms).toBeGreaterThanOrEqual(0);
  }
});

test('says whose clock the first part rests on', () => {
  expect(shownParts(180, 120, 'camera')[0]!.name).toBe('Camera to page');
  expect(shownParts(180, 120, 'arrival')[0]!.name).toBe('Server to page');
});

test('says nothing of parts that it does not know', () => expect(shownParts(180, undefined, 'camera')).toEqual([]));

test('each part begins where the one before has ended', () => {
  const all = placed(foundParts(stages, 90, 'camera'));
  for (const [i, { start }] of all.entries()) {
    const before = all[i - 1];
    expect(start).toBeCloseTo(before ? before.start + before.length : 0);
  }
  expect(placed([{ name: '', stage: '', ms: 0, hint: '' }])).toMatchObject([{ start: 0, length: 0 }]);
});
