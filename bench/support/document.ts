import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { round } from './numbers.ts';

/** The one form of every benchmark's result. Units stand in the names of the figures. */
export interface BenchDocument {
  readonly bench: string;
  readonly conditions: Conditions;
  readonly figures: Readonly<Record<string, number>>;
  readonly bars: readonly Bar[];
}

export interface Conditions {
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly node: string;
  /** Of Sightline and of the libraries whose speed is measured. */
  readonly versions: Readonly<Record<string, string>>;
  readonly seed: number;
  /** How long the whole benchmark took. */
  readonly seconds: number;
  /** What else a reader has to know to repeat it, in words. */
  readonly setup: Readonly<Record<string, string>>;
}

/** A promise about a figure, and whether it was kept. */
export interface Bar {
  readonly name: string;
  readonly value: number;
  /** What `value` must reach, or must not exceed: `docs/performance.md` says which. */
  readonly bar: number;
  readonly ok: boolean;
}

/** What a benchmark gives back; `run.ts` adds the rest. */
export interface BenchResult {
  readonly seed: number;
  readonly setup: Readonly<Record<string, string>>;
  readonly figures: Readonly<Record<string, number>>;
  readonly bars: readonly Bar[];
  /** SVG files by their names, for `--plots`. */
  readonly plots?: Readonly<Record<string, string>>;
  /** What people read in place of the bare lists of figures and bars, where these are too many. */
  readonly tables?: readonly string[];
}

export interface BenchContext {
  /** Shorter and less sure: for a look, and for the tests. */
  readonly quick: boolean;
  /** Execution provider of ONNX Runtime; another one than `cpu` only where the benchmark takes it. */
  readonly provider: string;
  /** Aborted by Ctrl+C. */
  readonly signal: AbortSignal;
  /** Progress for people, a line each. */
  readonly say: (line: string) => void;
  /** Parts of it alone, by their names; not given: all. */
  readonly only?: readonly string[];
}

export interface Benchmark {
  readonly name: string;
  /** One line for the list. */
  readonly summary: string;
  /** Can measure an engine on another provider than `cpu`. */
  readonly takesProvider?: boolean;
  /** Names of the parts that it can do alone. */
  readonly parts?: readonly string[];
  readonly run: (context: BenchContext) => Promise<BenchResult>;
}

export function atLeast(name: string, value: number, bar: number): Bar {
  return { name, value: round(value), bar: round(bar), ok: value >= bar };
}

export function atMost(name: string, value: number, bar: number): Bar {
  return { name, value: round(value), bar: round(bar), ok: value <= bar };
}

const LIBRARIES = ['onnxruntime-node', '@julusian/jpeg-turbo', 'ws', 'socket.io', 'fastify'];

export function toDocument(bench: string, result: BenchResult, seconds: number): BenchDocument {
  const { seed, setup, figures, bars } = result;
  const manifests = new Map(LIBRARIES.map((name) => [name, `../../node_modules/${name}/package.json`]));
  manifests.set('sightline', '../../package.json');
  return {
    bench,
    conditions: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: availableParallelism(),
      node: process.versions.node,
      versions: Object.fromEntries([...manifests].map(([name, path]) => [name, versionIn(path)])),
      seed,
      seconds: round(seconds),
      setup,
    },
    figures: Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, round(value)])),
    bars,
  };
}

function versionIn(path: string): string {
  return (JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }).version;
}

/** For people; with `tables` in place of figures and bars. */
export function toTable({ bench, conditions, figures, bars }: BenchDocument, tables?: readonly string[]): string {
  const { cpu, cores, node, versions, seed, seconds, setup } = conditions;
  return [
    `${bench}: ${cores} × ${cpu}, Node ${node}, seed ${seed}, ${seconds} s`,
    `  ${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}`,
    ...rows(Object.entries(setup)),
    ...(tables?.flatMap((table) => ['', table]) ?? [
      '',
      ...rows(Object.entries(figures).map(([name, value]) => [name, String(value)])),
      '',
      ...rows(bars.map(({ name, value, bar, ok }) => [name, `${ok ? 'ok   ' : 'short'}  ${value}  (bar ${bar})`])),
    ]),
  ].join('\n');
}

function rows(entries: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...entries.map(([name]) => name.length));
  return entries.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`);
}
