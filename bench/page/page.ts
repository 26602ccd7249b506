import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CHROMIUM } from '../../test/support/chromium.ts';
import { Helper } from '../support/children.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import { Server } from '../support/server.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { median } from '../support/statistics.ts';
import type { Measured } from '../telemetry/meter.ts';
import { topicNames } from '../telemetry/peer.ts';
import type { PeerServerApi } from '../telemetry/peer-server-process.ts';
import type { PublisherApi } from '../telemetry/publisher-process.ts';
import { SERVER_SETTINGS, type Figures } from '../telemetry/settings.ts';
import { measureCrossing, type CrossingPlan } from './crossing.ts';
import { framesBar } from './frames.ts';
import { ANSWER_TIMEOUT_MS, OpenBrowser, OpenPage, type Look, type PageContext } from './open-page.ts';
import type { TabOptions } from './tab-api.ts';
import { buildDashboard, TabServer } from './tab-server.ts';

const SEED = 20_262;
const TOPICS = 20;
const HZ = 200;
const OFFERED_PER_S = TOPICS * HZ;
const LEAD_MS = 50;
/** Beyond the span, so that all of it is under load. */
const TAIL_MS = 100;
/** Messages of each topic that wait for a page that was away: 4½ seconds. Of more the newest would come first. */
const BACKLOG = 900;
const BACKLOG_MS = 1_000;
const DRAIN_TIMEOUT_MS = 10_000;
const DRAIN_STALL_MS = 2_000;

interface Plan {
  readonly rounds: number;
  /** The first part of a span: code is compiled, the worker is loaded. It does not count. */
  readonly settleMs: number;
  readonly spanMs: number;
  readonly crossing: CrossingPlan;
}

const FULL: Plan = { rounds: 5, settleMs: 2_000, spanMs: 4_000, crossing: { rounds: 5, times: 200 } };
const QUICK: Plan = { rounds: 1, settleMs: 500, spanMs: 800, crossing: { rounds: 1, times: 30 } };

/** One way to get messages into a page. */
interface Arm extends Pick<TabOptions, 'client' | 'form' | 'hasWorker'> {
  readonly name: string;
}

const SIGHTLINE_ARMS: readonly Arm[] = [
  { name: 'columns', client: 'sightline', form: 'columns', hasWorker: false },
  { name: 'columns_worker', client: 'sightline', form: 'columns', hasWorker: true },
  { name: 'objects', client: 'sightline', form: 'objects', hasWorker: false },
  { name: 'objects_worker', client: 'sightline', form: 'objects', hasWorker: true },
];
const JSON_ARM: Arm = { name: 'json', client: 'json', form: 'objects', hasWorker: false };
const ARMS: readonly Arm[] = [...SIGHTLINE_ARMS, JSON_ARM];

export const page: Benchmark = {
  name: 'page',
  summary: 'telemetry in a page of Chromium: frames a second and the main thread, with and without the decoding worker',
  run: runPage,
};

/** What the measurements share. */
interface Bench extends BenchContext, PageContext {
  readonly plan: Plan;
  readonly clock: SharedClock;
  readonly publisher: Helper<PublisherApi>;
  readonly tabUrl: string;
  readonly urls: Readonly<Record<TabOptions['client'], string>>;
}

interface Span extends Look, Measured {
  readonly missing: number;
  readonly messagesPerS: number;
}

