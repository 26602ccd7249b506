import { expect, test } from 'vitest';
import { RefusalLog } from './refusals.ts';

function opened(rules: { origins?: readonly string[]; allowedHosts?: readonly string[] } = {}) {
  const lines: string[] = [];
  const clock = { nowMs: 1_000, now: () => clock.nowMs };
  const log = new RefusalLog({
    clock,
    rules: { hosts: [], origins: rules.origins ?? [], allowedHosts: rules.allowedHosts ?? [] },
    say: (line) => void lines.push(line),
  });
  return { log, lines, clock };
}

test('a refused Origin is told with the line that would allow it beside those that are allowed', () => {
  const { log, lines } = opened({ origins: ['https://viewer.example'] });
  log.add('ORIGIN_FORBIDDEN', { host: '127.0.0.1:8080', origin: 'http://localhost:5173' });
  expect(lines).toEqual([
    'refused: Origin "http://localhost:5173"; if it is yours, this allows it: server: { allowed_origins: ["https://viewer.example","http://localhost:5173"] }',
  ]);
});

test('a refused Host, without its port', () => {
  const { log, lines } = opened({ allowedHosts: ['a.example'] });
  log.add('HOST_FORBIDDEN', { host: 'cam.example:8080' });
  log.add('HOST_FORBIDDEN', { host: '*' });
  log.add('HOST_FORBIDDEN', {});
  expect(lines[0]).toContain('server: { allowed_hosts: ["a.example","cam.example"] }');
  expect(lines[1]).toContain('it cannot be allowed');
  expect(lines[2]).toContain('it cannot be allowed');
});

test('what cannot be allowed says why, and other refusals are no matter of this log', () => {
  const { log, lines } = opened();
  log.add('ORIGIN_FORBIDDEN', { origin: 'null' });
  log.add('ORIGIN_FORBIDDEN', {});
  log.add('NOT_FOUND', { origin: 'http://a.example', host: 'b.example' });
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain('it cannot be allowed: any page');
});

test('a value that goes on is told once in ten minutes, with how often', () => {
  const { log, lines, clock } = opened();
  for (let i = 0; i < 100; i++) log.add('ORIGIN_FORBIDDEN', { origin: 'http://a.example' });
  expect(lines).toHaveLength(1);
  clock.nowMs += 600_000;
  log.add('ORIGIN_FORBIDDEN', { origin: 'http://a.example' });
  expect(lines[1]).toMatch(/^refused, 100 times: Origin "http:\/\/a.example"/);
});

test('a flood of values makes few lines, and does not hide who comes after it', () => {
  const { log, lines, clock } = opened();
  for (let i = 0; i < 10_000; i++) log.add('ORIGIN_FORBIDDEN', { origin: `http://${'x'.repeat(2000)}${i}.example` });
  for (let i = 0; i < 10_000; i++) log.add('ORIGIN_FORBIDDEN', { origin: `http://${i}.example` });
  expect(lines.length).toBeLessThanOrEqual(17);
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(4_000);
  clock.nowMs += 600_000;
  log.add('ORIGIN_FORBIDDEN', { origin: 'http://mine.example' });
  expect(lines.at(-1)).toContain('"http://mine.example"');
});
