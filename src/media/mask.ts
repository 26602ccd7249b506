import type { Box } from '../base/detection.ts';
import type { Polygon } from '../base/polygon.ts';

/** Which pixels polygons touch. Pure. */

/** A grid of samples over a picture: one of its planes may be coarser than the picture, and reach a little beyond it. */
export interface SampleGrid {
  /** Samples of a row, and rows. */
  readonly width: number;
  readonly height: number;
  /** Samples that the picture itself is wide and high: half a one more or less where its sides are odd. */
  readonly across: number;
  readonly down: number;
}

/** Rows, each with the first sample and the one behind the last: `row, from, to, row, from, to, …`. */
export type SampleRuns = Int32Array;

/**
 * All samples that the polygons touch, with however little of their area, in the order of rows. Within a polygon is what its edges wind around at least once (the
 * non-zero rule): where edges cross, nothing in between is left out. What lies outside of the picture is cut off.
 */
export function samplesUnder(polygons: readonly Polygon[], grid: SampleGrid): SampleRuns {
  const rows: Interval[][] = Array.from({ length: grid.height }, () => []);
  for (const polygon of polygons) addPolygon(rows, polygon, grid);
  return runsOf(rows);
}

/** The same runs, and all samples that are at most so many from one of theirs, in each direction. */
export function widened(runs: SampleRuns, grid: SampleGrid, across: number, down: number): SampleRuns {
  const rows: Interval[][] = Array.from({ length: grid.height }, () => []);
  for (let i = 0; i < runs.length; i += 3) {
    const [row, from, to] = [runs[i]!, runs[i + 1]!, runs[i + 2]!];
    const interval = [Math.max(0, from - across), Math.min(grid.width, to + across)] as const;
    const last = Math.min(grid.height - 1, row + down);
    for (let near = Math.max(0, row - down); near <= last; near++) rows[near]!.push(interval);
  }
  return runsOf(rows);
}

/** Of `toucher`: cells over the picture. */
const CELLS = { width: 160, height: 90 };

/** Tells boxes, of the same fractions, that the polygons touch, or come close to: cell by cell. */
export function toucher(polygons: readonly Polygon[]): (box: Box) => boolean {
  const { width: columns, height: rows } = CELLS;
  const runs = samplesUnder(polygons, { ...CELLS, across: columns, down: rows });
  return ({ x, y, width, height }) => {
    const [left, right] = [Math.floor(x * columns), Math.ceil((x + width) * columns)];
    const [top, bottom] = [Math.floor(y * rows), Math.ceil((y + height) * rows)];
    for (let i = 0; i < runs.length; i += 3) {
      const [row, from, to] = [runs[i]!, runs[i + 1]!, runs[i + 2]!];
      if (row >= top && row < bottom && from < right && to > left) return true;
    }
    return false;
  };
}

type Interval = readonly [from: number, to: number];

function addPolygon(rows: Interval[][], polygon: Polygon, { width, height, across, down }: SampleGrid): void {
  const points = polygon.map(({ x, y }) => ({ x: x * across, y: y * down }));
  const add = (row: number, left: number, right: number): void => {
    const from = Math.max(0, Math.floor(left));
    const to = Math.min(width, Math.ceil(right));
    if (from < to) rows[row]!.push([from, to]);
  };
  /** Where edges pass the middle of a row, and which way. */
  const crossings: { readonly x: number; readonly turn: 1 | -1 }[][] = rows.map(() => []);
  for (const [i, a] of points.entries()) {
    const b = points[(i + 1) % points.length]!;
    const [top, bottom] = a.y <= b.y ? [a, b] : [b, a];
    const first = Math.max(0, Math.floor(top.y));
    const last = Math.min(height, Math.ceil(bottom.y)) - 1;
    const xAt = (y: number): number => {
      const part = (y - top.y) / (bottom.y - top.y || 1);
      return top.x + Math.min(1, Math.max(0, part)) * (bottom.x - top.x);
    };
    for (let row = first; row <= last; row++) {
      // All that the edge touches; between edges a sample is within or outside as a whole.
      const [one, other] = top.y === bottom.y ? [top.x, bottom.x] : [xAt(row), xAt(row + 1)];
      add(row, Math.min(one, other), Math.max(one, other));
      const middle = row + 0.5;
      if (top.y <= middle && middle < bottom.y) crossings[row]!.push({ x: xAt(middle), turn: a.y <= b.y ? 1 : -1 });
    }
  }
  for (const [row, passed] of crossings.entries()) {
    let winding = 0;
    let left = 0;
    for (const { x, turn } of passed.toSorted((one, other) => one.x - other.x)) {
      if (winding === 0) left = x;
      winding += turn;
      if (winding === 0) add(row, left, x);
    }
  }
}

function runsOf(rows: readonly Interval[][]): SampleRuns {
  const runs: number[] = [];
  for (const [row, intervals] of rows.entries()) {
    for (const [from, to] of merged(intervals)) runs.push(row, from, to);
  }
  return Int32Array.from(runs);
}

function merged(intervals: readonly Interval[]): Interval[] {
  const all: [number, number][] = [];
  for (const [from, to] of intervals.toSorted((a, b) => a[0] - b[0])) {
    const last = all.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else all.push([from, to]);
  }
  return all;
}
