import { expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { Moves, type Place } from './moves.ts';

const LENGTH_MS = 6_000;
const place = (camera: string, index: number): Place => {
  return { camera, fromMs: index * LENGTH_MS, toMs: (index + 1) * LENGTH_MS };
};
const middle = (index: number) => (index + 0.5) * LENGTH_MS;

function play(moves: Moves, viewer: string, places: readonly Place[]): void {
  for (const one of places) moves.observe(viewer, one);
}

const upTo = (count: number, camera = 'a') => Array.from({ length: count }, (_, i) => place(camera, i));

test('who plays goes on', () => {
  const moves = new Moves();
  expect(moves.guesses('one')).toEqual([]);
  play(moves, 'one', upTo(5));
  // Too little is known.
  expect(moves.guesses('one')).toEqual([]);
  play(moves, 'two', upTo(20, 'b'));
  const [best] = moves.guesses('one');
  expect(best).toMatchObject({ camera: 'a', timeMs: middle(5) });
  expect(best!.probability).toBeGreaterThan(0.9);
});

test('who goes back goes on going back: what comes depends on the move before', () => {
  const moves = new Moves();
  for (let round = 0; round < 10; round++) {
    const viewer = `${round}`;
    play(moves, viewer, upTo(30));
    for (let i = 29; i > 9; i -= 2) moves.observe(viewer, place('a', i));
  }
  play(moves, 'back', [place('c', 40), place('c', 38)]);
  expect(moves.guesses('back')[0]).toMatchObject({ camera: 'c', timeMs: middle(36) });
  play(moves, 'on', [place('c', 40), place('c', 41)]);
  expect(moves.guesses('on')[0]).toMatchObject({ camera: 'c', timeMs: middle(42) });
});

test('who looks at one camera after the other is led to the next one', () => {
  const moves = new Moves();
  for (let round = 0; round < 20; round++)
    play(
      moves,
      `${round}`,
      ['a', 'b', 'c', 'd'].map((one) => place(one, round)),
    );
  play(moves, 'now', [place('a', 100), place('b', 100)]);
  expect(moves.guesses('now')[0]).toMatchObject({ camera: 'c', timeMs: middle(100) });
});

test('of who jumps anywhere nothing is expected with much confidence', () => {
  const moves = new Moves();
  const random = seededRandom(3);
  const anywhere = () => place(`cam${Math.floor(random() * 20)}`, Math.floor(random() * 1_000));
  for (let i = 0; i < 2_000; i++) moves.observe('one', anywhere());
  for (const { probability } of moves.guesses('one')) expect(probability).toBeLessThan(0.2);
});

test('where many are, it is likelier that one of them goes there', () => {
  const moves = new Moves();
  for (let round = 0; round < 30; round++)
    play(moves, `${round}`, [place('a', 0), place('a', 1), place('a', round % 2 === 0 ? 2 : 50 + round)]);
  play(moves, 'alone', [place('z', 0), place('z', 1)]);
  const [alone] = moves.guesses('alone');
  for (let i = 0; i < 5; i++) play(moves, `crowd ${i}`, [place('y', 0), place('y', 1)]);
  const [crowd] = moves.guesses('crowd 0');
  expect(crowd!.probability).toBeGreaterThan(alone!.probability);
  expect(crowd!.probability).toBeLessThan(1);
});

test('asking for the same again is no move', () => {
  const moves = new Moves();
  play(moves, 'one', upTo(20));
  play(moves, 'one', [place('a', 19), place('a', 19)]);
  expect(moves.guesses('one')[0]).toMatchObject({ timeMs: middle(20) });
});

test('of many viewers the last ones are remembered', () => {
  const moves = new Moves();
  play(moves, 'first', upTo(20));
  for (let i = 0; i < 5_000; i++) moves.observe(`viewer ${i}`, place('a', i));
  expect(moves.guesses('first')).toEqual([]);
  moves.observe('viewer 4999', place('a', 5_000));
  expect(moves.guesses('viewer 4999')).not.toEqual([]);
});
