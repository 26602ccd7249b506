import { expect, test } from 'vitest';
import { PictureWatch } from '../../vision/picture-watch.ts';
import { KeptWatches } from './kept-watches.ts';

const watchOf = (endedMs: number) => ({ watch: new PictureWatch(), form: 'h264 160×96', endedMs });

test('a watch is there for the next connection of the same scene, once', () => {
  const watches = new KeptWatches();
  const kept = watchOf(5);
  watches.keep('gate', kept);
  watches.keep('yard', watchOf(6));
  expect(watches.take('gate', 10)).toBe(kept);
  expect(watches.take('gate', 10)).toBeUndefined();
});

test('for ten minutes, and no more than so many', () => {
  const watches = new KeptWatches();
  watches.keep('old', watchOf(0));
  watches.keep('gate', watchOf(500_000));
  expect(watches.take('old', 600_001)).toBeUndefined();
  expect(watches.take('gate', 600_001)).toBeDefined();
  for (let i = 0; i <= 128; i++) watches.keep(`camera ${i}`, watchOf(i));
  expect(watches.take('camera 0', 200)).toBeUndefined();
  expect(watches.take('camera 1', 200)).toBeDefined();
});
