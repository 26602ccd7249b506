import { describe, expect, test } from 'vitest';
import {
  KINDS,
  lasting,
  LOAD_TESTS,
  publisherCount,
  readsFrom,
  SCENARIOS,
  secondsOf,
  selectTests,
} from './scenarios.ts';

test.each([
  ['low_load', 5, 10, 60],
  ['normal_load', 10, 20, 60],
  ['high_load', 20, 20, 60],
  ['stress_test', 50, 10, 120],
  ['burst_test', 10, 100, 30],
])('%s: %d connections at %d Hz for %d s', (name, connections, rateHz, seconds) => {
  expect(selectTests(name)).toMatchObject([{ connections, phases: [{ rateHz, seconds }], p95MsMax: 10 }]);
});

test('all four kinds are there, and names select', () => {
  const kinds = ['connection_capacity', 'high_throughput', 'sustained_load', 'adaptive_response'];
  expect(KINDS.map(({ kind }) => kind)).toEqual(kinds);
  expect(selectTests('all')).toBe(LOAD_TESTS);
  expect(selectTests('scenarios')).toBe(SCENARIOS);
  expect(selectTests('LOW_LOAD')).toBeUndefined();
  expect(selectTests('__proto__')).toBeUndefined();
});

test('another length keeps the shares of the phases', () => {
  const short = lasting(selectTests('adaptive_response')![0]!, 4);
  expect(short.phases.map(({ seconds }) => seconds)).toEqual([1, 2, 1]);
  expect(secondsOf(short)).toBe(4);
});

describe('who reads whom', () => {
  test.each(LOAD_TESTS)('$name: every reader has a publisher', (one) => {
    for (let place = 0; place < one.connections; place += 1) {
      const source = readsFrom(one, place);
      if (source === undefined) expect([one.topology, place]).toEqual(['fan', 0]);
      else expect(source).toBeLessThan(publisherCount(one));
      if (one.topology === 'ring') expect(source).not.toBe(place);
    }
  });
});
