import { ms } from '../load/report-text.ts';
import type { MonitorDocument, MonitorMetrics, SessionSeen, TopicSeen } from './monitor-document.ts';
import { bar, fixed, flow, isNarrow, listed, range, table, type Column, type Section } from './monitor-layout.ts';
import { rate, resultRate, secondsBetween, sum, summarise, topicKey, totalOf, type Sums } from './monitor-rates.ts';
import {
  bytesText,
  clean,
  countText,
  fit,
  named,
  plain,
  plural,
  rateText,
  spanText,
  told,
  type Line,
  type Piece,
} from './monitor-text.ts';

/** What the monitor shows of a server's figures, a section each. What the server does not tell is left out. Pure. */

const BAR_WIDTH_MIN = 6;
const BAR_WIDTH_MAX = 30;
/** A bar's whole title needs so much. */
const TITLE_WIDTH = 15;
const NAME_WIDTH_MAX = 28;
const MODELS_SHOWN_MAX = 4;
/** In a narrow window there is room for so many on one line. */
const BOTTLENECKS_NARROW = 2;

/** All of them, in the order in which they are shown. `budgetMs`: capture to result that is aimed at. */
export function figures(
  now: MonitorDocument,
  before: MonitorDocument | undefined,
  budgetMs: number,
  width: number,
): readonly Section[] {
  const sums = summarise(now, before);
  const { metrics } = now;
  return [
    ...latencySections(metrics, budgetMs, width),
    fixed(engineLines(metrics, sums, width), { rank: 4, isApart: true }),
    fixed(processLines(metrics, width), { rank: 5 }),
    fixed(loopLines(metrics, width), { rank: 8 }),
    ...(metrics.sessions ? [sessionsSection(metrics.sessions, now, before, width)] : []),
    fixed(telemetryLines(metrics, sums, width), { rank: 7, isApart: true }),
    ...(metrics.telemetry?.topics?.length ? [topicsSection(metrics.telemetry.topics, now, before, width)] : []),
  ];
}

function latencySections({ latency }: MonitorMetrics, budgetMs: number, width: number): readonly Section[] {
  const recent = latency?.recent;
  const stages = Object.entries(recent?.stages ?? {}).flatMap(([name, of]) => (of ? [{ name, of }] : []));
  if (recent === undefined || stages.length === 0) return [];
  if (stages.every(({ of }) => !of.count))
    return [fixed(flow('latency', [plain('no frames of late')], width), { rank: 2, isApart: true })];
  const frames = totalOf(recent.bottlenecks) ?? 0;
  const slowest = Object.entries(recent.bottlenecks ?? {})
    .map(([name, count = 0]) => ({ name, percent: Math.round((100 * count) / Math.max(1, frames)) }))
    .filter(({ percent }) => percent > 0)
    .toSorted((a, b) => b.percent - a.percent)
    .slice(0, isNarrow(width) ? BOTTLENECKS_NARROW : undefined)
    .map(({ name, percent }) => plain(`${clean(name)} ${percent} %`));
  const worst = range(stages.length).toSorted((a, b) => (stages[b]!.of.p95_ms ?? 0) - (stages[a]!.of.p95_ms ?? 0));
  const build = (places: readonly number[]): readonly Line[] => {
    const shown = places.map((place) => stages[place]!);
    const durations = (key: 'p50_ms' | 'p95_ms' | 'p99_ms') => ({
      title: key.slice(0, 3),
      align: 'right' as const,
      cells: shown.map(({ of }) => (of.count ? told(of[key], (value) => plain(ms(value))) : undefined)),
      dispensable: key === 'p50_ms' ? 1 : 0,
    });
    return table(
      [
        { title: 'latency, ms', cells: shown.map(({ name }) => named(name)), dispensable: 0 },
        durations('p50_ms'),
        durations('p95_ms'),
        durations('p99_ms'),
      ],
      width,
      {
        title: (barWidth) => (barWidth < TITLE_WIDTH ? `of ${budgetMs} ms` : `p95 of ${budgetMs} ms`),
        widthMin: BAR_WIDTH_MIN,
        widthMax: BAR_WIDTH_MAX,
        cell: (row, barWidth) => budgetBar(shown[row]!.of, budgetMs, barWidth),
      },
    );
  };
  const place = { rank: 2, isApart: true, least: 4, good: 1 + stages.length };
  const choose = (shown: number) => worst.slice(0, shown).toSorted((a, b) => a - b);
  return [
    listed(stages.length, place, build, choose),
    ...(slowest.length > 0 ? [fixed(flow('bottleneck', slowest, width), { rank: 6 })] : []),
  ];
}

function budgetBar(
  { count, p95_ms: p95 }: { count?: number | undefined; p95_ms?: number | undefined },
  budgetMs: number,
  width: number,
): Piece {
  if (!count || p95 === undefined) return plain('');
  const share = p95 / budgetMs;
  return { text: bar(share, width), style: share > 1 ? 'bad' : share > 0.8 ? 'warn' : 'good' };
}

