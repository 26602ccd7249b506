import { ms } from '../load/report-text.ts';
import type { MonitorDocument } from './monitor-document.ts';
import { fill, fixed, flow, isNarrow, stack, wrap, type Section } from './monitor-layout.ts';
import { sameRun, summarise } from './monitor-rates.ts';
import { figures } from './monitor-sections.ts';
import {
  bytesText,
  clean,
  countText,
  named,
  paint,
  plain,
  plural,
  rateText,
  spanText,
  told,
  widthOf,
  type Line,
  type Piece,
  type Style,
} from './monitor-text.ts';

/** What the monitor shows, decided and laid out. Pure. */

export interface MonitorState {
  readonly url: string;
  /** Capture to result that is aimed at: what the bars are measured by. */
  readonly budgetMs: number;
  /** The newest reading and the one before it; `undefined` until there is one. */
  readonly now: MonitorDocument | undefined;
  readonly before: MonitorDocument | undefined;
  /** Why the server cannot be read, and for how long it could not. */
  readonly trouble: { readonly message: string; readonly lastsS: number } | undefined;
  readonly isPaused: boolean;
  /** Somebody may press keys. */
  readonly hasKeys: boolean;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

const KEYS = 'p pauses, q leaves';
const STATUS: ReadonlyMap<string, Style> = new Map([
  ['ok', 'good'],
  ['starting', 'warn'],
  ['degraded', 'bad'],
]);

/**
 * The view as lines of at most `columns - 1` characters (a full line would make a terminal scroll), at most `rows` of them.
 * Text of the server is cleaned of what a terminal would obey.
 */
export function monitorView(state: MonitorState, { columns, rows, colour }: Screen): string[] {
  const width = Math.max(1, columns - 1);
  const sections = [
    header(state, width),
    status(state, width),
    ...(state.now ? figures(state.now, sameRun(state.now, state.before), state.budgetMs, width) : []),
  ].filter((section) => section.wanted > 0);
  return stack(sections, rows)
    .slice(0, rows)
    .map((line) => paint(line, width, colour));
}

/** The same on one line, for a pipe. */
export function monitorLine(now: MonitorDocument, previous: MonitorDocument | undefined): string {
  const { health, metrics } = now;
  const sums = summarise(now, sameRun(now, previous));
  const codes = (health.issues ?? []).map(({ code }) => code ?? '?').join(', ');
  const total = metrics.latency?.recent?.stages?.['total'];
  const facts = [
    metrics.time === undefined ? undefined : new Date(metrics.time).toISOString(),
    clean(health.status) + (codes === '' ? '' : ` (${clean(codes)})`),
    total?.count && told(total.p95_ms, (p95) => `p95 ${ms(p95)} ms`),
    told(sums.resultsPerS, (perS) => `${rateText(perS)} results/s`),
    told(metrics.sessions?.length, (count) => plural(count, 'session')),
    told(sums.dropped, (count) => `${countText(count)} dropped`),
    told(metrics.process?.cpu_percent, (percent) => `cpu ${percent.toFixed(0)} %`),
    told(metrics.process?.rss_bytes, (bytes) => `memory ${bytesText(bytes)}`),
    told(metrics.event_loop_delay?.p99_ms, (p99) => `event loop p99 ${ms(p99)} ms`),
    told(metrics.telemetry?.topics?.length, (count) => plural(count, 'topic')),
    told(sums.telemetryInPerS, (perS) => `${rateText(perS)} msg/s in`),
    told(sums.telemetryOutPerS, (perS) => `${rateText(perS)} msg/s out`),
  ];
  return facts.filter((fact) => typeof fact === 'string').join('  ');
}

function header({ url, now, hasKeys }: MonitorState, width: number): Section {
  const version = isNarrow(width) ? undefined : told(now?.health.version, named);
  const lines = flow('sightline', [version, named(url)], width);
  const used = lines.at(-1)!.reduce((sum, { text }) => sum + widthOf(text), 0);
  const gap = width - used - KEYS.length;
  if (!hasKeys || gap < 2) return fixed(lines, { rank: 0 });
  const keys: Line = [{ text: ' '.repeat(gap) }, { text: KEYS, style: 'faint' }];
  return fixed([...lines.slice(0, -1), [...lines.at(-1)!, ...keys]], { rank: 0 });
}

function status({ now, trouble, isPaused }: MonitorState, width: number): Section {
  const paused: Piece | undefined = isPaused ? { text: 'paused', style: 'warn' } : undefined;
  const heads = flow('status', [paused, ...(trouble ? absence(trouble, now) : presence(now, width))], width);
  // What an absent server said of itself is not so any more.
  const items = trouble
    ? [issueLines(trouble.message, 'bad', width)]
    : (now?.health.issues ?? []).map(({ code, message }) =>
        issueLines(`${code ?? '?'}: ${message ?? ''}`, 'warn', width),
      );
  const wanted = heads.length + items.reduce((sum, lines) => sum + lines.length, 0);
  const least = Math.min(wanted, heads.length + (items[0]?.length ?? 0) + Math.min(1, Math.max(0, items.length - 1)));
  return {
    wanted,
    least,
    good: wanted,
    rank: 1,
    isApart: false,
    lines: (room) => [...heads.slice(0, room), ...fill(items, Math.max(0, room - heads.length))],
  };
}

function absence({ lastsS }: NonNullable<MonitorState['trouble']>, now: MonitorDocument | undefined): readonly Piece[] {
  const absent: Piece = { text: `no answer for ${spanText(lastsS)}, trying again`, style: 'bad' };
  return now === undefined ? [absent] : [absent, plain('what follows is older')];
}

function presence(now: MonitorDocument | undefined, width: number): readonly (Piece | undefined)[] {
  if (now === undefined) return [plain('asking')];
  const { health, metrics } = now;
  const { open, max } = metrics.connections ?? {};
  const ofMax = max === undefined || isNarrow(width) ? '' : ` of ${countText(max)}`;
  return [
    { text: clean(health.status), style: STATUS.get(health.status) },
    told(health.uptime_s ?? metrics.process?.uptime_s, (s) => plain(`up ${spanText(s)}`)),
    told(open, (count) => plain(`${countText(count)}${ofMax} connections`)),
    isNarrow(width) ? undefined : told(metrics.streams, (count) => plain(plural(count, 'stream'))),
    metrics.callback_faults ? { text: plural(metrics.callback_faults, 'callback fault'), style: 'bad' } : undefined,
  ];
}

function issueLines(text: string, style: Style, width: number): Line[] {
  return wrap(clean(text), width - 2).map((part) => [{ text: '  ' }, { text: part, style }]);
}
