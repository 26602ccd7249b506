import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { deserialize } from 'node:v8';
import { Child } from '../../src/supervise/child.ts';
import type { Helper } from '../support/children.ts';
import type { BenchContext } from '../support/document.ts';
import type { Server } from '../support/server.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { budgetMs, joinPassages, type Poll, type Run } from './analysis.ts';
import type { CameraApi } from './camera-process.ts';
import type { Film, FilmJob } from './film.ts';
import type { Namespace } from './namespaces.ts';
import { SENDER_KINDS, type SenderKind } from './senders.ts';
import type { DirectionPlan, LinkPlan, ShaperApi } from './shaper-process.ts';
import type { Trace } from './traces.ts';
import { withStalls } from './capacity.ts';

/** One sender on one trace, for real: cameras, link and server, each in a process of its own. */

export const SEED = 20_264;
/** What comes back is small; the way back has the same delay and stalls, and room. */
export const DOWN_BPS = 20_000_000;
export const LOOPBACK = '127.0.0.1';
/** Between the opening of a session and its first frame: a page asks for the camera meanwhile, and clocks are compared. */
const LEAD_MS = 200;
const LEAD_DELAYS = 14;
/** A camera in a namespace has to start first. */
const LEAD_ONCE_MS = 3_000;
const POLL_MS = 250;
/** On top of what a call should take. */
const CALL_MARGIN_MS = 30_000;
/** No part of a beat: two cameras are not in step. */
const PHASE_STEP = 0.37;

export interface RunBench extends BenchContext {
  readonly shaper: Helper<ShaperApi>;
  readonly cameras: readonly Helper<CameraApi>[];
  readonly clockDistanceMs: number;
}

export interface Served extends Run {
  readonly link: { readonly lateMsP50: number; readonly lateMsP99: number; readonly backlogBytesMax: number };
}

export async function runTrace(bench: RunBench, server: Server, trace: Trace, kind: SenderKind): Promise<Served> {
  const { shaper, cameras, clockDistanceMs } = bench;
  const { delayMs, clients, spanMs, steps, stalls } = trace;
  const leadMs = LEAD_MS + LEAD_DELAYS * delayMs;
  const startTimeMs = new SharedClock(clockDistanceMs).now() + leadMs;
  const direction = (given: DirectionPlan['steps']): DirectionPlan => ({
    steps: withStalls(given, stalls),
    delayMs,
    jitterMs: 0,
  });
  const ports = await shaper.call('open', {
    ...linkTo(server, clients),
    clockDistanceMs,
    startTimeMs,
    up: direction(steps),
    down: direction([{ fromMs: 0, bps: DOWN_BPS }]),
  });
  const jobs = ports.map((port, i) => jobOf(bench, trace, kind, `http://${LOOPBACK}:${port}`, startTimeMs, i));
  const watch = new Watch(server, clockDistanceMs, startTimeMs);
  const films = await Promise.all(
    jobs.map((job, i) => cameras[i]!.call('film', job, leadMs + spanMs + CALL_MARGIN_MS)),
  );
  const polls = await watch.end();
  const link = await shaper.call('close', undefined);
  for (const camera of cameras.slice(0, clients)) await camera.call('close', undefined);
  return { trace, kind, films, polls, link, frames: joinPassages(films, link.passages) };
}

