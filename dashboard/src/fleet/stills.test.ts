import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { StillLoader, stillWidth } from './stills.ts';

const INTERVAL_MS = 3_000;

/** What was asked for, and how many were under way at once. */
class Server {
  readonly asked: string[] = [];
  running = 0;
  most = 0;
  tookMs = 100;
  readonly failing = new Set<string>();

  readonly load = async (id: string): Promise<void> => {
    this.asked.push(id);
    this.most = Math.max(this.most, ++this.running);
    await new Promise((done) => setTimeout(done, this.tookMs));
    this.running--;
    if (this.failing.has(id)) throw new Error('there is none');
  };

  count(id: string): number {
    return this.asked.filter((one) => one === id).length;
  }
}

let server: Server;
let loader: StillLoader;
beforeEach(() => {
  vi.useFakeTimers();
  server = new Server();
  loader = new StillLoader({ parallelMax: 3, intervalMs: INTERVAL_MS, load: server.load, now: () => Date.now() });
});
afterEach(() => void vi.useRealTimers());

test('asks at once and again and again, for what is wanted alone, and for no more than some at once', async () => {
  for (let i = 0; i < 10; i++) loader.want(`c${i}`);
  loader.want('c0');
  expect(server.asked).toEqual(['c0', 'c1', 'c2']);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(server.asked).toHaveLength(10);
  loader.drop('c0');
  await vi.advanceTimersByTimeAsync(INTERVAL_MS);
  expect(server.asked).toHaveLength(19);
  expect(server.count('c0')).toBe(1);
  expect(server.most).toBe(3);
});

test('asks a slow server less often, and each camera in its turn', async () => {
  server.tookMs = 6_000;
  for (let i = 0; i < 6; i++) loader.want(`c${i}`);
  await vi.advanceTimersByTimeAsync(60_000);
  const counts = [0, 1, 2, 3, 4, 5].map((i) => server.count(`c${i}`));
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  expect(server.most).toBe(3);
});

test('asks ever less often where there is none, and as before when there is', async () => {
  server.failing.add('c0');
  loader.want('c0');
  await vi.advanceTimersByTimeAsync(100_000);
  expect(server.count('c0')).toBeLessThanOrEqual(6);
  server.failing.clear();
  await vi.advanceTimersByTimeAsync(60_000);
  const before = server.count('c0');
  await vi.advanceTimersByTimeAsync(31_000);
  expect(server.count('c0') - before).toBeGreaterThanOrEqual(9);
});

test('rests while nobody looks', async () => {
  loader.want('c0');
  loader.pause(true);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(server.count('c0')).toBe(1);
  loader.pause(false);
  await vi.advanceTimersByTimeAsync(10);
  expect(server.count('c0')).toBe(2);
});

test('one that comes back while its former still is under way is asked for anew', async () => {
  loader.want('c0');
  loader.drop('c0');
  loader.want('c0');
  await vi.advanceTimersByTimeAsync(200);
  expect(server.count('c0')).toBe(2);
  await vi.advanceTimersByTimeAsync(INTERVAL_MS);
  expect(server.count('c0')).toBe(3);
});

test('widths come in steps, so that viewers share them', () => {
  expect([stillWidth(1, 1), stillWidth(160, 1), stillWidth(250, 1), stillWidth(250, 2), stillWidth(4_000, 2)]).toEqual([
    160, 160, 320, 640, 1_920,
  ]);
});
