import { describe, expect, test } from 'vitest';
import { Liveness, type LineFigures } from './liveness.ts';

const IDLE: LineFigures = { sentBytes: 100, bufferedBytes: 0 };

/** Ticks until the line is given up; Infinity when it is not within an hour. */
function ticksUntilDead(live: Liveness, figures: (tick: number) => LineFigures, meanwhile?: (tick: number) => void) {
  for (let tick = 1; tick <= 3_600; tick++) {
    meanwhile?.(tick);
    const line = figures(tick);
    const verdict = live.tick(line);
    if (verdict === 'ask') live.asked(line.sentBytes);
    if (verdict === 'dead') return tick;
  }
  return Infinity;
}

describe('Liveness', () => {
  test('a quiet line whose server answers lives on, asked every five ticks', () => {
    const live = new Liveness();
    let asked = 0;
    for (let tick = 0; tick < 60; tick++) {
      if (live.tick(IDLE) !== 'ask') continue;
      asked++;
      live.asked(IDLE.sentBytes);
      live.heard();
      live.answered();
    }
    expect(asked).toBe(12);
  });

  test('silence after a question is the end', () => {
    expect(ticksUntilDead(new Liveness(), () => IDLE)).toBe(15);
  });

  test('so it is for who sends all the time into a socket that takes everything', () => {
    expect(ticksUntilDead(new Liveness(), (tick) => ({ sentBytes: tick * 1_000, bufferedBytes: 0 }))).toBe(15);
  });

  test('and for who has a backlog that stands still', () => {
    const stuck = (tick: number) => ({ sentBytes: tick * 1_000, bufferedBytes: tick * 1_000 });
    expect(ticksUntilDead(new Liveness(), stuck)).toBe(15);
  });

  test('messages that come keep the line, though not for ever without the answer: one direction may be dead', () => {
    const live = new Liveness();
    expect(
      ticksUntilDead(
        live,
        () => IDLE,
        () => live.heard(),
      ),
    ).toBe(35);
  });

  test('a slow line that still carries what was sent before the question is none that is dead', () => {
    // A backlog of a megabyte and 10 kB a tick: the question leaves after a hundred ticks, its answer comes two later.
    const live = new Liveness();
    const figures = (tick: number) => ({ sentBytes: 1_000_000, bufferedBytes: Math.max(0, 1_000_000 - tick * 10_000) });
    expect(
      ticksUntilDead(live, figures, (tick) => {
        if (tick < 102) return;
        live.heard();
        live.answered();
      }),
    ).toBe(Infinity);
  });

  test('a backlog that moves into something that never answers is given up some time later', () => {
    // A proxy that swallows everything takes it at its own pace.
    const figures = (tick: number) => ({ sentBytes: tick * 1_000 + 4_000, bufferedBytes: 3_999 });
    expect(ticksUntilDead(new Liveness(), figures)).toBeLessThan(60);
  });
});
