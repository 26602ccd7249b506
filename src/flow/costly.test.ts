import { describe, expect, test } from 'vitest';
import { Priority } from '../base/sample.ts';
import { classOfDear, CostlyGate, costlyShare, dearFrom, dearMax, demandOfCostly } from './costly.ts';

const NOW_MS = 1.7e12;

/** What became of so many frames a second, for so long, of a source that is granted so many: one letter a frame, `r` where it is refused. */
function send(gate: CostlyGate, fps: number, grantedFps: number, fromMs: number, forMs: number): string {
  const count = Math.round((fps * forMs) / 1000);
  return Array.from({ length: count }, (_, i) =>
    gate.admits(NOW_MS + fromMs + (i * 1000) / fps, grantedFps) ? 'a' : 'r',
  ).join('');
}

const admitted = (told: string) => told.replaceAll('r', '').length;

describe('a picture is dear', () => {
  test('from a half more than its kind of work costs, and 40 ms, on', () => {
    expect([undefined, 5, 100].map((promisedMs) => dearFrom(promisedMs))).toEqual([40, 40, 150]);
  });

  test('then it has no class above normal', () => {
    const { critical, high, normal, low } = Priority;
    expect([critical, high, normal, low].map(classOfDear)).toEqual([normal, normal, normal, low]);
    expect(demandOfCostly({ priority: critical, wanted: 3, most: 9 })).toEqual({
      priority: normal,
      wanted: 3,
      most: 9,
    });
  });

  test('and leaves one worker to the others, half of the time of a single one', () => {
    expect([1, 2, 3, 8].map(dearMax)).toEqual([1, 1, 2, 7]);
    expect([0, 1, 2, 4, 8].map(costlyShare)).toEqual([0.5, 0.5, 0.5, 0.75, 0.875]);
  });
});

describe('a source of dear pictures', () => {
  test('that keeps to its grant is never held, nor one that comes a little unevenly', () => {
    const gate = new CostlyGate();
    expect(send(gate, 2, 2, 0, 60_000)).not.toContain('r');
    const moments = [0, 10, 1000, 1400, 1500, 2600, 3000, 3900, 4000, 5000];
    expect(moments.map((ms) => gate.admits(NOW_MS + 60_000 + ms, 2))).not.toContain(false);
    expect(gate.isHeld(NOW_MS + 66_000)).toBe(false);
  });

  test('that is over it is let be for two seconds, as its grant has only just fallen, and then held to it', () => {
    const gate = new CostlyGate();
    const first = send(gate, 10, 1, 0, 2_200);
    expect(first).toMatch(/^a+r?$/);
    const next = send(gate, 10, 1, 2_200, 40_000);
    expect(gate.isHeld(NOW_MS + 42_200)).toBe(true);
    // A quarter more than granted.
    expect(admitted(next)).toBeGreaterThanOrEqual(48);
    expect(admitted(next)).toBeLessThanOrEqual(52);
  });

  test('that has kept to it for five seconds is held no longer', () => {
    const gate = new CostlyGate();
    send(gate, 10, 1, 0, 10_000);
    expect(gate.isHeld(NOW_MS + 10_000)).toBe(true);
    expect(send(gate, 1, 1, 11_000, 4_000)).toBe('aaaa');
    expect(gate.isHeld(NOW_MS + 15_500)).toBe(false);
    // From here on it has its two seconds again.
    expect(send(gate, 10, 1, 16_000, 1_900)).not.toContain('r');
    expect(send(gate, 10, 1, 17_900, 5_000)).toContain('r');
  });

  test('that is granted nothing may send two, and a clock that steps back stands still', () => {
    const gate = new CostlyGate();
    send(gate, 10, 0, 0, 5_000);
    expect(admitted(send(gate, 10, 0, 5_000, 60_000))).toBe(0);
    const back = new CostlyGate();
    expect(back.admits(NOW_MS, 1)).toBe(true);
    expect([1, 2, 3].map((ms) => back.admits(NOW_MS - ms * 60_000, 1))).toEqual([true, true, true]);
    expect(back.isHeld(NOW_MS)).toBe(false);
  });
});
