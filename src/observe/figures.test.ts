import { describe, expect, test } from 'vitest';
import { parseText } from '../../test/support/prometheus-text.ts';
import { expositionOf, formatFor } from './exposition.ts';
import { FigureRegistry, part, type Figure, type FigureValue, type Labelled } from './figures.ts';

const gauge = (name: string, read: () => FigureValue | null, more: Partial<Figure<unknown>> = {}) =>
  part(() => undefined, [{ name, kind: 'gauge', help: 'Something', read, ...more }]);

const registryOf = (...others: ReturnType<typeof gauge>[]) => new FigureRegistry({}, others);

test('the document is what the parts are at one moment, and the figures are read off it', () => {
  const queue = { waiting: 3, done: 7 };
  const registry = new FigureRegistry<{ queue: typeof queue; name: string }>({
    queue: part(
      () => ({ ...queue }),
      [
        { name: 'sightline_waiting', kind: 'gauge', help: 'Those that wait', read: ({ waiting }) => waiting },
        { name: 'sightline_done_total', kind: 'counter', help: 'Those that are done', read: ({ done }) => done },
      ],
    ),
    name: part(() => 'one'),
  });
  expect(JSON.stringify(registry.document())).toBe('{"queue":{"waiting":3,"done":7},"name":"one"}');
  queue.done = 8;
  expect(registry.totals(['sightline_done_total'])).toEqual({ sightline_done_total: 8 });
  expect(expositionOf(registry.read(), formatFor(undefined))).toBe(
    [
      '# HELP sightline_waiting Those that wait',
      '# TYPE sightline_waiting gauge',
      'sightline_waiting 3',
      '# HELP sightline_done_total Those that are done',
      '# TYPE sightline_done_total counter',
      'sightline_done_total 8',
      '# HELP sightline_label_sets_left_out_total Label sets that a reading left out because their figure had reached its limit',
      '# TYPE sightline_label_sets_left_out_total counter',
      '',
    ].join('\n'),
  );
});

test('a part is read once for all of its figures', () => {
  let reads = 0;
  const figure = (name: string): Figure<number> => ({ name, kind: 'gauge', help: 'Reads', read: (count) => count });
  const registry = new FigureRegistry({}, [part(() => ++reads, [figure('sightline_a'), figure('sightline_b')])]);
  expect(registry.totals(['sightline_a', 'sightline_b'])).toEqual({ sightline_a: 1, sightline_b: 1 });
  const values = registry.read().flatMap(({ samples }) => samples.map(({ value }) => value));
  expect(values).toEqual([2, 2]);
});

test('what is not measured is not told', () => {
  const [reading] = registryOf(gauge('sightline_x', () => null)).read();
  expect(reading!.samples).toEqual([]);
});

test.each<[string, Parameters<typeof gauge>[0], Partial<Figure<unknown>>]>([
  ['is registered already', 'sightline_there', {}],
  ['has no name of its kind', 'frames', {}],
  ['has no name of its kind', 'sightline_Frames', {}],
  ['does not end in total', 'sightline_frames', { kind: 'counter' }],
  ['does not end in bytes_total', 'sightline_frames_total', { kind: 'counter', unit: 'bytes' }],
  ['does not end in seconds', 'sightline_wait_ms', { unit: 'seconds' }],
  ['is no counter and ends in total', 'sightline_frames_total', {}],
  ['has labels that cannot be', 'sightline_frames', { labels: ['cause', 'cause'] }],
  ['has labels that cannot be', 'sightline_frames', { labels: ['le'] }],
  ['has labels that cannot be', 'sightline_frames', { labels: ['the cause'] }],
  ['has buckets or is a histogram', 'sightline_frames', { kind: 'histogram' }],
  ['has buckets or is a histogram', 'sightline_frames', { buckets: [1] }],
  ['has buckets that do not rise', 'sightline_frames', { kind: 'histogram', buckets: [1, 3, 3] }],
])('a figure that %s is a fault: %s', (words, name, more) => {
  const there = gauge('sightline_there', () => 1);
  expect(() =>
    registryOf(
      there,
      gauge(name, () => 1, more),
    ),
  ).toThrow(words);
});

