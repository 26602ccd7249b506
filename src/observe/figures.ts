import { SightlineError } from '../base/errors.ts';

/**
 * The registry of figures: each room registers its measurements once. The documents of the REST API are made of its parts,
 * and a scraper reads the figures of the same parts, so that both always agree.
 *
 * Our own and not `prom-client`: that one must be told every change, or on each reading, a value at a time, and keeps a
 * second copy of each; it takes no buckets that were counted elsewhere, knows no units and no bound for label sets.
 */

/** Base units as Prometheus has them; the last word of a figure's name. A plain count has none. */
export type FigureUnit = 'seconds' | 'bytes' | 'ratio' | 'per_second';

export type FigureKind = 'counter' | 'gauge' | 'histogram';

export interface FigureMeta {
  /** `sightline_…`, its unit at the end, after that `_total` where it is a counter. */
  readonly name: string;
  readonly kind: FigureKind;
  readonly unit?: FigureUnit;
  /** A sentence without its full stop. */
  readonly help: string;
  /** Names of the labels. */
  readonly labels?: readonly string[];
  /** Upper bounds of a histogram's buckets, rising; one without a bound follows. */
  readonly buckets?: readonly number[];
  /** Most label sets at once. Default: 100. */
  readonly setsMax?: number;
}

/** Counts up to each bound, those of the bounds below included. */
export interface HistogramValue {
  readonly counts: readonly number[];
  readonly count: number;
  readonly sum: number;
}

export type FigureValue = number | HistogramValue;

/** Values of the labels, in the order of their names, and the value of the figure; null: not measured. */
export type Labelled = readonly [labels: readonly string[], value: FigureValue | null];

/** Of one label: a figure for each of its values. */
export function labelled(counts: Readonly<Record<string, number>>): Labelled[] {
  return Object.entries(counts).map(([label, count]) => [[label], count]);
}

export interface Figure<T> extends FigureMeta {
  /** Takes it out of the room's part; null: not measured, and left out. */
  readonly read: (part: T) => FigureValue | null | Iterable<Labelled>;
}

/** A room's measurements: a part of the snapshot, read at one moment, and the figures in it. */
export interface Part<T> {
  readonly read: () => T;
  readonly figures: readonly Figure<unknown>[];
}

export function part<T>(read: () => T, figures: readonly Figure<T>[] = []): Part<T> {
  return { read, figures: figures as readonly Figure<unknown>[] };
}

/** Converts a document's milliseconds. */
export function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

export interface FigureSample {
  /** In the order of the figure's own. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: FigureValue;
}

export interface FigureReading {
  readonly figure: FigureMeta;
  readonly samples: readonly FigureSample[];
}

const SETS_MAX = 100;
const NAME = /^sightline_[a-z][a-z0-9_]*$/;
const LABEL = /^[a-z][a-z0-9_]*$/;
const LEFT_OUT: FigureMeta = {
  name: 'sightline_label_sets_left_out_total',
  kind: 'counter',
  help: 'Label sets that a reading left out because their figure had reached its limit',
  labels: ['figure'],
};

export class FigureRegistry<D extends object> {
  readonly #parts: { readonly [K in keyof D]: Part<D[K]> };
  readonly #all: readonly Part<unknown>[];
  readonly #byName = new Map<string, Part<unknown>>();
  /** By figure: label sets of the last reading, which keep their places in the next one. */
  readonly #told = new Map<string, ReadonlySet<string>>();
  readonly #leftOut = new Map<string, number>();

  /** `others` have figures and no place in the document. Throws INTERNAL for a figure that breaks a rule: a fault of the program. */
  constructor(parts: { readonly [K in keyof D]: Part<D[K]> }, others: readonly Part<unknown>[] = []) {
    this.#parts = parts;
    this.#all = [...(Object.values(parts) as Part<unknown>[]), ...others];
    for (const one of this.#all) {
      for (const figure of one.figures) {
        const wrong = this.#byName.has(figure.name) ? 'is registered already' : faultOf(figure);
        if (wrong !== undefined) throw new SightlineError('INTERNAL', `figure ${figure.name} ${wrong}`);
        this.#byName.set(figure.name, one);
      }
    }
  }