function engineLines({ engine }: MonitorMetrics, sums: Sums, width: number): readonly Line[] {
  const { workers, seats = workers, busy, backlog, restarts, failed, models = [] } = engine ?? {};
  const shown = models.slice(0, isNarrow(width) ? 0 : MODELS_SHOWN_MAX).map(({ id = '?', providers }) => {
    const on = providers?.effective === undefined ? '' : ` on ${clean(providers.effective)}`;
    return plain(fit(clean(id), NAME_WIDTH_MAX) + on);
  });
  const hidden = models.length - shown.length;
  const missing = (seats ?? 0) - (workers ?? 0);
  return facts(
    'engine',
    [
      told(workers, (count) =>
        plain(busy === undefined ? plural(count, 'worker') : `${countText(busy)} of ${plural(count, 'worker')} busy`),
      ),
      missing > 0 ? { text: `${countText(missing)} missing`, style: 'bad' } : undefined,
      told(backlog, (count) => plain(`backlog ${countText(count)}`)),
      told(sums.framesPerS, (perS) => plain(`${rateText(perS)} frames/s`)),
      failed ? { text: `${countText(failed)} failed`, style: 'warn' } : undefined,
      restarts ? { text: plural(restarts, 'restart'), style: 'warn' } : undefined,
      ...shown,
      shown.length > 0 && hidden > 0 ? plain(`… and ${countText(hidden)} more`) : undefined,
    ],
    width,
  );
}

function processLines({ process }: MonitorMetrics, width: number): readonly Line[] {
  const { cpu_percent: cpu, rss_bytes: rss, heap_used_bytes: used, heap_total_bytes: heap } = process ?? {};
  const hasHeap = used !== undefined && heap !== undefined && !isNarrow(width);
  return facts(
    'process',
    [
      told(cpu, (percent) => plain(`cpu ${percent.toFixed(0)} %`)),
      told(rss, (bytes) => plain(`memory ${bytesText(bytes)}`)),
      hasHeap ? plain(`heap ${bytesText(used)} of ${bytesText(heap)}`) : undefined,
    ],
    width,
  );
}

function loopLines({ event_loop_delay: delay }: MonitorMetrics, width: number): readonly Line[] {
  const { p50_ms: p50, p99_ms: p99, max_ms: max } = delay ?? {};
  return facts(
    'event loop',
    [
      isNarrow(width) ? undefined : told(p50, (value) => plain(`p50 ${ms(value)} ms`)),
      told(p99, (value) => plain(`p99 ${ms(value)} ms`)),
      told(max, (value) => plain(`max ${ms(value)} ms`)),
    ],
    width,
  );
}

function sessionsSection(
  sessions: readonly SessionSeen[],
  now: MonitorDocument,
  before: MonitorDocument | undefined,
  width: number,
): Section {
  if (sessions.length === 0) return fixed(flow('sessions', [plain('none')], width), { rank: 3, isApart: true });
  const elapsedS = secondsBetween(now, before);
  const known = new Map((before?.metrics.sessions ?? []).map((session) => [session.client_id, session]));
  const connected = sessions.filter(({ connected }) => connected).length;
  const earlier = (session: SessionSeen) => known.get(session.client_id);
  const build = (places: readonly number[]): readonly Line[] => {
    const column = columnsOf(places.map((place) => sessions[place]!));
    return table(
      [
        column(`sessions ${countText(sessions.length)}`, 0, ({ client_id: id }) => plain(clean(id ?? '?')), 'left', 28),
        column('pipeline', 4, ({ pipeline }) => told(pipeline, named), 'left', 16),
        column(connected === sessions.length ? 'link' : `${countText(connected)} on`, 2, linkPiece),
        column('results/s', 1, (it) => told(resultRate(it, earlier(it), elapsedS), ratePiece), 'right'),
        column('dropped', 0, (it) => droppedPiece(it, earlier(it)), 'right'),
        column('by cause', 3, ({ accounts }) => causes(accounts?.dropped), 'left', 32),
        column('queued', 5, ({ accounts }) => told(accounts?.queued, countPiece), 'right'),
        column('errors', 5, ({ accounts }) => warning(accounts?.errors), 'right'),
        column('grant', 6, ({ quality }) => grantPiece(quality?.grant)),
        column('level', 7, ({ quality }) => told(quality?.grant?.level, named), 'left', 16),
        column('reason', 8, ({ quality }) => told(quality?.grant?.reason, named), 'left', 28),
        column('age', 9, ({ age_s: ageS }) => told(ageS, (s) => plain(spanText(s))), 'right'),
        column('model', 10, ({ model }) => told(model, named), 'left', 20),
      ],
      width,
    );
  };
  return listed(sessions.length, { rank: 3, isApart: true, least: 3 }, build);
}

/** Makes columns of one cell for each of `items`. */
function columnsOf<T>(items: readonly T[]) {
  return (
    title: string,
    dispensable: number,
    of: (item: T) => Piece | undefined,
    align: 'left' | 'right' = 'left',
    widthMax = Infinity,
  ): Column => ({ title, cells: items.map(of), dispensable, align, widthMax });
}

