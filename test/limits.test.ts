import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERRORS } from '../src/base/error-catalogue.ts';
import { CONFIG_KEYS, valueAt } from '../src/config/keys.ts';
import { loadConfig } from '../src/config/load.ts';
import { memoryPlan, plannedBytes } from '../src/sessions/memory-plan.ts';

/** `docs/limits.md` and `docs/security.md` against the code. */

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const limits = read('docs/limits.md');
const config = loadConfig({ env: {} });
/** Cells of every row of the tables of bounds. */
const rows = limits
  .split('\n')
  .filter((line) => /^\|.*\|.*\|.*\|.*\|.*\|$/.test(line) && !/^\| (bound|---)/.test(line) && !line.startsWith('|---'))
  .map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
const coded = (text: string) =>
  [...text.replaceAll(/```[^]*?```/g, '').matchAll(/`([^`]+)`/g)].map(([, code]) => code!);
const KEY = /^[a-z]+\.[a-z_]+$/;

const UNITS: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, s: 1, ms: 1e-3 };

/** `2 MiB` in bytes, `10 s` in seconds, a number as it is. */
function amountOf(text: string): number {
  const [, number, unit] = /^([\d.,]+) ?([A-Za-z]*)$/.exec(text) ?? [];
  return Number(number!.replaceAll(',', '')) * (unit === '' ? 1 : UNITS[unit!]!);
}

/** The value of `NAME = 16 * 1024`, or of `name: 16`, in a source. */
function constantOf(name: string, path: string): number {
  const [, expression] = new RegExp(`\\b${name}\\s*[=:]\\s*([\\d_.* ]+)[,;]`).exec(read(`src/${path}`)) ?? [];
  expect(expression, `${name} in ${path}`).toBeDefined();
  return expression!.split('*').reduce((product, factor) => product * Number(factor.trim().replaceAll('_', '')), 1);
}

test('the tables were found', () => expect(rows.length).toBeGreaterThan(60));

test('every setting that is a bound is on the page', () => {
  const named = new Set(rows.flatMap(([bound]) => coded(bound!)));
  const bounds = [...CONFIG_KEYS.keys()].filter((path) => /_max$|^limits\.|\.max_(connections|cpu|memory)/.test(path));
  expect(bounds.length).toBeGreaterThan(30);
  expect(bounds.filter((path) => !named.has(path))).toEqual([]);
});

test('every setting on the page is there, with its default', () => {
  for (const [bound, told] of rows) {
    const path = coded(bound!).find((code) => KEY.test(code));
    // A constant may be told in the terms of a setting.
    if (path === undefined || /`[A-Za-z_]+` of `/.test(bound!.replace(/\(.*\)/, ''))) continue;
    const key = CONFIG_KEYS.get(path);
    expect(key, path).toBeDefined();
    const value = valueAt(config, path.split('.'));
    if (value === undefined) expect(told, path).toBe(key!.defaultText);
    else if (path.endsWith('_ms')) expect(amountOf(told!) * 1000, path).toBeCloseTo(value as number);
    else expect(amountOf(told!), path).toBe(value);
  }
  for (const code of coded(limits))
    if (KEY.test(code) && !code.endsWith('.md')) expect(CONFIG_KEYS.has(code), code).toBe(true);
});

test('every constant on the page is in the file that it names, with its value', () => {
  let constants = 0;
  for (const [bound, told] of rows) {
    for (const [, name, path] of bound!.replace(/\(.*\)/, '').matchAll(/`([A-Za-z_]+)` of `([a-z/-]+\.ts)`/g)) {
      expect(constantOf(name!, path!), `${name} in ${path}`).toBe(amountOf(told!));
      constants++;
    }
  }
  expect(constants).toBeGreaterThan(30);
  expect(constantOf('SESSION_RESERVED_BYTES', 'stream/settings.ts')).toBe(amountOf('32 KiB'));
  expect(constantOf('DISCONNECTS_MAX', 'fences/bans.ts')).toBe(3);
});

test('every figure and every error code on the page exists', () => {
  const sources = globSync('src/**/*.ts', { cwd: root }).filter((path) => !path.endsWith('.test.ts'));
  const figures = new Set(sources.flatMap((path) => read(path).match(/'sightline_[a-z_]+'/g) ?? []));
  const told = coded(limits).filter((code) => code.startsWith('sightline_'));
  expect(told.length).toBeGreaterThan(60);
  expect(told.filter((name) => !figures.has(`'${name}'`))).toEqual([]);
  const codes = rows.flatMap(([, , , , seen]) => coded(seen!)).filter((code) => /^[A-Z_]{5,}$/.test(code));
  expect(codes.length).toBeGreaterThan(40);
  expect(codes.filter((code) => !Object.hasOwn(ERRORS, code))).toEqual([]);
});

test('every test that the page on security names is there', () => {
  const named = coded(read('docs/security.md')).filter((code) => code.endsWith('.test.ts'));
  expect(named.length).toBeGreaterThan(20);
  for (const path of named) expect(read(path), path).toMatch(/\b(test|it)[.(]/);
  for (const key of coded(read('docs/security.md'))) if (KEY.test(key)) expect(CONFIG_KEYS.has(key), key).toBe(true);
});

test('the sum of all bounds is that of the code', () => {
  const MIB = 2 ** 20;
  const plan = memoryPlan(config, { workers: 2 });
  const told = [...limits.matchAll(/^\| `([a-z]+)`[^|]*\| ([\d,]+) \|$/gm)].map(([, name, mib]) => [
    name,
    amountOf(mib!),
  ]);
  expect(told).toEqual(plan.map(({ name, bytes }) => [name, Math.round(bytes / MIB)]));
  expect(limits).toContain(`${Math.round(plannedBytes(plan) / MIB).toLocaleString('en')} MiB`);
});
