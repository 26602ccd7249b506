import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { photograph } from '../support/pictures.ts';
import { SocketClient } from '../support/socket-client.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const INSTALL_TIMEOUT_MS = 300_000;
const READY_TIMEOUT_MS = 60_000;

/**
 * What npm would give to a stranger: the packed project, installed in an empty folder, with nothing of the clone in reach. The
 * folder for its models is empty as well.
 */
describe('the package', () => {
  let folder: string;
  let home: string;
  let packed: readonly string[];
  // The stranger's Node is new enough; npm itself is the machine's.
  const env: NodeJS.ProcessEnv = { ...process.env };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-package-'));
    home = join(folder, 'home');
    mkdirSync(home);
    for (const name of Object.keys(env)) if (/^(npm_|SIGHTLINE_|VITEST|NODE_)/i.test(name)) delete env[name];
    Object.assign(env, {
      PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`,
      XDG_CACHE_HOME: join(folder, 'cache'),
    });

    const stdout = await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root, env });
    const [{ filename, files }] = JSON.parse(stdout.slice(stdout.search(/^\[/m))) as [
      { filename: string; files: { path: string }[] },
    ];
    packed = files.map((file) => file.path);

    writeFileSync(join(home, 'package.json'), '{ "private": true }');
    // Without scripts: the native parts come prebuilt, so that none is needed.
    const flags = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
    await run('npm', ['install', ...flags, join(folder, filename)], { cwd: home, env });
  }, INSTALL_TIMEOUT_MS);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('holds the build, the page, its licence and notices, and neither sources nor tests', () => {
    for (const file of [
      'package.json',
      'README.md',
      'LICENSE',
      'NOTICE',
      'bin/sightline.js',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/client/index.js',
      'dist/client/index.d.ts',
      'dist/cli/main.js',
      'dashboard/dist/index.html',
    ]) {
      expect(packed).toContain(file);
    }
    expect(
      packed.filter((file) => /(^|\/)(src|test|bench|shared)\/|\.test\.|tsconfig|(?<!\.d)\.ts$/.test(file)),
    ).toEqual([]);
    expect(readdirSync(join(home, 'node_modules', 'sightline'))).not.toContain('src');
  });

  test('gives both entries to a program', async () => {
    const program = `
      const server = await import('sightline');
      const client = await import('sightline/client');
      console.log(JSON.stringify([typeof server.createSightline, Object.keys(client)]));`;
    const stdout = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: home, env });
    const [create, client] = JSON.parse(stdout) as [string, string[]];
    expect(create).toBe('function');
    expect(client.length).toBeGreaterThan(0);
  });

  test('tells its version and its models', async () => {
    const stdout = await run('npx', ['--no-install', 'sightline', '--version'], { cwd: home, env });
    expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    const models = await run('npx', ['--no-install', 'sightline', 'models', 'list'], { cwd: home, env });
    expect(models).toContain('ssd-oidv4');
  });

  test('runs the demo: ready, healthy, with a page, finds a car, and stops when it is told to', async () => {
    // A process group of its own, so that the signal reaches npx and what it started, as that of a terminal does.
    const demo = spawn('npx', ['--no-install', 'sightline', 'demo', '--port', '0'], { cwd: home, env, detached: true });
    try {
      const said = collectErrors(demo);
      const url = await readyUrl(demo, said);
      const health = await fetch(`${url}/health`);
      expect(health.status).toBe(200);
      expect(await health.json()).toMatchObject({ status: expect.any(String) });
      const page = await fetch(url);
      expect(page.headers.get('content-type')).toContain('text/html');
      const html = await page.text();
      expect(html).toContain('<html');
      for (const [, script] of html.matchAll(/<script[^>]* src="([^"]+)"/g)) {
        expect((await fetch(new URL(script!, url))).status).toBe(200);
      }

      // The worker and the child that proves models are files of the build as well.
      const client = await SocketClient.open(`${url.replace('http', 'ws')}/ws/video`);
      client.send(await photograph('car1.jpg'));
      await client.until(() => client.answers().length === 1);
      expect(client.of('result')[0]?.detections.map((detection) => detection.label)).toContain('Car');

      const closed = new Promise((resolve) => demo.once('close', resolve));
      process.kill(-demo.pid!, 'SIGTERM');
      await closed;
      await expect(fetch(`${url}/health`)).rejects.toThrow('fetch failed');
      expect(said()).not.toMatch(/INTERNAL|Error:/);
    } finally {
      if (demo.exitCode === null && demo.signalCode === null) process.kill(-demo.pid!, 'SIGKILL');
    }
  });
});

/** Its standard output; a command that fails tells all that it said, since compilers complain on standard output. */
async function run(command: string, words: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
  try {
    return (await promisify(execFile)(command, words, options)).stdout;
  } catch (thrown) {
    const { stdout, stderr } = thrown as { stdout: string; stderr: string };
    throw new Error(`${command} ${words.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: thrown });
  }
}

function collectErrors(child: ChildProcess): () => string {
  let said = '';
  child.stderr?.on('data', (chunk) => (said += chunk));
  return () => said;
}

async function readyUrl(child: ChildProcess, said: () => string): Promise<string> {
  const timer = setTimeout(() => child.stdout?.destroy(), READY_TIMEOUT_MS);
  try {
    for await (const line of createInterface({ input: child.stdout! })) {
      const ready = /^ready (http:\/\/127\.0\.0\.1:\d+)$/.exec(line);
      if (ready !== null) return ready[1]!;
    }
  } finally {
    clearTimeout(timer);
  }
  throw new Error(`the demo never said that it is ready; it said: ${said()}`);
}
