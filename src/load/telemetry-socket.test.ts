import { expect, test } from 'vitest';
import { SwallowingProxy } from '../../test/support/swallowing-proxy.ts';
import { TelemetryBench } from '../../test/support/telemetry-bench.ts';
import { TelemetrySocket } from './telemetry-socket.ts';

test('a line that is dead without a word is lost; a quiet one is not', async () => {
  const bench = await new TelemetryBench().start();
  const proxy = new SwallowingProxy(Number(new URL(bench.url()).port));
  const port = await proxy.listen();
  const lost: number[] = [];
  const socket = await TelemetrySocket.open({
    url: `ws://127.0.0.1:${port}/`,
    subprotocol: 'sightline.v1.json',
    codecs: ['json'],
    lineTimeoutMs: 100,
    handler: { onLost: (code) => lost.push(code) },
  });
  await new Promise((resolve) => setTimeout(resolve, 400));
  expect(lost).toEqual([]);
  proxy.swallow();
  await expect.poll(() => lost, { timeout: 10_000 }).toEqual([1006]);
  await socket.close();
  proxy.close();
  await bench.stop();
});
