import { expect, test } from 'vitest';
import { parseText } from '../../test/support/prometheus-text.ts';
import { expositionOf, figuresDocument, formatFor } from './exposition.ts';
import { FigureRegistry, part } from './figures.ts';

const registry = new FigureRegistry({}, [
  part(
    () => 7,
    [
      {
        name: 'sightline_done_total',
        kind: 'counter',
        help: 'What is "done"',
        labels: ['by'],
        read: (n) => [[['a"b\n'], n]],
      },
      { name: 'sightline_sent_bytes_total', kind: 'counter', unit: 'bytes', help: 'Bytes', read: (n) => n },
      {
        name: 'sightline_wait_seconds',
        kind: 'histogram',
        unit: 'seconds',
        help: 'Waits',
        buckets: [0.5, 1],
        read: (n) => ({ counts: [1, 2], count: n, sum: 9.5 }),
      },
      { name: 'sightline_nothing', kind: 'gauge', help: 'Not measured', read: () => null },
    ],
  ),
]);

const PROMETHEUS = 'application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';

test('OpenMetrics for who asks for it: units, counters by their family, an end', () => {
  const format = formatFor(PROMETHEUS);
  expect(format.contentType).toMatch(/^application\/openmetrics-text; version=1\.0\.0/);
  const text = expositionOf(registry.read(), format);
  expect(text.split('\n').slice(0, 16)).toEqual([
    '# TYPE sightline_done counter',
    '# HELP sightline_done What is \\"done\\"',
    'sightline_done_total{by="a\\"b\\n"} 7',
    '# TYPE sightline_sent_bytes counter',
    '# UNIT sightline_sent_bytes bytes',
    '# HELP sightline_sent_bytes Bytes',
    'sightline_sent_bytes_total 7',
    '# TYPE sightline_wait_seconds histogram',
    '# UNIT sightline_wait_seconds seconds',
    '# HELP sightline_wait_seconds Waits',
    'sightline_wait_seconds_bucket{le="0.5"} 1',
    'sightline_wait_seconds_bucket{le="1.0"} 2',
    'sightline_wait_seconds_bucket{le="+Inf"} 7',
    'sightline_wait_seconds_sum 9.5',
    'sightline_wait_seconds_count 7',
    '# TYPE sightline_nothing gauge',
  ]);
  expect(text.endsWith('# EOF\n')).toBe(true);
});

test.each([undefined, '*/*', 'text/html'])('the older text for who accepts %s', (accept) => {
  const format = formatFor(accept);
  expect(format.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  const families = parseText(expositionOf(registry.read(), format));
  expect(families.get('sightline_done_total')!.samples.size).toBe(1);
  expect(families.get('sightline_wait_seconds')!.kind).toBe('histogram');
});

test('the page has a line for each of them', () => {
  const page = figuresDocument(registry.all);
  for (const { name, help } of registry.all) {
    expect(page).toContain(`| \`${name}\` |`);
    expect(page).toContain(help);
  }
});
