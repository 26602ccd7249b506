import { describe, expect, test } from 'vitest';
import { readPolygon, type Polygon } from '../base/polygon.ts';
import { seededRandom } from '../base/random.ts';
import { samplesUnder, toucher, widened, type SampleGrid, type SampleRuns } from './mask.ts';

const gridOf = (width: number, height: number): SampleGrid => ({ width, height, across: width, down: height });

const drawn = (polygons: readonly Polygon[], grid: SampleGrid) => rowsOf(samplesUnder(polygons, grid), grid);

function rowsOf(runs: SampleRuns, grid: SampleGrid): string[] {
  const rows = Array.from({ length: grid.height }, () => '.'.repeat(grid.width));
  for (let i = 0; i < runs.length; i += 3) {
    const [row, from, to] = [runs[i]!, runs[i + 1]!, runs[i + 2]!];
    rows[row] = rows[row]!.slice(0, from) + '#'.repeat(to - from) + rows[row]!.slice(to);
  }
  return rows;
}

const polygon = (text: string): Polygon => readPolygon(text).polygon!;

test.each<[string, readonly string[], readonly string[]]>([
  ['a rectangle', ['0.25,0.25 0.75,0.25 0.75,0.75 0.25,0.75'], ['........', '..####..', '..####..', '........']],
  [
    'of a pixel however little of it',
    ['0.26,0.3 0.64,0.3 0.64,0.49'],
    ['........', '..####..', '........', '........'],
  ],
  ['cut off at the edges', ['-1,-1 0.2,-1 0.2,0.3 -1,0.3'], ['##......', '##......', '........', '........']],
  ['edges that cross', ['0,0 1,1 1,0 0,1'], ['##....##', '########', '########', '##....##']],
  ['several', ['0,0 0.1,0 0.1,0.1', '0.9,0.9 1,0.9 1,1'], ['#.......', '........', '........', '.......#']],
])('%s', (_, polygons, rows) => {
  expect(drawn(polygons.map(polygon), gridOf(8, 4))).toEqual(rows);
});

test('what edges wind around twice is within, as in the middle of a star', () => {
  const star = polygon('0.5,0 0.8,1 0,0.4 1,0.4 0.2,1');
  expect(drawn([star], gridOf(40, 40))[22]!.slice(18, 22)).toBe('####');
});

describe('any polygons', () => {
  /** How often its edges wind around a place. */
  const winding = (shape: Polygon, x: number, y: number): number => {
    let turns = 0;
    for (const [i, a] of shape.entries()) {
      const b = shape[(i + 1) % shape.length]!;
      const side = (b.x - a.x) * (y - a.y) - (x - a.x) * (b.y - a.y);
      if (a.y <= y && b.y > y && side > 0) turns++;
      if (a.y > y && b.y <= y && side < 0) turns--;
    }
    return turns;
  };

  test('all samples with something of them within, and none that no edge comes near', () => {
    const random = seededRandom(11);
    const grids: SampleGrid[] = [gridOf(17, 9), gridOf(1, 1), { width: 9, height: 5, across: 8.5, down: 4.5 }];
    for (let round = 0; round < 60; round++) {
      const grid = grids[round % grids.length]!;
      const shape = Array.from({ length: 3 + Math.floor(random() * 7) }, () => ({
        x: random() * 1.6 - 0.3,
        y: random() * 1.6 - 0.3,
      }));
      const seen = drawn([shape], grid);
      const isSeen = (x: number, y: number) => seen[Math.floor(y)]?.[Math.floor(x)] === '#';
      const isReal = Array.from({ length: grid.height }, () => Array.from({ length: grid.width }, () => false));
      const steps = 8;
      for (let v = 0; v < grid.height * steps; v++) {
        for (let u = 0; u < grid.width * steps; u++) {
          const [x, y] = [(u + 0.5) / steps, (v + 0.5) / steps];
          if (winding(shape, x / grid.across, y / grid.down) === 0) continue;
          expect(isSeen(x, y), `round ${round}: ${x}, ${y}`).toBe(true);
          isReal[Math.floor(y)]![Math.floor(x)] = true;
        }
      }
      for (const [i, a] of shape.entries()) {
        const b = shape[(i + 1) % shape.length]!;
        for (let part = 0; part <= 1; part += 1 / 1_000) {
          const [x, y] = [(a.x + part * (b.x - a.x)) * grid.across, (a.y + part * (b.y - a.y)) * grid.down];
          const row = isReal[Math.floor(y)];
          if (row && x >= 0 && x < grid.width) row[Math.floor(x)] = true;
        }
      }
      let strays = 0;
      for (const [y, row] of seen.entries())
        for (let x = 0; x < grid.width; x++) if (row[x] === '#' && !isReal[y]![x]) strays++;
      // A corner of a sample that an edge passes between two places that were looked at.
      expect(strays).toBeLessThanOrEqual(2);
    }
  });
});

test('wider: what is near, up to the edges of the picture', () => {
  const grid = gridOf(10, 5);
  const runs = samplesUnder([polygon('0.4,0.4 0.5,0.4 0.5,0.6 0.4,0.6'), polygon('0.9,0 1,0 1,0.2 0.9,0.2')], grid);
  expect(rowsOf(runs, grid)).toEqual(['.........#', '..........', '....#.....', '..........', '..........']);
  expect(rowsOf(widened(runs, grid, 2, 1), grid)).toEqual([
    '.......###',
    '..########',
    '..#####...',
    '..#####...',
    '..........',
  ]);
});

test('boxes that touch a polygon are told from others', () => {
  const touches = toucher([polygon('0.5,0.5 0.7,0.5 0.7,0.9')]);
  const box = (x: number, y: number, width = 0.1, height = 0.1) => ({ x, y, width, height });
  expect([box(0.55, 0.52), box(0.65, 0.85), box(0, 0, 1, 1), box(0.45, 0.45)].map(touches)).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect([box(0.1, 0.1), box(0.5, 0.8, 0.05, 0.1), box(0.75, 0.5), box(0.5, 0.2)].map(touches)).toEqual([
    false,
    false,
    false,
    false,
  ]);
  expect(toucher([])(box(0, 0, 1, 1))).toBe(false);
});
