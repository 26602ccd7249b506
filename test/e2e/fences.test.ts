import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unbalanced, type AccountsDocument } from '../../bench/fences/accounts.ts';
import { ATTACKS } from '../../bench/fences/attacks/catalogue.ts';
import { boundedMb, residentMbMax } from '../../bench/fences/bounds.ts';
import { ATTACKER_ADDRESS } from '../../bench/fences/case.ts';
import { askHealth, InnocentCamera, InnocentReader } from '../../bench/fences/innocents.ts';
import { residentMb } from '../../bench/fences/server-memory.ts';
import { smallPicture } from '../../bench/fences/small-picture.ts';
import { Target } from '../../bench/fences/target.ts';
import { systemClock } from '../../src/base/clock.ts';
import type { Config } from '../../src/config/schema.ts';
import { ALL_WORKERS, ServerProcess } from '../support/server-process.ts';

/**
 * Each attack of the benchmark `fences` for a moment, one after the other at one server: whatever comes, it lives, answers, keeps its bounds and
 * its books, and an innocent camera and reader lose nothing. How fast they are is the benchmark's business.
 */

const ATTACK_MS = 300;
const CAMERA_MS = 150;
/** The test's own time-out ends a wait. */
const DRAIN_MS = 60_000;
/** Of the benchmark's bar: the memory of all attacks before is still in it. */
const RESIDENT_FACTOR = 1.5;

/** The collector's moment. */
const RESIDENT_NOISE_MB = 100;

let server: ServerProcess;
let camera: InnocentCamera;
let reader: InnocentReader;
let residentMax: number;

beforeAll(async () => {
  server = await ServerProcess.start(['serve'], { ...ALL_WORKERS, SIGHTLINE_LOG__FORMAT: 'json' });
  const { config } = await server.json<{ config: Config }>('/api/config');
  const { engine } = await server.json<{ engine: { workerSlots: number } }>('/api/performance/metrics');
  residentMax = RESIDENT_FACTOR * residentMbMax(boundedMb(config, engine.workerSlots));
  camera = await InnocentCamera.open(server.url, smallPicture());
  reader = await InnocentReader.open(server.url);
});
afterAll(async () => {
  await camera?.close();
  await reader?.close();
  await server?.stop('SIGKILL');
});

const watchOf = (spanMs: number) => ({ startTimeMs: systemClock.now(), spanMs, drainMs: DRAIN_MS });

/** Until there is one: a frame that comes too late is not what this is about. */
async function expectResult(): Promise<void> {
  let results = 0;
  while (results === 0) {
    const seen = await camera.watch(watchOf(CAMERA_MS));
    expect(seen.faults).toEqual([]);
    results = seen.results;
  }
}

/** Likewise. */
async function expectHealthy(): Promise<void> {
  while ((await askHealth(server.url)).failure !== undefined) expectAlive();
}

/** 0: unknown here. */
function residentNow(): number {
  return residentMb(server.child.pid!) ?? 0;
}

function expectAlive(): void {
  expect([server.child.exitCode, server.child.signalCode]).toEqual([null, null]);
}

test('the innocents alone lose nothing', async () => {
  const seen = await reader.watch(watchOf(ATTACK_MS));
  expect(seen).toMatchObject({ received: seen.published, lost: 0, wrong: 0, faults: [] });
  await expectResult();
});

describe('beside an attacker', () => {
  test.each(ATTACKS)('$name: $what', async (attack) => {
    // What another attack has ended is not waited for.
    expectAlive();
    // What another attack has left is charged to that one.
    const residentBefore = residentNow();
    const port = Number(new URL(server.url).port);
    const target = new Target({ port, from: ATTACKER_ADDRESS }, performance.now() + ATTACK_MS);
    try {
      const [seen] = await Promise.all([reader.watch(watchOf(ATTACK_MS)), attack.run(target)]);
      expect(seen).toMatchObject({ received: seen.published, lost: 0, wrong: 0, faults: [] });
    } finally {
      target.close();
    }
    await expectHealthy();
    await expectResult();
    expect(unbalanced(await server.json<AccountsDocument>('/api/performance/metrics'))).toEqual([]);
    expect((await attack.afterwards?.(server.url)) ?? []).toEqual([]);
    expect(residentNow()).toBeLessThan(Math.max(residentMax, residentBefore + RESIDENT_NOISE_MB));
    expectAlive();
  });
});

test('nothing went wrong within the server, and SIGTERM ends it', async () => {
  const lines = server.err.split('\n').filter((line) => line !== '');
  const entries = lines.map((line) => JSON.parse(line) as { level: string; event: string });
  expect(entries.filter(({ level }) => level === 'fatal' || level === 'error')).toEqual([]);
  expect(await server.stop()).toBe(0);
});
