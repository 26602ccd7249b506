import { describe, expect, test } from 'vitest';
import { Priority } from '../base/sample.ts';
import { builtInLadder, ladderOf } from './ladder.ts';
import { SessionControl, type SessionControlSettings } from './session-control.ts';

/** Other settings for a session that goes on. */

const SETTINGS: SessionControlSettings = {
  rungs: builtInLadder('levels', 30),
  startRung: 2,
  width: 640,
  height: 480,
  firstFps: 15,
  minFps: 5,
  maxFps: 30,
  sourceFps: 30,
  stabilityMs: 2_000,
  isAdaptive: true,
  fixedQuality: 50,
  windowMin: 2,
  budgetMs: 100,
  priority: Priority.normal,
};

/** Sends frames of the granted size over a link of `bps` for so long; the client follows its grant. */
function drive(control: SessionControl, fromMs: number, forMs: number, bps: number): number {
  let nowMs = fromMs;
  let freeMs = fromMs;
  control.roundTrip(20);
  while (nowMs < fromMs + forMs) {
    const { rate_fps, width, height, quality } = control.news(nowMs) ?? control.grant();
    const bytes = Math.round((width * height * 0.11 * quality) / 50);
    freeMs = Math.max(freeMs, nowMs + 10) + (bytes * 8000) / bps;
    control.frame({ bytes, sentTimeMs: nowMs, arrivedTimeMs: freeMs }, Priority.normal);
    control.answered(freeMs + 20, 20);
    nowMs = Math.max(nowMs + 1000 / rate_fps, freeMs);
  }
  return nowMs;
}

describe('another ladder', () => {
  test('goes on from the nearest rung, with what is known of the way', () => {
    const control = new SessionControl(SETTINGS, 0);
    control.tell(0);
    const nowMs = drive(control, 0, 20_000, 2_000_000);
    const before = control.report();
    expect(before.ladder_moves).toBeGreaterThan(0);
    control.configure({ ...SETTINGS, rungs: builtInLadder('modes', 30), startRung: 3 });
    const { grant, ...after } = { ...control.report(), grant: control.grant() };
    expect(['ultra_performance', 'high_performance', 'balanced', 'high_quality']).toContain(grant.level);
    expect(after).toMatchObject({
      asked_bps: before.asked_bps,
      capacity_bps: before.capacity_bps,
      ladder_moves: before.ladder_moves,
    });
    // It costs what the way carries, at once.
    const bps = (width: number, height: number, quality: number, fps: number) =>
      (8 * fps * width * height * 0.11 * quality) / 50;
    expect(bps(grant.width, grant.height, grant.quality, grant.rate_fps)).toBeLessThan(1.5 * 2_000_000);
    drive(control, nowMs, 5_000, 2_000_000);
    expect(control.report().link_queue_ms).toBeLessThan(100);
  });

  test('a session that has measured nothing begins anew on it', () => {
    const control = new SessionControl(SETTINGS, 0);
    expect(control.tell(0)).toMatchObject({ level: 'medium', rate_fps: 15, quality: 60 });
    control.configure({ ...SETTINGS, rungs: ladderOf(['only 33 0.5 12'], 30, 30), startRung: 0, firstFps: 12 });
    expect(control.grant()).toMatchObject({ level: 'only', rate_fps: 12, quality: 33, width: 320, reason: 'start' });
  });

  test('of one rung after the highest of five, and back', () => {
    const control = new SessionControl({ ...SETTINGS, startRung: 4 }, 0);
    control.tell(0);
    drive(control, 0, 10_000, 50_000_000);
    control.configure({ ...SETTINGS, rungs: ladderOf(['only 33 0.5 12'], 30, 30) });
    expect(control.grant()).toMatchObject({ level: 'only', width: 320 });
    control.configure(SETTINGS);
    expect(SETTINGS.rungs.map(({ name }) => name)).toContain(control.grant().level);
  });
});

test('bounds hold at once, and a pin stays', () => {
  const control = new SessionControl(SETTINGS, 0);
  control.tell(0);
  drive(control, 0, 10_000, 50_000_000);
  expect(control.grant().rate_fps).toBeGreaterThan(20);
  control.pin({ level: 'high' });
  control.configure({ ...SETTINGS, maxFps: 10, firstFps: 8, width: 320, height: 240, windowMin: 7 });
  expect(control.grant()).toMatchObject({ rate_fps: 10, width: 288, window: 7, pinned: { level: 'high' } });
  control.pin(null);
  expect(control.grant().rate_fps).toBeLessThanOrEqual(10);
});

test('adaptation off and on again: fixed meanwhile, and no share of the engine is kept', () => {
  const control = new SessionControl(SETTINGS, 0);
  control.tell(0);
  const nowMs = drive(control, 0, 5_000, 50_000_000);
  control.share(6);
  control.configure({ ...SETTINGS, isAdaptive: false });
  expect(control.grant()).toMatchObject({ level: 'fixed', reason: 'fixed', rate_fps: 15, quality: 50 });
  control.configure(SETTINGS);
  const later = drive(control, nowMs, 10_000, 800_000);
  expect(control.report().link_queue_ms).toBeLessThan(150);
  expect(later).toBeGreaterThan(nowMs);
});

test('a budget of the session’s own stays, that of the settings changes', () => {
  const own = new SessionControl(SETTINGS, 0, 300);
  const plain = new SessionControl(SETTINGS, 0);
  for (const control of [own, plain]) control.configure({ ...SETTINGS, budgetMs: 200 });
  expect(own.wantedBudgetMs).toBe(300);
  expect(plain.wantedBudgetMs).toBe(200);
});

test('rises are told as often as the settings say, falls at once', () => {
  const control = new SessionControl({ ...SETTINGS, riseIntervalMs: 5_000, isAdaptive: false }, 0);
  control.tell(0);
  control.configure({ ...SETTINGS, riseIntervalMs: 5_000, isAdaptive: false, firstFps: 30 });
  expect(control.news(4_900)).toBeUndefined();
  expect(control.news(5_000)?.rate_fps).toBe(30);
  control.configure({ ...SETTINGS, riseIntervalMs: 5_000, isAdaptive: false, firstFps: 10 });
  expect(control.news(5_050)?.rate_fps).toBe(10);
});
