import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { SuiteResult } from '../../src/load/results.ts';
import { expectNothingLost } from '../support/load-results.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

test('all nine tests against a private server, which is gone afterwards', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sightline-benchmark-'));
  try {
    const words = ['benchmark', 'all', '--quick', '--duration', '10', '--json'];
    const child = spawn(process.execPath, [COMMAND, ...words], {
      cwd: folder,
      env: { ...process.env, XDG_CACHE_HOME: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    expect([0, 70], err).toContain(code);
    const suite = JSON.parse(out) as SuiteResult;
    expect(suite).toMatchObject({ total_tests: 9, server: 'private' });
    expectNothingLost(suite);
    await expect(fetch(suite.url.replace('ws:', 'http:'))).rejects.toThrow('fetch failed');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
