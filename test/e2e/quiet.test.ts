import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { photograph } from '../support/pictures.ts';

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-quiet-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** ONNX Runtime's usage data would leave a device id and a database under the home folder, and a log beside temporary files. */
test('no usage data is gathered: converting, proving and running a model leaves nothing but our own cache', async () => {
  const picture = join(folder, 'car.jpg');
  writeFileSync(picture, await photograph('car1.jpg'));
  const home = mkdtempSync(join(folder, 'home-'));
  const temporary = mkdtempSync(join(folder, 'tmp-'));
  // Neither what the test runner has set nor what a build server sets may be what keeps it quiet.
  const { ORT_DISABLE_TELEMETRY: _own, CI: _ci, ...env } = process.env;
  for (const words of [
    ['detect', picture, '--json'],
    ['models', 'bench', 'palm-lite', '--seconds', '0.2'],
  ]) {
    const child = spawn(process.execPath, [command, ...words], {
      env: { ...env, HOME: home, TMPDIR: temporary, XDG_CACHE_HOME: join(home, '.cache') },
      stdio: 'ignore',
    });
    expect(await once(child, 'exit')).toEqual([0, null]);
  }
  expect(readdirSync(home)).toEqual(['.cache']);
  expect(readdirSync(join(home, '.cache'))).toEqual(['sightline']);
  expect(readdirSync(temporary)).toEqual([]);
});
