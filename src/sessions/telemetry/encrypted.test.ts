import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { TestAuthority } from '../../../test/support/certificates.ts';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { Priority } from '../../base/sample.ts';

/** Delivery to encrypted sockets, which pass on no write before the next turn of the event loop. */

const AUTHORITY = new TestAuthority();
const READERS = 100;

let bench: TelemetryBench;
beforeEach(async () => {
  bench = await new TelemetryBench({ queueBytesMax: 100_000_000 }, { identity: AUTHORITY.issue() }).start();
});
afterEach(() => bench.stop());

async function reader(name: string): Promise<TelemetryTestClient> {
  const url = bench.url(`?client_id=${name}`);
  const client = await TelemetryTestClient.open(url, 'sightline.v1.binary', AUTHORITY.certificate);
  await client.subscribe('r/#', 'all');
  return client;
}

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1);
const seqs = ({ received }: TelemetryTestClient) => received.map(({ seq }) => seq);

describe('over TLS', () => {
  test('many readers come to share a fan-out group, stay in it, and get everything in order', async () => {
    const clients: TelemetryTestClient[] = [];
    for (let i = 0; i < READERS; i++) clients.push(await reader(`c${i}`));
    const rounds = async (from: number, to: number) => {
      for (let n = from; n <= to; n++) {
        bench.publish('r/pose', { n, heading: n / 2 });
        await Promise.all(clients.map((client) => client.until(() => client.received.length === n)));
      }
    };
    await rounds(1, 10);
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 1, fanout_members: READERS });
    const { batches_encoded: encoded } = bench.lane.report();
    await rounds(11, 30);
    expect(bench.lane.report()).toMatchObject({ fanout_groups: 1, fanout_members: READERS });
    expect(bench.lane.report().batches_encoded - encoded).toBe(20);
    for (const client of clients) expect(seqs(client)).toEqual(upTo(30));
    for (const client of clients) client.socket.terminate();
  });

  test('one that does not read leaves, holds nobody up, and has it all once it reads', async () => {
    const [deaf, other] = [await reader('deaf'), await reader('other')];
    for (let n = 1; n <= 10; n++) {
      bench.publish('r/pose', n);
      await Promise.all([deaf, other].map((client) => client.until(() => client.received.length === n)));
    }
    expect(bench.lane.report().fanout_members).toBe(2);
    deaf.socket.pause();
    // More than the system keeps for it, and less than the topic does.
    const COUNT = 300;
    for (let n = 11; n <= COUNT; n++) {
      bench.publish('r/pose', randomBytes(50_000));
      await other.until(() => other.received.length === n);
    }
    expect(bench.lane.report().fanout_members).toBe(1);
    expect(bench.session('deaf').accounts.queued).toBeGreaterThan(0);
    deaf.socket.resume();
    await deaf.until(() => deaf.received.length === COUNT);
    expect([seqs(deaf), seqs(other)]).toEqual([upTo(COUNT), upTo(COUNT)]);
    bench.expectBalanced();
    for (const client of [deaf, other]) client.socket.terminate();
  });

  test('a critical message goes ahead, and its confirmation comes', async () => {
    const client = await reader('both');
    client.send({ type: 'publish', topic: 'r/stop', data: true, priority: Priority.critical, seq: 1 });
    await client.until(() => client.of('published').length === 1 && client.received.length === 1);
    expect(client.received[0]).toMatchObject({ topic: 'r/stop', data: true });
    client.socket.terminate();
  });
});
