import type { FigureMeta, FigureReading, FigureSample, HistogramValue } from './figures.ts';

/** The figures as text for scrapers. */

export interface ExpositionFormat {
  readonly contentType: string;
  readonly isOpenMetrics: boolean;
}

/** https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md */
const OPEN_METRICS: ExpositionFormat = {
  contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  isOpenMetrics: true,
};
/** https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format */
const PROMETHEUS_TEXT: ExpositionFormat = {
  contentType: 'text/plain; version=0.0.4; charset=utf-8',
  isOpenMetrics: false,
};

/** `accept`: of the request. OpenMetrics for who knows it, else the older format, which a person’s browser shows as well. */
export function formatFor(accept: string | undefined): ExpositionFormat {
  return accept?.includes('application/openmetrics-text') === true ? OPEN_METRICS : PROMETHEUS_TEXT;
}

export function expositionOf(readings: readonly FigureReading[], { isOpenMetrics }: ExpositionFormat): string {
  const lines = readings.flatMap(({ figure, samples }) => [
    ...(isOpenMetrics ? openMetricsHead(figure) : prometheusHead(figure)),
    ...samples.flatMap((sample) => sampleLines(figure, sample)),
  ]);
  if (isOpenMetrics) lines.push('# EOF');
  return lines.map((line) => `${line}\n`).join('');
}

function prometheusHead({ name, kind, help }: FigureMeta): string[] {
  return [`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${kind}`];
}

/** A counter's family has the name without `_total`. */
function openMetricsHead({ name, kind, unit, help }: FigureMeta): string[] {
  const family = kind === 'counter' ? name.replace(/_total$/, '') : name;
  const unitLine = unit === undefined ? [] : [`# UNIT ${family} ${unit}`];
  return [`# TYPE ${family} ${kind}`, ...unitLine, `# HELP ${family} ${escaped(help).replaceAll('"', '\\"')}`];
}

function sampleLines({ name, buckets = [] }: FigureMeta, { labels, value }: FigureSample): string[] {
  if (typeof value === 'number') return [`${name}${labelText(labels)} ${value}`];
  const { counts, count, sum }: HistogramValue = value;
  return [
    ...buckets.map((bound, i) => `${name}_bucket${labelText({ ...labels, le: boundText(bound) })} ${counts[i]}`),
    `${name}_bucket${labelText({ ...labels, le: '+Inf' })} ${count}`,
    `${name}_sum${labelText(labels)} ${sum}`,
    `${name}_count${labelText(labels)} ${count}`,
  ];
}

/** OpenMetrics has no whole numbers here. */
function boundText(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound);
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`);
  return texts.length === 0 ? '' : `{${texts.join(',')}}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** A page of all figures, for people. */
export function figuresDocument(figures: readonly FigureMeta[]): string {
  const rows = figures.map(
    ({ name, kind, unit, labels = [], help }) =>
      `| \`${name}\` | ${kind} | ${unit ?? '–'} | ${labels.map((label) => `\`${label}\``).join(', ') || '–'} | ${help} |`,
  );
  return `${HEAD}\n| figure | kind | unit | labels | what |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

const HEAD = `# Metrics

This page is made from the code (\`npm run docs\`).

\`GET /metrics\` tells every figure to a scraper: OpenMetrics 1.0 to one that asks for it, as Prometheus does, else Prometheus’ older text format. Where the server
asks for a key, one with \`read:metrics\` is needed ([security.md](security.md#who-may-come-in)):

\`\`\`yaml
scrape_configs:
  - job_name: sightline
    authorization: { credentials_file: /etc/prometheus/sightline.key }
    static_configs: [{ targets: ['127.0.0.1:8080'] }]
\`\`\`

Counters count since the start of the process. A figure has at most a hundred label sets, unless it says otherwise; further ones are left out, and
counted in \`sightline_label_sets_left_out_total\`: no label holds the name of a client. What was not measured is left out, not told as 0.

The \`lane\` of a frame says where it came from: \`video\`, the socket of a client, or \`cameras\`, which the server reads itself. A camera’s frame counts once it was decoded for a pipeline; frames that
were left undecoded are no drops. Its stages begin with its capture by the camera’s own clock where it tells that, else with its arrival; \`late\` counts from the arrival alone, since the camera’s
encoder, network and clock are not the server’s ([cameras.md](cameras.md#what-is-decoded-when)).

\`deploy/prometheus\` has rules that wake somebody, \`deploy/grafana\` a dashboard.
`;
