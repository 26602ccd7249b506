import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { HealthDocument, Metrics } from '../../src/observe/metrics.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess, withDescriptors } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';

const open: Socket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});

/** Connects, and then does nothing. */
function dial(port: number): void {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  open.push(socket);
}

test.skipIf(process.platform === 'win32').each([
  [200, 300],
  [400, 450],
])(
  'with %i descriptors and %i connections the server lives, answers, and serves its camera',
  async (limit, dialled) => {
    const words = ['serve', '--set', 'performance.target_latency_ms=30000'];
    await using server = await ServerProcess.start(words, {}, { within: withDescriptors(limit) });
    const picture = await photograph('car1.jpg');
    const camera = await SocketClient.open(server.ws('/ws/video?client_id=camera'));
    const expectResult = async (): Promise<void> => {
      const before = camera.of('result').length;
      camera.send(picture);
      await camera.until(() => camera.of('result').length > before);
    };
    await expectResult();

    const { connections, issues } = await server.json<HealthDocument>('/health');
    expect(connections.max).toBeLessThan(limit);
    expect(issues.map(({ code }) => code)).toContain('DESCRIPTORS_FEW');
    expect(server.errAtStart).toContain(`"event":"descriptors_few","descriptors_max":${limit},"connections_max":1000`);

    const port = Number(new URL(server.url).port);
    for (let i = 0; i < dialled; i++) dial(port);
    const metrics = async () => await server.json<Metrics>('/api/performance/metrics');
    await expect.poll(async () => (await metrics()).sockets.accepted).toBeGreaterThan(dialled);
    const { sockets, process } = await metrics();
    expect(sockets.ended.evicted).toBeGreaterThan(0);
    expect(process.descriptors_max).toBe(limit);
    expect(process.descriptors_open).toBeLessThan(limit);
    for (let i = 0; i < 5; i++) {
      const response = await fetch(`${server.url}/health`, { headers: { Connection: 'close' } });
      expect(response.status).toBe(200);
    }
    // A file needs a descriptor of its own.
    expect((await fetch(`${server.url}/licences`)).status).toBe(200);
    await expectResult();
    expect(server.child.exitCode).toBe(null);
    await camera.close();
  },
);
