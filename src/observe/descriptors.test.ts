import { closeSync, openSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';
import { ProcessDescriptors } from './descriptors.ts';
import { residentBytes } from './resident.ts';

afterEach(() => vi.restoreAllMocks());

test.skipIf(process.platform === 'win32')('counts what is open, below what may be', () => {
  const descriptors = new ProcessDescriptors();
  const before = descriptors.count()!;
  const opened = Array.from({ length: 20 }, () => openSync(import.meta.filename, 'r'));
  // Other parts of this process may open and close some meanwhile.
  expect(descriptors.count()! - before).toBeGreaterThan(10);
  for (const descriptor of opened) closeSync(descriptor);
  expect(descriptors.count()!).toBeLessThan(before + 10);
  expect(descriptors.max).toBeGreaterThan(before);
  expect(descriptors.intervalMs).toBeGreaterThan(0);
});

test('the resident size is the last known one where it cannot be read', () => {
  const known = residentBytes();
  expect(known).toBeGreaterThan(1e6);
  vi.spyOn(process.memoryUsage, 'rss').mockImplementation(() => {
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  });
  expect(residentBytes()).toBe(known);
});