test('a figure that nobody registered has no total', () => {
  expect(() => registryOf().totals(['sightline_nothing'])).toThrow('there is no figure sightline_nothing');
});

describe('label sets', () => {
  const registryOfNames = (names: () => readonly string[]) =>
    new FigureRegistry({}, [
      part(names, [
        {
          name: 'sightline_things',
          kind: 'gauge',
          help: 'Things',
          labels: ['name'],
          setsMax: 3,
          read: (all) => all.map((name, i): Labelled => [[name], i]),
        },
      ]),
    ]);
  const told = (registry: FigureRegistry<object>) => {
    const [things, leftOut] = registry.read();
    return { names: things!.samples.map(({ labels }) => labels['name']), left: leftOut!.samples };
  };

  test('beyond the limit are left out and counted; those that were told stay', () => {
    let names = ['a', 'b', 'c'];
    const registry = registryOfNames(() => names);
    expect(told(registry)).toEqual({ names: ['a', 'b', 'c'], left: [] });
    names = ['x', 'a', 'y', 'b', 'c'];
    expect(told(registry).names).toEqual(['x', 'a', 'y']);
    names = ['z', 'y', 'x', 'b'];
    expect(told(registry)).toEqual({
      names: ['z', 'y', 'x'],
      left: [{ labels: { figure: 'sightline_things' }, value: 3 }],
    });
    names = ['b'];
    expect(told(registry).names).toEqual(['b']);
  });

  test('whatever stands in them, the text can be read', () => {
    const text = expositionOf(registryOfNames(() => ['a"b', 'c\\d', 'e\nf {}=,']).read(), formatFor(undefined));
    expect([...parseText(text).get('sightline_things')!.samples.values()]).toEqual([0, 1, 2]);
  });
});

describe('the parser can fail', () => {
  const family = '# HELP a x\n# TYPE a counter\n';
  const histogram = '# HELP h x\n# TYPE h histogram\n';
  test.each([
    ['a line without an end', 'the last line does not end', `${family}a 1`],
    ['no type', 'stands apart from its family', 'a 1\n'],
    ['no help', 'has no help before its type', '# TYPE a counter\na 1\n'],
    ['an unknown type', 'is of type figure', '# HELP a x\n# TYPE a figure\na 1\n'],
    ['a family twice', 'stands twice', `${family}a 1\n${family}a 2\n`],
    ['a sample twice', 'stands twice', `${family}a{b="1"} 1\na{b="1"} 2\n`],
    ['a label twice', 'label b stands twice', `${family}a{b="1",b="2"} 1\n`],
    ['a sample of another family', 'stands apart from its family', `${family}b 1\n`],
    ['no number', 'no line of the format', `${family}a one\n`],
    ['a negative counter', 'is -1', `${family}a -1\n`],
    ['an open quote', 'no labels of the format', `${family}a{b="1} 1\n`],
    ['a quote in a value', 'no labels of the format', `${family}a{b="1"2"} 1\n`],
    ['an empty line', 'no line of the format', `${family}\na 1\n`],
    ['falling buckets', 'are not right', `${histogram}h_bucket{le="1"} 3\nh_bucket{le="+Inf"} 2\nh_sum 1\nh_count 2\n`],
    ['no bucket without a bound', 'are not right', `${histogram}h_bucket{le="1"} 3\nh_sum 1\nh_count 3\n`],
    ['another count', 'are not right', `${histogram}h_bucket{le="+Inf"} 2\nh_sum 1\nh_count 3\n`],
  ])('%s', (_, words, text) => expect(() => parseText(text)).toThrow(words));

  test('and takes what is right', () => {
    expect(parseText(`${family}a{b="1",c="\\"\\\\\\n"} 1e+21\n`).get('a')?.samples.size).toBe(1);
    expect(parseText(`${histogram}h_bucket{le="+Inf"} 2\nh_sum 0.5\nh_count 2\n`).get('h')?.samples.size).toBe(3);
  });
});
