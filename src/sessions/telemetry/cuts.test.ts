import { afterEach, expect, test } from 'vitest';
import { CuttingProxy } from '../../../test/support/cutting-proxy.ts';
import { TelemetryBench } from '../../../test/support/telemetry-bench.ts';
import { TelemetryTestClient } from '../../../test/support/telemetry-client.ts';
import { seededRandom } from '../../base/random.ts';
import { TELEMETRY_SUBPROTOCOLS } from '../../protocol/telemetry.ts';

const CUTS = 100;
const BYTES_TO_CUT_MAX = 5_000;
const PUBLISH_EVERY_MS = 2;
const seed = Math.floor(Math.random() * 2 ** 31);

let bench: TelemetryBench;
let proxy: CuttingProxy;
let timer: NodeJS.Timeout;
afterEach(async () => {
  clearInterval(timer);
  proxy.close();
  await bench.stop();
});

/** One client behind the proxy that reads one topic and publishes to another, both reliably, through every cut. */
class Survivor {
  readonly seqs: number[] = [];
  /** Its own publications: numbered from 1; up to here they are confirmed. */
  confirmed = 0;
  publications = 0;
  readonly #epoch: number;
  #token = '';
  #client: TelemetryTestClient | undefined;
  readonly #url: string;
  readonly #protocol: (typeof TELEMETRY_SUBPROTOCOLS)[number];

  constructor(url: string, protocol: (typeof TELEMETRY_SUBPROTOCOLS)[number], epoch: number) {
    this.#url = url;
    this.#epoch = epoch;
    this.#protocol = protocol;
  }

  publish(): void {
    this.#send(++this.publications);
  }

  /** Connects again and again until the condition holds. */
  async run(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      const client = new TelemetryTestClient(`${this.#url}?client_id=survivor&token=${this.#token}`, this.#protocol);
      let taken = 0;
      await client.until(() => {
        taken = this.#take(client, taken);
        return client.closed !== undefined || isDone();
      });
      this.#client = undefined;
      await client.close();
      this.#take(client, taken);
    }
  }

  #take(client: TelemetryTestClient, taken: number): number {
    if (client.of('welcome').length > 0 && this.#client === undefined && client.closed === undefined) {
      this.#token = client.welcome.token;
      this.#client = client;
      const since = [{ topic: 'down', epoch: this.#epoch, seq: this.seqs.at(-1) ?? 0 }];
      client.send({ type: 'subscribe', id: 1, filter: 'down', contract: 'reliable', since });
      for (let seq = this.confirmed + 1; seq <= this.publications; seq++) this.#send(seq);
    }
    for (const { seq } of client.received.slice(taken)) this.seqs.push(seq);
    this.confirmed = Math.max(this.confirmed, ...client.of('published').map(({ seq }) => seq));
    return client.received.length;
  }

  #send(seq: number): void {
    if (this.#client?.closed !== undefined) return;
    this.#client?.send({ type: 'publish', topic: 'up', data: seq, seq });
  }
}

test.each(TELEMETRY_SUBPROTOCOLS)(
  `%s: ${CUTS} cuts lose and duplicate nothing, in either direction (seed ${seed})`,
  async (protocol) => {
    bench = await new TelemetryBench({ historyMessages: 100_000 }).start();
    bench.publish('down', { n: 1, a: 1.5, b: 2, c: 3, text: 'the first' });
    proxy = new CuttingProxy(seededRandom(seed), Number(new URL(bench.url()).port), BYTES_TO_CUT_MAX);
    const { epoch } = bench.topics.get('down')!;
    const survivor = new Survivor(`ws://127.0.0.1:${await proxy.listen()}/`, protocol, epoch);
    let last = 1;
    timer = setInterval(() => {
      if (proxy.isHealed) return;
      // The last one comes when the line is whole again: with it the client has all.
      proxy.isHealed = proxy.cuts >= CUTS;
      last = bench.publish('down', { n: last + 1, a: last / 7, b: -last, c: 3, text: 'x'.repeat(last % 90) });
      survivor.publish();
    }, PUBLISH_EVERY_MS);
    await survivor.run(
      () => proxy.isHealed && survivor.seqs.at(-1) === last && survivor.confirmed === survivor.publications,
    );
    expect(proxy.cuts).toBeGreaterThanOrEqual(CUTS);
    expect(survivor.seqs).toEqual(Array.from({ length: last }, (_, i) => i + 1));
    const up = [...bench.topics.get('up')!.stream.history(0)].map(({ data }) => data.payload.value());
    expect(up).toEqual(Array.from({ length: survivor.publications }, (_, i) => i + 1));
    bench.expectBalanced();
  },
  30_000,
);
