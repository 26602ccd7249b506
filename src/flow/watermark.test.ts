import { expect, test } from 'vitest';
import { judgeQueue } from './watermark.ts';

test('warns once over 70 %, again only after it has been below 50 %', () => {
  let warned = false;
  const warnings = [60, 71, 80, 69, 75, 49, 71].map((bytes) => {
    const verdict = judgeQueue(bytes, 100, warned);
    warned = verdict.warned;
    return verdict.warns;
  });
  expect(warnings).toEqual([false, true, false, false, false, false, true]);
});

test('over 90 % what is above 70 % has to go', () => {
  expect(judgeQueue(90, 100, true).excessBytes).toBe(0);
  expect(judgeQueue(91, 100, true).excessBytes).toBe(21);
  expect(judgeQueue(1_000, 100, false)).toEqual({ warns: true, warned: true, excessBytes: 930 });
});
