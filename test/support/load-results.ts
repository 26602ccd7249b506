import { expect } from 'vitest';
import { aggregate, judge, type GeneratorResult, type SuiteResult, type TestResult } from '../../src/load/results.ts';
import { selectTests } from '../../src/load/scenarios.ts';

/** Results of load tests: some that nobody ran, for tests of what is made of them, and what is expected of those that did run. */

const latency = { p50_ms: 1, p95_ms: 2, p99_ms: 3, max_ms: 9, mean_ms: 1.2 };

export function measured(over: Partial<GeneratorResult> = {}): GeneratorResult {
  return {
    connections: 5,
    connected: 5,
    refused: {},
    connect: latency,
    seconds: 60,
    published: 3_000,
    expected: 3_000,
    received: 3_000,
    damaged: 0,
    lost: {},
    errors: {},
    latency,
    phases: [{ rate_hz: 10, seconds: 60, published: 3_000, received: 3_000, latency }],
    timeline: Array.from({ length: 60 }, (_, i) => ({ received: 50, p95_ms: 1.5 + (i % 3) / 2 })),
    bytes_per_message: 600,
    json_bytes_per_message: 1_200,
    generator_cpu_percent: 7,
    ...over,
  };
}

export function tested(name: string, over: Partial<GeneratorResult> = {}): TestResult {
  return judge(selectTests(name)![0]!, measured(over), { cpuPercent: 4, rssBytes: 128 * 2 ** 20 });
}

export function suiteOf(tests: readonly TestResult[], over: Partial<SuiteResult> = {}): SuiteResult {
  const passed = tests.filter((one) => one.passed).length;
  return {
    test_suite_duration: 61,
    total_tests: tests.length,
    tests_passed: passed,
    overall_success_rate: passed / tests.length,
    aggregate_metrics: aggregate(tests),
    time: '2030-01-02T03:04:05.000Z',
    version: '1.2.3',
    server: 'private',
    url: 'ws://127.0.0.1:1234/ws/telemetry',
    subprotocol: 'sightline.v1.binary',
    quick: false,
    tests,
    ...over,
  };
}

/** A machine that is busy with something else misses the limits of time; what is lost is never its fault. */
export function expectNothingLost(suite: SuiteResult): void {
  for (const one of suite.tests) {
    expect(one, one.name).toMatchObject({ lost: {}, damaged: 0, errors: {}, refused: {}, received: one.expected });
    expect(one.received).toBeGreaterThan(0);
    const { p50_ms, p95_ms, p99_ms } = one.latency;
    expect(p50_ms).toBeLessThanOrEqual(p95_ms!);
    expect(p95_ms).toBeLessThanOrEqual(p99_ms!);
  }
}
