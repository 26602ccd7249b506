import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../fuzz/client-behaviour.ts', import.meta.url));

test('two minutes of clients that do whatever a client can do: the innocents beside them lose nothing', async () => {
  // Another one every day, so that many days try many; it is printed.
  const seed = String(Math.floor(Date.now() / 86_400_000));
  const child = spawn(process.execPath, [SCRIPT, '--seconds', '120', '--seed', seed], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  expect(code, out).toBe(0);
  const report = JSON.parse(out) as { faults: string[]; actions: number; innocents: { results: number } };
  expect(report.faults).toEqual([]);
  expect(report.actions).toBeGreaterThan(1_000);
  expect(report.innocents.results).toBeGreaterThan(0);
}, 300_000);
