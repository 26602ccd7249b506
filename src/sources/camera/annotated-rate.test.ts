import { expect, test } from 'vitest';
import { Priority } from '../../base/sample.ts';
import { AnnotatedRate } from './annotated-rate.ts';

const FPS = 10;

/** A machine that has time for so many pictures a second, for so many seconds. */
function run(rate: AnnotatedRate, seconds: number, most: number, priority: Priority = Priority.normal) {
  const made = { annotated: 0, annotatedDropped: 0 };
  let news = 0;
  return {
    seconds(count: number, fps = most): void {
      for (let i = 0; i < count; i++) {
        const tried = rate.fps(FPS);
        made.annotated += Math.min(tried, fps);
        made.annotatedDropped += Math.max(0, tried - fps);
        if (rate.note(made, (seconds += 1) * 1_000, priority, FPS)) news++;
      }
    },
    get news() {
      return news;
    },
  };
}

test('where there is time for all that is wanted, nothing changes', () => {
  const rate = new AnnotatedRate();
  const machine = run(rate, 0, 100);
  machine.seconds(60);
  expect([rate.fps(FPS), machine.news]).toEqual([FPS, 0]);
  expect(rate.fps(0.5)).toBe(0.5);
});

test('falls to what there is time for, and comes back', () => {
  const rate = new AnnotatedRate();
  const machine = run(rate, 0, 4);
  machine.seconds(60);
  expect(rate.fps(FPS)).toBeGreaterThan(2.5);
  expect(rate.fps(FPS)).toBeLessThan(5.6);
  machine.seconds(60, 100);
  expect(rate.fps(FPS)).toBe(FPS);
  machine.seconds(60, 0.2);
  expect(rate.fps(FPS)).toBe(1);
  rate.reset();
  expect(rate.fps(FPS)).toBe(FPS);
});

test('the higher the class, the later it gives way', () => {
  const rates = [Priority.low, Priority.normal, Priority.high, Priority.critical].map((priority) => {
    const rate = new AnnotatedRate();
    // A part of what each of them tries is left out.
    const made = { annotated: 0, annotatedDropped: 0 };
    for (let i = 0; i <= 30; i++) {
      made.annotated += rate.fps(FPS) * 0.85;
      made.annotatedDropped += rate.fps(FPS) * 0.15;
      rate.note(made, i * 1_000, priority, FPS);
    }
    return rate.fps(FPS);
  });
  expect(rates).toEqual([1, 1, FPS, FPS]);
});

test('a connection that counts anew is no reason', () => {
  const rate = new AnnotatedRate();
  expect(rate.note({ annotated: 90, annotatedDropped: 10 }, 0, Priority.normal, FPS)).toBe(false);
  expect(rate.note({ annotated: 5, annotatedDropped: 5 }, 5_000, Priority.normal, FPS)).toBe(false);
  expect(rate.note({ annotated: 15, annotatedDropped: 5 }, 8_000, Priority.normal, FPS)).toBe(false);
  expect(rate.note({ annotated: 20, annotatedDropped: 10 }, 11_000, Priority.normal, FPS)).toBe(true);
});
