import { Document } from 'yaml';
import { placeAt } from '../../config/keys.ts';
import type { Goal, Measured, Settings } from './judge.ts';
import { KEPT_MIN, type SearchResult } from './search.ts';

/** The outputs of `sightline optimize`: lines for people, a configuration file, one document. */

export interface Conditions {
  readonly version: string;
  /** ISO 8601. */
  readonly time: string;
  readonly machine: string;
  readonly model: string;
  readonly clip: { readonly name: string; readonly width: number; readonly height: number; readonly frames: number };
  readonly sessions: number;
  readonly quick: boolean;
  /** Seconds. */
  readonly duration: number;
}

export interface Report {
  readonly conditions: Conditions;
  readonly goal: Goal;
  readonly result: SearchResult;
  /** Everything in which the recommended configuration differs from the defaults, by dotted key. */
  readonly settings: Readonly<Record<string, unknown>>;
}

const HEADER = ['', 'results/s', 'in time/s', 'p50 ms', 'p95 ms', 'lost %', 'CPU %', 'MB', 'others %'];
const COMMENT_CHARS_MAX = 120;
/** Above this, in percent of all processors, the figures are not reliable. */
const OTHERS_MAX_PERCENT = 10;

/** One JSON document; infinite values (a p95 without results) are null. */
export function reportDocument({ conditions, goal, result, settings }: Report): Readonly<Record<string, unknown>> {
  const { trials, failed, pictures, confirmed, recommended, isDefault, reasons, noise, cutShort } = result;
  const { time, duration, ...rest } = conditions;
  return {
    time,
    duration_s: duration,
    ...rest,
    target_latency_ms: goal.targetMs,
    strategy: goal.strategy,
    recommended: { is_default: isDefault, name: recommended.name, changes: recommended.settings, reasons },
    settings,
    confirmation: confirmed.map(({ name, settings: changes, measured, rounds, verdict }) => ({
      name,
      changes,
      measured,
      rounds,
      adoptable: verdict?.adopted ?? null,
      reasons: verdict?.reasons ?? [],
    })),
    noise_percent: noise * 100,
    pictures: pictures.map(({ width, height, quality, kept, boxes, work_ms }) => ({
      width,
      height,
      quality,
      kept: kept ?? null,
      boxes,
      work_ms,
    })),
    trials: trials.map(({ name, settings: changes, stage, saturated, measured }) => ({
      name,
      stage,
      saturated,
      changes,
      measured,
    })),
    failed,
    cut_short: cutShort,
  };
}

/** For people, one line an element. */
export function optimizeLines(report: Report): string[] {
  return [...tables(report), '', ...recommendation(report)];
}

/** The configuration file: the settings, and the measurements behind them as comments. */
export function configurationFile(report: Report): string {
  const { conditions, settings } = report;
  const sections = new Document({});
  for (const [path, value] of Object.entries(settings)) sections.setIn(placeAt(path)!.steps, value);
  const isEmpty = Object.keys(settings).length === 0;
  const comments = [
    `Made by sightline optimize ${conditions.version}, ${conditions.time}.`,
    '',
    ...recommendation(report),
    '',
    ...conditionLines(report),
    '',
    ...tables(report),
  ];
  const body = isEmpty ? '# No setting differs from the defaults.\n' : sections.toString();
  return `${comments.flatMap(comment).join('\n')}\n\n${body}`;
}

