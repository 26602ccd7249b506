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

/** What a part of the server costs a delivery and a frame: with it and without it, by turns (A B B A). */

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

export interface Cost {
  readonly own: Record<string, number>;
  readonly bars: readonly Bar[];
}

/** Of the same code: `whole` is the server as it is, `bare` goes without what is looked at. */
export interface Servers {
  readonly whole: Server;
  readonly bare: Server;
  readonly ratioMax: number;
}

/** Figures `frame_…`, in microseconds. */
export async function measureFrames(bench: CostBench, { whole, bare, ratioMax }: Servers): Promise<Cost> {
  const plan = planOf(bench);
  await Promise.all([whole.ready(), bare.ready()]);
  const pairs = await measurePairs(plan, (isWhole) => frameUs(isWhole ? whole : bare, plan.spanMs));
  return costOf('frame', pairs, ratioMax);
}

/** Figures `delivery_…`, in microseconds. Each span has connections of its own. */
export async function measureDeliveries(bench: CostBench, { whole, bare, ratioMax }: Servers): Promise<Cost> {
  const plan = planOf(bench);
  await Promise.all([whole.ready(), bare.ready()]);
  await using telemetry = await openTelemetry(bench);
  const pairs = await measurePairs(plan, async (isWhole) => {
    await using team = await connect(telemetry, isWhole ? whole : bare);
    const { cpuUs } = await team.span(RATE_HZ, plan.spanMs);
    return cpuUs;
  });
  return costOf('delivery', pairs, ratioMax);
}

/**
 * The same of one server that does something, or does not, as `turn` says. All spans have the same connections: how their readers fall into groups makes
 * a third of the cost, and would hide what is looked at.
 */
export async function measureTurned(
  bench: CostBench,
  what: { readonly server: Server; readonly turn: (isOn: boolean) => Promise<void>; readonly ratioMax: number },
): Promise<Cost> {
  const { server, turn, ratioMax } = what;
  const plan = planOf(bench);
  await using telemetry = await openTelemetry(bench);
  await using team = await connect(telemetry, server);
  // Groups are formed, code is compiled.
  await team.span(RATE_HZ, plan.spanMs);
  const pairs = await measurePairs({ ...plan, pairs: plan.pairs * 2 }, async (isWhole) => {
    await turn(isWhole);
    const { cpuUs } = await team.span(RATE_HZ, plan.spanMs);
    return cpuUs;
  });
  return costOf('delivery', pairs, ratioMax);
}

function planOf({ quick }: CostBench): CostPlan {
  return quick ? QUICK : FULL;
}

function costOf(what: string, pairs: readonly Pair[], ratioMax: number): Cost {
  const own = figuresOf(what, pairs);
  return { own, bars: [atMost(`${what}_ratio`, own[`${what}_ratio`]!, ratioMax)] };
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

async function openTelemetry(bench: CostBench): Promise<TelemetryBench & AsyncDisposable> {
  const { signal } = bench;
  const distanceMs = SharedClock.distanceMs();
  await using stack = new AsyncDisposableStack();
  const publisher = stack.use(
    new Helper<PublisherApi>(new URL('../telemetry/publisher-process.ts', import.meta.url), signal),
  );
  const subscribers = stack.use(
    new Helper<SubscribersApi>(new URL('../telemetry/subscribers-process.ts', import.meta.url), signal),
  );
  await publisher.call('prepare', { distanceMs, seed: SEED });
  await subscribers.call('setClock', distanceMs);
  const helpers = stack.move();
  return {
    ...bench,
    clock: new SharedClock(distanceMs),
    publisher,
    subscribers,
    [Symbol.asyncDispose]: () => helpers.disposeAsync(),
  };
}

function connect(telemetry: TelemetryBench, server: Server): Promise<Team> {
  const url = server.url.replace('http', 'ws');
  const lane: Lane = { name: 'server', peer: 'sightline', form: 'binary', url, pid: server.pid };
  return Team.connect(telemetry, lane, { topics: 1, count: SUBSCRIBERS, decode: 'columns' });
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
