import { expect, test } from 'vitest';
import { parseRequest } from '../bench/request.ts';

test.each<[words: string[], says: RegExp]>([
  [[], /^which benchmark\?$/],
  [['nothing'], /^there is no benchmark "nothing"$/],
  [['vision', 'soak'], /^there is no benchmark "vision soak"$/],
  [['vision', '--fast'], /'--fast'/],
  [['vision', '--provider', 'webgpu'], /^vision runs on the cpu alone$/],
  [['fences', '--only', 'nothing'], /^fences has no part "nothing"; it has [a-z]/],
  [['soak', '--only', 'x'], /^soak has no part "x"; it has none$/],
])('%j is no request', (words, says) => {
  expect(parseRequest(words)).toMatch(says);
});

test('a request is a benchmark with its options', () => {
  expect(parseRequest(['vision', '--quick', '--json'])).toMatchObject({
    benchmark: { name: 'vision' },
    quick: true,
    json: true,
    provider: 'cpu',
  });
});