/** The same with the kernel for a link: the camera is in the namespace, and what comes out of it is only noted down. */
export async function runInNamespace(
  bench: RunBench,
  server: Server,
  namespace: Namespace,
  trace: Trace,
  kind: SenderKind,
): Promise<Served> {
  const { shaper, clockDistanceMs, signal } = bench;
  const clock = new SharedClock(clockDistanceMs);
  const startTimeMs = clock.now() + LEAD_ONCE_MS;
  const open: DirectionPlan = { steps: [{ fromMs: 0, bps: Infinity }], delayMs: 0, jitterMs: 0 };
  const link = { ...linkTo(server, 1), host: namespace.hostAddress, clockDistanceMs, startTimeMs };
  await namespace.shape(trace.steps[0]!.bps);
  const [port] = await shaper.call('open', { ...link, up: open, down: open });
  const watch = new Watch(server, clockDistanceMs, startTimeMs);
  const job = jobOf(bench, trace, kind, `http://${namespace.hostAddress}:${port}`, startTimeMs, 0);
  const script = fileURLToPath(new URL('camera-once.ts', import.meta.url));
  const { command, args } = namespace.command(process.execPath, ...process.execArgv, script, JSON.stringify(job));
  await using camera = Child.spawn(command, args, { stdout: 'pipe' });
  const onAbort = (): void => void camera.stop();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const out = text(camera.stdout!);
    const change = changeAlong(namespace, trace, () => clock.now() - startTimeMs, signal);
    const film = await out;
    await change;
    signal.throwIfAborted();
    if (film === '') throw new Error(`the camera ended without a film:\n${(await camera.exited).errorTail}`);
    const films = [deserialize(Buffer.from(film, 'base64')) as Film];
    const log = await shaper.call('close', undefined);
    return { trace, kind, films, polls: await watch.end(), link: log, frames: joinPassages(films, log.passages) };
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function changeAlong(
  namespace: Namespace,
  { steps }: Trace,
  now: () => number,
  signal: AbortSignal,
): Promise<void> {
  for (const { fromMs, bps } of steps.slice(1)) {
    await sleep(Math.max(0, fromMs - now()), undefined, { signal });
    await namespace.shape(bps);
  }
}

function linkTo({ url }: Server, clients: number): Pick<LinkPlan, 'host' | 'targetPort' | 'clients' | 'seed'> {
  return { host: LOOPBACK, targetPort: Number(new URL(url).port), clients, seed: SEED };
}

function jobOf(
  { clockDistanceMs }: RunBench,
  trace: Trace,
  kind: SenderKind,
  url: string,
  startTimeMs: number,
  client: number,
): FilmJob {
  const { spanMs } = trace;
  const phase = (client * PHASE_STEP) % 1;
  return { url, kind, clockDistanceMs, startTimeMs, spanMs, phase, targetMs: budgetMs(trace) };
}

/** Asks the server, beside the link, how its sessions move on the ladder. */
class Watch {
  readonly #polls: Poll[] = [];
  readonly #stopper = new AbortController();
  readonly #done: Promise<void>;

  constructor(server: Server, clockDistanceMs: number, startTimeMs: number) {
    this.#done = this.#poll(server, new SharedClock(clockDistanceMs), startTimeMs);
    // Whoever ends it is told.
    this.#done.catch(() => undefined);
  }

  async end(): Promise<Poll[]> {
    this.#stopper.abort();
    await this.#done;
    return this.#polls;
  }

  async #poll(server: Server, clock: SharedClock, startTimeMs: number): Promise<void> {
    while (!this.#stopper.signal.aborted) {
      const { sessions } = await server.metrics();
      const moves = (sessions as readonly { readonly quality: { readonly ladder_moves: number } }[]).map(
        ({ quality }) => quality.ladder_moves,
      );
      this.#polls.push({ ms: clock.now() - startTimeMs, ladderMoves: Math.max(0, ...moves) });
      await sleep(POLL_MS, undefined, { signal: this.#stopper.signal }).catch(() => undefined);
    }
  }
}

/** A line for people. */
export function inWords({ trace, kind }: Run, figures: Readonly<Record<string, number>>): string {
  const of = (figure: string): number => figures[figure] ?? Number.NaN;
  const width = Math.max(...SENDER_KINDS.map(({ length }) => length));
  return (
    `${trace.name}, ${kind.padEnd(width)}: ${of('sent_mbps').toFixed(1)} Mbit/s handed over, ` +
    `${(100 * of('utilisation')).toFixed(0)} % of the link used, ${of('results')} results, ` +
    `p50 ${of('p50_ms').toFixed(0)}, p95 ${of('p95_ms').toFixed(0)} ms, ` +
    `wait p50 ${of('queue_ms_p50').toFixed(0)}, p95 ${of('queue_ms_p95').toFixed(0)} ms, ` +
    `${of('foreign_cores').toFixed(2)} cores of others`
  );
}

/** Nobody's frames wait in the server when the next run begins. */
export async function settled(server: Server): Promise<void> {
  await server.withoutSessions(5_000);
}
