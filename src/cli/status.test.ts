import { expect, test } from 'vitest';
import { statusLines } from './status.ts';

const url = new URL('http://127.0.0.1:8080/');

test('a line of what is known, and one for each issue', () => {
  const health = {
    status: 'degraded',
    version: '1.2.3',
    uptime_s: 65,
    connections: { open: 3, max: 1_000 },
    sessions: 1,
    cameras: { live: 98, wanted: 100 },
    issues: [{ code: 'LATENCY_HIGH', message: '95 % of frames take 120 ms' }],
  };
  expect(statusLines(health, url)).toEqual([
    'degraded · http://127.0.0.1:8080 · 1.2.3 · up 1:05 · 1 session · 98 of 100 cameras live · 3 of 1000 connections',
    '  LATENCY_HIGH: 95 % of frames take 120 ms',
  ]);
});

test('the status alone, and what another server may say, without control characters', () => {
  expect(statusLines({ status: 'ok' }, url)).toEqual(['ok · http://127.0.0.1:8080']);
  expect(statusLines({ status: 'ok', cameras: { live: 0, wanted: 0 } }, url)).toEqual(['ok · http://127.0.0.1:8080']);
  expect(statusLines({}, url)).toEqual(['undefined · http://127.0.0.1:8080']);
  const odd = { status: '\u001B[31mok', version: 7, uptime_s: 'x', issues: [{ message: 'a\nb' }, {}] };
  expect(statusLines(odd, url)).toEqual(['ok · http://127.0.0.1:8080', '  undefined: a b', '  undefined: undefined']);
});
