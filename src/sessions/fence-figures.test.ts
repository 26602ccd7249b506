import { expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../test/support/telemetry-client.ts';
import { systemClock } from '../base/clock.ts';
import { openFences } from '../fences/fences.ts';
import { boundless } from '../fences/memory-ledger.ts';
import { FigureRegistry } from '../observe/figures.ts';
import { fencesSchema } from '../observe/metrics.ts';
import { fencesPart } from './fence-figures.ts';

function setUp(sessionBytesMax: number) {
  const finite = { totalBytesMax: 1e9, clientBytesMax: 1e9 };
  const { log, entries } = collectingLog();
  const fences = openFences({
    clock: systemClock,
    log,
    bounds: {
      ...boundless().bounds,
      history: { totalBytesMax: 1e9, clientBytesMax: 20_000 },
      session: { totalBytesMax: 1e9, clientBytesMax: sessionBytesMax },
      incoming: finite,
      frames: finite,
      channels: finite,
    },
  });
  const bench = new TelemetryBench({ subscriptionsMax: 100 }, { fences });
  const { fences: part } = fencesPart({
    fences,
    links: () => bench.lane.links,
    plannedBytes: () => 5_000,
  });
  return { bench, fences, entries, part, registry: new FigureRegistry({ fences: part }) };
}

test('shows who is near which bound, and counts what was refused and what had to go', async (context) => {
  const { bench, fences, entries, part, registry } = setUp(5_000);
  await bench.start();
  context.onTestFinished(() => bench.stop());
  const [greedy, modest] = await Promise.all(
    ['greedy', 'modest'].map((name) => TelemetryTestClient.open(bench.url(`?client_id=${name}`))),
  );
  for (let id = 0; id < 10; id++) greedy!.send({ type: 'subscribe', id, filter: `f/${id}`, contract: 'all' });
  for (let i = 0; i < 30; i++) greedy!.send({ type: 'publish', topic: `h/${i % 3}`, data: 'x'.repeat(1_000) });
  modest!.send({ type: 'publish', topic: '$forbidden', data: 1 });
  modest!.send({ type: 'subscribe', id: 1, filter: 'a', contract: 'all' });
  await Promise.all([greedy!.settled(), modest!.settled()]);
  const report = fencesSchema.parse(part.read());
  const refused = greedy!.errors.length;
  expect(refused).toBeGreaterThan(0);
  expect(report.memory.session).toMatchObject({ client_bytes_max: 5_000, refusals: refused, evictions: 0 });
  expect(report.memory.history.evictions).toBeGreaterThan(0);
  expect(report.memory.history.bytes).toBe(fences.memory.bytes('history'));
  const names = report.clients.map(({ client_id }) => client_id);
  expect(names).toEqual(['greedy', 'modest']);
  const [first] = report.clients;
  expect(first!).toMatchObject({ lane: 'telemetry', refusals: refused });
  expect(first!.nearest.share).toBe(
    first!.bytes[first!.nearest.kind] / report.memory[first!.nearest.kind].client_bytes_max,
  );
  expect(first!.nearest.share).toBeGreaterThan(0.5);
  expect(first!.used_ms).toBeGreaterThan(0);
  expect(report.time.used_ms).toBeGreaterThanOrEqual(first!.used_ms!);
  expect(report.refusals).toEqual(
    expect.arrayContaining([
      { lane: 'telemetry', code: 'MEMORY_LIMIT_REACHED', count: refused },
      { lane: 'telemetry', code: 'TOPIC_FORBIDDEN', count: 1 },
    ]),
  );
  const of = (name: string) => registry.read().find(({ figure }) => figure.name === name)!.samples;
  expect(of('sightline_clients_memory_refusals_total')).toContainEqual({ labels: { kind: 'session' }, value: refused });
  expect(of('sightline_refusals_total')).toContainEqual({
    labels: { lane: 'telemetry', code: 'TOPIC_FORBIDDEN' },
    value: 1,
  });
  expect(of('sightline_memory_planned_bytes')).toEqual([{ labels: {}, value: 5_000 }]);
  // Once in a while, with the client's name.
  const said = entries.filter(({ event }) => event === 'memory_bound_met');
  expect(said).toHaveLength(1);
  expect(said[0]!.fields).toMatchObject({ lane: 'telemetry', client_id: 'greedy' });
  await Promise.all([greedy!.close(), modest!.close()]);
});

test('names at most a hundred, those nearest to a bound', () => {
  const { fences, part } = setUp(1_000);
  for (let i = 1; i <= 150; i++) fences.memory.open('telemetry', `c${i}`).charge('session', i);
  const { clients, clients_left_out } = part.read();
  expect([clients.length, clients_left_out]).toEqual([100, 50]);
  expect(clients[0]).toMatchObject({ client_id: 'c150', nearest: { kind: 'session', share: 0.15 }, used_ms: null });
  expect(clients.at(-1)!.client_id).toBe('c51');
});
