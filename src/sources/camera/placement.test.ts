import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { admitted, camerasPerProcess, isSuspect, processFor, withCrash } from './placement.ts';

/** Cameras that come one after the other; returns how many each process has. */
function filled(cameras: number, processesMax: number, camerasMax: number): number[] {
  const processes: { cameras: number; camerasMax: number }[] = [];
  for (let i = 0; i < cameras; i++) {
    const at = processFor(processes, processesMax);
    if (at === 'new') processes.push({ cameras: 1, camerasMax });
    else processes[at]!.cameras++;
  }
  return processes.map(({ cameras: has }) => has);
}

describe('a process for a camera', () => {
  test('is started when it is needed; cameras are spread evenly', () => {
    expect(filled(1, 10, 10)).toEqual([1]);
    expect(filled(4, 10, 10)).toEqual([4]);
    expect(filled(5, 10, 10)).toEqual([4, 1]);
    expect(filled(100, 10, 10)).toEqual(Array.from({ length: 10 }, () => 10));
    expect(filled(103, 10, 11).toSorted((a, b) => a - b)).toEqual([10, 10, 10, 10, 10, 10, 10, 11, 11, 11]);
  });

  test('where all are full there is one more', () => {
    expect(filled(9, 2, 4)).toEqual([4, 4, 1]);
  });

  test('is made for its part of all that may come', () => {
    expect([camerasPerProcess(100, 10), camerasPerProcess(101, 10), camerasPerProcess(3, 10)]).toEqual([10, 11, 4]);
  });
});

test('a camera whose process has ended twice with it within ten minutes is a suspect', () => {
  const once = withCrash([], 1_000);
  expect(isSuspect(once, 1_000)).toBe(false);
  const twice = withCrash(once, 500_000);
  expect(isSuspect(twice, 500_000)).toBe(true);
  expect(isSuspect(twice, 601_001)).toBe(false);
  expect(isSuspect(withCrash(once, 700_000), 700_000)).toBe(false);
  expect(withCrash(withCrash(twice, 600_000), 600_001)).toHaveLength(2);
});

describe('places', () => {
  test('go to those that have one, then in the order of the ids', () => {
    const set = (ids: string) => new Set(ids);
    const admit = (wanted: string, having: string, max: number) =>
      [...admitted([...wanted], set(having), max)].join('');
    expect(admit('dcba', '', 2)).toBe('ab');
    expect(admit('abcd', 'cd', 2)).toBe('cd');
    expect(admit('abcd', 'cd', 3)).toBe('cda');
    expect(admit('abcd', 'abcd', 1)).toBe('a');
    expect(admit('ab', 'xy', 9)).toBe('ab');
    expect(admit('ab', 'ab', 0)).toBe('');
  });

  test('nobody loses one because of others that come', () => {
    const random = seededRandom(3);
    let having = new Set<string>();
    for (let round = 0; round < 500; round++) {
      const wanted = Array.from({ length: 20 }, (_, i) => `c${i}`).filter(() => random() < 0.7);
      const next = admitted(wanted, having, 10);
      expect(next.size).toBe(Math.min(10, wanted.length));
      for (const id of having) if (wanted.includes(id)) expect(next.has(id)).toBe(true);
      having = next;
    }
  });
});
