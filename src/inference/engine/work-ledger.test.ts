import { expect, test } from 'vitest';
import { WORK_KINDS_MAX, WorkLedger } from './work-ledger.ts';

test('costs are told by program and models, and follow what happens of late', () => {
  const ledger = new WorkLedger();
  for (const ms of [10, 20, 20]) ledger.note('objects', { detector: 'a' }, ms);
  ledger.note('objects', { detector: 'b' }, 5);
  const [a, b] = ledger.stats();
  expect(a).toEqual({
    program: 'objects',
    models: { detector: 'a' },
    completed: 3,
    workerMs: 50,
    costMs: expect.closeTo(11.9, 6),
  });
  expect(b).toMatchObject({ models: { detector: 'b' }, completed: 1, workerMs: 5, costMs: 5 });
});

test('what was not done for the longest makes room', () => {
  const ledger = new WorkLedger();
  for (let i = 0; i < WORK_KINDS_MAX; i++) ledger.note(`program ${i}`, {}, 1);
  ledger.note('program 0', {}, 1);
  ledger.note('another', {}, 1);
  const programs = ledger.stats().map(({ program }) => program);
  expect(programs).toHaveLength(WORK_KINDS_MAX);
  expect(programs).not.toContain('program 1');
  expect(programs.slice(-2)).toEqual(['program 0', 'another']);
  for (let i = 0; i < 2 * WORK_KINDS_MAX; i++) ledger.asked(`file:///${i}`);
  expect(ledger.programs).toHaveLength(WORK_KINDS_MAX);
});
