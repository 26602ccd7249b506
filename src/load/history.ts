import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SuiteResult, TestResult } from './results.ts';

/** Earlier runs: one line of JSON each, the newest last, at most `RUNS_MAX`. */

const RUNS_MAX = 200;
const FOLDER = 'benchmarks';
const FILE = 'telemetry.jsonl';

export interface PastTest {
  readonly name: string;
  readonly passed: boolean;
  readonly seconds: number;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly p99_ms: number | null;
  readonly throughput_msg_per_sec: number;
  readonly bytes_per_message: number | null;
  readonly error_rate_percent: number;
}

export interface PastRun extends Pick<SuiteResult, 'time' | 'version' | 'server' | 'url' | 'subprotocol' | 'quick'> {
  readonly tests: readonly PastTest[];
}

/** The newest run of each test under the same conditions, by the test's name. */
export type Previous = ReadonlyMap<string, { readonly time: string; readonly test: PastTest }>;

/** Skips damaged lines: a history is no reason to fail. */
export async function readHistory(cacheDir: string): Promise<PastRun[]> {
  const text = await readFile(join(cacheDir, FOLDER, FILE), 'utf8').catch(() => '');
  return text.split('\n').flatMap((line) => {
    try {
      const run = JSON.parse(line) as PastRun;
      return Array.isArray(run.tests) ? [run] : [];
    } catch {
      return [];
    }
  });
}

/** Replaces the file in one step, so that two commands at once leave one of the two whole. */
export async function appendHistory(cacheDir: string, history: readonly PastRun[], suite: SuiteResult): Promise<void> {
  const { time, version, server, url, subprotocol, quick } = suite;
  const run: PastRun = { time, version, server, url, subprotocol, quick, tests: suite.tests.map(pastOf) };
  const lines = [...history, run].slice(-RUNS_MAX).map((one) => JSON.stringify(one));
  const folder = join(cacheDir, FOLDER);
  await mkdir(folder, { recursive: true });
  const draft = join(folder, `${FILE}.${process.pid}`);
  await writeFile(draft, `${lines.join('\n')}\n`);
  await rename(draft, join(folder, FILE));
}

/** Runs are comparable when they lasted as long, with the same protocol, against the same server; a private one is always the same. */
export function previousOf(history: readonly PastRun[], suite: SuiteResult): Previous {
  const previous = new Map<string, { time: string; test: PastTest }>();
  for (const run of history) {
    if (run.server !== suite.server || run.subprotocol !== suite.subprotocol) continue;
    if (run.server === 'given' && run.url !== suite.url) continue;
    for (const test of run.tests) {
      const now = suite.tests.find(({ name }) => name === test.name);
      if (now && Math.round(now.seconds) === Math.round(test.seconds))
        previous.set(test.name, { time: run.time, test });
    }
  }
  return previous;
}

function pastOf(test: TestResult): PastTest {
  const { name, passed, seconds, latency, throughput_msg_per_sec, bytes_per_message, error_rate_percent } = test;
  const { p50_ms, p95_ms, p99_ms } = latency;
  return {
    name,
    passed,
    seconds,
    p50_ms,
    p95_ms,
    p99_ms,
    throughput_msg_per_sec,
    bytes_per_message,
    error_rate_percent,
  };
}
