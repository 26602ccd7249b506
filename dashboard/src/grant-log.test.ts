import type { GrantFields } from 'sightline/client';
import { describe, expect, test } from 'vitest';
import { changeText, GrantLog, reasonText, REASONS, type GrantFigures, type GrantReason } from './grant-log.ts';

const FIRST: GrantFields = {
  rate_fps: 15,
  window: 2,
  width: 512,
  height: 384,
  quality: 60,
  pinned: null,
  level: 'medium',
  reason: 'start',
};

function logOf(...grants: readonly [timeMs: number, grant: Partial<GrantFields>][]): string[] {
  const log = new GrantLog();
  const grant = { ...FIRST };
  for (const [timeMs, changed] of grants) log.add(timeMs, Object.assign(grant, changed));
  return log.changes.map((change) => `${change.timeMs} ${change.reason}: ${changeText(change)}`);
}

describe('GrantLog', () => {
  test('the first grant is told whole, a later one by what has changed, the newest first', () => {
    expect(
      logOf(
        [0, {}],
        [9_000, { rate_fps: 25, reason: 'settings' }],
        [20_000, { rate_fps: 14.2, width: 416, reason: 'link' }],
      ),
    ).toEqual([
      '20000 link: 25 → 14 frames/s, 512 → 416 px',
      '9000 settings: 15 → 25 frames/s',
      '0 start: 15 frames/s, 512 px, JPEG 60',
    ]);
  });

  test('small steps are one change, until they turn back by much or pause', () => {
    expect(
      logOf(
        [0, {}],
        [100, { rate_fps: 12, reason: 'compute' }],
        [300, { rate_fps: 8, quality: 60 }],
        [500, { rate_fps: 4.25 }],
        [700, { rate_fps: 5 }],
        [900, { rate_fps: 4.5 }],
        [1_100, { rate_fps: 9, quality: 55 }],
        [1_300, { rate_fps: 10 }],
        [5_000, { rate_fps: 12 }],
      ),
    ).toEqual([
      '5000 compute: 10 → 12 frames/s',
      '1100 compute: 4.5 → 10 frames/s, JPEG 60 → 55',
      '100 compute: 15 → 4.5 frames/s',
      '0 start: 15 frames/s, 512 px, JPEG 60',
    ]);
  });

  test('small steps that come back to where they began are none', () => {
    expect(
      logOf(
        [0, {}],
        [10_000, { rate_fps: 13, reason: 'link' }],
        [10_300, { rate_fps: 12 }],
        [10_600, { rate_fps: 15 }],
      ),
    ).toEqual(['0 start: 15 frames/s, 512 px, JPEG 60']);
  });

  test('another reason is a change of its own; what nobody would notice is none', () => {
    expect(
      logOf(
        [0, {}],
        [50, { reason: 'ladder' }],
        [60, { window: 9 }],
        [70, { rate_fps: 15.01 }],
        [90, { rate_fps: 17, reason: 'settings' }],
        [92, { rate_fps: 18, quality: 62, reason: 'link' }],
        [99, { rate_fps: 19, reason: 'ladder' }],
      ),
    ).toEqual([
      '99 ladder: 17 → 19 frames/s, JPEG 60 → 62',
      '90 settings: 15 → 17 frames/s',
      '0 start: 15 frames/s, 512 px, JPEG 60',
    ]);
  });

  test('few are kept, and none of another session', () => {
    const log = new GrantLog();
    for (let i = 0; i < 100; i++) log.add(i * 10_000, { ...FIRST, rate_fps: i });
    expect(log.changes).toHaveLength(5);
    log.begin();
    expect(log.changes).toEqual([]);
  });
});

test('every reason has words of its own', () => {
  const reasons = Object.keys(REASONS) as GrantReason[];
  expect(new Set(reasons.map((reason) => REASONS[reason])).size).toBe(8);
});

describe('the reason of a change', () => {
  const from: GrantFigures = { rate_fps: 15, width: 512, height: 384, quality: 60 };
  const of = (reason: GrantReason, to: Partial<GrantFigures>) =>
    reasonText({ timeMs: 0, reason, from, to: { ...from, ...to } });

  test.each<[GrantReason, RegExp]>([
    ['link', /slow/],
    ['compute', /busy/],
    ['client', /behind/],
    ['ladder', /must first/],
    ['settings', /no more/],
  ])('no rise is told as a complaint: %s', (reason, complaint) => {
    for (const to of [{ rate_fps: 30 }, { quality: 75 }, { rate_fps: 30, width: 640, height: 480 }]) {
      expect(of(reason, to)).not.toMatch(complaint);
    }
  });

  test('a fall is told as one, and never as freedom', () => {
    expect(of('link', { rate_fps: 8 })).toBe('The path to the server is slow');
    expect(of('compute', { rate_fps: 8 })).toBe('The server is busy');
    expect(of('settings', { rate_fps: 8 })).not.toBe(REASONS.settings);
  });

  test('smaller pictures that come more often are neither', () => {
    expect(of('link', { rate_fps: 30, width: 256, height: 192 })).toContain('smaller pictures');
  });
});
