import { expect, test } from 'vitest';
import { Flight } from './flight.ts';

test('a mark follows the first bytes, then so often, or after so many bytes', () => {
  const flight = new Flight();
  expect(flight.sent(10, 1_000)).toBe(1);
  expect(flight.sent(10, 1_049)).toBeUndefined();
  expect(flight.sent(10, 1_050)).toBe(2);
  expect(flight.sent(64 * 1024 - 1, 1_051)).toBeUndefined();
  expect(flight.sent(1, 1_052)).toBe(3);
});

test('the delay is that of the oldest mark without an answer, less what the path needs', () => {
  const flight = new Flight();
  expect(flight.delayMs(0)).toBe(0);
  flight.sent(1, 0);
  expect(flight.delayMs(30)).toBe(30);
  flight.answered(1, 40);
  expect(flight.roundTripMs).toBe(40);
  expect(flight.delayMs(1_000)).toBe(0);
  flight.sent(1, 1_000);
  flight.sent(1, 1_100);
  expect(flight.delayMs(1_030)).toBe(0);
  expect(flight.delayMs(1_240)).toBe(200);
  // Its answer says that all before it has arrived as well; a slow one does not change what the path needs.
  flight.answered(3, 1_500);
  expect(flight.roundTripMs).toBe(40);
  expect(flight.delayMs(1_500)).toBe(0);
});

test('answers to nothing change nothing', () => {
  const flight = new Flight();
  flight.sent(1, 0);
  for (const number of [0, 2, -1, Number.NaN]) flight.answered(number, 10);
  expect(flight.delayMs(10)).toBe(10);
  flight.answered(1, 20);
  flight.answered(1, 30);
  expect(flight.roundTripMs).toBe(20);
});
