import { expect, test, vi } from 'vitest';
import { EventLoopMonitor } from './event-loop.ts';

function blockFor(ms: number) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** The loop comes round often enough for the monitor to have recorded what was before. */
const turns = () => new Promise((done) => setTimeout(done, 40));

test('a blocked event loop shows, at its length', async () => {
  const monitor = new EventLoopMonitor();
  await turns();
  blockFor(150);
  await vi.waitFor(() => expect(monitor.read().max_ms).toBeGreaterThan(130));
  const { p50_ms, p99_ms, max_ms } = monitor.read();
  expect(p50_ms).toBeLessThanOrEqual(p99_ms!);
  expect(p99_ms).toBeLessThanOrEqual(max_ms!);
  monitor.close();
  monitor.close();
  await turns();
  expect(monitor.read().max_ms).toBe(max_ms);
});

test('a block is forgotten after two windows', async () => {
  const monitor = new EventLoopMonitor(100);
  await turns();
  blockFor(400);
  await vi.waitFor(() => expect(monitor.read().max_ms).toBeGreaterThan(350), { interval: 2 });
  await vi.waitFor(() => expect(monitor.read().max_ms).toBeLessThan(300), { timeout: 5_000 });
  monitor.close();
});
