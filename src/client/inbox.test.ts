import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Inbox } from './inbox.ts';

test('what is ready passes straight through', () => {
  const got: number[] = [];
  const inbox = new Inbox<number>(2, (n) => got.push(n));
  inbox.push(1, 0);
  expect(got).toEqual([1]);
});

test('items keep their order, whenever they are ready', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(fc.nat(20))), async (delays) => {
      const got: number[] = [];
      const inbox = new Inbox<number>(1_000, (n) => got.push(n));
      const releases: { after: number; release: () => void }[] = [];
      for (const [n, after] of delays.entries()) {
        if (after === null) inbox.push(n, n);
        else {
          const { promise, resolve } = Promise.withResolvers<number>();
          releases.push({ after, release: () => resolve(n) });
          inbox.push(promise, n);
        }
      }
      for (const { release } of releases.toSorted((a, b) => a.after - b.after)) release();
      await new Promise((resolve) => setImmediate(resolve));
      expect(got).toEqual(delays.map((_, n) => n));
    }),
    { numRuns: 50 },
  );
});

test('it says when it is full and for how long its first item waits, and forgets when told to', async () => {
  const got: number[] = [];
  const inbox = new Inbox<number>(2, (n) => got.push(n));
  const { promise, resolve } = Promise.withResolvers<number>();
  inbox.push(promise, 5);
  expect([inbox.isFull, inbox.oldestMs]).toEqual([false, 5]);
  inbox.push(2, 6);
  expect(inbox.isFull).toBe(true);
  inbox.clear();
  resolve(1);
  await promise;
  expect(got).toEqual([]);
  expect([inbox.isFull, inbox.oldestMs]).toEqual([false, undefined]);
});
