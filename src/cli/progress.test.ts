import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { clockTime, Progress, progressLine } from './progress.ts';

describe('the line', () => {
  test('has a bar, the share, the speed and the time left', () => {
    expect(progressLine(170, 377, 2, 100)).toBe(
      '██████████████░░░░░░░░░░░░░░░░  45 %  170/377 frames  85 frames/s  0:02 left',
    );
  });

  test('without a known end tells what there is', () => {
    expect(progressLine(12, undefined, 4, 80)).toBe('12 frames  3.0 frames/s');
  });

  test('never says more than all, when there are more frames than a file promised', () => {
    expect(progressLine(12, 10, 1, 100)).toContain('100 %  10/10 frames');
  });

  test('before the first frame there is no speed and no time left to divide by', () => {
    expect(progressLine(0, 10, 0, 100)).toContain('0 %  0/10 frames  0.0 frames/s  0:00 left');
  });

  test.each([20, 40, 60, 80, 120])('fits a terminal of %i columns', (columns) => {
    const line = progressLine(123_456, 999_999, 100, columns);
    expect(line.length).toBeLessThan(columns);
    expect(line).toContain('12 %');
  });
});

test('times are short', () => {
  expect([0, 7.4, 59.6, 750, 3723].map(clockTime)).toEqual(['0:00', '0:07', '1:00', '12:30', '1:02:03']);
});

test('is drawn ten times a second at most, over itself, and leaves no trace', () => {
  const clock = new ManualClock();
  const written: string[] = [];
  const progress = new Progress({ clock, write: (text) => written.push(text), columns: 80, total: 100 });
  for (let frame = 1; frame <= 100; frame += 1) {
    progress.update(frame);
    clock.advance(10);
  }
  expect(written).toHaveLength(10);
  expect(written.every((text) => text.startsWith('\r\u001B[2K') && !text.includes('\n'))).toBe(true);
  progress.clear();
  expect(written.at(-1)).toBe('\r\u001B[2K');
  progress.clear();
  expect(written).toHaveLength(11);
});
