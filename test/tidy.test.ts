import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ERRORS } from '../src/base/error-catalogue.ts';
import {
  checkBarrels,
  checkDashboard,
  checkDirection,
  checkErrorCodes,
  checkPortable,
  checkRooms,
  checkWorldOutside,
  isTest,
  readLevels,
  readModule,
} from './support/house-rules.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, 'utf8');
const sources = (pattern: string) =>
  globSync(pattern, { cwd: root })
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted();
const parsed = (path: string) => readModule({ path, text: read(path) });

describe('the house', () => {
  const levels = readLevels(read('docs/ARCHITECTURE.md'));
  const paths = sources('src/**/*.ts');
  // Tests may reach for whatever they need: they are in nobody's way at run time.
  const modules = paths.filter((path) => !isTest(path)).map(parsed);
  const dashboard = sources('dashboard/src/**/*.{ts,tsx}').map(parsed);

  test('the table of rooms was found', () => {
    expect(levels.get('base')).toBe(0);
    expect(levels.size).toBeGreaterThan(10);
    expect(modules.length).toBeGreaterThan(10);
  });
  test('folders and table agree', () => expect(checkRooms(levels, paths)).toEqual([]));
  test('imports go downward', () => expect(checkDirection(levels, modules)).toEqual([]));
  test('what browsers run imports nothing of Node', () => expect(checkPortable(modules)).toEqual([]));
  test('the dashboard imports the SDK alone', () => expect(checkDashboard(dashboard)).toEqual([]));
  test('no barrels', () => expect(checkBarrels(modules)).toEqual([]));
  test('no console and no environment outside the command line', () => expect(checkWorldOutside(modules)).toEqual([]));
  test('every error code is raised', () => expect(checkErrorCodes(Object.keys(ERRORS), modules)).toEqual([]));
});

