import { expect, test } from 'vitest';
import { polygonText, readPolygon } from './polygon.ts';

test.each([
  ['0.1,0.1 0.4,0.1 0.4,0.5', '0.1,0.1 0.4,0.1 0.4,0.5'],
  ['0.1 0.1 0.4 0.1 0.4 0.5', '0.1,0.1 0.4,0.1 0.4,0.5'],
  [' 0,0\n1,0,\t1 1 ', '0,0 1,0 1,1'],
  ['-.5,-2 1e0,.25 3,3', '-0.5,-2 1,0.25 3,3'],
  // Its edges cross, and all of it lies within.
  ['0,0 1,1 1,0 0,1', '0,0 1,1 1,0 0,1'],
])('%j is a polygon', (text, normal) => {
  const { polygon, fault } = readPolygon(text);
  expect(fault).toBeUndefined();
  expect(polygonText(polygon!)).toBe(normal);
  expect(readPolygon(normal)).toEqual({ polygon });
});

test.each([
  ['', /3 to 64 points, and this one 0/],
  ['0,0 1,1', /3 to 64 points, and this one 2/],
  ['0,0 1,1 1', /two numbers/],
  [Array.from({ length: 65 }, (_, i) => `0.${i},${i % 2}`).join(' '), /this one 65/],
  ['0,0 1,x 1,1', /"x" is no number/],
  ['0,0 1,NaN 1,1', /"NaN" is no number/],
  ['0,0 1,Infinity 1,1', /no number/],
  ['0,0 1,1e9 1,1', /too far away/],
  ['100,100 600,100 600,400', /too far away/],
  ['0.1,0.1 0.2,0.2 0.3,0.3', /on one line/],
  ['0.1,0.1 0.1,0.1 0.1,0.1', /on one line/],
  ['1,0 2,0 2,1', /outside of the picture/],
  ['0,-1 1,-1 1,0', /outside of the picture/],
])('%j is none', (text, fault) => {
  expect(readPolygon(text)).toEqual({ fault: expect.stringMatching(fault) });
});
