import { expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { logRefusal } from './refusals.ts';

function opened(rules: { origins?: readonly string[]; allowedHosts?: readonly string[] } = {}) {
  const clock = new ManualClock();
  const { log, entries, texts } = collectingLog({ clock });
  const { origins = [], allowedHosts = [] } = rules;
  const add = (code: ErrorCode, headers: { host?: string; origin?: string }) => {
    logRefusal(log, { hosts: [], origins, allowedHosts }, code, headers);
  };
  return { add, entries, texts, clock };
}

test('a refused Origin is told with the line that would allow it beside those that are allowed', () => {
  const { add, texts } = opened({ origins: ['https://viewer.example'] });
  add('ORIGIN_FORBIDDEN', { host: '127.0.0.1:8080', origin: 'http://localhost:5173' });
  expect(texts()).toEqual([
    'refused: Origin "http://localhost:5173"; if it is yours, this allows it: server: { allowed_origins: ["https://viewer.example","http://localhost:5173"] }',
  ]);
});

test('a refused Host, without its port', () => {
  const { add, texts } = opened({ allowedHosts: ['a.example'] });
  add('HOST_FORBIDDEN', { host: 'cam.example:8080' });
  add('HOST_FORBIDDEN', { host: '*' });
  add('HOST_FORBIDDEN', {});
  expect(texts()[0]).toContain('server: { allowed_hosts: ["a.example","cam.example"] }');
  expect(texts()[1]).toContain('it cannot be allowed');
  expect(texts()[2]).toContain('it cannot be allowed');
});

test('what cannot be allowed says why, and other refusals are no matter of this', () => {
  const { add, texts } = opened();
  add('ORIGIN_FORBIDDEN', { origin: 'null' });
  add('ORIGIN_FORBIDDEN', {});
  add('NOT_FOUND', { origin: 'http://a.example', host: 'b.example' });
  expect(texts()).toHaveLength(1);
  expect(texts()[0]).toContain('it cannot be allowed: any page');
});

test('a value that goes on is told once in ten minutes, with how often', () => {
  const { add, entries, clock } = opened();
  for (let i = 0; i < 100; i++) add('ORIGIN_FORBIDDEN', { origin: 'http://a.example' });
  expect(entries).toHaveLength(1);
  clock.advance(600_000);
  add('ORIGIN_FORBIDDEN', { origin: 'http://a.example' });
  expect(entries[1]).toMatchObject({ suppressed: 99, fields: { value: 'http://a.example' } });
});

test('a flood of values makes few lines, and does not hide who comes after it', () => {
  const { add, texts, clock } = opened();
  for (let i = 0; i < 10_000; i++) add('ORIGIN_FORBIDDEN', { origin: `http://${'x'.repeat(2000)}${i}.example` });
  for (let i = 0; i < 10_000; i++) add('ORIGIN_FORBIDDEN', { origin: `http://${i}.example` });
  expect(texts().length).toBeLessThanOrEqual(17);
  expect(Math.max(...texts().map(({ length }) => length))).toBeLessThan(4_000);
  clock.advance(600_000);
  add('ORIGIN_FORBIDDEN', { origin: 'http://mine.example' });
  expect(texts()).toContainEqual(expect.stringContaining('"http://mine.example"'));
});