async function runPage(context: BenchContext): Promise<BenchResult> {
  const { quick, signal, say } = context;
  if (CHROMIUM === undefined) throw new Error('page needs Chromium (Debian: chromium), which is not in PATH');
  const load = loadavg()[0]!;
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  const plan = quick ? QUICK : FULL;
  const distanceMs = SharedClock.distanceMs();
  try {
    await using tabs = await TabServer.start();
    await using publisher = new Helper<PublisherApi>(
      new URL('../telemetry/publisher-process.ts', import.meta.url),
      signal,
    );
    await using relay = new Helper<PeerServerApi>(
      new URL('../telemetry/peer-server-process.ts', import.meta.url),
      signal,
    );
    await publisher.call('prepare', { distanceMs, seed: SEED });
    const settings = { ...SERVER_SETTINGS, 'server.allowed_origins': tabs.url };
    await using server = await Server.launch({ command: 'serve', cacheDir, settings, signal });
    await server.ready();
    const urls = {
      sightline: server.url.replace('http', 'ws'),
      json: `ws://127.0.0.1:${await relay.call('listen', 'ws')}`,
    };
    await using chromium = await OpenBrowser.launch(signal);
    const { browser } = chromium;
    const clock = new SharedClock(distanceMs);
    const bench: Bench = { ...context, plan, clock, browser, publisher, tabUrl: tabs.url, urls };
    const own = [process.pid, publisher.pid, relay.pid, server.pid];
    const before = readProcessors(own);
    const figures: Figures = await measureArms(bench);
    const use = new CoreUse();
    use.add(before, readProcessors(own));
    Object.assign(figures, await measureCrossing(bench, tabs.url, plan.crossing, SEED));
    Object.assign(figures, await measureRoverPage(bench, cacheDir));
    figures['publisher_cores'] = use.main(publisher.pid) + use.others(publisher.pid);
    figures['server_cores'] = use.main(server.pid) + use.others(server.pid);
    figures['load_average_before'] = load;
    say('done');
    return {
      seed: SEED,
      setup: {
        chromium: `${browser.version()}, headless, no GPU: frames are drawn by the processor`,
        messages: `${TOPICS} topics at ${HZ} Hz, all at the same instants: ${OFFERED_PER_S} a second, 102 fields, 1,200 bytes as JSON`,
        page: `${TOPICS} subscriptions of one session; each message is checked (sequence, a checksum over five fields); a line of 300 points is drawn in each frame`,
        processes: 'one publisher, one server, the browser: on the same cores, over loopback',
        json: 'the publisher sends one JSON text a message, `ws` hands it on as it is, the page has a bare WebSocket and JSON.parse',
        main: 'TaskDuration of CDP, time within tasks of the main thread (scripts, events, rendering; also while another program has the core), over wall time; main_cpu: ThreadTime, the processor time of that thread',
        backlog: `a page that comes back takes ${BACKLOG} messages of each of the ${TOPICS} topics; task time of the main thread in the ${BACKLOG_MS} ms from then on`,
        crossing:
          'processor time of the main thread for one batch of one topic, decoded in place or in the worker, one every 4 ms; what the same timer takes without a batch is subtracted',
        rover_page: 'rover.html of `serve --app rover`, parked',
        mode: quick ? 'quick: one short round' : `full: ${plan.rounds} rounds of ${plan.spanMs / 1000} s each, ABBA`,
      },
      figures,
      bars: bars(figures),
    };
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function bars(figures: Figures): Bar[] {
  const figure = (name: string): number => figures[name] ?? Number.NaN;
  const enough = framesBar(figure('idle.frames_per_s'));
  const frames = [...SIGHTLINE_ARMS.map(({ name }) => name), 'rover_page'].map((name) => `${name}.frames_per_s`);
  return [
    ...frames.map((name) => atLeast(name, figure(name), enough)),
    atMost('wrong_or_missing', figure('wrong_or_missing'), 0),
    atLeast('messages_per_s_min', figure('messages_per_s_min'), OFFERED_PER_S * 0.95),
    atMost('columns_main_over_json', figure('columns_main_over_json'), 1),
  ];
}

// ── The arms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** All of them in turns, ABBA, since a shared machine is not the same from one minute to the next; medians over the rounds. */
async function measureArms(bench: Bench): Promise<Figures> {
  const { plan } = bench;
  const idle: Look[] = [];
  const spans = new Map<string, Span[]>(ARMS.map(({ name }) => [name, []]));
  const backlogs = new Map<string, Backlog[]>(SIGHTLINE_ARMS.map(({ name }) => [name, []]));
  for (let round = 0; round < plan.rounds; round += 1) {
    idle.push(await measureIdle(bench));
    for (const arm of round % 2 === 0 ? ARMS : ARMS.toReversed()) {
      const span = await measureArm(bench, arm);
      spans.get(arm.name)!.push(span);
      bench.say(
        `round ${round + 1} of ${plan.rounds}: ${arm.name} ${inWords(span)}, p50 ${span.p50.toFixed(1)}, p99 ${span.p99.toFixed(1)} ms, ` +
          `${span.messagesPerS.toFixed(0)} messages a second, ${span.faults + span.missing} wrong or missing`,
      );
    }
    for (const arm of round % 2 === 0 ? SIGHTLINE_ARMS : SIGHTLINE_ARMS.toReversed()) {
      const backlog = await measureBacklog(bench, arm);
      backlogs.get(arm.name)!.push(backlog);
      const { mainMs, gapMaxMs, workerMs, wrong } = backlog;
      bench.say(
        `round ${round + 1} of ${plan.rounds}: a backlog, ${arm.name}: main ${mainMs.toFixed(0)} ms, ` +
          `frames ${gapMaxMs.toFixed(0)} ms apart at most, worker ${workerMs.toFixed(0)} ms, ${wrong} wrong or missing`,
      );
    }
  }
  const figures: Figures = lookFigures('idle', idle);
  for (const [name, own] of spans) {
    const of = (figure: (span: Span) => number): number => median(own.map(figure));
    Object.assign(figures, lookFigures(name, own), {
      [`${name}.messages_per_s`]: of(({ messagesPerS }) => messagesPerS),
      [`${name}.p50_ms`]: of(({ p50 }) => p50),
      [`${name}.p99_ms`]: of(({ p99 }) => p99),
      [`${name}.wrong_or_missing`]: own.reduce((sum, { faults, missing }) => sum + faults + missing, 0),
    });
  }
  for (const [name, own] of backlogs) {
    const of = (figure: (backlog: Backlog) => number): number => median(own.map(figure));
    figures[`backlog_${name}.main_ms`] = of(({ mainMs }) => mainMs);
    figures[`backlog_${name}.worker_ms`] = of(({ workerMs }) => workerMs);
    figures[`backlog_${name}.frame_gap_max_ms`] = Math.max(...own.map(({ gapMaxMs }) => gapMaxMs));
    figures[`backlog_${name}.wrong_or_missing`] = own.reduce((sum, { wrong }) => sum + wrong, 0);
  }
  const ofAll = (what: string): number[] => ARMS.map(({ name }) => figures[`${name}.${what}`]!);
  const wrong = Object.entries(figures).filter(([name]) => name.endsWith('.wrong_or_missing'));
  figures['wrong_or_missing'] = wrong.reduce((sum, [, count]) => sum + count, 0);
  figures['messages_per_s_min'] = Math.min(...ofAll('messages_per_s'));
  const ratio = (a: string, b: string, of: (span: Span) => number): number =>
    median(spans.get(a)!.map((span, i) => of(span) / of(spans.get(b)![i]!)));
  const main = ({ mainPercent }: Span): number => mainPercent;
  figures['columns_main_over_json'] = ratio('columns', 'json', main);
  figures['objects_main_over_json'] = ratio('objects', 'json', main);
  figures['columns_main_worker_over_without'] = ratio('columns_worker', 'columns', main);
  figures['objects_main_worker_over_without'] = ratio('objects_worker', 'objects', main);
  return figures;
}

function lookFigures(name: string, looks: readonly Look[]): Figures {
  const of = (figure: (look: Look) => number): number => median(looks.map(figure));
  return {
    [`${name}.frames_per_s`]: of(({ framesPerS }) => framesPerS),
    [`${name}.frame_gap_p99_ms`]: of(({ gapP99Ms }) => gapP99Ms),
    [`${name}.frame_gap_max_ms`]: Math.max(...looks.map(({ gapMaxMs }) => gapMaxMs)),
    [`${name}.main_percent`]: of(({ mainPercent }) => mainPercent),
    [`${name}.main_cpu_percent`]: of(({ mainCpuPercent }) => mainCpuPercent),
    [`${name}.worker_cpu_percent`]: of(({ workerCpuPercent }) => workerCpuPercent),
    [`${name}.browser_cpu_percent`]: of(({ browserCpuPercent }) => browserCpuPercent),
  };
}

function inWords({ framesPerS, gapMaxMs, mainPercent, mainCpuPercent, workerCpuPercent }: Look): string {
  return (
    `${framesPerS.toFixed(1)} frames a second, ${gapMaxMs.toFixed(0)} ms at most, main ${mainPercent.toFixed(1)} % ` +
    `(${mainCpuPercent.toFixed(1)} of processor time), worker ${workerCpuPercent.toFixed(1)} %`
  );
}

async function measureIdle(bench: Bench): Promise<Look> {
  const { plan, signal } = bench;
  await using open = await OpenPage.open(bench, bench.tabUrl);
  await sleep(plan.settleMs, undefined, { signal });
  const look = await open.look(plan.spanMs);
  bench.say(`idle: ${inWords(look)}`);
  return look;
}

let teamsMade = 0;

async function measureArm(bench: Bench, { client, form, hasWorker }: Arm): Promise<Span> {
  const { clock, plan, publisher, signal } = bench;
  const team = `team${(teamsMade += 1)}`;
  const topics = topicNames(team, TOPICS);
  const url = bench.urls[client];
  const peer =
    client === 'json' ? ({ peer: 'ws', form: '' } as const) : ({ peer: 'sightline', form: 'binary' } as const);
  await publisher.call('connect', { team, ...peer, url, topics, restlessness: 1 });
  try {
    await using open = await OpenPage.open(bench, bench.tabUrl);
    await open.call('connect', { client, form, hasWorker, url, topics });
    if (hasWorker && open.page.workers().length !== 1) throw new Error('the decoding worker did not start');
    const fromMs = clock.now() + LEAD_MS;
    const countFromMs = fromMs + plan.settleMs;
    const untilMs = countFromMs + plan.spanMs + TAIL_MS;
    await open.call('begin', countFromMs);
    const running = publisher.call('run', { team, hz: HZ, fromMs, untilMs, countFromMs }, plan.spanMs * 4 + 60_000);
    // Looked at below; that the page fails first is told as such.
    running.catch(() => {});
    await sleep(countFromMs - clock.now(), undefined, { signal });
    const look = await open.look(plan.spanMs);
    const ran = await running;
    const missing = ran.sent - (await drained(bench, open, ran.sent));
    const measured = await open.call('end');
    await open.call('close');
    return { ...look, ...measured, missing, messagesPerS: (measured.measured * 1_000) / ran.countedMs };
  } finally {
    // Whoever was interrupted has no publisher any more.
    if (!signal.aborted) await publisher.call('close', team);
  }
}

/** What a page does that comes back to what it has missed. */
interface Backlog {
  readonly mainMs: number;
  readonly workerMs: number;
  readonly gapMaxMs: number;
  readonly wrong: number;
}

async function measureBacklog(bench: Bench, { client, form, hasWorker }: Arm): Promise<Backlog> {
  const { clock, publisher, signal } = bench;
  const team = `team${(teamsMade += 1)}`;
  const topics = topicNames(team, TOPICS);
  const url = bench.urls[client];
  await publisher.call('connect', { team, peer: 'sightline', form: 'binary', url, topics, restlessness: 1 });
  try {
    await using open = await OpenPage.open(bench, bench.tabUrl);
    const fromMs = clock.now();
    const run = { team, hz: BACKLOG, fromMs, untilMs: fromMs + 1_000, countFromMs: fromMs };
    const { sent } = await publisher.call('run', run);
    const options: TabOptions = { client, form, hasWorker, url, topics, fromStart: true };
    // Once before, so that no code is compiled while it is measured.
    await open.call('connect', options);
    let got = await drained(bench, open, sent);
    await open.call('close');
    await open.call('begin', fromMs);
    const look = await open.look(BACKLOG_MS, () => open.call('connect', options));
    got = (await drained(bench, open, got + sent)) - got;
    const { faults } = await open.call('end');
    await open.call('close');
    const { mainPercent, workerCpuPercent, gapMaxMs, seconds } = look;
    const ms = seconds * 10;
    return { mainMs: mainPercent * ms, workerMs: workerCpuPercent * ms, gapMaxMs, wrong: faults + sent - got };
  } finally {
    if (!signal.aborted) await publisher.call('close', team);
  }
}

/** Resolves when everything has come or nothing comes any more, with how much it is. */
async function drained({ signal }: Bench, open: OpenPage, sent: number): Promise<number> {
  const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS;
  let total = await open.call('total');
  let movedMs = performance.now();
  while (total < sent) {
    const nowMs = performance.now();
    if (nowMs > deadlineMs || nowMs - movedMs > DRAIN_STALL_MS) break;
    await sleep(20, undefined, { signal });
    const before = total;
    total = await open.call('total');
    if (total > before) movedMs = performance.now();
  }
  return total;
}

// ── The rover's page ─────────────────────────────────────────────────────────────────────────────────────────────────────

async function measureRoverPage(bench: Bench, cacheDir: string): Promise<Figures> {
  const { plan, signal, say } = bench;
  await buildDashboard();
  await using server = await Server.launch({ command: 'serve', words: ['--app', 'rover'], cacheDir, signal });
  await server.ready();
  await using open = await OpenPage.open(bench, `${server.url}/rover.html`);
  await open.page.locator('#map[data-state="live"]').waitFor({ timeout: ANSWER_TIMEOUT_MS });
  await sleep(plan.settleMs, undefined, { signal });
  const look = await open.look(plan.spanMs * 2);
  say(`the rover's page: ${inWords(look)}`);
  return lookFigures('rover_page', [look]);
}