describe('the rules can fail', () => {
  const levels = readLevels(
    [
      'Some words about `nothing`.',
      '| level | room | what |',
      '|---|---|---|',
      '| 0 | `base/` | types from `elsewhere/` |',
      '| 2 | `flow/` | decisions |',
      '| 2 | `media/` | pictures |',
      '| 7 | `cli/`, `index.ts` | outside |',
      '| 5 | `client/` | the SDK |',
    ].join('\n'),
  );
  const one = (path: string, text: string) => [readModule({ path, text })];

  test('the table is read: rooms, levels, several in a row, none beside it', () => {
    expect([...levels]).toEqual([
      ['base', 0],
      ['flow', 2],
      ['media', 2],
      ['cli', 7],
      ['index.ts', 7],
      ['client', 5],
    ]);
  });

  test('a folder without a row, and a row without a folder', () => {
    const all = ['src/base/a.ts', 'src/flow/a.ts', 'src/media/a.ts', 'src/cli/a.ts', 'src/index.ts', 'src/client/a.ts'];
    expect(checkRooms(levels, all)).toEqual([]);
    expect(checkRooms(levels, [...all, 'src/shed/a.ts'])).toEqual(['src/shed is not in the table of ARCHITECTURE.md']);
    expect(checkRooms(levels, [...all.slice(1), 'src/base/a.test.ts'])).toEqual([
      'the table names base, which src/ has not',
    ]);
  });

  test.each([
    ['down', 'src/media/deep/a.ts', "import { x } from '../../base/x.ts'", true],
    ['within the room', 'src/media/deep/a.ts', "import { x } from '../x.ts'", true],
    ['package.json', 'src/cli/a.ts', "import about from '../../package.json' with { type: 'json' }", true],
    ['a package', 'src/base/a.ts', "import { z } from 'zod'", true],
    ['only in a comment', 'src/base/a.ts', "// import { x } from '../flow/x.ts'\nexport {}", true],
    ['only in a string', 'src/base/a.ts', 'export const s = "import { x } from \'../flow/x.ts\'"', true],
    ['up', 'src/base/a.ts', "import { x } from '../flow/x.ts'", false],
    ['up, types only', 'src/base/a.ts', "import type { X } from '../flow/x.ts'", false],
    ['up, a type expression', 'src/base/a.ts', "export type X = import('../flow/x.ts').X", false],
    ['up, re-exported', 'src/base/a.ts', "export { x } from '../flow/x.ts'", false],
    ['up, dynamically', 'src/base/a.ts', "await import('../flow/x.ts')", false],
    ['up, as a worker', 'src/base/a.ts', "new Worker(new URL('../flow/x.ts', import.meta.url))", false],
    ['sideways', 'src/flow/a.ts', "import { x } from '../media/x.ts'", false],
    ['the SDK', 'src/cli/a.ts', "import { x } from '../client/x.ts'", true],
    ['the SDK, from below', 'src/flow/a.ts', "import { x } from '../client/x.ts'", false],
    ['out of src', 'src/cli/a.ts', "import { x } from '../../test/x.ts'", false],
    ['from an unknown room', 'src/shed/a.ts', "import { x } from '../base/x.ts'", false],
    ['the SDK, down', 'src/client/a.ts', "import { x } from '../flow/x.ts'", true],
    ['the SDK, into the server', 'src/client/a.ts', "import { x } from '../media/x.ts'", false],
  ])('direction: %s', (_, path, text, allowed) => {
    expect(checkDirection(levels, one(path, text))).toHaveLength(allowed ? 0 : 1);
  });

  test.each([
    ['src/protocol/a.ts', "import { Buffer } from 'node:buffer'", false],
    ['src/client/a.ts', "import fs from 'fs'", false],
    ['src/flow/a.ts', "import { x } from '../base/x.ts'", true],
    ['src/media/a.ts', "import { Buffer } from 'node:buffer'", true],
  ])('portable: %s with %s', (path, text, allowed) => {
    expect(checkPortable(one(path, text))).toHaveLength(allowed ? 0 : 1);
  });

  test.each([
    ["import { connect } from 'sightline/client'", true],
    ["import { connectCameras } from 'sightline/client/cameras'", true],
    ["import { Link } from 'sightline/client/link'", false],
    ["import { draw } from './draw.ts'", true],
    ["import 'uplot/dist/uPlot.min.css'", true],
    ["import { createSightline } from 'sightline'", false],
    ["import { systemClock } from 'sightline/base'", false],
    ["import { systemClock } from '../../src/base/clock.ts'", false],
  ])('dashboard: %s', (text, allowed) => {
    expect(checkDashboard(one('dashboard/src/main.ts', text))).toHaveLength(allowed ? 0 : 1);
  });

  test.each([
    ['src/flow/index.ts', "export { x } from './x.ts'", false],
    ['src/flow/a.ts', "export type { X } from './x.ts'\nexport { y } from './y.ts'", false],
    ['src/index.ts', "export { x } from './base/x.ts'", true],
    ['src/index.ts', "export * from './base/x.ts'", false],
    ['src/flow/a.ts', "export { x } from './x.ts'\nexport const y = 1", true],
    ['src/flow/a.ts', 'const x = 1\nexport { x }', true],
  ])('barrels: %s with %s', (path, text, allowed) => {
    expect(checkBarrels(one(path, text))).toHaveLength(allowed ? 0 : 1);
  });

  test.each([
    ['src/flow/a.ts', 'console.log(1)', false],
    ['src/flow/a.ts', 'globalThis.console.error(1)', false],
    ['src/flow/a.ts', 'export const home = process.env.HOME', false],
    ['src/flow/a.ts', "export const home = process['env'].HOME", false],
    ['src/flow/a.ts', 'const { env } = process', false],
    ['src/flow/a.ts', "import { env } from 'node:process'", false],
    ['src/flow/a.ts', '// console.log(process.env)\nexport const words = "console.log"', true],
    ['src/flow/a.ts', 'export const pid = process.pid', true],
    ['src/cli/a.ts', 'console.log(process.env.HOME)', true],
  ])('world outside: %s with %s', (path, text, allowed) => {
    expect(checkWorldOutside(one(path, text))).toHaveLength(allowed ? 0 : 1);
  });

  test('an error code that is never raised', () => {
    const modules = one('src/flow/a.ts', "throw new SightlineError('RAISED', 'UNTOLD is only mentioned here')");
    const catalogue = one('src/base/errors.ts', "export const E = { RAISED: 1, x: 'IDLE' }");
    expect(checkErrorCodes(['RAISED'], modules)).toEqual([]);
    expect(checkErrorCodes(['RAISED', 'UNTOLD', 'IDLE'], [...modules, ...catalogue])).toEqual([
      'UNTOLD is raised nowhere',
      'IDLE is raised nowhere',
    ]);
  });

  test('a file that cannot be parsed is named', () => {
    expect(() => one('src/flow/a.ts', 'const = 1')).toThrow('src/flow/a.ts');
  });
});
