import { expect, test } from 'vitest';
import { judgeHealth, type HealthFacts } from './health.ts';

const LIMITS = { latencyP95MaxMs: 100, eventLoopDelayP99MaxMs: 50, rssBytesMax: 1024 * 2 ** 20 };
const WELL: HealthFacts = {
  starting: false,
  modelsLoading: [],
  modelsFailed: [],
  workers: { alive: 2, wanted: 2 },
  stopping: false,
  latency: { p95Ms: 100, frames: 1000 },
  eventLoopDelayP99Ms: 50,
  rssBytes: 1024 * 2 ** 20,
  connections: { max: 1000, wanted: 1000, descriptorsMax: 1_048_576 },
  callbackFaults: 0,
  recordings: [],
  alerts: [],
  storeFault: null,
  memory: { plannedBytes: 1024 * 2 ** 20, settingBytes: 1024 * 2 ** 20, machineBytes: 1024 * 2 ** 20 },
};

test('figures at their limits are well', () => {
  expect(judgeHealth(WELL, LIMITS)).toEqual({ status: 'ok', issues: [] });
});

test('models that a session asked for are told, and the server is as well as before', () => {
  expect(judgeHealth({ ...WELL, modelsLoading: ['ssd-oidv4'] }, LIMITS)).toEqual({
    status: 'ok',
    issues: [{ code: 'MODEL_LOADING', message: 'model ssd-oidv4 is being loaded' }],
  });
  expect(judgeHealth({ ...WELL, modelsFailed: [{ id: 'mine', reason: 'cut in half' }] }, LIMITS)).toEqual({
    status: 'ok',
    issues: [{ code: 'MODEL_FAILED', message: 'model mine could not be loaded: cut in half' }],
  });
});

test('alerts are told; a critical one is more than a word', () => {
  const judged = (severity: 'warning' | 'critical') =>
    judgeHealth({ ...WELL, alerts: [{ severity, summary: 'it is slow' }] }, LIMITS);
  expect(judged('warning')).toEqual({ status: 'ok', issues: [{ code: 'ALERT_WARNING', message: 'it is slow' }] });
  expect(judged('critical')).toEqual({
    status: 'degraded',
    issues: [{ code: 'ALERT_CRITICAL', message: 'it is slow' }],
  });
});

test('a store that cannot be written is told: the server is as well as before', () => {
  expect(judgeHealth({ ...WELL, storeFault: 'there is no room' }, LIMITS)).toEqual({
    status: 'ok',
    issues: [{ code: 'STORE_FAILED', message: 'alerts are kept in memory alone: there is no room' }],
  });
});

test('a recording that has ended is told, and so are bounds that promise too much: the server is as well as before', () => {
  const recordings = [
    { state: 'ended' as const, file: 'a.mcap', reason: null, lost: 2 },
    { state: 'recording' as const, file: 'b.mcap', reason: null, lost: 0 },
  ];
  expect(judgeHealth({ ...WELL, recordings }, LIMITS)).toEqual({
    status: 'ok',
    issues: [{ code: 'RECORDING_ENDED', message: 'the recording a.mcap has ended; 2 messages are lost' }],
  });
  const over = (settingMib: number, machineMib: number) =>
    judgeHealth(
      {
        ...WELL,
        memory: { plannedBytes: 2 ** 30, settingBytes: settingMib * 2 ** 20, machineBytes: machineMib * 2 ** 20 },
      },
      LIMITS,
    );
  expect(over(1_000, 2_000)).toMatchObject({
    status: 'ok',
    issues: [
      { code: 'MEMORY_PROMISED', message: expect.stringMatching(/1024 MiB together, over 1000 MiB \(performance/) },
    ],
  });
  expect(over(8_000, 512).issues[0]!.message).toMatch(/over the 512 MiB of the machine/);
});

test('a server that starts has no workers yet and compiles: starting, and nothing is wrong', () => {
  const facts = { ...WELL, starting: true, workers: { alive: 0, wanted: 2 }, eventLoopDelayP99Ms: 900 };
  expect(judgeHealth(facts, LIMITS)).toEqual({ status: 'starting', issues: [] });
  expect(judgeHealth({ ...facts, modelsLoading: ['mine'] }, LIMITS).status).toBe('starting');
  expect(judgeHealth({ ...facts, rssBytes: 2 ** 40 }, LIMITS).status).toBe('degraded');
  expect(judgeHealth({ ...facts, stopping: true }, LIMITS).status).toBe('degraded');
});

test.each<[string, Partial<HealthFacts>, string]>([
  ['WORKERS_MISSING', { workers: { alive: 1, wanted: 2 } }, '1 of 2 inference workers'],
  ['SHUTTING_DOWN', { stopping: true, workers: { alive: 0, wanted: 2 } }, 'shuts down'],
  ['LATENCY_HIGH', { latency: { p95Ms: 123.45, frames: 20 } }, '123.5 ms, over 100.0 ms'],
  ['EVENT_LOOP_SLOW', { eventLoopDelayP99Ms: 60 }, '60.0 ms, over 50.0 ms'],
  ['MEMORY_HIGH', { rssBytes: 1500 * 2 ** 20 }, '1500 MiB, over 1024 MiB'],
  ['CALLBACKS_FAILED', { callbackFaults: 3 }, '3 callbacks'],
  [
    'RECORDING_FAILED',
    { recordings: [{ file: 'c.mcap', reason: 'the disk is full', lost: 7, state: 'interrupted' }] },
    'c.mcap cannot be written: the disk is full; 7 messages are lost, it is tried again',
  ],
  [
    'RECORDING_FAILED',
    { recordings: [{ file: 'c.mcap', reason: 'the disk is full', lost: 7, state: 'failed' }] },
    'it has ended',
  ],
])('%s: degraded, with the figure', (code, facts, words) => {
  const { status, issues } = judgeHealth({ ...WELL, ...facts }, LIMITS);
  expect(status).toBe('degraded');
  expect(issues).toEqual([{ code, message: expect.stringContaining(words) }]);
});

test('a few slow frames are no percentile', () => {
  expect(judgeHealth({ ...WELL, latency: { p95Ms: 900, frames: 19 } }, LIMITS).status).toBe('ok');
});

test('loading and something wrong: degraded, with both', () => {
  const { status, issues } = judgeHealth({ ...WELL, modelsLoading: ['a'], callbackFaults: 1 }, LIMITS);
  expect(status).toBe('degraded');
  expect(issues.map(({ code }) => code)).toEqual(['MODEL_LOADING', 'CALLBACKS_FAILED']);
});

test('too few descriptors for all connections are told, and the server is as well as before', () => {
  const connections = { max: 858, wanted: 1000, descriptorsMax: 1024 };
  expect(judgeHealth({ ...WELL, connections }, LIMITS)).toEqual({
    status: 'ok',
    issues: [
      {
        code: 'DESCRIPTORS_FEW',
        message: '858 of 1000 connections (server.max_connections) are possible: the process may have 1024 files open',
      },
    ],
  });
});
