import { expect, test } from 'vitest';
import { linkText, LINKS } from './links.ts';

test('every link is told as it is now', () => {
  expect(linkText('steady', 100_000)).toBe('The link: 10 Mbit/s, 10 ms each way.');
  expect(linkText('halved', 3_500)).toBe('The link: 5 Mbit/s, 2.5 in 12 s; 10 ms each way.');
  expect(linkText('halved', 44_000)).toBe('The link: 5 Mbit/s, 2.5 in 1 s; 10 ms each way.');
  expect(linkText('halved', 15_000)).toBe('The link: 2.5 Mbit/s, 5 in 15 s; 10 ms each way.');
  expect(linkText('wifi', 1_750)).toBe(
    'The link: nothing goes through, 4 to 16 ms each way, with stalls of up to 350 ms.',
  );
});

test('every link carries something in each of its rounds', () => {
  for (const { phases } of Object.values(LINKS))
    expect(Math.max(...phases.map((phase) => phase.bitsPerS))).toBeGreaterThan(0);
});
