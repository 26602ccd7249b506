import { expect, test } from 'vitest';
import { linesOf, type SeenAlert } from './alerts.ts';

const alert = (more: Partial<SeenAlert>): SeenAlert => ({
  state: 'critical',
  summary: 'the server uses 95 % of its processors, over 90 %',
  started_at: 0,
  silenced: false,
  streams: null,
  ...more,
});

test('what fires is told with its age and its streams, silenced ones last, and what is only pending not at all', () => {
  const streams = { count: 12, worst: ['a', 'b', 'c', 'd'].map((client_id) => ({ client_id })) };
  const lines = linesOf(
    [alert({ silenced: true }), alert({ state: 'pending' }), alert({ state: 'warning', streams })],
    125 * 60_000,
  );
  expect(lines).toEqual([
    {
      kind: 'warning',
      label: 'Warning',
      text: 'The server uses 95 % of its processors, over 90 %',
      since: 'for 2 h',
      streams: 'a, b, c and 9 more',
    },
    expect.objectContaining({ kind: 'silenced', label: 'Silenced', streams: '' }),
  ]);
});

test.each([
  [30, 'for less than a minute'],
  [119 * 60, 'for 119 min'],
  [47 * 3_600, 'for 47 h'],
  [72 * 3_600, 'for 3 days'],
  [-50, 'for less than a minute'],
])('%i s: %s', (s, words) => {
  expect(linesOf([alert({})], s * 1_000)[0]!.since).toBe(words);
});
