import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Database, type Change, type DatabaseOptions } from './database.ts';

const WALL_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const MIB = 2 ** 20;
/** In place of a step that the file has seen. */
const SEEN = 'SELECT 1';

let folder: string;
let path: string;
const open: Database[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-database-'));
  path = join(folder, 'below', 'sightline.db');
});
afterEach(() => {
  for (const database of open.splice(0)) database.close();
  rmSync(folder, { recursive: true, force: true });
});

function openIt(more: Partial<DatabaseOptions> = {}) {
  const opened = Database.open({ path, bytesMax: 8 * MIB, retention: {}, ...more }, WALL_MS);
  open.push(opened.database);
  return opened;
}

const put = (key: string, value: unknown = key, kind = 'event', timeMs = 1): Change => ({
  kind,
  key,
  timeMs,
  value: JSON.stringify(value),
});
const keysOf = (database: Database, kind = 'event') => database.read(kind, 1_000).map(({ key }) => key);

describe('records', () => {
  test('are there after it was closed and opened again; a newer one replaces an older one; the newest are read', () => {
    const { database, movedTo } = openIt();
    expect(movedTo).toBeUndefined();
    database.write([put('a'), put('b'), put('a', 'anew', 'event', 2), put('c', 3, 'other')]);
    database.write([{ kind: 'event', key: 'b', timeMs: 0, value: undefined }, put('d')]);
    database.close();
    const again = openIt().database;
    expect(again.read('event', 10)).toEqual([
      { kind: 'event', key: 'a', timeMs: 2, value: '"anew"' },
      { kind: 'event', key: 'd', timeMs: 1, value: '"d"' },
    ]);
    expect(again.read('event', 1).map(({ key }) => key)).toEqual(['d']);
    expect(keysOf(again, 'other')).toEqual(['c']);
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('all changes of a write are made, or none', () => {
    const { database } = openIt();
    const broken = { ...put('b'), timeMs: null } as unknown as Change;
    expect(() => database.write([put('a'), broken])).toThrow(/NOT NULL/);
    expect(keysOf(database)).toEqual([]);
    database.write([put('c')]);
    expect(keysOf(database)).toEqual(['c']);
  });

  test('retention keeps the newest, and none that is too old', () => {
    const { database } = openIt({ retention: { event: { rowsMax: 3, ageMaxMs: 100 } } });
    database.write([1, 2, 3, 4, 5].map((n) => put(`e${n}`, n, 'event', n * 50)));
    database.write([put('kept', 0, 'state', 0)]);
    database.prune(310);
    expect(keysOf(database)).toEqual(['e5']);
    expect(keysOf(database, 'state')).toEqual(['kept']);
    expect(database.pruned).toBe(4);
  });
});

describe('a database that cannot be used', () => {
  test.each([
    ['is no database', () => writeFileSync(path, 'nothing of the kind'.repeat(500))],
    [
      'is damaged in the middle',
      () => {
        const bytes = readFileSync(path);
        bytes.fill(0xa5, 4096 + 200, bytes.length - 100);
        writeFileSync(path, bytes);
      },
    ],
  ])('%s: it is moved aside, and a new one begun', (_, damage) => {
    const first = openIt().database;
    first.write(Array.from({ length: 500 }, (_n, i) => put(`k${i}`, 'x'.repeat(200))));
    first.close();
    damage();
    const { database, movedTo } = openIt();
    expect(movedTo).toBe(`${path}.corrupt-2026-01-02T03-04-05-678Z`);
    expect(readFileSync(movedTo!).length).toBeGreaterThan(1_000);
    expect(keysOf(database)).toEqual([]);
    database.write([put('new')]);
    expect(keysOf(database)).toEqual(['new']);
  });

  test('of damaged files the last three are kept', () => {
    for (let n = 0; n < 5; n++) {
      openIt().database.close();
      writeFileSync(path, 'garbage'.repeat(999));
      Database.open({ path, bytesMax: MIB, retention: {} }, WALL_MS + n).database.close();
    }
    expect(readdirSync(join(folder, 'below')).filter((name) => name.includes('corrupt'))).toHaveLength(3);
  });

  test('another one has it: the second is told, and can have it once the first has closed it', () => {
    const { database } = openIt();
    database.write([put('a')]);
    expect(() => openIt()).toThrow(expect.objectContaining({ fault: 'locked' }));
    database.close();
    expect(keysOf(openIt().database)).toEqual(['a']);
  });

  test('there is no room: history makes some; where that does not help it says so, has lost nothing, and goes on once there is', () => {
    const few = openIt({ bytesMax: 16 * 4096, retention: { event: { rowsMax: 1_000, ageMaxMs: Infinity } } }).database;
    for (let n = 0; n < 60; n++) few.write([put(`e${n}`, 'x'.repeat(1_000))]);
    expect(keysOf(few).at(-1)).toBe('e59');
    expect(few.pruned).toBeGreaterThan(10);
    const history = keysOf(few);
    const state = Array.from({ length: 100 }, (_n, i) => put(`s${i}`, 'x'.repeat(1_000), 'state'));
    expect(() => few.write(state)).toThrow(expect.objectContaining({ fault: 'full' }));
    expect(keysOf(few, 'state')).toEqual([]);
    expect(keysOf(few)).toEqual(history);
    few.write([put('small', 1, 'state')]);
    expect(keysOf(few, 'state')).toEqual(['small']);
    few.close();
    const roomy = openIt().database;
    roomy.write(state);
    expect(keysOf(roomy, 'state')).toHaveLength(101);
  });

  test('a folder that cannot be made is told as such', () => {
    writeFileSync(join(folder, 'below'), 'a file');
    expect(() => openIt()).toThrow(expect.objectContaining({ name: 'StoreError', fault: 'failed' }));
  });
});

describe('the schema', () => {
  test('an older one is brought up to date, step by step, with what is in it', () => {
    const { database } = openIt();
    database.write([put('a')]);
    database.close();
    const steps = [SEEN, 'ALTER TABLE records ADD COLUMN more TEXT', "UPDATE records SET more = 'told'"];
    const newer = openIt({ migrations: steps }).database;
    expect(keysOf(newer)).toEqual(['a']);
    newer.close();
    const raw = new DatabaseSync(path);
    expect(raw.prepare('SELECT more FROM records').get()).toEqual({ more: 'told' });
    expect(raw.prepare('PRAGMA user_version').get()).toEqual({ user_version: 3 });
    raw.close();
    // What a newer program has made is left as it is.
    expect(() => openIt()).toThrow(expect.objectContaining({ fault: 'newer' }));
  });

  test('a step that fails changes nothing', () => {
    openIt().database.close();
    expect(() => openIt({ migrations: [SEEN, 'CREATE TABLE t (a); NONSENSE'] })).toThrow(/syntax/);
    const raw = new DatabaseSync(path);
    expect(raw.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 't'").get()).toEqual({ n: 0 });
    expect(raw.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1 });
    raw.close();
  });
});
