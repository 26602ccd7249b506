import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { PictureTurns } from './picture-turns.ts';

const SERVICE_MS = 30;
const THIRD = { keys: 3, keyMs: 960 } as const;

/** How many pictures are on their way on average when one comes, where each takes a worker for so long: 0 at best. */
function crowding(times: readonly number[], periodMs: number): number {
  let near = 0;
  for (const [i, one] of times.entries()) {
    for (const other of times.slice(i + 1)) {
      const apart = Math.abs(one - other) % periodMs;
      if (Math.min(apart, periodMs - apart) < SERVICE_MS) near += 1;
    }
  }
  return (2 * near) / times.length;
}

/** Cameras whose pictures come when they come at first, then as they are told; the times of a round. */
function roundsOf(
  count: number,
  seed: number,
): { readonly before: number[]; readonly after: number[]; moves: number[] } {
  const random = seededRandom(seed);
  const periodMs = THIRD.keys * THIRD.keyMs;
  const before = Array.from({ length: count }, () => random() * periodMs);
  const turns = new PictureTurns();
  let next = [...before];
  const moves: number[] = [];
  for (let round = 0; round < 12; round++) {
    let moved = 0;
    const order = [...next.keys()].toSorted((a, b) => next[a]! - next[b]!);
    const after = [...next];
    for (const i of order) {
      const earlier = turns.came(`camera-${i}`, next[i]!, THIRD, SERVICE_MS);
      moved += earlier > 0 ? 1 : 0;
      after[i] = next[i]! + periodMs - earlier * THIRD.keyMs;
    }
    moves.push(moved);
    next = after;
  }
  return { before, after: next, moves };
}

describe('turns of pictures', () => {
  test('of two cameras that come at once one comes earlier, and stays there', () => {
    const turns = new PictureTurns();
    expect(turns.came('a', 0, THIRD, SERVICE_MS)).toBe(0);
    expect(turns.came('b', 5, THIRD, SERVICE_MS)).toBe(1);
    expect(turns.came('a', 2_880, THIRD, SERVICE_MS)).toBe(0);
    expect(turns.came('b', 5 + 1_920, THIRD, SERVICE_MS)).toBe(0);
    // A third one takes the place that is left.
    expect(turns.came('c', 2_882, THIRD, SERVICE_MS)).toBe(2);
  });

  test('nobody moves who has no choice, before it is known how long a picture takes, or who is alone', () => {
    const turns = new PictureTurns();
    turns.came('a', 0, THIRD, SERVICE_MS);
    expect(turns.came('each key frame', 1, { keys: 1, keyMs: 2_880 }, SERVICE_MS)).toBe(0);
    expect(turns.came('not by key frames', 1, { keys: 0, keyMs: 0 }, SERVICE_MS)).toBe(0);
    expect(turns.came('nothing is known', 1, THIRD, 0)).toBe(0);
    expect(turns.came('far away', 1_000, THIRD, SERVICE_MS)).toBe(0);
  });

  test("who has left is in nobody's way", () => {
    const turns = new PictureTurns();
    turns.came('a', 0, THIRD, SERVICE_MS);
    turns.leave('a');
    turns.leave('a');
    expect(turns.came('b', 1, THIRD, SERVICE_MS)).toBe(0);
  });

  test.each([1, 2, 3, 4, 5])('a hundred cameras find places side by side, and then stay (seed %i)', (seed) => {
    const { before, after, moves } = roundsOf(100, seed);
    const periodMs = THIRD.keys * THIRD.keyMs;
    expect(crowding(after, periodMs)).toBeLessThan(0.9 * crowding(before, periodMs));
    expect(moves.at(-1)).toBeLessThanOrEqual(5);
  });
});
