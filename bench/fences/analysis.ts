import { atLeast, atMost, type Bar } from '../support/document.ts';
import { round } from '../support/numbers.ts';
import type { CameraSeen, HealthSeen, ReaderSeen } from './innocents.ts';
import type { Tally } from './target.ts';

/** From what the innocents saw beside a control and beside an attack to figures and bars. Pure. */

/** One span: of a control or of an attack. */
export interface Seen {
  readonly camera: CameraSeen;
  readonly reader: ReaderSeen;
  readonly health: HealthSeen;
  readonly tally: Tally;
  /** Of the server. */
  readonly residentPeakMb: number;
  /** Cores that the server used: the main thread, and all its other threads. */
  readonly mainCores: number;
  readonly otherCores: number;
}

/** An attack with its control, and what the server was like behind it. */
export interface Case {
  readonly name: string;
  readonly control: Seen;
  readonly attacked: Seen;
  /** Workers that were replaced or given up during the attack; NaN: the server does not tell. */
  readonly workersLost: number;
  /** Accounts that do not balance, in words; undefined: the server does not tell. */
  readonly unbalanced: readonly string[] | undefined;
  /** What an innocent client found afterwards, in words. */
  readonly afterwards: readonly string[];
  /** Heap and external memory after a collection, less what they were before; NaN: the server does not tell. */
  readonly memoryLeftMb: number;
  /** Bytes that are still charged to the attacker; undefined: this server has no such ledger. */
  readonly chargedBytes: number | undefined;
  /** From the end of the attack until memory and ledger were looked at for the last time. */
  readonly settledS: number;
  /** How `/health` failed then; undefined: it answered. */
  readonly healthAfter: string | undefined;
  /** From SIGTERM until the process was gone. */
  readonly stopMs: number;
  /** Its process had ended before it was asked to; how. */
  readonly ended: string | undefined;
}

export interface Limits {
  readonly longestRunMs: number;
  readonly residentMbMax: number;
  readonly stopMsMax: number;
}

export type Figures = Readonly<Record<string, number>>;

const CAMERA_SHARE_MIN = 0.95;
const READER_P99_OVER_MS_MAX = 20;
const HEALTH_P99_OVER_MS_MAX = 50;
const MEMORY_LEFT_MB_MAX = 50;

/** By name, without that of the attack. */
export function figuresOf(one: Case): Figures {
  const { control, attacked } = one;
  return {
    camera_share: attacked.camera.results / control.camera.results,
    camera_p95_over_ms: attacked.camera.ms.p95 - control.camera.ms.p95,
    reader_lost: attacked.reader.lost + attacked.reader.wrong,
    reader_p99_over_ms: attacked.reader.ms.p99 - control.reader.ms.p99,
    health_failed: attacked.health.failed,
    health_p99_over_ms: attacked.health.ms.p99 - control.health.ms.p99,
    resident_peak_mb: attacked.residentPeakMb,
    memory_left_mb: one.memoryLeftMb,
    ...(one.chargedBytes !== undefined && { charged_bytes: one.chargedBytes }),
    health_after_failed: one.healthAfter === undefined ? 0 : 1,
    workers_lost: one.workersLost,
    punished: punishments(one).length,
    unbalanced: one.unbalanced?.length ?? Number.NaN,
    ended: one.ended === undefined ? 0 : 1,
    stop_ms: one.stopMs,
    settled_s: one.settledS,
    ...prefixed('control', control),
    ...prefixed('attack', attacked),
  };
}

function prefixed(side: string, { camera, reader, health, tally, ...server }: Seen): Figures {
  const own = {
    camera_results: camera.results,
    camera_shown: camera.shown,
    camera_p95_ms: camera.ms.p95,
    reader_published: reader.published,
    reader_received: reader.received,
    reader_p99_ms: reader.ms.p99,
    health_failed: health.failed,
    health_p99_ms: health.ms.p99,
    resident_peak_mb: server.residentPeakMb,
    main_cores: server.mainCores,
    other_cores: server.otherCores,
    sent_mb: tally.bytes / 1e6,
    connections: tally.connections,
    refused: tally.refused,
    cut: tally.cut,
  };
  return Object.fromEntries(Object.entries(own).map(([name, value]) => [`${side}_${name}`, value]));
}

export function barsOf(figures: Figures, limits: Limits): Bar[] {
  const of = (name: string): number => figures[name] ?? Number.NaN;
  const most = (name: string, bar: number): Bar => atMost(name, of(name), bar);
  return [
    atLeast('camera_share', of('camera_share'), CAMERA_SHARE_MIN),
    most('camera_p95_over_ms', limits.longestRunMs),
    most('reader_lost', 0),
    most('reader_p99_over_ms', READER_P99_OVER_MS_MAX),
    most('health_failed', 0),
    most('health_p99_over_ms', HEALTH_P99_OVER_MS_MAX),
    most('resident_peak_mb', limits.residentMbMax),
    most('memory_left_mb', MEMORY_LEFT_MB_MAX),
    // A server without the ledger promises nothing of it.
    ...('charged_bytes' in figures ? [most('charged_bytes', 0)] : []),
    most('health_after_failed', 0),
    most('workers_lost', 0),
    most('punished', 0),
    most('unbalanced', 0),
    most('ended', 0),
    most('stop_ms', limits.stopMsMax),
  ];
}

/** What the server did to somebody who had done nothing, in words. */
export function punishments({ attacked: { camera, reader }, afterwards }: Case): string[] {
  return [...camera.faults, ...reader.faults, ...afterwards];
}

/** Figures of both sides by bar, where there are two. */
const SIDES: Readonly<Record<string, string>> = {
  camera_share: 'camera_results',
  camera_p95_over_ms: 'camera_p95_ms',
  reader_lost: 'reader_received',
  reader_p99_over_ms: 'reader_p99_ms',
  health_failed: 'health_failed',
  health_p99_over_ms: 'health_p99_ms',
  resident_peak_mb: 'resident_peak_mb',
};

/** For people: each bar of an attack, kept or short, with the figures that it is made of. */
export function tableOf(title: string, figures: Figures, bars: readonly Bar[], remarks: readonly string[]): string {
  const cells = bars.map(({ name, value, bar, ok }) => {
    const side = SIDES[name];
    const of = (which: string): string => told(side === undefined ? undefined : figures[`${which}_${side}`]);
    return [name, of('control'), of('attack'), told(value), told(bar), ok ? 'kept' : 'SHORT'];
  });
  const rows = [['', 'control', 'attack', 'value', 'bar', ''], ...cells];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
  return [title, ...[...lines, ...remarks].map((line) => `  ${line}`)].join('\n');
}

function told(value: number | undefined): string {
  if (value === undefined) return '';
  return Number.isNaN(value) ? '?' : String(round(value));
}
