import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { cpuPercent, ProcessMonitor } from './process-figures.ts';

test('load is the share of all processors', () => {
  expect(cpuPercent(500, 1000, 1)).toBe(50);
  expect(cpuPercent(500, 1000, 4)).toBe(12.5);
  expect(cpuPercent(2100, 1000, 2)).toBe(100);
});

test('figures are those of this process, its load that since the last reading', () => {
  const clock = new ManualClock();
  const monitor = new ProcessMonitor(clock);
  // Before there is anything of late it is that of the whole life.
  expect(monitor.read().cpu_percent).toBeGreaterThan(0);
  const before = process.cpuUsage();
  while (process.cpuUsage(before).user < 20_000);
  clock.advance(499);
  // Before there is anything of late it is that of the whole life.
  expect(monitor.read().cpu_percent).toBeGreaterThan(0);
  clock.advance(1);
  const { cpu_percent, ...figures } = monitor.read();
  expect(cpu_percent).toBeGreaterThan(0);
  expect(monitor.read().cpu_percent).toBe(cpu_percent);
  expect(figures.rss_bytes).toBeGreaterThan(figures.heap_used_bytes);
  expect(figures.heap_total_bytes).toBeGreaterThanOrEqual(figures.heap_used_bytes);
  expect(figures.rss_bytes).toBeGreaterThan(figures.heap_resident_bytes);
  expect(figures.heap_resident_bytes).toBeGreaterThan(0);
  expect(figures.external_bytes).toBeGreaterThan(0);
  expect(figures.uptime_s).toBeGreaterThan(0);
  const memory = process.memoryUsage();
  for (const [one, other] of [
    [figures.heap_used_bytes, memory.heapUsed],
    [figures.heap_total_bytes, memory.heapTotal],
    [figures.external_bytes, memory.external],
  ] as const) {
    expect(Math.abs(one - other)).toBeLessThan(0.2 * other);
  }
  clock.advance(1e12);
  expect(monitor.read().cpu_percent).toBeLessThan(0.01);
});
