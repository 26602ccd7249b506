import { expect, test } from 'vitest';
import { aheadOfMonotonicMs } from './source.ts';

/** A monotonic clock and another one that is 1,000 ms ahead of it; `waits`: how long the thread has to wait before each reading. */
function clocks(waits: readonly number[]) {
  let [nowMs, readings] = [0, 0];
  const monotonic = () => {
    nowMs += waits[readings++] ?? 0;
    return nowMs;
  };
  return { monotonic, read: () => monotonic() + 1_000 };
}

test.each([
  ['it need not', []],
  ['before the other clock is read', [0, 30]],
  ['behind that', [0, 0, 30]],
  ['in three of four readings', [0, 30, 0, 0, 0, 30, 0, 20]],
])('clocks are compared as if no thread had to wait: %s', (_, waits) => {
  const { monotonic, read } = clocks(waits);
  expect(aheadOfMonotonicMs(read, monotonic)).toBe(1_000);
});

test('where it has to wait each time, the shortest time counts', () => {
  const { monotonic, read } = clocks([0, 8, 8, 0, 2, 2, 0, 8, 8, 0, 8, 8]);
  expect(aheadOfMonotonicMs(read, monotonic)).toBe(1_000);
});
