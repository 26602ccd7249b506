import type { Previous } from './history.ts';
import { total, type SuiteResult, type TestResult } from './results.ts';

/** For people, one line an element. */
export function reportLines(suite: SuiteResult, previous: Previous): string[] {
  const { aggregate_metrics: all, tests } = suite;
  const header = [
    'test',
    '',
    'conn',
    'msg/s',
    'p50 ms',
    'p95 ms',
    'p99 ms',
    'before',
    'lost',
    'B/msg',
    'ratio',
    'server',
    'load gen',
  ];
  const rows = tests.map((test) => [
    test.name,
    verdict(test),
    String(test.connected),
    test.throughput_msg_per_sec.toFixed(0),
    ...[test.latency.p50_ms, test.latency.p95_ms, test.latency.p99_ms].map(ms),
    ms(previous.get(test.name)?.test.p95_ms ?? null),
    String(total(test.lost)),
    fixed(test.bytes_per_message, 0),
    fixed(test.compression_ratio, 2),
    test.server_cpu_percent === undefined ? '-' : `${test.server_cpu_percent.toFixed(0)} %`,
    `${test.generator_cpu_percent.toFixed(0)} %`,
  ]);
  return [
    ...table([header, ...rows]),
    ...tests.filter(({ partial }) => partial !== true).flatMap(shortfalls),
    ...(suite.partial === true
      ? ['', 'partial: the run was stopped before its end; "partial" tests hold the measurements until then']
      : []),
    '',
    `${suite.tests_passed} of ${suite.total_tests} tests passed in ${suite.test_suite_duration.toFixed(0)} s: ` +
      `${all.total_messages_processed.toLocaleString('en-US')} messages, ` +
      `${all.avg_throughput_msg_per_sec.toFixed(0)} a second, ${ms(all.avg_latency_ms)} ms on average, ` +
      `${all.avg_error_rate_percent.toFixed(3)} % wrong or lost`,
    `${suite.url}, ${suite.subprotocol}; passed means: nothing lost, no error, and p95 within the test's limit, which holds for loopback`,
    'before: p95 of the previous run under the same conditions; server: of all its processors; load gen: of one processor',
  ];
}

/** In a word. */
export function verdict({ passed, partial }: Pick<TestResult, 'passed' | 'partial'>): string {
  if (partial === true) return 'partial';
  return passed ? 'ok' : 'FAILED';
}

/** Why a test was not passed, a line each; none when it was. */
export function shortfalls(test: TestResult): string[] {
  const missed = test.criteria
    .filter(({ ok }) => !ok)
    .map(({ name, value, limit }) => `  ${test.name}: ${name} is ${rounded(value)}, the limit ${rounded(limit)}`);
  const causes = Object.entries({ ...test.lost, ...test.errors, ...test.refused });
  if (causes.length > 0) missed.push(`  ${test.name}: ${causes.map(([name, n]) => `${name} ${n}`).join(', ')}`);
  return missed;
}

export function ms(value: number | null): string {
  return fixed(value, value !== null && value < 10 ? 2 : 1);
}

/** A dash where nothing was measured. */
export function fixed(value: number | null, digits: number): string {
  return value === null ? '-' : value.toFixed(digits);
}

function rounded(value: number | null): string {
  return value === null ? 'not measured' : String(Math.round(value * 100) / 100);
}

/** The first two columns to the left, figures to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}