function comment(given: string): string[] {
  // A line's end, in the name of a clip say, would end the comment.
  const text = given.replaceAll(/\p{Cc}/gu, ' ');
  if (text === '') return ['#'];
  // A table keeps its columns.
  if (text.length + 2 <= COMMENT_CHARS_MAX || text.includes('  ')) return [`# ${text}`];
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > COMMENT_CHARS_MAX) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function recommendation({ result, goal, conditions }: Report): string[] {
  const { recommended, isDefault, reasons, confirmed, noise, cutShort } = result;
  const { sessions } = conditions;
  const what = isDefault ? 'the configuration as it is' : recommended.name;
  const others = Math.max(0, ...confirmed.map(({ measured }) => measured.others_percent));
  const isHeld = recommended.measured.p95_ms <= goal.targetMs;
  return [
    `Recommended for ${sessions} ${sessions === 1 ? 'session' : 'sessions'} within ${goal.targetMs} ms: ${what}.`,
    ...(isDefault && confirmed.length > 0 ? ['Nothing else measured better in turns with it:'] : []),
    ...reasons.map((reason) => `- ${reason}`),
    ...(isHeld
      ? []
      : [`It does not hold ${goal.targetMs} ms here: its p95 is ${figure(recommended.measured.p95_ms, 0)} ms.`]),
    ...(others > OTHERS_MAX_PERCENT
      ? [
          `Other programs took up to ${figure(others, 0)} % of the processors meanwhile: measure again when they are idle.`,
        ]
      : []),
    ...(cutShort ? ['The time was up before all candidates were measured.'] : []),
    ...(confirmed.length > 0
      ? [
          `Medians of ${confirmed[0]!.rounds.length} rounds in turns; differences up to ${(noise * 100).toFixed(0)} % count as noise.`,
        ]
      : []),
  ];
}

function conditionLines({ conditions, goal }: Report): string[] {
  const { machine, model, clip, sessions, quick } = conditions;
  return [
    machine,
    `model ${model}; clip ${clip.name}, ${clip.width}×${clip.height}, ${clip.frames} frames of it`,
    `${sessions} sessions on loopback; target ${goal.targetMs} ms for 95 % of the results, capture to result; strategy ${goal.strategy}` +
      (quick ? '; short spans (--quick)' : ''),
  ];
}

function tables({ result }: Report): string[] {
  const { trials, failed, pictures, confirmed } = result;
  const searched = trials.map(({ name, saturated, measured }) =>
    saturated ? saturatedFigures(name, measured) : figures(name, measured),
  );
  return [
    ...(confirmed.length > 0
      ? [
          'In turns with the default:',
          ...table([HEADER, ...confirmed.map(({ name, measured }) => figures(name, measured))]),
          '',
        ]
      : []),
    'Searched:',
    ...table([HEADER, ...searched]),
    ...failed.map(({ name, reason }) => `${name}: could not run: ${reason}`),
    '',
    `Pictures, and what they keep of the detections in the clip's own (less than ${KEPT_MIN * 100} % is refused):`,
    ...table([
      ['', 'boxes', 'kept %', 'work ms'],
      ...pictures.map(({ width, height, quality, kept, boxes, work_ms }) => [
        `${width}×${height}, quality ${quality}`,
        String(boxes),
        kept === undefined ? '–' : (kept * 100).toFixed(0),
        figure(work_ms, 1),
      ]),
    ]),
    ...(pictures.some(({ kept }) => kept === undefined)
      ? ['Nothing was detected in the clip, so that no smaller picture could be compared.']
      : []),
  ];
}

function figures(name: string, measured: Measured): string[] {
  const { results_per_s, in_time_per_s, p50_ms, p95_ms, loss_percent, cpu_percent, memory_mb, others_percent } =
    measured;
  return [
    name,
    figure(results_per_s, 1),
    figure(in_time_per_s, 1),
    figure(p50_ms, 1),
    figure(p95_ms, 1),
    figure(loss_percent, 2),
    figure(cpu_percent, 0),
    figure(memory_mb, 0),
    figure(others_percent, 0),
  ];
}

/** For a saturated engine the wait says nothing. */
function saturatedFigures(name: string, measured: Measured): string[] {
  const { results_per_s, cpu_percent, memory_mb, others_percent } = measured;
  const known = [
    figure(results_per_s, 1),
    '',
    '',
    '',
    '',
    figure(cpu_percent, 0),
    figure(memory_mb, 0),
    figure(others_percent, 0),
  ];
  return [`${name} (as hard as it goes)`, ...known];
}

function figure(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : '–';
}

/** The first column to the left, figures to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!))).join('  '),
  );
}

/** The difference between two sets of settings, for the file: the recommended ones beat the given ones. */
export function merged(
  given: Readonly<Record<string, unknown>>,
  changes: Settings,
  defaultOf: (path: string) => unknown,
): Readonly<Record<string, unknown>> {
  const all = { ...given, ...changes };
  return Object.fromEntries(Object.entries(all).filter(([path, value]) => value !== defaultOf(path)));
}