  /** What there is, in the order of `read`. */
  get all(): readonly FigureMeta[] {
    return [...this.#all.flatMap(({ figures }) => figures), LEFT_OUT];
  }

  /** All parts, in the order in which they were registered, read at one moment. */
  document(): D {
    const entries = Object.entries(this.#parts) as [keyof D, Part<D[keyof D]>][];
    return Object.fromEntries(entries.map(([key, { read }]) => [key, read()])) as D;
  }

  /** All figures, read at one moment. */
  read(): FigureReading[] {
    const readings = this.#all.flatMap(({ read, figures }) => {
      if (figures.length === 0) return [];
      const value = read();
      return figures.map((figure) => ({ figure, samples: this.#bounded(figure, samplesOf(figure, value)) }));
    });
    const samples = Array.from(this.#leftOut, ([figure, value]) => ({ labels: { figure }, value }));
    return [...readings, { figure: LEFT_OUT, samples }];
  }

  /** For counters or gauges, the sum over their label sets. Throws INTERNAL for one that is not registered. */
  totals<K extends string>(names: readonly K[]): Record<K, number> {
    const values = new Map<Part<unknown>, unknown>();
    const totalOf = (name: K): number => {
      const one = this.#byName.get(name);
      if (one === undefined) throw new SightlineError('INTERNAL', `there is no figure ${name}`);
      if (!values.has(one)) values.set(one, one.read());
      const figure = one.figures.find((candidate) => candidate.name === name)!;
      return samplesOf(figure, values.get(one)).reduce((sum, { value }) => sum + (value as number), 0);
    };
    return Object.fromEntries(names.map((name) => [name, totalOf(name)])) as Record<K, number>;
  }

  /** Earlier label sets stay, so that no figure comes and goes; those that do not fit are counted. */
  #bounded(figure: FigureMeta, samples: FigureSample[]): FigureSample[] {
    const { name, setsMax = SETS_MAX } = figure;
    if (samples.length <= setsMax && !this.#told.has(name)) return samples;
    const before = this.#told.get(name) ?? new Set();
    const byKey = samples.map((sample) => ({ sample, key: JSON.stringify(sample.labels) }));
    const kept = [...byKey.filter(({ key }) => before.has(key)), ...byKey.filter(({ key }) => !before.has(key))];
    const told = new Set(kept.slice(0, setsMax).map(({ key }) => key));
    const left = byKey.length - told.size;
    if (left > 0) this.#leftOut.set(name, (this.#leftOut.get(name) ?? 0) + left);
    this.#told.set(name, told);
    return byKey.filter(({ key }) => told.has(key)).map(({ sample }) => sample);
  }
}

/** The rule that the figure breaks, if any. */
function faultOf({ name, kind, unit, labels = [], buckets = [] }: FigureMeta): string | undefined {
  const ending = [unit, kind === 'counter' ? 'total' : undefined].filter((word) => word !== undefined);
  if (!NAME.test(name)) return 'has no name of its kind';
  if (!name.endsWith(ending.map((word) => `_${word}`).join(''))) return `does not end in ${ending.join('_')}`;
  if (kind !== 'counter' && name.endsWith('_total')) return 'is no counter and ends in total';
  if (new Set(labels).size < labels.length || !labels.every((label) => LABEL.test(label) && label !== 'le')) {
    return `has labels that cannot be: ${labels.join(', ')}`;
  }
  if ((kind === 'histogram') !== buckets.length > 0) return 'has buckets or is a histogram, but not both';
  return buckets.every((bound, i) => i === 0 || bound > buckets[i - 1]!) ? undefined : 'has buckets that do not rise';
}

function samplesOf({ labels = [], read }: Figure<unknown>, value: unknown): FigureSample[] {
  const got = read(value);
  const all: Iterable<Labelled> = isIterable(got) ? got : [[[], got]];
  const samples: FigureSample[] = [];
  for (const [values, of] of all) {
    if (of === null) continue;
    samples.push({ labels: Object.fromEntries(labels.map((label, i) => [label, values[i] ?? ''])), value: of });
  }
  return samples;
}

function isIterable(got: ReturnType<Figure<unknown>['read']>): got is Iterable<Labelled> {
  return typeof got === 'object' && got !== null && Symbol.iterator in got;
}
