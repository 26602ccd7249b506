import type { TelemetrySubprotocol } from '../protocol/telemetry.ts';
import type { LoadTest } from './scenarios.ts';

/** Measurements of a load test; the names are those of the JSON document. */

/** Null where nothing arrived. */
export interface LatencyMs {
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly p99_ms: number | null;
  readonly max_ms: number | null;
  readonly mean_ms: number | null;
}

export interface PhaseResult {
  readonly rate_hz: number;
  readonly seconds: number;
  readonly published: number;
  readonly received: number;
  readonly latency: LatencyMs;
}

/** One second of the run, for the plots. */
export interface SecondResult {
  readonly received: number;
  readonly p95_ms: number | null;
}

/** Counts of the process with all connections. */
export interface GeneratorResult {
  readonly connections: number;
  readonly connected: number;
  /** By error code. */
  readonly refused: Readonly<Record<string, number>>;
  readonly connect: LatencyMs;
  readonly seconds: number;
  readonly published: number;
  /** Messages that readers should have got. */
  readonly expected: number;
  readonly received: number;
  /** Came twice, out of order, or altered. */
  readonly damaged: number;
  /** By cause, as the server reported it to the reader; `unexplained` messages are missing without a report. */
  readonly lost: Readonly<Record<string, number>>;
  /** Error messages of the server and connections that it closed, by code. */
  readonly errors: Readonly<Record<string, number>>;
  readonly latency: LatencyMs;
  readonly phases: readonly PhaseResult[];
  readonly timeline: readonly SecondResult[];
  /** Payload bytes of the WebSocket messages that readers got, for each message; null where none came. */
  readonly bytes_per_message: number | null;
  /** Bytes of the same messages' data as JSON. */
  readonly json_bytes_per_message: number | null;
  /** Processor time of the process with all connections, in percent of one processor. */
  readonly generator_cpu_percent: number;
  /** It was stopped before its end: the measurements until then. */
  readonly partial?: true;
}

export interface TestResult extends GeneratorResult {
  readonly name: string;
  readonly kind: LoadTest['kind'];
  readonly summary: string;
  readonly throughput_msg_per_sec: number;
  /** How often smaller than JSON; 1 is as large. */
  readonly compression_ratio: number | null;
  readonly error_rate_percent: number;
  /** Processor time of the server, in percent of all its processors; unknown for servers that do not report it. */
  readonly server_cpu_percent?: number;
  readonly server_rss_mb?: number;
  readonly passed: boolean;
  /** The criteria, and those that were not met. */
  readonly criteria: readonly Criterion[];
}

export interface Criterion {
  readonly name: string;
  /** Null where nothing was measured, which meets no limit. */
  readonly value: number | null;
  readonly limit: number;
  readonly ok: boolean;
}

export interface SuiteResult {
  /** Seconds. */
  readonly test_suite_duration: number;
  readonly total_tests: number;
  readonly tests_passed: number;
  /** 0 to 1. */
  readonly overall_success_rate: number;
  readonly aggregate_metrics: {
    readonly total_messages_processed: number;
    readonly avg_throughput_msg_per_sec: number;
    readonly avg_latency_ms: number | null;
    readonly avg_error_rate_percent: number;
  };
  readonly time: string;
  readonly version: string;
  readonly server: 'private' | 'given';
  readonly url: string;
  readonly subprotocol: TelemetrySubprotocol;
  /** Durations by which the tests differ from the standard ones. */
  readonly quick: boolean;
  readonly tests: readonly TestResult[];
  /** It was stopped: a test was cut short, or some did not begin. */
  readonly partial?: true;
}

export interface ServerFigures {
  readonly cpuPercent: number;
  readonly rssBytes: number;
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/** Compares the measurements with the criteria. */
export function judge(test: LoadTest, measured: GeneratorResult, server: ServerFigures | undefined): TestResult {
  const lost = total(measured.lost);
  const errors = total(measured.errors) + total(measured.refused) + measured.damaged;
  const criteria = [
    atMost('lost', lost, 0),
    atMost('errors', errors, 0),
    atMost('p95_ms', measured.latency.p95_ms, test.p95MsMax),
    ...phaseCriteria(test, measured.phases),
  ];
  if (measured.received === 0) criteria.push({ name: 'received', value: 0, limit: 1, ok: false });
  return {
    name: test.name,
    kind: test.kind,
    summary: test.summary,
    // Half of a test cannot pass.
    passed: measured.partial !== true && criteria.every(({ ok }) => ok),
    criteria,
    throughput_msg_per_sec: measured.received / measured.seconds,
    compression_ratio: ratio(measured.json_bytes_per_message, measured.bytes_per_message),
    error_rate_percent: (100 * (lost + errors)) / Math.max(1, measured.expected + total(measured.refused)),
    ...measured,
    ...(server && { server_cpu_percent: server.cpuPercent, server_rss_mb: server.rssBytes / 2 ** 20 }),
  };
}

/** Differences below this are the machine's. */
const NOISE_MS = 2;

/** The last phase of a test with several is like the first one: it must not be slower than twice that. */
function phaseCriteria(test: LoadTest, phases: readonly PhaseResult[]): Criterion[] {
  const [first, last] = [phases[0], phases.at(-1)];
  if (!first || !last || phases.length < 2) return [];
  const name = test.kind === 'adaptive_response' ? 'p95_ms_after_the_peak' : 'p95_ms_at_the_end';
  const before = first.latency.p95_ms ?? 0;
  return [atMost(name, last.latency.p95_ms, Math.max(2 * before, before + NOISE_MS))];
}

function atMost(name: string, value: number | null, limit: number): Criterion {
  return { name, value, limit, ok: value !== null && value <= limit };
}

function ratio(of: number | null, to: number | null): number | null {
  return of === null || to === null ? null : of / to;
}

export function aggregate(tests: readonly TestResult[]): SuiteResult['aggregate_metrics'] {
  const mean = (of: (test: TestResult) => number): number =>
    tests.reduce((sum, test) => sum + of(test), 0) / Math.max(1, tests.length);
  const received = tests.reduce((sum, test) => sum + test.received, 0);
  return {
    total_messages_processed: received,
    avg_throughput_msg_per_sec: mean((test) => test.throughput_msg_per_sec),
    // Weighted by messages, not by tests: a short one must not weigh as much as a long one.
    avg_latency_ms:
      received === 0
        ? null
        : tests.reduce((sum, test) => sum + (test.latency.mean_ms ?? 0) * test.received, 0) / received,
    avg_error_rate_percent: mean((test) => test.error_rate_percent),
  };
}
