import { expect, test } from 'vitest';
import { measured, tested } from '../../test/support/load-results.ts';
import { aggregate, judge } from './results.ts';
import { selectTests } from './scenarios.ts';

const missed = (result: ReturnType<typeof tested>) => result.criteria.filter(({ ok }) => !ok).map(({ name }) => name);

test('nothing lost and quick enough is passed', () => {
  expect(tested('low_load')).toMatchObject({
    passed: true,
    throughput_msg_per_sec: 50,
    compression_ratio: 2,
    error_rate_percent: 0,
    server_cpu_percent: 4,
    server_rss_mb: 128,
  });
});

test.each([
  ['a loss that was told', { lost: { overflow: 1 } }, 'lost'],
  ['one that was not', { lost: { unexplained: 1 } }, 'lost'],
  ['a damaged message', { damaged: 1 }, 'errors'],
  ['an error', { errors: { INTERNAL: 1 } }, 'errors'],
  ['a refused connection', { refused: { CONNECTIONS_EXHAUSTED: 1 } }, 'errors'],
  ['slow', { latency: { p50_ms: 1, p95_ms: 10.1, p99_ms: 11, max_ms: 12, mean_ms: 2 } }, 'p95_ms'],
  ['nothing came', { received: 0 }, 'received'],
])('%s is not passed', (_, over, criterion) => {
  const result = tested('low_load', over);
  expect(result.passed).toBe(false);
  expect(missed(result)).toEqual([criterion]);
});

test('the share of errors is of what was expected', () => {
  expect(tested('low_load', { lost: { overflow: 20 }, damaged: 10 }).error_rate_percent).toBe(1);
});

test('after a peak it has to be as quick as before', () => {
  const phase = (p95_ms: number) => {
    const latency = { p50_ms: 1, p95_ms, p99_ms: 9, max_ms: 9, mean_ms: 1 };
    return { rate_hz: 10, seconds: 10, published: 1, received: 1, latency };
  };
  const peak = (last: number) => tested('adaptive_response', { phases: [phase(3), phase(8), phase(last)] });
  expect(missed(peak(6))).toEqual([]);
  expect(missed(peak(6.1))).toEqual(['p95_ms_after_the_peak']);
});

test('a server that says nothing of itself leaves its figures out', () => {
  expect(judge(selectTests('low_load')![0]!, measured(), undefined)).not.toHaveProperty('server_cpu_percent');
});

test('the latency of all is that of all messages', () => {
  const quick = tested('low_load', { received: 9_000, latency: { ...measured().latency, mean_ms: 1 } });
  const slow = tested('high_load', { received: 1_000, latency: { ...measured().latency, mean_ms: 11 } });
  expect(aggregate([quick, slow])).toMatchObject({ total_messages_processed: 10_000, avg_latency_ms: 2 });
});

test('what nobody received has no latency, no size and no ratio', () => {
  const none = { p50_ms: null, p95_ms: null, p99_ms: null, max_ms: null, mean_ms: null };
  const silent = tested('low_load', { received: 0, latency: none, bytes_per_message: null });
  expect(silent).toMatchObject({ passed: false, compression_ratio: null });
  expect(silent.criteria).toContainEqual({ name: 'p95_ms', value: null, limit: 10, ok: false });
  expect(aggregate([silent]).avg_latency_ms).toBeNull();
  expect(aggregate([silent, tested('high_load')]).avg_latency_ms).toBeCloseTo(1.2, 9);
});
