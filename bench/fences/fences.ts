import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { Helper } from '../support/children.ts';
import { atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { barsOf, figuresOf, punishments, tableOf, type Case, type Figures } from './analysis.ts';
import { ATTACKS } from './attacks/catalogue.ts';
import { LONGEST_RUN_MS } from './bounds.ts';
import { measureCase, SERVER_MEMORY_MB_MAX, type CasePlan, type FenceBench } from './case.ts';
import { measureCost } from './cost.ts';
import { DESCRIPTOR_CASES, measureDescriptors } from './descriptors.ts';
import type { InnocentApi } from './innocent-process.ts';
import type { SinkApi } from './sink-process.ts';
import { measureStop, STOP_ATTACKS } from './stop.ts';
import type { Attack } from './target.ts';

const SEED = 0;
const MODEL = 'ssd-oidv4';
const DESCRIPTORS = 'descriptors';
const STOP = 'stop';
const COST = 'cost';

const FULL: CasePlan = { spanMs: 30_000, warmUpMs: 3_000, drainMs: 5_000, settleMs: 60_000 };
const QUICK: CasePlan = { spanMs: 5_000, warmUpMs: 1_500, drainMs: 3_000, settleMs: 60_000 };

export const fences: Benchmark = {
  name: 'fences',
  summary:
    'a camera, a reader and /health beside one hostile client after the other, against the same client at a sink',
  parts: [...ATTACKS.map(({ name }) => name), DESCRIPTORS, STOP, COST],
  run: runFences,
};

async function runFences(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say, only } = context;
  const load = loadavg()[0]!;
  const plan = quick ? QUICK : FULL;
  const isWanted = (name: string): boolean => only?.includes(name) ?? true;
  const attacks = ATTACKS.filter(({ name }) => isWanted(name));
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  const figures: Record<string, number> = {};
  const bars: Bar[] = [];
  const tables: string[] = [];
  /** What one of them has failed in does not take the figures of the others along. */
  const part = async (name: string, title: string, measure: () => Promise<Part>): Promise<void> => {
    const { own, bars: ownBars, remarks = [] } = await measure().catch((thrown: unknown) => failed(thrown, signal));
    for (const [figure, value] of Object.entries(own)) figures[`${name}.${figure}`] = value;
    bars.push(...ownBars.map((bar) => ({ ...bar, name: `${name}.${bar.name}` })));
    tables.push(tableOf(title, own, ownBars, remarks));
    const short = ownBars.filter(({ ok }) => !ok).map((bar) => bar.name);
    say(`${name}: ${short.length === 0 ? 'kept' : `short in ${short.join(', ')}`}`);
  };
  try {
    // The conversion of the model is not what is measured here.
    await new ModelRegistry({ cacheDir }).resolve(MODEL);
    const script = new URL('innocent-process.ts', import.meta.url);
    await using camera = new Helper<InnocentApi>(script, signal);
    await using reader = new Helper<InnocentApi>(script, signal);
    await using prober = new Helper<InnocentApi>(script, signal);
    await using sink = new Helper<SinkApi>(new URL('sink-process.ts', import.meta.url), signal);
    const sinkPort = await sink.call('listen', undefined);
    const bench: FenceBench = { ...context, cacheDir, sinkPort, innocents: { camera, reader, prober } };
    for (const [i, attack] of attacks.entries()) {
      say(`${i + 1} of ${attacks.length}: ${attack.name}: ${attack.what}`);
      await part(attack.name, `${attack.name}: ${attack.what}`, async () => {
        const { one, limits } = await measureCase(bench, attack, planFor(plan, attack, quick));
        const own = { ...figuresOf(one), resident_peak_mb_max: limits.residentMbMax };
        return { own, bars: barsOf(own, limits), remarks: remarksOn(one) };
      });
    }
    for (const one of isWanted(DESCRIPTORS) ? DESCRIPTOR_CASES : []) {
      const name = `${DESCRIPTORS}_${one.descriptors}`;
      say(`${name}: ${one.connections} connections`);
      await part(name, `${name}: ${one.connections} connections`, async () => {
        const own = await measureDescriptors(bench, one);
        return { own, bars: ['ended', 'health_failed', 'camera_failed'].map((bar) => atMost(bar, own[bar]!, 0)) };
      });
    }
    for (const attack of isWanted(STOP) ? STOP_ATTACKS : []) {
      const name = `${STOP}_${attack}`;
      say(`${name}: SIGTERM in the middle of it`);
      await part(name, `${name}: SIGTERM in the middle of it`, () => measureStop(bench, attack));
    }
    if (isWanted(COST)) {
      say(`${COST}: a server with the ledgers, and one without, by turns`);
      await part(COST, `${COST}: the ledgers, on against off`, () => measureCost(bench));
    }
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
  const short = bars.filter(({ ok }) => !ok);
  const shortIn = new Set(short.map(({ name }) => name.split('.')[0]!));
  const summary = {
    parts: tables.length,
    parts_short: shortIn.size,
    bars: bars.length,
    bars_short: short.length,
    load_average_before: load,
  };
  tables.push(summaryOf(summary, short));
  return { seed: SEED, setup: setup(plan, context), figures: { ...summary, ...figures }, bars, tables };
}

interface Part {
  readonly own: Figures;
  readonly bars: readonly Bar[];
  readonly remarks?: readonly string[];
}

/** Of a part that could not be measured. Throws where the benchmark itself is to end. */
function failed(thrown: unknown, signal: AbortSignal): Part {
  signal.throwIfAborted();
  const own = { failed: 1 };
  return { own, bars: [atMost('failed', own.failed, 0)], remarks: [`failed: ${String(thrown)}`] };
}

function planFor(plan: CasePlan, { needsMs = 0 }: Attack, quick: boolean): CasePlan {
  return quick ? plan : { ...plan, spanMs: Math.max(plan.spanMs, needsMs) };
}

function remarksOn(one: Case): string[] {
  const { attacked, control, unbalanced = [], ended } = one;
  const { connections, refused, cut, bytes } = attacked.tally;
  const failures = Object.entries(attacked.health.failures).map(([cause, n]) => `${n} × ${cause}`);
  return [
    `sent ${inMb(bytes)} MB (control ${inMb(control.tally.bytes)}) over ${connections} connections, ${refused} refused, ${cut} cut`,
    ...(ended === undefined ? [] : [`the server ${ended}`]),
    ...(failures.length === 0 ? [] : [`/health: ${failures.join(', ')}`]),
    ...[...new Set(punishments(one))].slice(0, 5),
    ...unbalanced.slice(0, 3),
  ];
}

function inMb(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function summaryOf(summary: Figures, short: readonly Bar[]): string {
  const lines = Object.entries(summary).map(([name, value]) => `  ${name}  ${value}`);
  return ['summary', ...lines, ...short.map(({ name, value, bar }) => `  short: ${name} ${value} (bar ${bar})`)].join(
    '\n',
  );
}

function seconds(ms: number): string {
  return `${ms / 1_000} s`;
}

function setup(plan: CasePlan, { quick }: BenchContext): Record<string, string> {
  return {
    server: `the command serve with its defaults, a fresh one for each attack; ended over ${SERVER_MEMORY_MB_MAX} MB of resident memory, which counts as ended`,
    innocents:
      'three processes: a camera (10 frames/s, 320×240, budget 1,000 ms) and a publisher with its reader (200 messages/s, contract all, every number checked) by the SDK, and a prober of /health (ten a second, a connection each)',
    attacker:
      'one process, on the same cores, held to a rate and to a megabyte in flight on each connection; cut off or refused it comes back; on Linux from 127.0.0.66, an address with the bounds of any address (server.unbounded_addresses: 127.0.0.1), so that what sticks to it does not stick to the innocents',
    control:
      'the same attacker against a sink that answers handshakes, reads and discards, beside the same innocents with the same server, just before',
    spans: `${seconds(plan.spanMs)} each, after ${seconds(plan.warmUpMs)} of the innocents alone`,
    camera_p95_over_ms: `at most one longest permitted picture, taken as ${LONGEST_RUN_MS} ms`,
    resident_peak_mb:
      'bar: 1.5 × the sum of the configured bounds + 100 MB, the sum as the server publishes it, else all histories, 16 MiB of encoded ranges and a largest picture for each worker',
    memory_left_mb: `heap and external memory after a collection less what they were before, once that is within the bar, ${seconds(plan.settleMs)} after the attack at the latest (settled_s)`,
    machine: `${availableParallelism()} cores for server, innocents, attacker and sink together`,
    mode: quick ? 'quick: short spans; borrowed_name does not get as far as a ban' : 'full',
  };
}
