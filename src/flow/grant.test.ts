import { describe, expect, test } from 'vitest';
import { decideGrant, type GrantSettings } from './grant.ts';

const settings: GrantSettings = {
  maxFps: 30,
  defaultFps: 15,
  sourceFps: 30,
  window: 4,
  width: 640,
  height: 480,
  quality: 50,
};

describe('decideGrant', () => {
  test('without a pin the settings speak', () => {
    expect(decideGrant(settings, null)).toEqual({
      rate_fps: 15,
      window: 4,
      width: 640,
      height: 480,
      quality: 50,
      pinned: null,
    });
  });

  test('a level is the rung of the ladder, within the largest rate', () => {
    expect(decideGrant(settings, { level: 'ultra_low' })).toMatchObject({
      rate_fps: 10,
      width: 320,
      height: 240,
      quality: 25,
    });
    expect(decideGrant({ ...settings, maxFps: 20 }, { level: 'ultra_high' })).toMatchObject({
      rate_fps: 20,
      quality: 90,
    });
  });

  test('a mode leaves frames out of the source: n frames between two', () => {
    expect(decideGrant(settings, { mode: 'ultra_performance' })).toMatchObject({
      rate_fps: 7.5,
      width: 384,
      quality: 40,
    });
    expect(decideGrant(settings, { mode: 'high_quality' })).toMatchObject({ rate_fps: 30, width: 640, quality: 80 });
  });

  test('a skip ratio divides whatever rate there is', () => {
    expect(decideGrant(settings, { skip_ratio: 3 })).toMatchObject({ rate_fps: 5, pinned: { skip_ratio: 3 } });
    expect(decideGrant(settings, { level: 'ultra_high', skip_ratio: 2 })).toMatchObject({ rate_fps: 15 });
  });

  test('the window is never below two', () => {
    expect(decideGrant({ ...settings, window: 1 }, null).window).toBe(2);
  });
});
