import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { decodeServerMessage, encodeFrame } from '../../src/protocol/video-codec.ts';
import { smallPicture } from '../fences/small-picture.ts';
import type { PublisherApi } from '../telemetry/publisher-process.ts';
import { Team, type Lane, type TelemetryBench } from '../telemetry/span.ts';
import type { SubscribersApi } from '../telemetry/subscribers-process.ts';
import { Helper } from './children.ts';
import { atMost, type Bar, type BenchContext } from './document.ts';
import { CoreUse, readProcessors } from './processors.ts';
import type { Server } from './server.ts';
import { SharedClock } from './shared-clock.ts';
import { median } from './statistics.ts';

/** What a part of the server costs a delivery and a frame: two servers of the same code, of which one goes without it, by turns (A B B A). */

const SEED = 20_261;
const RATE_HZ = 200;
const SUBSCRIBERS = 100;
/** Frames that are with the server at once: the engine never waits for one. */
const FRAMES_IN_FLIGHT = 8;

interface CostPlan {
  readonly pairs: number;
  readonly spanMs: number;
}

const FULL: CostPlan = { pairs: 10, spanMs: 3_000 };
const QUICK: CostPlan = { pairs: 2, spanMs: 1_000 };

export type CostBench = BenchContext & { readonly cacheDir: string };

/** `whole`: the server as it is; `bare`: without what is looked at. Figures `delivery_…` and `frame_…`, in microseconds. */
export async function measureServers(
  bench: CostBench,
  { whole, bare, ratioMax }: { readonly whole: Server; readonly bare: Server; readonly ratioMax: number },
): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const plan = bench.quick ? QUICK : FULL;
  await Promise.all([whole.ready(), bare.ready()]);
  const delivery = await measureDelivery(bench, plan, whole, bare);
  const frame = await measurePairs(plan, (isWhole) => frameUs(isWhole ? whole : bare, plan.spanMs));
  const own = { ...figuresOf('delivery', delivery), ...figuresOf('frame', frame) };
  return {
    own,
    bars: [
      atMost('delivery_ratio', own['delivery_ratio']!, ratioMax),
      atMost('frame_ratio', own['frame_ratio']!, ratioMax),
    ],
  };
}

interface Pair {
  readonly wholeUs: number;
  readonly bareUs: number;
}

async function measurePairs(plan: CostPlan, measure: (isWhole: boolean) => Promise<number>): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let i = 0; i < plan.pairs; i += 1) {
    // A B B A: what drifts hits both alike.
    const isWholeFirst = i % 2 === 0;
    const first = await measure(isWholeFirst);
    const second = await measure(!isWholeFirst);
    pairs.push(isWholeFirst ? { wholeUs: first, bareUs: second } : { wholeUs: second, bareUs: first });
  }
  return pairs;
}

/** Median of the ratios, and the interval that holds the middle half of them. */
function figuresOf(what: string, pairs: readonly Pair[]): Record<string, number> {
  const ratios = pairs.map(({ wholeUs, bareUs }) => wholeUs / bareUs).toSorted((a, b) => a - b);
  return {
    [`${what}_us`]: median(pairs.map(({ wholeUs }) => wholeUs)),
    [`${what}_bare_us`]: median(pairs.map(({ bareUs }) => bareUs)),
    [`${what}_ratio`]: median(ratios),
    [`${what}_ratio_quarter`]: ratios[Math.floor(ratios.length / 4)]!,
    [`${what}_ratio_three_quarters`]: ratios[Math.ceil((ratios.length * 3) / 4) - 1]!,
  };
}

async function measureDelivery(bench: CostBench, plan: CostPlan, whole: Server, bare: Server): Promise<Pair[]> {
  const { signal } = bench;
  const distanceMs = SharedClock.distanceMs();
  await using publisher = new Helper<PublisherApi>(
    new URL('../telemetry/publisher-process.ts', import.meta.url),
    signal,
  );
  await using subscribers = new Helper<SubscribersApi>(
    new URL('../telemetry/subscribers-process.ts', import.meta.url),
    signal,
  );
  await publisher.call('prepare', { distanceMs, seed: SEED });
  await subscribers.call('setClock', distanceMs);
  const telemetry: TelemetryBench = { ...bench, clock: new SharedClock(distanceMs), publisher, subscribers };
  return await measurePairs(plan, async (isWhole) => {
    const server = isWhole ? whole : bare;
    const lane: Lane = {
      name: isWhole ? 'whole' : 'bare',
      peer: 'sightline',
      form: 'binary',
      url: server.url.replace('http', 'ws'),
      pid: server.pid,
    };
    await using team = await Team.connect(telemetry, lane, { topics: 1, count: SUBSCRIBERS, decode: 'columns' });
    const { cpuUs } = await team.span(RATE_HZ, plan.spanMs);
    return cpuUs;
  });
}

/** Processor time of the whole server for a frame, its workers included, while the engine has always something to do. */
async function frameUs(server: Server, spanMs: number): Promise<number> {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws/video?budget_ms=10000`, {
    perMessageDeflate: false,
  });
  const jpeg = smallPicture();
  let seq = 0;
  let results = 0;
  const send = (): void => {
    seq += 1;
    const nowMs = Date.now();
    socket.send(encodeFrame({ seq, captureTimeMs: nowMs, jpeg }));
  };
  const isOpen = Promise.withResolvers<void>();
  socket.on('message', (data, isBinary) => {
    const message = decodeServerMessage(isBinary ? (data as Buffer) : data.toString());
    if (message.type === 'welcome') isOpen.resolve();
    if (message.type === 'result') results += 1;
    if (message.type === 'result' || (message.type === 'error' && message.seq !== undefined)) send();
    if (message.type === 'dropped') for (const _ of message.seqs) send();
  });
  socket.on('error', (error) => isOpen.reject(error));
  await isOpen.promise;
  for (let i = 0; i < FRAMES_IN_FLIGHT; i += 1) send();
  await sleep(spanMs / 4);
  const before = readProcessors([server.pid]);
  const resultsBefore = results;
  await sleep(spanMs);
  const use = new CoreUse();
  const after = readProcessors([server.pid]);
  use.add(before, after);
  const seconds = (after.timeMs - before.timeMs) / 1_000;
  const frames = results - resultsBefore;
  socket.close();
  return ((use.main(server.pid) + use.others(server.pid)) * seconds * 1e6) / Math.max(1, frames);
}
