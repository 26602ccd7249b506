import { expect, test } from 'vitest';
import { usedBytes } from '../../test/support/heap.ts';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { systemClock } from '../base/clock.ts';
import { openFences } from '../fences/fences.ts';
import { ChannelCatalogue } from './foxglove-channels.ts';

const COUNT = 3_000;
const turn = () => new Promise((resolve) => setImmediate(resolve));
const long = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`key${i}${'z'.repeat(400)}`, i]));

test.each<[string, (i: number) => unknown]>([
  ['a few fields', (i) => ({ speed: i, heading: 1, state: 'on', wheels: [1, 2] })],
  ['places', (i) => ({ gps: { lat: i, lon: 1 } })],
  ['numbers alone', (i) => i],
  ['many fields', (i) => ({ i, ...long(50) })],
])('channels are charged as they are taken, within a factor of 1.5: %s', async (_, valueOf) => {
  const fences = openFences({ clock: systemClock });
  const { memory } = fences;
  const bench = new TelemetryBench({}, { fences, topicsMax: COUNT });
  let news = 0;
  const catalogue = new ChannelCatalogue(bench.topics, memory, () => systemClock.now(), {
    onNews: () => news++,
    onRemoved: () => {},
  });
  for (let i = 0; i < COUNT; i++) bench.publish(`some/topic/${i}`, valueOf(i));
  const before = await usedBytes();
  catalogue.open();
  for (let seen = -1; seen !== news;) {
    seen = news;
    await turn();
  }
  const charged = memory.bytes('channels');
  const real = (await usedBytes()) - before;
  expect(catalogue.size).toBeGreaterThanOrEqual(COUNT);
  catalogue.close();
  await bench.stop();
  expect(real / charged).toBeLessThan(1.5);
  expect(real / charged).toBeGreaterThan(1 / 1.5);
});