function linkPiece({ connected }: SessionSeen): Piece | undefined {
  return told(connected, (isOn): Piece => (isOn ? { text: 'on', style: 'good' } : { text: 'lost', style: 'warn' }));
}

/** Marked while it goes on. */
function droppedPiece({ accounts }: SessionSeen, earlier: SessionSeen | undefined): Piece | undefined {
  const dropped = totalOf(accounts?.dropped);
  const droppedBefore = totalOf(earlier?.accounts?.dropped) ?? 0;
  return told(dropped, (count) => ({
    text: countText(count),
    style: earlier && count > droppedBefore ? 'warn' : undefined,
  }));
}

function causes(dropped: Readonly<Record<string, number | undefined>> | undefined): Piece | undefined {
  const told = Object.entries(dropped ?? {}).filter(([, count]) => (count ?? 0) > 0);
  return told.length === 0
    ? undefined
    : plain(told.map(([cause, count]) => `${clean(cause)} ${countText(count ?? 0)}`).join(', '));
}

function grantPiece(grant: NonNullable<SessionSeen['quality']>['grant']): Piece | undefined {
  const { rate_fps: fps, width, height, quality } = grant ?? {};
  const parts = [
    told(fps, (perS) => `${rateText(perS)}/s`),
    width === undefined || height === undefined ? undefined : `${width}×${height}`,
    told(quality, (value) => `q${value}`),
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : plain(parts.join(' '));
}

function telemetryLines({ telemetry, foxglove }: MonitorMetrics, sums: Sums, width: number): readonly Line[] {
  if (telemetry === undefined) return [];
  const { sessions, topics, history_bytes: historyBytes } = telemetry;
  const dropped = sessions && sum(sessions, ({ accounts }) => totalOf(accounts?.dropped));
  const queued = sessions && sum(sessions, ({ accounts }) => accounts?.queued);
  const { telemetryInPerS: inPerS, telemetryOutPerS: outPerS } = sums;
  return facts(
    'telemetry',
    [
      told(sessions?.filter(({ connected }) => connected).length, (count) => plain(plural(count, 'connection'))),
      foxglove?.length ? plain(`${countText(foxglove.length)} of Foxglove`) : undefined,
      told(topics?.length, (count) => plain(plural(count, 'topic'))),
      told(inPerS, (perS) => plain(`${rateText(perS)} msg/s in`)),
      told(outPerS, (perS) => plain(`${rateText(perS)} ${inPerS === undefined ? 'msg/s ' : ''}out`)),
      queued ? plain(`${countText(queued)} queued`) : undefined,
      dropped ? { text: `${countText(dropped)} dropped`, style: 'warn' } : undefined,
      told(historyBytes, (bytes) => plain(`history ${bytesText(bytes)}`)),
    ],
    width,
  );
}

function topicsSection(
  topics: readonly TopicSeen[],
  now: MonitorDocument,
  before: MonitorDocument | undefined,
  width: number,
): Section {
  const elapsedS = secondsBetween(now, before);
  const known = new Map((before?.metrics.telemetry?.topics ?? []).map((topic) => [topicKey(topic), topic.stats]));
  // Of all time, not of late: rows that change places cannot be read.
  const busiest = topics.toSorted((a, b) => (b.stats?.published ?? 0) - (a.stats?.published ?? 0));
  const perS = (topic: TopicSeen, key: 'published' | 'published_bytes') =>
    rate(topic.stats?.[key], known.get(topicKey(topic))?.[key], elapsedS);
  const build = (places: readonly number[]): readonly Line[] => {
    const column = columnsOf(places.map((place) => busiest[place]!));
    return table(
      [
        column(`topics ${countText(topics.length)}`, 0, ({ stats }) => plain(clean(stats?.topic ?? '?'))),
        column('msg/s', 0, (topic) => told(perS(topic, 'published'), ratePiece), 'right'),
        column('bytes/s', 1, (topic) => told(perS(topic, 'published_bytes'), (n) => plain(bytesText(n))), 'right'),
        column('readers', 2, ({ stats }) => told(stats?.readers, countPiece), 'right'),
        column('messages', 3, ({ stats }) => told(stats?.published, countPiece), 'right'),
      ],
      width,
    );
  };
  return listed(topics.length, { rank: 9, least: 3 }, build);
}

/** No lines at all when there is nothing to tell. */
function facts(label: string, told: readonly (Piece | undefined)[], width: number): readonly Line[] {
  return told.some((fact) => fact !== undefined) ? flow(label, told, width) : [];
}

function countPiece(count: number): Piece {
  return plain(countText(count));
}

function ratePiece(perS: number): Piece {
  return plain(rateText(perS));
}

/** A count that is better 0, which is not shown. */
function warning(count: number | undefined): Piece | undefined {
  return count ? { text: countText(count), style: 'warn' } : undefined;
}
