import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeJpeg } from '../../src/media/jpeg.ts';
import type { Metrics, VideoSessionReport } from '../../src/observe/metrics.ts';
import { bombJpeg, costlyJpeg, DEAREST } from '../support/costly-jpegs.ts';
import { ALL_WORKERS, ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';

/** Hostile pictures against the real server: short forms of what is measured by the benchmark of the fences. */

/** A frame that a busy machine leaves out as too late is not what these tests are about. */
const PATIENT = ['serve', '--set', 'performance.target_latency_ms=30000'];
const CAMERA = encodeJpeg(
  { data: new Uint8Array(640 * 480 * 3).map((_, i) => (i * i) % 251), width: 640, height: 480 },
  60,
);

let server: ServerProcess;
beforeAll(async () => {
  server = await ServerProcess.start(PATIENT, ALL_WORKERS);
});
afterAll(() => server?.stop());

const metrics = () => server.json<Metrics>('/api/performance/metrics');
const open = (query: string) => SocketClient.open(server.ws(`/ws/video?${query}`));

function expectBalanced({ accounts }: VideoSessionReport): void {
  const { received, results, errors, dropped, queued, in_flight, unsent } = accounts;
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(received).toBe(results + errors + lost + queued + in_flight + unsent);
}

/** Sends frames as a camera does, one after each answer, and returns the answers. */
async function film(client: SocketClient, frames: number): Promise<string[]> {
  for (let i = 1; i <= frames; i++) {
    client.send(CAMERA);
    await client.until(() => client.answers().length === i);
  }
  return client.answers();
}

const isResult = (answer: string) => answer.endsWith(':result');

describe('a camera gets its results', () => {
  test('beside pictures that cost far more than they weigh: they are refused, and no worker sees them', async () => {
    const before = await metrics();
    const [camera, culprit] = [await open('client_id=beside-bombs'), await open('client_id=bombs&priority=critical')];
    const filmed = film(camera, 10);
    const small = bombJpeg(630);
    expect(small.length).toBeLessThan(110_000);
    // 34,000 scans fill a message, and took a worker for minutes.
    for (const bomb of [small, small, small, bombJpeg(34_000), bombJpeg(34_000), small]) culprit.send(bomb);
    await culprit.until(() => culprit.answers().length === 6);
    expect(culprit.answers()).toEqual(Array.from({ length: 6 }, (_, i) => `${i + 1}:FRAME_COSTLY`));
    expect((await filmed).every(isResult)).toBe(true);
    const { engine, sessions } = await metrics();
    expect(engine).toMatchObject({ restarts: 0, strays: 0, workers: engine.workerSlots });
    expect(engine.decodes - before.engine.decodes).toBe(10);
    for (const session of sessions) expectBalanced(session);
    await Promise.all([camera.close(), culprit.close()]);
  });

  test('beside the dearest pictures that are let in, however many come: their sender is held to its grant', async () => {
    const dearest = costlyJpeg(DEAREST);
    const [camera, culprit] = [
      await open('client_id=beside-dear'),
      await open('client_id=dear&priority=critical&budget_ms=60000'),
    ];
    // One more for each answer, whatever it is.
    const flood = () => culprit.send(dearest);
    culprit.socket.on('message', flood);
    for (let i = 0; i < 4; i++) flood();
    const refused = () => culprit.of('error').filter(({ code }) => code === 'SESSION_COSTLY').length;
    let frames = 0;
    // A worker is always left to it: beside two of these pictures a second, it once had 7 results of 118 frames.
    while (frames < 10 || refused() < 10) {
      frames += 1;
      camera.send(CAMERA);
      await camera.until(() => camera.answers().length === frames);
    }
    culprit.socket.off('message', flood);
    expect(camera.answers().every(isResult)).toBe(true);
    const { engine, sessions } = await metrics();
    expect(engine).toMatchObject({ restarts: 0, strays: 0 });
    expect(sessions.find(({ client_id }) => client_id === 'dear')!.refused_costly).toBeGreaterThanOrEqual(10);
    for (const session of sessions) expectBalanced(session);
    expect(server.err).toMatch(/"event":"session_costly","client_id":"dear"/);
    await Promise.all([camera.close(), culprit.close()]);
  });
});

test('on SIGTERM a server ends well that has just got the dearest pictures', async () => {
  // A neighbour may have the processors meanwhile; by itself the server needs a second.
  await using own = await ServerProcess.start([...PATIENT, '--set', 'server.shutdown_timeout_ms=60000'], ALL_WORKERS);
  const client = await SocketClient.open(own.ws('/ws/video?budget_ms=60000'));
  for (let i = 0; i < 6; i++) client.send(costlyJpeg(DEAREST));
  const inFlight = async () => (await own.json<Metrics>('/api/performance/metrics')).sessions[0]?.accounts.in_flight;
  await expect.poll(inFlight, { timeout: 10_000 }).toBeGreaterThan(0);
  expect(await own.stop('SIGTERM')).toBe(0);
});
