import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Turns } from '../fences/turns.ts';
import { RequestQueue, RequestQueues } from './request-queue.ts';

function thread() {
  const clock = new ManualClock(0);
  const due: { waitMs: number; run: () => void }[] = [];
  const turns = new Turns({ clock, schedule: (waitMs, run) => void due.push({ waitMs, run }) });
  /** The next turn of the event loop that works on requests. */
  const turn = async (): Promise<void> => {
    // Time passes.
    const { waitMs, run } = due.shift()!;
    clock.advance(waitMs + 0.01);
    run();
    await new Promise(setImmediate);
  };
  return { clock, due, turns, turn };
}

function opened() {
  const { clock, due, turns, turn } = thread();
  const queue = new RequestQueue({ clock, turns });
  const done: string[] = [];
  /** Does a part of its work at once, and the rest after it has waited for nothing. */
  const request = (name: string, costMs = 1, isOver = false) =>
    queue.submit({
      isOver,
      run: () => {
        clock.advance(costMs / 2);
        void rest(name, costMs);
      },
    });
  const rest = async (name: string, costMs: number): Promise<void> => {
    await Promise.resolve();
    await Promise.resolve();
    clock.advance(costMs / 2);
    done.push(name);
  };
  return { queue, request, turn, done, due, clock };
}

test('a request that comes alone runs at once, and is charged with what it does until it waits for something', async () => {
  const { queue, request, done } = opened();
  request('a', 1.5);
  await new Promise(setImmediate);
  expect([done, queue.time.usedMs, queue.size]).toEqual([['a'], 1.5, 0]);
});

test('many that come at once run one in a turn, in their order, for a share of the time', async () => {
  const { queue, request, done, turn, clock } = opened();
  for (let i = 0; i < 50; i++) request(String(i), 2);
  await new Promise(setImmediate);
  expect(done).toEqual(['0']);
  while (queue.size > 0) await turn();
  expect(done).toEqual(Array.from({ length: 50 }, (_, i) => String(i)));
  expect(queue.time.usedMs).toBe(100);
  expect(clock.now()).toBeGreaterThan(180);
});

test('those whose client has gone cost nothing', async () => {
  const { queue, request, done, turn, due } = opened();
  request('a', 4);
  for (let i = 0; i < 1_000; i++) request('gone', 1, true);
  request('b');
  await new Promise(setImmediate);
  while (due.length > 0) await turn();
  expect([done, queue.time.usedMs, queue.size]).toEqual([['a', 'b'], 5, 0]);
});

test('requests of one address wait for each other, not those of another', async () => {
  const { clock, turns, turn } = thread();
  const queues = new RequestQueues({ clock, turns });
  const done: string[] = [];
  const ask = (address: string, name: string): void =>
    queues.submit(address, {
      isOver: false,
      run: () => {
        clock.advance(1);
        done.push(name);
      },
    });
  for (let i = 0; i < 100; i++) ask('192.0.2.7', 'flood');
  await new Promise(setImmediate);
  while (done.length < 30) await turn();
  ask('192.0.2.8', 'other');
  await new Promise(setImmediate);
  for (let i = 0; i < 6 && !done.includes('other'); i++) await turn();
  expect(done).toContain('other');
  expect(queues.size).toBeGreaterThan(60);
  while (queues.size > 0) await turn();
  expect(done).toHaveLength(101);
});
