import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { once } from 'node:events';
import { Priority } from '../../src/base/sample.ts';
import type { FrameAccounts } from '../../src/observe/frame-accounts.ts';
import { JPEGS } from '../support/jpegs.ts';
import { ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';
import { TelemetryTestClient } from '../support/telemetry-client.ts';

/** SIGTERM to the real command: who is let in, and what still gets its answer. */

const MESSAGES = 160;
const FRAMES = 12;

/** A reader that does not read, and a publisher that has sent it more critical messages than its socket takes. */
async function fillQueue(server: ServerProcess): Promise<Record<'reader' | 'publisher', TelemetryTestClient>> {
  const reader = await TelemetryTestClient.open(server.ws('/ws/telemetry'));
  await reader.subscribe('alarm', 'all');
  reader.socket.pause();
  const publisher = await TelemetryTestClient.open(server.ws('/ws/telemetry'));
  const text = 'x'.repeat(60_000);
  for (let n = 0; n < MESSAGES; n++) {
    publisher.send({ type: 'publish', topic: 'alarm', priority: Priority.critical, data: { n, text } });
  }
  return { reader, publisher };
}

test('it is not ready, lets nobody in and says when to come back; critical messages and frames that it has are answered; then it ends', async () => {
  // Room for messages that a slow reader leaves, and time for it.
  await using server = await ServerProcess.start([
    'serve',
    ...['limits.session_bytes_max=67108864', 'server.shutdown_timeout_ms=20000', 'auth.loopback=open'].flatMap(
      (set) => ['--set', set],
    ),
  ]);
  const { reader, publisher } = await fillQueue(server);
  const waiting = async (): Promise<number> => {
    const { telemetry } = await server.json<{ telemetry: { sessions: { critical_queue: number }[] } }>(
      '/api/performance/metrics',
    );
    return telemetry.sessions.reduce((sum, { critical_queue }) => sum + critical_queue, 0);
  };
  await publisher.settled();
  expect(await waiting()).toBeGreaterThan(20);

  const camera = await SocketClient.open(server.ws('/ws/video?budget_ms=30000&client_id=camera'));
  for (let n = 0; n < FRAMES; n++) camera.send(JPEGS.sampling440);
  // It has read them all once it answers what came after them.
  camera.send({ type: 'clock', t0: 1 });
  await camera.until(() => camera.of('clock').length > 0);
  server.child.kill('SIGTERM');
  await expect.poll(async () => (await fetch(`${server.url}/-/ready`)).status).toBe(503);
  expect(await server.json('/health')).toMatchObject({
    issues: expect.arrayContaining([expect.objectContaining({ code: 'SHUTTING_DOWN' })]),
  });

  const late = new WebSocket(server.ws('/ws/video'));
  late.on('error', () => undefined);
  const [, refusal] = (await once(late, 'unexpected-response')) as [
    unknown,
    { statusCode: number; headers: Record<string, string> },
  ];
  expect([refusal.statusCode, refusal.headers['retry-after']]).toEqual([503, '1']);
  const events = await fetch(`${server.url}/api/alerts/events`);
  expect([events.status, events.headers.get('retry-after')]).toEqual([503, '1']);

  await camera.until(() => camera.answers().length >= FRAMES);
  camera.send(JPEGS.sampling440);
  await camera.until(() => camera.answers().length > FRAMES);
  // A busy machine may leave one out as too late; none is lost with its connection.
  const answers = camera.answers();
  expect(answers.at(-1)).toBe(`${FRAMES + 1}:SHUTTING_DOWN`);
  expect(answers.filter((answer) => answer.endsWith('disconnected'))).toEqual([]);
  expect(new Set(answers.map((answer) => Number.parseInt(answer, 10))).size).toBe(FRAMES + 1);
  const accounts = (await server.json<{ sessions: { accounts: FrameAccounts }[] }>('/api/performance/metrics'))
    .sessions[0]!.accounts;
  expect(accounts).toMatchObject({ received: FRAMES + 1, errors: 1, queued: 0, in_flight: 0, unsent: 0 });
  const dropped = Object.values(accounts.dropped).reduce((sum, count) => sum + count, 0);
  expect(accounts.results + dropped).toBe(FRAMES);

  reader.socket.resume();
  await reader.until(() => reader.closed !== undefined);
  expect(reader.received.map(({ data }) => (data as { n: number }).n)).toEqual(
    Array.from({ length: MESSAGES }, (_, n) => n),
  );
  expect(reader.of('notice')).toMatchObject([{ reason: 'drain', reconnect_after_ms: 1_000 }]);
  expect(reader.closed).toBe(1001);
  await camera.until(() => camera.closed !== undefined);
  expect(camera.of('error').at(-1)).toMatchObject({ code: 'SHUTTING_DOWN', retry_after_ms: 1_000 });
  expect(camera.closed).toBe(1001);
  if (server.child.exitCode === null) await once(server.child, 'exit');
  expect(server.child.exitCode).toBe(0);
});

test('a client that does not read holds nothing up for longer than the settings say', async () => {
  await using server = await ServerProcess.start([
    'serve',
    ...['limits.session_bytes_max=67108864', 'server.shutdown_timeout_ms=1000'].flatMap((set) => ['--set', set]),
  ]);
  const { reader, publisher } = await fillQueue(server);
  await publisher.settled();
  const beganMs = performance.now();
  expect(await server.stop('SIGTERM')).toBe(0);
  expect(performance.now() - beganMs).toBeLessThan(2_500);
  reader.socket.terminate();
});
