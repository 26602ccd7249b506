import { expect, test } from 'vitest';
import { LiveQueue } from './live-queue.ts';

async function drain<T>(queue: LiveQueue<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of queue) items.push(item);
  return items;
}

test('keeps the newest and counts the rest', async () => {
  const queue = new LiveQueue<number>(2, () => {});
  for (const n of [1, 2, 3, 4]) queue.push(n);
  queue.end();
  queue.push(5);
  expect(await drain(queue)).toEqual([3, 4]);
  expect(queue.dropped).toBe(2);
});

test('a waiting reader gets the item at once', async () => {
  const queue = new LiveQueue<number>(1, () => {});
  const next = queue.next();
  queue.push(7);
  expect(await next).toEqual({ done: false, value: 7 });
  const last = queue.next();
  queue.end();
  expect(await last).toEqual({ done: true, value: undefined });
});

test('what is queued is read before the error that ended it', async () => {
  const queue = new LiveQueue<number>(4, () => {});
  queue.push(1);
  queue.end(new Error('over'));
  expect((await queue.next()).value).toBe(1);
  await expect(queue.next()).rejects.toThrow('over');
});

test('a reader that leaves ends the queue, once', async () => {
  let ended = 0;
  const queue = new LiveQueue<number>(4, () => ended++);
  for (const n of [1, 2, 3]) queue.push(n);
  for await (const n of queue) if (n === 2) break;
  queue.end();
  expect(ended).toBe(1);
  expect(await queue.next()).toEqual({ done: true, value: undefined });
});

test('items count by their weight, and one alone is kept', async () => {
  const queue = new LiveQueue<number[]>(
    4,
    () => {},
    (items) => items.length,
  );
  queue.push([1, 2]);
  expect(queue.hasRoomFor(2)).toBe(true);
  queue.push([3, 4]);
  expect(queue.hasRoomFor(1)).toBe(false);
  queue.push([5]);
  expect([queue.weight, queue.dropped, queue.oldest]).toEqual([3, 2, [3, 4]]);
  queue.push([6, 7, 8, 9, 10]);
  expect([queue.weight, queue.dropped]).toEqual([5, 5]);
  queue.end();
  expect(await drain(queue)).toEqual([[6, 7, 8, 9, 10]]);
});
