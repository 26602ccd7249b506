import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const clonesNode = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-command-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

function ended(child: ChildProcess): Promise<Ended> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk) => (out += chunk));
  child.stderr?.on('data', (chunk) => (err += chunk));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
}

/** A Node that believes to be of another version. */
function asNode(version: string): string[] {
  const lie = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } });`;
  return ['--import', `data:text/javascript,${encodeURIComponent(lie)}`];
}

describe('bin/sightline.js', () => {
  test('hands on words and exit code', async () => {
    expect(await ended(spawn(process.execPath, [command, 'config', 'show', '--json']))).toMatchObject({
      code: 0,
      err: '',
    });
    const wrong = await ended(spawn(process.execPath, [command, 'confg']));
    expect(wrong).toMatchObject({ code: 64, out: '' });
    expect(wrong.err).toContain('Did you mean config?');
  });

  test('loads nothing heavy for a light command', async () => {
    const program = `
      const { main } = await import(${JSON.stringify(new URL('../../src/cli/main.ts', import.meta.url).href)});
      await main(['config', 'show'], { out: () => undefined });
      const { createRequire } = await import('node:module');
      const modules = Object.keys(createRequire(import.meta.url).cache).filter((file) => /node_modules.pino/.test(file));
      console.log(JSON.stringify([...process.report.getReport().sharedObjects, ...modules]));`;
    const { out } = await ended(spawn(process.execPath, ['--input-type=module', '-e', program]));
    expect((JSON.parse(out) as string[]).filter((file) => file.includes('node_modules'))).toEqual([]);
  });

  test('ends without a word when nobody reads its output', async () => {
    const child = spawn(process.execPath, [command, 'config', 'generate']);
    child.stdout.destroy();
    expect(await ended(child)).toMatchObject({ code: 0, err: '' });
  });

  test.skipIf(!existsSync('/dev/full'))('says in one line that its output cannot be written', async () => {
    const words = ['config generate', '--help', '--version', 'models list', 'models list --json'];
    const runs = words.map(async (some) => {
      const full = openSync('/dev/full', 'w');
      const child = spawn(process.execPath, [command, ...some.split(' ')], { stdio: ['ignore', full, 'pipe'] });
      closeSync(full);
      return await ended(child);
    });
    for (const { code, err } of await Promise.all(runs)) {
      expect(err).toMatch(/^sightline: standard output cannot be written: ENOSPC[^\n]*\(OUTPUT_FAILED\)\n$/);
      expect(code).toBe(73);
    }
  });

  test('on an old Node says what it needs, on one line', async () => {
    const alone = join(folder, 'alone', 'bin');
    mkdirSync(alone, { recursive: true });
    writeFileSync(join(folder, 'alone', 'package.json'), '{ "type": "module" }');
    cpSync(command, join(alone, 'sightline.js'));
    for (const version of ['18.20.0', '22.23.5']) {
      const refused = await ended(spawn(process.execPath, [...asNode(version), join(alone, 'sightline.js')]));
      expect(refused).toMatchObject({ code: 69, out: '' });
      expect(refused.err).toBe(`sightline: Node 24 or newer is needed, this is ${version} (https://nodejs.org)\n`);
    }
  });

  test.skipIf(!existsSync(clonesNode))('on an old Node moves over to the Node of the clone', async () => {
    // This test may run on the clone's own Node, which does not move over to itself: a copy of it does.
    const other = join(folder, 'node');
    cpSync(process.execPath, other);
    const moved = await ended(spawn(other, [...asNode('20.1.0'), command, 'config', 'check', 'none.yaml']));
    expect(moved).toMatchObject({ code: 78, out: '' });
    expect(moved.err).toContain('CONFIG_UNREADABLE');
  });
});
