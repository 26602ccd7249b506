import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { connectVideo } from '../../src/client/video.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A configuration file that changes while its server runs. */

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

interface State {
  readonly config: { readonly performance: { readonly target_latency_ms: number }; readonly server: object };
  readonly needs_restart: readonly { readonly setting: string }[];
}

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-reload-'));
  file = join(folder, 'sightline.yaml');
  write(60);
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (latencyMs: number | string, more = '') =>
  writeFileSync(file, `performance: { target_latency_ms: ${latencyMs} }\n${more}`);

test('SIGHUP while it starts ends nothing, and is answered as soon as it has started', async () => {
  const starting = spawn(process.execPath, [command, '--config', file, 'serve', '--port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void starting.kill('SIGKILL'));
  let err = '';
  starting.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  // Its model is loading, and it is not ready.
  await expect.poll(() => err, { timeout: 10_000 }).toContain('server_listening');
  write(90);
  starting.kill('SIGHUP');
  await expect.poll(() => err, { timeout: 10_000 }).toContain('config_reloaded');
  expect(starting.exitCode).toBeNull();
  starting.kill('SIGTERM');
  expect(await once(starting, 'exit')).toEqual([0, null]);
});

describe('a running server', () => {
  let server: ServerProcess;
  beforeEach(async () => {
    server = await ServerProcess.start(['--config', file, 'serve']);
  });
  afterEach(() => server.stop());

  const targetMs = async () => (await server.json<State>('/api/config')).config.performance.target_latency_ms;
  const post = () => fetch(`${server.url}/api/config/reload`, { method: 'POST' });

  test('SIGHUP takes up what has changed, sessions go on, and what needs a restart is said', async () => {
    expect(await targetMs()).toBe(60);
    await using session = await connectVideo({ url: server.url });
    write(90, 'server: { max_connections: 7 }\n');
    server.child.kill('SIGHUP');
    await expect.poll(targetMs).toBe(90);
    await expect.poll(() => server.err).toContain('config_reloaded');
    const line = server.err.split('\n').find((text) => text.includes('config_reloaded'));
    expect(JSON.parse(line!)).toMatchObject({
      settings: ['performance.target_latency_ms'],
      needs_restart: ['server.max_connections'],
    });
    expect(session.state).toBe('open');
    expect(server.child.exitCode).toBeNull();
  });

  test('a file with an error changes nothing, and the next one counts', async () => {
    write('soon', 'streaming: { max_fps: 20 }\n');
    server.child.kill('SIGHUP');
    await expect.poll(() => server.err).toContain('config_reload_failed');
    const refused = await post();
    expect(refused.status).toBe(400);
    expect(await refused.json()).toMatchObject({
      error: { code: 'CONFIG_VALUE_BAD', message: expect.stringContaining('sightline.yaml line 1') },
    });
    expect(await targetMs()).toBe(60);
    rmSync(file);
    expect((await post()).status).toBe(500);
    write(80);
    const taken = await post();
    expect([taken.status, await taken.json()]).toMatchObject([200, { at_once: { length: 1 }, new_sessions: [] }]);
    expect(await targetMs()).toBe(80);
  });

  test('what was set at run time stays, and beats the file', async () => {
    await fetch(`${server.url}/api/config`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ settings: { 'performance.target_latency_ms': 70 } }),
    });
    write(90);
    expect((await post()).status).toBe(200);
    expect(await targetMs()).toBe(70);
  });
});
