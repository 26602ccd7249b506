import { ms } from '../load/report-text.ts';
import type { MonitorDocument } from './monitor-document.ts';
import {
  flow,
  isNarrow,
  paint,
  stack,
  table,
  type Cell,
  type Column,
  type Line,
  type Piece,
  type Section,
  type Style,
} from './monitor-layout.ts';
import { Interval, sum, totalOf } from './monitor-rates.ts';
import { bytesText, clean, countText, fit, plural, rateText, spanText, told, widthOf } from './text.ts';
import { wrapLine } from './wrap.ts';

/** The monitor's view of a server's figures, decided and laid out. Missing figures are left out. Pure. */

export interface MonitorState {
  readonly url: string;
  /** Target latency, capture to result: the reference of the bars. */
  readonly budgetMs: number;
  /** The newest reading and the one before it; `undefined` until there is one. */
  readonly now: MonitorDocument | undefined;
  readonly before: MonitorDocument | undefined;
  /** Why the server cannot be read, and for how long. */
  readonly trouble: { readonly message: string; readonly lastsS: number } | undefined;
  readonly isPaused: boolean;
  /** Keys can be pressed. */
  readonly hasKeys: boolean;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

type Metrics = MonitorDocument['metrics'];
type Latency = NonNullable<NonNullable<NonNullable<Metrics['latency']>['recent']>['stages']>['total'];
type Session = NonNullable<Metrics['sessions']>[number];
type Topic = NonNullable<NonNullable<Metrics['telemetry']>['topics']>[number];

const KEYS = 'p pauses, q leaves';
const STATUS: ReadonlyMap<string, Style> = new Map([
  ['ok', 'good'],
  ['starting', 'warn'],
  ['degraded', 'bad'],
]);
/** The range of `Date`. */
const TIME_MAX_MS = 8.64e15;
const BAR_WIDTH_MIN = 6;
const BAR_WIDTH_MAX = 30;
/** Width of a bar's whole title. */
const TITLE_WIDTH = 15;
const NAME_WIDTH_MAX = 28;
const MODELS_SHOWN_MAX = 4;
/** Most items on one line of a narrow window. */
const BOTTLENECKS_NARROW = 2;

/**
 * The view as lines of at most `columns - 1` characters (a full line would make a terminal scroll), at most `rows` of them.
 * Text of the server is cleaned of sequences that a terminal would obey.
 */
export function monitorView(state: MonitorState, { columns, rows, colour }: Screen): string[] {
  const width = Math.max(1, columns - 1);
  const { now } = state;
  const sections = [header(state, width), status(state, width), ...(now ? figures(now, state, width) : [])];
  return stack(sections, rows)
    .slice(0, rows)
    .map((line) => paint(line, width, colour));
}

/** The same on one line, for a pipe. */
export function monitorLine(now: MonitorDocument, previous: MonitorDocument | undefined): string {
  const { health, metrics } = now;
  const sums = sumsOf(now, new Interval(now, previous));
  const codes = (health.issues ?? []).map(({ code }) => code ?? '?').join(', ');
  const { time = Infinity, sessions, process, telemetry } = metrics;
  const total = metrics.latency?.recent?.stages?.total;
  const facts = [
    Math.abs(time) <= TIME_MAX_MS ? new Date(time).toISOString() : undefined,
    clean(health.status) + (codes === '' ? '' : ` (${clean(codes)})`),
    total?.count ? told(total.p95_ms, (p95) => `p95 ${ms(p95)} ms`) : undefined,
    told(sums.results, (perS) => `${rateText(perS)} results/s`),
    told(sessions, ({ length }) => plural(length, 'session')),
    told(droppedOf(sessions), (count) => `${countText(count)} dropped`),
    told(process?.cpu_percent, (percent) => `cpu ${percent.toFixed(0)} %`),
    told(process?.rss_bytes, (bytes) => `memory ${bytesText(bytes)}`),
    told(metrics.event_loop_delay?.p99_ms, (p99) => `event loop p99 ${ms(p99)} ms`),
    told(telemetry?.topics, ({ length }) => plural(length, 'topic')),
    told(sums.messagesIn, (perS) => `${rateText(perS)} msg/s in`),
    told(sums.messagesOut, (perS) => `${rateText(perS)} msg/s out`),
  ];
  return facts.filter((fact) => fact !== undefined).join('  ');
}

/** A second, over all sessions and topics. */
function sumsOf({ metrics }: MonitorDocument, interval: Interval) {
  const { sessions, telemetry } = metrics;
  const { before } = interval;
  return {
    results: interval.sumPerS(
      sessions,
      before?.sessions,
      ({ client_id }) => client_id,
      ({ accounts }) => accounts?.results,
    ),
    frames: interval.perS(ranOf(metrics), before && ranOf(before)),
    messagesIn: interval.sumPerS(
      telemetry?.topics,
      before?.telemetry?.topics,
      topicKey,
      ({ stats }) => stats?.published,
    ),
    messagesOut: interval.sumPerS(
      telemetry?.sessions,
      before?.telemetry?.sessions,
      ({ client_id }) => client_id,
      ({ accounts }) => accounts?.delivered,
    ),
  };
}

type Drops = Readonly<Record<string, number | undefined>>;

function droppedOf(
  sessions: readonly { readonly accounts?: { readonly dropped?: Drops | undefined } | undefined }[] | undefined,
) {
  return sum(sessions, ({ accounts }) => totalOf(accounts?.dropped));
}

/** Frames that the engine has run, failed ones included. */
function ranOf({ engine }: Metrics): number | undefined {
  return told(engine?.completed, (count) => count + (engine?.failed ?? 0));
}

function header({ url, now, hasKeys }: MonitorState, width: number): Section {
  const version = isNarrow(width) ? undefined : told(now?.health.version, clean);
  const head = flow('sightline', [version, clean(url)], width);
  const gap = width - KEYS.length - head.at(-1)!.reduce((used, { text }) => used + widthOf(text), 0);
  if (hasKeys && gap >= 2) head.at(-1)!.push({ text: ' '.repeat(gap) }, styled(KEYS, 'faint'));
  return { rank: 0, head };
}

function status({ now, trouble, isPaused }: MonitorState, width: number): Section {
  const paused = isPaused && styled('paused', 'warn');
  const facts = trouble ? absence(trouble, now) : presence(now, width);
  const head = flow('status', paused ? [paused, ...facts] : facts, width);
  const lines = (text: string, style: Style): Line[] =>
    wrapLine(clean(text), width - 2).map((part) => [{ text: '  ' }, styled(fit(part, width - 2), style)]);
  // Figures of an absent server no longer hold.
  const items = trouble
    ? [lines(trouble.message, 'bad')]
    : (now?.health.issues ?? []).map(({ code, message }) => lines(`${code ?? '?'}: ${message ?? ''}`, 'warn'));
  const least = head.length + (items[0]?.length ?? 0) + (items.length > 1 ? 1 : 0);
  return { rank: 1, head, items, least, good: Infinity };
}

function absence({ lastsS }: NonNullable<MonitorState['trouble']>, now: MonitorDocument | undefined): readonly Cell[] {
  const absent = styled(`no answer for ${spanText(lastsS)}, trying again`, 'bad');
  return now === undefined ? [absent] : [absent, 'the rest is older'];
}

function presence(now: MonitorDocument | undefined, width: number): readonly Cell[] {
  if (now === undefined) return ['asking'];
  const { health, metrics } = now;
  const { open, max } = metrics.connections ?? {};
  const ofMax = max === undefined || isNarrow(width) ? '' : ` of ${countText(max)}`;
  return [
    styled(clean(health.status), STATUS.get(health.status)),
    told(health.uptime_s ?? metrics.process?.uptime_s, (s) => `up ${spanText(s)}`),
    told(open, (count) => `${countText(count)}${ofMax} connections`),
    isNarrow(width) ? undefined : told(metrics.streams, (count) => plural(count, 'stream')),
    counted(metrics.callback_faults, (count) => plural(count, 'callback fault'), 'bad'),
  ];
}

/** All sections below the status, in the order in which they are shown. */
function figures(now: MonitorDocument, { before, budgetMs }: MonitorState, width: number): Section[] {
  const interval = new Interval(now, before);
  const sums = sumsOf(now, interval);
  const { metrics } = now;
  const { p50_ms: p50, p99_ms: p99, max_ms: max } = metrics.event_loop_delay ?? {};
  const { cpu_percent: cpu, rss_bytes: rss, heap_used_bytes: used, heap_total_bytes: heap } = metrics.process ?? {};
  const isWide = !isNarrow(width);
  const facts = (label: string, cells: readonly Cell[], section: Omit<Section, 'head'>): Section => {
    return { ...section, head: cells.some((cell) => cell !== undefined) ? flow(label, cells, width) : [] };
  };
  return [
    ...latencySections(metrics, budgetMs, width, facts),
    facts('engine', engineFacts(metrics, sums.frames, isWide), { rank: 4, isApart: true }),
    facts(
      'process',
      [
        told(cpu, (percent) => `cpu ${percent.toFixed(0)} %`),
        told(rss, (bytes) => `memory ${bytesText(bytes)}`),
        isWide && used !== undefined ? told(heap, (all) => `heap ${bytesText(used)} of ${bytesText(all)}`) : undefined,
      ],
      { rank: 5 },
    ),
    facts(
      'event loop',
      [
        isWide ? told(p50, (value) => `p50 ${ms(value)} ms`) : undefined,
        told(p99, (value) => `p99 ${ms(value)} ms`),
        told(max, (value) => `max ${ms(value)} ms`),
      ],
      { rank: 8 },
    ),
    ...(metrics.sessions?.length === 0 ? [facts('sessions', ['none'], { rank: 3, isApart: true })] : []),
    ...(metrics.sessions?.length ? [sessionsSection(metrics.sessions, interval, width)] : []),
    facts('telemetry', telemetryFacts(metrics, sums.messagesIn, sums.messagesOut), { rank: 7, isApart: true }),
    ...(metrics.telemetry?.topics?.length ? [topicsSection(metrics.telemetry.topics, interval, width)] : []),
  ].filter(({ head }) => head.length > 0);
}

function latencySections(
  { latency }: Metrics,
  budgetMs: number,
  width: number,
  facts: (label: string, cells: readonly Cell[], section: Omit<Section, 'head'>) => Section,
): Section[] {
  const { stages: measured = {}, bottlenecks = {} } = latency?.recent ?? {};
  const stages = Object.entries(measured).flatMap(([name, of]) => (of ? [{ name, of }] : []));
  if (stages.length === 0) return [];
  const place = { rank: 2, isApart: true };
  if (stages.every(({ of }) => !of.count)) return [facts('latency', ['no recent frames'], place)];
  const durations = (key: 'p50_ms' | 'p95_ms' | 'p99_ms'): Column => ({
    title: key.slice(0, 3),
    align: 'right',
    cells: stages.map(({ of }) => (of.count ? told(of[key], ms) : undefined)),
    dispensable: key === 'p50_ms' ? 1 : 0,
  });
  const { head, rows, left } = table(
    [
      { title: 'latency, ms', cells: stages.map(({ name }) => clean(name)), dispensable: 0 },
      durations('p50_ms'),
      durations('p95_ms'),
      durations('p99_ms'),
    ],
    width,
  );
  const barWidth = left < BAR_WIDTH_MIN ? 0 : Math.min(left, BAR_WIDTH_MAX);
  const gap: Piece = { text: ' '.repeat(barWidth === 0 ? 0 : isNarrow(width) ? 1 : 2) };
  const title = fit(`${barWidth < TITLE_WIDTH ? '' : 'p95 '}of ${budgetMs} ms`, barWidth);
  const items = rows.map((row, i) => [[...row, gap, budgetBar(stages[i]!.of, budgetMs, barWidth)]]);
  const order = [...stages.keys()].toSorted((a, b) => (stages[b]!.of.p95_ms ?? 0) - (stages[a]!.of.p95_ms ?? 0));
  const frames = Math.max(1, totalOf(bottlenecks) ?? 0);
  const slowest = Object.entries(bottlenecks)
    .map(([name, count = 0]) => ({ name, percent: Math.round((100 * count) / frames) }))
    .filter(({ percent }) => percent > 0)
    .toSorted((a, b) => b.percent - a.percent)
    .slice(0, isNarrow(width) ? BOTTLENECKS_NARROW : undefined)
    .map(({ name, percent }) => `${clean(name)} ${percent} %`);
  return [
    { ...place, head: [[...head, gap, styled(title, 'title')]], items, order, least: 4, good: Infinity },
    facts('bottleneck', slowest, { rank: 6 }),
  ];
}

/** Share of the budget in use: above it the bar ends with `!`. */
function budgetBar({ count, p95_ms: p95 }: NonNullable<Latency>, budgetMs: number, width: number): Piece {
  if (!count || p95 === undefined || width === 0) return { text: '' };
  const share = p95 / budgetMs;
  if (share > 1) return styled(`${'█'.repeat(width - 1)}!`, 'bad');
  const filled = Math.round(Math.max(0, share) * width);
  return styled('█'.repeat(filled) + '░'.repeat(width - filled), share > 0.8 ? 'warn' : 'good');
}

function engineFacts({ engine }: Metrics, framesPerS: number | undefined, isWide: boolean): readonly Cell[] {
  const { workers, workerSlots = workers, busy, backlog, restarts, failed, models = [] } = engine ?? {};
  const shown = models.slice(0, isWide ? MODELS_SHOWN_MAX : 0).map(({ id = '?', providers }) => {
    const on = providers?.effective === undefined ? '' : ` on ${clean(providers.effective)}`;
    return fit(clean(id), NAME_WIDTH_MAX) + on;
  });
  const hidden = shown.length > 0 ? models.length - shown.length : 0;
  return [
    told(
      told(workers, (count) => plural(count, 'worker')),
      (all) => told(busy, (count) => `${countText(count)} of ${all} busy`) ?? all,
    ),
    (workerSlots ?? 0) > (workers ?? 0)
      ? styled(`${countText(workerSlots! - (workers ?? 0))} missing`, 'bad')
      : undefined,
    told(backlog, (count) => `backlog ${countText(count)}`),
    told(framesPerS, (perS) => `${rateText(perS)} frames/s`),
    counted(failed, (count) => `${countText(count)} failed`, 'warn'),
    counted(restarts, (count) => plural(count, 'restart'), 'warn'),
    ...shown,
    counted(hidden, (count) => `… and ${countText(count)} more`),
  ];
}

function telemetryFacts(
  { telemetry, foxglove }: Metrics,
  inPerS: number | undefined,
  outPerS: number | undefined,
): readonly Cell[] {
  if (telemetry === undefined) return [];
  const { sessions, topics, history_bytes: historyBytes } = telemetry;
  const queued = sum(sessions, ({ accounts }) => accounts?.queued);
  return [
    told(sessions, (all) => plural(all.filter(({ connected }) => connected).length, 'connection')),
    counted(foxglove?.length, (count) => `${countText(count)} of Foxglove`),
    told(topics, ({ length }) => plural(length, 'topic')),
    told(inPerS, (perS) => `${rateText(perS)} msg/s in`),
    told(outPerS, (perS) => `${rateText(perS)} ${inPerS === undefined ? 'msg/s ' : ''}out`),
    counted(queued, (count) => `${countText(count)} queued`),
    counted(droppedOf(sessions), (count) => `${countText(count)} dropped`, 'warn'),
    told(historyBytes, (bytes) => `history ${bytesText(bytes)}`),
  ];
}

function sessionsSection(sessions: readonly Session[], interval: Interval, width: number): Section {
  const known = new Map(interval.before?.sessions?.map((session) => [session.client_id, session]));
  const earlier = (session: Session) => known.get(session.client_id);
  const connected = sessions.filter((session) => session.connected).length;
  // A session of the same name that began anew has had no results before.
  const perS = (it: Session) =>
    (it.age_s ?? Infinity) < (earlier(it)?.age_s ?? 0)
      ? undefined
      : interval.perS(it.accounts?.results, earlier(it)?.accounts?.results);
  const column = columnsOf(sessions);
  return listed(
    [
      column(
        `sessions ${countText(sessions.length)}`,
        0,
        ({ client_id: id = '?' }) => clean(id),
        'left',
        NAME_WIDTH_MAX,
      ),
      column('pipeline', 4, ({ pipeline }) => told(pipeline, clean), 'left', 16),
      column(connected === sessions.length ? 'link' : `${countText(connected)} on`, 2, (it) =>
        told(it.connected, (isOn) => (isOn ? styled('on', 'good') : styled('lost', 'warn'))),
      ),
      column('results/s', 1, (it) => told(perS(it), rateText), 'right'),
      column('dropped', 0, (it) => droppedCell(it, earlier(it)), 'right'),
      column('by cause', 3, ({ accounts }) => causes(accounts?.dropped), 'left', 32),
      column('queued', 5, ({ accounts }) => told(accounts?.queued, countText), 'right'),
      column('errors', 5, ({ accounts }) => counted(accounts?.errors, countText, 'warn'), 'right'),
      column('grant', 6, ({ quality }) => grantText(quality?.grant)),
      column('level', 7, ({ quality }) => told(quality?.grant?.level, clean), 'left', 16),
      column('reason', 8, ({ quality }) => told(quality?.grant?.reason, clean), 'left', 28),
      column('age', 9, ({ age_s: ageS }) => told(ageS, spanText), 'right'),
      column('model', 10, ({ model }) => told(model, clean), 'left', 20),
    ],
    width,
    { rank: 3, isApart: true },
  );
}

/** Marked while it goes on. */
function droppedCell({ accounts }: Session, earlier: Session | undefined): Cell {
  const droppedBefore = totalOf(earlier?.accounts?.dropped) ?? 0;
  return told(totalOf(accounts?.dropped), (count) =>
    styled(countText(count), earlier && count > droppedBefore ? 'warn' : undefined),
  );
}

function causes(dropped: Drops = {}): Cell {
  const named = Object.entries(dropped).flatMap(([cause, count = 0]) =>
    count > 0 ? [`${clean(cause)} ${countText(count)}`] : [],
  );
  return named.length === 0 ? undefined : named.join(', ');
}

function grantText(grant: NonNullable<Session['quality']>['grant']): Cell {
  const { rate_fps: fps, width, height, quality } = grant ?? {};
  const parts = [
    told(fps, (perS) => `${rateText(perS)}/s`),
    width === undefined ? undefined : told(height, (rows) => `${width}×${rows}`),
    told(quality, (value) => `q${value}`),
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : parts.join(' ');
}

function topicsSection(topics: readonly Topic[], interval: Interval, width: number): Section {
  const known = new Map(interval.before?.telemetry?.topics?.map((topic) => [topicKey(topic), topic.stats]));
  // Over all time, not recent: rows that change places cannot be read.
  const busiest = topics.toSorted((a, b) => (b.stats?.published ?? 0) - (a.stats?.published ?? 0));
  const perS = (topic: Topic, key: 'published' | 'published_bytes') =>
    interval.perS(topic.stats?.[key], known.get(topicKey(topic))?.[key]);
  const column = columnsOf(busiest);
  return listed(
    [
      column(`topics ${countText(topics.length)}`, 0, ({ stats }) => clean(stats?.topic ?? '?')),
      column('msg/s', 0, (topic) => told(perS(topic, 'published'), rateText), 'right'),
      column('bytes/s', 1, (topic) => told(perS(topic, 'published_bytes'), bytesText), 'right'),
      column('readers', 2, ({ stats }) => told(stats?.readers, countText), 'right'),
      column('messages', 3, ({ stats }) => told(stats?.published, countText), 'right'),
    ],
    width,
    { rank: 9 },
  );
}

function topicKey({ stats }: Topic): string {
  return `${stats?.epoch} ${stats?.topic}`;
}

/** Makes columns of one cell for each of `items`. */
function columnsOf<T>(items: readonly T[]) {
  return (
    title: string,
    dispensable: number,
    of: (item: T) => Cell,
    align?: Column['align'],
    widthMax?: number,
  ): Column => {
    return { title, cells: items.map(of), dispensable, align, widthMax };
  };
}

/** A table of which a few rows are shown before others get more. */
function listed(columns: readonly Column[], width: number, place: Pick<Section, 'rank' | 'isApart'>): Section {
  const { head, rows } = table(columns, width);
  return { ...place, head: [head], items: rows.map((row) => [row]), least: 3 };
}

function styled(text: string, style: Style | undefined): Piece {
  return { text, style };
}

/** A count that should be 0, which is not shown then. */
function counted(count: number | undefined, say: (count: number) => string, style?: Style): Cell {
  return count ? styled(say(count), style) : undefined;
}
