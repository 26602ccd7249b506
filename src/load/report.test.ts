import { expect, test } from 'vitest';
import { suiteOf, tested } from '../../test/support/load-results.ts';
import { niceCeiling, reportHtml } from './report-html.ts';
import { reportLines } from './report-text.ts';

const failing = tested('high_load', { lost: { overflow: 3 }, errors: { RATE_LIMITED: 2 } });
const suite = suiteOf([tested('low_load'), failing]);
const past = { name: 'low_load', passed: true, seconds: 60, p50_ms: 1, p95_ms: 7.77, p99_ms: 3 };
const pastFigures = { throughput_msg_per_sec: 50, bytes_per_message: 600, error_rate_percent: 0 };
const previous = new Map([['low_load', { time: 'before', test: { ...past, ...pastFigures } }]]);

test('the table has a line for each test, the run before, and what was missed', () => {
  const lines = reportLines(suite, previous);
  expect(lines[1]).toMatch(/^low_load +ok +5 +50 +1\.00 +2\.00 +3\.00 +7\.77 +0 +600 +2\.00 +4 % +7 %$/);
  expect(lines[2]).toMatch(/^high_load +FAILED /);
  expect(lines).toContain('  high_load: lost is 3, the limit 0');
  expect(lines).toContain('  high_load: overflow 3, RATE_LIMITED 2');
  expect(lines.join('\n')).toContain('1 of 2 tests passed in 61 s');
});

test('the page stands alone and has a plot of every test', () => {
  const html = reportHtml(suite, previous);
  expect(html).not.toMatch(/(src|href)=|@import|url\(/);
  expect(html.match(/<svg /g)).toHaveLength(4);
  expect(html).toContain('before 7.77');
  expect(html).toContain('prefers-color-scheme: dark');
  expect(html).not.toMatch(/NaN|undefined|Infinity/);
});

test('what comes from outside is text in it', () => {
  const html = reportHtml(suiteOf([tested('low_load')], { server: 'given', url: 'ws://x/<script>"' }), new Map());
  expect(html).not.toContain('<script>');
  expect(html).toContain('&#60;script&#62;&#34;');
});

test('a run without a second in it has its page', () => {
  expect(reportHtml(suiteOf([tested('low_load', { timeline: [] })]), new Map())).not.toMatch(/NaN|Infinity/);
});

test('what was not measured is a dash in the table and a gap in the plot', () => {
  const none = { p50_ms: null, p95_ms: null, p99_ms: null, max_ms: null, mean_ms: null };
  const timeline = [3, 4, null, 5].map((p95_ms) => ({ received: p95_ms === null ? 0 : 50, p95_ms }));
  const silent = tested('low_load', { received: 0, latency: none, bytes_per_message: null, timeline });
  const lines = reportLines(suiteOf([silent]), new Map());
  expect(lines[1]).toMatch(/^low_load +FAILED +5 +0 +- +- +- +- +0 +- +- +4 % +7 %$/);
  expect(lines).toContain('  low_load: p95_ms is not measured, the limit 10');
  const html = reportHtml(suiteOf([silent]), new Map());
  expect(html).not.toMatch(/NaN|null|Infinity/);
  expect(/class="series one" d="([^"]*)"/.exec(html)?.[1]).toMatch(/^M[\d.,]+L[\d.,]+M[\d.,]+$/);
});

test.each([
  [0.3, 0.5],
  [1, 1],
  [1.1, 2],
  [49, 50],
  [51, 100],
])('an axis for %d ends at %d', (value, end) => expect(niceCeiling(value)).toBeCloseTo(end, 9));
