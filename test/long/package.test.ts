import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTALL_TIMEOUT_MS, Installation, PROJECTS } from '../support/installation.ts';
import { photograph } from '../support/pictures.ts';
import { SocketClient } from '../support/socket-client.ts';

const READY_TIMEOUT_MS = 60_000;

/** The package of the server. */
describe('the package', () => {
  const installation = new Installation();
  const { home, env } = installation;
  beforeAll(() => installation.install('.'), INSTALL_TIMEOUT_MS);
  afterAll(() => installation.remove());

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
      expect(installation.packed).toContain(file);
    }
    expect(
      installation.packed.filter((file) =>
        /(^|\/)(src|test|bench|shared)\/|\.test\.|tsconfig|(?<!\.d)\.ts$/.test(file),
      ),
    ).toEqual([]);
    expect(readdirSync(join(home, 'node_modules', 'sightline'))).not.toContain('src');
  });

  test('gives both entries to a program', async () => {
    const [create, client] = (await installation.evaluate(`
      const server = await import('sightline');
      const client = await import('sightline/client');
      console.log(JSON.stringify([typeof server.createSightline, Object.keys(client)]));`)) as [string, string[]];
    expect(create).toBe('function');
    expect(client).toContain('connectVideo');
  });

  test.each(PROJECTS)('its types hold under $resolution with $lib', async (project) => {
    const errors = await installation.typeErrors(
      `
      import { createSightline, SightlineError } from 'sightline';
      import { connectTelemetry } from 'sightline/client';
      const server = await createSightline({ settings: { 'server.port': 0 } });
      const session = await connectTelemetry({ url: server.url });
      export const status: string = server.health().status;
      await session.close().catch((thrown: unknown) => thrown instanceof SightlineError && thrown.code);
      await server.close();
      // @ts-expect-error A server is no number.
      export const wrong: number = server;
      `,
      project,
    );
    expect(errors).toBe('');
  });

  test('tells its version and its models', async () => {
    const stdout = await installation.run('npx', '--no-install', 'sightline', '--version');
    expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(await installation.run('npx', '--no-install', 'sightline', 'models', 'list')).toContain('ssd-oidv4');
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
