import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Ahead } from './ahead.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
afterEach(() => void vi.useRealTimers());

function open() {
  let opened = 0;
  const ahead = new Ahead(() => opened++);
  /** Runs one after the other, each of so many milliseconds. */
  const runs = (...allMs: readonly number[]) => {
    ahead.turn(true);
    for (const ms of allMs) {
      vi.advanceTimersByTime(ms);
      ahead.turn(true);
    }
  };
  return { ahead, runs, opened: () => opened };
}

test('an idle worker takes what it may, and so does one that is not known yet', () => {
  const { ahead } = open();
  expect(ahead.isOpen).toBe(true);
  ahead.turn(true);
  expect(ahead.isOpen).toBe(true);
});

test('short runs always have the next job at hand', () => {
  const { ahead, runs, opened } = open();
  runs(5, 5, 5);
  expect(ahead.isOpen).toBe(true);
  expect(opened()).toBe(0);
});

test('a run of 40 ms lets the next job in after 30, one of 12 after 8', () => {
  for (const [runMs, openMs] of [
    [40, 30],
    [12, 8],
  ] as const) {
    const { ahead, runs, opened } = open();
    runs(runMs);
    const before = opened();
    vi.advanceTimersByTime(openMs - 1);
    expect(ahead.isOpen).toBe(false);
    vi.advanceTimersByTime(1);
    expect(ahead.isOpen).toBe(true);
    expect(opened()).toBe(before + 1);
  }
});

test('a run that ends early, or with nothing behind it, opens at once and calls nobody later', () => {
  const { ahead, runs, opened } = open();
  runs(40);
  vi.advanceTimersByTime(10);
  ahead.turn(false);
  expect(ahead.isOpen).toBe(true);
  vi.advanceTimersByTime(1_000);
  expect(opened()).toBe(0);
});

test('one slow run does not keep the door shut: the next one is reckoned by what runs take on average', () => {
  const { ahead, runs } = open();
  runs(20, 20, 20, 120);
  vi.advanceTimersByTime(30);
  expect(ahead.isOpen).toBe(true);
});

test('tells what is left of a run', () => {
  const { ahead, runs } = open();
  expect([ahead.runMs, ahead.leftMs]).toEqual([0, 0]);
  runs(40, 40);
  vi.advanceTimersByTime(15);
  expect([ahead.runMs, ahead.leftMs]).toEqual([40, 25]);
  vi.advanceTimersByTime(100);
  expect(ahead.leftMs).toBe(0);
  ahead.turn(false);
  expect(ahead.leftMs).toBe(0);
});

test('a run that took longer for a reason of its own says nothing of the others', () => {
  const { ahead } = open();
  ahead.turn(true);
  vi.advanceTimersByTime(500);
  ahead.turn(true, false);
  expect([ahead.runMs, ahead.isOpen]).toEqual([0, true]);
  vi.advanceTimersByTime(20);
  ahead.turn(false);
  expect(ahead.runMs).toBe(20);
});

test('a long run lets nothing in before its end, and is no measure for others', () => {
  const { ahead, runs, opened } = open();
  runs(40, 40);
  ahead.turn(true, true, 500);
  const before = opened();
  vi.advanceTimersByTime(100);
  expect(ahead.leftMs).toBe(400);
  vi.advanceTimersByTime(5_000);
  expect([ahead.isOpen, opened()]).toEqual([false, before]);
  expect(ahead.leftMs).toBeCloseTo(ahead.runMs);
  ahead.turn(true, false);
  vi.advanceTimersByTime(30);
  expect(ahead.isOpen).toBe(true);
});
