import { expect, test } from 'vitest';
import { PictureShare } from './picture-share.ts';

const RUN_MS = 25;

/** Results of which one in so many is late. */
function see(share: PictureShare, results: number, oneIn: number): void {
  for (let i = 1; i <= results; i++)
    share.note({ work: 'objects', tookMs: i % oneIn === 0 ? 6 * RUN_MS : 2 * RUN_MS, runMs: RUN_MS });
}

test('less is used while more than one result in twenty is late, more while hardly one is, and never nothing', () => {
  const share = new PictureShare();
  const first = share.used;
  see(share, 99, 10);
  expect(share.used).toBe(first);
  see(share, 1, 10);
  expect(share.used).toBeLessThan(first);
  see(share, 100 * 100, 2);
  const least = share.used;
  expect(least).toBeGreaterThan(0);
  see(share, 100 * 100, 25);
  expect(share.used).toBe(least);
  see(share, 100, 1_000);
  expect(share.used).toBeGreaterThan(least);
  see(share, 100 * 100, 1_000);
  expect(share.used).toBe(1);
});

test('late is what took long for a run of the model, whatever that takes', () => {
  const share = new PictureShare();
  const first = share.used;
  for (let i = 0; i < 100; i++) share.note({ work: 'hands', tookMs: 300, runMs: 100 });
  expect(share.used).toBeGreaterThan(first);
});

test('work that takes long is not late beside work that does not', () => {
  const share = new PictureShare();
  const first = share.used;
  for (let i = 0; i < 300; i++) {
    share.note(
      i % 5 === 0 ? { work: 'hands', tookMs: 250, runMs: 100 } : { work: 'objects', tookMs: 40, runMs: RUN_MS },
    );
  }
  expect(share.used).toBeGreaterThan(first);
});
