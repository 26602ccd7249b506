import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { Progress } from './generator.ts';
import { runGenerator } from './processes.ts';
import { aggregate, judge, type ServerFigures, type SuiteResult, type TestResult } from './results.ts';
import type { LoadTest } from './scenarios.ts';

export interface SuiteOptions {
  readonly tests: readonly LoadTest[];
  /** `http:`, `https:`, `ws:` or `wss:`; without a path it is the telemetry lane's. */
  readonly url: string;
  /** The key, where the server asks for one. */
  readonly token: string | undefined;
  readonly server: SuiteResult['server'];
  readonly subprotocol: TelemetrySubprotocol;
  readonly quick: boolean;
  readonly seed: number;
  readonly version: string;
}

export interface SuiteContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onStart: (test: LoadTest, place: number) => void;
  readonly onProgress: (test: LoadTest, progress: Progress) => void;
  readonly onEnd: (result: TestResult) => void;
}

const METRICS_TIMEOUT_MS = 5_000;

/**
 * One test after the other; stopped by the signal it returns the measurements so far (`partial`). Errors: CONNECTION_FAILED and the
 * server's refusals; the signal's reason, when nothing was measured.
 */
export async function runSuite(options: SuiteOptions, context: SuiteContext): Promise<SuiteResult> {
  const { tests, token, subprotocol, seed, quick, server, version } = options;
  const { clock, signal } = context;
  const socketUrl = telemetryUrl(options.url);
  const beganMs = clock.now();
  const results: TestResult[] = [];
  const runOne = async (test: LoadTest, i: number): Promise<TestResult> => {
    context.onStart(test, i);
    // Resets the span over which the server measures its load.
    await readServer(socketUrl, token, signal);
    const run = `${Math.round(beganMs).toString(36)}-${i}`;
    const measured = await runGenerator({ url: socketUrl, token, subprotocol, test, run, seed }, signal, (progress) =>
      context.onProgress(test, progress),
    );
    return judge(test, measured, signal.aborted ? undefined : await readServer(socketUrl, token, signal));
  };
  for (const [i, test] of tests.entries()) {
    if (signal.aborted) break;
    try {
      const result = await runOne(test, i);
      results.push(result);
      context.onEnd(result);
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    }
  }
  if (results.length === 0) signal.throwIfAborted();
  const passed = results.filter((result) => result.passed).length;
  return {
    test_suite_duration: (clock.now() - beganMs) / 1_000,
    total_tests: results.length,
    tests_passed: passed,
    overall_success_rate: passed / Math.max(1, results.length),
    aggregate_metrics: aggregate(results),
    time: new Date(wallTimeMs(clock, beganMs)).toISOString(),
    version,
    server,
    url: socketUrl,
    subprotocol,
    quick,
    tests: results,
    ...(signal.aborted && { partial: true }),
  };
}

/** Errors: CONNECTION_FAILED. */
export function telemetryUrl(given: string): string {
  if (!URL.canParse(given)) throw new SightlineError('CONNECTION_FAILED', `"${given}" is not the address of a server`);
  const url = new URL(given);
  url.protocol = url.protocol.replace(/^http/, 'ws');
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new SightlineError('CONNECTION_FAILED', `"${given}" begins with neither ws:, wss:, http: nor https:`);
  }
  if (url.pathname === '/') url.pathname = '/ws/telemetry';
  return url.href;
}

/** The server's own figures; undefined when it has none. */
async function readServer(
  socketUrl: string,
  token: string | undefined,
  signal: AbortSignal,
): Promise<ServerFigures | undefined> {
  const url = new URL('/api/performance/metrics', socketUrl.replace(/^ws/, 'http'));
  try {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(url, {
      headers,
      signal: AbortSignal.any([signal, AbortSignal.timeout(METRICS_TIMEOUT_MS)]),
    });
    const { process } = (await response.json()) as { process: { cpu_percent: number; rss_bytes: number } };
    return { cpuPercent: process.cpu_percent, rssBytes: process.rss_bytes };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}
