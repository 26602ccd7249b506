import type { Previous } from './history.ts';
import { fixed, ms, shortfalls } from './report-text.ts';
import { total, type SuiteResult, type TestResult } from './results.ts';

/** The results as one self-contained HTML file: plots are inline SVG, light or dark like the reader's system. */
export function reportHtml(suite: SuiteResult, previous: Previous): string {
  const { aggregate_metrics: all } = suite;
  const tiles = [
    ['tests passed', `${suite.tests_passed} of ${suite.total_tests}`],
    ['messages', all.total_messages_processed.toLocaleString('en-US')],
    ['messages/s', all.avg_throughput_msg_per_sec.toFixed(0)],
    ['mean latency', `${ms(all.avg_latency_ms)} ms`],
    ['wrong or lost', `${all.avg_error_rate_percent.toFixed(3)} %`],
    ['duration', `${suite.test_suite_duration.toFixed(0)} s`],
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sightline benchmark, ${escaped(suite.time)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Sightline benchmark</h1>
<p>${escaped(suite.time)} · version ${escaped(suite.version)} · ${escaped(suite.subprotocol)} · ${
    suite.server === 'private' ? 'a private server' : escaped(suite.url)
  }${suite.quick ? ' · quick' : ''}</p>
</header>
<dl class="tiles">${tiles.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`).join('')}</dl>
<section>
<h2>Latency, publisher to reader</h2>
<p>P95 of each test in ms; the bar fills the test's limit. Passed means: nothing lost, no error, P95 within the limit.</p>
${suite.tests.map((test) => limitBar(test, previous.get(test.name)?.test.p95_ms ?? null)).join('\n')}
</section>
<section class="scroll">
<h2>Figures</h2>
${figuresTable(suite.tests)}
</section>
${suite.tests.map(testSection).join('\n')}
</body>
</html>
`;
}

const STYLE = `
:root { color-scheme: light dark; --page: #f7f7f5; --card: #fff; --text: #1c1d1f; --faint: #5d6268; --line: #dcdcd8;
  --one: #2b62c8; --two: #a35a00; --good: #1f7a43; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #141517; --card: #1d1f22; --text: #ececea; --faint: #a2a7ad;
  --line: #34373b; --one: #7aa5f5; --two: #e0a050; --good: #6cc28e; --bad: #f2877e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 0; } p { margin: .25rem 0 .75rem; color: var(--faint); }
section, .tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
section { padding: 1rem 1.25rem; margin-top: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
.tiles div { padding: .75rem 1rem; } dt { color: var(--faint); font-size: .85rem; } dd { margin: 0; font-size: 1.3rem; }
.bar { display: grid; grid-template-columns: 11rem 1fr 14rem; gap: .75rem; align-items: center; padding: .15rem 0; }
.track { height: 10px; border-radius: 5px; background: var(--line); overflow: hidden; }
.fill { height: 100%; background: var(--one); } .over .fill { background: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin-top: .5rem; white-space: nowrap; }
th, td { text-align: right; padding: .3rem .5rem; border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; border-top: 0; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
.ok { color: var(--good); } .failed { color: var(--bad); } .state { font-weight: 600; margin-left: .5rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--faint); font-size: .85rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
.axis { stroke: var(--line); } .limit { stroke: var(--bad); stroke-dasharray: 4 3; }
.series { fill: none; stroke-width: 1.5; stroke-linejoin: round; } .one { stroke: var(--one); } .two { stroke: var(--two); }
@media (max-width: 40rem) { .bar { grid-template-columns: 1fr; gap: .1rem; padding: .4rem 0; } }
`;

function limitBar(test: TestResult, before: number | null): string {
  const limit = test.criteria.find(({ name }) => name === 'p95_ms')?.limit ?? 1;
  const { p95_ms } = test.latency;
  const share = Math.min(100, (100 * (p95_ms ?? 0)) / limit);
  const past = before === null ? '' : `, before ${ms(before)}`;
  return (
    `<div class="bar${p95_ms !== null && p95_ms > limit ? ' over' : ''}"><span>${escaped(test.name)}</span>` +
    `<div class="track"><div class="fill" style="width:${share.toFixed(1)}%"></div></div>` +
    `<span>${ms(p95_ms)} of ${limit} ms${past}</span></div>`
  );
}

function figuresTable(tests: readonly TestResult[]): string {
  const columns = [
    'test',
    'connections',
    'msg/s',
    'P50 ms',
    'P95 ms',
    'P99 ms',
    'lost',
    'bytes/msg',
    'JSON bytes',
    'ratio',
    'server CPU',
    'load CPU',
  ];
  const rows = tests.map((test) => [
    escaped(test.name),
    test.connected === test.connections ? String(test.connected) : `${test.connected} of ${test.connections}`,
    test.throughput_msg_per_sec.toFixed(0),
    ms(test.latency.p50_ms),
    ms(test.latency.p95_ms),
    ms(test.latency.p99_ms),
    String(total(test.lost)),
    fixed(test.bytes_per_message, 0),
    fixed(test.json_bytes_per_message, 0),
    fixed(test.compression_ratio, 2),
    test.server_cpu_percent === undefined ? '-' : `${test.server_cpu_percent.toFixed(0)} %`,
    `${test.generator_cpu_percent.toFixed(0)} %`,
  ]);
  return `<table><thead><tr>${cells('th', columns)}</tr></thead><tbody>${rows
    .map((row) => `<tr>${cells('td', row)}</tr>`)
    .join('')}</tbody></table>
<p>Server CPU is of all processors of the server's machine; load CPU, of the process with all connections, is of one.</p>`;
}

function cells(name: string, row: readonly string[]): string {
  return row.map((cell) => `<${name}>${cell}</${name}>`).join('');
}

function testSection(test: TestResult): string {
  const limit = test.criteria.find(({ name }) => name === 'p95_ms')?.limit;
  const state =
    test.partial === true
      ? '<span class="state">partial</span>'
      : test.passed
        ? '<span class="state ok">passed</span>'
        : '<span class="state failed">failed</span>';
  const missed = shortfalls(test).map((line) => `<p class="failed">${escaped(line.trim())}</p>`);
  return `<section>
<h2>${escaped(test.name)}${state}</h2>
<p>${escaped(test.summary)}; ${test.received.toLocaleString('en-US')} of ${test.expected.toLocaleString('en-US')} messages arrived</p>
${missed.join('\n')}
<div class="plots">
<figure><figcaption>P95 of each second, ms${limit === undefined ? '' : '; dashed: the limit'}</figcaption>
${plot(
  test.timeline.map(({ p95_ms }) => p95_ms),
  'one',
  limit,
)}</figure>
<figure><figcaption>messages that arrived in each second</figcaption>
${plot(
  test.timeline.map(({ received }) => received),
  'two',
)}</figure>
</div>
</section>`;
}

const WIDTH = 480;
const HEIGHT = 140;
const LEFT = 46;
const BOTTOM = 18;
const TOP = 8;

/** Seconds from the left to the right, from 0 upwards; a gap where nothing was measured. */
function plot(values: readonly (number | null)[], series: 'one' | 'two', limit?: number): string {
  const measured = values.filter((value) => value !== null);
  const top = niceCeiling(Math.max(1e-3, ...measured, limit ?? 0));
  const x = (i: number): number => LEFT + ((WIDTH - LEFT - 4) * i) / Math.max(1, values.length - 1);
  const y = (value: number): number => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top);
  const path = values
    .map((value, i) => {
      if (value === null) return '';
      const from = (values[i - 1] ?? null) === null ? 'M' : 'L';
      return `${from}${x(i).toFixed(1)},${y(value).toFixed(1)}`;
    })
    .join('');
  const lines = [0, top / 2, top].map(
    (value) =>
      `<line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${y(value)}" y2="${y(value)}"/>` +
      `<text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end">${shortNumber(value)}</text>`,
  );
  // A second between two gaps is not a line.
  const marks = values.map((value, i) =>
    value === null || (values[i - 1] ?? null) !== null || (values[i + 1] ?? null) !== null
      ? ''
      : `<circle class="${series}" cx="${x(i).toFixed(1)}" cy="${y(value).toFixed(1)}" r="2" fill="currentColor"/>`,
  );
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">${lines.join('')}
<text x="${LEFT}" y="${HEIGHT - 4}">0 s</text><text x="${WIDTH}" y="${HEIGHT - 4}" text-anchor="end">${values.length} s</text>
${limit === undefined ? '' : `<line class="limit" x1="${LEFT}" x2="${WIDTH}" y1="${y(limit)}" y2="${y(limit)}"/>`}
<path class="series ${series}" d="${path}"/>${marks.join('')}</svg>`;
}

/** 1, 2 or 5 times a power of ten, at least `value`. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

function shortNumber(value: number): string {
  return value >= 10_000 ? `${value / 1_000}k` : String(Math.round(value * 1_000) / 1_000);
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
