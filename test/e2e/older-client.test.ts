import { afterAll, beforeAll, expect, test } from 'vitest';
import type { connectTelemetry } from '../../src/client/telemetry.ts';
import type { connectVideo } from '../../src/client/video.ts';
import { decodeJpeg, encodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess } from '../support/server-process.ts';

/** A server goes on serving the clients that people have: the SDK of before several pipelines, against the server of now. */

let client: { readonly connectVideo: typeof connectVideo; readonly connectTelemetry: typeof connectTelemetry };
let server: ServerProcess;
beforeAll(async () => {
  client = (await import('../fixtures/client-before-pipelines.js' as string)) as typeof client;
  server = await ServerProcess.start(['serve', '--set', 'performance.target_latency_ms=30000']);
});
afterAll(() => server?.stop());

test('an older client gets its results, grants and errors', async () => {
  // The SDK sends no more than 1 MB.
  const photo = await photograph('car2.jpg');
  const { width, height } = readJpegHeader(photo);
  const car = encodeJpeg(decodeJpeg(photo, new Uint8Array(width * height * 3)), 60);
  const broken = Uint8Array.from(car).fill(0, Math.floor(car.length / 3));
  const session = await client.connectVideo({ url: server.url, pipeline: 'objects', confidence: 0.3 });
  expect(session.welcome).toMatchObject({ pipeline: 'objects', model: 'ssd-oidv4' });
  const told: string[] = [];
  session.on('result', ({ result }) =>
    told.push(result.detections.map(({ label }) => label).toSorted()[0] ?? 'nothing'),
  );
  session.on('error', ({ error, seq }) => told.push(`${seq} ${error.code}`));
  for (const jpeg of [car, broken.subarray(0, 600), car]) {
    const before = told.length;
    while (session.send({ jpeg }) === undefined) await session.ready();
    await expect.poll(() => told.length).toBe(before + 1);
  }
  expect(told).toEqual(['Car', expect.stringMatching(/^2 FRAME_/), 'Car']);
  expect(session.metrics()).toMatchObject({ sent: 3, results: 2, frameErrors: 1, unanswered: 0, late: 0 });
  session.pin({ level: 'low' });
  await expect.poll(() => session.grant.pinned).toEqual({ level: 'low' });
  await session.close();
});

test('and its telemetry', async () => {
  const session = await client.connectTelemetry({ url: server.url });
  const subscription = session.subscribe('older/#');
  await subscription.ready;
  const got = new Promise((resolve) => subscription.onTelemetry((batch) => resolve(batch)));
  session.publish('older/a', { n: 1, list: [1.5, 2.5] });
  expect(JSON.stringify(await got)).toContain('1.5');
  await session.close();
});
