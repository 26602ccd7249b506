import { expect, test } from 'vitest';
import { loadConfig } from '../config/load.ts';
import { LOG_EVENTS } from '../log/events.ts';
import { memoryBounds } from '../stream/settings.ts';
import { excessOf, memoryPlan, plannedBytes } from './memory-plan.ts';

const MIB = 2 ** 20;
const planOf = (flags: Record<string, unknown> = {}, workers = 2) =>
  memoryPlan(loadConfig({ env: {}, flags }), { workers });
const bytesOf = (name: string, plan = planOf()) => plan.find((one) => one.name === name)!.bytes;

test('all bounds at their defaults come to less than the process may have', () => {
  const config = loadConfig({ env: {} });
  expect(plannedBytes(planOf())).toBeLessThan(config.performance.max_memory_usage * MIB);
  expect(new Set(planOf().map(({ name }) => name)).size).toBe(planOf().length);
});

test('every kind of the ledger is in it, with at least its total', () => {
  const bounds = memoryBounds(loadConfig({ env: {} }));
  for (const [kind, { totalBytesMax }] of Object.entries(bounds)) {
    expect(bytesOf(kind)).toBeGreaterThanOrEqual(totalBytesMax);
  }
});

test.each<[string, Record<string, unknown>, string, number]>([
  ['histories', { 'telemetry.history_total_bytes_max': 300 * MIB }, 'history', 44],
  ['connections', { 'server.max_connections': 2000 }, 'unsent', 2000],
  ['slow readers', { 'streaming.send_buffer_bytes_max': 2 * MIB }, 'unsent', 2000],
  ['answers', { 'server.answer_bytes_max': 65 * MIB }, 'answers', 1],
  ['large pictures', { 'streaming.image_pixels_max': 2 * 33_554_432 }, 'workers', 256],
])('it follows the settings: %s', (_, flags, name, moreMib) => {
  expect(Math.round((bytesOf(name, planOf(flags)) - bytesOf(name)) / MIB)).toBe(moreMib);
});

test('more than the setting or the machine has is told with the numbers', () => {
  const plan = planOf();
  const planned = plannedBytes(plan);
  expect(excessOf(plan, 8192, 2 ** 40)).toBeUndefined();
  expect(excessOf(plan, planned / MIB, planned)).toBeUndefined();
  expect(excessOf(plan, 1_000, 2 ** 40)).toMatchObject({ max_memory_usage_mib: 1_000, machine_mib: 2 ** 20 });
  const excess = excessOf(plan, 8192, 2 ** 30)!;
  expect(excess).toMatchObject({ planned_mib: Math.ceil(planned / MIB), machine_mib: 1_024 });
  expect(excess.largest[0]).toMatch(/^unsent \d+ MiB$/);
  expect(LOG_EVENTS.memory_promised.text(excess)).toMatch(
    /come to \d+ MiB together, over the 1024 MiB of this machine/,
  );
});

test('workers count', () => {
  expect(plannedBytes(planOf({}, 4)) - plannedBytes(planOf({}, 2))).toBeGreaterThan(2 * 128 * MIB);
});
