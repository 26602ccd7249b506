/** Reads the text format of Prometheus (version 0.0.4): https://prometheus.io/docs/instrumenting/exposition_formats/ */

export interface ParsedFamily {
  readonly kind: string;
  readonly help: string;
  /** By the text of name and labels. */
  readonly samples: ReadonlyMap<string, number>;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const VALUE = '[-+]?(?:\\d+(?:\\.\\d+)?(?:e[-+]?\\d+)?|Inf)|NaN';
const HEAD = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (${VALUE})$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const SUFFIXES: Readonly<Record<string, RegExp>> = { histogram: /_(bucket|sum|count)$/ };

/** Throws for whatever the format does not allow, and for histograms whose buckets cannot be. */
export function parseText(text: string): Map<string, ParsedFamily> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families = new Map<string, { kind: string; help: string; samples: Map<string, number> }>();
  let current: string | undefined;
  let help: { name: string; text: string } | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, what, name, rest] = HEAD.exec(line) ?? [];
    if (what === 'HELP') {
      help = { name: name!, text: rest! };
    } else if (what === 'TYPE') {
      if (help?.name !== name) throw new Error(`${name} has no help before its type`);
      if (families.has(name!)) throw new Error(`${name} stands twice`);
      if (!/^(counter|gauge|histogram)$/.test(rest!)) throw new Error(`${name} is of type ${rest}`);
      families.set(name!, { kind: rest!, help: help!.text, samples: new Map() });
      current = name!;
    } else {
      const [, sampleName, labels, value] = SAMPLE.exec(line) ?? [];
      if (sampleName === undefined) throw new Error(`no line of the format: ${line}`);
      const family = families.get(current ?? '');
      const base = sampleName.replace(SUFFIXES[family?.kind ?? ''] ?? /$^/, '');
      if (!family || base !== current) throw new Error(`${sampleName} stands apart from its family`);
      const key = sampleName + JSON.stringify(parseLabels(labels ?? '', line));
      if (family.samples.has(key)) throw new Error(`${key} stands twice`);
      const number = Number(value!.replace('Inf', 'Infinity'));
      if (family.kind !== 'gauge' && !(number >= 0)) throw new Error(`${key} is ${value}`);
      family.samples.set(key, number);
    }
  }
  for (const [name, { kind, samples }] of families) if (kind === 'histogram') checkBuckets(name, samples);
  return families;
}

function parseLabels(text: string, line: string): [string, string][] {
  const labels: [string, string][] = [];
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const [whole, name, value, end] = LABEL.exec(text) ?? [];
    if (whole === undefined) throw new Error(`no labels of the format: ${line}`);
    if (end === '' && LABEL.lastIndex < text.length) throw new Error(`no comma between labels: ${line}`);
    if (labels.some(([other]) => other === name)) throw new Error(`label ${name} stands twice: ${line}`);
    labels.push([name!, value!]);
  }
  return labels;
}

/** Of each set of labels: bounds and counts rise, and the last bucket, without a bound, has as many as there are. */
function checkBuckets(name: string, samples: ReadonlyMap<string, number>): void {
  const bySet = new Map<string, { bound: number; count: number }[]>();
  for (const [key, count] of samples) {
    if (!key.startsWith(`${name}_bucket`)) continue;
    const labels = JSON.parse(key.slice(`${name}_bucket`.length)) as [string, string][];
    const bound = Number(labels.find(([label]) => label === 'le')?.[1].replace('+Inf', 'Infinity'));
    const set = JSON.stringify(labels.filter(([label]) => label !== 'le'));
    bySet.set(set, [...(bySet.get(set) ?? []), { bound, count }]);
  }
  for (const [set, buckets] of bySet) {
    const rise = buckets.every(({ bound, count }, i) => {
      const before = buckets[i - 1];
      return before === undefined || (bound > before.bound && count >= before.count);
    });
    const last = buckets.at(-1)!;
    if (!rise || last.bound !== Infinity || last.count !== samples.get(`${name}_count${set}`)) {
      throw new Error(`the buckets of ${name}${set} are not right`);
    }
  }
}
