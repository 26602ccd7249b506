import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { resolveConfig } from '../../src/config/load.ts';
import { pannedClip } from '../support/panned-clip.ts';
import { ServerProcess } from '../support/server-process.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-optimize-'));
  await pannedClip(join(folder, 'clip.mp4'), 30);
  writeFileSync(join(folder, 'taken.yaml'), 'server:\n  port: 9001\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  // What the tests set for their servers is no setting of the user's.
  const { SIGHTLINE_STORE__MODE: _, ...env } = process.env;
  const child = spawn(process.execPath, [COMMAND, ...words], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

interface Figures {
  readonly results_per_s: number;
  readonly in_time_per_s: number;
  readonly p95_ms: number;
  readonly loss_percent: number;
}

interface Document {
  readonly recommended: { is_default: boolean; name: string; changes: Record<string, unknown>; reasons: string[] };
  readonly settings: Record<string, unknown>;
  readonly confirmation: {
    name: string;
    changes: object;
    measured: Figures;
    rounds: Figures[];
    adoptable: boolean | null;
  }[];
  readonly noise_percent: number;
  readonly pictures: { width: number; kept: number | null; boxes: number; work_ms: number }[];
  readonly trials: { name: string; stage: string; saturated: boolean; measured: Figures }[];
  readonly out: string;
}

test('a clip gives a configuration that measures no worse than the default, and that the server takes', async () => {
  const words = ['--config', 'taken.yaml', 'optimize', 'clip.mp4', '--quick', '--sessions', '2', '--json'];
  const { code, out, err } = await run(...words, '--target-latency', '200');
  expect(code, err).toBe(0);
  const document = JSON.parse(out) as Document;

  // Every stage was measured, with real detections.
  expect(new Set(document.trials.map(({ stage }) => stage))).toContain('engine');
  expect(new Set(document.trials.map(({ stage }) => stage))).toContain('rate');
  expect(document.trials[0]).toMatchObject({ name: 'default', saturated: false });
  for (const { name, measured } of document.trials) expect(measured.results_per_s, name).toBeGreaterThan(0);
  expect(document.pictures[0]!.boxes).toBeGreaterThan(5);
  expect(document.pictures[0]!.kept).toBeGreaterThan(0.5);
  for (const { work_ms } of document.pictures) expect(work_ms).toBeGreaterThan(0);

  // What is recommended is one that took its turns with the default.
  const [standard, ...others] = document.confirmation;
  expect(standard).toMatchObject({ name: 'default', changes: {}, adoptable: null, rounds: { length: 2 } });
  const { is_default: isDefault, name, changes } = document.recommended;
  if (isDefault) {
    expect(changes).toEqual({});
    expect(others.every(({ adoptable }) => adoptable === false)).toBe(true);
  } else {
    const winner = others.find((one) => one.name === name)!;
    expect(winner.adoptable).toBe(true);
    const least = standard!.measured.in_time_per_s * (1 - document.noise_percent / 100);
    expect(winner.measured.in_time_per_s).toBeGreaterThanOrEqual(least);
    expect(winner.measured.p95_ms).toBeLessThanOrEqual(Math.max(200, standard!.measured.p95_ms));
  }

  // The file stands alone: what was configured before is in it as well.
  const file = join(folder, 'sightline.yaml');
  expect(document.out).toBe(file);
  expect(document.settings).toEqual({ 'server.port': 9001, ...changes });
  const own = [...resolveConfig({ file }).origins]
    .filter(([, origin]) => origin.startsWith(file))
    .map(([path]) => path);
  expect(own.toSorted()).toEqual(Object.keys(document.settings).toSorted());
  expect(readFileSync(file, 'utf8')).toMatch(/^# default +\d+\.\d /m);
  expect(await run('config', 'check', 'sightline.yaml')).toMatchObject({ code: 0 });
  await using server = await ServerProcess.start(['--config', file, 'serve']);
  expect(await server.json('/health')).toMatchObject({ status: 'ok' });
});
