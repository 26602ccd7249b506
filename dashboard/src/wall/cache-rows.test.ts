import { expect, test } from 'vitest';
import { cacheRows } from './cache-rows.ts';

const NOTHING = { fragments: 0, bytes: 0 };
const EMPTY = { requests: { asked: 0 }, hit_ratio: null, memory: NOTHING, tiers: [], ahead: { hits: 0 } };

test('while nobody asks for fragments there is nothing to tell', () => {
  expect(cacheRows(EMPTY)).toBeUndefined();
  expect(cacheRows({ ...EMPTY, requests: { asked: 1 } })).toEqual([
    { name: 'Memory', text: 'Nothing', isFailing: false },
  ]);
});

test('what each tier holds, and why one does not work', () => {
  const rows = cacheRows({
    requests: { asked: 1_000 },
    hit_ratio: 0.9876,
    memory: { fragments: 1, bytes: 300_000 },
    tiers: [
      { name: 'redis', state: 'failing', reason: 'no answer within 100 ms', ...NOTHING },
      { name: 'disk', state: 'working', reason: null, fragments: 20, bytes: 3_400_000 },
    ],
    ahead: { hits: 12 },
  });
  expect(rows!.map(({ name, text }) => `${name}: ${text}`)).toEqual([
    'Found in memory: 98.8 % of requests',
    'Memory: 1 fragment, 300 kB',
    'Redis: Does not work: no answer within 100 ms',
    'Disk: 20 fragments, 3.4 MB',
    'Read ahead: 12 requests found what had been read before',
  ]);
  expect(rows!.filter(({ isFailing }) => isFailing)).toHaveLength(1);
});
