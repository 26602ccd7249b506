import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../soak/soak.ts', import.meta.url));

test.skipIf(process.platform === 'win32')(
  'two minutes in which something goes wrong every ten seconds: the other streams do not notice, and nothing is lost untold',
  async () => {
    // Another order of faults every day, so that many days try many; it is printed.
    const seed = String(Math.floor(Date.now() / 86_400_000));
    const child = spawn(process.execPath, [SCRIPT, '--seconds', '120', '--seed', seed], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [out, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    expect(code, out).toBe(0);
    const report = JSON.parse(out) as { problems: string[]; fault_count: number; messages: { sent: number } };
    expect(report.problems).toEqual([]);
    expect(report.fault_count).toBeGreaterThan(8);
    expect(report.messages.sent).toBeGreaterThan(1_000);
  },
  300_000,
);
